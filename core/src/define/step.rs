//! One step of a pipeline under construction.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::pipeline::{ActionSpec, EnvValue, Guarantee, NeedSpec, Output, RetrySpec, StepSpec, When};
use crate::time::SpanText;

/// The steps of a pipeline under construction, shared between it and its [`StepRef`]s.
pub(super) type Steps = Rc<RefCell<Vec<StepSpec>>>;

/// What a command step without an output returns: nothing but that it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "()", into = "()")]
pub struct Ran;

impl From<()> for Ran {
    fn from((): ()) -> Ran {
        Ran
    }
}

impl From<Ran> for () {
    fn from(_: Ran) {}
}

/// A step of a pipeline whose output is a `T`. Clones refer to the same step.
pub struct StepRef<T> {
    steps: Steps,
    index: usize,
    name: Rc<str>,
    output: PhantomData<fn() -> T>,
}

impl<T> Clone for StepRef<T> {
    fn clone(&self) -> StepRef<T> {
        StepRef { steps: Rc::clone(&self.steps), index: self.index, name: Rc::clone(&self.name), output: PhantomData }
    }
}

impl<T> fmt::Debug for StepRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StepRef").field(&self.name).finish()
    }
}

impl<T> StepRef<T> {
    pub(super) fn add(steps: &Steps, step: StepSpec) -> StepRef<T> {
        let name = step.name.as_str().into();
        let mut list = steps.borrow_mut();
        list.push(step);
        StepRef { steps: Rc::clone(steps), index: list.len() - 1, name, output: PhantomData }
    }

    /// The step's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn set(self, change: impl FnOnce(&mut StepSpec)) -> StepRef<T> {
        if let Some(step) = self.steps.borrow_mut().get_mut(self.index) {
            change(step);
        }
        self
    }

    /// Waits for another step to succeed.
    #[must_use]
    pub fn after<U>(self, step: &StepRef<U>) -> StepRef<T> {
        let need = NeedSpec { step: step.name().to_owned(), when: None };
        self.set(|spec| spec.after.push(need))
    }

    /// Waits for another step to end in the given way.
    #[must_use]
    pub fn after_when<U>(self, step: &StepRef<U>, when: When) -> StepRef<T> {
        let need = NeedSpec { step: step.name().to_owned(), when: Some(when) };
        self.set(|spec| spec.after.push(need))
    }

    /// Waits for the step of that name to succeed; an unknown name is a fault of the pipeline.
    #[must_use]
    pub fn after_named(self, step: impl Into<String>) -> StepRef<T> {
        let need = NeedSpec { step: step.into(), when: None };
        self.set(|spec| spec.after.push(need))
    }

    /// Repeats failed attempts, `attempts` of them in all, with exponential backoff from 1 s and full jitter.
    #[must_use]
    pub fn attempts(self, attempts: u32) -> StepRef<T> {
        self.retry(RetrySpec { attempts, initial: None, factor: None, cap: None, jitter: None })
    }

    /// Repeats failed attempts. A function that returned what can't be stored is not called again.
    #[must_use]
    pub fn retry(self, retry: RetrySpec) -> StepRef<T> {
        self.set(|spec| spec.retry = Some(retry))
    }

    /// How long one attempt may take: `"30s"` or a [`std::time::Duration`]. A function that goes on after its stop is
    /// given up after 10 s; the next attempt begins once it has ended.
    #[must_use]
    pub fn timeout(self, timeout: impl Into<SpanText>) -> StepRef<T> {
        self.set(|spec| spec.timeout = Some(timeout.into()))
    }

    /// How long all attempts together may take.
    #[must_use]
    pub fn deadline(self, deadline: impl Into<SpanText>) -> StepRef<T> {
        self.set(|spec| spec.deadline = Some(deadline.into()))
    }

    /// After a crash in the middle it never runs again by itself: the run stops and asks.
    #[must_use]
    pub fn once(self) -> StepRef<T> {
        self.set(|spec| spec.guarantee = Guarantee::Once)
    }

    /// It cleans up: it runs also after failures and when the run is cancelled. A cancel does not stop it, nor does a
    /// second one: give one that may hang a timeout.
    #[must_use]
    pub fn cleanup(self) -> StepRef<T> {
        self.set(|spec| spec.cleanup = true)
    }

    /// The run can succeed although this step fails.
    #[must_use]
    pub fn allow_failure(self) -> StepRef<T> {
        self.set(|spec| spec.allow_failure = true)
    }

    /// A version of what it does, part of the definition: a changed function body can't be seen, a changed version can.
    #[must_use]
    pub fn version(self, version: impl Into<String>) -> StepRef<T> {
        self.set(|spec| spec.version = Some(version.into()))
    }

    fn set_command(self, change: impl FnOnce(&mut CommandFields<'_>)) -> StepRef<T> {
        self.set(|spec| {
            if let ActionSpec::Command { env, dir, grace, output, .. } = &mut spec.action {
                change(&mut CommandFields { env, dir, grace, output });
            }
        })
    }
}

struct CommandFields<'a> {
    env: &'a mut std::collections::BTreeMap<String, EnvValue>,
    dir: &'a mut Option<String>,
    grace: &'a mut Option<SpanText>,
    output: &'a mut Output,
}

impl StepRef<Ran> {
    /// A variable for the command's environment. It is recorded: not for secrets.
    #[must_use]
    pub fn env(self, name: impl Into<String>, value: impl Into<String>) -> StepRef<Ran> {
        self.set_command(|command| {
            command.env.insert(name.into(), EnvValue::Text { value: value.into() });
        })
    }

    /// A variable whose value is a secret of the engine's; only the secret's name is recorded.
    #[must_use]
    pub fn secret_env(self, name: impl Into<String>, secret: impl Into<String>) -> StepRef<Ran> {
        self.set_command(|command| {
            command.env.insert(name.into(), EnvValue::Secret { name: secret.into() });
        })
    }

    /// The command's working directory.
    #[must_use]
    pub fn dir(self, dir: impl Into<String>) -> StepRef<Ran> {
        self.set_command(|command| *command.dir = Some(dir.into()))
    }

    /// How long after SIGTERM its process group is killed.
    #[must_use]
    pub fn grace(self, grace: impl Into<SpanText>) -> StepRef<Ran> {
        self.set_command(|command| *command.grace = Some(grace.into()))
    }

    /// Its value is its standard output as text.
    #[must_use]
    pub fn text(self) -> StepRef<String> {
        self.set_command(|command| *command.output = Output::Text).typed()
    }

    /// Its value is its standard output as JSON.
    #[must_use]
    pub fn json<U>(self) -> StepRef<U> {
        self.set_command(|command| *command.output = Output::Json).typed()
    }

    fn typed<U>(self) -> StepRef<U> {
        StepRef { steps: self.steps, index: self.index, name: self.name, output: PhantomData }
    }
}
