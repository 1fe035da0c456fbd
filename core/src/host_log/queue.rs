//! A `tracing` subscriber that queues. It never waits for who takes: what does not fit is counted.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

use super::line::LogLine;
use crate::error::counted;

/// How many lines wait at most.
const LINES: usize = 1_024;

/// The parts of this crate that say something, as hosts name them. The first one is for all that has no other.
pub const PARTS: [&str; 3] = ["tidegate", "tidegate.engine", "tidegate.journal"];

/// Lines that wait for a host's logger. Clones are the same queue; it is a subscriber of `tracing`, which whoever made it
/// puts in force.
#[derive(Clone)]
pub struct LogQueue {
    shared: Arc<Shared>,
}

struct Shared {
    /// The level of each part; nothing is heard at first.
    levels: [AtomicU8; PARTS.len()],
    waiting: Mutex<Waiting>,
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<LogLine>,
    dropped: u64,
}

impl LogQueue {
    /// An empty queue that hears nothing yet. `wake` is called when there is something to take after there was nothing,
    /// on whatever thread says something, and must not wait.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> LogQueue {
        let shared = Shared { levels: Default::default(), waiting: Mutex::default(), wake: Box::new(wake) };
        LogQueue { shared: Arc::new(shared) }
    }

    /// Says from which level on each of the [`PARTS`] is heard. The others cost next to nothing.
    pub fn set_levels(&self, level_of: impl Fn(&'static str) -> LevelFilter) {
        let mut changed = false;
        for (part, level) in PARTS.iter().zip(&self.shared.levels) {
            let now = number(level_of(part));
            changed |= level.swap(now, Ordering::Relaxed) != now;
        }
        if changed {
            // `tracing` keeps what its subscribers said last. A second one makes it ask all of them, on whatever thread
            // this is: of a single one it would ask the thread's own, which here may be none.
            drop(Dispatch::new(self.clone()));
        }
    }

    /// Takes all lines that wait, and behind them one that says how many did not fit, if any.
    pub fn take(&self) -> Vec<LogLine> {
        let Waiting { lines, dropped } = std::mem::take(&mut *self.waiting());
        let mut lines = Vec::from(lines);
        if dropped > 0 {
            let mut line = LogLine::new(Level::WARN, PARTS[0]);
            line.message = format!("{} dropped", counted(dropped, "log line was", "log lines were"));
            lines.push(line);
        }
        lines
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting().lines.is_empty()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LogQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogQueue").field("levels", &self.shared.levels).finish_non_exhaustive()
    }
}

impl Subscriber for LogQueue {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_event() && part(metadata.target()).is_some() { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = part(metadata.target()).map(|part| self.shared.levels[part].load(Ordering::Relaxed));
        metadata.is_event() && level.is_some_and(|level| number((*metadata.level()).into()) <= level)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let highest = self.shared.levels.iter().map(|level| level.load(Ordering::Relaxed)).max();
        Some(filter(highest.unwrap_or_default()))
    }

    fn event(&self, event: &Event<'_>) {
        let Some(part) = part(event.metadata().target()) else { return };
        if self.waiting().lines.len() >= LINES {
            self.waiting().dropped += 1;
            return;
        }
        // Written before anybody else has to wait for it.
        let line = LogLine::of(event, PARTS[part]);
        let mut waiting = self.waiting();
        let first = waiting.lines.is_empty();
        if waiting.lines.len() < LINES {
            waiting.lines.push_back(line);
        } else {
            waiting.dropped += 1;
        }
        drop(waiting);
        if first {
            (self.shared.wake)();
        }
    }

    // Nothing here has spans.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Which of the parts a target of `tracing` belongs to; `None` when it is not of this crate.
fn part(target: &str) -> Option<usize> {
    let below = target.strip_prefix("tidegate")?;
    if below.is_empty() {
        return Some(0);
    }
    let name = below.strip_prefix("::")?.split("::").next()?;
    let known = PARTS.iter().position(|part| part.strip_prefix("tidegate.") == Some(name));
    Some(known.unwrap_or(0))
}

fn number(level: LevelFilter) -> u8 {
    match level.into_level() {
        None => 0,
        Some(Level::ERROR) => 1,
        Some(Level::WARN) => 2,
        Some(Level::INFO) => 3,
        Some(Level::DEBUG) => 4,
        Some(Level::TRACE) => 5,
    }
}

fn filter(number: u8) -> LevelFilter {
    match number {
        0 => LevelFilter::OFF,
        1 => LevelFilter::ERROR,
        2 => LevelFilter::WARN,
        3 => LevelFilter::INFO,
        4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}
