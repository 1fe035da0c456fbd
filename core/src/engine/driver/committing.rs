//! What comes of a commit: observers, acknowledgements and effects when it went well, another try when it did not.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Driver;
use crate::engine::outcome::Outcome;
use crate::error::{Error, Kind, Result};
use crate::journal::StreamId;
use crate::kernel::{Committed, Durable, TRIES, retry_after};
use crate::pipeline::RunStatus;
use crate::service::Desired;

/// How long the world may take to accept a way back that could not be recorded.
const WORLD: Duration = Duration::from_secs(10);

impl Driver {
    pub(super) fn commit(&mut self) -> Result<()> {
        match self.kernel.commit() {
            Ok(committed) => {
                self.reported.clear();
                self.begun.clear();
                self.release(committed);
                Ok(())
            }
            Err(error) => self.failed(error),
        }
    }

    /// Tells what is durable now, and acts on it.
    fn release(&mut self, committed: Committed) {
        (self.failures, self.tries) = (0, 0);
        let touched = committed.events.iter().map(|event| event.stream.clone()).collect();
        self.show(&committed.events);
        self.tell(&committed.news);
        // First: who asks for the outcome after a command was acknowledged must not find the one of before.
        self.tell_outcomes(&touched);
        for ack in self.acks.drain(..) {
            ack(Ok(()));
        }
        for effect in committed.effects {
            self.act(effect);
        }
        self.let_go(&touched);
    }

    /// What a commit that failed leaves to be done, before it is tried again; the error itself when it will not be.
    pub(super) fn failed(&mut self, error: Error) -> Result<()> {
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
        self.keep_reported();
        if fatal {
            // A later driver, if that is why, looks after the rollouts.
            return if error.kind() == Kind::Busy { Err(error) } else { self.go_back(error) };
        }
        tracing::warn!(%error, failures = self.failures, "a commit failed and is tried again");
        #[allow(clippy::disallowed_methods, reason = "the driver's own thread, with nothing to do until then")]
        std::thread::sleep(Duration::from(retry_after(self.tries)));
        Ok(())
    }

    /// The journal can't be written, so that rollouts could not be judged or taken back any more: they turn back while
    /// somebody can still say so. That goes into the reserve if it can, and then the engine goes on; else the world is
    /// asked from memory, and the next driver records it when it finds the world ahead of the journal.
    fn go_back(&mut self, error: Error) -> Result<()> {
        let asked = match self.kernel.turn_all_back(self.clock.now()) {
            Ok(asked) => asked,
            Err(why) => {
                tracing::error!(error = %why, "rollouts under way could not be turned back");
                return Err(error);
            }
        };
        if asked.is_empty() {
            return Err(error);
        }
        match self.kernel.commit() {
            Ok(committed) => {
                tracing::error!(%error, "the journal can hardly be written: rollouts under way were turned back");
                self.release(committed);
                Ok(())
            }
            Err(_) => Err(asked.into_iter().fold(error, |error, desired| self.go_back_unrecorded(error, desired))),
        }
    }

    fn go_back_unrecorded(&self, error: Error, desired: Desired) -> Error {
        let service = desired.service.clone();
        match self.fleet.converge_now(desired, WORLD) {
            Ok(()) => {
                tracing::error!(service, "the rollout was taken back, which the journal does not know yet");
                error.with("taken back, not recorded", service)
            }
            Err(why) => {
                tracing::error!(service, error = %why, "the rollout could neither be recorded nor taken back");
                error.with("could not be taken back", service)
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
