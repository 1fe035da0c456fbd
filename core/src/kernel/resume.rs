//! Taking runs and services up again.

use crate::error::{Error, Kind, Result};
use crate::journal::StreamId;
use crate::kernel::{Command, Kernel};
use crate::pipeline::{PipelineSpec, RunInput, RunOutcome, RunStatus};
use crate::time::Time;

impl Kernel {
    /// Whether a run that was folded has these params: the same key with others is an error.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when it has not.
    pub(crate) fn check_params(&self, run: &StreamId, hash: &str) -> Result<()> {
        let known = self.run(run).and_then(|state| state.run());
        if known.is_some_and(|known| known.params_hash() != hash) {
            return Err(Error::new(Kind::Conflict, "the key belongs to a run with other params")
                .with("run", run.name())
                .help("use another key, or the same params"));
        }
        Ok(())
    }

    /// Goes on with a run that was just folded. Whether it goes on: one that has ended does only when somebody wants
    /// its failed steps to run again.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when the definition has changed or nothing is left to run again.
    pub(crate) fn resume(
        &mut self,
        run: &StreamId,
        definition: &PipelineSpec,
        rerun_failed: Option<&str>,
        now: Time,
    ) -> Result<bool> {
        let epoch = self.journal().epoch();
        let known = self.run(run).and_then(|state| state.run());
        let recorded = known.is_some_and(|known| known.epoch() == epoch && known.outcome().is_none());
        match (self.run(run).map(|state| state.status()), rerun_failed) {
            // In a run that succeeded, what failed was allowed to.
            (Some(RunStatus::Finished(_)), None) | (Some(RunStatus::Finished(RunOutcome::Succeeded)), Some(_)) => {
                return Ok(false);
            }
            (Some(RunStatus::Finished(_)), Some(by)) => {
                if let Some(known) = self.run(run).and_then(|state| state.run()) {
                    known.check_definition(definition)?;
                }
                self.input(run, &RunInput::RerunFailed { by: by.to_owned(), epoch }, now)?;
            }
            // This driver began it, in an append that was reported as failed and is durable: nothing was done for it yet.
            _ if recorded => {
                if let Some(known) = known {
                    known.check_definition(definition)?;
                }
                self.ask_again(run);
            }
            _ => {
                let definition = Box::new(definition.clone());
                self.input(run, &RunInput::Resume { epoch, definition }, now)?;
                self.take_up(run, now)?;
            }
        }
        Ok(true)
    }

    /// Ends a run that was just folded and whose program does not come back, from what is recorded of it: its rollouts go
    /// back, what has not ended is cancelled, cleanup commands run, and cleanup steps that are functions are skipped.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when it has ended.
    pub(crate) fn end_only(&mut self, run: &StreamId, by: String, reason: String, now: Time) -> Result<()> {
        let cancel = Command::Cancel { by, reason };
        if self.run(run).is_some_and(|state| matches!(state.status(), RunStatus::Finished(_))) {
            return Err(cancel.after_the_end(run));
        }
        let epoch = self.journal().epoch();
        self.input(run, &RunInput::TakeUpToEnd { epoch }, now)?;
        self.take_up(run, now)?;
        self.input(run, &cancel.input(), now)
    }

    /// The services that a run holds, with the generations that were in force, so that a loss is noticed: 0 where
    /// nothing was to run, which can't be lost.
    pub(crate) fn held_by(&self, run: &StreamId) -> Vec<(String, u64)> {
        self.services()
            .filter(|service| service.claim.as_ref().is_some_and(|claim| claim.run == run.name()))
            .map(|service| (service.name.clone(), if service.sizes.is_empty() { 0 } else { service.generation }))
            .collect()
    }

    /// The services that something was asked of and that no rollout holds, with the generations that were in force. (One
    /// that a run holds waits until that run is taken up.)
    pub(crate) fn unclaimed(&self) -> Vec<(String, u64)> {
        self.services()
            .filter(|service| service.serving.is_some() && service.claim.is_none())
            .map(|service| (service.name.clone(), service.generation))
            .collect()
    }
}
