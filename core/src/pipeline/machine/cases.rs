//! Facts about how other engines treat graphs, as far as this crate means to do the same.

use std::collections::BTreeMap;

use serde_json::Value;

use super::world::{World, failed, need, ok, pipeline, retry, step};
use super::*;
use crate::pipeline::{PipelineSpec, StepSpec, When};

const CASES: &str = include_str!("../../../../tests/cases/pipeline/dag_cases.json");

/// The cases with rules that this crate does not share, and why.
const OTHER_RULES: [(&str, &str); 3] = [
    ("act_job_status_check", "GitHub looks at every ancestor, this crate at direct needs"),
    ("argo_fail_fast_default", "Argo lets running tasks finish, this crate stops them"),
    ("argo_terminate_with_retries", "Argo says failed, this crate cancelled"),
];

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value[field].as_str()
}

/// What a condition of another engine says about each need; `None` if a need alone can't say it.
fn condition(task: &Value) -> Option<When> {
    if task["when"] == false {
        return None;
    }
    match (text(task, "condition"), text(task, "when")) {
        (None, None) => Some(When::Success),
        (Some("always()" | "success() || failure()"), None) => Some(When::Done),
        (Some("failure()"), None) | (None, Some("on_failure")) => Some(When::Failure),
        _ => None,
    }
}

/// The step that a task is; `None` if it says something that this part of the crate does not have.
fn translate(task: &Value) -> Option<StepSpec> {
    let known = [
        "name",
        "needs",
        "after",
        "depends",
        "condition",
        "when",
        "outcome",
        "continue_on_error",
        "allow_failure",
        "retries",
        "retry",
        "attempt_outcomes",
        "still_running_when_C_fails",
        "stage",
    ];
    if task.as_object()?.keys().any(|key| !known.contains(&key.as_str())) {
        return None;
    }
    let when = condition(task)?;
    let mut new = step(text(task, "name")?, &[]);
    for field in ["needs", "after"] {
        for on in task[field].as_array().into_iter().flatten() {
            new.after.push(need(on.as_str()?, when));
        }
    }
    if let Some(depends) = text(task, "depends") {
        let (on, when) = match depends.split_once('.') {
            Some((on, "Succeeded")) => (on, When::Success),
            Some((on, "Failed")) => (on, When::Failure),
            _ => return None,
        };
        if on.starts_with(['!', '(']) || on.contains(' ') {
            return None;
        }
        new.after.push(need(on, when));
    }
    new.allow_failure = task["continue_on_error"] == true || task["allow_failure"] == true;
    if let Some(retries) = task["retries"].as_u64().or(task["retry"].as_u64()) {
        new.retry = retry(retries as u32 + 1, "1s");
    }
    Some(new)
}

/// The pipeline of a case; `None` if it says something that this part of the crate does not have.
fn graph_of(case: &Value) -> Option<PipelineSpec> {
    let tasks = case["tasks"].as_array().or(case["jobs"].as_array())?;
    let mut steps = tasks.iter().map(translate).collect::<Option<Vec<_>>>()?;
    // GitLab: without needs, a job waits for every job of earlier stages; `on_failure` runs if any of them failed.
    for (i, job) in tasks.iter().enumerate().filter(|(_, job)| job["stage"].is_u64() && job["needs"].is_null()) {
        let when = condition(job)?;
        for before in tasks.iter().filter(|before| before["stage"].as_u64() < job["stage"].as_u64()) {
            steps[i].after.push(need(text(before, "name")?, when));
        }
    }
    Some(PipelineSpec { fail_fast: case["fail_fast"] == true, ..pipeline(steps) })
}

/// An outcome's name in this crate.
fn word(name: &str) -> Option<&'static str> {
    Some(match name.to_lowercase().as_str() {
        "success" | "succeeded" => "succeeded",
        "failure" | "failed" => "failed",
        "skipped" | "omitted" => "skipped",
        "success with warnings" => "succeeded",
        _ => return None,
    })
}

#[test]
fn graphs_end_as_they_do_elsewhere() {
    let cases: Value = serde_json::from_str(CASES).unwrap();
    let mut tried = BTreeMap::new();
    for case in cases["cases"].as_array().unwrap() {
        let id = text(case, "id").unwrap();
        if OTHER_RULES.iter().any(|(other, _)| *other == id) {
            continue;
        }
        let Some(spec) = graph_of(case) else { continue };
        if let Some(expected) = text(case, "expected_error") {
            let error = spec.check().unwrap_err().to_string();
            let wanted = match expected.split_once(':') {
                Some(("unknown_need", name)) => format!("there is no step {name:?}"),
                _ if expected == "cycle" => "a → b → a".to_owned(),
                _ => "at least one step".to_owned(),
            };
            assert!(error.contains(&wanted), "{id}: {error}");
            tried.insert(id, 1);
            continue;
        }
        if !spec.steps.iter().all(|step| step.after.iter().all(|on| spec.steps.iter().any(|s| s.name == on.step))) {
            continue;
        }
        let tasks = case["tasks"].as_array().or(case["jobs"].as_array()).unwrap();
        let outcome = |name: &str, attempt: u32| {
            let task = tasks.iter().find(|task| text(task, "name") == Some(name)).unwrap();
            let nth = task["attempt_outcomes"][attempt as usize - 1].as_str();
            let said = nth.or(text(task, "outcome")).unwrap_or("success").to_lowercase();
            if said.starts_with("fail") { failed() } else { ok() }
        };
        if tasks.iter().any(|task| matches!(text(task, "outcome"), Some("Errored" | "cancelled" | "running"))) {
            continue;
        }
        let mut world = World::start(spec);
        world.drive(outcome);
        let (steps, run) = world.summary();
        let mut facts = 0;
        for field in ["expected_own_outcome", "expected_task_status", "expected"] {
            for (name, expected) in case[field].as_object().into_iter().flatten() {
                let Some(expected) = expected.as_str().and_then(word) else { continue };
                assert_eq!(steps[name.as_str()], expected, "{id}: {name}");
                facts += 1;
            }
        }
        for (name, expected) in case["expected_skipped"].as_object().into_iter().flatten() {
            if case["skip_reason"].is_null() {
                assert_eq!(steps[name.as_str()] == "skipped", expected == true, "{id}: {name}");
                facts += 1;
            }
        }
        for (name, expected) in case["expected_attempts"].as_object().into_iter().flatten() {
            assert_eq!(world.starts_of(name).len() as u64, expected.as_u64().unwrap(), "{id}: {name}");
            facts += 1;
        }
        // Argo judges a run by the leaves of its graph; here a step that failed and is not allowed to fails the run.
        if text(case, "semantics") != Some("argo_depends") {
            for field in ["expected_run_status", "expected_pipeline"] {
                if let Some(expected) = text(case, field).and_then(word) {
                    assert_eq!(serde_json::to_value(run).unwrap(), expected, "{id}");
                    facts += 1;
                }
            }
        }
        let order: Vec<&str> =
            case["expected_ran_in_a_valid_order"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !order.is_empty() {
            let mut ran: Vec<&str> = world.starts.iter().map(|start| start.step.as_str()).collect();
            let mut expected = order;
            ran.sort_unstable();
            expected.sort_unstable();
            assert_eq!(ran, expected, "{id}");
        }
        tried.insert(id, facts);
    }
    tried.retain(|_, facts| *facts > 0);
    assert!(tried.len() >= 24, "only {} cases were tried: {tried:?}", tried.len());
}

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
