//! Functions of the user's program, as the core calls them.

use std::sync::Arc;

use async_trait::async_trait;
use pyo3::prelude::*;
use serde_json::{Value, json};
use tidegate::pipeline::{Cause, StepError};
use tidegate::{Context, Function};

use crate::calls::{Answer, Calls, Shared};

/// How Python is called.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    calls: Arc<Shared>,
}

impl Caller {
    pub(crate) fn new(calls: &Calls) -> Caller {
        Caller { calls: calls.shared() }
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
        let (id, mut answer) = self.calls.begin(function, payload, context);
        let _given_up = GivenUp { calls: &self.calls, id };
        let lost = |_| Err(StepError::new(Cause::Lost, "the call was given up"));
        tokio::select! {
            biased;
            answer = &mut answer => return answer.unwrap_or_else(lost),
            () = stopped => {}
        }
        self.calls.stop(id);
        answer.await.unwrap_or_else(lost)
    }
}

/// Asks a call to end whose answer nobody waits for any more.
struct GivenUp<'a> {
    calls: &'a Shared,
    id: u64,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        self.calls.give_up(self.id);
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

    fn hands_over(&self) -> bool {
        true
    }
}
