//! What steps do in the world.

mod capture;
mod command;

#[cfg(test)]
mod tests;

pub use command::{CommandContext, StepLine, run_command, sweep_step};
