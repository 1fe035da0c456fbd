//! When is a release bad? The sequential judge: e-processes over windows of counts, valid however often one looks.
//!
//! The judge is valid for a rollout and a metric when, given the past, each window's bad events fall on the canary with
//! a mean share of at most ρ, its assigned share of the requests:
//! - the version is drawn at random for each request (no round robin), and a request belongs to the weights and the
//!   window in which it was routed;
//! - no cause that sits on one side outlasts its window: windows have one length, never under `burst`, and none ends
//!   because of errors;
//! - both sides are equally warm and alike: while an instance that can be drawn is within `warmup` of its readiness,
//!   neither side is counted (leaving out that instance alone would shift the counted share away from ρ);
//! - where users stick to a side, a user's first bad request in the rollout is counted, and no other.
//!
//! One instance's own fault can't be told from a bad release when the canary has one instance; the explanation says so.
//! After promotion there is no stable side left: the absolute form alerts, and reverts only while there is one.
//!
//! Everything here is pure: counts come in, a verdict comes out. All float maths is done by `libm`, so that verdicts
//! are equal on every machine.

mod blackout;
mod counts;
mod draw;
mod eprocess;
mod evidence;
mod explain;
mod judge;
mod power;
mod replay;
mod scaled;
mod spec;
#[cfg(test)]
mod tests;

pub use blackout::{Blackout, BlackoutAlarm, BlackoutRule};
pub use counts::{SideCounts, WindowCounts};
pub(crate) use draw::Binomial;
pub use eprocess::{EProcess, Law, Side, odds_shift};
pub use evidence::{Evidence, Metric, Totals};
pub use explain::{Assumption, Explanation, Sides};
pub use judge::{AbandonedRule, Ending, Judge, Verdict};
pub use power::{Power, Traffic};
pub use replay::{EProcessSpec, Judged, MetricEvidence, WindowRecord};
pub use spec::{BlackoutSpec, Form, JudgeSpec, OnInconclusive};
