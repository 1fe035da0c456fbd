//! The npm package's native part: it converts and calls, and decides nothing.
//!
//! Everything crosses as JSON text. What can fail resolves to a value or to a [`Fault`](promise::Fault), never to a
//! thrown error: the classes that users catch are TypeScript's.

#![cfg_attr(test, allow(dead_code, reason = "what registers with Node is left out of tests"))]
#![allow(missing_debug_implementations, reason = "what holds functions of JavaScript can't be shown")]

mod call;
mod check;
mod engine;
mod log;
mod promise;
mod reader;
mod replay;
mod run;
mod threads;

use napi_derive::napi;
use tidegate::{Error, Kind, Outcome};

use promise::Fault;

/// The version of the core, which must be that of the package.
#[napi]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// What went wrong with a run that ended without success, as an error; nothing when it succeeded. Takes an outcome as
/// the core wrote it.
#[napi]
pub fn failure(outcome: String) -> Option<Fault> {
    let judged = promise::parse::<Outcome>(&outcome, "the outcome").and_then(Outcome::ok);
    judged.err().map(|error| Fault::from(&error))
}

/// Runs the command line, the program's name first; returns the exit code. Takes the whole process.
#[napi]
pub fn command_line(args: Vec<String>) -> u8 {
    tidegate::cli::run(args.into_iter().map(Into::into))
}

/// The error for an engine that is closed.
fn closed() -> Error {
    Error::new(Kind::Cancelled, "the engine is closed").help("open it again")
}
