//! How a story ended.

use std::collections::BTreeMap;

use crate::pipeline::{Phase, RunState, RunStatus};
use crate::service::{Outcome, Weights};
use crate::simulate::Execution;

/// How a story ended.
#[derive(Debug, Clone)]
pub struct End {
    /// Where its chance came from.
    pub seed: u64,
    /// The runs, in order.
    pub runs: Vec<RunEnd>,
    /// The services, as the world and the journal have them.
    pub services: BTreeMap<String, ServiceEnd>,
    /// Every execution of a step, as the world saw it.
    pub executions: Vec<Execution>,
    /// Every event of every stream as it is stored, one a line: stream, number, time, body.
    pub events: Vec<u8>,
    /// How many appends were made, those that went wrong included.
    pub appends: u64,
    /// How many effects were begun or were about to be.
    pub effects: u64,
    /// How often the driver was killed.
    pub crashes: u32,
    /// What must not be and was, in sentences; empty is good.
    pub broken: Vec<String>,
    /// What was left running of steps, as `run/step`.
    pub left: Vec<String>,
    pub(super) wrote: Vec<String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEnd {
    /// Its key.
    pub key: String,
    /// Where it stands.
    pub status: RunStatus,
    /// How each step ended, in one word.
    pub steps: BTreeMap<String, &'static str>,
    /// How each rollout ended, and why.
    pub rollouts: BTreeMap<String, (Outcome, String)>,
    /// Appends of the story before it.
    pub appends_before: u64,
    /// Effects of the story before it.
    pub effects_before: u64,
}

/// How a service ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEnd {
    /// The version that counts as good.
    pub stable: Option<String>,
    /// The versions that can be reverted to.
    pub kept: Vec<String>,
    /// The run that holds it, if any.
    pub held: Option<String>,
    /// Processes by version.
    pub running: BTreeMap<String, u32>,
    /// Of these, those that are ready.
    pub ready: BTreeMap<String, u32>,
    /// Shares of traffic in force.
    pub weights: Weights,
}

/// What two ends have in common when a crash changed nothing but attempts and time.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Per run: its key and where it stands.
    pub runs: Vec<(String, RunStatus)>,
    /// How steps ended, by `run/step`.
    pub steps: BTreeMap<String, &'static str>,
    /// How rollouts ended, by `run/step`.
    pub rollouts: BTreeMap<String, Outcome>,
    /// The services.
    pub services: BTreeMap<String, ServiceEnd>,
    /// The steps that took effect outside, as `run/step`.
    pub wrote: Vec<String>,
    /// What was left running.
    pub left: Vec<String>,
}

impl End {
    /// What must be equal with and without a crash.
    pub fn picture(&self) -> Picture {
        let named = |run: &RunEnd, step: &str| format!("{}/{step}", run.key);
        let steps = self.runs.iter().flat_map(|run| run.steps.iter().map(move |(step, how)| (named(run, step), *how)));
        let rollouts =
            self.runs.iter().flat_map(|run| run.rollouts.iter().map(move |(step, (how, _))| (named(run, step), *how)));
        Picture {
            runs: self.runs.iter().map(|run| (run.key.clone(), run.status)).collect(),
            steps: steps.collect(),
            rollouts: rollouts.collect(),
            services: self.services.clone(),
            wrote: self.wrote.clone(),
            left: self.left.clone(),
        }
    }
}

impl RunEnd {
    pub(super) fn new(key: &str, state: &RunState, (appends_before, effects_before): (u64, u64)) -> RunEnd {
        let run = state.run();
        let steps = run.iter().flat_map(|run| run.steps()).map(|(name, step)| (name.to_owned(), word(step.phase())));
        let rollouts = run.iter().flat_map(|run| {
            let names = run.steps().map(|(name, _)| name);
            names.filter_map(|name| Some((name.to_owned(), run.rollout(name)?.finished.clone()?)))
        });
        RunEnd {
            key: key.to_owned(),
            status: state.status(),
            steps: steps.collect(),
            rollouts: rollouts.collect(),
            appends_before,
            effects_before,
        }
    }
}

fn word(phase: &Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Running => "running",
        Phase::BackingOff { .. } => "backing off",
        Phase::Asking { .. } => "asking",
        Phase::Succeeded { .. } => "succeeded",
        Phase::Failed { .. } => "failed",
        Phase::Skipped { .. } => "skipped",
        Phase::Cancelled { .. } => "cancelled",
    }
}
