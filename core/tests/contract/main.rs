//! The virtual world and the real adapters answer alike: a story told in both gives the same events, the same ends and
//! the same number of executions. What differs is a fault of one of the two.

mod acted;
mod checks;
#[path = "../common/mod.rs"]
mod common;
#[path = "../../../tests/schedules/src/random.rs"]
#[expect(dead_code, reason = "rollouts are for the virtual world alone")]
mod generator;
mod pipelines;
mod play;
mod random;
mod real;
mod rollouts;
#[path = "../simulation/stories.rs"]
#[expect(dead_code, reason = "some are for the simulation alone")]
mod stories;
mod told;
mod windows;
