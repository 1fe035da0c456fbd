//! One request's way through the counts: routed, answered, ended.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use super::latencies::Latencies;
use super::meter::{Meter, lock};
use crate::service::{Counts, LatencyQuantiles, Measure, Weights};
use crate::time::Time;

/// The time between two changes of weights.
#[derive(Debug)]
pub(super) struct Epoch {
    pub(super) number: u64,
    pub(super) weights: Weights,
    pub(super) measure: Measure,
    /// The versions in the order of the counts.
    pub(super) names: Vec<String>,
    /// What has ended so far, by version, warm-up included.
    ended: Mutex<Vec<Counts>>,
}

impl Epoch {
    pub(super) fn new(number: u64, weights: Weights, measure: Measure) -> Epoch {
        let names: Vec<String> = weights.keys().cloned().collect();
        let ended = Mutex::new(vec![Counts::default(); names.len()]);
        Epoch { number, weights, measure, names, ended }
    }

    /// What has ended so far, by version: no request with a part of its counts.
    pub(super) fn ended(&self) -> Vec<Counts> {
        lock(&self.ended).clone()
    }
}

/// One window's counts while requests may still add to them.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) epoch: Arc<Epoch>,
    pub(super) from: Time,
    open: Mutex<Open>,
}

/// One lock for all of it: a reader sees every request as a whole.
#[derive(Debug, Default)]
struct Open {
    counts: Vec<Counts>,
    /// The times to the first byte of the answers, by version.
    latencies: Vec<Latencies>,
    under_way: UnderWay,
    /// Nothing is counted any more.
    handed_out: bool,
}

/// Requests that have not ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnderWay {
    /// Those without an answer.
    pub(super) waiting: u64,
    /// Those whose answer flows.
    pub(super) streaming: u64,
}

impl Cell {
    pub(super) fn new(epoch: Arc<Epoch>, from: Time) -> Cell {
        let counts = vec![Counts::default(); epoch.names.len()];
        let latencies = epoch.names.iter().map(|_| Latencies::default()).collect();
        let open = Open { counts, latencies, ..Open::default() };
        Cell { epoch, from, open: Mutex::new(open) }
    }

    /// What was counted so far, by version.
    #[cfg(test)]
    pub(super) fn counts(&self) -> Vec<Counts> {
        lock(&self.open).counts.clone()
    }

    /// What was counted and how long answers took, by version. Whatever comes now is late.
    pub(super) fn hand_out(&self) -> (Vec<Counts>, Vec<Option<LatencyQuantiles>>) {
        let mut open = lock(&self.open);
        open.handed_out = true;
        let latencies = std::mem::take(&mut open.latencies);
        (open.counts.clone(), latencies.iter().map(Latencies::quantiles).collect())
    }

    pub(super) fn under_way(&self) -> UnderWay {
        lock(&self.open).under_way
    }

    /// Whether no request was counted in it, nor will be.
    pub(super) fn is_empty(&self) -> bool {
        let open = lock(&self.open);
        open.under_way == UnderWay::default() && open.counts.iter().all(|counts| *counts == Counts::default())
    }

    /// Changes the counts of a version and what is under way, as one; false when that is too late.
    fn update(&self, slot: usize, change: impl FnOnce(&mut Counts, &mut UnderWay)) -> bool {
        self.answer(slot, None, change)
    }

    /// The same, and an answer came so many microseconds after its request was routed.
    fn answer(&self, slot: usize, took: Option<u64>, change: impl FnOnce(&mut Counts, &mut UnderWay)) -> bool {
        let Open { counts, latencies, under_way, handed_out } = &mut *lock(&self.open);
        if let Some(counts) = counts.get_mut(slot).filter(|_| !*handed_out) {
            change(counts, under_way);
            if let (Some(latencies), Some(took)) = (latencies.get_mut(slot), took) {
                latencies.record(took);
            }
        }
        !*handed_out
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Streaming,
    Ended,
}

/// One request in the counts, from its routing to its end. Dropped without an answer it was abandoned; dropped with
/// one, the answer has ended, or the client left in its middle, which is nobody's fault. Dropped without an answer after a
/// try that failed, it failed for the judge.
pub(super) struct Ticket {
    epoch: Arc<Epoch>,
    /// None: routed while somebody warmed or was away, which the judge must not see. Guards must: readings and the meter have it.
    cell: Option<Arc<Cell>>,
    slot: usize,
    meter: Arc<Meter>,
    phase: Phase,
    /// The client got a bad answer or none.
    bad: bool,
    /// A try failed, whatever the client got from the next one. The judge counts this like `bad`: a version that fails
    /// now and then would else hide behind the tries that make up for it.
    blamed: bool,
    routed: Instant,
}

impl Ticket {
    /// Must be called while the cell can't be closed: under the table's lock.
    pub(super) fn new(cell: &Arc<Cell>, judged: bool, slot: usize, meter: Arc<Meter>) -> Ticket {
        let epoch = cell.epoch.clone();
        let cell = judged.then(|| cell.clone());
        if let Some(cell) = &cell {
            cell.update(slot, |_, under_way| under_way.waiting += 1);
        }
        meter.routed.fetch_add(1, Ordering::AcqRel);
        #[allow(clippy::disallowed_methods, reason = "the latency of a real request")]
        let routed = Instant::now();
        Ticket { epoch, cell, slot, meter, phase: Phase::Waiting, bad: false, blamed: false, routed }
    }

    /// The request was sent again.
    pub(super) fn retried(&self) {
        self.meter.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// A try failed, and that is the fault of the version drawn, whatever the answer to the next one will be.
    pub(super) fn blame(&mut self) {
        self.blamed = true;
    }

    /// The answer's head is here.
    pub(super) fn answered(&mut self, status: u16) {
        if self.phase != Phase::Waiting {
            return;
        }
        self.bad |= status >= 500;
        self.phase = Phase::Streaming;
        let took = u64::try_from(self.routed.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.meter.latency(took);
        self.meter.requests.fetch_add(1, Ordering::Relaxed);
        // After the request: a reader takes them the other way round.
        self.meter.errors.fetch_add(u64::from(self.bad), Ordering::Release);
        if let Some(cell) = &self.cell {
            let in_time = cell.answer(self.slot, Some(took), |counts, under_way| {
                counts.requests += 1;
                counts.errors += u64::from(self.bad || self.blamed);
                under_way.waiting -= 1;
                under_way.streaming += 1;
            });
            self.meter.late.fetch_add(u64::from(!in_time), Ordering::Relaxed);
        }
    }

    /// There will be no whole answer, and that is the instance's fault.
    pub(super) fn failed(&mut self) {
        match self.phase {
            Phase::Waiting => self.answered(502),
            Phase::Streaming if !self.bad => {
                self.bad = true;
                self.meter.errors.fetch_add(1, Ordering::Release);
                if let Some(cell) = self.cell.as_ref().filter(|_| !self.blamed) {
                    cell.update(self.slot, |counts, _| counts.errors += 1);
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
        let abandoned = phase == Phase::Waiting && !self.blamed;
        let bad = self.bad || self.blamed;
        self.meter.blamed.fetch_add(u64::from(self.blamed && !self.bad), Ordering::Relaxed);
        if let Some(ended) = lock(&self.epoch.ended).get_mut(self.slot) {
            ended.abandoned += u64::from(abandoned);
            ended.requests += u64::from(!abandoned);
            ended.errors += u64::from(!abandoned && bad);
        }
        let Some(cell) = &self.cell else { return };
        let in_time = cell.update(self.slot, |counts, under_way| {
            if phase != Phase::Waiting {
                under_way.streaming -= 1;
                return;
            }
            counts.abandoned += u64::from(abandoned);
            counts.requests += u64::from(!abandoned);
            counts.errors += u64::from(!abandoned);
            under_way.waiting -= 1;
        });
        self.meter.late.fetch_add(u64::from(phase == Phase::Waiting && !in_time), Ordering::Relaxed);
    }
}
