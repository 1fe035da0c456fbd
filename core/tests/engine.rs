//! The engine from outside: what a Rust user writes.

use tidegate::pipeline::{Jitter, RetrySpec};
use tidegate::{Command, Engine, Pipeline, Status, StepAnswer, StepStatus};

fn journal(dir: &std::path::Path) -> std::path::PathBuf {
    dir.join("release.db")
}

#[tokio::test]
async fn a_run_ends_once_and_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let ran = dir.path().join("ran");
    let mut release = Pipeline::new("release");
    let script = format!("echo built >> {}; echo hello", ran.display());
    let build = release.shell("build", script).text();
    let count = release.function("count", &build, |_, text: String| async move { Ok::<_, std::io::Error>(text.len()) });
    let double = release.blocking("double", (&count, &build), |_, (n, _): (usize, String)| Ok::<_, String>(2 * n));

    let engine = Engine::open(journal(dir.path())).await.unwrap();
    let outcome = engine.run(&release).key("v1").await.unwrap();
    assert_eq!(outcome.status, Status::Succeeded, "{outcome:?}");
    assert_eq!(outcome.value(&double).unwrap(), 10);
    let again = engine.run(&release).key("v1").await.unwrap();
    assert_eq!(again, outcome);
    engine.close().await.unwrap();

    let engine = Engine::open(journal(dir.path())).await.unwrap();
    let later = engine.run(&release).key("v1").await.unwrap();
    assert_eq!(later, outcome);
    let other = engine.run(&release).key("v1").params(1).await.unwrap_err();
    assert!(other.to_string().contains("other params"), "{other}");
    engine.close().await.unwrap();
    assert_eq!(std::fs::read_to_string(ran).unwrap(), "built\n");
}

#[tokio::test]
async fn a_failure_skips_what_needs_it_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut p = Pipeline::new("p");
    let bad = p.shell("bad", "echo last words >&2; exit 3");
    let _ = p.command("never", ["true"]).after(&bad);
    let _ = p.command("other", ["true"]);
    let _ = p.command("missing", ["no-such-program-here"]);
    let engine = Engine::open(journal(dir.path())).await.unwrap();
    let outcome = engine.run(&p).await.unwrap();
    assert_eq!(outcome.status, Status::Failed);
    let reason = |step: &str| outcome.steps[step].reason.clone().unwrap_or_default();
    assert_eq!(reason("bad"), "exited with code 3");
    assert_eq!(outcome.steps["bad"].last_lines, ["last words"]);
    assert_eq!(reason("never"), "needs bad, which failed");
    assert!(reason("missing").contains("PATH"), "{}", reason("missing"));
    assert_eq!(outcome.steps["other"].status, tidegate::StepStatus::Succeeded);
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_is_asked_for_after_an_answer_knows_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut p = Pipeline::new("p").max_parallel(20);
    let names: Vec<String> = (0..20).map(|i| format!("once-{i}")).collect();
    for name in &names {
        let _ = p
            .function(name, (), |context, ()| async move {
                context.stopped().await;
                Err::<(), _>("stopped")
            })
            .once();
    }
    let engine = Engine::open(journal(dir.path())).await.unwrap();
    let _ = engine.run(&p).key("k").start().await.unwrap();
    engine.close().await.unwrap();

    let engine = Engine::open(journal(dir.path())).await.unwrap();
    let run = engine.run(&p).key("k").start().await.unwrap();
    assert_eq!(run.outcome().await.unwrap().status, Status::Asking);
    for name in &names {
        let answer = StepAnswer::Done { value: 1.into() };
        run.send(Command::Resolve { step: name.clone(), answer, by: "ann".to_owned() }).await.unwrap();
        let outcome = run.outcome().await.unwrap();
        assert_eq!(outcome.steps[name].status, StepStatus::Succeeded, "{name}");
    }
    assert_eq!(run.outcome().await.unwrap().status, Status::Succeeded);
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_retry_tells_when_it_failed_and_when_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut p = Pipeline::new("p");
    let retry =
        RetrySpec { attempts: 2, initial: Some("200ms".into()), factor: None, cap: None, jitter: Some(Jitter::None) };
    let _ = p.shell("a", "exit 7").retry(retry);
    let engine = Engine::open(journal(dir.path())).await.unwrap();
    let run = engine.run(&p).start().await.unwrap();
    let mut lines = run.lines();
    let mut told = Vec::new();
    while let Some(line) = lines.next().await {
        told.push(line);
    }
    assert!(told.iter().any(|line| line == "a: failed: exited with code 7; tried again in 0.2 s"), "{told:#?}");
    engine.close().await.unwrap();
}
