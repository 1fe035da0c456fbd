//! Virtual traffic behind the virtual proxy: drawn by weight among what is ready, counted into windows and readings.

use std::collections::{BTreeMap, VecDeque};

use crate::service::{Counts, Desired, Window};
use crate::simulate::Nature;
use crate::simulate::instances::Instances;
use crate::time::{Chance, Span, Time};

/// How many closed windows, and how many readings, are kept until somebody asks.
const KEPT: usize = 1_000;

/// What was counted for one service.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    windows: VecDeque<Window>,
    readings: VecDeque<Window>,
    open: Option<Window>,
    last_window: u64,
    last_reading: u64,
    /// Bad requests that still belong to a burst, by version.
    bursts: BTreeMap<String, u64>,
}

impl Traffic {
    /// The requests of one second, from `from` on.
    pub(super) fn second(
        &mut self,
        desired: &Desired,
        instances: &Instances,
        natures: &BTreeMap<String, Nature>,
        rate: u64,
        mut chance: Chance,
        from: Time,
    ) {
        if self.open.as_ref().is_some_and(|open| open.epoch != desired.epoch) {
            self.close();
        }
        let to = from.after(Span::seconds(1));
        // For each version that gets any: its share, when its ready instances became ready, and how it behaves.
        let sides: Vec<(&String, u64, Vec<Time>, Nature)> = desired
            .weights
            .iter()
            .filter_map(|(version, weight)| {
                let ready = instances.all.iter().filter(|one| one.version == *version && one.is_ready(from));
                let ready: Vec<Time> = ready.map(|one| one.ready_at).collect();
                let nature = natures.get(version).copied().unwrap_or(Nature::GOOD);
                (!ready.is_empty()).then_some((version, u64::from(*weight), ready, nature))
            })
            .collect();
        let total: u64 = sides.iter().map(|(_, weight, ..)| weight).sum();
        // While anybody warms or is away, neither side counts: the counted share must be the assigned one.
        let warm = |at: &Time| from.since(*at) >= desired.measure.warmup;
        let away = desired
            .weights
            .iter()
            .any(|(version, weight)| *weight > 0 && !sides.iter().any(|(other, ..)| *other == version));
        let warm = !away && sides.iter().all(|(_, _, ready, _)| ready.iter().all(warm));
        let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
        for _ in 0..if total > 0 { rate } else { 0 } {
            let mut at = chance.below(total);
            for (version, weight, ready, nature) in &sides {
                if at >= *weight {
                    at -= weight;
                    continue;
                }
                let errors = errors_of(nature, ready, &mut chance, from);
                let burst = self.bursts.entry((*version).clone()).or_default();
                if *burst == 0 && chance.below(10_000 * nature.burst.max(1)) < errors {
                    *burst = nature.burst.max(1);
                }
                let bad = *burst > 0;
                *burst = burst.saturating_sub(1);
                let side = counts.entry((*version).clone()).or_default();
                if nature.hangs > 0 && chance.below(10_000) < nature.hangs {
                    side.abandoned += 1;
                } else {
                    side.requests += 1;
                    side.errors += u64::from(bad);
                }
                break;
            }
        }
        self.count(desired, counts, warm, from, to);
    }

    /// Counts a second; only into its reading when somebody is not warm.
    fn count(&mut self, desired: &Desired, counts: BTreeMap<String, Counts>, warm: bool, from: Time, to: Time) {
        let (epoch, weights) = (desired.epoch, desired.weights.clone());
        let open = self.open.get_or_insert_with(|| Window {
            epoch,
            number: 0,
            from,
            to,
            weights: weights.clone(),
            counts: BTreeMap::new(),
            latency: BTreeMap::new(),
        });
        for (version, side) in counts.iter().filter(|_| warm) {
            let sum = open.counts.entry(version.clone()).or_default();
            sum.requests += side.requests;
            sum.errors += side.errors;
            sum.abandoned += side.abandoned;
        }
        open.to = to;
        let whole = to.since(open.from) >= desired.measure.window;
        if !counts.is_empty() {
            self.last_reading += 1;
            let (number, latency) = (self.last_reading, BTreeMap::new());
            self.readings.push_back(Window { epoch, number, from, to, weights, counts, latency });
            self.readings.drain(..self.readings.len().saturating_sub(KEPT));
        }
        if whole {
            self.close();
        }
    }

    /// Closes the open window; one in which nothing was counted is none.
    pub(super) fn close(&mut self) {
        if let Some(window) = self.open.take().filter(|window| !window.counts.is_empty()) {
            self.last_window += 1;
            self.windows.push_back(Window { number: self.last_window, ..window });
            self.windows.drain(..self.windows.len().saturating_sub(KEPT));
        }
    }

    /// Later windows and readings have higher numbers than these.
    pub(super) fn resume_numbers(&mut self, window: u64, reading: u64) {
        self.last_window = self.last_window.max(window);
        self.last_reading = self.last_reading.max(reading);
    }

    pub(super) fn windows(&self, after: u64) -> Vec<Window> {
        self.windows.iter().filter(|window| window.number > after).cloned().collect()
    }

    pub(super) fn readings(&self, after: u64) -> Vec<Window> {
        self.readings.iter().filter(|reading| reading.number > after).cloned().collect()
    }
}

/// Bad requests in 10,000 of the instance that is drawn; chance is used only where instances may differ.
fn errors_of(nature: &Nature, ready: &[Time], chance: &mut Chance, now: Time) -> u64 {
    let (seconds, errors) = nature.cold;
    if seconds == 0 {
        return nature.errors;
    }
    let at = usize::try_from(chance.below(ready.len() as u64)).ok().and_then(|drawn| ready.get(drawn));
    if at.is_some_and(|at| now.since(*at) < Span::seconds(seconds)) { errors } else { nature.errors }
}
