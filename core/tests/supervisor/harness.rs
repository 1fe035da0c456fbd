//! A supervisor in a folder of a test's own, and services for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tidegate::process::Identity;
use tidegate::service::{Desired, DesiredVersion, Measure, Release};
use tidegate::supervisor::{Client, Launcher, Report};
use tidegate::time::Span;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

/// Answers with what the path names: the version, the pid, after a while, or whether a file is there.
pub(crate) const SERVER: &str = r#"
import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        if self.path == '/slow': time.sleep(1.5)
        if self.path == '/slower': time.sleep(5)
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
pub(crate) struct World {
    pub(crate) base: PathBuf,
}

impl World {
    pub(crate) fn new() -> World {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("tidegate-sv-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&base).unwrap();
        World { base }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.base.join("db.supervisor")
    }

    pub(crate) async fn driver(&self, epoch: u64) -> Client {
        Client::connect_or_start(&self.dir(), &Launcher::command(PROGRAM), epoch).await.unwrap()
    }

    /// All processes that a supervisor of this folder started.
    pub(crate) fn marked(&self) -> Vec<u32> {
        let Ok(id) = std::fs::read_to_string(self.dir().join("id")) else { return Vec::new() };
        let pids = std::fs::read_dir("/proc").unwrap().filter_map(|item| item.ok()?.file_name().to_str()?.parse().ok());
        let carries = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&format!("supervisor/{id}"))
        };
        pids.filter(carries).collect()
    }

    pub(crate) fn log(&self) -> String {
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

pub(crate) fn version(name: &str, replicas: u32, command: &[&str]) -> DesiredVersion {
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

pub(crate) fn server(name: &str, replicas: u32) -> DesiredVersion {
    version(name, replicas, &["python3", "-c", SERVER])
}

pub(crate) fn desired(generation: u64, versions: Vec<DesiredVersion>, weights: &[(&str, u32)]) -> Desired {
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
pub(crate) async fn until(client: &Client, what: &str, so: impl Fn(&Report) -> bool) -> Report {
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

pub(crate) fn ready(report: &Report, version: &str) -> u32 {
    report.observed.versions.get(version).map_or(0, |version| version.ready)
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let status = text.split(' ').nth(1).unwrap_or_default().parse().unwrap_or(0);
    (status, text.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
}

pub(crate) async fn instance(address: SocketAddr) -> Identity {
    let (status, pid) = get(address, "/pid").await;
    assert_eq!(status, 200, "{pid}");
    Identity::of(pid.parse().unwrap()).unwrap()
}

pub(crate) async fn gone(identity: &Identity) {
    let late = Instant::now() + Duration::from_secs(30);
    while identity.is_alive() {
        assert!(Instant::now() < late, "still there: {identity:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn signal(identity: &Identity, name: &str) {
    let killed = std::process::Command::new("kill").args([name, &identity.pid.to_string()]).status().unwrap();
    assert!(killed.success());
}

pub(crate) async fn supervisor(client: &Client) -> Identity {
    client.list().await.unwrap().identity.unwrap()
}

pub(crate) fn stat(pid: u32) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    text.rsplit_once(") ").unwrap().1.split(' ').map(str::to_owned).collect()
}
