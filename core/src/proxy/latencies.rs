//! A histogram of latencies in logarithmic buckets, each at most 1/128 as wide as what it holds.

use hdrhistogram::Histogram;

use crate::service::LatencyQuantiles;

/// The longest latency that is told apart, in microseconds: one hour.
const LONGEST: u64 = 3_600_000_000;

/// Latencies in microseconds. Empty it is a word; it grows to 1 KiB, and by 0.5 KiB each time that the longest doubles
/// from 0.3 ms on: 7 KiB at a second.
#[derive(Debug, Default)]
pub(super) struct Latencies(Option<Histogram<u32>>);

impl Latencies {
    pub(super) fn record(&mut self, micros: u64) {
        if self.0.is_none() {
            // Two significant digits: within 1 %.
            self.0 = Histogram::new(2).ok();
        }
        if let Some(histogram) = &mut self.0 {
            // It grows to hold any such value; `saturating_record` would not let it.
            let _ = histogram.record(micros.clamp(1, LONGEST));
        }
    }

    /// Adds them to those of others.
    pub(super) fn add_to(&self, all: &mut Histogram<u64>) {
        for bucket in self.0.iter().flat_map(Histogram::iter_recorded) {
            all.saturating_record_n(bucket.value_iterated_to(), u64::from(bucket.count_at_value()));
        }
    }

    /// `None` when there are none.
    pub(super) fn quantiles(&self) -> Option<LatencyQuantiles> {
        let all = self.0.as_ref().filter(|all| !all.is_empty())?;
        // A bucket's upper end: never less than what was measured.
        let at = |quantile| all.value_at_quantile(quantile);
        Some(LatencyQuantiles { p50: at(0.5), p95: at(0.95), p99: at(0.99) })
    }
}

/// An empty histogram for those of all threads.
pub(super) fn sum() -> Option<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST, 2).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_one_percent_more_than_what_was_measured() {
        assert_eq!(Latencies::default().quantiles(), None);
        let mut latencies = Latencies::default();
        for at in 1..=100_000_u64 {
            // From 7 µs to 70 s, in no order.
            let at = at * 7_919 % 100_000 + 1;
            latencies.record(at * at / 143 + 7);
        }
        let seen = latencies.quantiles().unwrap();
        for (quantile, seen) in [(50_000_u64, seen.p50), (95_000, seen.p95), (99_000, seen.p99)] {
            let exact = quantile * quantile / 143 + 7;
            assert!(seen >= exact && seen <= exact + exact / 128 + 1, "{seen} for {exact}");
        }
    }

    #[test]
    fn whatever_is_recorded_is_told() {
        for (micros, told) in [(0, 1), (1, 1), (255, 255), (u64::MAX, LONGEST)] {
            let mut latencies = Latencies::default();
            latencies.record(micros);
            let seen = latencies.quantiles().unwrap();
            assert!(seen.p50 >= told && seen.p50 <= told + told / 128, "{micros}: {seen:?}");
            assert_eq!((seen.p95, seen.p99), (seen.p50, seen.p50), "of one");
        }
    }
}
