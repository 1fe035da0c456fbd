//! The load generator as a child process, and what it has counted.

use std::io::Error;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::{Failure, Try};

/// Requests a second, and the fewest that a run must have had.
pub(crate) const RATE: u64 = 400;
pub(crate) const RATE_AT_LEAST: f64 = 300.0;
/// How long counts may be on their way: the report is replaced every 200 ms, and requests take some milliseconds.
const SETTLED_MS: u64 = 600;

/// The load generator; killed when this is dropped.
pub(crate) struct Load {
    child: Child,
    report: PathBuf,
}

impl Load {
    /// Starts it: a third of the requests have no body, a third say its length, a third send it in chunks.
    pub(crate) async fn start(program: &Path, listen: &str, folder: &Path) -> Try<Load> {
        let report = folder.join("load.json");
        let child = Command::new(program)
            .args(["--url", &format!("http://{listen}/items"), "--rate", &RATE.to_string(), "--connections", "24"])
            .args(["--mix", "get,post,chunked", "--until-stdin-closes", "--json", "--report"])
            .arg(&report)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure(format!("can't start {}: {error}", program.display())))?;
        let mut load = Load { child, report };
        while !load.report.exists() {
            load.is_running()?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(load)
    }

    fn is_running(&mut self) -> Try<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(Failure(format!("the load generator ended: {status}"))),
        }
    }

    /// What it has counted up to about now.
    pub(crate) fn counts(&mut self) -> Try<Counts> {
        self.is_running()?;
        let text = std::fs::read_to_string(&self.report)?;
        Ok(Counts(serde_json::from_str(&text).map_err(Error::from)?))
    }

    /// What it has counted, once everything that was sent before now is in it.
    pub(crate) async fn settled(&mut self) -> Try<Counts> {
        let from = self.counts()?.elapsed_ms();
        loop {
            let counts = self.counts()?;
            if counts.elapsed_ms() >= from + SETTLED_MS {
                return Ok(counts);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Lets it finish what is under way, and gives all that it has counted.
    pub(crate) async fn stop(mut self) -> Try<Counts> {
        self.is_running()?;
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output().await?;
        Ok(Counts(serde_json::from_slice(&output.stdout).map_err(Error::from)?))
    }
}

/// Counts since the load generator was started, as it writes them.
#[derive(Debug, Clone)]
pub(crate) struct Counts(Value);

impl Counts {
    fn number(&self, pointer: &str) -> u64 {
        self.0.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    pub(crate) fn elapsed_ms(&self) -> u64 {
        self.number("/elapsed_ms")
    }

    pub(crate) fn requests(&self) -> u64 {
        self.number("/requests")
    }

    /// Those without a complete answer, and those with a status of 500 or above.
    pub(crate) fn failed(&self) -> u64 {
        self.number("/failed")
    }

    /// Complete answers of a version.
    pub(crate) fn of(&self, version: &str) -> u64 {
        self.number(&format!("/by_version/{version}"))
    }

    /// Answers of a version with a status of 500 or above.
    pub(crate) fn failed_of(&self, version: &str) -> u64 {
        self.number(&format!("/failed_by_version/{version}"))
    }

    /// How failures are spread, for messages.
    pub(crate) fn failures(&self) -> String {
        format!("{} by version, {} by kind", self.0["failed_by_version"], self.0["by_failure"])
    }

    /// Requests a second since `earlier`.
    pub(crate) fn rate_since(&self, earlier: &Counts) -> f64 {
        let seconds = self.elapsed_ms().saturating_sub(earlier.elapsed_ms()) as f64 / 1_000.0;
        (self.requests() - earlier.requests()) as f64 / seconds
    }
}
