//! A pipeline under construction.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

use crate::define::check_finite;
use crate::define::step::Steps;
use crate::define::{Context, Function, Functions, Inputs, Promoted, Ran, Rollout, StepRef};
use crate::pipeline::{ActionSpec, Cause, Output, PipelineSpec, StepError, StepSpec};
use crate::rollout::RevertSpec;
use crate::service::Release;

/// A pipeline under construction: steps in the order in which they are defined, each free to run as soon as what it
/// waits for has ended.
#[derive(Debug)]
pub struct Pipeline {
    name: String,
    steps: Steps,
    functions: Functions,
    max_parallel: Option<u32>,
    fail_fast: bool,
}

impl Pipeline {
    /// A pipeline without steps.
    pub fn new(name: impl Into<String>) -> Pipeline {
        Pipeline {
            name: name.into(),
            steps: Rc::new(RefCell::new(Vec::new())),
            functions: Functions::new(),
            max_parallel: None,
            fail_fast: false,
        }
    }

    /// How many steps run at a time; by default as many as there are cores.
    #[must_use]
    pub fn max_parallel(mut self, steps: u32) -> Pipeline {
        self.max_parallel = Some(steps);
        self
    }

    /// The first failure stops the steps that run and skips the rest.
    #[must_use]
    pub fn fail_fast(mut self) -> Pipeline {
        self.fail_fast = true;
        self
    }

    /// A step that runs a program. It succeeds with exit code 0.
    pub fn command<A: Into<String>>(&mut self, name: &str, argv: impl IntoIterator<Item = A>) -> StepRef<Ran> {
        self.add_command(name, argv.into_iter().map(Into::into).collect(), None)
    }

    /// A step that runs a script with `sh -eu`.
    pub fn shell(&mut self, name: &str, script: impl Into<String>) -> StepRef<Ran> {
        self.add_command(name, Vec::new(), Some(script.into()))
    }

    fn add_command(&mut self, name: &str, argv: Vec<String>, shell: Option<String>) -> StepRef<Ran> {
        let action =
            ActionSpec::Command { argv, shell, env: BTreeMap::new(), dir: None, grace: None, output: Output::None };
        StepRef::add(&self.steps, StepSpec::new(name, action))
    }

    /// A step that calls an async function with the outputs of earlier steps: `()` for none, `&a`, or `(&a, &b)`.
    ///
    /// Its error may be anything that can be shown; a [`StepError`] is recorded as it is. A panic fails the step, with
    /// the panic's message, and nothing else; where it panicked is told by the program's own panic hook, which is left
    /// as it is. A NaN or an infinity in what it returns is an error with its path: JSON has no word for them.
    pub fn function<I, F, Fut, T, E>(&mut self, name: &str, inputs: I, function: F) -> StepRef<T>
    where
        I: Inputs,
        F: Fn(Context, I::Values) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize + 'static,
        E: Display + Send + 'static,
    {
        self.add_function(name, inputs.names(), Arc::new(Async { decode: I::decode, function }))
    }

    /// The same for a function that blocks: it runs on a thread for blocking work.
    pub fn blocking<I, F, T, E>(&mut self, name: &str, inputs: I, function: F) -> StepRef<T>
    where
        I: Inputs,
        F: Fn(Context, I::Values) -> Result<T, E> + Send + Sync + 'static,
        T: Serialize + 'static,
        E: Display + Send + 'static,
    {
        self.add_function(name, inputs.names(), Arc::new(Blocking { decode: I::decode, function: Arc::new(function) }))
    }

    /// A step that ships what an earlier step has released; it succeeds when that is promoted.
    pub fn rollout(&mut self, name: &str, rollout: Rollout, release: &StepRef<Release>) -> StepRef<Promoted> {
        let action = ActionSpec::Rollout { rollout: Box::new(rollout.into()), release: None };
        let mut step = StepSpec::new(name, action);
        step.inputs = vec![release.name().to_owned()];
        StepRef::add(&self.steps, step)
    }

    /// A step that ships a release that is known already.
    pub fn rollout_of(&mut self, name: &str, rollout: Rollout, release: Release) -> StepRef<Promoted> {
        let action = ActionSpec::Rollout { rollout: Box::new(rollout.into()), release: Some(release) };
        StepRef::add(&self.steps, StepSpec::new(name, action))
    }

    /// A step that takes a service back to a version that was stable before.
    pub fn revert(&mut self, name: &str, revert: RevertSpec) -> StepRef<Promoted> {
        StepRef::add(&self.steps, StepSpec::new(name, ActionSpec::Revert { revert }))
    }

    fn add_function<T>(&mut self, name: &str, inputs: Vec<String>, function: Arc<dyn Function>) -> StepRef<T> {
        self.functions.insert(name, function);
        let mut step = StepSpec::new(name, ActionSpec::Function { function: name.to_owned() });
        step.inputs = inputs;
        StepRef::add(&self.steps, step)
    }

    /// The definition as data, and the functions that it names.
    pub fn parts(&self) -> (PipelineSpec, Functions) {
        let spec = PipelineSpec {
            name: self.name.clone(),
            steps: self.steps.borrow().clone(),
            max_parallel: self.max_parallel,
            fail_fast: self.fail_fast,
        };
        (spec, self.functions.clone())
    }
}

type Decode<V> = fn(Vec<Value>) -> Result<V, StepError>;

struct Async<V, F> {
    decode: Decode<V>,
    function: F,
}

#[async_trait]
impl<V, F, Fut, T, E> Function for Async<V, F>
where
    V: Send + 'static,
    F: Fn(Context, V) -> Fut + Send + Sync,
    Fut: Future<Output = Result<T, E>> + Send,
    T: Serialize,
    E: Display + Send + 'static,
{
    async fn call(&self, context: Context, inputs: Vec<Value>) -> Result<Value, StepError> {
        let running = (self.function)(context, (self.decode)(inputs)?);
        let result = running.await;
        encode(result)
    }
}

struct Blocking<V, F> {
    decode: Decode<V>,
    function: Arc<F>,
}

#[async_trait]
impl<V, F, T, E> Function for Blocking<V, F>
where
    V: Send + 'static,
    F: Fn(Context, V) -> Result<T, E> + Send + Sync + 'static,
    T: Serialize,
    E: Display + Send + 'static,
{
    async fn call(&self, context: Context, inputs: Vec<Value>) -> Result<Value, StepError> {
        let (decode, function) = (self.decode, Arc::clone(&self.function));
        let done = tokio::task::spawn_blocking(move || {
            // It runs for as long as it runs, whatever it does with its context.
            let _running = context.clone();
            encode(function(context, decode(inputs)?))
        });
        let done = done.await;
        done.unwrap_or_else(|failed| match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StepError::new(Cause::Exception, "the runtime was shut down before the function ended")),
        })
    }
}

fn encode<T: Serialize, E: Display + 'static>(result: Result<T, E>) -> Result<Value, StepError> {
    match result {
        Ok(value) => {
            check_finite(&value).map_err(|found| StepError::new(Cause::BadValue, found))?;
            serde_json::to_value(value)
                .map_err(|error| StepError::new(Cause::BadValue, format!("can't be written as JSON: {error}")))
        }
        Err(error) => Err(match (&error as &dyn Any).downcast_ref::<StepError>() {
            Some(error) => error.clone(),
            // The alternate form makes errors that know their causes show them.
            None => StepError::new(Cause::Exception, format!("{error:#}")),
        }),
    }
}
