//! Steps: how they end, what follows, and what becomes of them when they are stopped or their driver is killed.

use serde_json::json;
use tidegate::pipeline::{ActionSpec, Guarantee, Jitter, NeedSpec, Output, RetrySpec, StepSpec, When};
use tidegate::simulate::Script;
use tidegate::time::Span;
use tidegate::{Command, StepAnswer};

use crate::play::Play;
use crate::stories::{command, function, pipeline};

/// Takes no time and succeeds.
fn well() -> Script {
    Script { takes: Span::millis(20), spread: Span::ZERO, ..Script::default() }
}

fn failing(times: u32) -> Script {
    Script { fails: times, ..well() }
}

/// Runs until it is stopped.
fn endless() -> Script {
    Script { takes: Span::seconds(600), ..well() }
}

fn retry(attempts: u32) -> Option<RetrySpec> {
    Some(RetrySpec { attempts, initial: Some("30ms".into()), factor: None, cap: None, jitter: Some(Jitter::None) })
}

fn on(step: &str, when: When) -> NeedSpec {
    NeedSpec { step: step.to_owned(), when: Some(when) }
}

fn cancel() -> Command {
    Command::Cancel { by: "ann".to_owned(), reason: "enough".to_owned() }
}

fn with_output(mut step: StepSpec, wanted: Output) -> StepSpec {
    if let ActionSpec::Command { output, .. } = &mut step.action {
        *output = wanted;
    }
    step
}

/// Of steps that run side by side the order is not determined: only of one at a time.
fn play(steps: Vec<StepSpec>) -> Play {
    let mut play = Play::new(pipeline("p", steps));
    for step in play.chapter().pipeline.steps.clone() {
        play = play.script(&step.name, well());
    }
    play.chapter().pipeline.max_parallel = Some(1);
    play
}

fn side_by_side(mut play: Play) -> Play {
    play.chapter().pipeline.max_parallel = Some(2);
    play
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_what_steps_return_and_commands_write() {
    let values = [
        ("none", command("none", &[]), json!({ "a": 1 })),
        ("text", with_output(command("text", &[]), Output::Text), json!("two words")),
        ("number", with_output(command("number", &[]), Output::Text), json!(5)),
        ("json", with_output(command("json", &[]), Output::Json), json!({ "a": [1, 2.5, null] })),
        ("last", with_output(command("last", &[]), Output::LastLineJson), json!(["x"])),
        ("function", function("function", &[]), json!({ "b": true })),
    ];
    let mut all = play(values.iter().map(|(_, step, _)| step.clone()).collect());
    for (name, _, value) in values {
        all = all.script(name, Script { value, ..well() });
    }
    let end = all.same().await;
    assert_eq!(end.status, ["succeeded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_can_not_be_stored_fail_the_step() {
    let large = json!("x".repeat(2 << 20));
    let deep = (0..200).fold(json!(1), |value, _| json!([value]));
    let steps = vec![
        StepSpec { retry: retry(2), ..function("large", &[]) },
        StepSpec { retry: retry(2), ..function("deep", &[]) },
        function("integer", &[]),
    ];
    let all = play(steps).script("large", Script { value: large, ..well() });
    let all = all.script("deep", Script { value: deep, ..well() });
    let end = all.script("integer", Script { value: json!(1_u64 << 60), ..well() }).same().await;
    assert_eq!(end.status, ["failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_and_what_follows_from_it() {
    let mut tidy = command("tidy", &[]);
    tidy.cleanup = true;
    let mut allowed = command("allowed", &[]);
    allowed.allow_failure = true;
    let mut mourns = function("mourns", &[]);
    mourns.after = vec![on("bad", When::Failure)];
    let mut anyway = command("anyway", &[]);
    anyway.after = vec![on("bad", When::Done), on("next", When::Done)];
    let steps = vec![
        command("bad", &[]),
        function("worse", &[]),
        command("next", &["bad"]),
        mourns,
        anyway,
        allowed,
        command("goes-on", &["allowed"]),
        tidy,
    ];
    let all = play(steps).script("bad", failing(u32::MAX)).script("worse", failing(u32::MAX));
    let end = all.script("allowed", failing(u32::MAX)).same().await;
    assert_eq!(end.status, ["failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_repeated_as_often_as_they_may() {
    let steps = vec![
        StepSpec { retry: retry(3), ..command("mended", &[]) },
        StepSpec { retry: retry(3), ..function("mended-too", &["mended"]) },
        StepSpec { retry: retry(2), ..command("given-up", &["mended-too"]) },
    ];
    let all = play(steps).script("mended", failing(2)).script("mended-too", failing(1));
    let end = all.script("given-up", failing(u32::MAX)).same().await;
    assert_eq!(end.begun.values().copied().collect::<Vec<_>>(), [2, 3, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_too_long_is_stopped_and_says_so() {
    let slow = |step: StepSpec| StepSpec { timeout: Some("400ms".into()), retry: retry(2), ..step };
    let late = |step: StepSpec| StepSpec { deadline: Some("400ms".into()), retry: retry(3), ..step };
    let steps = vec![
        slow(command("slow", &[])),
        slow(function("slow-too", &[])),
        late(command("late", &[])),
        late(function("late-too", &[])),
        command("needs-it", &["slow"]),
    ];
    let names: Vec<String> = steps.iter().take(4).map(|step| step.name.clone()).collect();
    let all = names.iter().fold(play(steps), |all, name| all.script(name, endless()));
    assert_eq!(all.same().await.status, ["failed"]);
}

/// One that ignores its stop is killed, or given up, after its grace.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_heed_its_stop_ends_after_its_grace() {
    let mut deaf = command("deaf", &[]);
    if let ActionSpec::Command { grace, .. } = &mut deaf.action {
        *grace = Some("200ms".into());
    }
    deaf.timeout = Some("400ms".into());
    // Were it waited for, its second attempt would come too late.
    (deaf.retry, deaf.deadline) = (retry(2), Some("2m".into()));
    let all = play(vec![deaf]).script("deaf", Script { stops_in: Span::seconds(300), ..endless() });
    assert_eq!(all.same().await.status, ["failed"]);
}

/// What ends well only because it was told to stop has not succeeded.
#[tokio::test(flavor = "multi_thread")]
async fn what_ends_while_it_is_stopped_has_not_succeeded() {
    for step in [command("a", &[]), function("a", &[])] {
        let step = StepSpec { timeout: Some("500ms".into()), ..step };
        let script = Script { takes: Span::millis(1_500), stops_in: Span::seconds(5), ..well() };
        assert_eq!(play(vec![step]).script("a", script).same().await.status, ["failed"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_in_the_middle() {
    for runs in [command("runs", &["first"]), function("runs", &["first"])] {
        let mut tidy = command("tidy", &[]);
        tidy.cleanup = true;
        let all = play(vec![command("first", &[]), runs, command("never", &["runs"]), tidy]);
        let all = all.script("runs", endless()).say(Span::seconds(60), "step_started runs", cancel());
        assert_eq!(all.same().await.status, ["cancelled"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_can_not_be_is_refused_and_told() {
    let (step, by, reason) = ("runs".to_owned(), "ann".to_owned(), String::new());
    let promote = Command::Promote { step: step.clone(), by: by.clone(), reason: reason.clone() };
    let nowhere = Command::Abort { step: "nowhere".to_owned(), by: by.clone(), reason };
    let resolve = Command::Resolve { step, answer: StepAnswer::Fail, by };
    let all = play(vec![command("runs", &[])]).script("runs", endless());
    let all = all.say(Span::seconds(10), "step_started runs", promote);
    let all = all.say(Span::seconds(20), "command_refused runs", nowhere);
    let all = all.say(Span::seconds(30), "command_refused nowhere", resolve);
    let end = all.say(Span::seconds(60), "\"verb\":\"resolve\"", cancel()).same().await;
    assert_eq!(end.told[0].iter().filter(|line| line.starts_with("command_refused")).count(), 3, "{:#?}", end.told);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_failure_stops_the_rest() {
    // It may be stopped before it could begin: how often one with a limit begins is not compared.
    let runs = StepSpec { timeout: Some("5m".into()), ..command("runs", &[]) };
    let all = play(vec![runs, command("bad", &[]), function("never", &["bad"])]);
    let mut all = side_by_side(all.script("runs", endless()).script("bad", failing(1)));
    all.chapter().pipeline.fail_fast = true;
    all.chapter().scripts.get_mut("bad").unwrap().takes = Span::millis(300);
    assert_eq!(all.same().await.status, ["failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_driver_is_followed_by_one_that_goes_on() {
    for runs in [command("runs", &["first"]), function("runs", &["first"])] {
        let all = play(vec![command("first", &[]), runs, command("last", &["runs"])]);
        let end = all.kill("step_started runs 1").same().await;
        assert_eq!((end.status[0], end.begun["r/runs"]), ("succeeded", 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kills_its_driver_again_and_again_asks() {
    let with = async |answer, status| {
        let mut all = play(vec![command("runs", &[]), command("next", &["runs"])]);
        all.chapter().person.answers = Some(answer);
        for cue in ["step_started runs 1", "step_started runs 2", "step_started runs 3"] {
            all = all.kill(cue);
        }
        let end = all.same().await;
        assert_eq!(end.status[0], status);
        assert!(end.told[0].iter().any(|line| line.contains("cut_off_too_often")), "{:#?}", end.told);
    };
    tokio::join!(
        with(StepAnswer::RunAgain, "succeeded"),
        with(StepAnswer::Fail, "failed"),
        with(StepAnswer::Done { value: json!(7) }, "succeeded"),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_run_twice_asks_when_its_driver_is_killed() {
    for answer in [None, Some(StepAnswer::Done { value: json!("paid") })] {
        let pay = StepSpec { guarantee: Guarantee::Once, ..function("pay", &[]) };
        let mut all = play(vec![pay, command("next", &["pay"])]).script("pay", endless());
        all.chapter().person.answers = answer.clone();
        let end = all.kill("step_started pay 1").same().await;
        assert_eq!((end.status[0], end.begun["r/pay"]), (if answer.is_some() { "succeeded" } else { "asking" }, 1));
    }
}
