//! The supervisor as a process of its own, with real services; all gone afterwards.
#![allow(clippy::disallowed_methods, reason = "tests wait for other processes")]
#![cfg(target_os = "linux")]

mod harness;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tidegate::error::Kind;
use tidegate::health::{CheckSpec, ProbeSpec};
use tidegate::process::Identity;
use tidegate::supervisor::{Client, Launcher, Report};

use harness::*;

#[tokio::test]
async fn serves_shifts_restarts_and_ends() {
    let world = World::new();
    let first = world.driver(1).await;
    let process = supervisor(&first).await;
    assert_eq!(stat(process.pid)[3], process.pid.to_string(), "a session of its own");

    first.apply(&desired(1, vec![server("v1", 2)], &[("v1", 10_000)])).await.unwrap();
    let report = until(&first, "two ready", |report| ready(report, "v1") == 2).await;
    let address = report.address.unwrap();
    assert_eq!((report.observed.generation, report.observed.epoch), (1, 1));
    assert_eq!(get(address, "/").await, (200, "v1".to_owned()));

    // The driver goes, services go on, and the next one finds them.
    drop(first);
    let second = world.driver(2).await;
    assert_eq!(supervisor(&second).await, process);
    assert_eq!(get(address, "/").await, (200, "v1".to_owned()));

    // An instance that is killed is replaced within its version.
    let killed = instance(address).await;
    signal(&killed, "-KILL");
    let mended = |report: &Report| ready(report, "v1") == 2 && report.observed.versions["v1"].restarts == 1;
    let report = until(&second, "restarted", mended).await;
    let trouble = report.observed.versions["v1"].trouble.clone().unwrap();
    assert!(trouble.what.starts_with("ended by SIGKILL, "), "{trouble:?}");
    assert_eq!(trouble.last_lines, ["up"]);

    // Traffic goes over, and the old version after it.
    let both = vec![server("v1", 2), server("v2", 1)];
    second.apply(&desired(2, both.clone(), &[("v1", 10_000)])).await.unwrap();
    until(&second, "the new one ready", |report| ready(report, "v2") == 1).await;
    second.apply(&desired(3, both, &[("v1", 0), ("v2", 10_000)])).await.unwrap();
    until(&second, "weights in force", |report| report.observed.epoch == 3).await;
    for _ in 0..20 {
        assert_eq!(get(address, "/").await, (200, "v2".to_owned()));
    }
    second.apply(&desired(4, vec![server("v2", 1)], &[("v2", 10_000)])).await.unwrap();
    until(&second, "the old one gone", |report| !report.observed.versions.contains_key("v1")).await;
    let counted = |report: &Report| {
        let of = |window: &tidegate::service::Window| window.counts.get("v2").map_or(0, |counts| counts.requests);
        report.windows.iter().filter(|window| window.epoch == 3).map(of).sum::<u64>() == 20
    };
    until(&second, "counted", counted).await;

    let last = instance(address).await;
    second.remove("shop").await.unwrap();
    until(&second, "removed", |report| report.observed.generation == 0 && report.observed.versions.is_empty()).await;
    gone(&last).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    second.stop().await.unwrap();
    gone(&process).await;
    assert_eq!(Client::connect(&world.dir()).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_killed_supervisor_leaves_nothing_to_its_successor() {
    let world = World::new();
    let client = world.driver(1).await;
    // It ignores SIGTERM and the loss of its output, as leftovers may.
    let stubborn = version("v0", 1, &["sh", "-c", "trap '' TERM PIPE; while :; do sleep 0.1; done"]);
    let mut state = desired(1, vec![server("v1", 1), stubborn], &[("v1", 10_000)]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    state.listen = free.to_string();
    client.apply(&state).await.unwrap();
    let up = |report: &Report| ready(report, "v1") == 1 && report.observed.versions["v0"].running == 1;
    until(&client, "up", up).await;
    let (left, process) = (instance(free).await, supervisor(&client).await);
    signal(&process, "-KILL");
    gone(&process).await;
    assert!(left.is_alive(), "the test is about leftovers");

    // The same client finds a new supervisor that holds nothing, and asks it for the same again.
    let report = client.observe("shop", 7, 9).await.unwrap();
    assert_eq!(report.observed.generation, 0);
    assert!(!left.is_alive(), "ended before the successor answers");
    assert_ne!(supervisor(&client).await, process);
    client.apply(&state).await.unwrap();
    until(&client, "up again", |report| ready(report, "v1") == 1).await;
    client.observe("shop", 7, 9).await.unwrap();
    assert_eq!(get(free, "/").await.0, 200);
    let counted = until(&client, "counted", |report| !report.windows.is_empty()).await;
    assert_eq!(counted.windows[0].number, 8, "numbers go on");
}

#[tokio::test]
async fn killed_at_any_moment_it_loses_no_process() {
    let world = World::new();
    let mut seen = 0;
    for delay in [0, 5, 20, 60, 150, 400] {
        let client = world.driver(1).await;
        let state =
            desired(1, vec![version("v1", 4, &["sh", "-c", "trap '' TERM PIPE; sleep 1000 & wait; wait"])], &[]);
        client.apply(&state).await.unwrap();
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let process = supervisor(&client).await;
        signal(&process, "-KILL");
        gone(&process).await;
        seen += world.marked().len();
    }
    assert!(seen >= 4, "some were left over: {seen}");
    let client = world.driver(1).await;
    let log = world.log();
    assert!(world.marked().is_empty(), "ended before it answers: {log}");
    assert!(log.contains("ended what an earlier supervisor left"), "{log}");
    client.stop().await.unwrap();
}

#[tokio::test]
async fn refuses_a_driver_that_was_replaced() {
    let world = World::new();
    let old = world.driver(5).await;
    let older = Client::connect_or_start(&world.dir(), &Launcher::command(PROGRAM), 4).await.unwrap_err();
    assert_eq!(older.kind(), Kind::Conflict, "{older}");
    let state = desired(1, vec![version("v1", 1, &["sleep", "1000"])], &[]);
    old.apply(&state).await.unwrap();
    let new = world.driver(6).await;
    for error in [old.apply(&state).await.unwrap_err(), old.remove("shop").await.unwrap_err()] {
        assert_eq!(error.kind(), Kind::Conflict, "{error}");
    }
    let guest = Client::connect(&world.dir()).await.unwrap();
    assert_eq!(guest.list().await.unwrap().epoch, 6);
    assert_eq!(guest.remove("shop").await.unwrap_err().kind(), Kind::Conflict);

    new.apply(&state).await.unwrap();
    let mut other = state.clone();
    other.epoch = 9;
    assert_eq!(new.apply(&other).await.unwrap_err().kind(), Kind::Conflict, "one generation, two states");
    other.generation = 0;
    assert_eq!(new.apply(&other).await.unwrap_err().kind(), Kind::Conflict, "an older generation");
    other.generation = 2;
    other.weights = BTreeMap::from([("v1".to_owned(), 1)]);
    other.versions.get_mut("v1").unwrap().ready = Some(CheckSpec::new(ProbeSpec::http("nonsense")));
    let error = new.apply(&other).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("/weights") && error.to_string().contains("/versions/v1/ready"), "{error}");
    assert_eq!(new.observe("shop", 0, 0).await.unwrap().observed.generation, 1, "nothing was changed");
}

#[tokio::test]
async fn many_who_start_it_at_once_get_the_same() {
    let world = World::new();
    let starts = (0..6).map(|_| async { supervisor(&world.driver(1).await).await });
    let all = futures_util::future::join_all(starts).await;
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:?}");
    assert_eq!(world.log().matches("supervises").count(), 1);
}

#[tokio::test]
async fn reports_a_crash_loop_and_backs_off() {
    let world = World::new();
    let client = world.driver(1).await;
    let crash = version("v1", 1, &["sh", "-c", "echo boom; exit 3"]);
    let missing = version("v2", 1, &["no-such-program"]);
    client.apply(&desired(1, vec![crash, missing], &[])).await.unwrap();
    let report = until(&client, "restarts", |report| report.observed.versions["v1"].restarts >= 3).await;
    let version = &report.observed.versions["v1"];
    let trouble = version.trouble.clone().unwrap();
    assert!(trouble.what.starts_with("exited with code 3, "), "{trouble:?}");
    assert_eq!((trouble.last_lines, version.ready), (vec!["boom".to_owned()], 0));
    let trouble = report.observed.versions["v2"].trouble.clone().unwrap();
    assert!(trouble.what.contains("no-such-program") && trouble.what.contains("PATH"), "{trouble:?}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let later = client.observe("shop", 0, 0).await.unwrap();
    assert!(later.observed.versions["v1"].restarts <= version.restarts + 3, "it backs off");
}

#[tokio::test]
async fn a_program_becomes_the_supervisor_when_asked_and_its_services_do_not() {
    let world = World::new();
    let env = BTreeMap::from([("TIDEGATE_SUPERVISE".to_owned(), "{dir}".to_owned())]);
    let launcher = Launcher { program: PROGRAM.into(), args: Vec::new(), env };
    let client = Client::connect_or_start(&world.dir(), &launcher, 3).await.unwrap();
    assert_eq!(client.list().await.unwrap().epoch, 3);
    let script = "echo $TIDEGATE_SUPERVISE-$TIDEGATE_SUPERVISE_EPOCH-$TIDEGATE_SERVICE-$TIDEGATE_SLOT; exit 3";
    client.apply(&desired(1, vec![version("v1", 1, &["sh", "-c", script])], &[])).await.unwrap();
    let report = until(&client, "said", |report| report.observed.versions["v1"].trouble.is_some()).await;
    assert_eq!(report.observed.versions["v1"].trouble.clone().unwrap().last_lines, ["--shop-0"]);

    // Nor do their probes, which run as the instance does. The port answers, so that the check's reason is told.
    let mut probed = server("v2", 1);
    probed.release.env = BTreeMap::from([("OWN".to_owned(), "own".to_owned())]);
    probed.release.dir = Some("/".to_owned());
    let script = "echo $TIDEGATE_SUPERVISE-$TIDEGATE_SUPERVISE_EPOCH-$TIDEGATE_VERSION-$OWN-$PWD-${PORT:+port}; exit 3";
    probed.ready = Some(CheckSpec::new(ProbeSpec::command(["sh", "-c", script])));
    client.apply(&desired(2, vec![probed], &[])).await.unwrap();
    let told = |report: &Report| {
        let trouble = report.observed.versions["v2"].trouble.as_ref();
        trouble.is_some_and(|trouble| trouble.what.contains("exit code 3: --v2-own-/-port"))
    };
    until(&client, "what the probe has", told).await;
}

#[tokio::test]
async fn a_killed_supervisor_leaves_no_probe_to_its_successor() {
    let world = World::new();
    let client = world.driver(1).await;
    let file = world.base.join("probe");
    // It ignores SIGTERM and the loss of its output, and takes longer than the test.
    let script = format!("trap '' TERM PIPE; echo $$ > '{0}.new'; mv '{0}.new' '{0}'; sleep 600", file.display());
    let mut probed = server("v1", 1);
    let check = CheckSpec::new(ProbeSpec::command(["sh", "-c", &script]));
    probed.ready = Some(CheckSpec { timeout: Some("10m".into()), interval: Some("10m".into()), ..check });
    client.apply(&desired(1, vec![probed], &[])).await.unwrap();
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let pid: u32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    let probe = Identity::of(pid).unwrap();
    let process = supervisor(&client).await;
    signal(&process, "-KILL");
    gone(&process).await;
    assert!(probe.is_alive(), "the test is about leftovers");
    assert_eq!(client.observe("shop", 0, 0).await.unwrap().observed.generation, 0);
    let left = probe.is_alive();
    if left {
        signal(&probe, "-KILL");
    }
    assert!(!left, "ended before the successor answers");
}

#[tokio::test]
async fn a_supervisor_that_can_t_start_says_why() {
    let world = World::new();
    let launcher = |program: &str, script: &str| Launcher {
        program: program.into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: BTreeMap::new(),
    };
    let error =
        Client::connect_or_start(&world.dir(), &launcher("sh", "echo no luck >&2; exit 4"), 1).await.unwrap_err();
    assert!(error.to_string().contains("exited with code 4") && error.to_string().contains("no luck"), "{error}");
    let error = Client::connect_or_start(&world.dir(), &launcher("no-such-program", ""), 1).await.unwrap_err();
    assert!(error.to_string().contains("no-such-program"), "{error}");
    assert_eq!(Client::connect(&world.dir()).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn waits_for_a_port_in_use_and_says_so() {
    let world = World::new();
    let client = world.driver(1).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut state = desired(1, vec![server("v1", 1)], &[("v1", 10_000)]);
    state.listen = taken.local_addr().unwrap().to_string();
    client.apply(&state).await.unwrap();
    let report = client.observe("shop", 0, 0).await.unwrap();
    assert!(report.observed.trouble.unwrap().contains(&state.listen));
    assert_eq!(report.observed.epoch, 0, "no weights are in force");
    drop(taken);
    let report = until(&client, "served", |report| ready(report, "v1") == 1).await;
    assert_eq!((report.observed.trouble, report.observed.epoch), (None, 1));
    state.generation = 2;
    state.listen = "127.0.0.1:1".to_owned();
    assert_eq!(client.apply(&state).await.unwrap_err().kind(), Kind::Conflict);
}

#[tokio::test]
async fn is_ready_only_when_its_check_passes() {
    let world = World::new();
    let client = world.driver(1).await;
    let flag = world.base.join("ready");
    let mut served = server("v1", 1);
    served.ready = Some(CheckSpec::new(ProbeSpec::http("http://{host}:{port}/ready")));
    served.release.env = BTreeMap::from([("READY".to_owned(), flag.to_str().unwrap().to_owned())]);
    let address = {
        client.apply(&desired(1, vec![served.clone()], &[("v1", 10_000)])).await.unwrap();
        until(&client, "running", |report| report.observed.versions["v1"].running == 1).await.address.unwrap()
    };
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(ready(&client.observe("shop", 0, 0).await.unwrap(), "v1"), 0);
    assert_eq!(get(address, "/").await.0, 503);
    std::fs::write(&flag, "").unwrap();
    until(&client, "ready", |report| ready(report, "v1") == 1).await;
    assert_eq!(get(address, "/").await, (200, "v1".to_owned()));
    // It is taken out while its check fails, and not restarted for that.
    std::fs::remove_file(&flag).unwrap();
    let report = until(&client, "not ready", |report| ready(report, "v1") == 0).await;
    assert_eq!((report.observed.versions["v1"].running, report.observed.versions["v1"].restarts), (1, 0));
    assert!(report.observed.versions["v1"].trouble.clone().unwrap().what.contains("503"));
}

#[tokio::test]
async fn one_that_does_not_listen_is_not_ready() {
    let world = World::new();
    let client = world.driver(1).await;
    client.apply(&desired(1, vec![version("v1", 2, &["sleep", "1000"])], &[])).await.unwrap();
    until(&client, "running", |report| report.observed.versions["v1"].running == 2).await;
    let said = |report: &Report| {
        let trouble = report.observed.versions["v1"].trouble.as_ref();
        trouble.is_some_and(|trouble| trouble.what.starts_with("is not ready yet: nobody listens on"))
    };
    let report = until(&client, "said so", said).await;
    assert_eq!(ready(&report, "v1"), 0);
}

#[tokio::test]
async fn what_is_not_ready_tells_what_it_wrote_last() {
    let world = World::new();
    let client = world.driver(1).await;
    let counts = version("v1", 1, &["sh", "-c", "n=0; while :; do n=$((n+1)); echo step $n; sleep 0.2; done"]);
    let floods = version("v2", 1, &["yes", "no end"]);
    client.apply(&desired(1, vec![counts, floods], &[])).await.unwrap();
    let last = |report: &Report, version: &str| {
        let trouble = report.observed.versions[version].trouble.clone()?;
        assert!(trouble.last_lines.len() <= 20, "{trouble:?}");
        trouble.last_lines.last().cloned()
    };
    let first = until(&client, "said", |report| last(report, "v1").is_some()).await;
    for _ in 0..2 {
        let before = last(&first, "v1");
        until(&client, "said more", |report| last(report, "v1") != before).await;
    }
    until(&client, "told in a flood", |report| last(report, "v2").as_deref() == Some("no end")).await;
}

#[tokio::test]
async fn a_stranger_on_its_port_makes_nobody_ready() {
    let world = World::new();
    let client = world.driver(1).await;
    // What listens left the group and dropped the mark: to us it is anybody. It ends by itself.
    let script = "setsid env -u TIDEGATE_MARK timeout 10 python3 -m http.server $PORT --bind $HOST >/dev/null 2>&1 &
        exec sleep 1000";
    let mut served = version("v1", 1, &["sh", "-c", script]);
    served.ready = Some(CheckSpec::new(ProbeSpec::http("http://{host}:{port}/")));
    client.apply(&desired(1, vec![served], &[("v1", 10_000)])).await.unwrap();
    let said = |report: &Report| {
        assert_eq!(ready(report, "v1"), 0);
        let trouble = report.observed.versions.get("v1").and_then(|version| version.trouble.as_ref());
        trouble.is_some_and(|trouble| trouble.what.starts_with("another process listens on its port"))
    };
    until(&client, "found out", said).await;
    let again = |report: &Report| report.observed.versions["v1"].restarts > 0;
    until(&client, "given another port", again).await;
}

#[tokio::test]
async fn a_surplus_instance_ends_what_is_under_way() {
    let world = World::new();
    let client = world.driver(1).await;
    client.apply(&desired(1, vec![server("v1", 1)], &[("v1", 10_000)])).await.unwrap();
    let address = until(&client, "ready", |report| ready(report, "v1") == 1).await.address.unwrap();
    let slow = tokio::spawn(get(address, "/slow"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.apply(&desired(2, Vec::new(), &[])).await.unwrap();
    assert_eq!(get(address, "/").await.0, 503, "no new requests");
    let report = client.observe("shop", 0, 0).await.unwrap();
    assert_eq!((report.observed.versions["v1"].running, ready(&report, "v1")), (1, 0));
    assert_eq!(slow.await.unwrap(), (200, "v1".to_owned()));
    let report = until(&client, "gone", |report| report.observed.versions.is_empty()).await;
    assert_eq!((report.observed.generation, report.observed.trouble), (2, None));
}

#[tokio::test]
async fn a_surplus_instance_that_is_alive_and_not_ready_ends_what_is_under_way() {
    let world = World::new();
    let client = world.driver(1).await;
    let flag = world.base.join("ready");
    std::fs::write(&flag, "").unwrap();
    let mut served = server("v1", 1);
    let often = || Some("100ms".into());
    served.ready = Some(CheckSpec {
        interval: often(),
        failing_interval: often(),
        falling_interval: often(),
        fall: Some(1),
        ..CheckSpec::new(ProbeSpec::http("http://{host}:{port}/ready"))
    });
    served.release.env = BTreeMap::from([("READY".to_owned(), flag.to_str().unwrap().to_owned())]);
    client.apply(&desired(1, vec![served], &[("v1", 10_000)])).await.unwrap();
    let address = until(&client, "ready", |report| ready(report, "v1") == 1).await.address.unwrap();
    let process = instance(address).await;
    let slow = tokio::spawn(get(address, "/slower"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::fs::remove_file(&flag).unwrap();
    until(&client, "not ready", |report| ready(report, "v1") == 0).await;
    assert_eq!(get(address, "/").await.0, 503, "no new requests");
    client.apply(&desired(2, Vec::new(), &[])).await.unwrap();
    assert!(!slow.is_finished(), "it was to be under way");
    assert_eq!(slow.await.unwrap(), (200, "v1".to_owned()));
    gone(&process).await;
}

#[tokio::test]
async fn sigterm_lets_requests_end_and_stops_all() {
    let world = World::new();
    let client = world.driver(1).await;
    client.apply(&desired(1, vec![server("v1", 1)], &[("v1", 10_000)])).await.unwrap();
    let address = until(&client, "ready", |report| ready(report, "v1") == 1).await.address.unwrap();
    let (process, served) = (supervisor(&client).await, instance(address).await);
    let slow = tokio::spawn(get(address, "/slow"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    signal(&process, "-TERM");
    assert_eq!(slow.await.unwrap(), (200, "v1".to_owned()));
    gone(&process).await;
    assert!(!served.is_alive(), "ended before the supervisor");
    assert!(!Path::new(&world.dir()).join("socket").exists());
    assert!(!world.log().contains("broke"), "{}", world.log());
}

#[tokio::test]
async fn ends_when_it_holds_nothing_and_comes_back_when_needed() {
    let world = World::new();
    let client = world.driver(1).await;
    let process = supervisor(&client).await;
    tokio::time::timeout(Duration::from_secs(40), gone(&process)).await.unwrap();
    // The client's connection is stale by now.
    client.apply(&desired(1, vec![version("v1", 1, &["sleep", "1000"])], &[])).await.unwrap();
    assert_ne!(supervisor(&client).await, process);
}
