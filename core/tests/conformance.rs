//! The conformance cases that all languages share (`tests/conformance`), through the API that a Rust user writes.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tidegate::pipeline::{RetrySpec, When};
use tidegate::{Context, Engine, Pipeline, StepRef};

/// What a scripted function does, as the case says.
async fn play(script: Value, context: Context, inputs: Vec<Value>) -> Result<Value, String> {
    if let Some(ms) = script["sleeps_ms"].as_u64() {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    if let Some(message) = script["raises"].as_str() {
        let until = script["raise_until_attempt"].as_u64().unwrap_or(u64::MAX);
        if u64::from(context.attempt()) < until {
            return Err(message.to_owned());
        }
    }
    Ok(match script["gives"].as_str() {
        Some("inputs") => Value::Array(inputs),
        Some("params") => context.params().clone(),
        Some("length") => inputs.first().and_then(Value::as_str).map_or(Value::Null, |text| text.len().into()),
        Some("text") => "x".repeat(usize::try_from(script["length"].as_u64().unwrap()).unwrap()).into(),
        Some(other) => panic!("unknown script: {other}"),
        None => script["returns"].clone(),
    })
}

fn function(pipeline: &mut Pipeline, name: &str, inputs: &[StepRef<Value>], script: Value) -> StepRef<Value> {
    match inputs {
        [] => pipeline.function(name, (), move |context, ()| play(script.clone(), context, vec![])),
        [a] => pipeline.function(name, a, move |context, a| play(script.clone(), context, vec![a])),
        [a, b] => pipeline.function(name, (a, b), move |context, (a, b)| play(script.clone(), context, vec![a, b])),
        _ => panic!("the cases use at most two inputs"),
    }
}

fn build(case: &Value) -> Pipeline {
    let mut pipeline = Pipeline::new(case["pipeline"].as_str().unwrap_or("p"));
    if let Some(steps) = case["max_parallel"].as_u64() {
        pipeline = pipeline.max_parallel(u32::try_from(steps).unwrap());
    }
    if case["fail_fast"] == true {
        pipeline = pipeline.fail_fast();
    }
    let mut values: Vec<StepRef<Value>> = Vec::new();
    for step in case["steps"].as_array().unwrap() {
        let name = step["name"].as_str().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        if step["shell"].is_null() && step["command"].is_null() {
            let wanted = step["inputs"].as_array().cloned().unwrap_or_default();
            let of = |name: &Value| values.iter().find(|step| name == step.name()).unwrap().clone();
            let inputs: Vec<_> = wanted.iter().map(of).collect();
            let made = function(&mut pipeline, name, &inputs, step.clone());
            values.push(options(made, step));
            continue;
        }
        let made = match step["shell"].as_str() {
            Some(script) => pipeline.shell(name, script),
            None => pipeline.command(name, step["command"].as_array().unwrap().iter().map(text)),
        };
        let made = options(made, step);
        match step["output"].as_str() {
            Some("json") => values.push(made.json()),
            Some("text") => drop(made.text()),
            _ => drop(made),
        }
    }
    pipeline
}

fn options<T>(mut step: StepRef<T>, case: &Value) -> StepRef<T> {
    for need in case["after"].as_array().into_iter().flatten() {
        step = match need.as_str() {
            Some(name) => step.after_named(name),
            None => {
                // A reference is all that after_when takes; a pipeline of its own gives one of that name.
                let other = Pipeline::new("names").command(need["step"].as_str().unwrap(), ["true"]);
                step.after_when(&other, serde_json::from_value::<When>(need["when"].clone()).unwrap())
            }
        };
    }
    if !case["retry"].is_null() {
        step = step.retry(serde_json::from_value::<RetrySpec>(case["retry"].clone()).unwrap());
    }
    if let Some(timeout) = case["timeout"].as_str() {
        step = step.timeout(timeout);
    }
    if case["cleanup"] == true {
        step = step.cleanup();
    }
    if case["allow_failure"] == true {
        step = step.allow_failure();
    }
    if case["once"] == true {
        step = step.once();
    }
    step
}

async fn check(case: &Value, dir: &Path) {
    let name = case["case"].as_str().unwrap();
    let engine = Engine::open(dir.join("journal.db")).await.unwrap();
    let mut start = engine.run(&build(case));
    if !case["params"].is_null() {
        start = start.params(&case["params"]);
    }
    let result = start.await;
    if let Some(faults) = case["faults"].as_array() {
        let error = result.expect_err(name);
        let found = serde_json::json!(error.faults().iter().map(|f| [&f.pointer, &f.message]).collect::<Vec<_>>());
        assert_eq!(found.as_array().unwrap(), faults, "{name}");
    } else {
        let outcome = serde_json::to_value(result.unwrap_or_else(|error| panic!("{name}: {error}"))).unwrap();
        assert_eq!(outcome["status"], case["status"], "{name}: {outcome}");
        let wanted = case["expect"].as_object().unwrap();
        assert_eq!(outcome["steps"].as_object().unwrap().len(), wanted.len(), "{name}: every step is expected");
        for (step, fields) in wanted {
            for (field, value) in fields.as_object().unwrap() {
                assert_eq!(&outcome["steps"][step][field], value, "{name}: {field} of {step}: {outcome}");
            }
        }
    }
    engine.close().await.unwrap();
}

async fn check_all(text: &str) {
    let cases: Vec<Value> = serde_json::from_str(text).unwrap();
    assert!(!cases.is_empty());
    for case in &cases {
        let dir = tempfile::tempdir().unwrap();
        check(case, dir.path()).await;
    }
}

#[tokio::test]
async fn runs_end_as_the_cases_say() {
    check_all(include_str!("../../tests/conformance/runs.json")).await;
}

#[tokio::test]
async fn definitions_have_the_faults_that_the_cases_say() {
    check_all(include_str!("../../tests/conformance/faults.json")).await;
}
