//! The conformance cases that all languages share (`tests/conformance`), through the API that a Rust user writes.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidegate::engine::{Command, Events};
use tidegate::pipeline::{RetrySpec, When};
use tidegate::time::Time;
use tidegate::{Context, Engine, Error, Outcome, Pipeline, Run, Start, StepRef};

/// How long anything may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often each function was called.
type Calls = Arc<Mutex<BTreeMap<String, u64>>>;

/// What a scripted function returns: JSON, or a number that JSON may have no word for.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Given {
    Json(Value),
    Number(f64),
}

/// What a scripted function does, as the case says.
async fn play(script: Value, calls: Calls, context: Context, inputs: Vec<Given>) -> Result<Given, String> {
    *calls.lock().unwrap().entry(context.step().to_owned()).or_default() += 1;
    if script["waits"] == true {
        context.stopped().await;
        return Err("asked to stop".to_owned());
    }
    if let Some(message) = script["raises"].as_str() {
        let until = script["raise_until_attempt"].as_u64().unwrap_or(u64::MAX);
        if u64::from(context.attempt()) < until {
            return Err(message.to_owned());
        }
    }
    let text = || "x".repeat(usize::try_from(script["length"].as_u64().unwrap()).unwrap());
    let value = match script["gives"].as_str() {
        Some("inputs") => serde_json::to_value(inputs).unwrap(),
        Some("params") => context.params().clone(),
        Some("attempt") => context.attempt().into(),
        Some("length") => match inputs.first() {
            Some(Given::Json(Value::String(text))) => text.len().into(),
            _ => panic!("expected a text"),
        },
        Some("text") => text().into(),
        Some("nested") => (0..script["levels"].as_u64().unwrap()).fold(json!(1), |inner, _| json!([inner])),
        Some("nan") => return Ok(Given::Number(f64::NAN)),
        Some("infinity") => return Ok(Given::Number(f64::INFINITY)),
        Some("minus infinity") => return Ok(Given::Number(f64::NEG_INFINITY)),
        Some("minus zero") => return Ok(Given::Number(-0.0)),
        Some(other) => panic!("unknown script: {other}"),
        None => script["returns"].clone(),
    };
    Ok(Given::Json(value))
}

fn function(
    pipeline: &mut Pipeline,
    name: &str,
    inputs: &[StepRef<Given>],
    script: Value,
    calls: &Calls,
) -> StepRef<Given> {
    let calls = Arc::clone(calls);
    match inputs {
        [] => pipeline.function(name, (), move |context, ()| play(script.clone(), calls.clone(), context, vec![])),
        [a] => pipeline.function(name, a, move |context, a| play(script.clone(), calls.clone(), context, vec![a])),
        [a, b] => pipeline
            .function(name, (a, b), move |context, (a, b)| play(script.clone(), calls.clone(), context, vec![a, b])),
        _ => panic!("the cases use at most two inputs"),
    }
}

fn build(case: &Value, calls: &Calls) -> Pipeline {
    let mut pipeline = Pipeline::new(case["pipeline"].as_str().unwrap_or("p"));
    if let Some(steps) = case["max_parallel"].as_u64() {
        pipeline = pipeline.max_parallel(u32::try_from(steps).unwrap());
    }
    if case["fail_fast"] == true {
        pipeline = pipeline.fail_fast();
    }
    let mut values: Vec<StepRef<Given>> = Vec::new();
    for step in case["steps"].as_array().unwrap() {
        let name = step["name"].as_str().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        if step["shell"].is_null() && step["command"].is_null() {
            let wanted = step["inputs"].as_array().cloned().unwrap_or_default();
            let of = |name: &Value| values.iter().find(|step| name == step.name()).unwrap().clone();
            let inputs: Vec<_> = wanted.iter().map(of).collect();
            let script = case["scripts"].get(name).unwrap_or(step);
            let made = function(&mut pipeline, name, &inputs, script.clone(), calls);
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
    if let Some(deadline) = case["deadline"].as_str() {
        step = step.deadline(deadline);
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

/// Whether values are equal in every language: numbers by what they are worth.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// Whether something is as wanted: an object has at least these fields, one with `_says` contains that text; the value
/// of a step is exactly that.
fn holds(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            let field = found.get(name).unwrap_or(&Value::Null);
            match name.strip_suffix("_says") {
                Some(name) => {
                    let text = found.get(name).and_then(Value::as_str);
                    text.is_some_and(|text| text.contains(wanted.as_str().unwrap()))
                }
                None if name == "value" => same(field, wanted),
                None => holds(field, wanted),
            }
        }),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| holds(found, wanted))
        }
        _ => same(found, wanted),
    }
}

/// The next event; `None` at the end. How long a retry waits is told as `wait_ms`.
async fn next(events: &mut Events) -> Option<Value> {
    let batch = tokio::time::timeout(PATIENCE, events.next_batch(1)).await.expect("no event for long");
    let mut event: Value = serde_json::from_str(batch.first()?).unwrap();
    if let (Some(next), Some(at)) = (event["next_attempt_at"].as_i64(), event["at"].as_str()) {
        event["wait_ms"] = (next - at.parse::<Time>().unwrap().0).into();
    }
    Some(event)
}

/// Waits for an event.
async fn seen(run: &Run, wanted: &Value) {
    let mut events = run.events();
    while let Some(event) = next(&mut events).await {
        if holds(&event, wanted) {
            return;
        }
    }
    panic!("never seen: {wanted}");
}

/// Checks what was told of a run that has ended.
async fn check_told(run: &Run, case: &Value, name: &str) {
    if let Some(wanted) = case["events"].as_array() {
        let mut events = run.events();
        let mut found = Vec::new();
        while let Some(event) = next(&mut events).await {
            if !event["seq"].is_null() {
                found.push(event);
            }
        }
        assert!(holds(&json!(found), &json!(wanted)), "{name}: events {found:#?}");
    }
    if let Some(wanted) = case["lines"].as_array() {
        let mut lines = run.lines();
        let mut found = Vec::new();
        while let Some(line) = lines.next().await {
            found.push(line);
        }
        assert!(wanted.iter().all(|line| found.iter().any(|found| line == found)), "{name}: {found:#?}");
    }
}

/// The answer that a case gives.
fn answer_of(resolve: &Value) -> Command {
    let mut answer = json!({"kind": resolve["answer"]});
    if let Some(value) = resolve.get("value") {
        answer["value"] = value.clone();
    }
    let step = resolve["step"].as_str().unwrap().to_owned();
    Command::Resolve { step, answer: serde_json::from_value(answer).unwrap(), by: "ann".to_owned() }
}

/// Does what the case asks for while the run goes on, and waits for its outcome.
async fn drive(start: Start, engine: &Engine, case: &Value, name: &str) -> Result<Outcome, Error> {
    let run = start.start().await?;
    if !case["cancel_at"].is_null() {
        seen(&run, &case["cancel_at"]).await;
        run.cancel("ann", "enough").await?;
    }
    if !case["close_at"].is_null() {
        seen(&run, &case["close_at"]).await;
        engine.clone().close().await?;
    }
    for resolve in case["resolve"].as_array().into_iter().flatten() {
        let asking = serde_json::to_value(run.outcome().await?).unwrap();
        assert_eq!(asking["status"], "asking", "{name}: {asking}");
        let step = resolve["step"].as_str().unwrap();
        assert!(holds(&asking["steps"][step], &resolve["asks"]), "{name}: {asking}");
        run.send(answer_of(resolve)).await?;
    }
    let outcome = tokio::time::timeout(PATIENCE, run.outcome()).await.expect("no outcome for long")?;
    check_told(&run, case, name).await;
    if !case["resolve_after"].is_null() {
        run.send(answer_of(&case["resolve_after"])).await?;
    }
    Ok(outcome)
}

/// One run of a case, by an engine of its own.
async fn check_run(case: &Value, calls: &Calls, journal: &Path, name: &str) {
    let engine = Engine::open(journal).await.unwrap();
    let mut start = engine.run(&build(case, calls));
    if !case["params"].is_null() {
        start = start.params(&case["params"]);
    }
    if let Some(key) = case["key"].as_str() {
        start = start.key(key);
    }
    if let Some(by) = case["rerun_failed"].as_str() {
        start = start.rerun_failed(by);
    }
    let result = drive(start, &engine, case, name).await;
    if let Some(faults) = case["faults"].as_array() {
        let error = result.expect_err(name);
        assert_eq!(error.kind().as_str(), "invalid", "{name}");
        let found = json!(error.faults().iter().map(|f| [&f.pointer, &f.message]).collect::<Vec<_>>());
        assert_eq!(found.as_array().unwrap(), faults, "{name}");
        assert!(engine.runs(10).await.unwrap().is_empty(), "{name}: nothing is recorded");
    } else if !case["error"].is_null() {
        let error = result.expect_err(name).to_json();
        assert!(holds(&error, &case["error"]), "{name}: {error}");
    } else {
        let outcome = serde_json::to_value(result.unwrap_or_else(|error| panic!("{name}: {error}"))).unwrap();
        assert_eq!(outcome["status"], case["status"], "{name}: {outcome}");
        let wanted = case["expect"].as_object().unwrap();
        assert_eq!(outcome["steps"].as_object().unwrap().len(), wanted.len(), "{name}: every step is expected");
        assert!(holds(&outcome["steps"], &case["expect"]), "{name}: {outcome:#}");
    }
    if case["close_at"].is_null() {
        engine.close().await.unwrap();
    }
}

/// The runs of a case over one journal: each has the case's fields, but for those that it says itself.
async fn check(case: &Value, dir: &Path) {
    let name = case["case"].as_str().unwrap();
    let calls = Calls::default();
    let alone = [json!({})];
    for run in case["runs"].as_array().map_or(&alone[..], Vec::as_slice) {
        let mut whole = case.clone();
        whole.as_object_mut().unwrap().extend(run.as_object().unwrap().clone());
        check_run(&whole, &calls, &dir.join("journal.db"), name).await;
    }
    if !case["calls"].is_null() {
        assert_eq!(json!(*calls.lock().unwrap()), case["calls"], "{name}: how often functions were called");
    }
}

async fn check_all(text: &str) {
    let cases: Vec<Value> = serde_json::from_str(text).unwrap();
    assert!(!cases.is_empty());
    let mut failed = Vec::new();
    for case in &cases {
        let dir = tempfile::tempdir().unwrap();
        // Every case is tried, whatever the others gave.
        if AssertUnwindSafe(check(case, dir.path())).catch_unwind().await.is_err() {
            failed.push(&case["case"]);
        }
    }
    assert!(failed.is_empty(), "failed, see above: {failed:?}");
}

#[tokio::test]
async fn runs_end_as_the_cases_say() {
    check_all(include_str!("../../tests/conformance/runs.json")).await;
}

#[tokio::test]
async fn definitions_have_the_faults_that_the_cases_say() {
    check_all(include_str!("../../tests/conformance/faults.json")).await;
}

#[tokio::test]
async fn journals_are_taken_up_as_the_cases_say() {
    check_all(include_str!("../../tests/conformance/sequences.json")).await;
}

#[tokio::test]
async fn graphs_end_as_they_do_elsewhere() {
    check_all(include_str!("../../tests/conformance/graphs.json")).await;
}
