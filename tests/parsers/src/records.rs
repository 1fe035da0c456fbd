//! Records that users replay: windows through judges and e-processes, results through checks. The first line is the
//! judge, the check or the e-process, the second one the list.

use serde_json::json;
use tidegate::analysis::{EProcessSpec, JudgeSpec, Sides, WindowRecord};
use tidegate::error::{Error, Kind, read_list};
use tidegate::health::{CheckRecord, CheckSpec};
use tidegate::time::Chance;

/// A judge takes some milliseconds for each window.
const WINDOWS: usize = 4;
const RECORDS: usize = 1_000;

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let windows = json!([
        {"canary": {"requests": 100, "errors": 3, "abandoned": 1}, "stable": {"requests": 900, "errors": 1}, "share": 0.1},
        {"canary": {"requests": 50, "errors": 0}, "stable": {"requests": 950, "errors": 0}},
    ]);
    let records = json!([
        {"at": 1000, "verdict": "pass", "took": "10ms"}, {"status": 503, "reason": "no"}, {"restarted": true},
        {"at": 60000}, {"verdict": "fail_now"}, {"verdict": "unknown"}, {"verdict": "warn"},
    ]);
    let exits = json!([{"exit_code": 0}, {"exit_code": 2, "took": "5s"}]);
    let http = json!({"probe": {"kind": "http", "url": "http://h/"}, "max_age": "1m", "degrade": 1, "rise": 2});
    let program = json!({"probe": {"kind": "command", "argv": ["x"], "unknown": [2]}, "hold": ["failing"], "fall": 1});
    let all = [
        (json!({"alpha": 0.01, "safe": 2, "form": {"kind": "window"}}), &windows),
        (json!({"form": {"kind": "event"}, "tolerate": 1.5}), &windows),
        (json!({"form": {"kind": "absolute", "objective": 0.01}, "safe": 1}), &windows),
        (json!({"form": {"kind": "absolute", "objective": 0.01, "independent": true}}), &windows),
        (json!({"law": {"kind": "betting"}, "points": [0.1, 0.5]}), &windows),
        (json!({"law": {"kind": "events", "side": "safe", "margin": 2}, "points": [2]}), &windows),
        (json!({"law": {"kind": "absolute_betting", "null": 0.01}, "points": [0.1]}), &windows),
        (json!({"law": {"kind": "absolute_events", "null": 0.01}, "points": [0.1]}), &windows),
        (http, &records),
        (program, &exits),
    ];
    all.iter().map(|(spec, list)| format!("{spec}\n{list}").into_bytes()).collect()
}

pub(crate) fn read(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (spec, list) = text.split_once('\n').unwrap_or((&text, "[]"));
    let windows = list_of::<WindowRecord>(list, "windows", WINDOWS);
    let records = list_of::<CheckRecord>(list, "records", RECORDS);
    let mut taken = false;
    if let (Ok(judge), Some(windows)) = (serde_json::from_str::<JudgeSpec>(spec), &windows) {
        taken |= judged(&judge, windows);
    }
    if let (Ok(law), Some(windows)) = (serde_json::from_str::<EProcessSpec>(spec), &windows) {
        match law.replay(windows) {
            Ok(logs) => {
                assert_eq!(logs.len(), windows.len());
                assert!(logs.iter().all(|log| log.is_finite()), "{logs:?}");
                taken = true;
            }
            Err(error) => refused(&error),
        }
    }
    if let (Ok(check), Some(records)) = (serde_json::from_str::<CheckSpec>(spec), &records) {
        match check.replay(records, None, Chance(1)) {
            Ok(standings) => {
                assert_eq!(standings.len(), records.len());
                assert!(standings.is_sorted_by_key(|standing| standing.at));
                assert!(standings.iter().all(|standing| !standing.explanation.is_empty()));
                taken = true;
            }
            Err(error) => refused(&error),
        }
    }
    taken
}

fn judged(judge: &JudgeSpec, windows: &[WindowRecord]) -> bool {
    let sides = Sides { canary: "v2", stable: "v1", canary_replicas: Some(2) };
    let judged = match judge.replay(windows, &sides) {
        Ok(judged) => judged,
        Err(error) => {
            refused(&error);
            return false;
        }
    };
    assert_eq!(judged.len(), windows.len());
    for judged in &judged {
        for evidence in [judged.errors, judged.abandoned] {
            assert!(evidence.log_harm.is_finite() && evidence.harm_bound.is_finite(), "{evidence:?}");
            assert!(evidence.peak_harm >= evidence.log_harm && evidence.peak_harm >= 0.0, "{evidence:?}");
            assert!(evidence.log_safe.is_none_or(f64::is_finite), "{evidence:?}");
        }
        // It is shown to people, and stored: JSON has no word for what is not finite.
        let shown = serde_json::to_value(judged).expect("it can be written");
        let again = serde_json::from_value(shown.clone());
        assert_eq!(again.ok().as_ref(), Some(judged), "{shown}");
    }
    true
}

/// A list of at most so many; of a refused one every item that is wrong is named.
fn list_of<T: serde::de::DeserializeOwned>(text: &str, name: &str, most: usize) -> Option<Vec<T>> {
    match read_list::<T>(text, name) {
        Ok(mut list) => {
            list.truncate(most);
            Some(list)
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::Invalid);
            let begin = format!("/{name}/");
            let placed = |fault: &tidegate::Fault| {
                fault.pointer.strip_prefix(&begin).is_some_and(|i| i.parse::<usize>().is_ok())
            };
            assert!(error.faults().iter().all(placed), "{error}");
            None
        }
    }
}

fn refused(error: &Error) {
    assert!(error.kind() == Kind::Invalid && !error.faults().is_empty(), "{error}");
}
