//! The worked cases of `tests/cases/rollout`, through the public API. The derived ones were computed apart from this
//! crate, in exact fractions.

use serde_json::Value;

use crate::analysis::{EProcess, Law, Side, SideCounts, WindowCounts};

const CASES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases/rollout/eprocess_worked_cases.json"));
const DERIVED: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases/rollout/eprocess_derived_cases.json"));

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn process(case: &Value) -> EProcess {
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
    match weights {
        Value::Array(_) => EProcess::weighted(law, &numbers(points), &numbers(weights)).unwrap(),
        _ => EProcess::new(law, &numbers(points)).unwrap(),
    }
}

fn window(window: &Value) -> (WindowCounts, f64) {
    let n = |key: &str| window[key].as_u64().unwrap_or(0);
    let canary = match window.get("requests") {
        Some(_) => SideCounts::new(n("requests"), n("errors")),
        None => SideCounts::new(n("canary_requests"), n("canary_errors")),
    };
    let stable = SideCounts::new(n("stable_requests"), n("stable_errors"));
    let seen = canary.requests as f64 / (canary.requests + stable.requests).max(1) as f64;
    let share = window["share"].as_f64().unwrap_or(seen);
    (WindowCounts { canary, stable, share: (share * 10_000.0) as u32 }, share)
}

fn check(text: &str, least: usize) {
    let file: Value = serde_json::from_str(text).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= least, "{}", cases.len());
    for case in cases {
        let mut process = process(case);
        let windows = case["windows"].as_array().unwrap();
        let expected = numbers(&case["expected_log_e_after_each_window"]);
        assert_eq!(windows.len(), expected.len());
        for (i, (counts, expected)) in windows.iter().map(window).zip(expected).enumerate() {
            process.fold_at(&counts.0, counts.1);
            let log_e = process.log_e();
            assert!((log_e - expected).abs() < 1e-9, "{}, window {i}: {log_e} instead of {expected}", case["id"]);
        }
    }
}

#[test]
fn agrees_with_the_worked_cases() {
    check(CASES, 8);
    check(DERIVED, 12);
}
