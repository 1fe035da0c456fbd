//! What goes wrong: at which append or effect, and how.

use crate::error::Result;
use crate::simulate::Story;
use crate::time::Span;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: Point,
    /// How long nobody drives afterwards, if the driver is killed by it.
    pub down: Span,
}

/// A point of a story, counted from 1 over the whole of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// At an append.
    Append {
        /// Which.
        n: u64,
        /// What becomes of it.
        how: Appended,
    },
    /// At an effect.
    Effect {
        /// Which.
        n: u64,
        /// How far it gets.
        how: Done,
    },
}

/// What becomes of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// The driver is killed before it is written.
    Lost,
    /// The driver is killed after it was written and before anybody knows.
    Durable,
    /// It fails, nothing is written, and the driver goes on.
    Failed,
    /// It is written and reported as failed, and the driver goes on.
    Unacknowledged,
}

/// How far an effect gets before the driver is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It was not begun.
    NotBegun,
    /// It was begun: the process runs, the ask was taken.
    HalfDone,
    /// It was done, and its outcome was not recorded.
    Done,
}

impl Fault {
    /// A fault at an append.
    pub fn append(n: u64, how: Appended, down: Span) -> Fault {
        Fault { at: Point::Append { n, how }, down }
    }

    /// A fault at an effect.
    pub fn effect(n: u64, how: Done, down: Span) -> Fault {
        Fault { at: Point::Effect { n, how }, down }
    }
}

impl Story {
    /// Every single fault that can be from a chapter on (counted from 0): each way at each append and effect of the story
    /// as it goes without faults, down for each of `downs`.
    ///
    /// # Errors
    /// As [`Story::tell`].
    pub fn points(&self, chapter: usize, downs: &[Span]) -> Result<Vec<Fault>> {
        let whole = self.with(Vec::new()).tell()?;
        let (appends, effects) = whole.runs.get(chapter).map_or((0, 0), |run| (run.appends_before, run.effects_before));
        let appends = (appends + 1..=whole.appends).flat_map(|n| {
            [Appended::Lost, Appended::Durable, Appended::Failed, Appended::Unacknowledged]
                .map(|how| Point::Append { n, how })
        });
        let effects = (effects + 1..=whole.effects)
            .flat_map(|n| [Done::NotBegun, Done::HalfDone, Done::Done].map(|how| Point::Effect { n, how }));
        let each = |at| downs.iter().map(move |down| Fault { at, down: *down });
        Ok(appends.chain(effects).flat_map(each).collect())
    }
}
