//! Function steps: the user's own code, registered by name. The journal stores names, never code.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use crate::pipeline::{StartStep, StepError};

/// What a running function step knows of itself. Cheap to clone. An attempt counts as running while a clone of its
/// context lives, so that the next one waits for one that goes on after its stop.
#[derive(Debug, Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    run: String,
    step: String,
    attempt: u32,
    token: u64,
    idempotency_key: String,
    params: Value,
    stop: watch::Receiver<bool>,
    /// Nothing is sent: the other side sees when it is dropped.
    _running: oneshot::Sender<Infallible>,
}

impl Context {
    /// A context, and what ends once nothing of it is left.
    pub(crate) fn new(
        run: &str,
        start: &StartStep,
        params: Value,
        stop: watch::Receiver<bool>,
    ) -> (Context, oneshot::Receiver<Infallible>) {
        let (running, ended) = oneshot::channel();
        let inner = Inner {
            run: run.to_owned(),
            step: start.step.clone(),
            attempt: start.attempt,
            token: start.token,
            idempotency_key: start.idempotency_key.clone(),
            params,
            stop,
            _running: running,
        };
        (Context { inner: Arc::new(inner) }, ended)
    }

    /// The run's id.
    pub fn run(&self) -> &str {
        &self.inner.run
    }

    /// The step's name.
    pub fn step(&self) -> &str {
        &self.inner.step
    }

    /// Counts up from 1 with every try, those that a crash cut off included.
    pub fn attempt(&self) -> u32 {
        self.inner.attempt
    }

    /// The fencing token: higher for each attempt. Hand it to what the step writes to, and let that refuse a lower one.
    pub fn token(&self) -> u64 {
        self.inner.token
    }

    /// The same for every attempt of this step in this run. Hand it to services that deduplicate.
    pub fn idempotency_key(&self) -> &str {
        &self.inner.idempotency_key
    }

    /// The run's params.
    pub fn params(&self) -> &Value {
        &self.inner.params
    }

    /// Whether the step was asked to stop: by a cancel, a timeout, or fail-fast.
    pub fn is_stopped(&self) -> bool {
        *self.inner.stop.borrow()
    }

    /// Waits until the step is asked to stop.
    pub async fn stopped(&self) {
        let mut stop = self.inner.stop.clone();
        // The sender is gone only when the engine is; that asks to stop as well.
        let _ = stop.wait_for(|stopped| *stopped).await;
    }
}

/// A registered function. Bindings implement it for callbacks of their language.
#[async_trait]
pub trait Function: Send + Sync {
    /// Runs one attempt. `inputs` are the outputs of the steps named by the spec, in order, decoded from the journal.
    /// When the context is stopped, it should end soon; the future is dropped after the step's grace time. What goes on
    /// elsewhere then, such as on a thread, must hold a clone of the context until it ends.
    async fn call(&self, context: Context, inputs: Vec<Value>) -> Result<Value, StepError>;

    /// Whether [`call`](Function::call) only hands its work to somebody else, such as a thread of another language, and
    /// waits for the answer. Then it is polled on the engine's own thread, which saves two changes of threads. One that
    /// computes or blocks would hold up every run of the engine and must not say so.
    fn hands_over(&self) -> bool {
        false
    }
}

/// Functions by name.
#[derive(Clone, Default)]
pub struct Functions(BTreeMap<String, Arc<dyn Function>>);

impl Functions {
    /// None yet.
    pub fn new() -> Functions {
        Functions::default()
    }

    /// Registers a function; the last one under a name counts.
    pub fn insert(&mut self, name: impl Into<String>, function: Arc<dyn Function>) {
        self.0.insert(name.into(), function);
    }

    /// The function of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Function>> {
        self.0.get(name)
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
