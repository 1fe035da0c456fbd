//! Checks under watch: probes on a thread shared by all watches, transitions as JSON.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use pyo3::prelude::*;
use serde_json::{Value, json};
use tidegate::Result;
use tidegate::health::probe::{self, FunctionProbe, Probe};
use tidegate::health::{Check, CheckSpec, Outcome, Verdict, Watcher};
use tidegate::time::{Chance, SystemClock, Time};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::call::Caller;
use crate::calls::Calls;
use crate::error::{self, detached, parse};
use crate::host::{Host, block, seconds};
use crate::run::answer;

/// Transitions that may wait to be read; further ones hold the watch up.
const UNREAD: usize = 64;

/// The runtime of all watches; it ends with the last one.
static SHARED: Mutex<Weak<Host>> = Mutex::new(Weak::new());

/// A check under watch.
#[pyclass(frozen, module = "tidegate._tidegate")]
#[derive(Debug)]
pub(crate) struct Watch {
    transitions: Arc<tokio::sync::Mutex<mpsc::Receiver<String>>>,
    task: AbortHandle,
    host: Arc<Host>,
}

#[pymethods]
impl Watch {
    /// Begins to watch the check of this spec. With a function, that is what is probed, and the spec has no probe.
    #[staticmethod]
    fn start(py: Python<'_>, spec: &str, function: Option<Py<PyAny>>, calls: &Calls) -> PyResult<Watch> {
        let caller = Caller::new(calls);
        detached(py, || {
            let (check, probe) = match function {
                Some(function) => function_check(spec, function, caller)?,
                None => {
                    let check = parse::<CheckSpec>(spec, "the check")?.validate()?;
                    let probe = probe::build(&check.probe, check.timeout)?;
                    (check, probe)
                }
            };
            let host = shared()?;
            let mut watcher = Watcher::new(&check, probe, Arc::new(SystemClock::new(Time::default())), chance());
            let (send, receive) = mpsc::channel(UNREAD);
            let task = host.handle()?.spawn(async move {
                loop {
                    // A transition is three texts and a time: that JSON can hold it, the core's tests show.
                    let Ok(text) = error::json(&watcher.next().await) else { return };
                    if send.send(text).await.is_err() {
                        return;
                    }
                }
            });
            let transitions = Arc::new(tokio::sync::Mutex::new(receive));
            Ok(Watch { transitions, task: task.abort_handle(), host })
        })
    }

    /// Waits for the next transition as JSON, at most so long; `None` when there is none yet, empty at the end.
    fn next(&self, py: Python<'_>, limit: f64) -> PyResult<Option<String>> {
        detached(py, || {
            self.host.check_process()?;
            let next = async { self.transitions.lock().await.recv().await.unwrap_or_default() };
            Ok(block(next, seconds(limit)))
        })
    }

    /// Calls `ready(transition, error)` from another thread once there is one; empty at the end.
    fn when_next(&self, py: Python<'_>, ready: Py<PyAny>) -> PyResult<()> {
        let transitions = Arc::clone(&self.transitions);
        let handle = detached(py, || self.host.handle())?;
        handle.spawn(async move {
            let next = transitions.lock().await.recv().await.unwrap_or_default();
            answer(ready, Ok(next));
        });
        Ok(())
    }

    /// Ends the watch; a probe under way is given up.
    fn close(&self) {
        if !self.host.is_forked() {
            self.task.abort();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.close();
    }
}

/// Reads a check. The core's specs are data and know no functions: where a function is the probe, the spec has none, and
/// one that is never built stands in its place.
pub(crate) fn check_spec(text: &str) -> Result<CheckSpec> {
    let mut spec: Value = parse(text, "the check")?;
    if let Some(fields) = spec.as_object_mut() {
        fields.entry("probe").or_insert_with(|| json!({"kind": "command", "argv": ["function"]}));
    }
    parse(&spec.to_string(), "the check")
}

fn function_check(spec: &str, function: Py<PyAny>, caller: Caller) -> Result<(Check, Arc<dyn Probe>)> {
    let check = check_spec(spec)?.validate()?;
    let function = Arc::new(function);
    let run = Arc::new(move || {
        let (caller, function) = (caller.clone(), Arc::clone(&function));
        let call = async move { verdict(caller.call(function, "null".to_owned(), None, std::future::pending()).await) };
        Box::pin(call) as std::pin::Pin<Box<dyn Future<Output = Outcome> + Send>>
    });
    let probe = FunctionProbe::new("check", run, check.timeout);
    Ok((check, Arc::new(probe)))
}

fn verdict(answer: crate::calls::Answer) -> Outcome {
    match answer {
        Ok(value) => serde_json::from_value(value).unwrap_or_else(|error| {
            Outcome::new(Verdict::Unknown, format!("the function's answer is no result: {error}"))
        }),
        Err(error) => Outcome::new(Verdict::Unknown, error.message),
    }
}

fn shared() -> Result<Arc<Host>> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(host) = shared.upgrade().filter(|host| !host.is_forked()) {
        return Ok(host);
    }
    let host = Arc::new(Host::new(1, "tidegate-watch")?);
    *shared = Arc::downgrade(&host);
    Ok(host)
}

/// Randomness from the operating system, by way of the standard library's hash seeds.
fn chance() -> Chance {
    use std::hash::{BuildHasher, Hasher};
    Chance(std::collections::hash_map::RandomState::new().build_hasher().finish())
}
