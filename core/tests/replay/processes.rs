//! The worked cases of `tests/cases/rollout`. The derived ones were computed apart from this crate, in exact fractions.

use serde_json::{Value, json};
use tidegate::analysis::{EProcessSpec, Law, Side, SideCounts, WindowRecord};

use super::{cases, pointers};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn process(case: &Value) -> EProcessSpec {
    let side = if case["side"] == "safe" { Side::Safe } else { Side::Harm };
    let margin = case["margin_ratio"].as_f64().unwrap_or(1.0);
    let null = case["null_rate"].as_f64().unwrap_or(f64::NAN);
    let (law, points, weights) = match case["kind"].as_str().unwrap() {
        "conditional_binomial_grid_e_process" => {
            (Law::Events { side, margin }, &case["grid_rate_ratios"], &case["grid_weights"])
        }
        "window_betting_e_process" => (Law::Betting { side, margin }, &case["bet_fractions"], &case["bet_weights"]),
        "absolute_bernoulli_grid_e_process" => {
            (Law::AbsoluteEvents { null }, &case["alternative_rates"], &case["alternative_weights"])
        }
        "absolute_window_betting_e_process" => {
            (Law::AbsoluteBetting { side, null }, &case["bet_fractions"], &case["bet_weights"])
        }
        kind => panic!("a kind of case that nobody knows: {kind}"),
    };
    let weights = weights.is_array().then(|| numbers(weights));
    EProcessSpec { law, points: numbers(points), weights }
}

fn window(window: &Value) -> WindowRecord {
    let n = |key: &str| window[key].as_u64().unwrap_or(0);
    let canary = match window.get("requests") {
        Some(_) => SideCounts::new(n("requests"), n("errors")),
        None => SideCounts::new(n("canary_requests"), n("canary_errors")),
    };
    let stable = SideCounts::new(n("stable_requests"), n("stable_errors"));
    WindowRecord { share: window["share"].as_f64(), ..WindowRecord::new(canary, stable) }
}

#[test]
fn agrees_with_the_worked_cases() {
    for (file, least) in [("rollout/eprocess_worked_cases.json", 8), ("rollout/eprocess_derived_cases.json", 12)] {
        let cases = cases(file);
        assert!(cases.len() >= least, "{}", cases.len());
        for case in cases {
            let windows: Vec<WindowRecord> = case["windows"].as_array().unwrap().iter().map(window).collect();
            let found = process(&case).replay(&windows).unwrap();
            let expected = numbers(&case["expected_log_e_after_each_window"]);
            assert_eq!(found.len(), expected.len());
            for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert!((found - expected).abs() < 1e-9, "{}, window {i}: {found}, not {expected}", case["id"]);
            }
        }
    }
}

#[test]
fn a_process_is_data() {
    let spec: EProcessSpec = serde_json::from_value(json!({"law": {"kind": "betting"}, "points": [0.5]})).unwrap();
    assert_eq!(spec.law, Law::Betting { side: Side::Harm, margin: 1.0 });
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<EProcessSpec>(&text).unwrap(), spec);
    for wrong in [
        json!({"law": {"kind": "betting", "null": 0.1}, "points": [0.5]}),
        json!({"law": {"kind": "bayes"}, "points": [0.5]}),
        json!({"law": {"kind": "absolute_events"}, "points": [0.5]}),
        json!({"law": {"kind": "betting"}, "points": [0.5], "bets": []}),
    ] {
        assert!(serde_json::from_value::<EProcessSpec>(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn every_fault_of_process_and_windows_is_named() {
    let law = Law::Events { side: Side::Safe, margin: 0.0 };
    let spec = EProcessSpec { law, points: vec![2.0, 1.0, f64::NAN], weights: Some(vec![1.0, -1.0, 1.0]) };
    let worse = WindowRecord::new(SideCounts::new(1, 2), SideCounts::new(0, u64::MAX));
    let windows = [WindowRecord { share: Some(f64::NAN), ..worse }, WindowRecord { share: Some(1.1), ..worse }];
    let error = spec.replay(&windows).unwrap_err();
    assert_eq!(error.kind(), tidegate::Kind::Invalid);
    let expected = [
        "/law/margin",
        "/points/1",
        "/points/2",
        "/weights",
        "/windows/0/canary/errors",
        "/windows/0/stable/errors",
        "/windows/0/share",
        "/windows/1/canary/errors",
        "/windows/1/stable/errors",
        "/windows/1/share",
    ];
    assert_eq!(pointers(&error), expected);
}

#[test]
fn extremes_stay_finite() {
    let law = Law::Events { side: Side::Harm, margin: f64::MAX };
    let spec = EProcessSpec { law, points: vec![f64::MAX, 1.5], weights: Some(vec![f64::MAX, f64::MIN_POSITIVE]) };
    let all = SideCounts::new(u64::MAX, u64::MAX);
    let windows = [WindowRecord::new(all, all), WindowRecord { share: Some(0.0), ..WindowRecord::new(all, all) }];
    assert!(spec.replay(&windows).unwrap().iter().all(|log| log.is_finite()));
    // Weights whose sum is out of range are still weights.
    let heavy = |weight| EProcessSpec {
        law: Law::Betting { side: Side::Harm, margin: 1.0 },
        points: vec![0.1, 0.7],
        weights: Some(vec![weight, weight]),
    };
    let window = [WindowRecord::new(SideCounts::new(100, 3), SideCounts::new(900, 1))];
    assert_eq!(heavy(f64::MAX).replay(&window).unwrap(), heavy(1.0).replay(&window).unwrap());
}
