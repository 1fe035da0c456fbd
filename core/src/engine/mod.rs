//! The engine: it drives machines over a journal, and is the only place that acts for them.

mod attempt;
mod driver;
mod fleet;
mod function;
mod handle;
mod interrupt;
mod log;
mod logs;
mod open;
mod outcome;
mod reader;
mod records;
mod runtime;
mod scope;
mod secrets;
mod show;
mod start;
mod writer;

pub use crate::kernel::{Command, StepAnswer};
pub use handle::{Engine, Run, Start};
pub use log::{EventText, Events, Lines, OutputEvent};
#[cfg(feature = "cli")]
pub(crate) use logs::{log_end, log_file};
pub use open::EngineOptions;
pub use outcome::{Outcome, Status, StepOutcome, StepStatus};
pub use reader::Follow;
pub use records::{RunRow, Service};
pub use runtime::block_on;
#[cfg(feature = "cli")]
pub(crate) use show::{size, style};
