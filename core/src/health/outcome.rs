//! What a probe found.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one result says, before it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// It works, and complains. Counts as a pass; the state that it leads to is degraded.
    Warn,
    /// It does not work.
    Fail,
    /// It does not work and won't by asking again: failing at once, whatever the threshold.
    FailNow,
    /// Nothing was learnt: the prober was not permitted, lacked something, or broke. Neither pass nor fail.
    Unknown,
}

/// The result of one probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What the result says.
    pub verdict: Verdict,
    /// Why, in one line: `status 503`, `connection refused`.
    pub reason: String,
    /// How long the probe took, in microseconds.
    pub took_us: u64,
    /// What else was seen, by name: `status`, `connect_us`, `first_byte_us`, `exit_code`, `output`. Bounded by the
    /// probe; never journaled.
    #[serde(default)]
    pub detail: BTreeMap<String, serde_json::Value>,
}

impl Outcome {
    /// An outcome without details; whoever runs the probe fills in how long it took.
    pub fn new(verdict: Verdict, reason: impl Into<String>) -> Outcome {
        Outcome { verdict, reason: reason.into(), took_us: 0, detail: BTreeMap::new() }
    }

    /// Adds something that was seen.
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Outcome {
        self.detail.insert(name.to_owned(), value.into());
        self
    }
}
