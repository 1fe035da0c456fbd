//! The engine without threads, sockets and clocks: machines over a journal, and what the world's reports mean to them.
//! The driver runs it on a thread of its own; the simulation runs the same code in a virtual world.

mod command;
mod inbox;
mod machines;
mod resume;
mod view;

pub use command::{Command, StepAnswer};
pub(crate) use inbox::no_run;
pub(crate) use machines::{Committed, Durable, Effect, Kernel, News, TRIES, retry_after};
pub(crate) use view::{Order, Report, View};
