//! What a [`Reader`] tells of runs and services, in the words of the engine: for operators and dashboards in processes
//! of their own.

use std::collections::BTreeMap;

use crate::engine::log::event_text;
use crate::engine::logs::{log_end, log_file};
use crate::engine::{Command, EventText, Outcome, RunRow, Service, StepOutcome, StepStatus};
use crate::error::{Error, Kind, Result};
use crate::journal::{Reader, StreamId};
use crate::machine::Machine;
use crate::pipeline::{RunEvent, RunMachine, RunState};
use crate::report::{StepLog, page};
use crate::service::{ServiceMachine, ServiceState};
use crate::time::{Clock, SystemClock, Time};

/// How many events are read in one transaction.
const BATCH: usize = 256;
/// How much of one log a page shows, and of all, in bytes.
const LOG: u64 = 64 << 10;
const LOGS: u64 = 4 << 20;

impl Reader {
    /// The latest runs, newest first.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] when a row is not what was written.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunRow>> {
        Ok(self.entries(limit)?.into_iter().map(RunRow::from).collect())
    }

    /// A run, to be looked at again and again while it is driven: its events after `after` (0: from the first), and
    /// where it stands.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such run.
    pub fn follow(&self, run: &str, after: u64) -> Result<Follow> {
        let run = StreamId::run(run)?;
        if self.head(&run)? == 0 {
            return Err(no_run(&run));
        }
        Ok(Follow { run, after, seq: 0, state: RunState::default() })
    }

    /// The page of a run, as [`page`] makes it, with the ends of the logs of its steps; at most 64 kB of each and 4 MB in
    /// all, of failed steps first. Of a run that goes on, as of now.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such run; [`Kind::Io`] when a log can't be read; and as [`Follow::look`].
    pub fn report(&mut self, run: &str) -> Result<String> {
        let mut follow = self.follow(run, 0)?;
        let mut events = Vec::new();
        while let Some(news) = follow.look(self, BATCH)?
            && !news.is_empty()
        {
            events.extend(news);
        }
        // By the name under which the engine knows it.
        let journal = std::fs::canonicalize(self.path())
            .map_err(|error| Error::new(Kind::Io, "can't tell the journal's full path").because(error))?;
        let mut steps: Vec<(String, StepOutcome)> = follow.steps().into_iter().collect();
        steps.sort_by_key(|(_, step)| step.status != StepStatus::Failed);
        let (mut logs, mut left) = (Vec::new(), LOGS);
        for (step, outcome) in steps {
            for attempt in 1..=outcome.attempts {
                let file = log_file(&journal, run, &step, attempt);
                let Some((text, left_out)) = log_end(&file, left.min(LOG))? else { continue };
                left -= left.min(text.len() as u64);
                logs.push(StepLog { step: step.clone(), attempt, text, left_out });
            }
        }
        Ok(page(&events, &logs))
    }

    /// What is known of a service; `None` when nothing is.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] when its events are not what was written.
    pub fn service(&mut self, name: &str) -> Result<Option<Service>> {
        let stream = StreamId::service(name)?;
        let mut state = ServiceState::new(name);
        let mut seq = 0;
        loop {
            let events = self.read(&stream, seq, BATCH)?;
            for event in &events {
                ServiceMachine::apply(&mut state, &event.decode()?, event.at);
                seq = event.seq;
            }
            if events.len() < BATCH {
                return Ok((seq > 0).then(|| Service::from(&state)));
            }
        }
    }

    /// Sends a command to a run through the inbox, by whoever drives it, now or later: within 200 ms while its program
    /// runs, else when it runs again. Durable when it returns. Returns the command's number, to be asked for with
    /// [`Reader::waits`]. One that is refused then is an event of the run, `command_refused`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such run; [`Kind::Conflict`] when it has ended; and as [`Reader::send`].
    pub fn command(&self, run: &str, command: &Command) -> Result<u64> {
        let run = StreamId::run(run)?;
        let row = self.row(&run)?.ok_or_else(|| no_run(&run))?;
        if row.index.finished {
            return Err(command.after_the_end(&run));
        }
        let body = serde_json::to_vec(command)
            .map_err(|error| Error::new(Kind::Invalid, "the command can't be written as JSON").because(error))?;
        self.send(&run, SystemClock::new(Time::default()).now(), &body)
    }
}

fn no_run(run: &StreamId) -> Error {
    Error::new(Kind::NotFound, "there is no such run").with("run", run.name()).help("runs() lists those that there are")
}

/// A run as another process sees it, folded as far as it was looked at.
#[derive(Debug)]
pub struct Follow {
    run: StreamId,
    after: u64,
    /// The last event that is folded in.
    seq: u64,
    state: RunState,
}

impl Follow {
    /// The next events, as [`Events`](crate::Events) gives them and at most `most` of them (at least one); `None` when
    /// there are none yet, so that one looks again later; empty when the run has ended or stopped to ask and everything
    /// was read. It does not wait, but blocks while it reads: 200 ms between two looks is often enough for people.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] when events are not what was written; [`Kind::Unsupported`] when a later version wrote them;
    /// [`Kind::NotFound`] when they were pruned.
    pub fn look(&mut self, reader: &mut Reader, most: usize) -> Result<Option<Vec<EventText>>> {
        let most = most.clamp(1, BATCH);
        loop {
            let stored = reader.read(&self.run, self.seq, most)?;
            let mut news = Vec::new();
            for event in &stored {
                match event.decode::<RunEvent>() {
                    Ok(known) => RunMachine::apply(&mut self.state, &known, event.at),
                    Err(error) if news.is_empty() => return Err(error),
                    // What came before it is told first; the next look fails.
                    Err(_) => break,
                }
                self.seq = event.seq;
                if event.seq > self.after {
                    news.push(event_text(event.seq, event.at, &event.body));
                }
            }
            if !news.is_empty() {
                return Ok(Some(news));
            }
            if stored.len() < most {
                return Ok(self.outcome().map(|_| Vec::new()));
            }
        }
    }

    /// The run as of the last look.
    #[cfg(feature = "cli")]
    pub(crate) fn state(&self) -> &RunState {
        &self.state
    }

    /// How the run ended, or where it stopped to ask, as of the last look; `None` while it goes on.
    pub fn outcome(&self) -> Option<Outcome> {
        Outcome::of(&self.state)
    }

    /// Where every step stands as of the last look, by name.
    pub fn steps(&self) -> BTreeMap<String, StepOutcome> {
        StepOutcome::all(&self.state)
    }
}
