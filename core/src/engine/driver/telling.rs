//! What an operator is told of runs: once each, when it is durable. The texts are those of events, and masked as these
//! are.

use tracing::{error, info, warn};

use super::Driver;
use crate::kernel::News;
use crate::pipeline::{Cause, Run, RunEvent, RunOutcome, StepResult};
use crate::rollout::RolloutEvent;
use crate::service::Outcome;

impl Driver {
    /// Tells what was committed.
    pub(super) fn tell(&self, news: &[News]) {
        for News { run, event } in news {
            if let Some(run) = self.kernel.run(run).and_then(|state| state.run()) {
                tell(run, event);
            }
        }
    }
}

fn tell(of: &Run, event: &RunEvent) {
    let (run, key, pipeline) = (of.id(), of.key(), of.pipeline().spec().name.as_str());
    match event {
        RunEvent::RunStarted { .. } => info!(run, key, pipeline, "a run started"),
        RunEvent::RunResumed { ending: false, .. } => info!(run, key, pipeline, "a run was taken up"),
        RunEvent::RunResumed { ending: true, .. } => info!(run, key, pipeline, "a run was taken up to be ended"),
        RunEvent::RunReopened { by, .. } => info!(run, key, pipeline, by, "what failed in a run is run again"),
        RunEvent::RunFinished { outcome } => {
            let outcome = match outcome {
                RunOutcome::Succeeded => "succeeded",
                RunOutcome::Failed => "failed",
                RunOutcome::Cancelled => "cancelled",
            };
            info!(run, key, pipeline, outcome, "a run ended");
        }
        RunEvent::StepRetrying { step, attempt, next_attempt_at, why } => {
            warn!(run, key, step, attempt, error = %why, next = %next_attempt_at, "an attempt failed and is tried again");
        }
        RunEvent::StepCutOff { step, attempt, .. } => warn!(run, key, step, attempt, "an attempt was cut off"),
        // Of a rollout's end its own event tells.
        RunEvent::StepFinished { result: StepResult::Failed { error }, .. }
            if matches!(error.cause, Cause::RolledBack { .. }) => {}
        RunEvent::StepFinished { step, attempt, result: StepResult::Failed { error } } => {
            warn!(run, key, step, attempt, %error, "a step failed");
        }
        RunEvent::StepAsks { step, question } => {
            warn!(run, key, step, %question, "a step asks, and its run waits for the answer");
        }
        RunEvent::Rollout { step, event } => tell_rollout(of, step, event),
        _ => {}
    }
}

fn tell_rollout(of: &Run, step: &str, event: &RolloutEvent) {
    let (run, key) = (of.id(), of.key());
    let start = of.rollout(step).and_then(|rollout| rollout.start.as_ref());
    let service = start.map(|start| start.terms.service.as_str());
    let version = start.map(|start| start.version.as_str());
    match event {
        RolloutEvent::TurnedBack { reason, .. } => {
            warn!(run, key, step, service, version, reason, "a rollout turned back");
        }
        RolloutEvent::WorldLost { what } => {
            warn!(run, key, step, service, version, what, "what runs of a service was lost, and is brought back");
        }
        // By somebody: no news to who did it.
        RolloutEvent::Paused { pause } if pause.by.is_none() => {
            warn!(run, key, step, service, version, reason = pause.reason, "a rollout paused, and waits");
        }
        RolloutEvent::Finished { outcome: Outcome::Stuck, reason } => {
            error!(run, key, step, service, version, reason, "a rollout is stuck on its way back");
        }
        RolloutEvent::Finished { outcome, reason } => {
            let outcome = outcome.as_str();
            info!(run, key, step, service, version, outcome, reason, "a rollout ended");
        }
        _ => {}
    }
}
