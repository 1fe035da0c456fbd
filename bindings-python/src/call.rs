//! Functions of the user's program: the core calls, Python answers by number, from whichever thread it likes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pyo3::prelude::*;
use serde_json::{Value, json};
use tidegate::pipeline::{Cause, StepError};
use tidegate::{Context, Function};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::attach::attach;

/// How a call ended.
pub(crate) type Answer = Result<Value, StepError>;

/// The calls that Python has not answered yet.
#[pyclass(frozen, module = "tidegate._tidegate")]
#[derive(Debug, Default)]
pub(crate) struct Calls {
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    calls: BTreeMap<u64, UnderWay>,
}

/// A call that has not ended.
#[derive(Debug)]
struct UnderWay {
    /// Who waits for the answer; `None` once it was given up.
    answer: Option<oneshot::Sender<Answer>>,
    /// Says that the attempt of a step still runs.
    context: Option<Context>,
}

#[pymethods]
impl Calls {
    /// No calls yet.
    #[new]
    fn new() -> Calls {
        Calls::default()
    }

    /// The call has ended, with an answer to follow or with none.
    fn ended(&self, id: u64) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(call) = open.calls.get_mut(&id) {
            call.context = None;
            if call.answer.is_none() {
                open.calls.remove(&id);
            }
        }
    }

    /// Answers a call: with a value as JSON text, or with an error's message and traceback. A second answer, or one
    /// that nobody waits for any more, changes nothing.
    #[pyo3(signature = (id, value=None, error=None, detail=None, bad_value=false, permanent=false))]
    fn finish(
        &self,
        id: u64,
        value: Option<&str>,
        error: Option<String>,
        detail: Option<String>,
        bad_value: bool,
        permanent: bool,
    ) {
        let cause = if bad_value { Cause::BadValue } else { Cause::Exception };
        let answer = match (value, error) {
            (_, Some(message)) => Err(StepError { detail, permanent, ..StepError::new(cause, message) }),
            (value, None) => serde_json::from_str(value.unwrap_or("null"))
                .map_err(|error| StepError::new(Cause::BadValue, format!("the value is not JSON: {error}"))),
        };
        finish(&self.open, id, answer);
    }
}

fn finish(open: &Mutex<Open>, id: u64, answer: Answer) {
    let call = open.lock().unwrap_or_else(PoisonError::into_inner).calls.remove(&id);
    if let Some(waiting) = call.and_then(|call| call.answer) {
        // The call may have been given up in the meantime.
        let _ = waiting.send(answer);
    }
}

/// How Python is called: `call(id, function, payload)` begins a call, `stop(id)` asks it to end.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    open: Arc<Mutex<Open>>,
    call: Arc<Py<PyAny>>,
    stop: Arc<Py<PyAny>>,
}

impl Caller {
    pub(crate) fn new(calls: &Calls, call: Py<PyAny>, stop: Py<PyAny>) -> Caller {
        Caller { open: Arc::clone(&calls.open), call: Arc::new(call), stop: Arc::new(stop) }
    }

    /// Calls a function; `context` lives until that has ended. When `stopped` completes it is asked to end, and so it is
    /// when this future is dropped.
    pub(crate) async fn call(
        &self,
        function: Arc<Py<PyAny>>,
        payload: String,
        context: Option<Context>,
        stopped: impl Future<Output = ()>,
    ) -> Answer {
        let (send, mut answer) = oneshot::channel();
        let id = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.next += 1;
            let id = open.next;
            open.calls.insert(id, UnderWay { answer: Some(send), context });
            id
        };
        let (call, open) = (Arc::clone(&self.call), Arc::clone(&self.open));
        let begun = tokio::task::spawn_blocking(move || {
            // An interpreter that ends runs nothing more: the attempt is cut off, and goes on another time.
            let begun = attach(|py| {
                let begun = call.bind(py).call1((id, function.bind(py), payload));
                begun.map(drop).map_err(|error| error.to_string())
            });
            if let Some(Err(message)) = begun {
                finish(&open, id, Err(StepError::new(Cause::Exception, message)));
            }
        });
        let mut given_up = GivenUp { caller: self, id, begun: Some(begun) };
        let lost = |_| Err(StepError::new(Cause::Lost, "the call was given up"));
        tokio::select! {
            biased;
            answer = &mut answer => return answer.unwrap_or_else(lost),
            () = stopped => {}
        }
        given_up.stop();
        answer.await.unwrap_or_else(lost)
    }
}

/// Asks a call to end whose answer nobody waits for any more.
struct GivenUp<'a> {
    caller: &'a Caller,
    id: u64,
    /// Ends once Python knows of the call; `None` once it was asked to end.
    begun: Option<JoinHandle<()>>,
}

impl GivenUp<'_> {
    /// Asks the call to end, once.
    fn stop(&mut self) {
        let (Some(begun), id) = (self.begun.take(), self.id) else { return };
        let stop = Arc::clone(&self.caller.stop);
        tokio::spawn(async move {
            // Python would not know whom to stop before. An interpreter that ends stops its calls itself.
            let _ = begun.await;
            let stopped = tokio::task::spawn_blocking(move || {
                attach(|py| {
                    if let Err(error) = stop.bind(py).call1((id,)) {
                        error.write_unraisable(py, None);
                    }
                })
            });
            let _ = stopped.await;
        });
    }
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        let mut open = self.caller.open.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = open.calls.get_mut(&self.id).and_then(|call| call.answer.take());
        if open.calls.get(&self.id).is_some_and(|call| call.context.is_none()) {
            open.calls.remove(&self.id);
        }
        drop(open);
        // Without a runtime the engine is closed, and Python ends its calls itself.
        if waited.is_some() && tokio::runtime::Handle::try_current().is_ok() {
            self.stop();
        }
    }
}

/// A function step.
#[derive(Debug)]
pub(crate) struct PythonFunction {
    pub(crate) function: Arc<Py<PyAny>>,
    pub(crate) caller: Caller,
}

#[async_trait]
impl Function for PythonFunction {
    async fn call(&self, context: Context, inputs: Vec<Value>) -> Answer {
        let payload = json!({
            "run": context.run(),
            "step": context.step(),
            "attempt": context.attempt(),
            "token": context.token(),
            "idempotency_key": context.idempotency_key(),
            "params": context.params(),
            "inputs": inputs,
        })
        .to_string();
        self.caller.call(Arc::clone(&self.function), payload, Some(context.clone()), context.stopped()).await
    }
}
