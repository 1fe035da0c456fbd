//! What becomes of a rollout when the world does not play along, through the public API.

mod common;

use std::time::Duration;

use common::{Site, reason, release, shop, wait_for, wait_for_gate};
use tidegate::journal::Durability;
use tidegate::supervisor::Client;
use tidegate::{Command, Pipeline, Release, Rollout, Secret, Status};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_crash_loops_goes_back_with_its_last_words() {
    let site = Site::new();
    let engine = site.open().await;
    site.ship_stable(&engine, "v1").await;
    let bad = release("v2", "import sys; print('no such table'); sys.exit(3)");
    let outcome = engine.run(&site.ship(site.canary("60s"), bad)).key("v2").await.unwrap();
    assert_eq!(outcome.status, Status::Failed);
    for part in ["v2 rolled back", "no such table", "code 3"] {
        assert!(reason(&outcome, "ship").contains(part), "{part:?} in {}", reason(&outcome, "ship"));
    }
    assert_eq!(engine.service("shop").await.unwrap().unwrap().stable.as_deref(), Some("v1"));
    engine.close().await.unwrap();
    site.end().await;
}

/// A service may write a secret that it was given as it ends, and its last words go into the journal.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_words_of_a_service_hold_no_secret() {
    let site = Site::new();
    let secret = Secret::new("hunter2-and-more").unwrap();
    let engine = site.options().secret("password", secret).open(site.journal()).await.unwrap();
    let bad = release("v1", "import sys; print('no user with hunter2-' + 'and-more'); sys.exit(3)");
    let outcome = engine.run(&site.ship(site.canary("60s"), bad)).key("v1").await.unwrap();
    assert_eq!(outcome.status, Status::Failed);
    assert!(reason(&outcome, "ship").contains("no user with ***"), "{}", reason(&outcome, "ship"));
    engine.close().await.unwrap();
    for entry in std::fs::read_dir(site.journal().parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let held = path.file_name().unwrap().to_string_lossy().starts_with("release.db") && path.is_file();
        let bytes = if held { std::fs::read(&path).unwrap() } else { Vec::new() };
        assert!(!bytes.windows(16).any(|part| part == b"hunter2-and-more"), "{}", path.display());
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_and_a_service_that_never_gets_ready_go_back() {
    let site = Site::new();
    let engine = site.open().await;
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = held.local_addr().unwrap().to_string();
    let begun = std::time::Instant::now();
    let outcome = engine.run(&site.ship(site.canary("60s").listen(&listen), shop("v1"))).key("held").await.unwrap();
    assert_eq!(outcome.status, Status::Failed);
    let said = reason(&outcome, "ship");
    for part in ["rolled back", &listen, &format!("held by pid: {}", std::process::id())] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    assert!(begun.elapsed() < Duration::from_secs(25), "long before the deadline of 50 s: {:?}", begun.elapsed());

    let mute = release("v1", "import time; print('warming up', flush=True); time.sleep(600)");
    let rollout = site.quick(Rollout::canary("other", [50.0], "60s")).progress_deadline("3s");
    let outcome = engine.run(&site.ship(rollout, mute)).key("mute").await.unwrap();
    assert_eq!(outcome.status, Status::Failed);
    let said = reason(&outcome, "ship");
    for part in ["waiting for 1 ready of v1", "v1 is not ready yet: nobody listens", "warming up"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    engine.close().await.unwrap();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_can_t_be_started_goes_back_at_once_and_says_where_it_was_looked_for() {
    let site = Site::new();
    let engine = site.open().await;
    site.ship_stable(&engine, "v1").await;
    let begun = std::time::Instant::now();
    let typo = Release { command: vec!["no-such-shop".to_owned()], ..shop("v2") };
    let outcome = engine.run(&site.ship(site.canary("60s"), typo)).key("v2").await.unwrap();
    assert_eq!(outcome.status, Status::Failed);
    let said = reason(&outcome, "ship");
    for part in ["v2 rolled back", "v2 could not be started", "no-such-shop", "PATH", "/bin"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    assert!(begun.elapsed() < Duration::from_secs(25), "long before the deadline of 50 s: {:?}", begun.elapsed());
    assert_eq!(engine.service("shop").await.unwrap().unwrap().stable.as_deref(), Some("v1"));

    let lost = Release { command: vec!["./serve".to_owned()], dir: Some("/tmp".to_owned()), ..shop("v3") };
    let outcome = engine.run(&site.ship(site.canary("60s"), lost)).key("v3").await.unwrap();
    assert!(reason(&outcome, "ship").contains("/tmp/./serve"), "{}", reason(&outcome, "ship"));
    engine.close().await.unwrap();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_without_a_file_share_no_supervisor() {
    let (site, other) = (Site::new(), Site::new());
    let open = || async { site.options().durability(Durability::Memory).open(site.journal()).await.unwrap() };
    let (a, b) = (open().await, open().await);
    // Both ship a service of this name as its first release, each on a port of its own.
    let ship = |from: &Site, version: &str| {
        let rollout = from.quick(Rollout::blue_green("shop")).progress_deadline("15s");
        from.ship(rollout, shop(version))
    };
    let first = a.run(&ship(&site, "v1")).key("k").await.unwrap();
    assert!(first.succeeded(), "{first:?}");
    let second = b.run(&ship(&other, "v2")).key("k").await.unwrap();
    assert!(second.succeeded(), "{second:?}");
    assert_eq!((site.get().await.as_str(), other.get().await.as_str()), ("v1", "v2"));
    a.close().await.unwrap();
    b.close().await.unwrap();

    let folders = std::fs::read_dir(site.path()).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<_> = folders.filter(|path| path.extension().is_some_and(|end| end == "supervisor")).collect();
    assert_eq!(folders.len(), 2, "{folders:?}");
    for folder in folders {
        Client::connect(&folder).await.unwrap().stop().await.unwrap();
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_rollout_is_refused_and_abort_wins_from_a_pause() {
    let site = Site::new();
    let engine = site.open().await;
    site.ship_stable(&engine, "v1").await;
    let run = engine.run(&site.ship(site.canary("60s"), shop("v2"))).key("v2").start().await.unwrap();
    wait_for_gate(&run, "pause").await;

    let second = engine.run(&site.ship(site.canary("60s"), shop("v3"))).key("v3").await.unwrap();
    assert_eq!(second.status, Status::Failed);
    assert!(
        reason(&second, "ship").contains("to v2 is under way") && reason(&second, "ship").contains(run.id()),
        "{}",
        reason(&second, "ship")
    );

    let (step, by) = ("ship".to_owned(), "ops".to_owned());
    run.send(Command::Pause { step: step.clone(), by: by.clone(), reason: "lunch".into() }).await.unwrap();
    run.send(Command::Abort { step, by, reason: "no more".into() }).await.unwrap();
    let outcome = run.outcome().await.unwrap();
    assert!(reason(&outcome, "ship").contains("aborted"), "{}", reason(&outcome, "ship"));
    let shop = engine.service("shop").await.unwrap().unwrap();
    assert_eq!((shop.stable.as_deref(), shop.weights["v1"], shop.sizes.len()), (Some("v1"), 100.0, 1));
    engine.close().await.unwrap();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_the_steps_that_run_and_the_run_goes_on_later() {
    let site = Site::new();
    let pid = site.file("pid");
    let mut p = Pipeline::new("p");
    let _ = p.shell("wait", format!("echo $$ > '{0}.new'; mv '{0}.new' '{0}'; sleep 600", pid.display()));
    let engine = site.open().await;
    let run = engine.run(&p).key("k").start().await.unwrap();
    while !pid.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let running: u32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    engine.close().await.unwrap();
    assert!(tidegate::process::Identity::of(running).is_none(), "the step still runs");
    assert_eq!(run.outcome().await.unwrap_err().kind(), tidegate::Kind::Cancelled);

    let engine = site.open().await;
    let run = engine.run(&p).key("k").start().await.unwrap();
    wait_for(&run, "a second attempt", |event| event["kind"] == "step_started" && event["attempt"] == 2).await;
    run.cancel("test", "enough").await.unwrap();
    assert_eq!(run.outcome().await.unwrap().status, Status::Cancelled);
    engine.close().await.unwrap();
    site.end().await;
}
