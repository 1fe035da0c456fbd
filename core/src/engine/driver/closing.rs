//! An orderly end: what runs is stopped, and what became of it is recorded while the journal can be written.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::{Driver, Message};
use crate::engine::outcome::Outcome;
use crate::error::{Error, Kind, Result};
use crate::journal::StreamId;
use crate::kernel::Effect;
use crate::pipeline::{AtClose, RunEffect, RunInput, RunStatus};

/// How long closing waits for attempts to end, and then for services that were removed. An attempt that takes longer is
/// killed when the host's runtime ends; the next engine goes on with a removal.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);
/// More than one attempt mostly ends at the same moment: their outcomes go in one commit.
const MOST: usize = 256;

impl Driver {
    /// Stops what runs and closes the journal. If an outcome can't be recorded, the next driver finds a cut-off, as
    /// after a crash.
    pub(super) fn close(mut self, messages: &Receiver<Message>) -> Result<()> {
        self.record_what_waits();
        self.stop_attempts();
        self.await_attempts(messages);
        let open = Error::new(Kind::Cancelled, "the engine was closed while the run was under way")
            .help("start it again under the same key: it goes on where it was");
        for (run, driven) in &self.runs {
            let state = self.kernel.run(run).filter(|state| matches!(state.status(), RunStatus::Finished(_)));
            driven.shop.log.end(Some(state.and_then(Outcome::of).ok_or_else(|| open.again())));
        }
        self.fleet.finish_removals(CLOSE_WITHIN);
        drop(self.fleet);
        let closed = self.kernel.into_journal().close();
        tracing::debug!(journal = self.mark, "an engine was closed");
        closed
    }

    /// What was decided before the close is recorded; what it would have started is known not to have begun.
    fn record_what_waits(&mut self) {
        let Some(effects) = self.record() else { return };
        for ack in self.acks.drain(..) {
            ack(Ok(()));
        }
        for effect in effects {
            match effect {
                Effect::Run(run, RunEffect::StartStep(start))
                    if !self.runs.get(&run).is_some_and(|d| d.runs(&start)) =>
                {
                    self.found(&run, start.step, start.attempt, start.token, AtClose::NotBegun);
                }
                other => self.act(other),
            }
        }
        self.record();
    }

    /// Waits, for a bounded time, until the attempts that were told to stop are gone.
    fn await_attempts(&mut self, messages: &Receiver<Message>) {
        let end = Instant::now() + CLOSE_WITHIN;
        while self.runs.values().any(|driven| !driven.attempts.is_empty()) {
            let Ok(first) = messages.recv_timeout(end.saturating_duration_since(Instant::now())) else { break };
            self.held.push_back(first);
            self.held.extend(messages.try_iter().take(MOST));
            while let Some(message) = self.held.pop_front() {
                if let Message::Answered = message {
                    self.hear_answers();
                }
                // Whoever asks for anything else finds the engine closed.
                if let Message::Outcome { run, step, attempt, token, outcome } = message {
                    self.forget_attempt(&run, &step, attempt);
                    self.found(&run, step, attempt, token, AtClose::Ended(outcome));
                }
            }
            self.record();
        }
        let left: Vec<_> = self.runs.iter().flat_map(|(run, driven)| driven.left(run)).collect();
        for (run, step, attempt, token) in left {
            tracing::warn!(run = run.name(), step, attempt, "a step did not end while the engine closed");
            self.found(&run, step, attempt, token, AtClose::Left);
        }
        self.record();
    }

    /// Decides what follows from what became of an attempt. A refusal is normal: it may have been over.
    fn found(&mut self, run: &StreamId, step: String, attempt: u32, token: u64, found: AtClose) {
        let input = RunInput::Close { step, attempt, token, found };
        if let Err(error) = self.kernel.input(run, &input, self.clock.now()) {
            tracing::debug!(run = run.name(), %error, "an attempt was over before the engine closed");
        }
    }

    /// Commits, and shows observers what was committed. What it asks of the world is for the caller; of what is decided
    /// while closing, it is for the next driver.
    fn record(&mut self) -> Option<Vec<Effect>> {
        match self.kernel.commit() {
            Ok(committed) => {
                self.show(&committed.events);
                self.tell(&committed.news);
                Some(committed.effects)
            }
            Err(error) => {
                tracing::warn!(%error, "what became of steps could not be recorded as the engine closed");
                None
            }
        }
    }
}
