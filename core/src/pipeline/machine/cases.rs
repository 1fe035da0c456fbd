//! Facts about how other engines treat graphs that no conformance case tells, as the rules or the words differ.

use super::world::{World, failed, need, ok, pipeline, step};
use super::*;
use crate::pipeline::When;

/// Case `act_job_status_check` by our rule: a need looks at its step alone, so `next` runs.
#[test]
fn a_need_looks_at_its_step_alone() {
    let (mut one, mut two) = (step("suc1", &[]), step("suc2", &[]));
    one.after = vec![need("fail", When::Done)];
    two.after = vec![need("fail", When::Done)];
    let mut world = World::start(pipeline(vec![step("fail", &[]), one, two, step("next", &["suc1", "suc2"])]));
    world.drive(|name, _| if name == "fail" { failed() } else { ok() });
    assert_eq!(world.summary().0["next"], "succeeded");
    assert_eq!(world.run().outcome(), Some(RunOutcome::Failed));
}

/// Case `tk_guard_result_dependents`: order goes on past a step that was skipped, a value does not.
#[test]
fn a_value_that_is_missing_skips_who_wants_it() {
    let (mut order, mut value) = (step("order", &[]), step("value", &[]));
    order.after = vec![need("skipped", When::Done)];
    value.after = vec![need("skipped", When::Done)];
    value.inputs = vec!["skipped".into()];
    let mut skipped = step("skipped", &[]);
    skipped.after = vec![need("first", When::Failure)];
    let mut world = World::start(pipeline(vec![step("first", &[]), skipped, order, value]));
    world.drive(|_, _| ok());
    let (steps, run) = world.summary();
    assert_eq!((steps["skipped"].as_str(), steps["order"].as_str()), ("skipped", "succeeded"));
    assert_eq!(steps["value"], "skipped");
    assert_eq!(run, Some(RunOutcome::Succeeded));
    let Phase::Skipped { reason } = world.phase("skipped") else { panic!() };
    assert_eq!(reason.to_string(), "runs if first fails, which succeeded");
}

/// Case `gh_matrix_max_parallel`: five equal jobs, two at a time, take three waves.
#[test]
fn steps_run_in_waves() {
    let names = ["a", "b", "c", "d", "e"];
    let mut spec = pipeline(names.iter().map(|name| step(name, &[])).collect());
    spec.max_parallel = Some(2);
    let mut world = World::start(spec);
    let mut waves = 0;
    while world.run().outcome().is_none() {
        let running: Vec<String> = world.running().iter().map(|name| (*name).to_owned()).collect();
        assert!(running.len() <= 2);
        waves += 1;
        running.iter().for_each(|name| drop(world.report(name, ok())));
    }
    assert_eq!(waves, 3);
}

/// Case `ninja_pool_failing_task_frees_slot`: a step that failed gives its slot back.
#[test]
fn a_failed_step_frees_its_slot() {
    let mut spec = pipeline(vec![step("out1", &[]), step("out2", &[])]);
    spec.max_parallel = Some(1);
    let mut world = World::start(spec);
    world.report("out1", failed());
    assert_eq!(world.running(), ["out2"]);
}
