//! Ctrl-C: the first cancels, the second leaves.

mod common;

use std::process::{Child, Command as Process, ExitStatus, Stdio};

use common::{Site, until};
use rustix::process::{Pid, Signal, kill_process};
use tidegate::{Kind, Pipeline, Status};

/// The folder of a second process of this test.
const TO: &str = "INTERRUPT_TEST_TO";

fn pipeline(site: &Site) -> Pipeline {
    let mut p = Pipeline::new("p");
    let ran = site.file("ran");
    let _ = p.shell("work", format!("echo work >> '{}'; sleep 60", ran.display()));
    let go = format!("until [ -e '{}' ]; do sleep 0.05; done", site.file("go").display());
    let _ = p.shell("tidy", format!("echo tidy >> '{0}'; {go}; echo tidied >> '{0}'", ran.display())).cleanup();
    p
}

/// What the second process does; in the first one there is nothing to do.
#[tokio::test]
async fn runs_until_it_is_interrupted() {
    let Ok(folder) = std::env::var(TO) else { return };
    let site = Site::at(folder.as_ref(), 0);
    let engine = site.open().await;
    let ended = engine.run(&pipeline(&site)).key("k").cancel_on_ctrl_c().await;
    let said = match &ended {
        Ok(outcome) => format!("{:?}", outcome.status),
        Err(error) => format!("{:?}", error.kind()),
    };
    std::fs::write(site.file("said"), said).unwrap();
    engine.close().await.unwrap();
}

fn program(site: &Site) -> Child {
    Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "runs_until_it_is_interrupted"])
        .env(TO, site.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

async fn has_run(site: &Site, lines: &[&str]) {
    let ran = site.file("ran");
    until("the steps run", async || {
        std::fs::read_to_string(&ran).is_ok_and(|text| text.lines().eq(lines.iter().copied()))
    })
    .await;
}

fn interrupt(program: &Child) {
    kill_process(Pid::from_child(program), Signal::INT).unwrap();
}

async fn ended(program: &mut Child) -> ExitStatus {
    let mut status = None;
    until("the program ends", async || {
        status = program.try_wait().unwrap();
        status.is_some()
    })
    .await;
    status.unwrap()
}

#[tokio::test]
async fn the_first_cancels_and_cleans_up() {
    let site = Site::new();
    let mut program = program(&site);
    has_run(&site, &["work"]).await;
    interrupt(&program);
    has_run(&site, &["work", "tidy"]).await;
    assert_eq!(program.try_wait().unwrap(), None, "it waits for the cleanup");
    std::fs::write(site.file("go"), "").unwrap();
    assert!(ended(&mut program).await.success());
    has_run(&site, &["work", "tidy", "tidied"]).await;
    assert_eq!(std::fs::read_to_string(site.file("said")).unwrap(), format!("{:?}", Status::Cancelled));
    site.end().await;
}

#[tokio::test]
async fn the_second_leaves_the_run_to_be_taken_up() {
    let site = Site::new();
    let mut program = program(&site);
    has_run(&site, &["work"]).await;
    interrupt(&program);
    has_run(&site, &["work", "tidy"]).await;
    interrupt(&program);
    assert!(ended(&mut program).await.success());
    assert_eq!(std::fs::read_to_string(site.file("said")).unwrap(), format!("{:?}", Kind::Cancelled));
    std::fs::write(site.file("go"), "").unwrap();
    let engine = site.open().await;
    assert_eq!(engine.run(&pipeline(&site)).key("k").await.unwrap().status, Status::Cancelled);
    has_run(&site, &["work", "tidy", "tidy", "tidied"]).await;
    engine.close().await.unwrap();
    site.end().await;
}
