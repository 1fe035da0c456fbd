//! A run as lines of text, one for each thing that happened.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::counted;
use crate::machine::Machine;
use crate::pipeline::{CutOff, RunEvent, RunMachine, RunOutcome, RunState, StepResult};
use crate::report::figures::took;
use crate::rollout::{Gate, Move, RolloutEvent, RolloutState, doing, ended, percent, slowest};
use crate::time::{Span, Time};

/// Tells a run line by line: which step runs, how traffic is shared, the evidence against its bound, and in one
/// sentence why each rollout ended as it did. It is fed the texts that [`Events`](crate::Events) gives.
#[derive(Debug, Default)]
pub struct Narrator {
    state: RunState,
    began: BTreeMap<String, Time>,
    /// The reason that a rollout's lines gave last, by step. It is told once on the way back, and once at the end.
    reasons: BTreeMap<String, String>,
}

impl Narrator {
    /// Before the first event.
    pub fn new() -> Narrator {
        Narrator::default()
    }

    /// The lines for one event; usually one, often none. What it can't read it passes over.
    pub fn lines(&mut self, event: &str) -> Vec<String> {
        let Ok(value) = serde_json::from_str::<Value>(event) else { return Vec::new() };
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        match text("kind") {
            "output" => return vec![format!("  {} | {}", text("step"), text("line")).trim_end().to_owned()],
            "output_missed" => {
                let missed = value.get("lines").and_then(Value::as_u64).unwrap_or_default();
                return vec![format!("  ... {} missed", counted(missed, "line of output was", "lines of output were"))];
            }
            _ => {}
        }
        let at = text("at").parse::<Time>().unwrap_or_default();
        let Ok(event) = serde_json::from_value::<RunEvent>(value) else { return Vec::new() };
        RunMachine::apply(&mut self.state, &event, at);
        self.line(&event, at).into_iter().collect()
    }

    /// The run as far as it was told.
    pub(super) fn state(&self) -> &RunState {
        &self.state
    }

    fn line(&mut self, event: &RunEvent, at: Time) -> Option<String> {
        Some(match event {
            RunEvent::RunStarted { run, key, definition, .. } => {
                let key = key.as_ref().map(|key| format!(" ({key})")).unwrap_or_default();
                format!("{}{key}: run {run} starts", definition.spec().name)
            }
            RunEvent::RunResumed { ending: false, .. } => "resumed: it goes on where it was".to_owned(),
            RunEvent::RunResumed { ending: true, .. } => "taken up without its program, to be ended".to_owned(),
            RunEvent::StepStarted { step, attempt, .. } => {
                self.began.insert(step.clone(), at);
                let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                format!("{step}: started{again}")
            }
            RunEvent::StepStopping { step, why, .. } => format!("{step}: stopping, {why}"),
            RunEvent::StepFinished { step, result, .. } => {
                let after = self.began.get(step).map(|began| after(at.since(*began))).unwrap_or_default();
                match result {
                    StepResult::Succeeded { .. } => format!("{step}: succeeded{after}"),
                    StepResult::Failed { error } => {
                        let error = error.to_string();
                        let told = self.reasons.get(step).is_some_and(|reason| error.contains(reason.as_str()));
                        if told { format!("{step}: failed{after}") } else { format!("{step}: failed{after}: {error}") }
                    }
                    StepResult::Cancelled { why } => format!("{step}: cancelled{after}: {why}"),
                }
            }
            RunEvent::StepRetrying { step, next_attempt_at, why, .. } => {
                format!("{step}: failed: {why}; tried again in {}", took(next_attempt_at.since(at)))
            }
            RunEvent::StepSkipped { step, reason } => format!("{step}: skipped, {reason}"),
            RunEvent::StepCutOff { step, attempt, by } => {
                let how = match by {
                    CutOff::Lost => "was cut off",
                    CutOff::Close => "was stopped, as the engine closed",
                    CutOff::CloseBeforeStart => "had not begun when the engine closed",
                };
                format!("{step}: attempt {attempt} {how}")
            }
            RunEvent::StepAsks { step, question } => format!("{step}: asks: {question}"),
            RunEvent::StepResolved { step, by, .. } => format!("{step}: resolved by {by}"),
            RunEvent::CancelRequested { by, reason } => format!("cancelled by {by}: {reason}"),
            RunEvent::CommandRefused { verb, step, by, why } => {
                let step = step.as_ref().map(|step| format!("{step}: ")).unwrap_or_default();
                format!("{step}{verb} by {by} was refused: {why}")
            }
            RunEvent::RunReopened { by, steps, .. } => format!("run again by {by}: {}", steps.join(", ")),
            RunEvent::RunFinished { outcome } => match outcome {
                RunOutcome::Succeeded => "the run succeeded".to_owned(),
                RunOutcome::Failed => "the run failed".to_owned(),
                RunOutcome::Cancelled => "the run was cancelled".to_owned(),
            },
            RunEvent::Rollout { step, event } => {
                let event = &**event;
                let rollout = self.state.run()?.rollout(step)?;
                let line = match event {
                    RolloutEvent::TurnedBack { reason, .. } if self.reasons.get(step) == Some(reason) => {
                        "turns back".to_owned()
                    }
                    _ => rollout_line(rollout, event)?,
                };
                if let RolloutEvent::Verdict { sentence: reason, .. }
                | RolloutEvent::TurnedBack { reason, .. }
                | RolloutEvent::Finished { reason, .. } = event
                {
                    self.reasons.insert(step.clone(), reason.clone());
                }
                format!("{step}: {line}")
            }
        })
    }
}

fn rollout_line(state: &RolloutState, event: &RolloutEvent) -> Option<String> {
    let version = state.version();
    Some(match event {
        RolloutEvent::Started { start } => {
            let over = start.from.stable.as_ref().map(|stable| format!(" over {stable}")).unwrap_or_default();
            format!("{} of {} begins{over}", start.version, start.terms.service)
        }
        RolloutEvent::MoveBegan { step, .. } => match step {
            Move::Route { weights } if weights.is_empty() => "no traffic".to_owned(),
            Move::Route { weights } => {
                let share = |(version, share): (&String, &u32)| format!("{version} {}", percent(*share));
                format!("traffic {}", weights.iter().map(share).collect::<Vec<_>>().join(", "))
            }
            Move::Scale { version, replicas: 0 } => format!("{version} ends"),
            Move::Scale { version, replicas } => {
                format!("{version} on {}", counted((*replicas).into(), "process", "processes"))
            }
            Move::Retire { version } => format!("{version} is drained and ends"),
            Move::Gate { gate: Gate::Approval } => "waits for a promotion".to_owned(),
            Move::Gate { .. } => doing(step),
            Move::Promote { .. } => return None,
        },
        RolloutEvent::WindowJudged { counts, latency, .. } => {
            let seen = state.explanation()?;
            let former = state.former().unwrap_or("before");
            let left = match counts.canary.abandoned {
                0 => String::new(),
                left => format!(" and {left} left without an answer"),
            };
            let slowest = slowest(latency, version, former).map(|told| format!("; {told}")).unwrap_or_default();
            format!(
                "{version} {} bad of {}{left}, {former} {} of {}{slowest}; evidence {} of {}",
                counts.canary.errors,
                counts.canary.requests,
                counts.stable.errors,
                counts.stable.requests,
                seen.evidence,
                seen.bound
            )
        }
        RolloutEvent::Verdict { verdict, sentence, .. } => format!("{verdict}: {sentence}"),
        RolloutEvent::Held { why, .. } => format!("held: {why}"),
        RolloutEvent::HoldEnded => "goes on".to_owned(),
        RolloutEvent::GateOpened { by, reason } => {
            let skipped = match state.step() {
                Some(step @ Move::Gate { gate: Gate::Pause { .. } | Gate::Analysis { .. } }) => {
                    format!(" instead of {}", doing(step))
                }
                _ => String::new(),
            };
            let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            format!("promoted on by {by}{skipped}{reason}")
        }
        RolloutEvent::Paused { pause } => format!("paused: {}", pause.reason),
        RolloutEvent::Resumed { by, reason } => format!("resumed by {by}: {reason}"),
        RolloutEvent::TurnedBack { reason, .. } => format!("turns back: {reason}"),
        RolloutEvent::Promoted { version: None, .. } => "the first release is taken back".to_owned(),
        RolloutEvent::WorldLost { what } => format!("lost: {what}; it is brought back"),
        RolloutEvent::WorldRestored => "what was lost is back".to_owned(),
        RolloutEvent::Finished { outcome, reason } => ended(*outcome, reason),
        _ => return None,
    })
}

fn after(span: Span) -> String {
    if span < Span::millis(100) { String::new() } else { format!(" after {}", took(span)) }
}
