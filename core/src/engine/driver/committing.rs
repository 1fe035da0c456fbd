//! What comes of a commit: observers, acknowledgements and effects when it went well; when it did not, what the world
//! said since the last one is fed again.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Driver;
use crate::engine::outcome::Outcome;
use crate::error::{Error, Kind, Result};
use crate::journal::StreamId;
use crate::kernel::{Durable, Report};
use crate::pipeline::{Cause, RunInput, RunStatus, StepError, StepOutcome};
use crate::time::Time;

/// How often a commit that failed is tried again before the engine gives up. That another process uses the database
/// does not count.
const TRIES: u32 = 8;

impl Driver {
    /// Feeds what was lost with a commit that failed.
    pub(super) fn feed_again(&mut self) {
        let now = self.clock.now();
        while !self.kernel.is_full()
            && let Some((run, input)) = self.again.pop_front()
        {
            self.world(run, input, now);
        }
    }

    /// Feeds what the world reports of a run. A refusal is normal: the attempt may be over, the run may have ended.
    pub(super) fn world(&mut self, run: StreamId, input: RunInput, now: Time) {
        let fed = match self.kernel.input(&run, &input, now) {
            Err(error) if error.kind() == Kind::Invalid => match unfit(&input, &error) {
                Some(failed) => self.kernel.input(&run, &failed, now),
                None => Err(error),
            },
            fed => fed,
        };
        match fed {
            Ok(()) => self.reported.push((run, input)),
            Err(error) => tracing::debug!(run = run.name(), %error, "a report was not accepted"),
        }
    }

    pub(super) fn report(&mut self, service: &str, report: Report, now: Time) {
        match self.kernel.report(service, report, now) {
            Ok(Some((run, input))) => self.world(run, input, now),
            Ok(None) => {}
            Err(error) => tracing::error!(service, %error, "a report of the world was not accepted"),
        }
    }

    pub(super) fn commit(&mut self) -> Result<()> {
        match self.kernel.commit() {
            Ok(committed) => {
                (self.failures, self.tries) = (0, 0);
                self.reported.clear();
                self.begun.clear();
                let touched = committed.events.iter().map(|event| event.stream.clone()).collect();
                self.show(&committed.events);
                // First: who asks for the outcome after a command was acknowledged must not find the one of before.
                self.tell_outcomes(&touched);
                for ack in self.acks.drain(..) {
                    ack(Ok(()));
                }
                for effect in committed.effects {
                    self.act(effect);
                }
                self.let_go(&touched);
                Ok(())
            }
            Err(error) => {
                self.failures += 1;
                // Another process may use the database for as long as it likes: that ends, and costs nothing but time.
                let in_use = error.kind() == Kind::Busy && error.is_retryable();
                self.tries += u32::from(!in_use);
                let fatal = self.tries >= TRIES || matches!(error.kind(), Kind::Busy | Kind::Corrupt) && !in_use;
                let text = error.to_string();
                for ack in self.acks.drain(..) {
                    ack(Err(Error::new(error.kind(), "it could not be recorded").because(text.clone()).retry_later()));
                }
                // Their starters were told that they did not start; a later start takes them up anew.
                for run in self.begun.drain(..) {
                    self.runs.remove(&run);
                    self.kernel.unload(&run);
                }
                if fatal {
                    return Err(error);
                }
                tracing::warn!(%error, failures = self.failures, "a commit failed and is tried again");
                self.again.extend(self.reported.drain(..));
                #[allow(clippy::disallowed_methods, reason = "the driver's own thread, with nothing to do until then")]
                std::thread::sleep(Duration::from_millis(50 << self.tries.min(6)));
                Ok(())
            }
        }
    }

    /// Shows durable events to observers.
    pub(super) fn show(&self, events: &[Durable]) {
        for event in events {
            if let Some(driven) = self.runs.get(&event.stream) {
                driven.shop.log.push(event.seq, event.at, &event.body);
            }
        }
    }

    /// Tells observers of runs that ended, stopped or go on.
    fn tell_outcomes(&self, touched: &BTreeSet<StreamId>) {
        for run in touched {
            let (Some(driven), Some(state)) = (self.runs.get(run), self.kernel.run(run)) else { continue };
            driven.shop.log.end(Outcome::of(state).map(Ok));
        }
    }

    /// Lets go of runs that have ended.
    fn let_go(&mut self, touched: &BTreeSet<StreamId>) {
        for run in touched {
            if self.kernel.run(run).is_some_and(|state| matches!(state.status(), RunStatus::Finished(_))) {
                self.runs.remove(run);
                self.kernel.unload(run);
            }
        }
    }
}

/// An outcome that can't be recorded is a failure of its step.
fn unfit(input: &RunInput, error: &Error) -> Option<RunInput> {
    let RunInput::StepOutcome { step, attempt, token, .. } = input else { return None };
    let message = format!("what it ended with can't be recorded: {error}");
    let error = StepError { permanent: true, ..StepError::new(Cause::BadValue, message) };
    let outcome = StepOutcome::Failed { error, retry_in: None };
    Some(RunInput::StepOutcome { step: step.clone(), attempt: *attempt, token: *token, outcome })
}
