//! The page of a run: one HTML file without anything beside it.

mod chart;
mod details;
mod graph;
mod html;
mod render;
mod rollout;
mod story;
mod timeline;

pub use render::{StepLog, page};
