//! A rollout from outside, with real processes behind the real proxy.

use std::path::Path;
use std::time::Duration;

use tidegate::supervisor::{Client, Launcher};
use tidegate::{Engine, EngineOptions, Pipeline, Release, Rollout, Status};

const SHOP: &str = r#"
import http.server, os, sys
class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = os.environ["VERSION"].encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Shop).serve_forever()
"#;

fn shop(version: &str) -> Release {
    Release {
        version: version.to_owned(),
        command: ["python3", "-c", SHOP].map(str::to_owned).to_vec(),
        env: [("VERSION".to_owned(), version.to_owned())].into(),
        dir: None,
    }
}

async fn open(dir: &Path) -> Engine {
    let launcher = Launcher::command(env!("CARGO_BIN_EXE_tidegate"));
    EngineOptions::new().launcher(launcher).open(dir.join("release.db")).await.unwrap()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn get(port: u16) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
}

fn pipeline(port: u16, version: &str) -> Pipeline {
    let mut p = Pipeline::new("release");
    let rollout = Rollout::canary("shop", [50.0], "1s")
        .listen(format!("127.0.0.1:{port}"))
        .replicas(2)
        .drain("2s")
        .keep_old("0s")
        .progress_deadline("30s");
    let _ = p.rollout_of("ship", rollout, shop(version));
    p
}

#[tokio::test(flavor = "multi_thread")]
async fn ships_a_first_release_and_then_another_over_it() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let engine = open(dir.path()).await;
    for version in ["v1", "v2"] {
        let run = engine.run(&pipeline(port, version)).key(version).start().await.unwrap();
        let mut lines = run.lines();
        let mut told = Vec::new();
        while let Some(line) = lines.next().await {
            told.push(line);
        }
        let outcome = run.outcome().await.unwrap();
        assert_eq!(outcome.status, Status::Succeeded, "{outcome:?}\n{}", told.join("\n"));
        assert_eq!(get(port).await, version, "{}", told.join("\n"));
    }
    engine.close().await.unwrap();
    assert_eq!(get(port).await, "v2", "the service goes on without an engine");

    let client = Client::connect(&dir.path().join("release.db.supervisor")).await.unwrap();
    let status = client.list().await.unwrap();
    client.stop().await.unwrap();
    while status.identity.as_ref().is_some_and(tidegate::process::Identity::is_alive) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
