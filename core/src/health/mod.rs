//! Health checks: what to probe, how results count, and what state follows.
//!
//! [`CheckSpec`] is what a user says, [`Rules`] what it means, [`CheckMachine`] decides from results and times alone,
//! and a [`Watcher`] feeds it with what a [`probe`] finds.
//!
//! ```no_run
//! # async fn example() -> tidegate::error::Result<()> {
//! use std::sync::Arc;
//! use tidegate::health::{CheckSpec, ProbeSpec, Watcher, probe};
//! use tidegate::time::{Chance, SystemClock, Time};
//!
//! let spec = CheckSpec { fall: Some(2), ..CheckSpec::new(ProbeSpec::http("http://{host}:{port}/healthz")) };
//! let check = spec.validate()?;
//! let probe = probe::build(&check.probe.resolve("127.0.0.1", 8080), check.timeout)?;
//! let mut watcher = Watcher::new(&check, probe, Arc::new(SystemClock::new(Time::default())), Chance(1));
//! let transition = watcher.next().await;
//! assert!(transition.to_string().starts_with("starting to "));
//! # Ok(())
//! # }
//! ```

mod explain;
mod machine;
mod outcome;
mod outlier;
mod placeholder;
pub mod probe;
mod replay;
mod rules;
mod spec;
mod status;
#[cfg(test)]
mod tests;
mod watcher;

pub use machine::{CheckMachine, Transition};
pub use outcome::{Outcome, Verdict};
pub use outlier::{Comparison, OutlierRules, OutlierSpec, Tally};
pub use replay::{CheckRecord, Standing};
pub use rules::{Check, Intervals, Rules, State};
pub use spec::{CheckSpec, ProbeSpec};
pub use status::StatusSet;
pub use watcher::Watcher;
