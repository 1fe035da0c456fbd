//! Probes: what asks the world.

mod target;

pub use target::{HttpTarget, split_address};
