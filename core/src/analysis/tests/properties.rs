//! What must hold for all counts.

use proptest::prelude::*;

use crate::analysis::draw::Binomial;
use crate::analysis::{Ending, Evidence, Form, Judge, Law, Side, SideCounts, Sides, Verdict, WindowCounts, odds_shift};

const BETS: [f64; 7] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7];
const RATIOS: [f64; 7] = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0];

/// P(k) of the binomial of n trials, by the recurrence from 0.
fn binomial(n: u64, p: f64) -> Vec<f64> {
    let mut chance = (0..n).fold(1.0, |product, _| product * (1.0 - p));
    let mut all = vec![chance];
    for k in 0..n {
        chance *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
        all.push(chance);
    }
    all
}

fn factor(law: Law, point: f64, counts: &WindowCounts, share: f64) -> f64 {
    libm::exp(law.log_factor(point, counts, share))
}

fn window(canary: (u64, u64), stable: (u64, u64)) -> WindowCounts {
    WindowCounts {
        canary: SideCounts::new(canary.0, canary.1),
        stable: SideCounts::new(stable.0, stable.1),
        share: 5_000,
    }
}

/// The mean factor when `n` causes, each of `burst` errors on one side, fall on the canary with the chance `theta`.
fn mean_by_side(law: Law, point: f64, share: f64, n: u64, burst: u64, theta: f64) -> f64 {
    let chances = binomial(n, theta);
    (0..=n)
        .zip(chances)
        .map(|(k, chance)| {
            let counts = window((100_000, k * burst), (100_000, (n - k) * burst));
            chance * factor(law, point, &counts, share)
        })
        .sum()
}

fn any_form() -> impl Strategy<Value = Form> {
    prop_oneof![
        Just(Form::Window {}),
        Just(Form::Event {}),
        (0.000_001..0.3, any::<bool>()).prop_map(|(objective, independent)| Form::Absolute { objective, independent }),
    ]
}

fn any_count() -> impl Strategy<Value = u64> {
    prop_oneof![0..20_u64, 0..100_000_u64, any::<u64>(), Just(u64::MAX), Just(0)]
}

fn any_window() -> impl Strategy<Value = WindowCounts> {
    let share = prop_oneof![0..=10_000_u32, Just(1), Just(9_999), Just(10_000), any::<u32>()];
    (any_count(), any_count(), any_count(), any_count(), share).prop_map(|(n, k, m, l, share)| WindowCounts {
        canary: SideCounts::new(n, k),
        stable: SideCounts::new(m, l),
        share,
    })
}

fn usual_window() -> impl Strategy<Value = WindowCounts> {
    (1..2_000_u64, 0..60_u64, 1..2_000_u64, 0..60_u64, 1..10_000_u32).prop_map(|(n, k, m, l, share)| WindowCounts {
        canary: SideCounts::new(n, k),
        stable: SideCounts::new(m, l),
        share,
    })
}

fn folded(judge: &Judge, windows: &[WindowCounts]) -> Evidence {
    let mut evidence = Evidence::default();
    for &counts in windows {
        judge.fold(&mut evidence, counts);
    }
    evidence
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// E[factor] ≤ 1 under the null, exactly, also for bursts; and with equality at its edge for errors alone, so that
    /// nothing is given away.
    #[test]
    fn the_window_form_is_a_supermartingale(
        share in 0.001..0.999_f64, margin in 1.0..5.0_f64, n in 1..40_u64, burst in 1..50_u64, better in 0.05..1.0_f64,
    ) {
        for point in BETS {
            for (side, milder) in [(Side::Harm, margin * better), (Side::Safe, margin / better)] {
                let law = Law::Betting { side, margin };
                let edge = mean_by_side(law, point, share, n, burst, odds_shift(share, margin));
                prop_assert!((edge - 1.0).abs() <= 1e-12, "{side:?} {point}: {edge}");
                let inside = mean_by_side(law, point, share, n, burst, odds_shift(share, milder));
                prop_assert!(inside <= 1.0 + 1e-12, "{side:?} {point}: {inside}");
            }
        }
    }

    #[test]
    fn the_event_form_is_a_supermartingale_for_errors_alone(
        share in 0.001..0.999_f64, margin in 1.0..5.0_f64, n in 1..40_u64, better in 0.05..1.0_f64,
    ) {
        for point in RATIOS {
            for (side, milder) in [(Side::Harm, margin * better), (Side::Safe, margin / better)] {
                let law = Law::Events { side, margin };
                let edge = mean_by_side(law, point, share, n, 1, odds_shift(share, margin));
                prop_assert!((edge - 1.0).abs() <= 1e-9, "{side:?} {point}: {edge}");
                let inside = mean_by_side(law, point, share, n, 1, odds_shift(share, milder));
                prop_assert!(inside <= 1.0 + 1e-12, "{side:?} {point}: {inside}");
            }
        }
    }

    #[test]
    fn the_absolute_form_is_a_supermartingale(null in 0.001..0.5_f64, n in 1..40_u64, better in 0.05..1.0_f64) {
        let mean = |law, point, rate| -> f64 {
            binomial(n, rate).iter().zip(0..).map(|(p, k)| p * factor(law, point, &window((n, k), (0, 0)), 0.5)).sum()
        };
        for point in BETS {
            let (harm, safe) = (Law::AbsoluteBetting { side: Side::Harm, null }, Law::AbsoluteBetting { side: Side::Safe, null });
            let worse = null / better.max(null * 1.01);
            for (law, rate) in [(harm, null), (harm, null * better), (safe, null), (safe, worse)] {
                let mean = mean(law, point, rate);
                prop_assert!(mean <= 1.0 + 1e-12, "{law:?} at {rate}: {mean}");
            }
        }
        for (point, rate) in [(odds_shift(null, 3.0), null * better), (odds_shift(null, 0.3), null / better.max(null * 1.01))] {
            for rate in [null, rate] {
                let mean = mean(Law::AbsoluteEvents { null }, point, rate);
                prop_assert!(mean <= 1.0 + 1e-9, "{point} at {rate}: {mean}");
            }
        }
    }

    /// One window raises E at most by 1 + 0.7(1 − ρ)/ρ, and lowers it at most to 0.3.
    #[test]
    fn one_window_of_the_window_form_is_bounded(counts in any_window(), share in 0.0001..0.9999_f64) {
        let law = Law::Betting { side: Side::Harm, margin: 1.0 };
        for point in BETS {
            let factor = factor(law, point, &counts, share);
            prop_assert!(factor <= (1.0 + 0.7 * (1.0 - share) / share) * (1.0 + 1e-12));
            prop_assert!(factor >= 0.3 * (1.0 - 1e-12));
        }
    }

    #[test]
    fn an_error_more_on_the_canary_never_speaks_for_it(form in any_form(), counts in usual_window(), before in usual_window()) {
        let judge = Judge { form, safe: Some(2.0), ..Judge::default() };
        let worse = WindowCounts {
            canary: SideCounts::new(counts.canary.requests, counts.canary.errors + 1),
            ..counts
        };
        let (a, b) = (folded(&judge, &[before, counts]), folded(&judge, &[before, worse]));
        prop_assert!(b.log_harm() >= a.log_harm() - 1e-12);
        prop_assert!(b.log_safe() <= a.log_safe().map(|log_e| log_e + 1e-12));
    }

    #[test]
    fn the_order_of_windows_does_not_matter(form in any_form(), mut windows in prop::collection::vec(usual_window(), 1..12)) {
        let judge = Judge { form, safe: Some(2.0), ..Judge::default() };
        let forth = folded(&judge, &windows);
        windows.reverse();
        let back = folded(&judge, &windows);
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + a.abs());
        prop_assert!(near(forth.log_harm(), back.log_harm()));
        prop_assert!(near(forth.log_safe().unwrap(), back.log_safe().unwrap()));
        prop_assert_eq!(forth.totals(), back.totals());
    }

    #[test]
    fn no_counts_bring_it_down(form in any_form(), windows in prop::collection::vec(any_window(), 0..6)) {
        let judge = Judge { form, safe: Some(2.0), ..Judge::default() };
        let evidence = folded(&judge, &windows);
        let p = evidence.p();
        prop_assert!(evidence.log_harm().is_finite() && evidence.peak_harm() >= 0.0 && (0.0..=1.0).contains(&p));
        prop_assert!(evidence.log_safe().is_none_or(f64::is_finite));
        let ending = judge.at_end(&evidence);
        let sides = Sides { canary: "v2", stable: "v1", canary_replicas: Some(1) };
        let explanation = judge.explain_end(&evidence, &ending, &sides);
        let text = serde_json::to_string(&explanation).unwrap();
        prop_assert!(!text.contains("NaN") && !explanation.sentence.contains("inf"), "{}", text);
        prop_assert_eq!(serde_json::from_str::<crate::analysis::Explanation>(&text).unwrap(), explanation);
        if evidence.log_harm() >= judge.log_bound() {
            prop_assert!(judge.time_left(&evidence).is_none_or(|span| span.0 == 0), "the verdict is there");
        }
    }

    #[test]
    fn what_says_nothing_changes_nothing(counts in any_window(), before in usual_window()) {
        let judge = Judge::default();
        let start = folded(&judge, &[before]);
        let silent = [
            WindowCounts { canary: SideCounts::default(), ..counts },
            WindowCounts { stable: SideCounts::default(), ..counts },
            WindowCounts { share: 0, ..counts },
            WindowCounts { share: 10_000, ..counts },
        ];
        for counts in silent {
            let after = folded(&judge, &[before, counts]);
            prop_assert_eq!(after.log_harm().to_bits(), start.log_harm().to_bits());
            prop_assert_eq!(after.totals().canary, start.totals().canary);
        }
    }

    #[test]
    fn harm_stays_whatever_follows(windows in prop::collection::vec(usual_window(), 0..8)) {
        let judge = Judge { safe: Some(2.0), ..Judge::default() };
        let bad = WindowCounts { canary: SideCounts::new(100, 50), stable: SideCounts::new(900, 0), share: 1_000 };
        let mut all = vec![bad; 4];
        all.extend(windows);
        let evidence = folded(&judge, &all);
        let harm = matches!(judge.verdict(&evidence), Verdict::Harm { .. });
        prop_assert!(harm);
        prop_assert_eq!(judge.at_end(&evidence), Ending::Harm);
    }

    #[test]
    fn draws_stay_in_their_range(n in any_count(), p in 0.0..1.0_f64, unit in 0.0..1.0_f64) {
        let n = n.min(50_000);
        let table = Binomial::new(n, p);
        prop_assert!(table.draw(unit) <= n);
        prop_assert!((0.0..=1.0).contains(&table.zero()));
    }
}
