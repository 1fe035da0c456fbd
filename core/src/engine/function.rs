//! Calls the user's functions: never two attempts of a step at once.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::sync::watch;

use crate::define::Context;
use crate::engine::attempt::{Workshop, stopped};
use crate::error::panic_text;
use crate::pipeline::{Cause, StartStep, StepError, StepOutcome};

/// Ends once an attempt has ended.
type Running = oneshot::Receiver<Infallible>;

/// Attempts that went on after they were given up, by run and step.
#[derive(Debug, Default)]
pub(crate) struct Stragglers(Mutex<BTreeMap<(String, String), Running>>);

impl Stragglers {
    fn keep(&self, run: &str, step: &str, running: Running) {
        let mut all = self.all();
        all.retain(|_, running| goes_on(running));
        all.insert((run.to_owned(), step.to_owned()), running);
    }

    fn take(&self, run: &str, step: &str) -> Option<Running> {
        self.all().remove(&(run.to_owned(), step.to_owned()))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<(String, String), Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn goes_on(running: &mut Running) -> bool {
    running.try_recv() == Err(TryRecvError::Empty)
}

impl Workshop {
    /// Calls a function. One that does not heed its stop is given up after the step's grace; the next attempt begins
    /// only once it has ended. A panic is a failure, also that of a destructor, when what is given up is dropped.
    pub(super) async fn function(&self, start: &StartStep, name: &str, stop: watch::Receiver<bool>) -> StepOutcome {
        AssertUnwindSafe(self.call(start, name, stop)).catch_unwind().await.unwrap_or_else(|panic| {
            let error = StepError::new(Cause::Exception, format!("panicked: {}", panic_text(panic.as_ref())));
            // What was thrown may panic itself when it is dropped, and so on.
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
                std::mem::forget(again);
            }
            StepOutcome::Failed { error, retry_in: None }
        })
    }

    async fn call(&self, start: &StartStep, name: &str, stop: watch::Receiver<bool>) -> StepOutcome {
        let failed = |error| StepOutcome::Failed { error, retry_in: None };
        let Some(function) = self.functions.get(name) else {
            let message = format!("no function is registered under the name {name:?}");
            return failed(StepError { permanent: true, ..StepError::new(Cause::NotFound, message) });
        };
        if let Some(mut former) = self.stragglers.take(&self.run, &start.step) {
            tokio::select! {
                biased;
                _ = &mut former => {}
                () = stopped(stop.clone()) => {
                    self.stragglers.keep(&self.run, &start.step, former);
                    let message = "an earlier attempt still runs: its function did not end when it was told to stop";
                    return failed(StepError { detail: Some(message.into()), ..StepError::new(Cause::Lost, message) });
                }
            }
        }
        let (context, mut running) = Context::new(&self.run, start, self.params.clone(), stop.clone());
        // Making the future is the user's code too.
        let call = async { function.call(context, start.inputs.clone()).await };
        let too_late = async {
            stopped(stop.clone()).await;
            tokio::time::sleep(start.grace.into()).await;
        };
        let done = tokio::select! {
            biased;
            done = call => Some(done),
            () = too_late => None,
        };
        match done {
            None => {
                if goes_on(&mut running) {
                    self.stragglers.keep(&self.run, &start.step, running);
                }
                StepOutcome::Stopped
            }
            Some(Ok(_)) if *stop.borrow() => StepOutcome::Stopped,
            Some(Ok(value)) => StepOutcome::Succeeded { value },
            Some(Err(error)) => failed(error),
        }
    }
}
