//! What an operator is told, as `tracing` events: through a subscriber as a host has one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::pipeline::{Jitter, RetrySpec};
use tidegate::supervisor::Launcher;
use tidegate::{Engine, EngineOptions, Pipeline, Release, Rollout, Secret};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

#[derive(Debug, Clone)]
struct Line {
    level: Level,
    target: String,
    fields: BTreeMap<String, String>,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name().to_owned(), value.to_owned());
    }
}

/// A host's subscriber: it keeps what it hears.
#[derive(Debug, Clone, Default)]
struct Host(Arc<Mutex<Vec<Line>>>);

impl Subscriber for Host {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tidegate")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line { level: *metadata.level(), target: metadata.target().to_owned(), fields: BTreeMap::new() };
        event.record(&mut line);
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Host {
    /// The lines with this message.
    fn said(&self, message: &str) -> Vec<Line> {
        self.0.lock().unwrap().iter().filter(|line| line.fields["message"] == message).cloned().collect()
    }

    fn text(&self) -> String {
        format!("{:?}", self.0.lock().unwrap())
    }
}

fn once(mut lines: Vec<Line>) -> Line {
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

#[tokio::test]
async fn a_run_is_told_once_each_to_the_subscriber_of_whoever_opened_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::default();
    let _scope = tracing::subscriber::set_default(host.clone());
    let mut release = Pipeline::new("release");
    let (initial, jitter) = (Some("1ms".into()), Some(Jitter::None));
    let retry = RetrySpec { attempts: 2, initial, factor: None, cap: None, jitter };
    let _ = release.shell("build", "echo out; exit 3").retry(retry);
    let engine = Engine::open(dir.path().join("release.db")).await.unwrap();
    let run = engine.run(&release).key("v1").start().await.unwrap();
    let id = run.id().to_owned();
    run.outcome().await.unwrap();
    engine.close().await.unwrap();

    for (level, message) in [
        (Level::DEBUG, "an engine was opened"),
        (Level::INFO, "a run started"),
        (Level::WARN, "an attempt failed and is tried again"),
        (Level::WARN, "a step failed"),
        (Level::INFO, "a run ended"),
        (Level::DEBUG, "an engine was closed"),
    ] {
        let line = once(host.said(message));
        assert_eq!(line.level, level, "{message}");
        assert!(line.target.starts_with("tidegate::engine"), "{}", line.target);
        if !message.contains("engine") {
            assert_eq!((line.fields["run"].as_str(), line.fields["key"].as_str()), (id.as_str(), "v1"), "{message}");
        }
    }
    let retried = once(host.said("an attempt failed and is tried again"));
    assert_eq!((&*retried.fields["step"], &*retried.fields["attempt"]), ("build", "1"));
    assert_eq!(retried.fields["error"], "exited with code 3");
    let ended = once(host.said("a run ended"));
    assert_eq!((&*ended.fields["pipeline"], &*ended.fields["outcome"]), ("release", "failed"));
    assert!(!host.text().contains("\"out\""), "what steps write is no line of the log");
}

#[tokio::test]
async fn a_run_that_is_taken_up_or_asks_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::default();
    let _scope = tracing::subscriber::set_default(host.clone());
    let up = dir.path().join("up");
    let mut p = Pipeline::new("p");
    let _ = p.shell("pay", format!("touch {}; exec sleep 600", up.display())).once();
    let engine = Engine::open(dir.path().join("release.db")).await.unwrap();
    let run = engine.run(&p).key("k").start().await.unwrap();
    while !up.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    engine.close().await.unwrap();
    drop(run);
    let engine = Engine::open(dir.path().join("release.db")).await.unwrap();
    engine.run(&p).key("k").await.unwrap();
    engine.close().await.unwrap();
    assert_eq!(once(host.said("a run was taken up")).fields["key"], "k");
    let asks = once(host.said("a step asks, and its run waits for the answer"));
    assert_eq!((asks.level, &*asks.fields["step"]), (Level::WARN, "pay"));
}

#[tokio::test]
async fn no_line_holds_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::default();
    let _scope = tracing::subscriber::set_default(host.clone());
    let mut p = Pipeline::new("p");
    let _ = p.function("leak", (), |_, ()| async { Err::<(), _>("the token is hunter2hunter2") });
    let options = EngineOptions::new().secret("TOKEN", Secret::new("hunter2hunter2").unwrap());
    let engine = options.open(dir.path().join("release.db")).await.unwrap();
    engine.run(&p).await.unwrap();
    engine.close().await.unwrap();
    let failed = once(host.said("a step failed"));
    assert!(failed.fields["error"].contains("the token is"), "{failed:?}");
    assert!(!host.text().contains("hunter2hunter2"), "{}", host.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_turns_back_is_told_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::default();
    let scope = tracing::subscriber::set_default(host.clone());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let release = Release {
        version: "v1".to_owned(),
        command: ["sh", "-c", "exit 7"].map(str::to_owned).to_vec(),
        env: BTreeMap::new(),
        dir: None,
    };
    let mut p = Pipeline::new("release");
    let rollout = Rollout::canary("shop", [50.0], "1s").listen(format!("127.0.0.1:{port}"));
    let _ = p.rollout_of("ship", rollout, release);
    let launcher = Launcher::command(env!("CARGO_BIN_EXE_tidegate"));
    let engine = EngineOptions::new().launcher(launcher).open(dir.path().join("release.db")).await.unwrap();
    // Every thread of the engine speaks to the subscriber of where it was opened.
    drop(scope);
    let outcome = engine.run(&p).key("v1").await.unwrap();
    engine.close().await.unwrap();
    let told = once(host.said("a rollout turned back"));
    assert_eq!((told.level, &*told.fields["service"], &*told.fields["version"]), (Level::WARN, "shop", "v1"));
    assert_eq!((&*told.fields["key"], &*told.fields["step"]), ("v1", "ship"));
    assert!(told.fields["reason"].contains("exited with code 7"), "{told:?}");
    assert!(outcome.steps["ship"].reason.as_ref().unwrap().contains(&told.fields["reason"]));
    assert_eq!(once(host.said("a rollout ended")).fields["outcome"], "rolled_back");
    assert!(host.said("a step failed").is_empty(), "told by the rollout already");
}
