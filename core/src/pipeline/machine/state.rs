//! What is remembered of a run: the fold of its events, indexed so that no decision has to look at every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::pipeline::check::Pipeline;
use crate::pipeline::graph::Need;
use crate::pipeline::machine::event::{Ended, Question, RunOutcome, SkipReason, StepError, StopWhy};
use crate::pipeline::spec::{ActionSpec, Guarantee, When};
use crate::rollout::RolloutState;
use crate::time::{Span, Time};

/// A run, or none yet.
#[derive(Debug, Clone, Default)]
pub struct RunState {
    pub(super) run: Option<Box<Run>>,
}

/// A run that has started.
#[derive(Debug, Clone)]
pub struct Run {
    pub(super) id: String,
    pub(super) key: Option<String>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) started: Time,
    pub(super) params: Arc<Value>,
    pub(super) params_hash: String,
    pub(super) seed: u64,
    pub(super) max_parallel: usize,
    pub(super) epoch: u64,
    pub(super) steps: Vec<Step>,
    /// Steps that can start as soon as a slot is free: nothing that they wait for is open, and no wait is under way.
    pub(super) ready: BTreeSet<usize>,
    /// Steps that hold a slot.
    pub(super) running: BTreeSet<usize>,
    /// Steps whose wait was not over at the last event, by the end of the wait.
    pub(super) backing_off: BTreeSet<(Time, usize)>,
    /// When an attempt or a step takes too long.
    pub(super) alarms: BTreeSet<(Time, usize)>,
    pub(super) asking: BTreeSet<usize>,
    /// What rollout steps remember, from their start on.
    pub(super) rollouts: BTreeMap<usize, RolloutState>,
    /// Steps that have not ended.
    pub(super) left: usize,
    /// Of these, the ones that are not cleanup steps.
    pub(super) ordinary_left: usize,
    /// Steps that failed and are not allowed to.
    pub(super) failed: usize,
    /// Steps that were cancelled, or skipped, since somebody cancelled the run.
    pub(super) cancelled: usize,
    /// Why no ordinary step starts any more.
    pub(super) halt: Option<StopWhy>,
    /// What the person who cancelled the run said.
    pub(super) cancel_reason: String,
    /// Whether it was taken up only to be ended, without its program.
    pub(super) ending: bool,
    pub(super) outcome: Option<RunOutcome>,
}

/// What is remembered of one step.
#[derive(Debug, Clone)]
pub struct Step {
    pub(super) phase: Phase,
    /// How many of its needs are not met yet.
    pub(super) open: usize,
    pub(super) attempt: u32,
    pub(super) token: u64,
    pub(super) failures: u32,
    pub(super) cut_offs: u32,
    pub(super) first_started: Option<Time>,
    pub(super) alarm: Option<Time>,
    pub(super) stopping: Option<StopWhy>,
    /// The last attempt that was cut off, as long as something of it may be left.
    pub(super) leftover: Option<u32>,
    /// The attempt of a `once` step of which nobody knows whether it took effect.
    pub(super) unknown: Option<u32>,
}

/// Where a step stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// It waits for others, or for a slot.
    Waiting,
    /// An attempt runs.
    Running,
    /// An attempt failed; the next one may start at `until`.
    BackingOff {
        /// The end of the wait.
        until: Time,
    },
    /// It waits for an answer.
    Asking {
        /// What it asks.
        question: Question,
    },
    /// It succeeded.
    Succeeded {
        /// What it returned.
        value: Arc<Value>,
    },
    /// It failed.
    Failed {
        /// Why.
        error: Arc<StepError>,
    },
    /// It did not run.
    Skipped {
        /// Why.
        reason: Arc<SkipReason>,
    },
    /// It was cancelled.
    Cancelled {
        /// Why.
        why: StopWhy,
    },
}

impl Phase {
    /// A word for where the step stands. One that waits for its next attempt is `running`.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Running | Phase::BackingOff { .. } => "running",
            Phase::Asking { .. } => "asking",
            Phase::Succeeded { .. } => "succeeded",
            Phase::Failed { .. } => "failed",
            Phase::Skipped { .. } => "skipped",
            Phase::Cancelled { .. } => "cancelled",
        }
    }

    /// How the step ended; `None` if it has not.
    pub fn ended(&self) -> Option<Ended> {
        match self {
            Phase::Waiting | Phase::Running | Phase::BackingOff { .. } | Phase::Asking { .. } => None,
            Phase::Succeeded { .. } => Some(Ended::Succeeded),
            Phase::Failed { .. } => Some(Ended::Failed),
            Phase::Skipped { .. } => Some(Ended::Skipped),
            Phase::Cancelled { .. } => Some(Ended::Cancelled),
        }
    }

    /// Whether somebody's cancelling the run is why it ended.
    pub(super) fn is_cancelled_by_hand(&self) -> bool {
        match self {
            Phase::Cancelled { why } => matches!(why, StopWhy::Cancelled { .. }),
            Phase::Skipped { reason } => matches!(**reason, SkipReason::Cancelled { .. }),
            _ => false,
        }
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStatus {
    /// It has not started.
    New,
    /// Steps run, or will without anybody's help.
    Running,
    /// It stopped: only answers can bring it on.
    Asking,
    /// It ended.
    Finished(RunOutcome),
}

impl RunState {
    /// The run, once it has started.
    pub fn run(&self) -> Option<&Run> {
        self.run.as_deref()
    }

    /// Where the run stands.
    pub fn status(&self) -> RunStatus {
        match self.run() {
            None => RunStatus::New,
            Some(run) => match run.outcome {
                Some(outcome) => RunStatus::Finished(outcome),
                None if run.is_stuck() => RunStatus::Asking,
                None => RunStatus::Running,
            },
        }
    }
}

impl Run {
    /// The run's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key under which it was started.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The pipeline as it was defined when the run started.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// What the run was given.
    pub fn params(&self) -> &Value {
        &self.params
    }

    /// [`super::params_hash`] of the params.
    pub fn params_hash(&self) -> &str {
        &self.params_hash
    }

    /// When it started.
    pub fn started(&self) -> Time {
        self.started
    }

    /// The epoch of the driver that last took it up.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many steps may run at a time.
    pub fn max_parallel(&self) -> usize {
        self.max_parallel
    }

    /// What was said when it was cancelled; empty: nothing, or it was not.
    pub fn cancel_reason(&self) -> &str {
        &self.cancel_reason
    }

    /// How it ended.
    pub fn outcome(&self) -> Option<RunOutcome> {
        self.outcome
    }

    /// A step by name.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.pipeline.graph().index(name).and_then(|i| self.steps.get(i))
    }

    /// All steps with their names, in the order of their definition.
    pub fn steps(&self) -> impl Iterator<Item = (&str, &Step)> {
        self.pipeline.spec().steps.iter().map(|spec| spec.name.as_str()).zip(&self.steps)
    }

    /// How many steps hold a slot.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// The open questions, by step, in the order of definition.
    pub fn questions(&self) -> impl Iterator<Item = (&str, Question)> {
        self.asking.iter().filter_map(|i| match self.steps.get(*i)?.phase {
            Phase::Asking { question } => Some((self.pipeline.name(*i), question)),
            _ => None,
        })
    }

    /// The step's idempotency key: the same for all its attempts.
    pub fn idempotency_key(&self, step: &str) -> String {
        format!("{}/{step}", self.id)
    }

    fn is_stuck(&self) -> bool {
        !self.asking.is_empty() && self.running.is_empty() && self.ready.is_empty() && self.backing_off.is_empty()
    }

    pub(super) fn is_cleanup(&self, step: usize) -> bool {
        self.pipeline.step(step).is_some_and(|step| step.cleanup)
    }

    pub(super) fn is_allowed_to_fail(&self, step: usize) -> bool {
        self.pipeline.step(step).is_some_and(|step| step.allow_failure)
    }

    pub(super) fn is_function(&self, step: usize) -> bool {
        self.function(step).is_some()
    }

    /// The function that a step calls.
    pub(super) fn function(&self, step: usize) -> Option<&str> {
        match &self.pipeline.step(step)?.action {
            ActionSpec::Function { function } => Some(function),
            _ => None,
        }
    }

    pub(super) fn is_once(&self, step: usize) -> bool {
        self.pipeline.step(step).is_some_and(|step| step.guarantee == Guarantee::Once)
    }

    /// When all attempts of a step together take too long.
    pub(super) fn deadline_of(&self, step: usize) -> Option<Time> {
        let span: Span = self.pipeline.limits(step).deadline?;
        Some(self.steps.get(step)?.first_started?.after(span))
    }
}

impl Step {
    pub(super) fn new(open: usize) -> Step {
        Step {
            phase: Phase::Waiting,
            open,
            attempt: 0,
            token: 0,
            failures: 0,
            cut_offs: 0,
            first_started: None,
            alarm: None,
            stopping: None,
            leftover: None,
            unknown: None,
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The number of its last attempt; 0 if it never started.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The fencing token of its last attempt.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// How many attempts were cut off since it last began anew.
    pub fn cut_offs(&self) -> u32 {
        self.cut_offs
    }

    /// Why its attempt is being stopped.
    pub fn stopping(&self) -> Option<&StopWhy> {
        self.stopping.as_ref()
    }
}

/// Whether a need is met by a step that ended.
pub(super) fn meets(need: &Need, ended: Ended, allowed_to_fail: bool) -> bool {
    match need.when {
        _ if need.value => ended == Ended::Succeeded,
        When::Success => ended == Ended::Succeeded || (ended == Ended::Failed && allowed_to_fail),
        When::Failure => ended == Ended::Failed,
        When::Done => true,
    }
}
