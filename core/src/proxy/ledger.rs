//! Requests counted into windows, by when they were routed, and into readings, by when they ended. Reads no clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::ticket::{Cell, Epoch, UnderWay};
use crate::service::{Counts, Measure, Weights, Window};
use crate::time::{Span, Time};

/// How many windows and how many readings are kept.
pub(super) const KEPT: usize = 4_096;

/// How long a reading is, at the least.
const READING: Span = Span::seconds(1);

/// A window that takes no new requests, some of whose requests may not have ended.
#[derive(Debug)]
struct Closed {
    cell: Arc<Cell>,
    number: u64,
    to: Time,
}

/// Windows or readings that wait for a reader.
#[derive(Debug, Default)]
struct Shelf {
    kept: VecDeque<Window>,
    /// The highest number that a reader has shown to have.
    read: u64,
    lost: u64,
}

impl Shelf {
    fn push(&mut self, window: Window) {
        self.kept.push_back(window);
        if self.kept.len() > KEPT
            && let Some(oldest) = self.kept.pop_front()
        {
            self.lost += u64::from(oldest.number > self.read);
        }
    }

    fn after(&mut self, after: u64, limit: usize) -> Vec<Window> {
        let known = self.kept.back().map_or(0, |last| last.number);
        self.read = self.read.max(after.min(known));
        let from = self.kept.partition_point(|window| window.number <= after);
        self.kept.iter().skip(from).take(limit).cloned().collect()
    }
}

/// The counts of one proxy.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The window that requests are routed in now.
    cell: Arc<Cell>,
    closed: VecDeque<Closed>,
    windows: Shelf,
    next_window: u64,
    readings: Shelf,
    next_reading: u64,
    reading_from: Time,
    reading_seen: Vec<Counts>,
}

impl Ledger {
    /// A ledger without weights: nothing can be routed.
    pub(super) fn new(now: Time) -> Ledger {
        let measure = Measure { window: Span::seconds(5), warmup: Span::ZERO };
        let epoch = Arc::new(Epoch::new(0, Weights::new(), measure));
        Ledger {
            cell: Arc::new(Cell::new(epoch, now)),
            closed: VecDeque::new(),
            windows: Shelf::default(),
            next_window: 1,
            readings: Shelf::default(),
            next_reading: 1,
            reading_from: now,
            reading_seen: Vec::new(),
        }
    }

    /// The window that is open.
    pub(super) fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    /// The epoch in force.
    pub(super) fn epoch(&self) -> &Arc<Epoch> {
        &self.cell.epoch
    }

    fn length(&self) -> Span {
        self.epoch().measure.window.max(Span::millis(1))
    }

    /// Whether the open window is over.
    pub(super) fn due(&self, now: Time) -> bool {
        now >= self.cell.from.after(self.length())
    }

    /// Closes the open window if it is over. The next one begins on the grid that the epoch's first one set.
    pub(super) fn roll(&mut self, now: Time) {
        if !self.due(now) {
            return;
        }
        let length = self.length();
        let whole = now.since(self.cell.from).0 / length.0;
        let from = self.cell.from.after(Span(whole.saturating_mul(length.0)));
        let to = self.cell.from.after(length);
        let next = Arc::new(Cell::new(self.epoch().clone(), from));
        self.close(next, to);
    }

    fn close(&mut self, next: Arc<Cell>, to: Time) {
        let cell = std::mem::replace(&mut self.cell, next);
        if !cell.is_empty() {
            self.closed.push_back(Closed { cell, number: self.next_window, to });
            self.next_window = self.next_window.saturating_add(1);
        }
    }

    /// Puts new weights in force.
    pub(super) fn change(&mut self, epoch: Epoch, now: Time) {
        self.roll(now);
        self.read_to(now);
        let next = Arc::new(Cell::new(Arc::new(epoch), now));
        self.reading_seen = next.epoch.names.iter().map(|_| Counts::default()).collect();
        self.close(next, now);
    }

    /// Moves windows whose requests have all ended to where they can be read, in their order.
    /// `settle`: how long after a window's end flowing answers hold it; `hold`: how long those that still wait do.
    ///
    /// `hold` must be longer than an answer may take, so that every request has come to something by then, time-outs
    /// included; all that is left is a body that a client still sends. Such a request is late: it is in no window, and
    /// counted as late. That favours no side: the bound is the same for both, it looks at the clock and at no outcome,
    /// and how slowly a client sends does not depend on the version drawn for it. A shorter bound would: a version that
    /// hangs would be left out before it fails. So would windows out of order: those without a slow failure first.
    pub(super) fn settle(&mut self, now: Time, settle: Span, hold: Span) {
        while let Some(front) = self.closed.front() {
            let UnderWay { waiting, streaming } = front.cell.under_way();
            let waits = waiting > 0 && now < front.to.after(hold);
            let flows = streaming > 0 && now < front.to.after(settle);
            if (waits || flows) && self.closed.len() <= KEPT {
                return;
            }
            let Some(Closed { cell, number, to }) = self.closed.pop_front() else { return };
            let (counts, quantiles) = cell.hand_out();
            if let Some(window) = window(&cell.epoch, number, cell.from, to, &counts) {
                let sides = cell.epoch.names.iter().zip(quantiles);
                let latency = sides.filter_map(|(name, quantiles)| Some((name.clone(), quantiles?))).collect();
                self.windows.push(Window { latency, ..window });
            }
        }
    }

    /// Ends the reading that goes on, if a second is over.
    pub(super) fn sample(&mut self, now: Time) {
        if now >= self.reading_from.after(READING) {
            self.read_to(now);
        }
    }

    fn read_to(&mut self, now: Time) {
        let epoch = self.epoch().clone();
        let total = epoch.ended();
        let fresh: Vec<Counts> = total
            .iter()
            .zip(self.reading_seen.iter())
            .map(|(now, seen)| Counts {
                requests: now.requests.saturating_sub(seen.requests),
                errors: now.errors.saturating_sub(seen.errors),
                abandoned: now.abandoned.saturating_sub(seen.abandoned),
            })
            .collect();
        if let Some(reading) = window(&epoch, self.next_reading, self.reading_from, now, &fresh) {
            self.next_reading = self.next_reading.saturating_add(1);
            self.readings.push(reading);
        }
        self.reading_seen = total;
        self.reading_from = now;
    }

    pub(super) fn windows(&mut self, after: u64, limit: usize) -> Vec<Window> {
        self.windows.after(after, limit)
    }

    pub(super) fn readings(&mut self, after: u64, limit: usize) -> Vec<Window> {
        self.readings.after(after, limit)
    }

    /// All windows that ended before this time can be read.
    pub(super) fn settled_to(&self, now: Time) -> Time {
        let open = self.cell.from.after(self.length());
        self.closed.front().map_or(open, |oldest| oldest.to).min(now)
    }

    /// Windows and readings that were lost because nobody read them.
    pub(super) fn lost(&self) -> (u64, u64) {
        (self.windows.lost, self.readings.lost)
    }

    /// Later windows and readings have higher numbers than these.
    pub(super) fn resume_numbers(&mut self, window: u64, reading: u64) {
        self.next_window = self.next_window.max(window.saturating_add(1));
        self.next_reading = self.next_reading.max(reading.saturating_add(1));
    }
}

/// None when nothing was counted.
fn window(epoch: &Epoch, number: u64, from: Time, to: Time, counts: &[Counts]) -> Option<Window> {
    if counts.iter().all(|counts| *counts == Counts::default()) {
        return None;
    }
    let counts: BTreeMap<String, Counts> =
        epoch.names.iter().zip(counts).map(|(name, counts)| (name.clone(), *counts)).collect();
    let (weights, latency) = (epoch.weights.clone(), BTreeMap::new());
    Some(Window { epoch: epoch.number, number, from, to, weights, counts, latency })
}

#[cfg(test)]
mod tests;
