//! The pipeline and the rollout of the first example, as its three programs record them, crashed everywhere.

use serde_json::json;
use tidegate::pipeline::PipelineSpec;
use tidegate::service::Outcome;
use tidegate::simulate::{Chapter, Nature, Script, Story};

use crate::crashes::{crash_everywhere, outcome};

/// What the demo holds against the definition that each program has recorded.
const DEFINITION: &str = include_str!("../../../examples/first-release/definition.json");
/// As many requests a second as the demo's load at least.
const RATE: u64 = 300;

fn ship(version: &str) -> Chapter {
    let pipeline: PipelineSpec = serde_json::from_str(DEFINITION).unwrap();
    let value = json!({ "version": version, "command": ["shop", version] });
    Chapter::new(version, pipeline).script("release", Script { value, ..Script::default() })
}

fn story(seed: u64, version: &str) -> Story {
    Story { rate: RATE, ..Story::new(seed, ship("v1")).then(ship(version)) }
}

#[test]
fn the_good_release_of_the_first_example() {
    let end = crash_everywhere("the example's good release", &story(51, "v2"));
    assert_eq!(outcome(&end, "ship"), Outcome::Promoted);
    assert_eq!(end.services["shop"].stable.as_deref(), Some("v2"));
}

#[test]
fn the_bad_release_of_the_first_example() {
    let end = crash_everywhere("the example's bad release", &story(52, "v3").nature("v3", Nature::BAD));
    assert_eq!(outcome(&end, "ship"), Outcome::RolledBack);
    let (_, reason) = &end.runs[1].rollouts["ship"];
    assert!(reason.contains("judge") && reason.contains("evidence"), "{reason}");
    assert_eq!(end.services["shop"].stable.as_deref(), Some("v1"));
}
