//! How long answers took, as windows tell it.

use std::collections::BTreeMap;

use super::harness::*;
use super::world::World;
use crate::analysis::JudgeSpec;
use crate::rollout::event::{RolloutEvent, WindowLatency};
use crate::rollout::machine::RolloutInput;
use crate::service::{LatencyQuantiles, Window};

#[test]
fn a_judged_window_has_the_latencies_of_both_sides_and_no_evidence_rests_on_them() {
    let mut driver = Driver::new(World::new(7, &[])).with_stable("v1");
    let mut spec = canary(&[25.0, 50.0], "2m");
    spec.judge = Some(JudgeSpec::default());
    driver.ship(spec, "v2");
    driver.until(100, "windows", |d| d.state.judged.is_some_and(|number| number > 3));
    let last = driver.world.windows.last().unwrap().clone();
    let mut without = driver.clone();
    let (slow, quick) =
        (LatencyQuantiles { p50: 50_000, p95: 51_000, p99: 52_000 }, LatencyQuantiles { p50: 1, p95: 2, p99: 3 });
    let latency = BTreeMap::from([("v0".to_owned(), slow), ("v1".to_owned(), quick), ("v2".to_owned(), slow)]);
    let next = |latency| Window { number: last.number + 1, latency, ..last.clone() };
    without.input(RolloutInput::Windows(vec![next(BTreeMap::new())])).unwrap();
    driver.input(RolloutInput::Windows(vec![next(latency)])).unwrap();

    let told = WindowLatency { canary: Some(slow), stable: Some(quick) };
    assert_eq!((driver.state.latency, without.state.latency), (told, WindowLatency::default()));
    assert_eq!(driver.state.evidence, without.state.evidence);
    let stored = |driver: &Driver| serde_json::to_string(&driver.events.last().unwrap().1).unwrap();
    let (with, without) = (stored(&driver), stored(&without));
    assert!(
        with.contains(r#","latency":{"canary":{"p50":50000,"p95":51000,"p99":52000},"stable":{"p50":1,"#),
        "{with}"
    );
    assert!(without.contains("window_judged") && !without.contains("latency"), "as earlier versions: {without}");
    let read: RolloutEvent = serde_json::from_str(&without).unwrap();
    assert!(matches!(read, RolloutEvent::WindowJudged { latency, .. } if latency.is_unknown()));
}
