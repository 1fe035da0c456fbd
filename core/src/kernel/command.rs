//! Commands to a run: from the API, from the command line, from another process through the inbox.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Kind};
use crate::journal::StreamId;
use crate::pipeline::{Answer, RunInput};
use crate::rollout::{self, REVERT_ANEW, RolloutInput, Verb};

/// A command to a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Stop what runs, skip the rest, clean up; rollouts go back.
    Cancel {
        /// Who says so.
        by: String,
        /// Why.
        reason: String,
    },
    /// Answer a step's question, while its run waits for that. A run that has ended takes no answers: start it again
    /// with `rerun_failed`.
    Resolve {
        /// The step.
        step: String,
        /// The answer.
        answer: StepAnswer,
        /// Who says so.
        by: String,
    },
    /// Skip what a rollout waits for now: an approval, a bake or analysis before its time, or the readiness of an old
    /// version that is sick, never the new version's; also go on with a paused one. Gates that come later still wait,
    /// so that a promotion sent during a bake does not open the approval after it. Refused while the rollout waits for
    /// none of these.
    Promote {
        /// The rollout's step.
        step: String,
        /// Who says so.
        by: String,
        /// Why.
        reason: String,
    },
    /// Begin no further move of a rollout until it is resumed.
    Pause {
        /// The rollout's step.
        step: String,
        /// Who says so.
        by: String,
        /// Why.
        reason: String,
    },
    /// Go on with a paused rollout.
    Resume {
        /// The rollout's step.
        step: String,
        /// Who says so.
        by: String,
        /// Why.
        reason: String,
    },
    /// Take back a rollout whose version is not promoted yet; it wins over every pause and gate. Refused after that:
    /// see `revert`.
    Abort {
        /// The rollout's step.
        step: String,
        /// Who says so.
        by: String,
        /// Why.
        reason: String,
    },
    /// Take back a rollout that is under way, also when its version is promoted and the old one is kept: the old one
    /// gets all traffic and is the stable one again. Before the promotion it is the same as an abort. After the
    /// rollout's end a run with a revert step does it.
    Revert {
        /// The rollout's step.
        step: String,
        /// Who says so.
        by: String,
        /// Why.
        reason: String,
    },
}

/// The answer to a step that stopped and asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum StepAnswer {
    /// It took effect, with this value.
    Done {
        /// What it would have returned.
        #[serde(default)]
        value: Value,
    },
    /// It shall run again.
    RunAgain,
    /// It has failed.
    Fail,
}

impl Command {
    /// Its verb, the step that it is for, and who says so.
    pub(crate) fn told(&self) -> (&'static str, Option<&str>, &str) {
        match self {
            Command::Cancel { by, .. } => ("cancel", None, by),
            Command::Resolve { step, by, .. } => ("resolve", Some(step), by),
            Command::Promote { step, by, .. } => ("promote", Some(step), by),
            Command::Pause { step, by, .. } => ("pause", Some(step), by),
            Command::Resume { step, by, .. } => ("resume", Some(step), by),
            Command::Abort { step, by, .. } => ("abort", Some(step), by),
            Command::Revert { step, by, .. } => ("revert", Some(step), by),
        }
    }

    /// What its sender wrote, but for the value of an answer.
    pub(crate) fn words(&mut self) -> Vec<&mut String> {
        match self {
            Command::Cancel { by, reason } => vec![by, reason],
            Command::Promote { step, by, reason }
            | Command::Pause { step, by, reason }
            | Command::Resume { step, by, reason }
            | Command::Abort { step, by, reason }
            | Command::Revert { step, by, reason } => vec![step, by, reason],
            Command::Resolve { step, by, .. } => vec![step, by],
        }
    }

    /// Why it is not sent to a run that has ended.
    pub(crate) fn after_the_end(&self, run: &StreamId) -> Error {
        let help = match self {
            Command::Abort { .. } | Command::Revert { .. } => REVERT_ANEW,
            _ => "what failed, was skipped or cancelled runs again when it is started under its key with rerun_failed",
        };
        Error::new(Kind::Conflict, "the run has ended, and takes no commands").with("run", run.name()).help(help)
    }

    /// The input that the run's machine takes.
    pub(crate) fn input(self) -> RunInput {
        let (step, verb, by, reason) = match self {
            Command::Cancel { by, reason } => return RunInput::Cancel { by, reason },
            Command::Resolve { step, answer, by } => {
                let answer = match answer {
                    StepAnswer::Done { value } => Answer::Done { value },
                    StepAnswer::RunAgain => Answer::RunAgain,
                    StepAnswer::Fail => Answer::Fail,
                };
                return RunInput::Resolve { step, answer, by };
            }
            Command::Promote { step, by, reason } => (step, Verb::Promote, by, reason),
            Command::Pause { step, by, reason } => (step, Verb::Pause, by, reason),
            Command::Resume { step, by, reason } => (step, Verb::Resume, by, reason),
            Command::Abort { step, by, reason } => (step, Verb::Abort, by, reason),
            Command::Revert { step, by, reason } => (step, Verb::Revert, by, reason),
        };
        RunInput::Rollout { step, input: Box::new(RolloutInput::Command(rollout::Command { verb, by, reason })) }
    }
}
