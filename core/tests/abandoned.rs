//! A run whose program was killed and does not come back.

mod common;

use std::process::{Child, Command as Process, Stdio};

use common::{Site, reason, shop, until};
use tidegate::journal::Reader;
use tidegate::service::{LastRollout, Outcome as Ended};
use tidegate::{Command, Engine, Kind, Pipeline, Rollout, Status, StepStatus};

/// The journal, the port and the pipeline that a second process of this test runs until it is killed.
const TO: &str = "ABANDONED_TEST_TO";

/// A release with functions that only its program has.
fn release(site: &Site) -> Pipeline {
    let mut p = Pipeline::new("release");
    let build = p.command("build", ["true"]);
    let canary = site.canary("1h");
    let ship = p.rollout_of("ship", canary, shop("v2")).after(&build);
    let _ = p.function("announce", (), |_, ()| async { Ok::<_, String>(()) }).after(&ship);
    let _ = p.shell("tidy", format!("touch '{}'", site.file("tidied").display())).cleanup();
    let _ = p.function("report", (), |_, ()| async { Ok::<_, String>(()) }).cleanup();
    p
}

/// One whose first cleanup does not end.
fn endless(site: &Site) -> Pipeline {
    let mut p = Pipeline::new("endless");
    let _ = p.command("hangs", ["sleep", "600"]);
    let tidied = site.file("tidied");
    let script = format!("test -e '{0}' || {{ touch '{0}'; exec sleep 600; }}", tidied.display());
    let _ = p.shell("tidy", script).cleanup();
    p
}

/// What the second process does; in the first one there is nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn runs_until_it_is_killed() {
    let Ok(to) = std::env::var(TO) else { return };
    let [folder, port, which] = to.splitn(3, '|').collect::<Vec<_>>().try_into().unwrap();
    let site = Site::at(folder.as_ref(), port.parse().unwrap());
    let engine = site.open().await;
    if which == "endless" {
        engine.run(&endless(&site)).key("k").await.unwrap();
    } else {
        site.ship_stable(&engine, "v1").await;
        engine.run(&release(&site)).key("v2").await.unwrap();
    }
}

fn program(site: &Site, which: &str) -> Child {
    Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "runs_until_it_is_killed"])
        .env(TO, format!("{}|{}|{which}", site.path().display(), site.port))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the program as soon as its run has an event that holds this text, and gives the run's id.
async fn killed_at(site: &Site, mut program: Child, pipeline: &str, key: &str, text: &str) -> String {
    let mut found = None;
    until("the program's run gets there", async || {
        assert_eq!(program.try_wait().unwrap(), None, "the program ended");
        let Ok(mut reader) = Reader::open(&site.journal()) else { return false };
        let Some(run) = reader.find_run(pipeline, key).unwrap() else { return false };
        found = Some(run.name().to_owned());
        let events = reader.follow(run.name(), 0).unwrap().look(&mut reader, 256).unwrap().unwrap_or_default();
        events.iter().any(|event| event.contains(text))
    })
    .await;
    program.kill().unwrap();
    program.wait().unwrap();
    found.unwrap()
}

async fn refusal(engine: &Engine, run: &str) -> String {
    let (step, by, reason) = ("ship".into(), "ops".into(), String::new());
    let error = engine.send(run, Command::Abort { step, by, reason }).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_whose_program_was_killed_is_taken_back_without_it() {
    let site = Site::new();
    let run = killed_at(&site, program(&site, "release"), "release", "v2", r#""gate":{"kind":"pause""#).await;
    let engine = site.open().await;

    // It holds its service, and who is in the way of it is told what to do.
    let blocked = engine.run(&site.ship(site.quick(Rollout::blue_green("shop")), shop("v3"))).key("v3").await.unwrap();
    let said = reason(&blocked, "ship");
    assert!(said.contains(&run) && said.contains("cancel that run with the engine"), "{said}");
    let said = refusal(&engine, &run).await;
    for part in ["no program has taken the run up", "\"release\"", "\"v2\"", "cancel the run with the engine"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }

    let ended = engine.cancel(&run, "ops", "its program is gone").await.unwrap();
    assert_eq!(ended.id(), run);
    let outcome = ended.outcome().await.unwrap();
    assert_eq!(outcome.status, Status::Cancelled);
    let steps: Vec<_> = outcome.steps.iter().map(|(name, step)| (name.as_str(), step.status)).collect();
    assert_eq!(
        steps,
        [
            ("announce", StepStatus::Skipped),
            ("build", StepStatus::Succeeded),
            ("report", StepStatus::Skipped),
            ("ship", StepStatus::Cancelled),
            ("tidy", StepStatus::Succeeded),
        ]
    );
    assert_eq!(reason(&outcome, "announce"), "the run was cancelled by ops");
    let without = "the run was ended without the program that has the function \"report\"";
    assert_eq!(reason(&outcome, "report"), without);
    assert!(site.file("tidied").exists());
    let service = engine.service("shop").await.unwrap().unwrap();
    assert_eq!((service.stable.as_deref(), service.weights["v1"], service.claim), (Some("v1"), 100.0, None));
    let LastRollout { version, outcome: how, reason: why } = service.last.unwrap();
    assert_eq!((version.as_str(), how), ("v2", Ended::Aborted));
    assert!(why.contains("by ops: the run was cancelled: its program is gone"), "{why}");
    assert_eq!(site.get().await, "v1");

    let mut lines = ended.lines();
    let mut told = Vec::new();
    while let Some(line) = lines.next().await {
        told.push(line);
    }
    assert!(told.contains(&"taken up without its program, to be ended".to_owned()), "{told:#?}");

    // The service is free, and the run has ended for its program, too.
    let outcome = engine.run(&site.ship(site.quick(Rollout::blue_green("shop")), shop("v3"))).key("v3b").await.unwrap();
    assert!(outcome.succeeded(), "{outcome:?}");
    assert_eq!(engine.cancel(&run, "ops", "again").await.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(engine.cancel("nobody", "ops", "").await.unwrap_err().kind(), Kind::NotFound);
    let recorded = engine.run(&release(&site)).key("v2").await.unwrap();
    assert_eq!(recorded.status, Status::Cancelled);
    engine.close().await.unwrap();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_cut_off_goes_on_with_the_next_cancel() {
    let site = Site::new();
    let run = killed_at(&site, program(&site, "endless"), "endless", "k", "step_started").await;
    let engine = site.open().await;
    engine.cancel(&run, "ops", "").await.unwrap();
    until("the cleanup runs", async || site.file("tidied").exists()).await;
    engine.close().await.unwrap();

    let engine = site.open().await;
    let ended = engine.cancel(&run, "ops", "").await.unwrap();
    let outcome = ended.outcome().await.unwrap();
    assert_eq!((outcome.status, outcome.steps["tidy"].status), (Status::Cancelled, StepStatus::Succeeded));

    // Its program runs it again when it comes back after all.
    let again = engine.run(&endless(&site)).key("k").rerun_failed("ops").start().await.unwrap();
    common::wait_for(&again, "another attempt", |event| event["kind"] == "step_started" && event["attempt"] == 2).await;
    // A run that is driven here is cancelled as by itself.
    engine.cancel(&run, "ops", "").await.unwrap();
    assert_eq!(again.outcome().await.unwrap().status, Status::Cancelled);
    engine.close().await.unwrap();
    site.end().await;
}
