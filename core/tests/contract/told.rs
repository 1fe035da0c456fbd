//! What two worlds must agree on: events without what only one telling of them has.

use serde_json::{Map, Value};

/// What no two tellings have in common: times, tokens, ids, and where chance comes from.
const OWN: [&str; 8] = ["seq", "at", "run", "epoch", "token", "seed", "next_attempt_at", "biased"];
/// What depends on how often somebody looked, and on who was drawn.
const PASSING: [&str; 4] = ["seen", "window_judged", "window_left_out", "settled"];
/// What sentences say that count requests.
const COUNTED: [&str; 2] = ["readings running", "passed the bound of"];

/// A durable event as it must be told in either world; `None` for what may come or not.
pub(crate) fn told(event: &str) -> Option<String> {
    let mut event: Value = serde_json::from_str(event).unwrap();
    let kind = event["kind"].as_str().unwrap().to_owned();
    if kind.starts_with("output") {
        return None;
    }
    if kind == "rollout" {
        let inner = event["event"].as_object_mut().unwrap();
        let kind = inner["kind"].as_str().unwrap().to_owned();
        if PASSING.contains(&kind.as_str()) {
            return None;
        }
        if kind == "verdict" {
            inner.retain(|field, _| ["kind", "verdict"].contains(&field.as_str()));
        }
    }
    forget(&mut event);
    let object = event.as_object_mut().unwrap();
    let name = |object: &mut Map<String, Value>, field: &str| match object.remove(field) {
        Some(Value::String(name)) => format!(" {name}"),
        Some(Value::Number(number)) => format!(" {number}"),
        _ => String::new(),
    };
    let (step, attempt) = (name(object, "step"), name(object, "attempt"));
    object.remove("kind");
    let rest = match object.remove("event") {
        Some(Value::Object(mut inner)) => format!("{} {}", name(&mut inner, "kind").trim(), Value::Object(inner)),
        _ if object.is_empty() => String::new(),
        _ => Value::Object(std::mem::take(object)).to_string(),
    };
    Some(format!("{kind}{step}{attempt} {rest}").trim_end().to_owned())
}

/// Without holds that only changed: which of two versions is back first is chance.
pub(crate) fn settled(told: Vec<String>) -> Vec<String> {
    let mut settled: Vec<String> = Vec::new();
    for line in told {
        let holds = line.split(' ').nth(2) == Some("held");
        if holds && settled.last().is_some_and(|last| last.contains(" hold_ended ")) {
            settled.pop();
        } else {
            settled.push(line);
        }
    }
    settled
}

fn forget(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|field, _| !OWN.contains(&field.as_str()));
            fields.values_mut().for_each(forget);
        }
        Value::Array(items) => items.iter_mut().for_each(forget),
        Value::String(text) if COUNTED.iter().any(|says| text.contains(says)) => *text = without_numbers(text),
        Value::String(text) => *text = without_chance(text),
        _ => {}
    }
}

/// A sentence without ports, process ids and durations that a clock has measured.
fn without_chance(text: &str) -> String {
    let mut told = text.to_owned();
    if let Some((head, tail)) = told.split_once("(run: ") {
        let id = tail.find([',', ')']).unwrap_or(tail.len());
        told = format!("{head}(run: ID{}", &tail[id..]);
    }
    for (before, after) in [("on its port ", ""), ("held by pid: ", ""), ("exited with code 3, ", " s after its start")]
    {
        let Some((head, tail)) = told.split_once(before) else { continue };
        let number = tail.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(tail.len());
        if number > 0 && tail[number..].starts_with(after) {
            told = format!("{head}{before}N{}", &tail[number..]);
        }
    }
    told
}

/// A sentence with N for each number that does not belong to a name.
fn without_numbers(text: &str) -> String {
    let number = |word: &str| word.trim_start_matches('(').starts_with(|c: char| c.is_ascii_digit());
    text.split(' ').map(|word| if number(word) { "N" } else { word }).collect::<Vec<_>>().join(" ")
}
