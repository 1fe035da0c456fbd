//! What a run is told, and what it asks of the world.

use std::sync::Arc;

use serde_json::Value;

use crate::pipeline::check::Pipeline;
use crate::pipeline::machine::event::{Answer, StepError, StopWhy};
use crate::pipeline::spec::{ActionSpec, PipelineSpec};
use crate::rollout::{RolloutEffect, RolloutInput};
use crate::time::{Span, Time};

/// A command, or something that the world reports.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Begin the run.
    Start {
        /// The run's id: unique in the journal, as idempotency keys are made of it.
        run: String,
        /// The key under which it is started, if any.
        key: Option<String>,
        /// The pipeline, checked.
        definition: Arc<Pipeline>,
        /// What the run is given.
        params: Value,
        /// Where chance comes from; only its lower 53 bits are used, so that every language can read it.
        seed: u64,
        /// How many steps run at a time if the definition does not say: the number of cores.
        cores: u32,
        /// The driver's epoch.
        epoch: u64,
    },
    /// A new driver took the run up: what ran was cut off.
    Resume {
        /// The driver's epoch; higher than that of any driver before.
        epoch: u64,
        /// The pipeline as it is defined now.
        definition: Box<PipelineSpec>,
    },
    /// A new driver took the run up without its program, to end it: what ran was cut off, and of the steps only cleanup
    /// commands start any more. [`Input::Cancel`] is to follow.
    TakeUpToEnd {
        /// The driver's epoch.
        epoch: u64,
    },
    /// An attempt ended, and nothing of it is left running.
    StepOutcome {
        /// The step.
        step: String,
        /// The attempt's number.
        attempt: u32,
        /// The attempt's token.
        token: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// The engine closes: this becomes of an attempt. Nothing starts until the run is taken up again.
    Close {
        /// The step.
        step: String,
        /// The attempt's number.
        attempt: u32,
        /// The attempt's token.
        token: u64,
        /// What became of it.
        found: AtClose,
    },
    /// Cancel the run: stop what runs, skip the rest, clean up.
    Cancel {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// A command from elsewhere was refused; who sent it finds that in the run's events.
    Refuse {
        /// What was asked, such as `promote`.
        verb: String,
        /// Of which step, if of one.
        step: Option<String>,
        /// Who asked.
        by: String,
        /// Why it was refused.
        why: String,
    },
    /// Answer a step's question. Of a run that has ended, the result of a failed step can be set with
    /// [`Answer::Done`]; what was skipped for it then runs.
    Resolve {
        /// The step.
        step: String,
        /// The answer.
        answer: Answer,
        /// Who answers.
        by: String,
    },
    /// Of a run that has ended: run again what failed, was skipped or cancelled, and what waited for it.
    RerunFailed {
        /// Who.
        by: String,
        /// The driver's epoch.
        epoch: u64,
    },
    /// Something for a step's rollout: a command, or what the world reports.
    Rollout {
        /// The step.
        step: String,
        /// What.
        input: Box<RolloutInput>,
    },
    /// Time has passed.
    Tick,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It ended well by itself: before it was told to stop, if it was at all.
    Succeeded {
        /// What it returned.
        value: Value,
    },
    /// It failed.
    Failed {
        /// Why.
        error: StepError,
        /// The wait before the next attempt that the failure itself asks for, instead of the computed one.
        retry_in: Option<Span>,
    },
    /// It was ended since it took longer than its timeout.
    TimedOut,
    /// It was stopped as [`Effect::StopStep`] asked, or is not running any more.
    Stopped,
    /// It ended and nobody can know how: the exit status was taken by somebody else.
    Lost,
}

/// What becomes of an attempt when the engine closes.
#[derive(Debug, Clone, PartialEq)]
pub enum AtClose {
    /// It had not begun.
    NotBegun,
    /// It ended after it was told to stop; what it said of a failure then is taken for the stop's.
    Ended(Outcome),
    /// It was told to stop, and the engine waits no longer. The next driver ends what is left of it.
    Left,
}

/// What a durable event asks of the world. Doing it twice must be the same as doing it once.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Start an attempt, unless it was started by this driver already; report its outcome.
    StartStep(StartStep),
    /// Stop an attempt (SIGTERM to the group, a grace time, SIGKILL) and report its outcome when nothing of it is left
    /// running. If nothing is known of it, end what carries its mark and report [`Outcome::Stopped`].
    StopStep {
        /// The step.
        step: String,
        /// The attempt's number.
        attempt: u32,
        /// The attempt's token.
        token: u64,
        /// Why.
        why: StopWhy,
    },
    /// What a step's rollout asks of the world.
    Rollout {
        /// The step.
        step: String,
        /// What it asks.
        effect: RolloutEffect,
    },
    /// End all that carries the mark of the step with this or an earlier attempt, at once. There is nothing to report.
    Sweep {
        /// The step.
        step: String,
        /// The last attempt to be swept.
        attempt: u32,
    },
}

/// What it takes to start an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct StartStep {
    /// The step.
    pub step: String,
    /// The attempt's number; the first one is 1.
    pub attempt: u32,
    /// The attempt's fencing token.
    pub token: u64,
    /// The step's idempotency key: the same for all its attempts.
    pub idempotency_key: String,
    /// The values of the steps in `inputs`, in that order.
    pub inputs: Vec<Value>,
    /// What to do.
    pub action: ActionSpec,
    /// How long after SIGTERM a command's group is killed.
    pub grace: Span,
    /// When the attempt takes too long. The machine asks for the stop itself; this is for the step to know.
    pub ends_by: Option<Time>,
    /// An earlier attempt that was cut off: what carries its mark, or an earlier one's, must be gone before this one
    /// starts.
    pub sweep: Option<u32>,
}
