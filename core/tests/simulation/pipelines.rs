//! Pipelines without rollouts, crashed everywhere: retries, timeouts, cleanup, cancel, `once`.

use tidegate::pipeline::{Guarantee, RetrySpec, RunOutcome, RunStatus, StepSpec};
use tidegate::simulate::{Chapter, End, Finish, Moment, Person, Script, Story};
use tidegate::time::Span;
use tidegate::{Command, StepAnswer};

use crate::crashes::{DOWNS, whole};
use crate::stories::*;

fn script(seconds: u64, fails: u32) -> Script {
    Script { takes: Span::seconds(seconds), fails, ..Script::default() }
}

fn retried(mut step: StepSpec, attempts: u32) -> StepSpec {
    step.retry = Some(RetrySpec { attempts, initial: Some("2s".into()), factor: None, cap: None, jitter: None });
    step
}

/// Each single fault; what was written outside may be more than without one (at least once), the rest is equal.
fn crash_everywhere(name: &str, story: &Story, check: impl Fn(&End)) -> End {
    let expected = whole(story);
    let faults = story.points(0, &DOWNS).unwrap();
    for fault in &faults {
        let end = story.with(vec![*fault]).tell().unwrap();
        assert_eq!(end.broken, Vec::<String>::new(), "{name}: {fault:?}");
        let (mut found, wanted) = (end.picture(), expected.picture());
        found.wrote.clone_from(&wanted.wrote);
        assert_eq!(found, wanted, "{name}: {fault:?}");
        check(&end);
    }
    check(&expected);
    eprintln!("figure: crash at every point of {name}: {} points, seed {}", faults.len(), story.seed);
    expected
}

#[test]
fn retries_and_what_needs_them() {
    let steps = vec![
        command("fetch", &[]),
        retried(command("flaky", &["fetch"]), 4),
        retried(function("hopeless", &["fetch"]), 3),
        command("after", &["flaky"]),
        command("never", &["hopeless"]),
    ];
    let chapter =
        Chapter::new("r", pipeline("p", steps)).script("flaky", script(1, 2)).script("hopeless", script(1, 99));
    let end = crash_everywhere("retries", &Story::new(31, chapter), |end| {
        // A crash uses up no retry: as many executions failed as may.
        let failed = |done: &&tidegate::simulate::Execution| {
            done.step == "hopeless" && matches!(done.ended, Some((_, Finish::Failed))) && done.recorded
        };
        assert_eq!(end.executions.iter().filter(failed).count(), 3);
    });
    let words: Vec<&str> = end.runs[0].steps.values().copied().collect();
    assert_eq!(words, ["succeeded", "succeeded", "succeeded", "failed", "skipped"]);
}

#[test]
fn a_timeout_and_the_cleanup_after_it() {
    let mut slow = command("slow", &[]);
    slow.timeout = Some("5s".into());
    let mut tidy = command("tidy", &[]);
    tidy.cleanup = true;
    let chapter = Chapter::new("r", pipeline("p", vec![slow, command("next", &["slow"]), tidy]));
    let end = crash_everywhere("a timeout", &Story::new(32, chapter.script("slow", script(600, 0))), |end| {
        assert!(end.executions.iter().all(|done| done.step != "next"));
        assert!(end.executions.iter().any(|done| done.step == "tidy" && done.recorded));
    });
    assert_eq!(end.runs[0].status, RunStatus::Finished(RunOutcome::Failed));
}

#[test]
fn a_cancel_stops_what_runs_and_cleans_up() {
    let mut tidy = command("tidy", &["long"]);
    tidy.cleanup = true;
    let steps = vec![command("long", &[]), function("other", &[]), command("next", &["long"]), tidy];
    let cancel = Command::Cancel { by: "ann".to_owned(), reason: "wrong branch".to_owned() };
    let chapter = Chapter::new("r", pipeline("p", steps))
        .script("long", script(900, 0))
        .script("other", script(900, 0))
        .say(Moment::After(Span::seconds(5)), cancel);
    let end = crash_everywhere("a cancel", &Story::new(33, chapter), |end| {
        assert!(end.executions.iter().any(|done| done.step == "tidy" && done.recorded));
    });
    assert_eq!(end.runs[0].status, RunStatus::Finished(RunOutcome::Cancelled));
}

#[test]
fn a_once_step_runs_once_and_asks() {
    let mut pay = command("pay", &["before"]);
    pay.guarantee = Guarantee::Once;
    let mut chapter = Chapter::new("r", pipeline("p", vec![command("before", &[]), pay, command("after", &["pay"])]));
    chapter.person = Person { promotes: false, answers: Some(StepAnswer::Done { value: serde_json::Value::Null }) };
    crash_everywhere("once", &Story::new(34, chapter), |end| {
        assert!(end.executions.iter().filter(|done| done.step == "pay").count() <= 1);
    });

    // Without an answer the run stops, and whatever happened happened at most once.
    let mut pay = command("pay", &[]);
    pay.guarantee = Guarantee::Once;
    let story = Story::new(35, Chapter::new("r", pipeline("p", vec![pay])));
    let mut asked = 0;
    for fault in story.points(0, &DOWNS).unwrap() {
        let end = story.with(vec![fault]).tell().unwrap();
        assert_eq!((end.broken.len(), end.executions.len() <= 1), (0, true), "{fault:?} {:?}", end.broken);
        asked += u32::from(end.runs[0].status == RunStatus::Asking);
    }
    assert!(asked >= 3, "{asked}");
}
