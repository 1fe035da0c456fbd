//! What the tests of faults share: a folder with a journal, small services, and the check that nothing is left running.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate::supervisor::{Client, Launcher};
use tidegate::{Engine, EngineOptions, Outcome, Pipeline, Release, Rollout, Run};

/// How long anything may take before a test gives up: much longer than it takes.
pub const LONG: Duration = Duration::from_secs(60);

pub const SHOP: &str = r#"
import http.server, os
class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["VERSION"].encode()
        self.send_response(500 if self.path == "/bad" else 200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Shop).serve_forever()
"#;

/// A folder of one test, and the port of its service.
pub struct Site {
    dir: PathBuf,
    /// Removes the folder; `None` in a second process of the test.
    _temporary: Option<tempfile::TempDir>,
    pub port: u16,
}

impl Site {
    pub fn new() -> Site {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::Builder::new().prefix("tidegate-faults-").tempdir().unwrap();
        Site { dir: dir.path().to_owned(), _temporary: Some(dir), port }
    }

    /// The site of another process.
    pub fn at(dir: &Path, port: u16) -> Site {
        Site { dir: dir.to_owned(), _temporary: None, port }
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    pub fn journal(&self) -> PathBuf {
        self.path().join("release.db")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn options(&self) -> EngineOptions {
        EngineOptions::new().launcher(Launcher::command(env!("CARGO_BIN_EXE_tidegate")))
    }

    pub async fn open(&self) -> Engine {
        self.options().open(self.journal()).await.unwrap()
    }

    /// A canary at 50 percent with the given bake, and nothing that takes long.
    pub fn canary(&self, bake: &str) -> Rollout {
        self.quick(Rollout::canary("shop", [50.0], bake))
    }

    pub fn quick(&self, rollout: Rollout) -> Rollout {
        let listen = format!("127.0.0.1:{}", self.port);
        rollout.listen(listen).drain("1s").grace("2s").keep_old("0s").progress_deadline("50s")
    }

    /// A pipeline of one step, `ship`.
    pub fn ship(&self, rollout: Rollout, release: Release) -> Pipeline {
        let mut pipeline = Pipeline::new("release");
        let _ = pipeline.rollout_of("ship", rollout, release);
        pipeline
    }

    /// Ships a version that works, with one process, all at once.
    pub async fn ship_stable(&self, engine: &Engine, version: &str) -> Outcome {
        let pipeline = self.ship(self.quick(Rollout::blue_green("shop")), shop(version));
        let outcome = engine.run(&pipeline).key(format!("stable-{version}")).await.unwrap();
        assert!(outcome.succeeded(), "{outcome:?}");
        outcome
    }

    /// What the service answers; empty when nobody listens.
    pub async fn get(&self) -> String {
        self.get_at("/").await
    }

    /// The same for a path; `/bad` fails.
    pub async fn get_at(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await else {
            return String::new();
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
    }

    pub fn supervisor_folder(&self) -> PathBuf {
        self.file("release.db.supervisor")
    }

    /// The supervisor's process, if one runs.
    pub async fn supervisor(&self) -> Option<u32> {
        let client = Client::connect(&self.supervisor_folder()).await.ok()?;
        client.list().await.ok()?.identity.map(|identity| identity.pid)
    }

    /// Ends the supervisor, and checks that no process of this site is left.
    pub async fn end(self) {
        if let Ok(client) = Client::connect(&self.supervisor_folder()).await {
            client.stop().await.unwrap();
        }
        self.nothing_left().await;
    }

    /// Waits until no process of this site is left; fails when one stays.
    pub async fn nothing_left(&self) {
        let late = Instant::now() + LONG;
        loop {
            let left = left_by(self.path());
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < late, "left running: {left:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A release that serves its version.
pub fn shop(version: &str) -> Release {
    release(version, SHOP)
}

/// A release that is a Python program.
pub fn release(version: &str, program: &str) -> Release {
    Release {
        version: version.to_owned(),
        command: ["python3", "-c", program].map(str::to_owned).to_vec(),
        env: [("VERSION".to_owned(), version.to_owned())].into(),
        dir: None,
    }
}

/// The processes that carry a folder in their mark or in their command line.
pub fn left_by(dir: &Path) -> Vec<String> {
    let name = dir.file_name().unwrap().to_str().unwrap();
    let mut left = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        if !entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let read = |file: &str| {
            let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let (environ, cmdline) = (read("environ"), read("cmdline"));
        let marked =
            environ.split(' ').any(|variable| variable.starts_with("TIDEGATE_MARK") && variable.contains(name));
        if marked || cmdline.contains(name) {
            left.push(format!("{} {cmdline:.120}", entry.file_name().to_string_lossy()));
        }
    }
    left
}

/// Waits until a run has an event that fits.
pub async fn wait_for(run: &Run, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut events = run.events();
    let mut last = Value::Null;
    let found = tokio::time::timeout(LONG, async {
        loop {
            let batch = events.next_batch(64).await;
            assert!(!batch.is_empty(), "the run ended without {what}: {last}");
            for event in batch {
                let event: Value = serde_json::from_str(&event).unwrap();
                if fits(&event) {
                    return event;
                }
                last = event;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("no {what}"))
}

/// Waits until a run's rollout has an event of this kind.
pub async fn wait_for_rollout(run: &Run, kind: &str) -> Value {
    wait_for(run, kind, |event| event["kind"] == "rollout" && event["event"]["kind"] == kind).await
}

/// Waits until a run's rollout has begun a gate of this kind, such as `approval`.
pub async fn wait_for_gate(run: &Run, gate: &str) -> Value {
    wait_for(run, gate, |event| {
        event["event"]["kind"] == "move_began" && event["event"]["step"].to_string().contains(gate)
    })
    .await
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let late = Instant::now() + LONG;
    while !is_so().await {
        assert!(Instant::now() < late, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Changes a word wherever it is stored, as a bad disk or a curious hand would.
pub fn flip(path: &Path, word: &str) {
    let mut bytes = std::fs::read(path).unwrap();
    let places: Vec<usize> =
        bytes.windows(word.len()).enumerate().filter(|(_, w)| *w == word.as_bytes()).map(|(i, _)| i).collect();
    assert!(!places.is_empty(), "{word} is stored");
    for place in places {
        bytes[place] ^= 1;
    }
    std::fs::write(path, bytes).unwrap();
}

/// Why a step ended as it did.
pub fn reason<'a>(outcome: &'a Outcome, step: &str) -> &'a str {
    outcome.steps[step].reason.as_deref().unwrap_or_default()
}
