//! What must hold however often the driver was killed: held against the journal as another process reads it, against
//! what the steps left in a file, and against what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tidegate::journal::{Reader, Stored};

use crate::Failed;
use crate::session::Driver;

pub(crate) const PIPELINE: &str = "release";
/// The steps that must not begin twice.
const ONCE: [&str; 2] = ["tag", "publish"];
/// Each with what must have been through before it begins.
const ORDER: [(&str, &str, &str); 5] = [
    ("sum", "test", "end"),
    ("sum", "flaky", "end"),
    ("publish", "sum", "end"),
    ("tag", "build", "end"),
    ("publish", "tag", "start"),
];
const FAILURES: usize = 2;

/// What was acknowledged of one run, by sequence number.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged(BTreeMap<u64, String>);

impl Acknowledged {
    /// Adds what one life of the driver said; two lives must not contradict each other.
    pub(crate) fn add(&mut self, lines: &[String]) -> Result<(), Failed> {
        for line in lines {
            let seq = serde_json::from_str::<Value>(line)?["seq"].as_u64().ok_or("an event without a number")?;
            if let Some(known) = self.0.insert(seq, line.clone()).filter(|known| known != line) {
                return Err(format!("two events were acknowledged under {seq}:\n{known}\n{line}").into());
            }
        }
        Ok(())
    }

    /// Whether the journal holds all of it, byte for byte. Returns the run's events.
    pub(crate) fn check(&self, driver: &Driver, key: &str) -> Result<Vec<Stored>, Failed> {
        let stored = match Reader::open(&driver.journal()) {
            Ok(mut reader) => match reader.find_run(PIPELINE, key)? {
                Some(run) => reader.read(&run, 0, 1_000_000)?,
                None => Vec::new(),
            },
            // It was killed before there was one.
            Err(_) if self.0.is_empty() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        for (seq, line) in &self.0 {
            let event = stored.iter().find(|event| event.seq == *seq);
            let event = event.ok_or_else(|| format!("{key}: an acknowledged event is not in the journal: {line}"))?;
            let fields = String::from_utf8(event.body.clone())?;
            let fields = fields.strip_prefix('{').ok_or("an event that is no object")?;
            let told = format!("{{\"seq\":{seq},\"at\":\"{}\",{fields}", event.at);
            if told != *line {
                return Err(format!("{key}: acknowledged was\n{line}\nthe journal holds\n{told}").into());
            }
        }
        Ok(stored)
    }
}

/// A line that a step left.
#[derive(Debug)]
pub(crate) struct Effect {
    pub(crate) step: String,
    pub(crate) attempt: u64,
    token: u64,
    pub(crate) what: String,
}

/// The lines of a run.
pub(crate) fn effects(text: &str, key: &str) -> Result<Vec<Effect>, Failed> {
    let mut effects = Vec::new();
    for line in text.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            [of, step, attempt, token, what] if of == key => effects.push(Effect {
                step: step.to_owned(),
                attempt: attempt.parse()?,
                token: token.parse()?,
                what: what.to_owned(),
            }),
            [_, _, _, _, _] => {}
            _ => return Err(format!("not a line of a step's: {line:?}").into()),
        }
    }
    Ok(effects)
}

/// Checks a run that has ended: its journal, what its steps did, and what was acknowledged of it.
pub(crate) fn check_run(driver: &Driver, key: &str, acknowledged: &Acknowledged) -> Result<(), Failed> {
    let stored = acknowledged.check(driver, key)?;
    let bodies: Vec<Value> =
        stored.iter().map(|event| serde_json::from_slice(&event.body)).collect::<Result<_, _>>()?;
    let of_kind = |kind: &'static str| bodies.iter().filter(move |body| body["kind"] == kind);
    let begun: BTreeSet<(String, u64, u64)> = of_kind("step_started").map(started).collect();
    let mut finished: BTreeMap<&str, u64> = BTreeMap::new();
    for body in &bodies {
        let step = body["step"].as_str().unwrap_or_default();
        match body["kind"].as_str() {
            Some("step_finished" | "step_resolved") if body["answer"]["kind"] != "run_again" => {
                finished.insert(step, body["attempt"].as_u64().unwrap_or(u64::MAX));
            }
            Some("step_started") if finished.contains_key(step) => {
                return Err(format!("{key}: {step} began again after it had finished: {body}").into());
            }
            _ => {}
        }
    }
    let effects = effects(&std::fs::read_to_string(driver.effects())?, key)?;
    let mut tokens: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for effect in effects.iter().filter(|effect| effect.what == "start") {
        let (step, now) = (effect.step.as_str(), (effect.attempt, effect.token));
        if !begun.contains(&(effect.step.clone(), effect.attempt, effect.token)) {
            return Err(format!("{key}: it began and no durable event says so: {effect:?}").into());
        }
        let before = tokens.insert(step, now).unwrap_or((0, 0));
        if now.0 <= before.0 || now.1 <= before.1 || before.0 > 0 && ONCE.contains(&step) {
            return Err(format!("{key}: it began again, after {before:?}: {effect:?}").into());
        }
    }
    // Of those whose end was acknowledged no attempt may follow.
    for line in acknowledged.0.values() {
        let event: Value = serde_json::from_str(line)?;
        let (step, attempt) = (event["step"].as_str().unwrap_or_default(), event["attempt"].as_u64());
        if event["kind"] == "step_finished" && tokens.get(step).map(|last| last.0) > attempt {
            return Err(format!("{key}: {step} ran again after its end was acknowledged: {line}").into());
        }
    }
    for (after, before, how) in ORDER {
        let first = |step: &str, what: &str| effects.iter().position(|e| e.step == step && e.what == what);
        match (first(after, "start"), first(before, how)) {
            (Some(later), Some(earlier)) if earlier < later => {}
            other => return Err(format!("{key}: {after} must begin after {before}'s {how}: {other:?}").into()),
        }
    }
    let failures = effects.iter().filter(|effect| effect.what == "failed").count();
    if failures != FAILURES {
        return Err(format!("{key}: flaky must fail {FAILURES} times: {failures}").into());
    }
    Ok(())
}

fn started(body: &Value) -> (String, u64, u64) {
    let number = |field: &str| body[field].as_u64().unwrap_or(0);
    (body["step"].as_str().unwrap_or_default().to_owned(), number("attempt"), number("token"))
}

/// What of an outcome must not depend on kills: how the run and each step ended, and what each returned.
pub(crate) fn essence(outcome: &Value, key: &str) -> Value {
    let steps: BTreeMap<&String, Value> = outcome["steps"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, step)| {
            let value = match name.as_str() {
                // Its reason tells how it went.
                "ship" => json!([step["value"]["outcome"], step["value"]["version"] == key]),
                _ => step["value"].clone(),
            };
            (name, json!([step["status"], value]))
        })
        .collect();
    json!({"status": outcome["status"], "steps": steps})
}

/// How often the service's stream tells that the world was lost; what a rollout loses is told there too.
pub(crate) fn losses(driver: &Driver) -> Result<usize, Failed> {
    let mut reader = Reader::open(&driver.journal())?;
    let mut losses = 0;
    for stream in reader.services()? {
        for event in reader.read(&stream, 0, 1_000_000)? {
            losses += usize::from(serde_json::from_slice::<Value>(&event.body)?["kind"] == "world_lost");
        }
    }
    Ok(losses)
}

/// Whether the journal as a whole is as it was written.
pub(crate) fn check_journal(driver: &Driver) -> Result<(), Failed> {
    let verified = Reader::open(&driver.journal())?.verify()?;
    if verified.damages.is_empty() { Ok(()) } else { Err(format!("the journal is damaged: {verified:?}").into()) }
}
