//! Probes: what asks the world. Each keeps its own timeout, bounds what it reads, and leaves nothing running when it
//! is dropped.

mod build;
mod child;
mod command;
mod connect;
mod function;
mod http;
mod stopwatch;
mod target;
mod tcp;
#[cfg(test)]
mod tests;

pub(crate) use build::build_beside;
pub use build::{Probe, build};
pub use command::CommandProbe;
pub use function::{FunctionProbe, ProbeFn};
pub use http::HttpProbe;
pub use target::{HttpTarget, split_address};
pub use tcp::TcpProbe;
