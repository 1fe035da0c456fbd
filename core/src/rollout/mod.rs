//! Rollouts: how a new version takes over from the old one, and how it goes back.

mod plan;

pub use plan::{FULL, Gate, Layout, Move, replicas_for, way_back};
