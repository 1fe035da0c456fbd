//! What durable events ask of the world.

use serde_json::Value;

use crate::pipeline::machine::event::Event;
use crate::pipeline::machine::input::{Effect, StartStep};
use crate::pipeline::machine::nest;
use crate::pipeline::machine::state::{Phase, Run, RunState, Step};

pub(super) fn effects(state: &RunState, event: &Event) -> Vec<Effect> {
    let Some(run) = state.run() else { return Vec::new() };
    let found = |name: &str| run.pipeline.graph().index(name).and_then(|i| Some((i, run.steps.get(i)?)));
    match event {
        // What was being stopped when the last driver ended is stopped again; what it left behind is swept.
        Event::RunResumed { .. } => pending_where(run, |step| step.stopping.is_some() || step.phase != Phase::Running),
        Event::StepStarted { step, attempt, .. } => found(step)
            .filter(|(_, step)| step.phase == Phase::Running && step.attempt == *attempt)
            .and_then(|(i, step)| start(run, i, step))
            .into_iter()
            .collect(),
        Event::StepStopping { step, attempt, .. } => found(step)
            .filter(|(_, step)| step.phase == Phase::Running && step.attempt == *attempt)
            .and_then(|(i, step)| stop(run, i, step))
            .into_iter()
            .collect(),
        Event::Rollout { step, event } => nest::effects(run, step, event),
        Event::StepCutOff { step, attempt, .. } => vec![Effect::Sweep { step: step.clone(), attempt: *attempt }],
        _ => Vec::new(),
    }
}

/// Every effect that has no recorded outcome.
pub(super) fn pending(state: &RunState) -> Vec<Effect> {
    state
        .run()
        .map_or_else(Vec::new, |run| pending_where(run, |_| true).into_iter().chain(nest::pending(run)).collect())
}

fn pending_where(run: &Run, wanted: impl Fn(&Step) -> bool) -> Vec<Effect> {
    let steps = run.steps.iter().enumerate().filter(|(_, step)| wanted(step));
    steps
        .filter_map(|(i, step)| match (&step.phase, step.leftover) {
            // A rollout was begun, or told to go back, in the very batch that says so; what it asks lasts.
            (Phase::Running, _) if run.rollouts.contains_key(&i) => None,
            (Phase::Running, _) if step.stopping.is_some() => stop(run, i, step),
            (Phase::Running, _) => start(run, i, step),
            (_, Some(attempt)) => Some(Effect::Sweep { step: run.pipeline.name(i).to_owned(), attempt }),
            (_, None) => None,
        })
        .collect()
}

fn start(run: &Run, i: usize, step: &Step) -> Option<Effect> {
    let spec = run.pipeline.step(i)?;
    let value = |on: &usize| match run.steps.get(*on).map(|step| &step.phase) {
        Some(Phase::Succeeded { value }) => (**value).clone(),
        // A need for a value is met by success alone.
        _ => Value::Null,
    };
    Some(Effect::StartStep(StartStep {
        step: spec.name.clone(),
        attempt: step.attempt,
        token: step.token,
        idempotency_key: run.idempotency_key(&spec.name),
        inputs: run.pipeline.graph().inputs(i).iter().map(value).collect(),
        action: spec.action.clone(),
        grace: run.pipeline.limits(i).grace,
        ends_by: step.alarm,
        sweep: step.leftover,
    }))
}

fn stop(run: &Run, i: usize, step: &Step) -> Option<Effect> {
    Some(Effect::StopStep {
        step: run.pipeline.name(i).to_owned(),
        attempt: step.attempt,
        token: step.token,
        why: step.stopping.clone()?,
    })
}
