//! For the packages of other languages: this crate's `tracing` events, kept in a bounded queue until the host's logger
//! takes them. A Rust program has `tracing` itself, and needs none of this.

mod line;
mod queue;
#[cfg(test)]
mod tests;

pub use line::LogLine;
pub use queue::{LogQueue, PARTS};
