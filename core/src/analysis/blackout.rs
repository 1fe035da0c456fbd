//! The blackout guard: a release that fails altogether goes back at once.
//!
//! With every request failing, the window form alone needs 6 windows at a share of 25 %, and 12 at 50 %. This guard
//! looks at readings of about a second, warm-up included, and stands outside alpha: it is a rule, not a test. Requests
//! that clients left before an answer are bad ones here, on both sides: a release that hangs has no others. It keeps
//! watching after promotion, until the old version begins to go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::analysis::{Judge, SideCounts, WindowCounts};

/// When the guard fires.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BlackoutRule {
    /// How many canary requests make a reading.
    pub requests: u64,
    /// The share of bad ones, 0 to 1, from which a reading is bad.
    pub bad: f64,
    /// How many bad readings running it takes.
    pub readings: u32,
    /// The stable side is well while its share of bad ones, 0 to 1, is under this.
    pub stable: f64,
}

impl Default for BlackoutRule {
    fn default() -> BlackoutRule {
        BlackoutRule { requests: 20, bad: 0.5, readings: 2, stable: 0.05 }
    }
}

impl BlackoutRule {
    /// How many canary requests the readings must hold that a guard is folded from anew each time, when no second counts
    /// for more than `requests`: however many a second has, it makes one reading at most. Twice what the bad readings
    /// need: readings are made of whole seconds, and where they begin moves on.
    pub(crate) fn span(&self) -> u64 {
        self.requests.saturating_mul(u64::from(self.readings)).saturating_mul(2)
    }
}

/// The guard's state: integers that are folded from readings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Blackout {
    rule: BlackoutRule,
    /// What was counted since the last whole reading.
    open: WindowCounts,
    /// Bad readings running, and what was counted in them.
    bad: u32,
    canary: SideCounts,
    stable: SideCounts,
}

/// That the guard fired, and on what: the counts of the bad readings that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlackoutAlarm {
    /// How many bad readings ran.
    pub readings: u32,
    /// The canary's counts in them.
    pub canary: SideCounts,
    /// The stable side's counts in them; zeros when all traffic was the canary's.
    pub stable: SideCounts,
}

impl Blackout {
    /// The guard of a judge; `None` when it is off.
    pub fn of(judge: &Judge) -> Option<Blackout> {
        judge.blackout.map(Blackout::new)
    }

    /// A guard that has seen nothing.
    pub fn new(rule: BlackoutRule) -> Blackout {
        Blackout {
            rule,
            open: WindowCounts::default(),
            bad: 0,
            canary: SideCounts::default(),
            stable: SideCounts::default(),
        }
    }

    /// Folds the counts of about a second in. They are gathered until there are enough canary requests, and one of
    /// the stable side unless all traffic was the canary's (so that the two can be told apart: then there is nothing
    /// to compare with, and the canary is judged alone). A reading that is not bad, or during which the stable side
    /// is not well, starts the count again; so does a change of share for a reading that is not whole yet, which
    /// would mix two epochs. A reading whose counts can't be is as none.
    pub fn fold(&mut self, reading: WindowCounts) -> Option<BlackoutAlarm> {
        if !reading.is_possible() {
            return None;
        }
        if reading.share != self.open.share {
            self.open = WindowCounts { share: reading.share, ..WindowCounts::default() };
        }
        self.open.canary.add(reading.canary);
        self.open.stable.add(reading.stable);
        let alone = reading.share >= super::counts::WHOLE;
        if self.open.canary.routed() < self.rule.requests || (self.open.stable.routed() == 0 && !alone) {
            return None;
        }
        let whole = std::mem::replace(&mut self.open, WindowCounts { share: reading.share, ..WindowCounts::default() });
        let canary_bad = whole.canary.lost().rate().is_some_and(|rate| rate >= self.rule.bad);
        let stable_well = whole.stable.lost().rate().is_none_or(|rate| rate < self.rule.stable);
        if !(canary_bad && stable_well) {
            self.reset();
            return None;
        }
        self.bad = self.bad.saturating_add(1);
        self.canary.add(whole.canary);
        self.stable.add(whole.stable);
        (self.bad >= self.rule.readings).then_some(BlackoutAlarm {
            readings: self.bad,
            canary: self.canary,
            stable: self.stable,
        })
    }

    /// Forgets everything: for a new rollout, or when instances were replaced.
    pub fn reset(&mut self) {
        *self = Blackout::new(self.rule);
    }
}

impl BlackoutAlarm {
    /// One sentence: `errors: 38 of 41 on v3 (93 %) in 2 readings running, against 0 of 371 on v2 (0 %)`.
    pub fn sentence(&self, canary: &str, stable: &str) -> String {
        let counts = |counts: SideCounts, version| super::explain::counts_on(counts.lost(), version);
        let what = match self.canary.abandoned {
            0 => "errors",
            _ => "errors, and clients that left before an answer",
        };
        let against = if self.stable.routed() > 0 {
            format!("against {}", counts(self.stable, stable))
        } else {
            "with no request on the stable side to compare with".to_owned()
        };
        let run =
            if self.readings == 1 { "1 reading".to_owned() } else { format!("{} readings running", self.readings) };
        format!("{what}: {} in {run}, {against}", counts(self.canary, canary))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(canary: (u64, u64), stable: (u64, u64)) -> WindowCounts {
        WindowCounts {
            canary: SideCounts::new(canary.0, canary.1),
            stable: SideCounts::new(stable.0, stable.1),
            share: 1_000,
        }
    }

    fn guard() -> Blackout {
        Blackout::of(&Judge::default()).unwrap()
    }

    #[test]
    fn fires_on_the_second_bad_reading_running() {
        let mut guard = guard();
        assert_eq!(guard.fold(reading((20, 10), (180, 8))), None);
        let alarm = guard.fold(reading((21, 21), (180, 0))).unwrap();
        let expected = BlackoutAlarm { readings: 2, canary: SideCounts::new(41, 31), stable: SideCounts::new(360, 8) };
        assert_eq!(alarm, expected);
        assert_eq!(
            alarm.sentence("v3", "v2"),
            "errors: 31 of 41 on v3 (76 %) in 2 readings running, against 8 of 360 on v2 (2.2 %)"
        );
    }

    #[test]
    fn a_release_that_clients_leave_without_an_answer_is_as_bad_as_one_that_fails() {
        let mut guard = guard();
        let mut hung = reading((4, 0), (180, 0));
        hung.canary.abandoned = 17;
        assert_eq!(guard.fold(hung), None);
        assert_eq!(
            guard.fold(hung).unwrap().sentence("v3", "v2"),
            "errors, and clients that left before an answer: 34 of 42 on v3 (81 %) in 2 readings running, \
             against 0 of 360 on v2 (0 %)"
        );
        hung.stable.abandoned = 20;
        guard.reset();
        assert!((0..9).all(|_| guard.fold(hung).is_none()), "they leave the old one too");
    }

    #[test]
    fn gathers_seconds_until_there_are_enough_requests() {
        let mut guard = guard();
        let fired: Vec<usize> = (1..=8).filter(|_| guard.fold(reading((5, 5), (45, 0))).is_some()).collect();
        assert_eq!(fired, [8], "4 seconds for each reading, 2 readings");
    }

    #[test]
    fn a_good_reading_or_an_unwell_stable_side_starts_the_count_again() {
        let bad = reading((20, 20), (180, 0));
        for between in [reading((20, 9), (180, 0)), reading((20, 20), (180, 9))] {
            let mut guard = guard();
            let fired = [bad, between, bad, bad].map(|reading| guard.fold(reading).is_some());
            assert_eq!(fired, [false, false, false, true], "{between:?}");
        }
    }

    #[test]
    fn waits_for_the_stable_side_unless_all_traffic_is_the_canarys() {
        let mut guard = guard();
        assert!((0..100).all(|_| guard.fold(reading((20, 20), (0, 0))).is_none()), "missing data is not a zero");
        let alone = WindowCounts { share: 10_000, ..reading((20, 20), (0, 0)) };
        assert_eq!(guard.fold(alone), None);
        let alarm = guard.fold(alone).unwrap();
        assert_eq!(alarm.stable, SideCounts::default());
    }

    #[test]
    fn a_change_of_share_drops_the_reading_that_is_not_whole() {
        let mut guard = guard();
        guard.fold(reading((20, 20), (180, 0)));
        guard.fold(reading((19, 19), (180, 0)));
        let after = |n| WindowCounts { share: 2_500, ..reading((n, n), (60, 0)) };
        assert_eq!(guard.fold(after(19)), None);
        assert!(guard.fold(after(1)).is_some());
    }

    #[test]
    fn hostile_counts_do_not_overflow() {
        let mut guard = guard();
        for _ in 0..4 {
            guard.fold(reading((u64::MAX, u64::MAX), (u64::MAX, 0)));
        }
        assert!(guard.fold(reading((u64::MAX, u64::MAX), (u64::MAX, 0))).is_some());
    }
}
