//! A service: what rollouts ship. It outlives runs; its stream remembers versions, sizes, weights and who is stable.

mod spec;
mod world;

pub use spec::{Release, ServeSpec};
pub use world::{Counts, Desired, DesiredVersion, Measure, Observed, ObservedVersion, Trouble, Weights, Window};
