//! The rollout machine against a virtual world: scenarios first, then what must always hold.

mod bakes;
mod harness;
mod latency;
mod promotions;
mod properties;
mod reverts;
mod scenarios;
mod world;
