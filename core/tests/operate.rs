//! What an operator does with a rollout, with real processes: promote from another process, revert, remove.

mod common;

use common::{SHOP, Site, reason, release, shop, until, wait_for, wait_for_gate, wait_for_rollout};
use rustix::process::{Pid, Signal, kill_process};
use tidegate::journal::{Reader, StreamId};
use tidegate::rollout::RevertSpec;
use tidegate::supervisor::InstanceState;
use tidegate::{Command, Engine, Kind, Pipeline, Release, Rollout, Status};

/// The journal, the run that a second process of this test sends a command to, and the command.
const TO: &str = "OPERATE_TEST_TO";

/// What the second process does; in the first one there is nothing to do.
#[test]
fn sends_what_it_is_told() {
    let Ok(to) = std::env::var(TO) else { return };
    let [journal, run, command] = to.splitn(3, '|').collect::<Vec<_>>().try_into().unwrap();
    let reader = Reader::open(journal.as_ref()).unwrap();
    reader.send(&StreamId::run(run).unwrap(), tidegate::time::Time(1), command.as_bytes()).unwrap();
}

fn promote() -> Command {
    Command::Promote { step: "ship".into(), by: "operator".into(), reason: "looks well".into() }
}

fn send_from_another_process(site: &Site, run: &str, command: &Command) {
    let command = serde_json::to_string(command).unwrap();
    let done = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sends_what_it_is_told"])
        .env(TO, format!("{}|{run}|{command}", site.journal().display()))
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

async fn stable(engine: &Engine) -> Option<String> {
    engine.service("shop").await.unwrap().and_then(|shop| shop.stable)
}

#[tokio::test(flavor = "multi_thread")]
async fn blue_green_waits_for_a_promotion_from_another_process_and_revert_takes_it_back() {
    let site = Site::new();
    let engine = site.open().await;
    site.ship_stable(&engine, "v1").await;

    let blue_green = site.quick(Rollout::blue_green("shop")).promote_by_hand();
    let run = engine.run(&site.ship(blue_green, shop("v2"))).key("v2").start().await.unwrap();
    wait_for_gate(&run, "approval").await;
    assert_eq!(site.get().await, "v1", "nothing goes over before it is promoted");
    send_from_another_process(&site, run.id(), &promote());
    let outcome = run.outcome().await.unwrap();
    assert_eq!(outcome.status, Status::Succeeded, "{}", reason(&outcome, "ship"));
    assert_eq!((site.get().await.as_str(), stable(&engine).await.as_deref()), ("v2", Some("v2")));

    let mut back = Pipeline::new("back");
    let revert = RevertSpec {
        service: "shop".into(),
        to: None,
        progress_deadline: Some("50s".into()),
        keep_old: Some("0s".into()),
    };
    let _ = back.revert("revert", revert);
    let outcome = engine.run(&back).await.unwrap();
    assert_eq!(outcome.status, Status::Succeeded, "{}", reason(&outcome, "revert"));
    assert_eq!((site.get().await.as_str(), stable(&engine).await.as_deref()), ("v1", Some("v1")));

    engine.close().await.unwrap();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_promoted_is_reverted_from_here_or_from_another_process_while_the_old_version_is_kept() {
    let site = Site::new();
    let engine = site.open().await;
    site.ship_stable(&engine, "v1").await;
    let (step, by) = ("ship".to_owned(), "operator".to_owned());
    let revert = Command::Revert { step: step.clone(), by: by.clone(), reason: "slow".into() };
    let abort = Command::Abort { step, by, reason: "slow".into() };
    for version in ["v2", "v3"] {
        let keeps = site.quick(Rollout::blue_green("shop")).keep_old("10m");
        let run = engine.run(&site.ship(keeps, shop(version))).key(version).start().await.unwrap();
        wait_for_rollout(&run, "promoted").await;
        assert_eq!((site.get().await.as_str(), stable(&engine).await.as_deref()), (version, Some(version)));
        let error = run.send(abort.clone()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.to_string().contains("revert goes back to v1"), "{error}");
        if version == "v2" {
            run.send(revert.clone()).await.unwrap();
        } else {
            send_from_another_process(&site, run.id(), &revert);
        }
        let outcome = run.outcome().await.unwrap();
        assert_eq!(outcome.status, Status::Failed);
        assert_eq!(reason(&outcome, "ship"), format!("{version} reverted to v1 by operator: slow"));
        let service = engine.service("shop").await.unwrap().unwrap();
        assert_eq!((site.get().await.as_str(), service.stable.as_deref(), service.claim), ("v1", Some("v1"), None));
        assert_eq!(service.last.unwrap().outcome, tidegate::service::Outcome::Reverted);

        // When it is over, a revert is a run of its own.
        let reader = Reader::open(&site.journal()).unwrap();
        for error in [run.send(revert.clone()).await.unwrap_err(), reader.command(run.id(), &revert).unwrap_err()] {
            assert_eq!(error.kind(), Kind::Conflict);
            assert!(error.to_string().contains("start a run with a revert step"), "{error}");
        }
    }
    engine.close().await.unwrap();
    site.end().await;
}

/// A release that serves until a file is there, and does not come up again.
fn until_sick(version: &str, file: &std::path::Path) -> Release {
    let watch = r#"
import os, threading, time
def watch():
    while not os.path.exists(os.environ["SICK"]): time.sleep(0.05)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
time.sleep(0.2)
"#;
    let mut release = shop(version);
    release.command[2].insert_str(0, watch);
    release.env.insert("SICK".to_owned(), file.display().to_string());
    release
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_goes_on_without_an_old_version_that_is_sick() {
    let site = Site::new();
    let engine = site.open().await;
    let blue_green = || site.quick(Rollout::blue_green("shop"));
    let old = engine.run(&site.ship(blue_green(), until_sick("v1", &site.file("sick")))).key("v1").await.unwrap();
    assert!(old.succeeded(), "{old:?}");
    std::fs::write(site.file("sick"), "").unwrap();
    until("the old version is sick", async || site.get().await != "v1").await;
    let run = engine.run(&site.ship(blue_green(), shop("v2"))).key("v2").start().await.unwrap();
    let seen = |event: &serde_json::Value| event["event"]["seen"]["versions"]["v1"]["ready"] == 0;
    wait_for(&run, "a look at the old version", seen).await;
    run.send(promote()).await.unwrap();
    let outcome = run.outcome().await.unwrap();
    assert_eq!(outcome.status, Status::Succeeded, "{}", reason(&outcome, "ship"));
    assert_eq!((site.get().await.as_str(), stable(&engine).await.as_deref()), ("v2", Some("v2")));
    engine.close().await.unwrap();
    site.end().await;
}

/// Who sends from another process gets no answer; what was refused is in the run's events, and so in its lines.
#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_from_another_process_that_can_not_be_now_is_told_in_the_run() {
    let site = Site::new();
    let engine = site.open().await;
    let mut pipeline = Pipeline::new("release");
    let waits = pipeline.shell("waits", "sleep 600");
    let ship = site.quick(Rollout::blue_green("shop")).promote_by_hand();
    let _ = pipeline.rollout_of("ship", ship, shop("v1")).after(&waits);
    let run = engine.run(&pipeline).start().await.unwrap();
    send_from_another_process(&site, run.id(), &promote());
    let refused = wait_for(&run, "the refusal", |event| event["kind"] == "command_refused").await;
    assert_eq!([&refused["verb"], &refused["step"], &refused["by"]], ["promote", "ship", "operator"]);
    let why = "the rollout has not begun";
    assert!(refused["why"].as_str().unwrap().starts_with(why), "{refused}");
    let told = Command::Promote { step: "ship".into(), by: "ann".into(), reason: String::new() };
    let error = run.send(told).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Conflict, why));
    run.cancel("test", "over").await.unwrap();
    assert_eq!(run.outcome().await.unwrap().status, Status::Cancelled);
    let mut lines = run.lines();
    let mut said = false;
    while let Some(line) = lines.next().await {
        said |= line.starts_with("ship: promote by operator was refused: the rollout has not begun");
    }
    assert!(said, "the lines tell nothing of it");
    engine.close().await.unwrap();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_a_run_that_never_was_does_not_wait_for_ever() {
    let site = Site::new();
    let engine = site.open().await;
    let mut pipeline = Pipeline::new("p");
    let _ = pipeline.command("waits", ["sleep", "600"]);
    let run = engine.run(&pipeline).start().await.unwrap();
    send_from_another_process(&site, "nobody", &promote());
    let reader = Reader::open(&site.journal()).unwrap();
    until("the command is dropped", async || !reader.waits(1).unwrap()).await;
    drop(reader);
    run.cancel("test", "over").await.unwrap();
    assert_eq!(run.outcome().await.unwrap().status, Status::Cancelled);
    engine.close().await.unwrap();
    site.end().await;
}

/// Names the folder to a second process of this test that has no way to start a supervisor.
const ALONE: &str = "OPERATE_TEST_ALONE";

/// What that process does; in the first one there is nothing to do.
#[tokio::test]
async fn ships_with_nobody_to_hold_it() {
    let Some(journal) = std::env::var_os(ALONE) else { return };
    let engine = Engine::open(&journal).await.unwrap();
    let mut pipeline = Pipeline::new("release");
    let marker = format!("touch '{}.ran'", journal.display());
    let before = pipeline.shell("before", marker);
    let _ = pipeline.rollout_of("ship", Rollout::blue_green("shop").listen("127.0.0.1:0"), shop("v1")).after(&before);
    let error = engine.run(&pipeline).key("k").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    for part in ["supervisor", "ship", "supervise_if_asked"] {
        assert!(error.to_string().contains(part), "{part:?} in {error}");
    }
    assert!(engine.runs(1).await.unwrap().is_empty(), "nothing is recorded");
    let mut other = Pipeline::new("other");
    let _ = other.shell("step", "true");
    assert!(engine.run(&other).await.unwrap().succeeded(), "what ships nothing needs none");
    engine.close().await.unwrap();
}

#[test]
fn a_rollout_that_nobody_could_hold_is_refused_at_the_start() {
    let site = Site::new();
    let done = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ships_with_nobody_to_hold_it"])
        .env(ALONE, site.journal())
        .env("PATH", "/bin")
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    assert!(!site.file("release.db.ran").exists(), "no step began");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_does_can_be_counted() {
    let site = Site::new();
    let engine = site.open().await;
    let nothing = engine.service_stats("shop").await.unwrap_err();
    assert_eq!(nothing.kind(), Kind::NotFound, "{nothing}");
    site.ship_stable(&engine, "v1").await;
    for path in ["/", "/bad", "/", "/", "/bad", "/", "/"] {
        assert_eq!(site.get_at(path).await, "v1");
    }
    let stats = engine.service_stats("shop").await.unwrap();
    let counted = &stats.versions["v1"];
    assert_eq!((counted.requests, counted.errors, counted.in_flight, stats.unrouted), (7, 2, 0, 0));
    let latency = &counted.latency;
    assert_eq!((latency.count, latency.buckets.last().unwrap().count), (7, 7), "{latency:?}");
    assert!(latency.p50 <= latency.p99 && latency.p99 <= latency.max && latency.buckets.is_sorted_by_key(|b| b.count));
    let [instance] = stats.instances.as_slice() else { panic!("{stats:?}") };
    assert_eq!((instance.version.as_str(), instance.slot, instance.state), ("v1", 0, InstanceState::Ready));
    let pid = instance.pid.unwrap();
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
    until("another process serves", async || {
        let stats = engine.service_stats("shop").await.unwrap();
        let instance = &stats.instances[0];
        instance.state == InstanceState::Ready && instance.pid.is_some_and(|other| other != pid)
    })
    .await;
    assert_eq!(engine.service_stats("shpo").await.unwrap_err().kind(), Kind::NotFound);
    engine.close().await.unwrap();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relative_directory_is_below_the_programs() {
    let site = Site::new();
    // The supervisor of a program that ran elsewhere.
    let folder = format!("{}.supervisor", site.journal().display());
    let mut supervisor = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["supervise", &folder])
        .current_dir("/")
        .spawn()
        .unwrap();
    let engine = site.open().await;
    let dir = "tests/common";
    let program = r#"import os; os.environ["VERSION"] = os.getcwd()"#;
    let here = Release { dir: Some(dir.into()), ..release("v1", &format!("{program}\n{SHOP}")) };
    let pipeline = site.ship(site.quick(Rollout::blue_green("shop")), here);
    engine.run(&pipeline).key("k").await.unwrap().ok().unwrap();
    assert_eq!(site.get().await, std::env::current_dir().unwrap().join(dir).to_str().unwrap());
    engine.remove_service("shop").await.unwrap();
    engine.close().await.unwrap();
    assert!(supervisor.wait().unwrap().success());
    site.end().await;
}

/// Waits until the address refuses connections, no process of the service is left, and the supervisor has ended of
/// itself.
async fn wait_for_nothing(site: &Site) {
    let port = site.port;
    until("the port is closed", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err()).await;
    site.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_service_ends_its_processes_its_proxy_and_at_last_the_supervisor() {
    let site = Site::new();
    let engine = site.open().await;
    site.ship_stable(&engine, "v1").await;
    assert_eq!(site.get().await, "v1");
    let unknown = engine.remove_service("shpo").await.unwrap_err();
    assert_eq!(unknown.kind(), Kind::NotFound);
    assert_eq!(unknown.to_string(), "there is no service \"shpo\"\n  help: there are: shop");
    engine.remove_service("shop").await.unwrap();
    wait_for_nothing(&site).await;
    engine.remove_service("shop").await.unwrap();

    // The next release is a first one again, and may listen elsewhere.
    let elsewhere = Site::new();
    let listen = format!("127.0.0.1:{}", elsewhere.port);
    let rollout = site.quick(Rollout::blue_green("shop")).listen(listen);
    let outcome = engine.run(&site.ship(rollout, shop("v2"))).key("v2").await.unwrap();
    assert_eq!(outcome.status, Status::Succeeded, "{}", reason(&outcome, "ship"));
    assert_eq!(stable(&engine).await.as_deref(), Some("v2"));

    // Removed and released again at once: the removal is not skipped.
    engine.remove_service("shop").await.unwrap();
    let outcome = site.ship_stable(&engine, "v3").await;
    assert_eq!((site.get().await.as_str(), outcome.status), ("v3", Status::Succeeded));

    // A close carries out what it has promised: nobody may open the journal again.
    engine.remove_service("shop").await.unwrap();
    engine.close().await.unwrap();
    wait_for_nothing(&site).await;
    let engine = site.open().await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(site.supervisor().await, None, "nothing is started for a service that was removed");
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_release_that_is_taken_back_leaves_nothing() {
    let site = Site::new();
    let engine = site.open().await;
    let run = engine.run(&site.ship(site.quick(Rollout::blue_green("shop")).promote_by_hand(), shop("v1"))).key("v1");
    let run = run.start().await.unwrap();
    until("it is there", async || site.supervisor().await.is_some()).await;
    run.send(Command::Abort { step: "ship".into(), by: "ops".into(), reason: "no".into() }).await.unwrap();
    let outcome = run.outcome().await.unwrap();
    assert_eq!(outcome.status, Status::Failed, "{outcome:?}");
    wait_for_nothing(&site).await;
    engine.close().await.unwrap();
}
