//! From a spec and windows to verdicts, endings and sentences.

use std::time::Instant;

use crate::analysis::{
    Assumption, EProcess, Ending, Evidence, Judge, JudgeSpec, Law, Side, SideCounts, Sides, Traffic, Verdict,
    WindowCounts, odds_shift,
};
use crate::time::{Chance, Span};

const SIDES: Sides<'static> = Sides { canary: "v3", stable: "v2", canary_replicas: Some(4) };

fn judge(json: &str) -> Judge {
    let mut faults = Vec::new();
    let judge = serde_json::from_str::<JudgeSpec>(json).unwrap().check("", &mut faults);
    assert_eq!(faults, []);
    judge
}

fn counts(canary: (u64, u64), stable: (u64, u64), share: u32) -> WindowCounts {
    WindowCounts { canary: SideCounts::new(canary.0, canary.1), stable: SideCounts::new(stable.0, stable.1), share }
}

fn folded(judge: &Judge, windows: impl IntoIterator<Item = WindowCounts>) -> Evidence {
    let mut evidence = Evidence::default();
    for window in windows {
        judge.fold(&mut evidence, window);
    }
    evidence
}

#[test]
fn nothing_seen_is_inconclusive() {
    for form in ["window", "event"] {
        let judge = judge(&format!(r#"{{"form": {{"kind": "{form}"}}}}"#));
        let silent = [counts((0, 0), (900, 9), 1_000), counts((900, 9), (0, 0), 10_000)];
        for evidence in [Evidence::default(), folded(&judge, silent)] {
            assert!(matches!(judge.verdict(&evidence), Verdict::Undecided { log_e: 0.0, .. }));
            let ending = judge.at_end(&evidence);
            assert_eq!(ending, Ending::Inconclusive { need: None, seen: 0 });
            assert_eq!(
                judge.explain_end(&evidence, &ending, &SIDES).sentence,
                "errors: 0 of 0 on v3 (no requests) against 0 of 0 on v2 (no requests); evidence 1 of 111 (90 % of alpha 1 %); \
                 in no window did both sides have requests"
            );
        }
    }
}

#[test]
fn condemns_and_says_why() {
    let judge = judge("{}");
    let windows = [counts((120, 4), (1_080, 1), 1_000), counts((120, 3), (1_070, 0), 1_000)];
    let mut evidence = folded(&judge, windows);
    assert!(matches!(judge.verdict(&evidence), Verdict::Undecided { .. }));
    judge.fold(&mut evidence, counts((120, 4), (1_080, 1), 1_000));
    judge.fold(&mut evidence, counts((120, 3), (1_080, 1), 1_000));
    assert!(matches!(judge.verdict(&evidence), Verdict::Harm { .. }));
    let why = judge.explain(&evidence, &SIDES);
    // The mean over f of (1 + 7f)(1 + 9f)(1 + 7f)(1 + 6.5f), computed apart.
    let expected: f64 = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
        .iter()
        .map(|f| (1.0 + f * 7.0) * (1.0 + f * 9.0) * (1.0 + f * 7.0) * (1.0 + f * 6.5) / 7.0)
        .sum();
    assert!((why.evidence / expected - 1.0).abs() < 1e-3, "{} {expected}", why.evidence);
    assert_eq!(
        why.sentence,
        format!(
            "errors: 14 of 480 on v3 (2.9 %) against 3 of 4,310 on v2 (0.07 %); evidence {} passed the bound of 111 \
             (90 % of alpha 1 %)",
            expected.floor()
        )
    );
    assert_eq!((why.verdict.as_str(), why.windows, why.bound, why.alpha), ("harm", 4, 111.1, 0.01));
    assert!((why.p * why.evidence - 1.0).abs() < 1e-3);
    // The rate is 42 times the other; that no ratio up to 1 is possible is what was just said.
    let (from, to) = (why.ratio_from.unwrap(), why.ratio_to.unwrap_or(f64::INFINITY));
    assert!((1.0..42.0).contains(&from) && to > 42.0, "{from} {to}");
    let expected = [Assumption::RandomDraw, Assumption::BurstsWithinWindow, Assumption::SidesAlike];
    assert_eq!(why.assumptions, expected);
    let one = judge.explain(&evidence, &Sides { canary_replicas: Some(1), ..SIDES });
    assert_eq!(one.assumptions.last(), Some(&Assumption::OneReplica));
    assert_eq!(judge.at_end(&evidence), Ending::Harm);
}

#[test]
fn passes_when_enough_was_seen_and_not_before() {
    let judge = judge(r#"{"base_rate": 0.0001}"#);
    let window = counts((500, 1), (500, 1), 5_000);
    let need = judge.power(&Traffic { requests: 1_000, share: 5_000, rate: 0.002 }, 3.0, Chance(1)).unwrap();
    let few = folded(&judge, vec![window; 5]);
    let Ending::Inconclusive { need: Some(asked), seen: 2_500 } = judge.at_end(&few) else { panic!("{few:?}") };
    assert!((asked as f64 / need.canary_requests as f64 - 1.0).abs() < 0.3, "{asked} {need:?}");
    let why = judge.explain_end(&few, &judge.at_end(&few), &SIDES);
    let wait = Span::seconds((asked - 2_500).div_ceil(50));
    let asked_text = format!("{},{:03}", asked / 1_000, asked % 1_000);
    assert_eq!(
        why.sentence,
        format!(
            "errors: 5 of 2,500 on v3 (0.2 %) against 5 of 2,500 on v2 (0.2 %); evidence 1 of 111 (90 % of alpha 1 %); \
             {asked_text} canary requests would find 3 times the errors with a power of 80 %, 2,500 were seen, {wait} \
             more at this rate"
        )
    );
    assert_eq!(why.need, Some(asked));
    // Equal windows are equal traffic, so that the need stays the same.
    let nearly = folded(&judge, vec![window; usize::try_from((asked - 1) / 500).unwrap()]);
    assert!(matches!(judge.at_end(&nearly), Ending::Inconclusive { need: Some(need), .. } if need == asked));
    let evidence = folded(&judge, vec![window; usize::try_from(asked.div_ceil(500)).unwrap()]);
    assert_eq!(judge.at_end(&evidence), Ending::Pass);
    assert_eq!(judge.explain_end(&evidence, &Ending::Pass, &SIDES).verdict, "pass");
}

#[test]
fn a_service_without_errors_passes_by_the_base_rate() {
    let judge = judge("{}");
    let window = counts((1_000, 0), (9_000, 0), 1_000);
    let few = folded(&judge, vec![window; 2]);
    let Ending::Inconclusive { need: Some(need), .. } = judge.at_end(&few) else { panic!("{few:?}") };
    assert!((5_000..60_000).contains(&need), "{need}");
    let enough = usize::try_from(need.div_ceil(1_000)).unwrap();
    assert_eq!(judge.at_end(&folded(&judge, vec![window; enough])), Ending::Pass);
}

#[test]
fn safety_ends_a_bake_early_and_is_taken_back() {
    let judge = judge(r#"{"safe": 2}"#);
    let mut evidence = folded(&judge, vec![counts((500, 0), (500, 4), 5_000); 5]);
    assert!(matches!(judge.verdict(&evidence), Verdict::Safe { .. }));
    let why = judge.explain(&evidence, &SIDES);
    let start = "errors: 0 of 2,500 on v3 (0 %) against 20 of 2,500 on v2 (0.8 %); evidence ";
    assert!(why.sentence.starts_with(start), "{}", why.sentence);
    assert!(why.sentence.ends_with(" for less than 2 times passed the bound of 20 (beta 5 %)"), "{}", why.sentence);
    assert!(why.ratio_to.is_some_and(|to| (2.0..=5.0).contains(&to)), "at alpha, which is less than beta: {why:?}");
    assert_eq!(judge.at_end(&evidence), Ending::Pass);
    for _ in 0..3 {
        judge.fold(&mut evidence, counts((500, 3), (500, 0), 5_000));
    }
    assert!(matches!(judge.verdict(&evidence), Verdict::Undecided { .. }), "it got worse since");

    let clean = folded(&judge, vec![counts((50_000, 0), (50_000, 0), 5_000); 1_000]);
    assert!(matches!(judge.verdict(&clean), Verdict::Undecided { .. }), "never without errors on the stable side");
}

#[test]
fn an_objective_needs_no_other_side() {
    let judge = judge(r#"{"form": {"kind": "absolute", "objective": 0.05}, "safe": 1}"#);
    let clean = folded(&judge, vec![counts((300, 0), (0, 0), 10_000); 150]);
    assert!(matches!(judge.verdict(&clean), Verdict::Safe { .. }), "at most 0.7 · 0.05/0.95 a window: slow");
    let bad = folded(&judge, vec![counts((300, 90), (0, 0), 10_000); 5]);
    assert!(matches!(judge.verdict(&bad), Verdict::Harm { .. }));
    let why = judge.explain(&bad, &SIDES);
    assert!(why.sentence.starts_with("errors: 450 of 1,500 on v3 (30 %) against an objective of 5 %; "), "{why:?}");
    assert!(why.assumptions.contains(&Assumption::NoComparison));
}

#[test]
fn a_spec_is_the_processes_that_it_names() {
    let windows =
        [counts((100, 4), (900, 3), 1_000), counts((250, 2), (750, 9), 2_500), counts((80, 7), (20, 0), 8_000)];
    let bets = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7];
    let ratios = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0];
    // q odds away from 0.03 (tolerated: 1.5 times 0.02) and from 0.05 (safe: 2.5 times).
    let worse = ratios.map(|r| 0.03 * r / (0.03 * r + 0.97));
    let better = ratios.map(|r| 0.05 / r / (0.05 / r + 0.95));
    let (harm, safe) = (Side::Harm, Side::Safe);
    for (form, harm, harm_points, safe, safe_points) in [
        (
            r#"{"kind": "window"}"#,
            Law::Betting { side: harm, margin: 1.5 },
            bets,
            Law::Betting { side: safe, margin: 2.5 },
            bets,
        ),
        (
            r#"{"kind": "event"}"#,
            Law::Events { side: harm, margin: 1.5 },
            ratios,
            Law::Events { side: safe, margin: 2.5 },
            ratios,
        ),
        (
            r#"{"kind": "absolute", "objective": 0.02}"#,
            Law::AbsoluteBetting { side: harm, null: 0.03 },
            bets,
            Law::AbsoluteBetting { side: safe, null: 0.05 },
            bets,
        ),
        (
            r#"{"kind": "absolute", "objective": 0.02, "independent": true}"#,
            Law::AbsoluteEvents { null: 0.03 },
            worse,
            Law::AbsoluteEvents { null: 0.05 },
            better,
        ),
    ] {
        let judge = judge(&format!(r#"{{"form": {form}, "tolerate": 1.5, "safe": 2.5}}"#));
        let (mut harm, mut safe) =
            (EProcess::new(harm, &harm_points).unwrap(), EProcess::new(safe, &safe_points).unwrap());
        let mut evidence = Evidence::default();
        for window in windows {
            harm.fold(&window);
            safe.fold(&window);
            judge.fold(&mut evidence, window);
            assert!((evidence.log_harm() - harm.log_e()).abs() < 1e-12, "{form}");
            assert!((evidence.log_safe().unwrap() - safe.log_e()).abs() < 1e-12, "{form}");
            assert!((evidence.peak_harm() - harm.peak()).abs() < 1e-12, "{form}");
        }
    }
}

#[test]
fn alpha_and_beta_are_the_bounds() {
    // E = mean of (1 + 3f)^n: 5.2 after two windows, 13.02 after three; the errors have nine tenths of alpha.
    let window = counts((250, 9), (750, 0), 2_500);
    let windows = |alpha: &str| {
        let (judge, mut evidence) = (judge(&format!(r#"{{"alpha": {alpha}}}"#)), Evidence::default());
        let harm = |evidence: &Evidence| matches!(judge.verdict(evidence), Verdict::Harm { .. });
        let count = (1..).find(|_| {
            judge.fold(&mut evidence, window);
            harm(&evidence)
        });
        count.unwrap()
    };
    assert_eq!([windows("0.214"), windows("0.213"), windows("0.086"), windows("0.085")], [2, 3, 3, 4]);
    // E for safety = mean of (1 + f) = 1.4 after one window at half of the traffic, at beta = 1/1.4.
    let safe = |beta: &str| {
        let judge = judge(&format!(r#"{{"safe": 1.000000001, "beta": {beta}}}"#));
        let evidence = folded(&judge, vec![counts((500, 0), (500, 9), 5_000); 3]);
        matches!(judge.verdict(&evidence), Verdict::Safe { .. })
    };
    // (1 + f)³ has the mean 2.912.
    assert_eq!([safe("0.344"), safe("0.343")], [true, false]);
}

#[test]
fn a_process_refuses_what_it_can_not_use() {
    let law = Law::Betting { side: Side::Harm, margin: 1.0 };
    let faults = |law, points: &[f64], weights: &[f64]| EProcess::weighted(law, points, weights).unwrap_err();
    assert_eq!(faults(law, &[0.0, 0.5, 1.0], &[1.0, 1.0, 1.0]).faults().len(), 2);
    assert_eq!(faults(law, &[0.5], &[]).faults()[0].pointer, "/weights");
    assert_eq!(faults(law, &[0.5], &[f64::NAN]).faults()[0].pointer, "/weights");
    assert_eq!(faults(law, &[], &[]).faults()[0].pointer, "/points");
    let events = |margin| Law::Events { side: Side::Safe, margin };
    assert_eq!(faults(events(1.0), &[1.0], &[1.0]).faults()[0].pointer, "/points/0");
    assert_eq!(faults(events(f64::NAN), &[2.0], &[1.0]).faults()[0].pointer, "/law/margin");
    assert_eq!(faults(Law::AbsoluteEvents { null: 1.0 }, &[0.5], &[1.0]).faults()[0].pointer, "/law/null");
}

#[test]
fn a_judge_of_a_later_version_is_refused() {
    assert!(judge("{}").supported().is_ok());
    let later = Judge { version: 3, ..Judge::default() };
    assert_eq!(later.supported().unwrap_err().kind(), crate::error::Kind::Unsupported);
}

#[test]
fn only_the_event_form_looks_inside_a_window() {
    let open = counts((100, 9), (900, 0), 1_000);
    let harm = |form: &str| {
        let judge = judge(&format!(r#"{{"form": {form}}}"#));
        let evidence = folded(&judge, [counts((100, 0), (900, 0), 1_000)]);
        let found = matches!(judge.verdict_within(&evidence, open), Verdict::Harm { .. });
        assert_eq!(evidence.totals().windows, 1, "looking folds nothing in");
        found
    };
    assert!(harm(r#"{"kind": "event"}"#));
    assert!(harm(r#"{"kind": "absolute", "objective": 0.001, "independent": true}"#));
    assert!(!harm(r#"{"kind": "window"}"#));
    assert!(!harm(r#"{"kind": "absolute", "objective": 0.001}"#));
}

#[test]
fn tells_the_time_left_by_the_formula() {
    let judge = judge(r#"{"form": {"kind": "event"}}"#);
    let evidence = folded(&judge, [counts((100, 1), (900, 1), 1_000), counts((100, 1), (900, 3), 1_000)]);
    // 2 of 6 on the canary against 10 %, 6 events in 20 s.
    let (seen, null) = (2.0 / 6.0, 0.1);
    let divergence = seen * libm::log(seen / null) + (1.0 - seen) * libm::log((1.0 - seen) / (1.0 - null));
    let seconds = (libm::log(100.0 / 0.9) - evidence.log_harm()) / (divergence * 6.0 / 20.0);
    assert_eq!(judge.time_left(&evidence), Some(Span::seconds(seconds.ceil() as u64)));
    assert_eq!(judge.time_left(&Evidence::default()), None);
    let well = folded(&judge, [counts((100, 0), (900, 5), 1_000)]);
    assert_eq!(judge.time_left(&well), None);
}

#[test]
fn the_interval_holds_the_truth() {
    // 3 times the rate: 250 errors fall as θ(3) = 0.25 on the canary at a share of 10 %.
    assert!((odds_shift(0.1, 3.0) - 0.25).abs() < 1e-15);
    for form in ["window", "event"] {
        let judge = judge(&format!(r#"{{"form": {{"kind": "{form}"}}}}"#));
        let evidence = folded(&judge, vec![counts((1_000, 10), (9_000, 30), 1_000); 40]);
        let (from, to) = judge.interval(&evidence);
        let (from, to) = (from.unwrap(), to.unwrap());
        assert!((1.5..3.0).contains(&from) && to > 3.0 && to <= 7.0, "{form}: {from} {to}");
    }
}

#[test]
fn power_is_quick_and_says_when_it_can_not_be() {
    let judge = judge("{}");
    // What is hardest: nearly nothing to find.
    let begun = Instant::now();
    assert_eq!(judge.power(&Traffic { requests: 50, share: 500, rate: 0.001 }, 1.2, Chance(1)), None);
    let hardest = begun.elapsed();
    let begun = Instant::now();
    let power = judge.power(&Traffic { requests: 1_000, share: 1_000, rate: 0.001 }, 3.0, Chance(1)).unwrap();
    eprintln!("power: {hardest:?} at worst, {:?} as usual: {power:?}", begun.elapsed());
    assert_eq!(power.time, Span::seconds(10 * power.windows));
    // One second stands for 50 ms here: the machine may be busy, and this build is not optimised.
    assert!(hardest.as_millis() < 1_000, "{hardest:?}");
    for traffic in [
        Traffic { requests: 0, share: 1_000, rate: 0.001 },
        Traffic { requests: 1_000, share: 0, rate: 0.001 },
        Traffic { requests: 1_000, share: 10_000, rate: 0.001 },
        Traffic { requests: 1_000, share: 1_000, rate: 0.0 },
        Traffic { requests: 1_000, share: 1_000, rate: f64::NAN },
    ] {
        assert_eq!(judge.power(&traffic, 3.0, Chance(1)), None, "{traffic:?}");
    }
    let most = judge.power(&Traffic { requests: u64::MAX, share: 5_000, rate: 0.5 }, 2.0, Chance(1));
    assert!(most.is_some(), "sizes are scaled down to what can be drawn");
}
