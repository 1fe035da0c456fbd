//! A recorded series through a judge: the verdict, and when.

use serde_json::json;
use tidegate::analysis::{
    EProcessSpec, Ending, Evidence, JudgeSpec, Judged, Law, Metric, OnInconclusive, Side, SideCounts, Sides, Verdict,
    WindowCounts, WindowRecord,
};

use super::pointers;

const SIDES: Sides<'static> = Sides { canary: "v2", stable: "v1", canary_replicas: Some(3) };

fn spec(value: serde_json::Value) -> JudgeSpec {
    serde_json::from_value(value).unwrap()
}

fn window(canary: (u64, u64), stable: (u64, u64)) -> WindowRecord {
    WindowRecord::new(SideCounts::new(canary.0, canary.1), SideCounts::new(stable.0, stable.1))
}

fn verdicts(judged: &[Judged]) -> Vec<&str> {
    judged.iter().map(|judged| judged.so_far.verdict.as_str()).collect()
}

#[test]
fn says_when_a_bad_release_is_condemned() {
    // All errors on a tenth of the traffic: the worked case wb-2, whose ln E passes ln 111 = 4.711 in its third window.
    let judged = spec(json!({})).replay(&[window((100, 3), (900, 0)); 4], &SIDES).unwrap();
    assert_eq!(verdicts(&judged), ["undecided", "undecided", "harm", "harm"]);
    for (judged, expected) in judged.iter().zip([1.526056303, 3.194583132, 4.956165029, 6.77703912]) {
        assert!((judged.errors.log_harm - expected).abs() < 1e-9, "{}", judged.errors.log_harm);
        assert!((judged.errors.harm_bound - (100.0_f64 / 0.9).ln()).abs() < 1e-9);
        assert_eq!((judged.errors.log_safe, judged.safe_bound, judged.left_out), (None, None, false));
    }
    let condemned = &judged[2];
    assert_eq!(condemned.after.to_string(), "30s");
    assert_eq!((condemned.follows, condemned.at_end.verdict.as_str()), (OnInconclusive::RollBack, "harm"));
    let sentence = "errors: 9 of 300 on v2 (3 %) against 0 of 2,700 on v1 (0 %); \
                    evidence 142 passed the bound of 111 (90 % of alpha 1 %)";
    assert_eq!(condemned.so_far.sentence, sentence);
}

/// What was answered is answered well; 31 of 100 requests on the new side were left by their clients, then none.
#[test]
fn says_when_a_release_that_hangs_is_condemned() {
    let hung =
        WindowRecord { canary: SideCounts { abandoned: 31, ..SideCounts::new(69, 0) }, ..window((100, 0), (900, 0)) };
    let judged =
        spec(json!({"safe": 2})).replay(&[[hung; 5], [window((100, 0), (900, 0)); 5]].concat(), &SIDES).unwrap();
    // The mean of (1 + 9f)^n, computed apart: each window's abandoned requests are all on a tenth of the traffic.
    let bets = [0.1_f64, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7];
    for (n, judged) in (1..=5).zip(&judged) {
        let e = bets.iter().map(|f| (1.0 + 9.0 * f).powi(n) / 7.0).sum::<f64>();
        assert!((judged.abandoned.log_harm - e.ln()).abs() < 1e-9, "{} {e}", judged.abandoned.log_harm);
        assert!((judged.abandoned.harm_bound - 1_000.0_f64.ln()).abs() < 1e-9);
        assert!(judged.abandoned.log_safe.unwrap() < 0.0);
        assert_eq!((judged.errors.log_harm, judged.errors.log_safe), (0.0, Some(0.0)), "no error speaks either way");
        let harm = judged.abandoned.peak_harm >= judged.abandoned.harm_bound;
        assert_eq!((judged.so_far.verdict == "harm", judged.so_far.metric == Metric::Abandoned), (harm, harm));
    }
    assert_eq!(verdicts(&judged)[3..5], ["undecided", "harm"]);
    assert_eq!((judged[4].follows, judged[4].so_far.canary), (OnInconclusive::RollBack, SideCounts::new(500, 155)));
    assert_eq!(judged[9].abandoned, judged[4].abandoned, "windows in which nobody leaves say nothing");
    // The share that a side got is that of all its requests, answered or not.
    let law = Law::Betting { side: Side::Harm, margin: 1.0 };
    let process = EProcessSpec { law, points: vec![0.5], weights: None };
    let bad = WindowRecord { canary: SideCounts { errors: 1, ..hung.canary }, ..hung };
    assert_eq!(process.replay(&[bad]).unwrap(), process.replay(&[window((100, 1), (900, 0))]).unwrap());
}

#[test]
fn harm_once_found_stays_and_its_peak_with_it() {
    let windows = [[window((100, 3), (900, 0)); 3], [window((100, 0), (900, 9)); 3]].concat();
    let judged = spec(json!({})).replay(&windows, &SIDES).unwrap();
    assert_eq!(verdicts(&judged)[2..], ["harm"; 4]);
    let last = judged.last().unwrap();
    assert!(last.errors.log_harm < 4.711 && last.errors.peak_harm == judged[2].errors.log_harm, "{last:?}");
}

#[test]
fn says_what_would_follow_if_the_bake_ended() {
    let quiet = [window((100, 0), (900, 0))];
    for (policy, follows) in
        [("pause", OnInconclusive::Pause), ("roll_back", OnInconclusive::RollBack), ("pass", OnInconclusive::Pass)]
    {
        let judged = spec(json!({"inconclusive": policy})).replay(&quiet, &SIDES).unwrap();
        assert_eq!((judged[0].follows, judged[0].at_end.verdict.as_str()), (follows, "inconclusive"));
        let need = judged[0].at_end.need.unwrap();
        assert!(need > 100 && judged[0].at_end.sentence.contains("canary requests would find 3 times"), "{need}");
    }
    // So many that three times the errors would have been found.
    let judged = spec(json!({})).replay(&[window((5_000, 5), (5_000, 5)); 30], &SIDES).unwrap();
    assert_eq!((judged[29].follows, judged[29].at_end.verdict.as_str()), (OnInconclusive::Pass, "pass"));
    assert_eq!(judged[29].so_far.verdict, "undecided");
}

#[test]
fn says_when_a_good_release_is_shown_safe() {
    let windows = vec![window((500, 0), (500, 5)); 12];
    let judged = spec(json!({"safe": 2, "beta": 0.05})).replay(&windows, &SIDES).unwrap();
    let process = EProcessSpec {
        law: Law::Betting { side: Side::Safe, margin: 2.0 },
        points: vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
        weights: None,
    };
    for (judged, expected) in judged.iter().zip(process.replay(&windows).unwrap()) {
        assert_eq!(judged.errors.log_safe, Some(expected));
        let is_safe = expected >= 20.0_f64.ln();
        assert_eq!(judged.so_far.verdict, if is_safe { "safe" } else { "undecided" });
        assert!((judged.safe_bound.unwrap() - 20.0_f64.ln()).abs() < 1e-9);
    }
    assert_eq!((verdicts(&judged)[0], verdicts(&judged)[11]), ("undecided", "safe"));
    assert_eq!(judged[11].follows, OnInconclusive::Pass);
}

#[test]
fn is_the_judge_that_runs_live() {
    let chance = &mut tidegate::time::Chance(7);
    for form in ["window", "event"] {
        let spec = spec(json!({"form": {"kind": form}, "safe": 3}));
        let judge = spec.check("", &mut Vec::new());
        let mut evidence = Evidence::default();
        let windows: Vec<WindowRecord> = (0..40)
            .map(|_| WindowRecord { share: Some(0.25), ..window((250, chance.below(4)), (750, chance.below(8))) })
            .collect();
        let judged = spec.replay(&windows, &SIDES).unwrap();
        for (window, judged) in windows.iter().zip(judged) {
            let counts = WindowCounts { canary: window.canary, stable: window.stable, share: 2_500 };
            judge.fold(&mut evidence, counts);
            let ending: Ending = judge.at_end(&evidence);
            assert_eq!(judged.so_far, judge.explain(&evidence, &SIDES));
            assert_eq!(judged.at_end, judge.explain_end(&evidence, &ending, &SIDES));
            let harm = matches!(judge.verdict(&evidence), Verdict::Harm { .. });
            assert_eq!(judged.so_far.verdict == "harm", harm);
        }
    }
}

#[test]
fn the_objective_is_judged_without_a_stable_side() {
    let spec = spec(json!({"form": {"kind": "absolute", "objective": 0.01}}));
    let judged = spec.replay(&[window((1_000, 200), (0, 0)); 4], &SIDES).unwrap();
    assert_eq!(judged[3].so_far.verdict, "harm");
    assert!(judged[3].so_far.sentence.contains("against an objective of 1 %"), "{}", judged[3].so_far.sentence);
}

#[test]
fn windows_that_the_draw_can_not_explain_are_left_out() {
    let lopsided = WindowRecord { share: Some(0.1), ..window((300, 300), (700, 0)) };
    let judged = spec(json!({})).replay(&[lopsided, window((100, 3), (900, 0))], &SIDES).unwrap();
    assert_eq!((judged[0].left_out, judged[0].errors.log_harm), (true, 0.0));
    assert!(!judged[1].left_out && (judged[1].errors.log_harm - 1.526056303).abs() < 1e-9);
    // No request at all, or none on a side, says nothing.
    let judged = spec(json!({})).replay(&[window((0, 0), (0, 0)), window((0, 0), (5, 5))], &SIDES).unwrap();
    assert_eq!(judged[1].errors.log_harm, 0.0);
    assert!(judged[1].at_end.sentence.contains("in no window did both sides have requests"));
}

#[test]
fn a_share_is_taken_as_it_is_given() {
    // Not a whole number of hundredths of a percent.
    let windows = [WindowRecord { share: Some(1.0 / 3.0), ..window((333, 4), (667, 1)) }];
    let law = Law::Betting { side: Side::Harm, margin: 1.0 };
    let points = vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7];
    let expected = EProcessSpec { law, points, weights: None }.replay(&windows).unwrap();
    assert_eq!(spec(json!({})).replay(&windows, &SIDES).unwrap()[0].errors.log_harm, expected[0]);
    for share in [1e-9, 1.0 - 1e-9] {
        let windows = [WindowRecord { share: Some(share), ..window((1, 1), (1_000_000, 0)) }];
        let log = spec(json!({})).replay(&windows, &SIDES).unwrap()[0].errors.log_harm;
        assert!(log.is_finite() && log != 0.0, "{share}: {log}");
    }
}

#[test]
fn every_fault_of_judge_and_windows_is_named() {
    let spec = spec(json!({"alpha": 2, "window": "soon"}));
    let windows = [window((0, 1), (1, 1)), WindowRecord { share: Some(-0.1), ..window((1, 1), (1, 1)) }];
    let error = spec.replay(&windows, &SIDES).unwrap_err();
    assert_eq!(pointers(&error), ["/alpha", "/window", "/windows/0/canary/errors", "/windows/1/share"]);
}

#[test]
fn no_windows_give_no_verdicts() {
    assert_eq!(spec(json!({})).replay(&[], &SIDES).unwrap(), []);
}
