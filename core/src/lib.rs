//! tidegate ships software safely from inside your own program: typed pipelines, health checks and rollouts over one
//! embedded, durable journal.
#![forbid(unsafe_code)]

pub mod analysis;
pub mod define;
pub mod engine;
pub mod error;
pub mod health;
pub mod journal;
mod kernel;
pub mod machine;
pub mod pipeline;
pub mod process;
pub mod proxy;
pub mod report;
pub mod rollout;
pub mod secret;
pub mod service;
pub mod simulate;
pub mod supervisor;
pub mod time;

pub use define::{Context, Function, Functions, Inputs, Judge, Pipeline, Promoted, Ran, Rollout, StepRef};
pub use engine::{
    Command, Engine, EngineOptions, Events, Follow, Lines, Outcome, Run, Start, Status, StepAnswer, StepOutcome,
    StepStatus, block_on,
};
pub use error::{Error, Fault, Kind, Result};
pub use journal::Reader;
pub use secret::Secret;
pub use service::Release;
pub use supervisor::supervise_if_asked;

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct ReadmeExamples;
