//! The function probe: a user's callback, in whatever language.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::error::panic_text;
use crate::health::probe::Probe;
use crate::health::probe::stopwatch::Stopwatch;
use crate::health::{Outcome, Verdict};
use crate::time::Span;

/// A callback that answers with an outcome.
pub type ProbeFn = Arc<dyn Fn() -> BoxFuture<'static, Outcome> + Send + Sync>;

/// Calls a function. One that takes too long fails; one that panics says nothing of what it probes: unknown.
pub struct FunctionProbe {
    name: String,
    function: ProbeFn,
    timeout: Span,
}

impl FunctionProbe {
    /// A probe that calls `function`; the name is for messages.
    pub fn new(name: impl Into<String>, function: ProbeFn, timeout: Span) -> FunctionProbe {
        FunctionProbe { name: name.into(), function, timeout }
    }
}

impl fmt::Debug for FunctionProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionProbe").field("name", &self.name).field("timeout", &self.timeout).finish()
    }
}

#[async_trait]
impl Probe for FunctionProbe {
    async fn run(&self) -> Outcome {
        let begin = Stopwatch::start();
        // The call itself may panic as well as the future that it returns.
        let call = AssertUnwindSafe(async { (self.function)().await }).catch_unwind();
        let mut outcome = match tokio::time::timeout(Duration::from(self.timeout), call).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => {
                let text = panic_text(panic.as_ref());
                Outcome::new(Verdict::Unknown, format!("function {:?} panicked: {text}", self.name))
            }
            Err(_) => Outcome::new(Verdict::Fail, format!("timed out after {}", self.timeout)),
        };
        outcome.took_us = begin.us();
        outcome
    }
}
