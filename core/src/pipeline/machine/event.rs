//! What a run remembers: its events, as they are stored.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::pipeline::check::Pipeline;
use crate::pipeline::spec::{PipelineSpec, When};
use crate::rollout::RolloutEvent;
use crate::service;
use crate::time::Time;

/// A fact about a run. Steps are named, so that a journal can be read without the definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(rename = "Fact")]
pub enum Event {
    /// The run began.
    RunStarted {
        /// The run's id.
        run: String,
        /// The key under which it was started, if any.
        key: Option<String>,
        /// The pipeline as the user defined it.
        #[schemars(with = "PipelineSpec")]
        definition: Arc<Pipeline>,
        /// SHA-256 of the definition, in hexadecimal.
        definition_hash: String,
        /// What the run was given.
        params: Value,
        /// SHA-256 of the params as JSON, in hexadecimal: the same key with other params is another run.
        params_hash: String,
        /// Where chance comes from; below 2^53.
        seed: u64,
        /// How many steps run at a time.
        max_parallel: u32,
        /// The epoch of the driver that started it.
        epoch: u64,
        /// Numbers of the changes of behaviour that the run was started under; see the changelog.
        flags: Vec<u32>,
    },
    /// Another driver took the run up.
    RunResumed {
        /// The driver's epoch.
        epoch: u64,
        /// Whether only to end it, without its program: of its steps only cleanup commands run any more.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ending: bool,
    },
    /// An attempt began.
    StepStarted {
        /// The step.
        step: String,
        /// The attempt's number; the first one is 1.
        attempt: u32,
        /// The attempt's fencing token; a later attempt of the step has a larger one.
        token: u64,
    },
    /// An attempt is to be stopped. Its outcome is recorded when it is gone.
    StepStopping {
        /// The step.
        step: String,
        /// The attempt's number.
        attempt: u32,
        /// Why.
        why: StopWhy,
    },
    /// A step ended, after its last attempt.
    StepFinished {
        /// The step.
        step: String,
        /// The number of the last attempt.
        attempt: u32,
        /// How it ended.
        result: StepResult,
    },
    /// An attempt failed, and there will be another one.
    StepRetrying {
        /// The step.
        step: String,
        /// The attempt that failed.
        attempt: u32,
        /// When the next attempt may start.
        next_attempt_at: Time,
        /// Why it failed.
        why: StepError,
    },
    /// A step will not run.
    StepSkipped {
        /// The step.
        step: String,
        /// Why.
        reason: SkipReason,
    },
    /// An attempt ended without an outcome of its own. The step runs again, or asks.
    StepCutOff {
        /// The step.
        step: String,
        /// The attempt that was cut off.
        attempt: u32,
        /// By what.
        #[serde(default, skip_serializing_if = "CutOff::is_lost")]
        by: CutOff,
    },
    /// A step waits for an answer; see `resolve`.
    StepAsks {
        /// The step.
        step: String,
        /// What it asks.
        question: Question,
    },
    /// A question was answered, or a failed step's result was set by hand.
    StepResolved {
        /// The step.
        step: String,
        /// The answer.
        answer: Answer,
        /// Who answered.
        by: String,
    },
    /// Somebody cancelled the run.
    CancelRequested {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// A command that came from elsewhere, through the inbox, was refused: nothing follows from it.
    CommandRefused {
        /// What was asked, such as `promote`.
        verb: String,
        /// Of which step, if of one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        /// Who asked.
        by: String,
        /// Why it was refused.
        why: String,
    },
    /// Something happened in a step's rollout.
    Rollout {
        /// The step.
        step: String,
        /// What.
        event: Box<RolloutEvent>,
    },
    /// The run ended: every step has.
    RunFinished {
        /// How.
        outcome: RunOutcome,
    },
    /// A run that had ended goes on.
    RunReopened {
        /// Who asked for it.
        by: String,
        /// The driver's epoch.
        epoch: u64,
        /// The steps that run again, in the order of their definition.
        steps: Vec<String>,
    },
}

/// What cut an attempt off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CutOff {
    /// Its outcome will never be known: the driver was killed, or its exit status was lost.
    #[default]
    Lost,
    /// The engine was closed, and stopped it. That counts for nothing, as it is no fault of the step.
    Close,
    /// The engine was closed before it had begun: it took no effect.
    CloseBeforeStart,
}

impl CutOff {
    fn is_lost(&self) -> bool {
        *self == CutOff::Lost
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StepResult {
    /// It succeeded.
    Succeeded {
        /// What it returned; `null` if nothing.
        value: Value,
    },
    /// It failed.
    Failed {
        /// Why.
        error: StepError,
    },
    /// It was stopped, or ended while it waited for its next attempt or for an answer.
    Cancelled {
        /// Why.
        why: StopWhy,
    },
}

/// Why an attempt is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StopWhy {
    /// The attempt took too long.
    Timeout,
    /// All attempts together took too long.
    Deadline,
    /// The run was cancelled.
    Cancelled {
        /// Who cancelled it.
        by: String,
    },
    /// Another step failed, and the pipeline is to stop at the first failure.
    FailFast {
        /// The step that failed.
        step: String,
    },
}

/// Why an attempt failed. Texts come from outside and must be masked before they get here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepError {
    /// One sentence: `exited with code 3`.
    pub message: String,
    /// What kind of failure.
    pub cause: Cause,
    /// More about it, such as a traceback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The last lines that it wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// Whether another attempt would fail as well: it is not repeated, whatever the step's retry says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub permanent: bool,
}

impl StepError {
    /// A failure that another attempt may mend.
    pub fn new(cause: Cause, message: impl Into<String>) -> StepError {
        StepError { message: message.into(), cause, detail: None, last_lines: Vec::new(), permanent: false }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for StopWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopWhy::Timeout => f.write_str("the attempt took too long"),
            StopWhy::Deadline => f.write_str("all attempts together took too long"),
            StopWhy::Cancelled { by } => write!(f, "the run was cancelled by {by}"),
            StopWhy::FailFast { step } => write!(f, "{step} failed, and the pipeline stops at the first failure"),
        }
    }
}

/// What kind of failure ended an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(rename = "StepCause")]
pub enum Cause {
    /// The command exited with a code other than 0.
    ExitCode {
        /// The code.
        code: i32,
    },
    /// A signal ended the command.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// The function raised an exception, returned an error or panicked.
    Exception,
    /// The attempt took too long.
    Timeout,
    /// All attempts together took too long.
    Deadline,
    /// There is no such program, directory, function or secret.
    NotFound,
    /// The operating system refused to start it.
    CanNotStart,
    /// What it returned is not a value that can be stored, or what it was given is not of the type that it takes. A
    /// function's is never tried again.
    BadValue,
    /// It ended and nobody knows how.
    Lost,
    /// Somebody answered that it failed.
    Resolved,
    /// A rollout did not end with its new version promoted.
    RolledBack {
        /// How it ended.
        outcome: service::Outcome,
    },
    /// It contradicts what is recorded, such as a second rollout of one service.
    Refused,
}

/// Why a step will not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SkipReason {
    /// A step that it waits for did not end as it must.
    Need {
        /// The step that it waits for.
        step: String,
        /// How that step ended.
        ended: Ended,
        /// How it had to end.
        when: When,
    },
    /// The run was cancelled before it could start.
    Cancelled {
        /// Who cancelled the run.
        by: String,
    },
    /// Another step failed, and the pipeline is to stop at the first failure.
    FailFast {
        /// The step that failed.
        step: String,
    },
    /// The run was ended without its program, which has the function.
    NoProgram {
        /// The function.
        function: String,
    },
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::Need { step, ended, when: When::Failure } => write!(f, "runs if {step} fails, which {ended}"),
            SkipReason::Need { step, ended, when: _ } => write!(f, "needs {step}, which {ended}"),
            SkipReason::Cancelled { by } => write!(f, "the run was cancelled by {by}"),
            SkipReason::FailFast { step } => write!(f, "{step} failed, and the pipeline stops at the first failure"),
            SkipReason::NoProgram { function } => {
                write!(f, "the run was ended without the program that has the function {function:?}")
            }
        }
    }
}

/// How a step ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "StepEnded")]
pub enum Ended {
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// It did not run.
    Skipped,
    /// It was cancelled.
    Cancelled,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ended::Succeeded => "succeeded",
            Ended::Failed => "failed",
            Ended::Skipped => "was skipped",
            Ended::Cancelled => "was cancelled",
        })
    }
}

/// What a step that waits for an answer asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Question {
    /// It must not run twice, and nobody knows what became of its attempt.
    DidItHappen {
        /// The attempt that was cut off.
        attempt: u32,
    },
    /// It was cut off again and again: it may be what kills the program.
    CutOffTooOften {
        /// How often it was cut off.
        times: u32,
    },
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::DidItHappen { attempt } => {
                write!(f, "attempt {attempt} was cut off and must not run twice by itself: did it take effect?")
            }
            Question::CutOffTooOften { times } => {
                write!(f, "it was cut off {times} times: is it what ends the program, and shall it run again?")
            }
        }
    }
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(rename = "StepAnswer")]
pub enum Answer {
    /// It took effect, with this value.
    Done {
        /// What it would have returned.
        value: Value,
    },
    /// It shall run again.
    RunAgain,
    /// It has failed.
    Fail,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// No step failed that is not allowed to.
    Succeeded,
    /// A step failed.
    Failed,
    /// It was cancelled before it was through.
    Cancelled,
}
