//! What a run does, case by case.

use std::sync::Arc;

use serde_json::json;

use super::world::{World, failed, inputs_of, kinds, need, ok, pipeline, retry, step};
use super::*;
use crate::error::Kind;
use crate::machine::Machine;
use crate::pipeline::When;
use crate::time::{Span, Time};

#[test]
fn a_finish_and_what_it_frees_are_one_batch() {
    let mut c = step("c", &["b"]);
    c.inputs = vec!["b".into(), "a".into()];
    let mut world = World::start(pipeline(vec![step("a", &[]), step("b", &["a"]), c]));
    assert_eq!(
        kinds(&world.report("a", Outcome::Succeeded { value: json!("A") })),
        ["step_finished a", "step_started b"]
    );
    world.report("b", Outcome::Succeeded { value: json!({"b": 1}) });
    assert_eq!(inputs_of(&world, "c"), [json!({"b": 1}), json!("A")]);
    assert_eq!(world.starts[2].idempotency_key, "r1/c");
    assert_eq!(kinds(&world.report("c", ok())), ["step_finished c", "run_finished"]);
    assert_eq!(world.state.status(), RunStatus::Finished(RunOutcome::Succeeded));
}

#[test]
fn a_failure_skips_what_needs_it_and_nothing_else() {
    let spec = pipeline(vec![step("a", &[]), step("b", &["a"]), step("c", &["b"]), step("x", &[]), step("y", &["x"])]);
    let mut world = World::start(spec);
    assert_eq!(kinds(&world.report("a", failed())), ["step_finished a", "step_skipped b", "step_skipped c"]);
    let Phase::Skipped { reason } = world.phase("b") else { panic!() };
    assert_eq!(reason.to_string(), "needs a, which failed");
    let Phase::Skipped { reason } = world.phase("c") else { panic!() };
    assert_eq!(reason.to_string(), "needs b, which was skipped");
    assert_eq!(world.drive(|_, _| ok()), RunStatus::Finished(RunOutcome::Failed));
    assert!(matches!(world.phase("y"), Phase::Succeeded { .. }));
}

#[test]
fn ready_steps_start_in_the_order_of_definition() {
    let mut spec = pipeline(vec![step("late", &["x"]), step("x", &[]), step("y", &[]), step("z", &[])]);
    spec.max_parallel = Some(1);
    let mut world = World::start(spec);
    world.drive(|_, _| ok());
    let order: Vec<&str> = world.starts.iter().map(|start| start.step.as_str()).collect();
    assert_eq!(order, ["x", "late", "y", "z"]);
}

#[test]
fn a_step_that_waits_for_its_next_attempt_holds_no_slot() {
    let mut a = step("a", &[]);
    a.retry = retry(3, "10s");
    let mut spec = pipeline(vec![a, step("b", &[]), step("c", &[])]);
    spec.max_parallel = Some(1);
    let mut world = World::start(spec);
    assert_eq!(kinds(&world.report("a", failed())), ["step_retrying a", "step_started b"]);
    // The wait ends while the only slot is taken: no tick is asked for, and `a` comes before `c`.
    world.pass(60);
    assert_eq!(kinds(&world.report("b", ok())), ["step_finished b", "step_started a"]);
    assert_eq!(world.starts.last().unwrap().attempt, 2);
    world.report("a", failed());
    assert_eq!(world.running(), ["c"]);
    world.report("c", ok());
    world.pass(19);
    assert!(world.running().is_empty());
    world.pass(1);
    assert_eq!(world.running(), ["a"]);
    world.report("a", failed());
    assert_eq!(world.state.status(), RunStatus::Finished(RunOutcome::Failed));
    assert_eq!(world.starts_of("a"), [1, 2, 3]);
}

#[test]
fn failures_say_when_and_whether_to_repeat() {
    let mut a = step("a", &[]);
    a.retry = retry(5, "1s");
    let mut world = World::start(pipeline(vec![a]));
    let error = StepError::new(Cause::Exception, "busy");
    world.report("a", Outcome::Failed { error: error.clone(), retry_in: Some(Span::seconds(30)) });
    assert_eq!(*world.phase("a"), Phase::BackingOff { until: world.now.after(Span::seconds(30)) });
    world.pass(30);
    world.report("a", Outcome::Failed { error: StepError { permanent: true, ..error }, retry_in: None });
    assert_eq!(world.run().outcome(), Some(RunOutcome::Failed));
}

#[test]
fn a_timeout_counts_when_the_attempt_is_gone() {
    let mut a = step("a", &[]);
    a.timeout = Some("5s".into());
    a.retry = retry(2, "1s");
    let mut world = World::start(pipeline(vec![a, step("b", &["a"])]));
    world.pass(5);
    assert_eq!(world.stops.get(&("a".into(), 1)), Some(&StopWhy::Timeout));
    // It needs its grace; meanwhile it holds its slot and nothing is asked again.
    world.pass(60);
    assert_eq!(*world.phase("a"), Phase::Running);
    let signal = StepError { last_lines: vec!["bye".into()], ..StepError::new(Cause::Signal { signal: 15 }, "TERM") };
    let events = world.report("a", Outcome::Failed { error: signal, retry_in: None });
    let [Event::StepRetrying { why, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((why.cause, why.message.as_str()), (Cause::Timeout, "took longer than its timeout: 5s"));
    assert_eq!(why.last_lines, ["bye"]);
    world.pass(1 + 5);
    world.report("a", Outcome::Stopped);
    assert_eq!(world.summary().0["b"], "skipped");
    assert_eq!(world.run().outcome(), Some(RunOutcome::Failed));
}

#[test]
fn a_deadline_spans_all_attempts() {
    let mut a = step("a", &[]);
    a.deadline = Some("60s".into());
    a.retry = retry(11, "10s");
    // As Argo's case `argo_max_duration_stops`: 10 s and 20 s are waited, the wait of 40 s would end too late.
    let mut world = World::start(pipeline(vec![a.clone()]));
    let start = world.now;
    world.drive(|_, _| failed());
    assert_eq!(world.starts_of("a"), [1, 2, 3]);
    assert_eq!(world.now.since(start), Span::seconds(30));
    let Phase::Failed { error } = world.phase("a") else { panic!() };
    assert_eq!(error.message, "exited with code 1; the next attempt would come after the step's deadline");
    // While it runs, it is stopped, and not repeated.
    let mut world = World::start(pipeline(vec![a]));
    world.pass(60);
    assert_eq!(world.stops.get(&("a".into(), 1)), Some(&StopWhy::Deadline));
    world.report("a", Outcome::Stopped);
    assert_eq!(world.run().outcome(), Some(RunOutcome::Failed));
}

#[test]
fn a_deadline_that_passes_while_every_slot_is_taken_ends_the_wait() {
    let mut a = step("a", &[]);
    a.deadline = Some("20s".into());
    a.retry = retry(9, "5s");
    let mut spec = pipeline(vec![a, step("b", &[])]);
    spec.max_parallel = Some(1);
    let mut world = World::start(spec);
    world.report("a", failed());
    world.pass(20);
    let Phase::Failed { error } = world.phase("a") else { panic!("{:?}", world.phase("a")) };
    assert_eq!(error.cause, Cause::Deadline);
    assert_eq!(world.running(), ["b"]);
}

#[test]
fn cancelling_stops_what_runs_and_still_cleans_up() {
    let mut backing = step("backing", &[]);
    backing.retry = retry(3, "30s");
    let mut tidy = step("tidy", &["a"]);
    tidy.cleanup = true;
    let mut last = step("last", &[]);
    last.cleanup = true;
    let mut world = World::start(pipeline(vec![step("a", &[]), backing, step("b", &["a"]), tidy, last]));
    world.report("backing", failed());
    world.pass(5);
    assert_eq!(
        kinds(&world.cancel()),
        ["cancel_requested", "step_stopping a", "step_finished backing", "step_skipped b"]
    );
    assert!(world.cancel().is_empty(), "asked twice is asked once");
    assert_eq!(
        kinds(&world.report("a", Outcome::Stopped)),
        ["step_finished a", "step_started tidy", "step_started last"]
    );
    world.report("tidy", ok());
    assert_eq!(world.state.status(), RunStatus::Running, "only when all is gone has it ended");
    world.report("last", ok());
    assert_eq!(world.run().outcome(), Some(RunOutcome::Cancelled));
    assert_eq!(world.starts_of("backing"), [1]);
    assert!(world.cancel().is_empty());
}

#[test]
fn what_ends_well_before_it_is_told_to_stop_has_succeeded() {
    let mut world = World::start(pipeline(vec![step("a", &[])]));
    world.cancel();
    world.report("a", ok());
    assert_eq!(world.run().outcome(), Some(RunOutcome::Succeeded));
}

#[test]
fn fail_fast_stops_the_rest_but_not_the_cleanup() {
    let mut tidy = step("tidy", &[]);
    tidy.cleanup = true;
    let mut lint = step("lint", &[]);
    lint.allow_failure = true;
    let mut spec = pipeline(vec![step("a", &[]), step("b", &[]), lint, step("c", &["b"]), tidy]);
    spec.fail_fast = true;
    let mut world = World::start(spec);
    assert_eq!(kinds(&world.report("lint", failed())), ["step_finished lint"]);
    assert_eq!(kinds(&world.report("a", failed())), ["step_finished a", "step_stopping b", "step_skipped c"]);
    let Phase::Skipped { reason } = world.phase("c") else { panic!() };
    assert_eq!(reason.to_string(), "a failed, and the pipeline stops at the first failure");
    assert_eq!(kinds(&world.report("b", Outcome::Stopped)), ["step_finished b", "step_started tidy"]);
    world.report("tidy", ok());
    assert_eq!(world.run().outcome(), Some(RunOutcome::Failed));
}

#[test]
fn a_value_that_can_not_be_stored_fails_the_step_with_the_place() {
    let mut world = World::start(pipeline(vec![step("a", &[])]));
    world.report("a", Outcome::Succeeded { value: json!({"n": [1_u64 << 53]}) });
    let Phase::Failed { error } = world.phase("a") else { panic!() };
    assert_eq!(error.cause, Cause::BadValue);
    assert!(error.message.contains("at: /n/0"), "{}", error.message);
}

/// A program that returns it once returns it again. What a command writes depends on more than the program.
#[test]
fn a_value_that_can_not_be_stored_is_tried_again_for_a_command_only() {
    let mut function = step("function", &[]);
    function.retry = retry(3, "1s");
    let action = serde_json::from_value(json!({"kind": "command", "shell": "date", "output": "json"})).unwrap();
    let mut command = crate::pipeline::StepSpec::new("command", action);
    command.retry = retry(3, "1s");
    let mut world = World::start(pipeline(vec![function, command]));
    let bad = || Outcome::Succeeded { value: json!(1_u64 << 53) };
    assert_eq!(kinds(&world.report("function", bad())), ["step_finished function"]);
    let Phase::Failed { error } = world.phase("function") else { panic!() };
    assert!(error.permanent && error.message.contains("beyond 2^53"), "{error:?}");
    assert_eq!(kinds(&world.report("command", bad())), ["step_retrying command"]);

    // So it is when the language's own layer found it.
    let mut function = step("function", &[]);
    function.retry = retry(3, "1s");
    let mut world = World::start(pipeline(vec![function]));
    let error = StepError::new(Cause::BadValue, "holds a number that is not finite: NaN, at /n");
    assert_eq!(
        kinds(&world.report("function", Outcome::Failed { error, retry_in: None })),
        ["step_finished function", "run_finished"]
    );
}

/// Each input costs as much as the edges it touches, however many steps there are.
#[test]
fn the_work_grows_with_the_edges_and_not_with_their_square() {
    for n in [1_000_usize, 8_000] {
        let mut steps: Vec<_> = (0..n).map(|i| step(&format!("s{i}"), &[])).collect();
        for (i, step) in steps.iter_mut().enumerate().skip(n / 2) {
            step.after = vec![need(&format!("s{}", i - n / 2), When::Success)];
        }
        let mut join = step("join", &[]);
        join.after = (0..n).map(|i| need(&format!("s{i}"), When::Success)).collect();
        steps.push(join);
        let mut world = World::start_with(pipeline(steps), 8, 1, false);
        while let Some(name) = world.run().running.first().map(|i| world.run().pipeline().name(*i).to_owned()) {
            world.report(&name, ok());
        }
        assert_eq!(world.run().outcome(), Some(RunOutcome::Succeeded));
        let edges = n / 2 + n;
        assert!(world.work <= 4 * (n + edges), "{n} steps and {edges} edges took {} looks", world.work);
    }
}

#[test]
fn params_have_one_hash_however_their_keys_are_ordered() {
    let (a, b) = (json!({"x": 1, "y": {"p": [1, "2"], "q": null}}), json!({"y": {"q": null, "p": [1, "2"]}, "x": 1}));
    assert_eq!(params_hash(&a), params_hash(&b));
    for other in [json!({"x": 1}), json!({"x": 1, "y": {"p": [1, 2], "q": null}}), json!([])] {
        assert_ne!(params_hash(&a), params_hash(&other));
    }
}

#[test]
fn before_its_start_a_run_takes_nothing_else_and_after_it_no_second_start() {
    let error = RunMachine::decide(&RunState::default(), &Input::Tick, Time(0)).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let mut world = World::start(pipeline(vec![step("a", &[])]));
    let again = Input::Start {
        run: "r2".into(),
        key: None,
        definition: Arc::new(world.spec.check().unwrap()),
        params: json!(null),
        seed: 1,
        cores: 1,
        epoch: 2,
    };
    assert_eq!(world.input(again).unwrap_err().kind(), Kind::Conflict);
}

/// A hundred thousand steps can be, each input touching its own edges only. (Straight through the machine: the world of
/// these tests looks at every step.)
#[test]
fn a_hundred_thousand_steps_run_to_their_end() {
    const STEPS: usize = 100_000;
    let steps = (0..STEPS).map(|i| {
        let mut new = step(&format!("s{i}"), &[]);
        new.after.extend((i >= 10).then(|| need(&format!("s{}", i - 10), When::Success)));
        new
    });
    let start = Input::Start {
        run: "r".into(),
        key: None,
        definition: Arc::new(pipeline(steps.collect()).check().unwrap()),
        params: json!(null),
        seed: 1,
        cores: 8,
        epoch: 1,
    };
    let mut state = RunState::default();
    let (mut inputs, mut work, mut most) = (vec![start], 0, 0);
    while let Some(input) = inputs.pop() {
        let (events, looked_at) = decide::decide(&state, &input, Time(0)).unwrap();
        for event in &events {
            RunMachine::apply(&mut state, event, Time(0));
            if let Event::StepStarted { step, attempt, token } = event {
                let (step, attempt, token) = (step.clone(), *attempt, *token);
                inputs.push(Input::StepOutcome { step, attempt, token, outcome: ok() });
            }
        }
        if !matches!(input, Input::Start { .. }) {
            (work, most) = (work + looked_at, most.max(looked_at));
        }
    }
    assert_eq!(state.status(), RunStatus::Finished(RunOutcome::Succeeded));
    assert!(most <= 20, "one input looked at {most} steps and edges");
    assert!(work <= 4 * STEPS, "{work} looks");
}
