//! How long to wait before a failed attempt is repeated.

use crate::error::Fault;
use crate::pipeline::spec::{Jitter, RetrySpec};
use crate::time::{Chance, Span};

/// The most attempts that a step may be given.
const MAX_ATTEMPTS: u32 = 10_000;

/// A checked [`RetrySpec`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// How many attempts may fail before the step has failed.
    pub attempts: u32,
    initial: Span,
    factor: f64,
    cap: Span,
    jitter: Jitter,
}

impl Backoff {
    /// One attempt and no wait.
    pub const NONE: Backoff =
        Backoff { attempts: 1, initial: Span::ZERO, factor: 1.0, cap: Span::ZERO, jitter: Jitter::None };

    /// Checks a spec; faults get pointers that begin with `at`.
    pub fn check(spec: &RetrySpec, at: &str, faults: &mut Vec<Fault>) -> Backoff {
        if !(1..=MAX_ATTEMPTS).contains(&spec.attempts) {
            let message = format!("expected 1 to {MAX_ATTEMPTS} attempts, the first one included: {}", spec.attempts);
            faults.push(Fault::new(format!("{at}/attempts"), message));
        }
        let factor = spec.factor.unwrap_or(2.0);
        if !(1.0..=1_000.0).contains(&factor) {
            faults.push(Fault::new(format!("{at}/factor"), format!("expected 1 to 1000: {factor}")));
        }
        let mut span = |text: &Option<crate::time::SpanText>, field: &str, default: Span| {
            text.as_ref().map_or(default, |text| text.check(format!("{at}/{field}"), faults))
        };
        Backoff {
            attempts: spec.attempts.clamp(1, MAX_ATTEMPTS),
            initial: span(&spec.initial, "initial", Span::seconds(1)),
            cap: span(&spec.cap, "cap", Span::seconds(300)),
            factor: if (1.0..=1_000.0).contains(&factor) { factor } else { 1.0 },
            jitter: spec.jitter.unwrap_or(Jitter::Full),
        }
    }

    /// The longest wait after the `failures`-th failure: `min(cap, initial · factor^(failures − 1))`, in whole
    /// milliseconds. Multiplied step by step, as `powi` may differ between machines.
    pub fn bound(&self, failures: u32) -> Span {
        let cap = self.cap.0 as f64;
        let mut wait = self.initial.0 as f64;
        for _ in 1..failures {
            if wait >= cap || wait <= 0.0 || self.factor <= 1.0 {
                break;
            }
            wait *= self.factor;
        }
        // Above the cap the cap itself, which a float may not hold exactly. The cast saturates.
        if wait >= cap { self.cap } else { Span(wait as u64) }
    }

    /// The wait after the `failures`-th failure. `chance` belongs to this step and attempt; `asked` is what the failure
    /// itself asked for, which replaces the computed wait and is capped as well.
    pub fn wait(&self, failures: u32, asked: Option<Span>, mut chance: Chance) -> Span {
        if let Some(asked) = asked {
            return asked.min(self.cap);
        }
        let bound = self.bound(failures);
        match self.jitter {
            Jitter::None => bound,
            Jitter::Full => Span(chance.below(bound.0.saturating_add(1))),
        }
    }
}

/// The source of chance of one attempt. Each byte goes through the whole mixing function: the sources of steps with
/// names of equal length must not fall together, or they would all wait equally long.
pub(super) fn chance(seed: u64, step: &str, attempt: u32) -> Chance {
    let attempt = attempt.to_be_bytes();
    step.bytes().chain(attempt).fold(Chance(seed), |chance, byte| {
        let mut mixed = Chance(chance.0 ^ u64::from(byte));
        Chance(mixed.draw())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::time::SpanText;

    const CASES: &str = include_str!("../../../tests/cases/pipeline/backoff_cases.json");

    fn backoff(policy: &Value) -> Option<Backoff> {
        let ms = |names: &[&str]| {
            names.iter().find_map(|name| {
                let scale = if name.ends_with("_ms") { 1.0 } else { 1_000.0 };
                policy[*name].as_f64().map(|n| SpanText::from(Span((n * scale).round() as u64)))
            })
        };
        let spec = RetrySpec {
            attempts: 100,
            initial: Some(ms(&["initial_s", "initial_ms", "duration_s", "interval_s"])?),
            factor: Some(["factor", "backoff_rate"].iter().find_map(|name| policy[*name].as_f64())?),
            cap: Some(
                ms(&["max_interval_s", "max_interval_ms", "cap_s", "fixed_cap_s"])
                    .unwrap_or_else(|| SpanText("1000d".to_owned())),
            ),
            jitter: Some(Jitter::None),
        };
        let mut faults = Vec::new();
        let backoff = Backoff::check(&spec, "", &mut faults);
        faults.is_empty().then_some(backoff)
    }

    /// Every published case with a policy that this crate accepts gives the published waits.
    #[test]
    fn waits_as_the_others_do() {
        let cases: Value = serde_json::from_str(CASES).unwrap();
        let mut tried = 0;
        for case in cases["cases"].as_array().unwrap() {
            let Some(backoff) = backoff(&case["policy"]) else { continue };
            for (field, scale) in [
                ("expected_delays_s", 1_000.0),
                ("expected_delays_ms_before_jitter", 1.0),
                ("expected_delays_ms_before_jitter_first_12", 1.0),
                ("expected_delay_upper_bounds_s", 1_000.0),
            ] {
                let Some(expected) = case[field].as_array() else { continue };
                tried += 1;
                for (i, expected) in expected.iter().enumerate() {
                    // The last bound of this case is what is left until its deadline: the machine's matter.
                    if case["id"] == "temporal_service_retry_sequence" && i == 12 {
                        continue;
                    }
                    let expected = (expected.as_f64().unwrap() * scale).round() as u64;
                    assert_eq!(backoff.bound(i as u32 + 1), Span(expected), "{} after failure {}", case["id"], i + 1);
                }
            }
            if let Some(asked) = case["failure_requests_delay_s"].as_u64() {
                tried += 1;
                let expected = Span::seconds(case["expected_delay_s"].as_u64().unwrap());
                assert_eq!(backoff.wait(1, Some(Span::seconds(asked)), Chance(1)), expected, "{}", case["id"]);
            }
            if let Some(expected) = case["expected_next_delay_ms_before_jitter"].as_u64() {
                tried += 1;
                assert_eq!(backoff.bound(6), Span(expected), "{}", case["id"]);
            }
        }
        assert!(tried >= 20, "only {tried} of the cases were tried");
    }

    #[test]
    fn neither_overflows_nor_leaves_the_bound() {
        let spec = RetrySpec {
            attempts: 10_000,
            initial: Some("1ms".into()),
            factor: Some(1_000.0),
            cap: Some(Span(u64::MAX).into()),
            jitter: None,
        };
        let mut faults = Vec::new();
        let backoff = Backoff::check(&spec, "", &mut faults);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(backoff.bound(10_000), Span(u64::MAX));
        for failures in 1..20 {
            assert!(backoff.wait(failures, None, chance(7, "a", failures)) <= backoff.bound(failures));
        }
    }

    /// Full jitter is even over the whole range: the mean of many draws is half the bound.
    #[test]
    fn full_jitter_is_even() {
        let spec = RetrySpec { attempts: 2, initial: Some("10s".into()), factor: None, cap: None, jitter: None };
        let backoff = Backoff::check(&spec, "", &mut Vec::new());
        let sources: std::collections::BTreeSet<u64> = (0..10_000).map(|i| chance(3, &format!("s{i}"), 1).0).collect();
        assert_eq!(sources.len(), 10_000);
        let draws: Vec<u64> = sources.iter().map(|source| backoff.wait(1, None, Chance(*source)).0).collect();
        let mean = draws.iter().sum::<u64>() / 10_000;
        assert!((4_850..=5_150).contains(&mean), "mean {mean}");
        assert!(draws.iter().any(|d| *d < 100) && draws.iter().any(|d| *d > 9_900));
    }

    #[test]
    fn names_what_is_wrong() {
        let spec = RetrySpec { attempts: 0, initial: Some("x".into()), factor: Some(0.0), cap: None, jitter: None };
        let mut faults = Vec::new();
        Backoff::check(&spec, "/r", &mut faults);
        let pointers: Vec<&str> = faults.iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(pointers, ["/r/attempts", "/r/factor", "/r/initial"]);
    }
}
