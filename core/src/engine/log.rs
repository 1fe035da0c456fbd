//! What observers of a run see: its durable events in order, none lost, and lines of output as they come.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{broadcast, watch};

use crate::engine::Outcome;
use crate::error::{Error, Kind, Result};
use crate::pipeline::action::StepLine;
use crate::process::Stream;
use crate::report::Narrator;
use crate::time::Time;

/// Lines of output kept for an observer that is slow; older ones are dropped, and it is told how many.
const OUTPUT_LINES: usize = 4_096;

/// What observers are shown besides durable events, while it comes. It is recorded nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OutputEvent {
    /// A step wrote a line.
    Output {
        /// The step.
        step: String,
        /// The attempt's number.
        attempt: u32,
        /// Where to.
        stream: Stream,
        /// The line, without its end.
        line: String,
    },
    /// A slow reader missed lines of output. Of durable events none is ever missed.
    OutputMissed {
        /// How many.
        lines: u64,
    },
}

impl OutputEvent {
    fn text(&self) -> EventText {
        // Texts and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

/// One thing that an observer is shown: a JSON object as text.
pub type EventText = Arc<str>;

/// What is shown of output, and how many durable events there were when it came: it belongs behind them.
type OutputText = (usize, EventText);

/// The events of one run while this process drives it.
#[derive(Debug)]
pub(crate) struct RunLog {
    events: Mutex<Vec<EventText>>,
    /// How many events there are; observers wait on it.
    count: watch::Sender<usize>,
    /// Made for the first observer: its room is 300 kB, and most runs have none.
    output: OnceLock<broadcast::Sender<OutputText>>,
    outcome: watch::Sender<Option<Result<Arc<Outcome>>>>,
}

impl RunLog {
    pub(crate) fn new() -> RunLog {
        RunLog {
            events: Mutex::default(),
            count: watch::Sender::new(0),
            output: OnceLock::new(),
            outcome: watch::Sender::new(None),
        }
    }

    /// Adds a durable event: `body` is its JSON object as stored.
    pub(crate) fn push(&self, seq: u64, at: Time, body: &[u8]) {
        let text = event_text(seq, at, body);
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(text);
        self.count.send_replace(events.len());
    }

    /// Shows a line of output to those who watch now.
    pub(crate) fn output(&self, line: StepLine) {
        if let Some(output) = self.output.get().filter(|output| output.receiver_count() > 0) {
            let StepLine { step, attempt, stream, text: line } = line;
            let event = OutputEvent::Output { step, attempt, stream, line };
            let after = *self.count.borrow();
            // Nobody may be listening any more; that is no fault.
            let _ = output.send((after, event.text()));
        }
    }

    /// Says how the run ended or stopped; `None` when it goes on again.
    pub(crate) fn end(&self, outcome: Option<Result<Outcome>>) {
        let outcome = outcome.map(|outcome| outcome.map(Arc::new));
        self.outcome.send_if_modified(|known| {
            let changed = known.is_some() || outcome.is_some();
            *known = outcome;
            changed
        });
    }

    /// Waits until the run has ended or stopped to ask.
    pub(crate) async fn outcome(&self) -> Result<Outcome> {
        let mut outcome = self.outcome.subscribe();
        let gone = || Error::new(Kind::Cancelled, "the engine is closed");
        let ended = outcome.wait_for(Option::is_some).await.map_err(|_| gone())?;
        match ended.as_ref() {
            Some(Ok(outcome)) => Ok((**outcome).clone()),
            Some(Err(error)) => Err(error.again()),
            None => Err(gone()),
        }
    }
}

/// The events of a run, one JSON object each: durable ones with `seq` and `at`, in order, none lost; and lines of
/// output (`"kind":"output"`), each between the events between which it came, of which a slow reader may miss some and is
/// told how many (`"kind":"output_missed"`).
#[derive(Debug)]
pub struct Events {
    log: Arc<RunLog>,
    seen: usize,
    count: watch::Receiver<usize>,
    output: broadcast::Receiver<OutputText>,
    /// Output that was taken and is not shown yet.
    taken: Option<OutputText>,
    outcome: watch::Receiver<Option<Result<Arc<Outcome>>>>,
}

impl Events {
    pub(crate) fn new(log: Arc<RunLog>) -> Events {
        Events {
            seen: 0,
            count: log.count.subscribe(),
            output: log.output.get_or_init(|| broadcast::Sender::new(OUTPUT_LINES)).subscribe(),
            taken: None,
            outcome: log.outcome.subscribe(),
            log,
        }
    }

    /// Waits for the next events, at most `most` of them (at least one); empty when the run has ended or stopped to
    /// ask and everything was read. Dropping the future loses nothing.
    pub async fn next_batch(&mut self, most: usize) -> Vec<EventText> {
        let most = most.max(1);
        loop {
            let batch = self.known(most);
            if !batch.is_empty() {
                return batch;
            }
            let ended = self.outcome.borrow_and_update().is_some();
            if ended {
                return self.known(most);
            }
            let (count, outcome, output) = (&mut self.count, &mut self.outcome, &mut self.output);
            tokio::select! {
                _ = count.changed() => {}
                _ = outcome.changed() => {}
                line = output.recv() => match line {
                    Ok(line) => self.taken = Some(line),
                    Err(broadcast::error::RecvError::Lagged(lines)) => self.taken = Some((self.seen, missed(lines))),
                    Err(broadcast::error::RecvError::Closed) => return Vec::new(),
                }
            }
        }
    }

    /// What can be shown at once, at most so much.
    fn known(&mut self, most: usize) -> Vec<EventText> {
        // Before output is looked at: what came before one of these events is there by now.
        let count = *self.count.borrow_and_update();
        let mut batch = Vec::new();
        while batch.len() < most {
            let output = self.taken.take().or_else(|| match self.output.try_recv() {
                Ok(line) => Some(line),
                Err(broadcast::error::TryRecvError::Lagged(lines)) => Some((self.seen, missed(lines))),
                Err(_) => None,
            });
            let (until, line) = output.map_or((count, None), |(after, line)| (after, Some(line)));
            let events = self.log.events.lock().unwrap_or_else(PoisonError::into_inner);
            let to = until.min(self.seen.saturating_add(most - batch.len()));
            batch.extend(events.get(self.seen..to).unwrap_or_default().iter().cloned());
            drop(events);
            self.seen = self.seen.max(to);
            match line {
                Some(line) if batch.len() < most => batch.push(line),
                Some(line) => self.taken = Some((until, line)),
                None => break,
            }
        }
        batch
    }
}

/// A durable event as observers are shown it: `body` is its JSON object as stored.
pub(super) fn event_text(seq: u64, at: Time, body: &[u8]) -> EventText {
    let body = String::from_utf8_lossy(body);
    let fields = body.strip_prefix('{').unwrap_or("}");
    let comma = if fields == "}" { "" } else { "," };
    format!("{{\"seq\":{seq},\"at\":\"{at}\"{comma}{fields}").into()
}

fn missed(lines: u64) -> EventText {
    OutputEvent::OutputMissed { lines }.text()
}

/// A run as lines for people; see [`Narrator`].
#[derive(Debug)]
pub struct Lines {
    events: Events,
    narrator: Narrator,
    waiting: VecDeque<String>,
}

impl Lines {
    pub(crate) fn new(events: Events) -> Lines {
        Lines { events, narrator: Narrator::new(), waiting: VecDeque::new() }
    }

    /// Waits for the next line; `None` when the run has ended or stopped to ask. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Some(line);
            }
            let batch = self.events.next_batch(256).await;
            if batch.is_empty() {
                return None;
            }
            self.waiting.extend(batch.iter().flat_map(|event| self.narrator.lines(event)));
        }
    }
}
