//! How results count: the parameters of the machine, after validation.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::health::ProbeSpec;
use crate::time::Span;

/// What is held of the thing that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing was concluded yet.
    Starting,
    /// It works.
    Passing,
    /// It works with complaints, or has failed less often than it takes to be failing.
    Degraded,
    /// It does not work.
    Failing,
    /// There is no data, or the prober can't do its work. Neither passing nor failing.
    Unknown,
}

impl State {
    /// The state's name in every language and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Passing => "passing",
            State::Degraded => "degraded",
            State::Failing => "failing",
            State::Unknown => "unknown",
        }
    }
}

/// A validated check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is probed.
    pub probe: ProbeSpec,
    /// How long one probe may take.
    pub timeout: Span,
    /// How its results count and when it runs.
    pub rules: Rules,
}

/// How results count. The machine is total over every value of these; thresholds of 0 are read as 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Passes in a row that make it passing.
    pub rise: u32,
    /// Failures in a row that make it failing.
    pub fall: u32,
    /// Failures in a row that make it degraded, if fewer than `fall`.
    pub degrade: Option<u32>,
    /// The state before anything is concluded, at the start and after a restart.
    pub initial: State,
    /// The first pass or failure that counts is enough by itself, whatever `rise` and `fall`.
    pub first_result_applies: bool,
    /// Unknown results in a row that make it unknown; `None`: they never do.
    pub unknown_after: Option<u32>,
    /// States that end the probing until a restart, once a result led to them.
    pub hold: BTreeSet<State>,
    /// No probe runs before this long after the start.
    pub initial_delay: Span,
    /// How long after the start failures don't count, until the first pass.
    pub start_period: Span,
    /// When probes run.
    pub every: Intervals,
    /// With no pass or failure for this long, the state becomes `stale`.
    pub max_age: Option<Span>,
    /// The state when results stay away: failing for a heartbeat, else unknown.
    pub stale: State,
}

/// The time from one probe's start to the next one's, by what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// When nothing is about to change and it is not failing.
    pub normal: Span,
    /// In the start period, before the first pass.
    pub starting: Span,
    /// While it is failing and the last result was no pass.
    pub failing: Span,
    /// While passes are counted that are not enough yet.
    pub rising: Span,
    /// While failures are counted that are not enough yet.
    pub falling: Span,
    /// A random part of up to this many percent is added to each, so that checks don't march in step.
    pub jitter_percent: u32,
}
