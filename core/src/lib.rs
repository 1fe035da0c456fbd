//! tidegate ships software safely from inside your own program: typed pipelines, health checks and rollouts over one
//! embedded, durable journal.
#![forbid(unsafe_code)]

pub mod error;
pub mod health;
pub mod machine;
pub mod pipeline;
pub mod process;
pub mod secret;
pub mod service;
pub mod time;
