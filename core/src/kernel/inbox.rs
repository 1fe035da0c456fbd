//! Commands from the inbox, and what the world's reports mean.

use crate::error::{Error, Kind, Result};
use crate::journal::{RunEntry, StreamId};
use crate::kernel::{Command, Kernel, Report};
use crate::pipeline::RunInput;
use crate::rollout::{self, RolloutInput, Verb};
use crate::service::{Desired, ServiceInput};
use crate::time::Time;

impl Kernel {
    /// Takes the commands that wait for runs that are driven here. Each is taken in the same commit as what follows
    /// from it, and so is one that is refused: that is an event of the run, as who sent it may look nowhere else, and
    /// goes to `refused`. One that is damaged is taken as well, as it would hide those behind it. `said` makes what is
    /// in it fit to be recorded.
    pub(crate) fn read_inbox(
        &mut self,
        now: Time,
        said: impl Fn(&mut Command) -> Result<()>,
        mut refused: impl FnMut(Error),
    ) -> Result<()> {
        self.recover()?;
        let items = match self.journal().inbox() {
            Err(error) if error.kind() == Kind::Corrupt => {
                let damaged = self.journal().damaged_inbox()?;
                if damaged.is_empty() {
                    return Err(error);
                }
                for (id, error) in damaged {
                    refused(error.with("command", id));
                    self.take(id);
                }
                // The others are read once these are gone.
                return Ok(());
            }
            items => items?,
        };
        for item in items {
            if self.is_full() {
                break;
            }
            let mut refused = |error: Error| refused(error.with("stream", &item.stream).with("command", item.id));
            if self.run(&item.stream).is_none() {
                // It waits for the run to be taken up, unless that can never be.
                if !self.journal().unfinished()?.iter().any(|row| row.stream == item.stream) {
                    refused(Error::new(Kind::NotFound, "the run is over, or never was"));
                    self.take(item.id);
                }
                continue;
            }
            match serde_json::from_slice::<Command>(&item.body) {
                Ok(mut command) => {
                    let said = said(&mut command);
                    let taken = said.and_then(|()| self.input(&item.stream, &command.clone().input(), now));
                    if let Err(error) = taken {
                        let (verb, step, by) = command.told();
                        let (verb, step, by) = (verb.to_owned(), step.map(str::to_owned), by.to_owned());
                        let input = RunInput::Refuse { verb, step, by, why: error.to_string() };
                        self.input(&item.stream, &input, now)?;
                        refused(error);
                    }
                }
                Err(error) => {
                    refused(Error::new(Kind::Invalid, "a command in the inbox can't be read").because(error));
                }
            }
            self.take(item.id);
        }
        Ok(())
    }

    /// A command that somebody waits for the answer to.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when it can't be now, or the run has ended; [`Kind::NotFound`] when there is no such run.
    pub(crate) fn command(&mut self, run: &StreamId, command: Command, now: Time) -> Result<()> {
        self.recover()?;
        if self.run(run).is_some() {
            return self.input(run, &command.input(), now);
        }
        if self.journal().head(run)? == 0 {
            return Err(no_run(run));
        }
        match self.journal().unfinished()?.iter().find(|row| row.stream == *run) {
            Some(row) => Err(not_taken_up(row)),
            None => Err(command.after_the_end(run)),
        }
    }

    /// Ends a service that no rollout holds, if anything of it is there.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there never was one of that name; [`Kind::Conflict`] while a rollout holds it.
    pub(crate) fn remove_service(&mut self, service: &str, now: Time) -> Result<()> {
        self.recover()?;
        if self.service(service).is_some() {
            return self.service_input(service, &ServiceInput::Remove, now);
        }
        let there = self.services().filter(|state| state.claim.is_some() || !state.sizes.is_empty());
        let known: Vec<&str> = there.map(|state| state.name.as_str()).collect();
        let help = if known.is_empty() { "there is none".into() } else { format!("there are: {}", known.join(", ")) };
        Err(Error::new(Kind::NotFound, format!("there is no service {service:?}")).help(help))
    }

    /// Takes a report of the world. What concerns the rollout that holds the service comes back as the inputs to its
    /// run; anything else is decided here.
    pub(crate) fn report(&mut self, service: &str, report: Report, now: Time) -> Result<Vec<(StreamId, RunInput)>> {
        self.recover()?;
        let state = self.service(service);
        let generation = state.map_or(0, |state| state.generation);
        let Some(claim) = state.and_then(|state| state.claim.clone()) else {
            let input = match report {
                Report::Observed(observed) => ServiceInput::Observed(observed),
                Report::Lost(what) => ServiceInput::WorldLost { what },
                Report::Windows(_) | Report::Settled(_) | Report::Readings(_) => return Ok(Vec::new()),
            };
            return self.service_input(service, &input, now).map(|()| Vec::new());
        };
        let mut inputs = Vec::with_capacity(2);
        match report {
            Report::Observed(observed) => {
                // Only the way back is asked for before it is recorded: it is recorded now, and is the same.
                if observed.generation > generation {
                    inputs.push(turn_back("it was taken back while the journal could not be written"));
                }
                inputs.push(RolloutInput::Observed(observed));
            }
            Report::Windows(windows) => inputs.push(RolloutInput::Windows(windows)),
            Report::Settled(to) => inputs.push(RolloutInput::Settled { to }),
            Report::Readings(readings) => inputs.push(RolloutInput::Readings(readings)),
            Report::Lost(what) => inputs.push(RolloutInput::WorldLost { what }),
        }
        let run = StreamId::run(&claim.run)?;
        let input = |input| (run.clone(), RunInput::Rollout { step: claim.step.clone(), input: Box::new(input) });
        Ok(inputs.into_iter().map(input).collect())
    }

    /// Turns back all rollouts that are under way and not promoted, as nothing of theirs can be recorded or judged any
    /// more. What that asks of the world, in the order of the services.
    pub(crate) fn turn_all_back(&mut self, now: Time) -> Result<Vec<Desired>> {
        self.recover()?;
        for (run, step) in self.rollouts_forward() {
            let input = Box::new(turn_back("the journal can't be written"));
            self.input(&run, &RunInput::Rollout { step, input }, now)?;
        }
        Ok(self.asked_of_world())
    }
}

pub(crate) fn no_run(run: &StreamId) -> Error {
    let help = "a run's id is given when it is started";
    Error::new(Kind::NotFound, "there is no such run").with("run", run.name()).help(help)
}

/// Why a command is not carried out, and who must do what for that.
fn not_taken_up(row: &RunEntry) -> Error {
    let (pipeline, key) = (&row.index.pipeline, &row.index.key);
    Error::new(Kind::Conflict, "no program has taken the run up again").with("run", row.stream.name()).help(format!(
        "start the pipeline {pipeline:?} under the key {key:?} again, and send it then; or cancel the run with the \
             engine, which ends it without its program"
    ))
}

fn turn_back(why: &str) -> RolloutInput {
    RolloutInput::Command(rollout::Command { verb: Verb::Revert, by: "tidegate".to_owned(), reason: why.to_owned() })
}
