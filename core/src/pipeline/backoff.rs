//! How long to wait before a failed attempt is repeated.

use crate::error::{Error, Fault, Result};
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

impl RetrySpec {
    /// The waits between its attempts, one fewer than these: with full jitter the longest, of which a part is drawn.
    ///
    /// ```
    /// use tidegate::{pipeline::RetrySpec, time::Span};
    ///
    /// let retry: RetrySpec = serde_json::from_str(r#"{"attempts": 4, "initial": "2s", "factor": 3, "cap": "10s"}"#)?;
    /// assert_eq!(retry.delays().unwrap(), [Span::seconds(2), Span::seconds(6), Span::seconds(10)]);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::error::Kind::Invalid) with every fault.
    pub fn delays(&self) -> Result<Vec<Span>> {
        let mut faults = Vec::new();
        let backoff = Backoff::check(self, "", &mut faults);
        if !faults.is_empty() {
            return Err(Error::invalid("the retry", faults));
        }
        Ok((1..backoff.attempts).map(|failures| backoff.bound(failures)).collect())
    }
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
    use super::*;

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
