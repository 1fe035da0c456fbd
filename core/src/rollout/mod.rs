//! Rollouts: how a new version takes over from the old one, and how it goes back.

mod event;
mod explain;
mod machine;
mod plan;
mod spec;
mod strategy;
mod terms;

pub use event::{Cause, Pause, RolloutEvent, Seen, Sight, Start, WindowLatency};
pub(crate) use explain::ended;
pub use explain::{doing, latency, percent, slowest};
pub(crate) use machine::REVERT_ANEW;
pub use machine::{
    Begin, Command, Hold, Request, RolloutEffect, RolloutInput, RolloutMachine, RolloutState, Verb, service_events,
};
pub use plan::{FULL, Gate, Layout, Move, replicas_for, way_back};
pub use spec::{PromoteSpec, RevertSpec, RolloutSpec, StrategySpec};
pub use strategy::plan;
pub use terms::{Strategy, Terms};
