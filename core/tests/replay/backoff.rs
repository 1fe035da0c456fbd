//! The waits that other engines publish for their retries.

use serde_json::{Value, json};
use tidegate::pipeline::RetrySpec;
use tidegate::time::Span;

use super::{cases, pointers};

/// What lists waits in a case, and how many milliseconds its unit has.
const LISTS: [(&str, f64); 4] = [
    ("expected_delays_s", 1_000.0),
    ("expected_delays_ms_before_jitter", 1.0),
    ("expected_delays_ms_before_jitter_first_12", 1.0),
    ("expected_delay_upper_bounds_s", 1_000.0),
];

/// A policy in our words; `None` if it says something that ours doesn't have.
fn retry(policy: &Value) -> Option<RetrySpec> {
    let first = |names: &[&'static str]| names.iter().find_map(|name| Some((*name, policy[*name].as_f64()?)));
    let span = |names: &[&'static str]| {
        first(names).map(|(name, n)| format!("{}ms", (if name.ends_with("_ms") { n } else { n * 1_000.0 }).round()))
    };
    let retry = json!({
        "attempts": 100,
        "initial": span(&["initial_s", "initial_ms", "duration_s", "interval_s"])?,
        "factor": first(&["factor", "backoff_rate"])?.1,
        "cap": span(&["max_interval_s", "max_interval_ms", "cap_s", "fixed_cap_s"]).unwrap_or_else(|| "1000d".into()),
    });
    serde_json::from_value(retry).ok()
}

#[test]
fn waits_are_those_that_others_publish() {
    let mut tried = 0;
    for case in cases("pipeline/backoff_cases.json") {
        let Some(Ok(waits)) = retry(&case["policy"]).map(|retry| retry.delays()) else { continue };
        for (field, scale) in LISTS {
            let Some(expected) = case[field].as_array() else { continue };
            tried += 1;
            // The last bound of this case is what is left until its deadline, which is no matter of the policy alone.
            let known = if case["id"] == "temporal_service_retry_sequence" { 12 } else { expected.len() };
            for (i, (wait, expected)) in waits.iter().zip(&expected[..known]).enumerate() {
                let expected = Span((expected.as_f64().unwrap() * scale).round() as u64);
                assert_eq!(*wait, expected, "{} after failure {}", case["id"], i + 1);
            }
        }
    }
    assert!(tried >= 18, "only {tried} of the cases were tried");
}

#[test]
fn a_retry_has_one_wait_fewer_than_attempts() {
    let retry = |text: &str| serde_json::from_str::<RetrySpec>(text).unwrap().delays();
    assert_eq!(retry(r#"{"attempts": 1}"#).unwrap(), []);
    let minutes = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map(Span::seconds);
    assert_eq!(retry(r#"{"attempts": 12}"#).unwrap(), minutes);
    let error = retry(r#"{"attempts": 0, "initial": "soon", "factor": 0.5, "cap": "1s"}"#).unwrap_err();
    assert_eq!(pointers(&error), ["/attempts", "/factor", "/initial"]);
}
