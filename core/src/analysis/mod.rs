//! When is a release bad? The sequential judge: e-processes over windows of counts, valid however often one looks.
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
mod spec;
#[cfg(test)]
mod tests;

pub use blackout::{Blackout, BlackoutAlarm, BlackoutRule};
pub use counts::{SideCounts, WindowCounts};
pub use eprocess::{EProcess, Law, Side, odds_shift};
pub use evidence::{Evidence, Totals};
pub use explain::{Assumption, Explanation, Sides};
pub use judge::{Ending, Judge, Verdict};
pub use power::{Power, Traffic};
pub use spec::{BlackoutSpec, Form, JudgeSpec, OnInconclusive};
