//! One request's way through the counts: routed, answered, ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::meter::Meter;
use crate::service::{Counts, Measure, Weights};
use crate::time::Time;

/// Counts that many requests add to at a time.
#[derive(Debug, Default)]
pub(super) struct Tally {
    requests: AtomicU64,
    errors: AtomicU64,
    abandoned: AtomicU64,
}

impl Tally {
    pub(super) fn read(&self) -> Counts {
        Counts {
            requests: self.requests.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            abandoned: self.abandoned.load(Ordering::Relaxed),
        }
    }
}

/// The time between two changes of weights.
#[derive(Debug)]
pub(super) struct Epoch {
    pub(super) number: u64,
    pub(super) weights: Weights,
    pub(super) measure: Measure,
    /// The versions in the order of the tallies.
    pub(super) names: Vec<String>,
    /// What has ended so far, by version, warm-up included.
    pub(super) ended: Vec<Tally>,
}

impl Epoch {
    pub(super) fn new(number: u64, weights: Weights, measure: Measure) -> Epoch {
        let names: Vec<String> = weights.keys().cloned().collect();
        let ended = names.iter().map(|_| Tally::default()).collect();
        Epoch { number, weights, measure, names, ended }
    }
}

/// One window's counts while requests may still add to them.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) epoch: Arc<Epoch>,
    pub(super) from: Time,
    pub(super) tallies: Vec<Tally>,
    /// Requests without an answer.
    pub(super) waiting: AtomicU64,
    /// Requests whose answer flows.
    pub(super) streaming: AtomicU64,
}

impl Cell {
    pub(super) fn new(epoch: Arc<Epoch>, from: Time) -> Cell {
        let tallies = epoch.names.iter().map(|_| Tally::default()).collect();
        Cell { epoch, from, tallies, waiting: AtomicU64::new(0), streaming: AtomicU64::new(0) }
    }

    /// Whether no request was counted in it, nor will be.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
            && self.streaming.load(Ordering::Acquire) == 0
            && self.tallies.iter().all(|tally| tally.read() == Counts::default())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Streaming,
    Ended,
}

/// One request in the counts, from its routing to its end. Dropped without an answer it was abandoned; dropped with
/// one, the answer has ended, or the client left in its middle, which is nobody's fault.
pub(super) struct Ticket {
    epoch: Arc<Epoch>,
    /// None: routed while somebody warmed, which the judge must not see. Guards must: readings and the meter have it.
    cell: Option<Arc<Cell>>,
    slot: usize,
    meter: Arc<Meter>,
    phase: Phase,
    bad: bool,
    routed: Instant,
}

impl Ticket {
    /// Must be called while the cell can't be closed: under the table's lock.
    pub(super) fn new(cell: &Arc<Cell>, judged: bool, slot: usize, meter: Arc<Meter>) -> Ticket {
        let epoch = cell.epoch.clone();
        let cell = judged.then(|| cell.clone());
        if let Some(cell) = &cell {
            cell.waiting.fetch_add(1, Ordering::AcqRel);
        }
        meter.routed.fetch_add(1, Ordering::AcqRel);
        #[allow(clippy::disallowed_methods, reason = "the latency of a real request")]
        let routed = Instant::now();
        Ticket { epoch, cell, slot, meter, phase: Phase::Waiting, bad: false, routed }
    }

    fn tally(&self) -> Option<&Tally> {
        self.cell.as_ref().and_then(|cell| cell.tallies.get(self.slot))
    }

    /// The request was sent again.
    pub(super) fn retried(&self) {
        self.meter.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// The version drawn could not serve it, whatever another one's answer will be.
    pub(super) fn spoil(&mut self) {
        self.bad = true;
    }

    /// The answer's head is here.
    pub(super) fn answered(&mut self, status: u16) {
        if self.phase != Phase::Waiting {
            return;
        }
        self.bad |= status >= 500;
        self.phase = Phase::Streaming;
        self.meter.latency(u64::try_from(self.routed.elapsed().as_micros()).unwrap_or(u64::MAX));
        self.meter.requests.fetch_add(1, Ordering::Relaxed);
        self.meter.errors.fetch_add(u64::from(self.bad), Ordering::Relaxed);
        if let Some(tally) = self.tally() {
            tally.requests.fetch_add(1, Ordering::Relaxed);
            tally.errors.fetch_add(u64::from(self.bad), Ordering::Relaxed);
        }
        if let Some(cell) = &self.cell {
            // In this order: a reader must never see neither.
            cell.streaming.fetch_add(1, Ordering::AcqRel);
            cell.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// There will be no whole answer, and that is the instance's fault.
    pub(super) fn failed(&mut self) {
        match self.phase {
            Phase::Waiting => self.answered(502),
            Phase::Streaming if !self.bad => {
                self.bad = true;
                self.meter.errors.fetch_add(1, Ordering::Relaxed);
                if let Some(tally) = self.tally() {
                    tally.errors.fetch_add(1, Ordering::Relaxed);
                }
            }
            Phase::Streaming | Phase::Ended => {}
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let phase = std::mem::replace(&mut self.phase, Phase::Ended);
        self.meter.ended.fetch_add(1, Ordering::AcqRel);
        if phase == Phase::Waiting {
            self.meter.abandoned.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(ended) = self.epoch.ended.get(self.slot) {
            match phase {
                Phase::Waiting => ended.abandoned.fetch_add(1, Ordering::Relaxed),
                Phase::Streaming | Phase::Ended => {
                    ended.errors.fetch_add(u64::from(self.bad), Ordering::Relaxed);
                    ended.requests.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
        let Some(cell) = &self.cell else { return };
        if phase == Phase::Waiting {
            if let Some(tally) = self.tally() {
                tally.abandoned.fetch_add(1, Ordering::Relaxed);
            }
            cell.waiting.fetch_sub(1, Ordering::AcqRel);
        } else {
            cell.streaming.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
