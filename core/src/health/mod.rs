//! Health checks: what to probe, how results count, and what state follows.
//!
//! [`CheckSpec`] is what a user says, [`Rules`] what it means, [`CheckMachine`] decides from results and times alone,
//! and a [`Watcher`] feeds it with what a [`probe`] finds.

mod explain;
mod machine;
mod outcome;
mod outlier;
mod placeholder;
pub mod probe;
mod rules;
mod spec;
mod status;
#[cfg(test)]
mod tests;
mod watcher;

pub use machine::{CheckMachine, Transition};
pub use outcome::{Outcome, Verdict};
pub use outlier::{Comparison, OutlierRules, Tally};
pub use rules::{Check, Intervals, Rules, State};
pub use spec::{CheckSpec, ProbeSpec};
pub use status::StatusSet;
pub use watcher::Watcher;
