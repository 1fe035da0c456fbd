//! What an operator does with a rollout, with real processes: promote from another process, revert, remove.

mod common;

use common::{Site, reason, shop, until, wait_for_gate};
use tidegate::journal::{Reader, StreamId};
use tidegate::rollout::RevertSpec;
use tidegate::{Command, Engine, Pipeline, Rollout, Status};

/// The journal and the run that a second process of this test sends a command to.
const TO: &str = "OPERATE_TEST_TO";

/// What the second process does; in the first one there is nothing to do.
#[test]
fn sends_what_it_is_told() {
    let Ok(to) = std::env::var(TO) else { return };
    let (journal, run) = to.split_once('|').unwrap();
    let command = Command::Promote { step: "ship".into(), by: "operator".into(), reason: "looks well".into() };
    let reader = Reader::open(journal.as_ref()).unwrap();
    let body = serde_json::to_vec(&command).unwrap();
    reader.send(&StreamId::run(run).unwrap(), tidegate::time::Time(1), &body).unwrap();
}

fn send_from_another_process(site: &Site, run: &str) {
    let done = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sends_what_it_is_told"])
        .env(TO, format!("{}|{run}", site.journal().display()))
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
    send_from_another_process(&site, run.id());
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
async fn a_command_for_a_run_that_never_was_does_not_wait_for_ever() {
    let site = Site::new();
    let engine = site.open().await;
    let mut pipeline = Pipeline::new("p");
    let _ = pipeline.command("waits", ["sleep", "600"]);
    let run = engine.run(&pipeline).start().await.unwrap();
    send_from_another_process(&site, "nobody");
    let reader = Reader::open(&site.journal()).unwrap();
    until("the command is dropped", async || !reader.waits(1).unwrap()).await;
    drop(reader);
    run.cancel("test", "over").await.unwrap();
    assert_eq!(run.outcome().await.unwrap().status, Status::Cancelled);
    engine.close().await.unwrap();
    site.end().await;
}
