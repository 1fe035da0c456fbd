//! The engine from outside: what a Rust user writes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

/// A step that failed can't be said to be done once the run has ended; the error says what can be done instead.
#[tokio::test]
async fn a_command_to_a_run_that_has_ended_says_how_it_runs_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut p = Pipeline::new("p");
    let bad = p.shell("bad", "exit 3");
    let _ = p.command("next", ["true"]).after(&bad);
    let engine = Engine::open(journal(dir.path())).await.unwrap();
    let run = engine.run(&p).key("k").start().await.unwrap();
    assert_eq!(run.outcome().await.unwrap().status, Status::Failed);
    let answer = StepAnswer::Done { value: 1.into() };
    let resolve = Command::Resolve { step: "bad".into(), answer, by: "ann".into() };
    let error = run.send(resolve.clone()).await.unwrap_err();
    assert_eq!(error.kind(), tidegate::error::Kind::Conflict);
    let told = format!(
        "the run has ended, and takes no commands (run: {})\n  help: what failed, was skipped or cancelled runs again \
         when it is started under its key with rerun_failed",
        run.id()
    );
    assert_eq!(error.to_string(), told);
    assert_eq!(engine.send(run.id(), resolve.clone()).await.unwrap_err().to_string(), told);
    assert_eq!(run.cancel("ann", "late").await.unwrap_err().to_string(), told);
    let nowhere = engine.send("nowhere", resolve).await.unwrap_err();
    assert_eq!((nowhere.kind(), nowhere.message()), (tidegate::error::Kind::NotFound, "there is no such run"));

    let again = engine.run(&p).key("k").rerun_failed("ann").await.unwrap();
    assert_eq!((again.status, again.steps["bad"].attempts), (Status::Failed, 2));
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_run_under_way_is_joined_with_its_own_definition_only() {
    let dir = tempfile::tempdir().unwrap();
    let waits = |what: &str| {
        let mut p = Pipeline::new("p");
        let _ = p.command("wait", ["sleep", what]);
        p
    };
    let engine = Engine::open(journal(dir.path())).await.unwrap();
    let run = engine.run(&waits("600")).key("k").start().await.unwrap();
    let error = engine.run(&waits("601")).key("k").start().await.unwrap_err();
    assert_eq!(error.kind(), tidegate::error::Kind::Conflict);
    assert!(error.message().contains("the pipeline has changed since the run started"), "{error}");
    let joined = engine.run(&waits("600")).key("k").start().await.unwrap();
    assert_eq!(joined.id(), run.id());
    joined.cancel("ann", "enough").await.unwrap();
    assert_eq!(run.outcome().await.unwrap().status, Status::Cancelled);
    engine.close().await.unwrap();
}

#[tokio::test]
async fn logs_lie_beside_the_journal_by_whatever_name_and_go_with_their_run() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("real.db"), b"").unwrap();
    std::os::unix::fs::symlink(dir.path().join("real.db"), dir.path().join("link.db")).unwrap();
    let mut p = Pipeline::new("p");
    let _ = p.shell("say", "echo hello");
    let engine = Engine::open(dir.path().join("link.db")).await.unwrap();
    let run = engine.run(&p).key("k").await.unwrap().run;
    let log = dir.path().join("real.db.logs").join(&run).join("say.1.log");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "hello\n");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folders = log.ancestors().skip(1).take(2);
    assert_eq!((mode(&log), folders.map(mode).collect::<Vec<_>>()), (0o600, vec![0o700, 0o700]), "private");
    assert!(!dir.path().join("link.db.logs").exists());
    engine.prune(&run).await.unwrap();
    assert!(!log.parent().unwrap().exists());
    assert!(engine.verify().await.unwrap().is_sound());
    engine.prune(&run).await.unwrap();
    engine.close().await.unwrap();
}

#[tokio::test]
async fn a_command_to_a_run_that_nobody_took_up_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut p = Pipeline::new("p");
    let _ = p.command("a", ["sleep", "600"]);
    let engine = Engine::open(journal(dir.path())).await.unwrap();
    let run = engine.run(&p).key("k").start().await.unwrap().id().to_owned();
    engine.close().await.unwrap();
    let engine = Engine::open(journal(dir.path())).await.unwrap();
    let cancel = Command::Cancel { by: "ann".into(), reason: String::new() };
    let error = engine.send(&run, cancel).await.unwrap_err();
    assert_eq!(error.message(), "no program has taken the run up again");
    assert!(error.to_string().contains("start the pipeline \"p\" under the key \"k\" again"), "{error}");
    engine.close().await.unwrap();
}

/// What a run's journal says of attempts that were cut off: by what, and whether that was before it was taken up again.
async fn cut_offs(run: &tidegate::Run) -> Vec<(String, bool)> {
    let mut events = run.events();
    let (mut found, mut resumed) = (Vec::new(), false);
    while found.is_empty() || !resumed {
        for event in events.next_batch(1).await {
            let event: serde_json::Value = serde_json::from_str(&event).unwrap();
            resumed |= event["kind"] == "run_resumed";
            if event["kind"] == "step_cut_off" {
                found.push((event["by"].as_str().unwrap_or("lost").to_owned(), resumed));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_does_not_heed_the_close_is_recorded_as_stopped_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut p = Pipeline::new("p");
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = std::sync::Mutex::new(ended);
    let _ = p.blocking("a", (), move |context, ()| {
        if context.attempt() == 1 {
            // Longer than any close waits for it.
            let _ = ended.lock().unwrap().recv();
        }
        Ok::<_, String>(context.attempt())
    });
    let engine = Engine::open(journal(dir.path())).await.unwrap();
    let run = engine.run(&p).key("k").start().await.unwrap();
    let mut events = run.events();
    while !events.next_batch(1).await.iter().any(|event| event.contains("step_started")) {}
    engine.close().await.unwrap();
    assert_eq!(run.outcome().await.unwrap_err().kind(), tidegate::error::Kind::Cancelled);
    drop(end);

    let engine = Engine::open(journal(dir.path())).await.unwrap();
    let run = engine.run(&p).key("k").start().await.unwrap();
    assert_eq!(run.outcome().await.unwrap().status, Status::Succeeded);
    assert_eq!(cut_offs(&run).await, [("close".to_owned(), false)]);
    engine.close().await.unwrap();
}

/// Dropping the last engine closes it: the driver records what it stopped, and only then gives the journal back.
#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_engine_is_an_orderly_close() {
    let dir = tempfile::tempdir().unwrap();
    let mut p = Pipeline::new("p");
    let _ = p.shell("a", "if [ \"$TIDEGATE_ATTEMPT\" = 1 ]; then sleep 30; fi");
    let engine = Engine::open(journal(dir.path())).await.unwrap();
    let run = engine.run(&p).key("k").start().await.unwrap();
    let mut events = run.events();
    while !events.next_batch(1).await.iter().any(|event| event.contains("step_started")) {}
    drop((run, engine));

    let engine = loop {
        match Engine::open(journal(dir.path())).await {
            Ok(engine) => break engine,
            Err(error) => assert_eq!(error.kind(), tidegate::error::Kind::Busy, "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    let run = engine.run(&p).key("k").start().await.unwrap();
    assert_eq!(run.outcome().await.unwrap().status, Status::Succeeded);
    assert_eq!(cut_offs(&run).await, [("close".to_owned(), false)]);
    engine.close().await.unwrap();
}

/// What ended well before the close, in the same moment, is not done twice; and what it freed is known not to have begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_close_right_at_the_end_of_a_step_loses_nothing() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let calls = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let mut p = Pipeline::new("p");
        let (called, (done, was_done)) = (calls.clone(), tokio::sync::watch::channel(false));
        let a = p.function("a", (), move |_, ()| {
            called.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            done.send_replace(true);
            async { Ok::<_, String>(()) }
        });
        let _ = p.function("pay", &a, |_, ()| async { Ok::<_, String>(()) }).once();
        let engine = Engine::open(journal(dir.path())).await.unwrap();
        let run = engine.run(&p).key("k").start().await.unwrap();
        let mut was_done = was_done;
        was_done.wait_for(|done| *done).await.unwrap();
        engine.close().await.unwrap();
        drop(run);

        let engine = Engine::open(journal(dir.path())).await.unwrap();
        let run = engine.run(&p).key("k").start().await.unwrap();
        let outcome = run.outcome().await.unwrap();
        let asks = outcome.steps["pay"].status == StepStatus::Asking;
        assert!(asks || outcome.status == Status::Succeeded, "{outcome:?}");
        let mut told = Vec::new();
        let mut events = run.events();
        loop {
            let batch = events.next_batch(64).await;
            if batch.is_empty() {
                break;
            }
            told.extend(batch.iter().map(|event| serde_json::from_str::<serde_json::Value>(event).unwrap()));
        }
        // It asks only if it had begun, and nothing was lost to a crash that was none.
        assert!(!told.iter().any(|event| event["kind"] == "step_cut_off" && event["by"].is_null()), "{told:#?}");
        assert_eq!(asks, told.iter().any(|event| event["step"] == "pay" && event["by"] == "close"), "{told:#?}");
        let starts = told.iter().filter(|event| event["kind"] == "step_started" && event["step"] == "a").count();
        assert_eq!(calls.load(std::sync::atomic::Ordering::SeqCst), u32::try_from(starts).unwrap(), "{told:#?}");
        engine.close().await.unwrap();
    }
}

/// In a run that succeeded, what failed was allowed to: nothing of it runs again, nor what came after it.
#[tokio::test]
async fn rerun_failed_leaves_a_run_that_succeeded_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let ran = dir.path().join("ran");
    let mut p = Pipeline::new("p");
    let note = |what: &str| format!("echo {what} >> '{}'", ran.display());
    let lint = p.shell("lint", format!("{}; exit 1", note("lint"))).allow_failure();
    let _ = p.shell("deploy", note("deploy")).after(&lint);
    for _ in 0..2 {
        let engine = Engine::open(journal(dir.path())).await.unwrap();
        let first = engine.run(&p).key("k").await.unwrap();
        assert_eq!(first.status, Status::Succeeded);
        assert_eq!(engine.run(&p).key("k").rerun_failed("ann").await.unwrap(), first);
        engine.close().await.unwrap();
    }
    assert_eq!(std::fs::read_to_string(ran).unwrap(), "lint\ndeploy\n");
}

/// A slow observer is shown what a fast one is, in the same order.
#[tokio::test]
async fn output_is_shown_between_the_events_between_which_it_came() {
    let mut p = Pipeline::new("p");
    let first = p.shell("first", "sleep 0.3; echo one; echo two");
    let _ = p.shell("second", "echo three").after(&first);
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(journal(dir.path())).await.unwrap();
    let run = engine.run(&p).start().await.unwrap();
    let observers = [1, 2, 3, usize::MAX].map(|most| (most, run.events()));
    run.outcome().await.unwrap();
    for (most, mut events) in observers {
        let mut told = Vec::new();
        loop {
            let batch = events.next_batch(most).await;
            assert!(batch.len() <= most);
            if batch.is_empty() {
                break;
            }
            told.extend(batch.iter().map(|event| {
                let event: serde_json::Value = serde_json::from_str(event).unwrap();
                event.get("line").unwrap_or(&event["kind"]).as_str().unwrap().to_owned()
            }));
        }
        let first = ["run_started", "step_started", "one", "two", "step_finished"];
        let second = ["step_started", "three", "step_finished", "run_finished"];
        assert_eq!(told, [first.as_slice(), &second].concat());
    }
    engine.close().await.unwrap();
}

/// Panics when it is dropped, as when the function that holds it is given up.
struct Fragile;

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "fragile");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_begins_when_the_one_before_it_has_ended() {
    let (together, most) = (AtomicU32::new(0), Arc::new(AtomicU32::new(0)));
    let (go_on, released) = std::sync::mpsc::channel::<()>();
    let (seen, released) = (Arc::clone(&most), Mutex::new(released));
    let mut p = Pipeline::new("p");
    let deaf = p.blocking("deaf", (), move |context, ()| {
        most.fetch_max(1 + together.fetch_add(1, SeqCst), SeqCst);
        if context.attempt() == 1 {
            let _ = released.lock().unwrap().recv();
        }
        together.fetch_sub(1, SeqCst);
        Ok::<_, String>(context.attempt())
    });
    let deaf = deaf.timeout("2s").attempts(9);
    let _ = p
        .function("breaks", (), |_, ()| async {
            let _guard = Fragile;
            std::future::pending::<Result<(), String>>().await
        })
        .timeout("2s")
        .allow_failure();
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(journal(dir.path())).await.unwrap();
    let run = engine.run(&p).start().await.unwrap();
    let mut events = run.events();
    let second = r#""kind":"step_started","step":"deaf","attempt":2"#;
    while !events.next_batch(1).await.concat().contains(second) {}
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(go_on);
    let outcome = run.outcome().await.unwrap();
    assert!(outcome.value(&deaf).unwrap() > 1);
    assert_eq!(outcome.steps["breaks"].status, StepStatus::Failed);
    assert_eq!(seen.load(SeqCst), 1, "attempts ran together");
    engine.close().await.unwrap();
}
