//! What a version does to its rollout when it fails, with real processes behind the real proxy. The same at every move is
//! in the simulation.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{SHOP, Site, reason, release, shop, until, wait_for, wait_for_gate};
use tidegate::service::Outcome;
use tidegate::{Engine, Judge, Release, Rollout, Run, Status};

/// A release that serves until a file is there, and does not come up again.
fn until_sick(version: &str, file: &Path) -> Release {
    let watch = r#"
import os, threading, time
def watch():
    while not os.path.exists(os.environ["SICK"]): time.sleep(0.05)
    print("out of luck", flush=True)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
time.sleep(0.2)
"#;
    let mut release = release(version, &format!("{watch}{SHOP}"));
    release.env.insert("SICK".to_owned(), file.display().to_string());
    release
}

/// Clients without end, some at a time, each with this patience.
fn clients(site: &Site, patience: Duration) -> tokio::task::JoinSet<()> {
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let site = Site::at(site.path(), site.port);
        clients.spawn(async move {
            loop {
                // One that hangs is left.
                let _ = tokio::time::timeout(patience, site.get()).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
    clients
}

async fn last(engine: &Engine) -> (Outcome, String) {
    let service = engine.service("shop").await.unwrap().unwrap();
    assert_eq!(service.stable.as_deref(), Some("v1"));
    let last = service.last.unwrap();
    (last.outcome, last.reason)
}

/// A canary of v2 over v1, judged by its errors, that must go back by the guard.
async fn goes_back(site: &Site, v2: Release, patience: Duration, words: &str) {
    let engine = site.open().await;
    site.ship_stable(&engine, "v1").await;
    let rollout = site.canary("60s").judge(Judge::errors());
    let run = engine.run(&site.ship(rollout, v2)).key("v2").start().await.unwrap();
    let clients = clients(site, patience);
    let outcome = run.outcome().await.unwrap();
    drop(clients);
    assert_eq!(outcome.status, Status::Failed);
    let (how, why) = last(&engine).await;
    assert_eq!(how, Outcome::RolledBack);
    assert!(why.contains("v2 rolled back at 50 %") && why.contains(words), "{why}");
    assert_eq!(reason(&outcome, "ship"), why);
    for _ in 0..20 {
        assert_eq!(site.get().await, "v1");
    }
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_that_is_healthy_and_wrong_goes_back() {
    let site = Site::new();
    let wrong = release("v2", &SHOP.replace("200)", "503)"));
    goes_back(&site, wrong, Duration::from_secs(5), "readings running, against 0 of").await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_whose_requests_hang_goes_back() {
    let site = Site::new();
    let hung =
        release("v2", &SHOP.replace("def do_GET(self):", "def do_GET(self):\n        import time; time.sleep(600)"));
    goes_back(&site, hung, Duration::from_millis(100), "clients that left before an answer").await;
    site.end().await;
}

async fn baking(site: &Site, engine: &Engine, bake: &str, deadline: &str, v1: Release) -> Run {
    let old = engine.run(&site.ship(site.quick(Rollout::blue_green("shop")), v1)).key("v1").await.unwrap();
    assert!(old.succeeded(), "{old:?}");
    let rollout = site.canary(bake).progress_deadline(deadline);
    let run = engine.run(&site.ship(rollout, shop("v2"))).key("v2").start().await.unwrap();
    wait_for_gate(&run, "pause").await;
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_version_that_dies_while_the_canary_bakes_is_waited_for() {
    let site = Site::new();
    let engine = site.open().await;
    let run = baking(&site, &engine, "3s", "50s", shop("v1")).await;
    let stats = engine.service_stats("shop").await.unwrap();
    let old = stats.instances.iter().find(|one| one.version == "v1").and_then(|one| one.pid).unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(old).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let held = wait_for(&run, "a hold", |event| event["event"]["kind"] == "held").await;
    assert_eq!(held["event"]["why"], "v1 has 0 ready of the 1 that it needs");
    // It comes back, and the new one is not to blame.
    let outcome = run.outcome().await.unwrap();
    assert!(outcome.succeeded(), "{outcome:?}");
    until("the new version has all traffic", async || site.get().await == "v2").await;
    engine.close().await.unwrap();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_version_that_is_gone_for_good_ends_the_canary_stuck_and_is_named() {
    let site = Site::new();
    let engine = site.open().await;
    let run = baking(&site, &engine, "60s", "4s", until_sick("v1", &site.file("sick"))).await;
    std::fs::write(site.file("sick"), "").unwrap();
    let outcome = run.outcome().await.unwrap();
    assert_eq!(outcome.status, Status::Failed);
    let (how, why) = last(&engine).await;
    assert_eq!(how, Outcome::Stuck);
    for part in
        ["v2 can't be taken back to v1", "both are kept", "v1 has 0 ready of the 1 that it needs", "out of luck"]
    {
        assert!(why.contains(part), "{part:?} in {why}");
    }
    assert_eq!(reason(&outcome, "ship"), why);
    // Who can serve does.
    for _ in 0..20 {
        assert_eq!(site.get().await, "v2");
    }
    engine.close().await.unwrap();
    site.end().await;
}
