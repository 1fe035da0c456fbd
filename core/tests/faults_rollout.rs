//! What becomes of a rollout when the world does not play along, through the public API.

use std::path::Path;
use std::time::{Duration, Instant};

use tidegate::supervisor::{Client, Launcher};
use tidegate::{Command, Engine, EngineOptions, Outcome, Pipeline, Release, Rollout, Run, Status};

async fn open(dir: &Path) -> Engine {
    let launcher = Launcher::command(env!("CARGO_BIN_EXE_tidegate"));
    EngineOptions::new().launcher(launcher).open(dir.join("release.db")).await.unwrap()
}

fn release(version: &str, script: &str) -> Release {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    Release { version: version.to_owned(), command, env: [].into(), dir: None }
}

/// A service in a line of Python.
fn good(version: &str) -> Release {
    let serve = "import os, http.server as h; h.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), h.BaseHTTPRequestHandler).serve_forever()";
    release(version, &format!("exec python3 -c \"{serve}\""))
}

fn pipeline(rollout: Rollout, release: Release) -> Pipeline {
    let mut p = Pipeline::new("release");
    let rollout = rollout.replicas(1).drain("1s").grace("1s").keep_old("0s");
    let _ = p.rollout_of("ship", rollout, release);
    p
}

fn canary(listen: &str) -> Rollout {
    Rollout::canary("shop", [50.0], "60s").listen(listen).progress_deadline("60s")
}

fn free() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn reason(outcome: &Outcome) -> String {
    outcome.steps["ship"].reason.clone().unwrap_or_default()
}

/// Waits until a line of the run holds all of `parts`.
async fn told(run: &Run, parts: &[&str]) {
    let mut lines = run.lines();
    while let Some(line) = lines.next().await {
        if parts.iter().all(|part| line.contains(part)) {
            return;
        }
    }
    panic!("the run ended before it told: {parts:?}");
}

/// Ends the supervisor, and waits until it and what it held are gone.
async fn stop(dir: &Path) {
    let Ok(client) = Client::connect(&dir.join("release.db.supervisor")).await else { return };
    let identity = client.list().await.unwrap().identity.unwrap();
    client.stop().await.unwrap();
    let late = Instant::now() + Duration::from_secs(30);
    while identity.is_alive() {
        assert!(Instant::now() < late, "the supervisor does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_crash_loops_goes_back_with_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let listen = free();
    let engine = open(dir.path()).await;
    let first = engine.run(&pipeline(canary(&listen), good("v1"))).key("v1").await.unwrap();
    assert_eq!(first.status, Status::Succeeded, "{first:?}");
    let bad = release("v2", "echo no such table; exit 3");
    let outcome = engine.run(&pipeline(canary(&listen), bad)).key("v2").await.unwrap();
    assert_eq!(outcome.status, Status::Failed);
    for part in ["v2 rolled back", "no such table", "code 3"] {
        assert!(reason(&outcome).contains(part), "{part:?} in {}", reason(&outcome));
    }
    assert_eq!(engine.service("shop").await.unwrap().unwrap().stable.as_deref(), Some("v1"));
    engine.close().await.unwrap();
    stop(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_and_a_service_that_never_gets_ready_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path()).await;
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = held.local_addr().unwrap().to_string();
    let rollout = Rollout::canary("shop", [50.0], "60s").listen(&listen).progress_deadline("3s");
    let outcome = engine.run(&pipeline(rollout, good("v1"))).key("held").await.unwrap();
    assert_eq!(outcome.status, Status::Failed);
    assert!(reason(&outcome).contains("rolled back") && reason(&outcome).contains(&listen), "{}", reason(&outcome));

    let mute = release("v1", "echo warming up; exec sleep 600");
    let rollout = Rollout::canary("other", [50.0], "60s").listen(free()).progress_deadline("3s");
    let outcome = engine.run(&pipeline(rollout, mute)).key("mute").await.unwrap();
    assert_eq!(outcome.status, Status::Failed);
    assert!(reason(&outcome).contains("waiting for 1 ready of v1"), "{}", reason(&outcome));
    engine.close().await.unwrap();
    stop(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_rollout_is_refused_and_abort_wins_from_a_pause() {
    let dir = tempfile::tempdir().unwrap();
    let listen = free();
    let engine = open(dir.path()).await;
    engine.run(&pipeline(canary(&listen), good("v1"))).key("v1").await.unwrap().ok().unwrap();
    let run = engine.run(&pipeline(canary(&listen), good("v2"))).key("v2").start().await.unwrap();
    told(&run, &["traffic", "v2 50 %"]).await;

    let second = engine.run(&pipeline(canary(&listen), good("v3"))).key("v3").await.unwrap();
    assert_eq!(second.status, Status::Failed);
    assert!(
        reason(&second).contains("to v2 is under way") && reason(&second).contains(run.id()),
        "{}",
        reason(&second)
    );

    let (step, by) = ("ship".to_owned(), "ops".to_owned());
    run.send(Command::Pause { step: step.clone(), by: by.clone(), reason: "lunch".into() }).await.unwrap();
    run.send(Command::Abort { step, by, reason: "no more".into() }).await.unwrap();
    let outcome = run.outcome().await.unwrap();
    assert!(reason(&outcome).contains("aborted"), "{}", reason(&outcome));
    let shop = engine.service("shop").await.unwrap().unwrap();
    assert_eq!((shop.stable.as_deref(), shop.weights["v1"], shop.sizes.len()), (Some("v1"), 10_000, 1));
    engine.close().await.unwrap();
    stop(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_the_steps_that_run_and_the_run_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let mut p = Pipeline::new("p");
    let _ = p.shell("wait", format!("echo $$ > '{0}.new'; mv '{0}.new' '{0}'; sleep 600", pid.display()));
    let engine = open(dir.path()).await;
    let run = engine.run(&p).key("k").start().await.unwrap();
    while !pid.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let running: u32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    engine.close().await.unwrap();
    assert!(tidegate::process::Identity::of(running).is_none(), "the step still runs");
    assert_eq!(run.outcome().await.unwrap_err().kind(), tidegate::Kind::Cancelled);

    let engine = open(dir.path()).await;
    let run = engine.run(&p).key("k").start().await.unwrap();
    told(&run, &["wait: started, attempt 2"]).await;
    run.cancel("test", "enough").await.unwrap();
    assert_eq!(run.outcome().await.unwrap().status, Status::Cancelled);
    engine.close().await.unwrap();
}
