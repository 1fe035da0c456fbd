//! What a run does after crashes, and when somebody decides what becomes of it.

use serde_json::json;

use super::world::{World, failed, inputs_of, kinds, need, ok, pipeline, retry, step};
use super::*;
use crate::error::Kind;
use crate::pipeline::{Guarantee, When};
use crate::time::Span;

fn answer(world: &mut World, step: &str, answer: Answer) -> crate::error::Result<Vec<Event>> {
    world.input(Input::Resolve { step: step.into(), answer, by: "ann".into() })
}

#[test]
fn a_cut_off_step_runs_again_under_the_same_key_and_uses_up_no_retry() {
    let mut a = step("a", &[]);
    a.retry = retry(2, "1s");
    let mut world = World::start(pipeline(vec![a]));
    assert_eq!(kinds(&world.crash()), ["run_resumed", "step_cut_off a", "step_started a"]);
    let [first, second] = &world.starts[..] else { panic!() };
    assert_eq!((second.attempt, second.sweep), (2, Some(1)));
    assert_eq!(first.idempotency_key, second.idempotency_key);
    assert!(second.token > first.token);
    // One failure, and one more attempt is left.
    world.report("a", failed());
    world.pass(1);
    world.report("a", ok());
    assert_eq!(world.run().outcome(), Some(RunOutcome::Succeeded));
    assert_eq!(world.starts_of("a"), [1, 2, 3]);
}

#[test]
fn a_late_result_of_an_older_attempt_is_refused() {
    let mut world = World::start(pipeline(vec![step("a", &[])]));
    let old = world.starts[0].clone();
    world.crash();
    let late = |start: &StartStep| Input::StepOutcome {
        step: "a".into(),
        attempt: start.attempt,
        token: start.token,
        outcome: ok(),
    };
    let error = world.input(late(&old)).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(
        error.to_string(),
        "the outcome of an attempt that is over (run: r1, step: a, attempt: 1, last attempt: 2)"
    );
    let forged = StartStep { token: old.token, ..world.starts[1].clone() };
    assert!(world.input(late(&forged)).is_err());
    world.report("a", ok());
    let twice = world.starts[1].clone();
    assert!(world.input(late(&twice)).is_err());
}

#[test]
fn a_step_that_kills_its_driver_asks_after_three_times() {
    let mut world = World::start(pipeline(vec![step("a", &[]), step("b", &["a"])]));
    world.crash();
    world.crash();
    assert_eq!(kinds(&world.crash()), ["run_resumed", "step_cut_off a", "step_asks a"]);
    assert_eq!(world.state.status(), RunStatus::Asking);
    assert_eq!(world.run().questions().collect::<Vec<_>>(), [("a", Question::CutOffTooOften { times: 3 })]);
    // Nothing happens by itself, not in a new driver either.
    assert_eq!(kinds(&world.crash()), ["run_resumed"]);
    assert_eq!(kinds(&answer(&mut world, "a", Answer::RunAgain).unwrap()), ["step_resolved a", "step_started a"]);
    assert_eq!(world.starts.last().unwrap().attempt, 4);
    assert_eq!(world.drive(|_, _| ok()), RunStatus::Finished(RunOutcome::Succeeded));
}

/// Case `a run is closed again and again`: no close counts towards the limit, before or after a crash.
#[test]
fn an_orderly_close_is_no_fault_of_the_step() {
    let mut a = step("a", &[]);
    a.retry = retry(2, "1s");
    let mut world = World::start(pipeline(vec![a, step("b", &["a"])]));
    for found in [AtClose::Ended(Outcome::Stopped), AtClose::Ended(failed()), AtClose::Left, AtClose::NotBegun] {
        assert_eq!(kinds(&world.close("a", found)), ["step_cut_off a"]);
        assert_eq!(kinds(&world.crash()), ["run_resumed", "step_started a"]);
    }
    assert_eq!(world.run().step("a").unwrap().cut_offs(), 0);
    // Crashes count as ever, also with a close between them.
    world.crash();
    world.close("a", AtClose::Ended(Outcome::Stopped));
    world.crash();
    world.crash();
    assert_eq!(world.state.status(), RunStatus::Running);
    assert_eq!(kinds(&world.crash()), ["run_resumed", "step_cut_off a", "step_asks a"]);
    // No failure was counted.
    answer(&mut world, "a", Answer::RunAgain).unwrap();
    assert_eq!(kinds(&world.report("a", failed())), ["step_retrying a"]);
}

#[test]
fn what_ends_well_while_the_engine_closes_is_kept_and_what_it_frees_waits() {
    let mut world = World::start(pipeline(vec![step("a", &[]), step("b", &["a"])]));
    assert_eq!(kinds(&world.close("a", AtClose::Ended(ok()))), ["step_finished a"]);
    assert_eq!(kinds(&world.crash()), ["run_resumed", "step_started b"]);
    assert_eq!(kinds(&world.close("b", AtClose::Ended(ok()))), ["step_finished b", "run_finished"]);
    // It happened to be told to stop for another reason, and that is why it ended.
    let mut world = World::start(pipeline(vec![step("a", &[])]));
    world.cancel();
    assert_eq!(kinds(&world.close("a", AtClose::Left)), [""; 0]);
    assert_eq!(kinds(&world.close("a", AtClose::Ended(failed()))), ["step_finished a", "run_finished"]);
    assert_eq!(world.run().outcome(), Some(RunOutcome::Cancelled));
}

#[test]
fn a_once_step_asks_after_a_close_unless_it_had_not_begun() {
    let mut pay = step("pay", &[]);
    pay.guarantee = Guarantee::Once;
    let spec = pipeline(vec![pay]);
    for found in [AtClose::Ended(Outcome::Stopped), AtClose::Ended(failed()), AtClose::Left] {
        let mut world = World::start(spec.clone());
        assert_eq!(kinds(&world.close("pay", found)), ["step_cut_off pay", "step_asks pay"]);
        assert_eq!(kinds(&world.crash()), ["run_resumed"]);
        assert_eq!(world.state.status(), RunStatus::Asking);
    }
    let mut world = World::start(spec);
    assert_eq!(kinds(&world.close("pay", AtClose::NotBegun)), ["step_cut_off pay"]);
    assert_eq!(kinds(&world.crash()), ["run_resumed", "step_started pay"]);
}

/// All attempts together have their deadline, closed or not.
#[test]
fn a_step_whose_deadline_passes_while_the_engine_is_closed_fails() {
    let mut a = step("a", &[]);
    a.deadline = Some("10s".into());
    let mut world = World::start(pipeline(vec![a]));
    world.close("a", AtClose::Ended(Outcome::Stopped));
    world.now = world.now.after(Span::seconds(10));
    assert_eq!(kinds(&world.crash()), ["run_resumed", "step_finished a", "run_finished"]);
    let Phase::Failed { error } = world.phase("a") else { panic!() };
    assert_eq!(error.cause, Cause::Deadline);
}

#[test]
fn a_once_step_never_runs_again_by_itself() {
    let mut pay = step("pay", &[]);
    pay.guarantee = Guarantee::Once;
    let mut after = step("after", &[]);
    after.inputs = vec!["pay".into()];
    let spec = pipeline(vec![pay, after, step("other", &[])]);
    let mut world = World::start(spec.clone());
    assert_eq!(
        kinds(&world.crash()),
        ["run_resumed", "step_cut_off pay", "step_asks pay", "step_cut_off other", "step_started other"]
    );
    assert_eq!(world.state.status(), RunStatus::Running, "the rest goes on");
    world.report("other", ok());
    assert_eq!(world.state.status(), RunStatus::Asking);
    assert_eq!(answer(&mut world, "other", Answer::RunAgain).unwrap_err().kind(), Kind::Conflict);
    let events = answer(&mut world, "pay", Answer::Done { value: json!("receipt 7") }).unwrap();
    assert_eq!(kinds(&events), ["step_resolved pay", "step_started after"]);
    assert_eq!(inputs_of(&world, "after"), [json!("receipt 7")]);
    assert_eq!(world.starts_of("pay"), [1]);

    let mut world = World::start(spec.clone());
    world.crash();
    let events = answer(&mut world, "pay", Answer::Fail).unwrap();
    assert_eq!(kinds(&events), ["step_resolved pay", "step_skipped after"]);
    world.report("other", ok());
    assert_eq!(world.run().outcome(), Some(RunOutcome::Failed));

    // Its exit status was taken by somebody else: nobody knows either.
    let mut world = World::start(spec);
    assert_eq!(kinds(&world.report("pay", Outcome::Lost)), ["step_cut_off pay", "step_asks pay"]);
    // Cancelled and run again, it still asks.
    world.cancel();
    world.report("other", Outcome::Stopped);
    assert_eq!(world.run().outcome(), Some(RunOutcome::Cancelled));
    let events = world.input(Input::RerunFailed { by: "ann".into(), epoch: 2 }).unwrap();
    assert_eq!(kinds(&events), ["run_reopened", "step_asks pay", "step_started other"]);
}

/// Between its timeout and its end it may have taken effect, and nobody was there to see it: its retry must not repeat it.
#[test]
fn a_once_step_that_timed_out_in_a_crash_asks_before_it_is_repeated() {
    let mut pay = step("pay", &[]);
    pay.guarantee = Guarantee::Once;
    pay.timeout = Some("1s".into());
    pay.retry = retry(3, "1s");
    let mut world = World::start(pipeline(vec![pay]));
    world.pass(1);
    assert_eq!(world.run().step("pay").unwrap().stopping(), Some(&StopWhy::Timeout));
    assert_eq!(kinds(&world.crash()), ["run_resumed", "step_cut_off pay", "step_asks pay"]);
    assert_eq!(world.state.status(), RunStatus::Asking);
    assert_eq!(kinds(&answer(&mut world, "pay", Answer::RunAgain).unwrap()), ["step_resolved pay", "step_started pay"]);
    // Seen to its end, a timeout is a failure like any other.
    world.pass(1);
    assert_eq!(kinds(&world.report("pay", Outcome::Stopped)), ["step_retrying pay"]);
}

/// A run that was stopped repeats nothing, so that there is nothing to ask.
#[test]
fn a_once_step_that_timed_out_in_a_crash_of_a_stopped_run_does_not_ask() {
    let mut pay = step("pay", &[]);
    pay.guarantee = Guarantee::Once;
    pay.timeout = Some("1s".into());
    pay.retry = retry(3, "1s");
    let mut spec = pipeline(vec![pay, step("check", &[])]);
    spec.fail_fast = true;
    let mut world = World::start(spec);
    world.pass(1);
    assert_eq!(world.run().step("pay").unwrap().stopping(), Some(&StopWhy::Timeout));
    assert_eq!(kinds(&world.report("check", failed()))[0], "step_finished check");
    assert_eq!(kinds(&world.crash()), ["run_resumed"]);
    assert_eq!(kinds(&world.report("pay", Outcome::Stopped)), ["step_finished pay", "run_finished"]);
}

#[test]
fn what_was_being_stopped_in_a_crash_is_stopped_and_not_started_again() {
    let mut tidy = step("tidy", &["a"]);
    tidy.cleanup = true;
    let mut world = World::start(pipeline(vec![step("a", &[]), tidy]));
    world.cancel();
    assert_eq!(kinds(&world.crash()), ["run_resumed"]);
    assert!(matches!(world.stops.get(&("a".into(), 1)), Some(StopWhy::Cancelled { .. })));
    world.report("a", Outcome::Stopped);
    assert_eq!(world.running(), ["tidy"]);
    world.crash();
    assert_eq!(world.starts_of("tidy"), [1, 2]);
    world.report("tidy", ok());
    assert_eq!(world.run().outcome(), Some(RunOutcome::Cancelled));
}

#[test]
fn failed_steps_run_again_and_finished_ones_do_not() {
    let mut alarm = step("alarm", &[]);
    alarm.after = vec![need("good", When::Failure), need("bad", When::Failure)];
    let mut tidy = step("tidy", &[]);
    tidy.cleanup = true;
    let spec = pipeline(vec![step("good", &[]), step("bad", &["good"]), step("next", &["bad"]), alarm, tidy]);
    let mut world = World::start(spec);
    let rerun = Input::RerunFailed { by: "ann".into(), epoch: 2 };
    assert_eq!(world.input(rerun.clone()).unwrap_err().kind(), Kind::Conflict);
    world.drive(|name, _| if name == "bad" { failed() } else { ok() });
    assert_eq!(world.run().outcome(), Some(RunOutcome::Failed));
    let events = world.input(rerun.clone()).unwrap();
    assert_eq!(kinds(&events), ["run_reopened", "step_started bad"]);
    let Event::RunReopened { steps, by, .. } = &events[0] else { panic!() };
    assert_eq!((steps.join(" ").as_str(), by.as_str()), ("bad next tidy", "ann"));
    assert!(world.starts.last().unwrap().token > world.starts[1].token);
    assert_eq!(world.drive(|_, _| ok()), RunStatus::Finished(RunOutcome::Succeeded));
    assert_eq!(world.starts_of("good"), [1]);
    assert_eq!(world.starts_of("bad"), [1, 2]);
    assert_eq!(world.starts_of("tidy"), [1, 2]);
    assert!(world.input(rerun).unwrap_err().message().contains("nothing is left"));
}

/// Case `skip_failed_and_continue`: each of a, b and c ran once, and who said that b is done is recorded.
#[test]
fn a_failed_step_can_be_said_to_be_done() {
    let mut c = step("c", &[]);
    c.inputs = vec!["b".into()];
    let mut world = World::start(pipeline(vec![step("a", &[]), step("b", &["a"]), c]));
    world.report("a", ok());
    world.report("b", failed());
    assert_eq!(world.run().outcome(), Some(RunOutcome::Failed));
    let events = answer(&mut world, "b", Answer::Done { value: json!(2) }).unwrap();
    assert_eq!(kinds(&events), ["run_reopened", "step_resolved b", "step_started c"]);
    assert_eq!(inputs_of(&world, "c"), [json!(2)]);
    world.report("c", ok());
    assert_eq!(world.run().outcome(), Some(RunOutcome::Succeeded));
    assert_eq!(world.starts.len(), 3);
}

/// Who sent it from elsewhere finds that in the run, which goes on as it was. A run that has ended stays as it is.
#[test]
fn a_command_that_was_refused_is_recorded_and_changes_nothing() {
    let mut world = World::start(pipeline(vec![step("a", &[]), step("b", &["a"])]));
    let why = "the step asks nothing".to_owned();
    let refused = Input::Refuse { verb: "resolve".into(), step: Some("a".into()), by: "ann".into(), why };
    let before = format!("{:?}", world.state);
    assert_eq!(kinds(&world.input(refused.clone()).unwrap()), ["command_refused a"]);
    assert_eq!(format!("{:?}", world.state), before);
    world.drive(|_, _| ok());
    assert!(world.input(refused).unwrap().is_empty());
}

#[test]
fn another_definition_is_an_error_that_shows_the_difference() {
    let mut world = World::start(pipeline(vec![step("a", &[])]));
    let mut changed = world.spec.clone();
    changed.steps[0].version = Some("2".into());
    changed.steps.push(step("b", &[]));
    let error = world.input(Input::Resume { epoch: 2, definition: Box::new(changed) }).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains("+ step b\n~ step a /version: (not set) → \"2\""), "{error}");
    assert_eq!(world.run().epoch(), 1);
    let stale = Input::Resume { epoch: 1, definition: Box::new(world.spec.clone()) };
    assert_eq!(world.input(stale).unwrap_err().kind(), Kind::Conflict);
}

#[test]
fn waits_survive_a_restart() {
    let mut a = step("a", &[]);
    a.retry = retry(10, "60s");
    let mut world = World::start(pipeline(vec![a]));
    let start = world.now;
    world.report("a", failed());
    // Down from 20 s to 30 s: the attempt still starts at 60 s.
    world.now = start.after(Span::seconds(30));
    world.crash();
    world.pass(29);
    assert_eq!(world.starts_of("a"), [1]);
    world.pass(1);
    assert_eq!(world.starts_of("a"), [1, 2]);
    // Down until long after the wait of 120 s: it starts at once. (The cut-off is the crash's, the wait goes on.)
    world.report("a", failed());
    world.now = world.now.after(Span::seconds(500));
    world.crash();
    assert_eq!(world.starts_of("a"), [1, 2, 3]);
}

/// A driver that lost an append folds again and goes on: what has no recorded outcome is asked for again, as it was.
#[test]
fn what_has_no_outcome_is_pending() {
    let mut slow = step("slow", &[]);
    slow.timeout = Some("1s".into());
    let mut world = World::start(pipeline(vec![step("a", &[]), slow, step("b", &["a"])]));
    world.pass(1);
    let pending = <RunMachine as crate::machine::Machine>::pending(&world.fold(world.events.len()));
    let [Effect::StartStep(start), Effect::StopStep { step, attempt: 1, why: StopWhy::Timeout, .. }] = &pending[..]
    else {
        panic!("{pending:?}")
    };
    assert_eq!(*start, world.starts[0]);
    assert_eq!(step, "slow");
}

/// A run that was cancelled and is run again repeats failures as ever, and can be cancelled again.
#[test]
fn a_cancelled_run_that_goes_on_is_as_any_other() {
    let mut a = step("a", &[]);
    a.retry = retry(2, "1s");
    let mut world = World::start(pipeline(vec![a, step("b", &["a"])]));
    world.cancel();
    world.report("a", Outcome::Stopped);
    assert_eq!(world.run().outcome(), Some(RunOutcome::Cancelled));
    world.input(Input::RerunFailed { by: "ann".into(), epoch: 2 }).unwrap();
    assert_eq!(kinds(&world.report("a", failed())), ["step_retrying a"]);
    world.pass(1);
    assert_eq!(kinds(&world.cancel()), ["cancel_requested", "step_stopping a", "step_skipped b"]);
    world.report("a", Outcome::Stopped);
    assert_eq!(world.run().outcome(), Some(RunOutcome::Cancelled));
}
