//! The supervisor as a process of its own, with real services; all gone afterwards.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tidegate::error::Kind;
use tidegate::health::{CheckSpec, ProbeSpec};
use tidegate::process::Identity;
use tidegate::service::{Desired, DesiredVersion, Measure, Release};
use tidegate::supervisor::{Client, Launcher, Report};
use tidegate::time::Span;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

/// Answers with what the path names: the version, the pid, after a while, or whether a file is there.
const SERVER: &str = r#"
import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        if self.path == '/slow': time.sleep(1.5)
        text = str(os.getpid()) if self.path == '/pid' else os.environ['TIDEGATE_VERSION']
        good = self.path != '/ready' or os.path.exists(os.environ['READY'])
        self.send_response(200 if good else 503)
        self.send_header('content-length', str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *rest): pass
class Server(http.server.ThreadingHTTPServer):
    def server_bind(self): self.socket.bind(self.server_address); self.server_name = self.server_port = 'x'
print('up', flush=True)
Server((os.environ['HOST'], int(os.environ['PORT'])), Handler).serve_forever()
"#;

/// A folder of a test's own. When the test is over, whatever way, its supervisor and services are ended.
struct World {
    base: PathBuf,
}

impl World {
    fn new() -> World {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("tidegate-sv-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&base).unwrap();
        World { base }
    }

    fn dir(&self) -> PathBuf {
        self.base.join("db.supervisor")
    }

    async fn driver(&self, epoch: u64) -> Client {
        Client::connect_or_start(&self.dir(), &Launcher::command(PROGRAM), epoch).await.unwrap()
    }

    /// All processes that a supervisor of this folder started.
    fn marked(&self) -> Vec<u32> {
        let Ok(id) = std::fs::read_to_string(self.dir().join("id")) else { return Vec::new() };
        let pids = std::fs::read_dir("/proc").unwrap().filter_map(|item| item.ok()?.file_name().to_str()?.parse().ok());
        let carries = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&format!("supervisor/{id}"))
        };
        pids.filter(carries).collect()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("log")).unwrap_or_default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        if self.dir().exists() {
            // A successor ends what a killed one left over; if one runs, this one waits for it and then finds nothing.
            let stop = || std::process::Command::new(PROGRAM).args(["stop".as_ref(), self.dir().as_os_str()]).output();
            if !stop().is_ok_and(|output| output.status.success()) {
                let mut successor = std::process::Command::new(PROGRAM)
                    .args(["supervise".as_ref(), self.dir().as_os_str()])
                    .spawn()
                    .unwrap();
                while !stop().is_ok_and(|output| output.status.success()) && successor.try_wait().unwrap().is_none() {
                    std::thread::sleep(Duration::from_millis(50));
                }
                successor.wait().unwrap();
            }
            let late = Instant::now() + Duration::from_secs(10);
            while !std::thread::panicking() && !self.marked().is_empty() {
                assert!(Instant::now() < late, "left over: {:?}", self.marked());
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

fn version(name: &str, replicas: u32, command: &[&str]) -> DesiredVersion {
    DesiredVersion {
        release: Release {
            version: name.to_owned(),
            command: command.iter().map(|part| (*part).to_owned()).collect(),
            env: BTreeMap::new(),
            dir: None,
        },
        replicas,
        ready: None,
        drain: Span::seconds(20),
        grace: Span::seconds(10),
    }
}

fn server(name: &str, replicas: u32) -> DesiredVersion {
    version(name, replicas, &["python3", "-c", SERVER])
}

fn desired(generation: u64, versions: Vec<DesiredVersion>, weights: &[(&str, u32)]) -> Desired {
    Desired {
        service: "shop".to_owned(),
        generation,
        listen: "127.0.0.1:0".to_owned(),
        versions: versions.into_iter().map(|version| (version.release.version.clone(), version)).collect(),
        weights: weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect(),
        epoch: generation,
        measure: Measure { window: Span::millis(500), warmup: Span::ZERO },
        request_timeout: Span::seconds(30),
        max_body_bytes: 1 << 20,
    }
}

/// Observes until it is so; fails with what was seen last.
async fn until(client: &Client, what: &str, so: impl Fn(&Report) -> bool) -> Report {
    let late = Instant::now() + Duration::from_secs(60);
    loop {
        let report = client.observe("shop", 0, 0).await.unwrap();
        if so(&report) {
            return report;
        }
        assert!(Instant::now() < late, "{what}: {:#?}", report.observed);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

fn ready(report: &Report, version: &str) -> u32 {
    report.observed.versions.get(version).map_or(0, |version| version.ready)
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let status = text.split(' ').nth(1).unwrap_or_default().parse().unwrap_or(0);
    (status, text.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
}

async fn instance(address: SocketAddr) -> Identity {
    let (status, pid) = get(address, "/pid").await;
    assert_eq!(status, 200, "{pid}");
    Identity::of(pid.parse().unwrap()).unwrap()
}

async fn gone(identity: &Identity) {
    let late = Instant::now() + Duration::from_secs(30);
    while identity.is_alive() {
        assert!(Instant::now() < late, "still there: {identity:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn signal(identity: &Identity, name: &str) {
    let killed = std::process::Command::new("kill").args([name, &identity.pid.to_string()]).status().unwrap();
    assert!(killed.success());
}

async fn supervisor(client: &Client) -> Identity {
    client.list().await.unwrap().identity.unwrap()
}

fn stat(pid: u32) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    text.rsplit_once(") ").unwrap().1.split(' ').map(str::to_owned).collect()
}

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
        trouble.is_some_and(|trouble| trouble.what.starts_with("not ready 10s after its start: nobody listens on"))
    };
    let report = until(&client, "said so", said).await;
    assert_eq!(ready(&report, "v1"), 0);
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
