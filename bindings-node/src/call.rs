//! Calls of JavaScript functions: they go out as numbered messages, in order, and are answered by number.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use napi::Status;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate::pipeline::{Cause, StepError};
use tidegate::{Context, Function};
use tokio::sync::oneshot;

/// The JavaScript function that takes messages, as JSON text. Weak: it keeps no process alive.
pub(crate) type Listener = ThreadsafeFunction<String, (), String, Status, false, true>;

/// How a call ended.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// With a value.
    Value(Value),
    /// With an exception.
    Error(Failure),
}

impl Reply {
    /// For an answer that can't be read.
    pub(crate) fn broken(error: &tidegate::Error) -> Reply {
        Reply::Error(Failure { message: error.to_string(), detail: None, bad_value: true, permanent: false })
    }
}

/// What an exception says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    message: String,
    detail: Option<String>,
    /// Whether the function returned, but nothing that can be stored.
    #[serde(default)]
    bad_value: bool,
    #[serde(default)]
    permanent: bool,
}

impl Failure {
    /// The exception in one sentence.
    pub(crate) fn message(self) -> String {
        self.message
    }

    fn step_error(self) -> StepError {
        let cause = if self.bad_value { Cause::BadValue } else { Cause::Exception };
        StepError { detail: self.detail, permanent: self.permanent, ..StepError::new(cause, self.message) }
    }
}

/// The calls that JavaScript has not answered yet.
pub(crate) struct Calls {
    listener: Listener,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last: u64,
    calls: BTreeMap<u64, UnderWay>,
}

/// A call that has not ended.
struct UnderWay {
    /// Who waits for the answer; `None` once it was given up.
    answer: Option<oneshot::Sender<Reply>>,
    /// Says that the attempt of a step still runs.
    context: Option<Context>,
}

impl Calls {
    pub(crate) fn new(listener: Listener) -> Arc<Calls> {
        Arc::new(Calls { listener, open: Mutex::default() })
    }

    /// Sends a message; `false` when nobody takes messages any more, as Node is about to end.
    fn post(&self, message: &Value) -> bool {
        // The queue has no limit of its own: what is in it is bounded by the steps and probes under way.
        self.listener.call(message.to_string(), ThreadsafeFunctionCallMode::NonBlocking) == Status::Ok
    }

    /// Begins a call with a message that the number is put into; `None` when Node is about to end. `context` lives until
    /// the call has ended.
    pub(crate) fn begin(self: &Arc<Self>, mut message: Value, context: Option<Context>) -> Option<Call> {
        let (send, answer) = oneshot::channel();
        let mut open = self.open();
        open.last += 1;
        let id = open.last;
        open.calls.insert(id, UnderWay { answer: Some(send), context });
        drop(open);
        if let Some(fields) = message.as_object_mut() {
            fields.insert("id".to_owned(), id.into());
        }
        let call = Call { id, answer, calls: Arc::clone(self) };
        self.post(&message).then_some(call)
    }

    /// Answers a call; a second answer, or one that nobody waits for any more, changes nothing.
    pub(crate) fn finish(&self, id: u64, reply: Reply) {
        let call = self.open().calls.remove(&id);
        if let Some(waiting) = call.and_then(|call| call.answer) {
            // The call may have been given up in the meantime.
            let _ = waiting.send(reply);
        }
    }

    /// Ends all waiting: nobody will answer any more.
    pub(crate) fn give_up(&self) {
        self.open().calls.clear();
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way. Dropping it stops the waiting and tells the function to stop.
pub(crate) struct Call {
    id: u64,
    answer: oneshot::Receiver<Reply>,
    calls: Arc<Calls>,
}

impl Call {
    /// Waits for the answer; `None` when there will be none. Dropping the future loses nothing.
    pub(crate) async fn answer(&mut self) -> Option<Reply> {
        (&mut self.answer).await.ok()
    }

    /// Tells the function to stop.
    fn stop(&self) {
        self.calls.post(&json!({ "kind": "stop", "id": self.id }));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut open = self.calls.open();
        let waited = open.calls.get_mut(&self.id).and_then(|call| call.answer.take());
        if open.calls.get(&self.id).is_some_and(|call| call.context.is_none()) {
            open.calls.remove(&self.id);
        }
        drop(open);
        if waited.is_some() {
            self.stop();
        }
    }
}

/// The functions of one pipeline, known to JavaScript by a number, which it forgets once none is left.
pub(crate) struct Registry {
    number: u32,
    calls: Arc<Calls>,
}

impl Registry {
    pub(crate) fn new(number: u32, calls: Arc<Calls>) -> Registry {
        Registry { number, calls }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.calls.post(&json!({ "kind": "forget", "registry": self.number }));
    }
}

/// A function of the user's program.
pub(crate) struct JsFunction {
    pub(crate) name: String,
    pub(crate) registry: Arc<Registry>,
}

#[async_trait]
impl Function for JsFunction {
    async fn call(&self, context: Context, inputs: Vec<Value>) -> Result<Value, StepError> {
        let message = json!({
            "kind": "call",
            "registry": self.registry.number,
            "function": self.name,
            "context": {
                "run": context.run(),
                "step": context.step(),
                "attempt": context.attempt(),
                "token": context.token(),
                "idempotency_key": context.idempotency_key(),
                "params": context.params(),
            },
            "inputs": inputs,
        });
        let Some(mut call) = self.registry.calls.begin(message, Some(context.clone())) else {
            // Node ends: the attempt is cut off like any other that was under way, which is no failure of the step.
            return std::future::pending().await;
        };
        let reply = tokio::select! {
            biased;
            reply = call.answer() => reply,
            () = context.stopped() => {
                call.stop();
                call.answer().await
            }
        };
        match reply {
            Some(Reply::Value(value)) => Ok(value),
            Some(Reply::Error(failure)) => Err(failure.step_error()),
            None => {
                // Calls are given up because the engine closes: that comes first, so that it is no failure of the step.
                context.stopped().await;
                Err(StepError::new(Cause::Lost, "the function was given up"))
            }
        }
    }

    fn hands_over(&self) -> bool {
        true
    }
}
