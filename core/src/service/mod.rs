//! A service: what rollouts ship. It outlives runs; its stream remembers versions, sizes, weights and who is stable.

mod machine;
mod spec;
mod state;
#[cfg(test)]
mod tests;
mod world;

pub use machine::{ServiceEffect, ServiceEvent, ServiceInput, ServiceMachine};
pub(crate) use spec::MAX_REPLICAS;
pub use spec::{Release, ServeSpec};
pub use state::{Claim, LastRollout, Outcome, ServiceState, Serving};
pub(crate) use state::{OVERDUE, desired};
pub use world::{
    Counts, Desired, DesiredVersion, LatencyQuantiles, Measure, Observed, ObservedVersion, Trouble, Weights, Window,
};
