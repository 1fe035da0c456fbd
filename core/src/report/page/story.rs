//! What happened in a run, as a page needs it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::analysis::WindowCounts;
use crate::machine::Machine;
use crate::pipeline::{CutOff, Phase, RunEvent, RunMachine, RunOutcome, RunState, StepResult};
use crate::rollout::{Move, RolloutEvent, WindowLatency, ended};
use crate::time::Time;

/// A run, folded from its events.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) state: RunState,
    /// The attempts of every step that began, in order.
    pub(super) attempts: BTreeMap<String, Vec<Attempt>>,
    pub(super) rollouts: BTreeMap<String, RolloutStory>,
    /// When the last event came.
    pub(super) last: Time,
}

/// One attempt of a step.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) number: u32,
    pub(super) began: Time,
    /// When and how it ended; `None` while it runs.
    pub(super) ended: Option<(Time, &'static str)>,
}

/// What a rollout's charts are drawn from.
#[derive(Debug, Default)]
pub(super) struct RolloutStory {
    /// Hundredths of a percent by version, from that time on.
    pub(super) weights: Vec<(Time, BTreeMap<String, u32>)>,
    pub(super) windows: Vec<Window>,
    /// What it did and why, a sentence each.
    pub(super) told: Vec<(Time, String)>,
    /// Why it ended as it did.
    pub(super) end: Option<(Time, String)>,
}

/// One judged window, and the evidence after it.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) at: Time,
    pub(super) counts: WindowCounts,
    pub(super) latency: WindowLatency,
    pub(super) evidence: f64,
    pub(super) bound: f64,
}

impl Story {
    /// Takes the next event; what can't be read is passed over.
    pub(super) fn take(&mut self, text: &str) {
        let Ok(value) = serde_json::from_str::<Value>(text) else { return };
        let at = value.get("at").and_then(Value::as_str).and_then(|at| at.parse().ok()).unwrap_or_default();
        let Ok(event) = serde_json::from_value::<RunEvent>(value) else { return };
        RunMachine::apply(&mut self.state, &event, at);
        self.last = self.last.max(at);
        match &event {
            RunEvent::StepStarted { step, attempt, .. } => {
                let attempts = self.attempts.entry(step.clone()).or_default();
                attempts.push(Attempt { number: *attempt, began: at, ended: None });
            }
            RunEvent::StepFinished { step, result, .. } => self.end(
                step,
                at,
                match result {
                    StepResult::Succeeded { .. } => "succeeded",
                    StepResult::Failed { .. } => "failed",
                    StepResult::Cancelled { .. } => "cancelled",
                },
            ),
            RunEvent::StepRetrying { step, .. } => self.end(step, at, "failed"),
            RunEvent::StepCutOff { step, by, .. } => {
                self.end(step, at, if matches!(by, CutOff::Lost) { "cut off" } else { "stopped" });
            }
            RunEvent::Rollout { step, event } => self.rollout(step, event, at),
            _ => {}
        }
    }

    fn end(&mut self, step: &str, at: Time, how: &'static str) {
        if let Some(attempt) = self.attempts.get_mut(step).and_then(|attempts| attempts.last_mut()) {
            attempt.ended.get_or_insert((at, how));
        }
    }

    fn rollout(&mut self, step: &str, event: &RolloutEvent, at: Time) {
        let state = self.state.run().and_then(|run| run.rollout(step));
        let story = self.rollouts.entry(step.to_owned()).or_default();
        match event {
            RolloutEvent::Started { start } => story.weights.push((at, start.from.weights.clone())),
            RolloutEvent::MoveBegan { step: Move::Route { weights }, .. } => story.weights.push((at, weights.clone())),
            RolloutEvent::WindowJudged { counts, latency, .. } => {
                if let Some(seen) = state.and_then(|state| state.explanation()) {
                    let (evidence, bound) = (seen.evidence, seen.bound);
                    story.windows.push(Window { at, counts: *counts, latency: *latency, evidence, bound });
                }
            }
            RolloutEvent::Verdict { sentence, .. } => story.told.push((at, sentence.clone())),
            RolloutEvent::TurnedBack { reason, .. } => {
                // A verdict has said why.
                let told = story.told.last().is_some_and(|(_, told)| told == reason);
                story.told.push((at, if told { "turns back".to_owned() } else { format!("turns back: {reason}") }));
            }
            RolloutEvent::Paused { pause } => story.told.push((at, format!("paused: {}", pause.reason))),
            RolloutEvent::Resumed { by, reason } => story.told.push((at, format!("resumed by {by}: {reason}"))),
            RolloutEvent::GateOpened { by, .. } => story.told.push((at, format!("promoted on by {by}"))),
            RolloutEvent::Held { why, .. } => story.told.push((at, format!("held: {why}"))),
            RolloutEvent::WorldLost { what } => story.told.push((at, format!("lost: {what}"))),
            RolloutEvent::WorldRestored => story.told.push((at, "what was lost is back".to_owned())),
            RolloutEvent::Finished { outcome, reason } => story.end = Some((at, ended(*outcome, reason))),
            _ => {}
        }
    }

    pub(super) fn began(&self) -> Time {
        self.state.run().map(|run| run.started()).unwrap_or_default()
    }

    /// A word for how the run stands.
    pub(super) fn status(&self) -> &'static str {
        match self.state.run().and_then(|run| run.outcome()) {
            Some(RunOutcome::Succeeded) => "succeeded",
            Some(RunOutcome::Failed) => "failed",
            Some(RunOutcome::Cancelled) => "cancelled",
            None if self.state.run().is_some_and(|run| run.questions().next().is_some()) => "asking",
            None => "running",
        }
    }

    /// Why the run ended as it did, or where it stands, in one sentence.
    pub(super) fn sentence(&self) -> String {
        let Some(run) = self.state.run() else { return String::new() };
        let first = |wanted: fn(&Phase) -> Option<String>| {
            run.steps().find_map(|(name, step)| Some(format!("{name}: {}", wanted(step.phase())?)))
        };
        let failure = |phase: &Phase| match phase {
            Phase::Failed { error } => Some(error.message.clone()),
            _ => None,
        };
        let question = |phase: &Phase| match phase {
            Phase::Asking { question } => Some(question.to_string()),
            _ => None,
        };
        let reason = match run.outcome() {
            Some(RunOutcome::Succeeded) => None,
            Some(RunOutcome::Failed) => first(failure),
            Some(RunOutcome::Cancelled) => Some(run.cancel_reason().to_owned()).filter(|reason| !reason.is_empty()),
            None => first(question),
        };
        // A rollout's own sentence is the reason of its step.
        let ends = self.rollouts.values().filter_map(|rollout| Some(rollout.end.as_ref()?.1.clone()));
        reason.unwrap_or_else(|| ends.collect::<Vec<_>>().join(" "))
    }
}
