//! What a person reads of a run.

use serde_json::Value;
use tidegate::report::Narrator;
use tidegate::simulate::{End, Nature};
use tidegate::time::Time;

use crate::crashes::whole;
use crate::stories::*;

/// The lines of the last run.
pub(crate) fn narrated(end: &End) -> Vec<String> {
    let events = String::from_utf8(end.events.clone()).unwrap();
    let runs = events.lines().map(|line| line.splitn(4, ' ').collect::<Vec<_>>()).filter(|p| p[0].starts_with("run"));
    let runs: Vec<_> = runs.collect();
    let last = format!("run/{}", end.runs.last().unwrap().key);
    let mut narrator = Narrator::new();
    let mut lines = Vec::new();
    for part in runs.iter().filter(|part| part[0] == last) {
        let mut event: Value = serde_json::from_str(part[3]).unwrap();
        event["at"] = Time(part[2].parse().unwrap()).to_string().into();
        lines.extend(narrator.lines(&event.to_string()));
    }
    lines
}

#[test]
fn why_a_rollout_was_rolled_back_is_told_once_on_the_way_and_once_at_its_end() {
    let story = standing(2).then(release("v2", judged(&[25.0, 50.0], "10m"))).nature("v2", Nature::BAD);
    let lines = narrated(&whole(&story));
    let after =
        |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{lines:?}"));
    let verdict = after("ship: harm: errors: ");
    let sentence = lines[verdict].strip_prefix("ship: harm: errors: ").unwrap();
    assert!(sentence.contains(" of ") && sentence.contains("passed the bound of 111"), "{sentence}");
    assert!(lines[after("ship: v2 3 bad of ")].contains("; evidence "), "{lines:?}");
    let end = &lines[verdict + 1..];
    assert_eq!(end[..2], ["ship: turns back", "ship: traffic v1 100 %"]);
    let why = "ship: v2 rolled back at 25 %: the sequential judge condemned its errors: ";
    assert_eq!(end.iter().filter(|line| **line == format!("{why}{sentence}")).count(), 1, "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.contains(sentence)).count(), 2, "{lines:?}");
    assert!(end[end.len() - 2].starts_with("ship: failed after ") && !end[end.len() - 2].contains("condemned"));
    assert_eq!(end[end.len() - 1], "the run failed");
}
