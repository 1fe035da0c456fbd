//! Health checks: what to probe, how results count, and what state follows.

mod spec;

pub use spec::{CheckSpec, ProbeSpec};
