//! What the world reports: it is fed to the machines, and again if the commit with what followed from it failed.

use std::collections::{BTreeSet, VecDeque};

use super::Driver;
use crate::error::{Error, Kind};
use crate::journal::StreamId;
use crate::kernel::Report;
use crate::pipeline::{Cause, RunInput, StepError, StepOutcome};
use crate::rollout::RolloutInput;
use crate::time::Time;

/// An input of the world, which won't repeat it.
#[derive(Debug)]
pub(super) enum Heard {
    Run(StreamId, RunInput),
    Service(String, Report),
}

impl Heard {
    /// Of whom and of what it is a view that a later one replaces; `None` for what happened once.
    fn view(&self) -> Option<(String, u8)> {
        match self {
            Heard::Run(run, RunInput::Rollout { step, input }) => {
                let of = format!("{run} {step}");
                match &**input {
                    RolloutInput::Observed(_) => Some((of, 0)),
                    RolloutInput::Readings(_) => Some((of, 1)),
                    RolloutInput::Settled { .. } => Some((of, 2)),
                    _ => None,
                }
            }
            Heard::Service(service, Report::Observed(_)) => Some((service.clone(), 3)),
            Heard::Service(service, Report::Windows(_) | Report::Settled(_) | Report::Readings(_)) => {
                Some((service.clone(), 4))
            }
            Heard::Run(..) | Heard::Service(_, Report::Lost(_)) => None,
        }
    }
}

impl Driver {
    /// Feeds what was lost with a commit that failed.
    pub(super) fn feed_again(&mut self) {
        let now = self.clock.now();
        while !self.kernel.is_full()
            && let Some(heard) = self.again.pop_front()
        {
            match heard {
                Heard::Run(run, input) => self.world(run, input, now),
                Heard::Service(service, report) => self.report(&service, report, now),
            }
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
            Ok(()) => self.reported.push(Heard::Run(run, input)),
            Err(error) => {
                let error = self.secrets.words(&error.to_string());
                tracing::debug!(run = run.name(), error, "a report was not accepted");
            }
        }
    }

    /// Feeds what the world reports of a service, to the run whose rollout holds it or to the service itself.
    pub(super) fn report(&mut self, service: &str, report: Report, now: Time) {
        match self.kernel.report(service, report.clone(), now) {
            Ok(inputs) if !inputs.is_empty() => inputs.into_iter().for_each(|(run, input)| self.world(run, input, now)),
            Ok(_) => self.reported.push(Heard::Service(service.to_owned(), report)),
            Err(error) => {
                let error = self.secrets.words(&error.to_string());
                tracing::error!(service, error, "a report of the world was not accepted");
            }
        }
    }

    /// After a commit failed: what was heard since the last one is to be fed again. What a later report of the same
    /// service says anew is left out, so that a long wait for the journal gathers no more than the ends of attempts and
    /// the windows that were counted.
    pub(super) fn keep_reported(&mut self) {
        self.again.extend(self.reported.drain(..));
        let mut later = BTreeSet::new();
        let mut kept: VecDeque<Heard> = VecDeque::new();
        while let Some(heard) = self.again.pop_back() {
            if heard.view().is_none_or(|view| later.insert(view)) {
                kept.push_front(heard);
            }
        }
        self.again = kept;
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
