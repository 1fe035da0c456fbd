//! What is judged: the counts of one window.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::service::{Counts, Window};

/// What was counted on one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
pub struct SideCounts {
    /// Requests that were routed to this side in the window and have ended.
    pub requests: u64,
    /// Of these the bad ones. A window with more of them than `requests` is not judged.
    pub errors: u64,
    /// Requests besides, which the client left before the first byte of an answer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub abandoned: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl SideCounts {
    /// `errors` bad ones of `requests`.
    pub const fn new(requests: u64, errors: u64) -> SideCounts {
        SideCounts { requests, errors, abandoned: 0 }
    }

    /// All requests that were routed to this side, with an answer or without.
    pub fn routed(&self) -> u64 {
        self.requests.saturating_add(self.abandoned)
    }

    /// The metric of abandoned requests: of all that were routed, those that the client left.
    pub(super) fn left(&self) -> SideCounts {
        SideCounts::new(self.routed(), self.abandoned)
    }

    /// Of all that were routed, those that failed or that the client left.
    pub(super) fn lost(&self) -> SideCounts {
        SideCounts::new(self.routed(), self.bad().saturating_add(self.abandoned))
    }

    /// The bad ones, never more than there were requests.
    pub fn bad(&self) -> u64 {
        self.errors.min(self.requests)
    }

    /// The share of bad ones, 0 to 1; `None` without requests.
    pub fn rate(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.bad() as f64 / self.requests as f64)
    }

    pub(super) fn add(&mut self, other: SideCounts) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.bad());
        self.abandoned = self.abandoned.saturating_add(other.abandoned);
    }
}

impl From<&Counts> for SideCounts {
    fn from(counts: &Counts) -> SideCounts {
        SideCounts { requests: counts.requests, errors: counts.errors, abandoned: counts.abandoned }
    }
}

/// The counts of one closed window: the integers from which all evidence is folded, as they stand in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
pub struct WindowCounts {
    /// The release that is judged.
    pub canary: SideCounts,
    /// What it is compared with; zeros when there is no such side.
    pub stable: SideCounts,
    /// The canary's assigned share of the requests of both, in hundredths of a percent: 1,000 is 10 %.
    pub share: u32,
}

/// The whole, in hundredths of a percent.
pub(super) const WHOLE: u32 = 10_000;

impl WindowCounts {
    /// The counts of `canary` and `stable` in a service's window. A version that is not in it has zeros. Where other
    /// versions have a share of the traffic too, the share among these two is rounded up, which favours the canary.
    pub fn of(window: &Window, canary: &str, stable: &str) -> WindowCounts {
        let side = |version: &str| window.counts.get(version).map(SideCounts::from).unwrap_or_default();
        let weight = |version: &str| u64::from(window.weights.get(version).copied().unwrap_or(0));
        let (c, s) = (weight(canary), weight(stable));
        let share = if c == 0 { 0 } else { (c * u64::from(WHOLE)).div_ceil(c + s) };
        WindowCounts { canary: side(canary), stable: side(stable), share: u32::try_from(share).unwrap_or(WHOLE) }
    }

    /// The metric of abandoned requests.
    pub(super) fn left(&self) -> WindowCounts {
        WindowCounts { canary: self.canary.left(), stable: self.stable.left(), share: self.share }
    }

    /// The assigned share as a number from 0 to 1.
    pub fn share(&self) -> f64 {
        f64::from(self.share.min(WHOLE)) / f64::from(WHOLE)
    }

    /// Whether both sides had requests and both could be drawn: else the window says nothing of one against the other.
    pub fn is_comparable(&self) -> bool {
        self.canary.requests > 0 && self.stable.requests > 0 && self.share > 0 && self.share < WHOLE
    }

    /// Whether the counts can be: more errors than requests are those of a counter that began anew, or of a mistake.
    pub fn is_possible(&self) -> bool {
        self.canary.errors <= self.canary.requests && self.stable.errors <= self.stable.requests
    }

    /// Whether the new version got more of the requests than the draw can explain (six standard deviations of the
    /// binomial): then the old one was not there for its share, which is seen even when no driver watched. Only
    /// request counts are looked at, no errors, so that leaving the window out favours neither side.
    pub fn is_lopsided(&self) -> bool {
        if self.share >= WHOLE {
            return false;
        }
        let (new, share) = (self.canary.routed() as f64, self.share());
        let all = new + self.stable.routed() as f64;
        let excess = new - share * all;
        excess > 0.0 && excess * excess > 36.0 * share * (1.0 - share) * all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::time::Time;

    #[test]
    fn takes_two_versions_out_of_a_services_window() {
        let counts = |requests, errors| Counts { requests, errors, abandoned: 7 };
        let mut window = Window {
            epoch: 3,
            number: 9,
            from: Time(0),
            to: Time(10_000),
            weights: BTreeMap::from([("v1".to_owned(), 9_000), ("v2".to_owned(), 1_000)]),
            counts: BTreeMap::from([("v1".to_owned(), counts(900, 1)), ("v2".to_owned(), counts(100, 5))]),
            latency: BTreeMap::new(),
        };
        let side = |requests, errors| SideCounts { requests, errors, abandoned: 7 };
        let expected = WindowCounts { canary: side(100, 5), stable: side(900, 1), share: 1_000 };
        assert_eq!(WindowCounts::of(&window, "v2", "v1"), expected);

        // A third version: 1,000 of 7,000 is 14.2857… %, rounded up.
        window.weights = BTreeMap::from([("v0".into(), 3_000), ("v1".into(), 6_000), ("v2".into(), 1_000)]);
        assert_eq!(WindowCounts::of(&window, "v2", "v1").share, 1_429);

        let alone = WindowCounts::of(&window, "v2", "gone");
        assert_eq!((alone.share, alone.is_comparable()), (WHOLE, false));
        assert_eq!(WindowCounts::of(&window, "gone", "v1").share, 0);
    }

    #[test]
    fn more_requests_than_the_draw_explains_are_not_judged() {
        let counts = |canary, stable, share| WindowCounts {
            canary: SideCounts::new(canary, 0),
            stable: SideCounts::new(stable, 0),
            share,
        };
        // At 10 % of 1,000 one standard deviation is 9.5 requests.
        assert!(!counts(156, 844, 1_000).is_lopsided());
        assert!(counts(158, 842, 1_000).is_lopsided());
        assert!(!counts(0, 1_000, 1_000).is_lopsided(), "fewer is no harm");
        assert!(!counts(1_000, 0, 10_000).is_lopsided(), "all traffic by design");
        assert!(counts(u64::MAX, 0, 1).is_lopsided());
        assert!(!counts(0, 0, 1).is_lopsided());
        let mut hung = counts(100, 844, 1_000);
        hung.canary.abandoned = 58;
        assert!(hung.is_lopsided(), "requests without an answer were drawn, too");
    }

    #[test]
    fn abandoned_requests_are_stored_only_where_there_are_any() {
        let none = serde_json::to_string(&SideCounts::new(3, 1)).unwrap();
        assert_eq!(none, r#"{"requests":3,"errors":1}"#);
        assert_eq!(serde_json::from_str::<SideCounts>(&none).unwrap(), SideCounts::new(3, 1));
        let some = SideCounts { abandoned: 2, ..SideCounts::new(3, 1) };
        assert_eq!(serde_json::from_str::<SideCounts>(&serde_json::to_string(&some).unwrap()).unwrap(), some);
        assert_eq!((some.left(), some.lost()), (SideCounts::new(5, 2), SideCounts::new(5, 3)));
    }

    #[test]
    fn more_errors_than_requests_are_not_believed() {
        assert_eq!(SideCounts::new(3, 9).bad(), 3);
        assert_eq!(SideCounts::new(3, 9).rate(), Some(1.0));
        assert_eq!(SideCounts::new(0, 9).rate(), None);
    }
}
