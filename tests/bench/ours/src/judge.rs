//! Windows folded into the judge's evidence.

use std::time::Instant;

use tidegate::analysis::{Evidence, Judge, SideCounts, Verdict, WindowCounts};

const SIDE: fn(u64, u64) -> SideCounts = |requests, errors| SideCounts { requests, errors, ..SideCounts::default() };

/// Windows like those of 1,000 requests a second with 5 % on the new version, both with errors.
fn windows(count: u64) -> Vec<WindowCounts> {
    (0..count)
        .map(|i| WindowCounts {
            canary: SIDE(480 + i % 41, i % 3),
            stable: SIDE(9_480 + i % 41, 9 + i % 5),
            share: 500,
        })
        .collect()
}

/// Microseconds a window, with all bets, both directions and every limit of the interval.
pub(crate) fn window() -> crate::Outcome {
    const WINDOWS: usize = 20_000;
    let (judge, windows) = (Judge::default(), windows(WINDOWS as u64));
    let mut evidence = Evidence::default();
    let started = Instant::now();
    for window in &windows {
        judge.fold(&mut evidence, *window);
    }
    let took = started.elapsed();
    assert!(evidence.log_harm().is_finite(), "the evidence is a number");
    Ok(crate::each(took, WINDOWS))
}

/// Milliseconds for a day of a canary at 1,000 requests a second: each request drawn, each window judged.
pub(crate) fn day() -> crate::Outcome {
    const WINDOWS: usize = 8_640;
    let judge = Judge::default();
    let mut evidence = Evidence::default();
    let mut chance = Chance(41);
    let started = Instant::now();
    let mut harmed = 0;
    for _ in 0..WINDOWS {
        let routed = chance.binomial(10_000, 0.05);
        let (canary, stable) = (chance.binomial(routed, 0.001), chance.binomial(10_000 - routed, 0.001));
        let counts = WindowCounts { canary: SIDE(routed, canary), stable: SIDE(10_000 - routed, stable), share: 500 };
        judge.fold(&mut evidence, counts);
        harmed += usize::from(matches!(judge.verdict(&evidence), Verdict::Harm { .. }));
    }
    let took = started.elapsed();
    assert!(harmed <= WINDOWS, "the verdicts were looked at");
    Ok(took.as_secs_f64() * 1e3)
}

/// SplitMix64.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Successes among `n`, by the lengths of the gaps between them.
    pub(crate) fn binomial(&mut self, n: u64, p: f64) -> u64 {
        let (mut at, mut found) = (0.0, 0);
        loop {
            at += ((1.0 - self.unit()).ln() / (1.0 - p).ln()).floor() + 1.0;
            if at > n as f64 {
                return found;
            }
            found += 1;
        }
    }
}
