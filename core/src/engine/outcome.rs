//! How a run ended, as users see it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::define::StepRef;
use crate::error::{Error, Kind, Result};
use crate::pipeline::{Phase, Run, RunOutcome, RunState, RunStatus};

/// How a run ended, or where it stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// The run's id.
    pub run: String,
    /// The key under which it was started.
    pub key: Option<String>,
    /// How it ended.
    pub status: Status,
    /// Every step, by name.
    pub steps: BTreeMap<String, StepOutcome>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// No step failed that is not allowed to.
    Succeeded,
    /// A step failed.
    Failed,
    /// It was cancelled before it was through.
    Cancelled,
    /// It stopped and asks: see `resolve`.
    Asking,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepOutcome {
    /// How it ended.
    pub status: StepStatus,
    /// How many attempts were begun.
    pub attempts: u32,
    /// What it returned.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
    /// Why it failed, was skipped or cancelled, or what it asks; one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// More about a failure, such as a traceback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The last lines that a failed command wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// It has not started.
    Waiting,
    /// It runs, or waits for its next attempt.
    Running,
    /// It stopped and asks.
    Asking,
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// It did not run.
    Skipped,
    /// It was cancelled.
    Cancelled,
}

impl Outcome {
    /// The outcome of a run that ended or stopped to ask; `None` while it goes on.
    pub(crate) fn of(state: &RunState) -> Option<Outcome> {
        let run = state.run()?;
        let status = match state.status() {
            RunStatus::New | RunStatus::Running => return None,
            RunStatus::Asking => Status::Asking,
            RunStatus::Finished(RunOutcome::Succeeded) => Status::Succeeded,
            RunStatus::Finished(RunOutcome::Failed) => Status::Failed,
            RunStatus::Finished(RunOutcome::Cancelled) => Status::Cancelled,
        };
        let steps = StepOutcome::all(state);
        Some(Outcome { run: run.id().to_owned(), key: run.key().map(str::to_owned), status, steps })
    }

    /// Whether it succeeded.
    pub fn succeeded(&self) -> bool {
        self.status == Status::Succeeded
    }

    /// What a step returned, decoded from what the journal holds.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such step or it did not succeed; [`Kind::Invalid`] when its value is of
    /// another type.
    pub fn value<T: DeserializeOwned>(&self, step: &StepRef<T>) -> Result<T> {
        let outcome = self.steps.get(step.name()).filter(|outcome| outcome.status == StepStatus::Succeeded);
        let value = outcome
            .map(|outcome| outcome.value.clone())
            .ok_or_else(|| Error::new(Kind::NotFound, "the step has no value").with("step", step.name()))?;
        serde_json::from_value(value).map_err(|error| {
            Error::new(Kind::Invalid, "the step's value is of another type").with("step", step.name()).because(error)
        })
    }

    /// The outcome itself if the run succeeded, else what went wrong as an error.
    ///
    /// # Errors
    /// [`Kind::Failed`], [`Kind::Cancelled`] or [`Kind::NeedsAnswer`], with the first step that explains it.
    pub fn ok(self) -> Result<Outcome> {
        let (kind, what, wanted) = match self.status {
            Status::Succeeded => return Ok(self),
            Status::Failed => (Kind::Failed, "the run failed", StepStatus::Failed),
            Status::Cancelled => (Kind::Cancelled, "the run was cancelled", StepStatus::Cancelled),
            Status::Asking => (Kind::NeedsAnswer, "the run stopped and asks", StepStatus::Asking),
        };
        let mut error = Error::new(kind, what).with("run", &self.run);
        if let Some((name, step)) = self.steps.iter().find(|(_, step)| step.status == wanted) {
            error = error.with("step", name);
            if let Some(reason) = &step.reason {
                error = error.because(reason.clone());
            }
        }
        Err(match kind {
            Kind::NeedsAnswer => error.help("answer with resolve(step, done | run_again | fail)"),
            Kind::Failed => error.help("mend it, then rerun_failed under the same key: finished steps don't run again"),
            _ => error,
        })
    }
}

impl StepOutcome {
    /// Where every step of a run stands, by name.
    pub(super) fn all(state: &RunState) -> BTreeMap<String, StepOutcome> {
        let steps = state.run().into_iter().flat_map(Run::steps);
        steps.map(|(name, step)| (name.to_owned(), step_outcome(step.phase(), step.attempt()))).collect()
    }
}

fn step_outcome(phase: &Phase, attempts: u32) -> StepOutcome {
    let plain = |status| StepOutcome {
        status,
        attempts,
        value: Value::Null,
        reason: None,
        detail: None,
        last_lines: Vec::new(),
    };
    match phase {
        Phase::Waiting => plain(StepStatus::Waiting),
        Phase::Running | Phase::BackingOff { .. } => plain(StepStatus::Running),
        Phase::Asking { question } => StepOutcome { reason: Some(question.to_string()), ..plain(StepStatus::Asking) },
        Phase::Succeeded { value } => StepOutcome { value: (**value).clone(), ..plain(StepStatus::Succeeded) },
        Phase::Failed { error } => StepOutcome {
            reason: Some(error.message.clone()),
            detail: error.detail.clone(),
            last_lines: error.last_lines.clone(),
            ..plain(StepStatus::Failed)
        },
        Phase::Skipped { reason } => StepOutcome { reason: Some(reason.to_string()), ..plain(StepStatus::Skipped) },
        Phase::Cancelled { why } => StepOutcome { reason: Some(why.to_string()), ..plain(StepStatus::Cancelled) },
    }
}
