//! The embedded HTTP/1.1 reverse proxy: it shares the requests of one service out among the instances of its versions,
//! and counts what became of them.
//!
//! One [`Proxy`] stands before one service. It decides nothing: weights, instances and drains are told to it, and what
//! it counted is asked of it. How requests are counted is described at [`Proxy::windows`].

mod body;
mod config;
mod forward;
mod headers;
mod instance;
mod io;
mod latencies;
mod ledger;
mod meter;
mod server;
mod table;
mod ticket;
mod tunnel;

#[cfg(test)]
mod harness;
#[cfg(test)]
mod tests;

pub use config::{Config, Drained, Instance, Reuse};
pub use meter::{Bucket, InstanceStats, Latency, Stats, VersionStats};
pub use server::Proxy;
