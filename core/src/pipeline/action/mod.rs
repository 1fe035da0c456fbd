//! What steps do in the world.

mod capture;
mod command;

#[cfg(test)]
mod tests;

pub(crate) use capture::VALUE_HOLDS_SECRET;
pub use command::{CommandContext, StepLine, run_command, sweep_step};
