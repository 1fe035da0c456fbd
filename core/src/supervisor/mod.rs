//! The supervisor: one small process that outlives the program that ships.
//!
//! It holds the processes of services and the proxies before them, restarts what dies, and reports. It decides nothing:
//! a [`Client`] applies the whole desired state of a service, and the supervisor brings the world there. It lives in a
//! folder beside the journal, is found again by pid and start time, obeys only its own user, and refuses a driver that
//! was replaced by a later one.

mod ask;
mod backoff;
mod client;
mod desired;
mod folder;
mod hook;
mod instance;
mod launcher;
mod log;
mod ports;
mod protocol;
mod readiness;
mod server;
mod service;
mod slot;
mod stats;
mod wire;

pub use client::Client;
pub(crate) use folder::may_hold;
pub use hook::supervise_if_asked;
pub use launcher::Launcher;
pub use protocol::{Report, Status};
pub use server::{asked, main, serve, serve_until};
pub use stats::{InstanceState, InstanceStats, ServiceStats};
