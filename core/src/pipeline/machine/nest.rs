//! A rollout within a run: its events are the run's, with the step as path, and its end is the step's end.

use serde_json::json;

use crate::error::{Error, Kind, Result};
use crate::machine::Machine;
use crate::pipeline::machine::decide::{find, settle};
use crate::pipeline::machine::draft::Draft;
use crate::pipeline::machine::event::{Cause, Event, StepError};
use crate::pipeline::machine::input::{Effect, Input, Outcome, StartStep};
use crate::pipeline::machine::state::{Phase, Run};
use crate::pipeline::spec::ActionSpec;
use crate::rollout::{REVERT_ANEW, RolloutEvent, RolloutInput, RolloutMachine, RolloutState};
use crate::service::{self, Release};
use crate::time::Time;

/// What follows from an input to a step's rollout.
pub(super) fn decide(draft: &mut Draft<'_>, run: &Run, step: &str, input: &RolloutInput, now: Time) -> Result<()> {
    let i = find(run, step)?;
    if !run.is_rollout(i) {
        return Err(Error::new(Kind::Invalid, "the step is no rollout").with("run", &run.id).with("step", step));
    }
    let phase = run.steps.get(i).map(|known| &known.phase);
    if phase != Some(&Phase::Running) {
        let (what, help) = match phase.and_then(Phase::ended) {
            Some(_) => ("the rollout is over", REVERT_ANEW),
            None => ("the rollout has not begun", "send it again once its step has started"),
        };
        return Err(Error::new(Kind::Conflict, what).with("run", &run.id).with("step", step).help(help));
    }
    follow(draft, run, i, input, now)
}

/// What follows from time going on.
pub(super) fn tick(draft: &mut Draft<'_>, run: &Run, now: Time) -> Result<()> {
    let due = |state: &&RolloutState| RolloutMachine::deadline(state).is_some_and(|deadline| deadline <= now);
    let due: Vec<usize> = run.rollouts.iter().filter(|(_, state)| due(state)).map(|(i, _)| *i).collect();
    due.into_iter().try_for_each(|i| follow(draft, run, i, &RolloutInput::Tick, now))
}

fn follow(draft: &mut Draft<'_>, run: &Run, i: usize, input: &RolloutInput, now: Time) -> Result<()> {
    let new = RolloutState::default();
    let state = run.rollouts.get(&i).unwrap_or(&new);
    let mut outcome = None;
    for event in RolloutMachine::decide(state, input, now)? {
        if let RolloutEvent::Finished { outcome: ended, reason } = &event {
            outcome = Some(step_outcome(*ended, reason, state, input));
        }
        draft.push(Event::Rollout { step: run.pipeline.name(i).to_owned(), event: Box::new(event) });
    }
    if let Some(outcome) = outcome {
        settle(draft, run, i, &outcome);
    }
    Ok(())
}

/// A rollout's end as the step's. What it shipped is known from its start, or from the input that begins it.
fn step_outcome(ended: service::Outcome, reason: &str, state: &RolloutState, input: &RolloutInput) -> Outcome {
    let version = match (&state.start, input) {
        (Some(start), _) => Some(start.version.clone()),
        (None, _) => None,
    };
    match ended {
        service::Outcome::Promoted => {
            Outcome::Succeeded { value: json!({ "outcome": ended.as_str(), "version": version, "reason": reason }) }
        }
        _ => {
            let cause = Cause::RolledBack { outcome: ended };
            let error = StepError { permanent: true, ..StepError::new(cause, reason) };
            Outcome::Failed { error, retry_in: None }
        }
    }
}

/// The rollouts' effects for an event, or those that have no recorded outcome.
pub(super) fn effects(run: &Run, step: &str, event: &RolloutEvent) -> Vec<Effect> {
    let state = run.pipeline.graph().index(step).and_then(|i| run.rollouts.get(&i));
    state.map_or_else(Vec::new, |state| wrap(step, RolloutMachine::effects(state, event)))
}

pub(super) fn pending(run: &Run) -> impl Iterator<Item = Effect> + '_ {
    run.rollouts.iter().flat_map(|(i, state)| wrap(run.pipeline.name(*i), RolloutMachine::pending(state)))
}

fn wrap(step: &str, effects: Vec<crate::rollout::RolloutEffect>) -> Vec<Effect> {
    effects.into_iter().map(|effect| Effect::Rollout { step: step.to_owned(), effect }).collect()
}

impl Run {
    pub(super) fn is_rollout(&self, i: usize) -> bool {
        self.pipeline
            .step(i)
            .is_some_and(|step| matches!(step.action, ActionSpec::Rollout { .. } | ActionSpec::Revert { .. }))
    }

    /// The rollout of a step, once it has begun.
    pub fn rollout(&self, step: &str) -> Option<&RolloutState> {
        self.pipeline.graph().index(step).and_then(|i| self.rollouts.get(&i))
    }

    /// The rollouts that are under way, by step.
    pub fn rollouts(&self) -> impl Iterator<Item = (&str, &RolloutState)> {
        let running = self.rollouts.iter().filter(|(i, _)| self.running.contains(i));
        running.map(|(i, state)| (self.pipeline.name(*i), state))
    }
}

impl StartStep {
    /// The release that a rollout step ships: its own, or the first value that it is given.
    ///
    /// # Errors
    /// When that value is no release.
    pub fn release(&self) -> std::result::Result<Release, StepError> {
        if let ActionSpec::Rollout { release: Some(release), .. } = &self.action {
            return Ok(release.clone());
        }
        let value = self.inputs.first().cloned().unwrap_or_default();
        serde_json::from_value(value).map_err(|error| {
            let message = format!("what the rollout is to ship is no release (version, command, env, dir): {error}");
            StepError { permanent: true, ..StepError::new(Cause::BadValue, message) }
        })
    }

    /// The report that this attempt failed.
    pub fn failed(&self, error: StepError) -> Input {
        Input::StepOutcome {
            step: self.step.clone(),
            attempt: self.attempt,
            token: self.token,
            outcome: Outcome::Failed { error, retry_in: None },
        }
    }
}

impl StepError {
    /// A step that could not begin, with the error that says why; another attempt would fail as well.
    pub fn refused(error: &Error) -> StepError {
        StepError { permanent: true, ..StepError::new(Cause::Refused, error.to_string()) }
    }
}
