//! What is to be done about one service, and what was seen of it: which of its changes are told, when a world counts
//! as lost, and when the desired state is asked for again.

use std::collections::VecDeque;

use crate::analysis::BlackoutRule;
use crate::error::Error;
use crate::service::{Desired, Observed, Window};
use crate::time::Time;

/// How many one-second readings are told at a time at most, whatever is in them: those of an hour.
const READINGS: usize = 3_600;

/// What the world reports of a service.
#[derive(Debug, Clone)]
pub(crate) enum Report {
    Observed(Observed),
    Windows(Vec<Window>),
    /// All windows that can be read were told, and those are all that ended before this time, where it is known.
    Settled(Option<Time>),
    Readings(Vec<Window>),
    Lost(String),
}

/// What is to be done about a service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Order {
    pub(crate) desired: Option<Desired>,
    /// While a rollout watches: which watch this is, and the number of the last window that was told before it.
    pub(crate) watch: Option<(u64, u64)>,
    /// The guard for which readings are told.
    guard: Option<BlackoutRule>,
    /// How many watches there were.
    watches: u64,
    /// The generation that the journal knows to have been in force.
    known: u64,
    /// How often the service was to be removed.
    removals: u64,
}

impl Order {
    /// Asks the world for a state.
    pub(crate) fn converge(&mut self, desired: Desired) {
        self.desired = Some(desired);
    }

    /// Reports what the service looks like at once, and from now on windows after this number, and the last readings
    /// that a guard needs.
    pub(crate) fn watch(&mut self, after_window: u64, guard: Option<BlackoutRule>) {
        self.watches += 1;
        self.guard = guard;
        self.watch = Some((self.watches, after_window));
    }

    /// Ends that.
    pub(crate) fn unwatch(&mut self) {
        self.watch = None;
    }

    /// Ends the service. What is asked for later is asked of a new one.
    pub(crate) fn remove(&mut self) {
        self.removals += 1;
        self.desired = None;
        self.known = 0;
    }

    /// Whether the service was removed and nothing was asked of it since.
    pub(crate) fn is_removed(&self) -> bool {
        self.removals > 0 && self.desired.is_none()
    }

    /// Whether nothing is wanted of the service, and nobody watches it.
    pub(crate) fn is_idle(&self) -> bool {
        self.desired.is_none() && self.watch.is_none()
    }

    /// Says which generation was in force before, so that its absence is known for a loss.
    pub(crate) fn expect(&mut self, generation: u64) {
        self.known = generation;
    }
}

/// What was seen and asked so far.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// Whether the world was looked at once.
    looked: bool,
    /// How many supervisors had been started then.
    starts: u64,
    applied: u64,
    seen: Option<Observed>,
    window: u64,
    readings: VecDeque<Window>,
    watch: Option<u64>,
    failing: bool,
    /// How many removals were carried out.
    removals: u64,
}

impl View {
    /// Whether what was asked for is not in force yet.
    pub(crate) fn behind(&self, order: &Order) -> bool {
        let wanted = order.desired.as_ref().map_or(0, |desired| desired.generation);
        self.seen.as_ref().is_none_or(|seen| seen.generation < wanted)
    }

    /// Whether the service is still to be removed.
    pub(crate) fn is_to_remove(&self, order: &Order) -> bool {
        self.removals < order.removals
    }

    /// That it was removed: what comes next is seen for the first time.
    pub(crate) fn removed(&mut self, order: &Order) {
        *self = View { removals: order.removals, ..View::default() };
    }

    /// The numbers of the last window and the last reading that are known: the world is asked for later ones.
    pub(crate) fn after(&mut self, order: &Order) -> (u64, u64) {
        if let Some((watch, window)) = order.watch.filter(|(watch, _)| self.watch != Some(*watch)) {
            self.watch = Some(watch);
            self.window = window;
            self.seen = None;
            self.readings.clear();
        }
        (self.window, self.readings.back().map_or(0, |reading| reading.number))
    }

    /// What is to be reported of an answer. `starts` counts the supervisors that were started: a call finds a dead one's
    /// successor by itself, and only the count shows that there was one.
    pub(crate) fn hear(
        &mut self,
        order: &Order,
        starts: u64,
        observed: Observed,
        (windows, settled_to): (Vec<Window>, Option<Time>),
        readings: Vec<Window>,
    ) -> Vec<Report> {
        let mut reports = Vec::new();
        let successor = self.looked && starts != self.starts;
        let known = if self.looked { self.applied } else { order.known };
        (self.looked, self.starts, self.failing) = (true, starts, false);
        if known > 0 && (successor || observed.generation == 0) {
            self.applied = observed.generation;
            self.seen = None;
            reports.push(Report::Lost("the supervisor that held its processes and proxy is gone".to_owned()));
        } else {
            self.applied = self.applied.max(observed.generation);
        }
        if self.seen.as_ref() != Some(&observed) {
            self.seen = Some(observed.clone());
            reports.push(Report::Observed(observed));
        }
        if order.watch.is_some() {
            if let Some(last) = windows.last() {
                self.window = last.number;
                reports.push(Report::Windows(windows));
            }
            // After its windows, and with them: where one ends with every look, there is no answer without any.
            reports.push(Report::Settled(settled_to));
            if !readings.is_empty() {
                self.readings.extend(readings);
                self.forget_readings(order.guard);
                reports.push(Report::Readings(self.readings.iter().cloned().collect()));
            }
        }
        reports
    }

    /// Drops the oldest readings as long as the others hold enough of every version. The last one stays, for its number.
    /// Bounded by requests and not by time alone: at half a canary request a second a guard needs 160 s of them, at 20
    /// and at 1,000 it needs 4 s.
    fn forget_readings(&mut self, guard: Option<BlackoutRule>) {
        let (enough, most) = guard.map_or((0, 0), |rule| (rule.span(), rule.requests));
        let routed = |reading: &Window, version: &str| {
            let routed = reading.counts.get(version).map(|counts| counts.requests.saturating_add(counts.abandoned));
            routed.unwrap_or(0).min(most)
        };
        let Some(last) = self.readings.back() else { return };
        let drawn = last.weights.iter().filter(|(_, share)| **share > 0).map(|(version, _)| version.clone());
        let mut held: Vec<(String, u64)> = drawn
            .map(|version| {
                let all = self.readings.iter().map(|reading| routed(reading, &version));
                let sum = all.fold(0, u64::saturating_add);
                (version, sum)
            })
            .collect();
        while self.readings.len() > 1
            && let Some(first) = self.readings.front()
        {
            let rest = |(version, sum): &(String, u64)| sum.saturating_sub(routed(first, version));
            if self.readings.len() <= READINGS && held.iter().any(|version| rest(version) < enough) {
                return;
            }
            held.iter_mut().for_each(|version| version.1 = rest(version));
            self.readings.pop_front();
        }
    }

    /// The desired state, if it is still to be asked for.
    pub(crate) fn missing<'a>(&self, order: &'a Order) -> Option<&'a Desired> {
        order.desired.as_ref().filter(|desired| desired.generation > self.applied)
    }

    /// That the world took an ask.
    pub(crate) fn applied(&mut self, generation: u64) {
        self.applied = generation;
    }

    /// What is to be reported when the world can't be asked; only once for each time.
    pub(crate) fn fail(&mut self, error: &Error) -> Option<Report> {
        if self.failing {
            return None;
        }
        self.failing = true;
        let trouble = Some(format!("the supervisor can't be asked: {}", error.sentence()));
        let generation = self.seen.as_ref().map_or(0, |seen| seen.generation);
        let observed = Observed { generation, trouble, ..Observed::default() };
        self.seen = Some(observed.clone());
        Some(Report::Observed(observed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Blackout, WindowCounts};
    use crate::service::Counts;

    fn reading(second: u64, canary: u64, stable: u64) -> Window {
        let side = |requests, errors| Counts { requests, errors, abandoned: 0 };
        let from = Time(i64::try_from(second).unwrap() * 1_000);
        Window {
            epoch: 1,
            number: second,
            from,
            to: from.after(crate::time::Span::seconds(1)),
            weights: [("v1".to_owned(), 9_500), ("v2".to_owned(), 500)].into(),
            counts: [("v1".to_owned(), side(stable, 0)), ("v2".to_owned(), side(canary, canary))].into(),
            latency: [].into(),
        }
    }

    /// The readings that are told in a second.
    fn told(view: &mut View, order: &Order, reading: Window) -> Vec<Window> {
        view.after(order);
        let observed = Observed { generation: 1, ..Observed::default() };
        let reports = view.hear(order, 1, observed, (Vec::new(), None), vec![reading]);
        let readings = reports.into_iter().find_map(|report| match report {
            Report::Readings(readings) => Some(readings),
            _ => None,
        });
        readings.unwrap()
    }

    #[test]
    fn a_guard_fires_at_half_a_canary_request_a_second() {
        let rule = BlackoutRule::default();
        let (mut view, mut order) = (View::default(), Order::default());
        order.watch(0, Some(rule));
        let fired = (1..=300).find(|second| fires(rule, &told(&mut view, &order, reading(*second, second % 2, 9))));
        assert_eq!(fired, Some(79), "the 40th canary request: two readings of 20");
    }

    /// A guard begins anew each time, as in the rollout's machine.
    fn fires(rule: BlackoutRule, readings: &[Window]) -> bool {
        let mut guard = Blackout::new(rule);
        readings.iter().any(|reading| guard.fold(WindowCounts::of(reading, "v2", "v1")).is_some())
    }

    #[test]
    fn a_guard_fires_however_many_requests_a_second_has() {
        for (readings, canary) in [(1, 1_000), (2, 19), (2, 80), (2, 81), (2, 1_000_000), (10, 1_000)] {
            let rule = BlackoutRule { readings, ..BlackoutRule::default() };
            let (mut view, mut order) = (View::default(), Order::default());
            order.watch(0, Some(rule));
            let fired = (1..=300).find(|second| fires(rule, &told(&mut view, &order, reading(*second, canary, 9_000))));
            assert_eq!(fired, Some(u64::from(readings) * if canary < 20 { 2 } else { 1 }), "{readings} of {canary}");
        }
        // All of them in one second of five.
        let rule = BlackoutRule::default();
        let (mut view, mut order) = (View::default(), Order::default());
        order.watch(0, Some(rule));
        let fitful = |second: u64| {
            if second.is_multiple_of(5) { reading(second, 1_000, 9_000) } else { reading(second, 1, 9_000) }
        };
        let good = |second: u64| Window { counts: [].into(), ..reading(second, 0, 9_000) };
        assert!((1..=100).all(|second| !fires(rule, &told(&mut view, &order, good(second)))));
        let fired = (101..=300).find(|second| fires(rule, &told(&mut view, &order, fitful(*second))));
        assert!(fired.is_some_and(|second| second <= 111), "{fired:?}");
    }

    #[test]
    fn no_more_readings_are_kept_than_it_takes() {
        let (mut view, mut order) = (View::default(), Order::default());
        order.watch(0, Some(BlackoutRule::default()));
        let most = (1..=500).map(|second| told(&mut view, &order, reading(second, 30, 570)).len()).max();
        assert_eq!(most, Some(4), "each counts for 20 of 80 requests");
        let most = (501..=5_000).map(|second| told(&mut view, &order, reading(second, 0, 9)).len()).max();
        assert_eq!(most, Some(READINGS));
        order.watch(0, None);
        assert_eq!(told(&mut view, &order, reading(5_001, 0, 9)).len(), 1);
    }
}
