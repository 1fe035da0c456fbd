//! tidegate ships software safely from inside your own program: typed pipelines, health checks and rollouts over one
//! embedded, durable journal.
//!
//! An [`Engine`] drives the runs of one journal. A [`Pipeline`] is a graph of steps: commands, functions and rollouts,
//! with typed values between them. Killed at any instant and started again with the same key, a run goes on where it
//! was: what has finished is not run again.
//!
//! ```
//! use tidegate::{Engine, Pipeline};
//!
//! # tidegate::block_on(async {
//! # let dir = tempfile::tempdir().unwrap();
//! # let journal = dir.path().join("release.db");
//! let mut release = Pipeline::new("release");
//! let version = release.shell("version", "echo 1.4.2").text();
//! let tag = release.function("tag", &version, |_, version: String| async move { Ok::<_, String>(format!("v{version}")) });
//!
//! let engine = Engine::open(&journal).await?; // such as release.db
//! let outcome = engine.run(&release).key("2026-11").await?.ok()?;
//! assert_eq!(outcome.value(&tag)?, "v1.4.2");
//!
//! // The same key again: the run has ended, and its outcome is what it was.
//! let again = engine.run(&release).key("2026-11").await?;
//! assert_eq!(again.run, outcome.run);
//! engine.close().await
//! # }).unwrap();
//! ```
//!
//! - [`define`]: pipelines, steps and rollouts, as a program writes them; checked as a whole before anything runs.
//! - [`engine`]: running, watching and commanding them. A [`Reader`] does the latter two from another process.
//! - [`rollout`], [`service`], [`supervisor`], [`proxy`]: how a version takes over and goes back, what is known of a
//!   service, and the second process that holds what was shipped. A program that ships calls [`supervise_if_asked`]
//!   first.
//! - `cli`: the command line `tidegate`, behind the feature of that name, which is on by default.
//! - [`analysis`] and [`health`]: the judges. Both are pure, and run on recorded data as they do live.
//! - [`journal`] and [`machine`]: what is durable, and how decisions are folded from it.
//! - [`simulate`]: every machine in a virtual world, crashed wherever it can be.
#![forbid(unsafe_code)]

pub mod analysis;
#[cfg(feature = "cli")]
pub mod cli;
pub mod define;
pub mod engine;
pub mod error;
pub mod health;
#[doc(hidden)]
pub mod host_log;
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
    Command, Engine, EngineOptions, Events, Follow, Lines, Outcome, Run, RunRow, Service, Start, Status, StepAnswer,
    StepOutcome, StepStatus, block_on,
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
