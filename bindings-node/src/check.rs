//! Checks: a watcher in a task of its own, whose transitions wait to be taken.

use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::{Either, Object};
use napi_derive::napi;
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate::health::probe::{FunctionProbe, Probe, ProbeFn, build};
use tidegate::health::{CheckSpec, Outcome, Transition, Verdict, Watcher};
use tidegate::time::{Chance, SystemClock, Time};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::call::{Calls, Listener, Reply};
use crate::promise::{Answer, Fault, Promise, parse, text};
use crate::threads::Threads;

/// How many transitions may wait to be taken; the check pauses when there are more.
const WAITING: usize = 64;

/// A check under watch.
#[napi]
pub struct NativeWatch {
    calls: Arc<Calls>,
    transitions: Arc<tokio::sync::Mutex<mpsc::Receiver<Transition>>>,
    task: AbortHandle,
    threads: Arc<Threads>,
}

/// What a function found.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    verdict: Verdict,
    #[serde(default)]
    reason: String,
}

/// Begins to watch. A check without a `probe` calls the function named `name`, by messages to `listener`. `seed` decides
/// the jitter.
#[napi]
pub(crate) fn watch(spec: String, name: String, seed: u32, listener: Listener) -> Answer<NativeWatch> {
    match begin(&spec, name, seed, Calls::new(listener)) {
        Ok(watch) => Either::A(watch),
        Err(error) => Either::B(Fault::from(&error)),
    }
}

/// Reads a check. Where a function is the probe, the spec has none, and one that is never run stands in its place.
pub(crate) fn check_spec(text: &str) -> tidegate::Result<CheckSpec> {
    let mut spec: Value = parse(text, "the check")?;
    if let Some(fields) = spec.as_object_mut() {
        fields.entry("probe").or_insert_with(|| json!({ "kind": "tcp", "address": "127.0.0.1:1" }));
    }
    parse(&spec.to_string(), "the check")
}

fn begin(spec: &str, name: String, seed: u32, calls: Arc<Calls>) -> tidegate::Result<NativeWatch> {
    let calls_function = parse::<Value>(spec, "the check")?.get("probe").is_none();
    let check = check_spec(spec)?.validate()?;
    let probe: Arc<dyn Probe> = if calls_function {
        Arc::new(FunctionProbe::new(name.clone(), function(name, Arc::clone(&calls)), check.timeout))
    } else {
        build(&check.probe, check.timeout)?
    };
    let threads = Threads::shared()?;
    let clock = Arc::new(SystemClock::new(Time::default()));
    let mut watcher = Watcher::new(&check, probe, clock, Chance(seed.into()));
    let (send, receive) = mpsc::channel(WAITING);
    let task = threads.handle().spawn(async move {
        loop {
            let transition = watcher.next().await;
            if send.send(transition).await.is_err() {
                return;
            }
        }
    });
    let transitions = Arc::new(tokio::sync::Mutex::new(receive));
    Ok(NativeWatch { calls, transitions, task: task.abort_handle(), threads })
}

fn function(name: String, calls: Arc<Calls>) -> ProbeFn {
    Arc::new(move || {
        let (name, calls) = (name.clone(), Arc::clone(&calls));
        Box::pin(async move {
            let Some(mut call) = calls.begin(json!({ "kind": "probe", "function": name }), None) else {
                // Node ends, and the watch with it.
                return std::future::pending().await;
            };
            match call.answer().await {
                Some(Reply::Value(value)) => match serde_json::from_value::<Found>(value) {
                    Ok(found) => Outcome::new(found.verdict, found.reason),
                    Err(error) => {
                        Outcome::new(Verdict::Unknown, format!("the function's answer can't be read: {error}"))
                    }
                },
                Some(Reply::Error(failure)) => Outcome::new(Verdict::Fail, failure.message()),
                None => Outcome::new(Verdict::Unknown, "the function was given up"),
            }
        })
    })
}

#[napi]
impl NativeWatch {
    /// Resolves to the next transition; `null` once the watch was stopped.
    #[napi]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let (promise, object) = Promise::<String>::new(env)?;
        let transitions = Arc::clone(&self.transitions);
        self.threads.handle().spawn(async move {
            let transition = transitions.lock().await.recv().await;
            promise.settle(text(&transition));
        });
        Ok(object)
    }

    /// Answers a call by its number.
    #[napi]
    pub fn finish(&self, id: i64, reply: String) {
        let reply = parse::<Reply>(&reply, "the answer of a function").unwrap_or_else(|error| Reply::broken(&error));
        if let Ok(id) = u64::try_from(id) {
            self.calls.finish(id, reply);
        }
    }

    /// Ends the watch and the probe under way.
    #[napi]
    pub fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for NativeWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
