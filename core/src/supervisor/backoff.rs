//! How long to wait before a process that ended is started again.

use crate::time::Span;

/// The first wait.
const FIRST: Span = Span::millis(100);
/// The longest wait.
const LONGEST: Span = Span::seconds(10);
/// Who was ready for this long is stable: its next end is the first again.
const STABLE: Span = Span::seconds(10);

/// Doubles from 100 ms to 10 s with every end in a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backoff {
    ends: u32,
}

impl Backoff {
    /// The wait after an end. `ready_for`: how long it was ready before it ended.
    pub(super) fn after(&mut self, ready_for: Span) -> Span {
        if ready_for >= STABLE {
            self.ends = 0;
        }
        let wait = Span(FIRST.0.saturating_mul(1_u64.checked_shl(self.ends).unwrap_or(u64::MAX))).min(LONGEST);
        self.ends = self.ends.saturating_add(1);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_bound_and_forgets_after_a_stable_time() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..9).map(|_| backoff.after(Span::seconds(9)).0).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        for _ in 0..100 {
            assert_eq!(backoff.after(Span::ZERO), LONGEST);
        }
        assert_eq!(backoff.after(STABLE), FIRST);
        assert_eq!(backoff.after(Span::ZERO), Span::millis(200));
    }
}
