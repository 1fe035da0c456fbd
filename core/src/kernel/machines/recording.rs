//! From what was decided to the batch: events are applied and enqueued, and so is what they decide of rollouts.

use std::path::Path;

use super::{Effect, Kernel, News, Slot, no_run};
use crate::error::{Error, Kind, Result};
use crate::journal::{Append, MAX_BODY, Record, RunIndex, StreamId};
use crate::machine::Machine;
use crate::pipeline::{
    ActionSpec, Cause, CutOff, RunEffect, RunEvent, RunInput, RunMachine, RunOutcome, RunState, StartStep, StepError,
    StepResult, StopWhy,
};
use crate::rollout::{self, Begin, Request, RolloutEvent, RolloutInput, Verb, service_events};
use crate::service::{ServiceEvent, ServiceMachine, ServiceState};
use crate::time::Time;

impl Kernel {
    pub(super) fn record_run(&mut self, run: &StreamId, events: Vec<RunEvent>, now: Time) -> Result<()> {
        // Before anything is applied: what can't be recorded is refused, and nothing else is harmed.
        let records = events.iter().map(|event| record(now, event)).collect::<Result<Vec<_>>>()?;
        let mut nested = Vec::new();
        for (event, record) in events.into_iter().zip(records) {
            let slot = self.runs.get_mut(run).ok_or_else(|| no_run(run))?;
            RunMachine::apply(&mut slot.state, &event, now);
            let effects = RunMachine::effects(&slot.state, &event);
            slot.seq += 1;
            let for_service = service_part(&slot.state, &event);
            let index = index(&event, &slot.state);
            let way_back = slot.state.run().is_some_and(|run| run.rollouts().any(|(_, rollout)| rollout.back));
            self.enqueue(run, record, index, way_back);
            if is_news(&event) {
                self.batch.news.push(News { run: run.clone(), event });
            }
            for effect in effects {
                if self.is_for_rollout(run, &effect) {
                    nested.push(effect);
                } else {
                    self.batch.effects.push(Effect::Run(run.clone(), effect));
                }
            }
            if let Some((service, events)) = for_service {
                self.record_service(&service, events, now)?;
            }
        }
        for effect in nested {
            match effect {
                RunEffect::StartStep(start) => self.begin_rollout(run, &start, now)?,
                RunEffect::StopStep { step, why, .. } => self.stop_rollout(run, step, &why, now)?,
                RunEffect::Rollout { .. } | RunEffect::Sweep { .. } => {}
            }
        }
        Ok(())
    }

    /// Whether an effect is about a step that is a rollout, which the kernel begins and stops itself.
    fn is_for_rollout(&self, run: &StreamId, effect: &RunEffect) -> bool {
        match effect {
            RunEffect::StartStep(start) => {
                matches!(start.action, ActionSpec::Rollout { .. } | ActionSpec::Revert { .. })
            }
            RunEffect::StopStep { step, .. } => {
                self.run(run).and_then(|state| state.run()).is_some_and(|run| run.rollout(step).is_some())
            }
            RunEffect::Rollout { .. } | RunEffect::Sweep { .. } => false,
        }
    }

    /// A rollout claims its service in the same transaction as its own start.
    fn begin_rollout(&mut self, run: &StreamId, start: &StartStep, now: Time) -> Result<()> {
        let input = match self.request(start) {
            Ok((service, request)) => RolloutInput::Begin(Box::new(Begin {
                request,
                service: self.service(&service).cloned().unwrap_or_else(|| ServiceState::new(service)),
                run: run.name().to_owned(),
                step: start.step.clone(),
            })),
            Err(error) => return self.input(run, &start.failed(error), now),
        };
        // Room for the way back, before the first move.
        let begun = self.journal.reserve().and_then(|()| {
            self.input(run, &RunInput::Rollout { step: start.step.clone(), input: Box::new(input) }, now)
        });
        begun.or_else(|error| self.input(run, &start.failed(StepError::refused(&error)), now))
    }

    fn request(&self, start: &StartStep) -> Result<(String, Request), StepError> {
        match &start.action {
            ActionSpec::Rollout { rollout, .. } => {
                let mut release = start.release()?;
                release.dir = self.below_dir(release.dir);
                Ok((rollout.service.clone(), Request::Ship { spec: rollout.clone(), release }))
            }
            ActionSpec::Revert { revert } => Ok((revert.service.clone(), Request::Revert { spec: revert.clone() })),
            ActionSpec::Command { .. } | ActionSpec::Function { .. } => {
                Err(StepError::new(Cause::Refused, "the step is no rollout"))
            }
        }
    }

    /// A release's directory is told to the supervisor, which has another one than the program: a relative one is below
    /// the program's.
    fn below_dir(&self, dir: Option<String>) -> Option<String> {
        match (&self.dir, dir) {
            (Some(own), Some(dir)) => Some(Path::new(own).join(dir).to_string_lossy().into_owned()),
            (own, dir) => dir.or_else(|| own.clone()),
        }
    }

    /// A rollout is stopped by taking it back, promoted or not.
    fn stop_rollout(&mut self, run: &StreamId, step: String, why: &StopWhy, now: Time) -> Result<()> {
        let (by, reason) = match why {
            StopWhy::Cancelled { by } => {
                let said = self.run(run).and_then(RunState::run).map_or("", |run| run.cancel_reason());
                let colon = if said.is_empty() { "" } else { ": " };
                (by.clone(), format!("the run was cancelled{colon}{said}"))
            }
            other => ("tidegate".to_owned(), other.to_string()),
        };
        let input = RolloutInput::Command(rollout::Command { verb: Verb::Revert, by, reason });
        self.input(run, &RunInput::Rollout { step, input: Box::new(input) }, now)
    }

    pub(super) fn record_service(&mut self, service: &str, events: Vec<ServiceEvent>, now: Time) -> Result<()> {
        let stream = StreamId::service(service)?;
        for event in events {
            let slot = self.services.entry(service.to_owned()).or_insert_with(|| Slot {
                state: ServiceState::new(service),
                seq: 0,
                durable: 0,
            });
            ServiceMachine::apply(&mut slot.state, &event, now);
            let effects = ServiceMachine::effects(&slot.state, &event);
            slot.seq += 1;
            self.batch.effects.extend(effects.into_iter().map(|effect| Effect::Service(service.to_owned(), effect)));
            let record = Record::json(now, &event)?;
            self.enqueue(&stream, record, None, false);
        }
        Ok(())
    }

    fn enqueue(&mut self, stream: &StreamId, record: Record, index: Option<RunIndex>, way_back: bool) {
        let append = match self.batch.appends.iter_mut().position(|append| append.stream == *stream) {
            Some(i) => &mut self.batch.appends[i],
            None => {
                let expect = if stream.is_service() {
                    self.services.get(stream.name()).map_or(0, |slot| slot.durable)
                } else {
                    self.runs.get(stream).map_or(0, |slot| slot.durable)
                };
                self.batch.appends.push(Append::new(stream.clone(), expect, Vec::new()));
                let last = self.batch.appends.len() - 1;
                &mut self.batch.appends[last]
            }
        };
        self.batch.events += 1;
        self.batch.bytes += record.body.len();
        append.events.push(record);
        append.way_back |= way_back;
        if index.is_some() {
            append.index = index;
        }
    }
}

/// An event of a run as it will be stored.
fn record(now: Time, event: &RunEvent) -> Result<Record> {
    let record = Record::json(now, event)?;
    if record.body.len() > MAX_BODY {
        return Err(Error::new(Kind::Invalid, "it is too large for the journal")
            .with("bytes", record.body.len())
            .with("limit", MAX_BODY)
            .help("keep bulk in a file, and hand its path or digest over"));
    }
    Ok(record)
}

/// Whether an operator is told: how a run begins and ends, and what went wrong in between.
fn is_news(event: &RunEvent) -> bool {
    match event {
        RunEvent::RunStarted { .. }
        | RunEvent::RunResumed { .. }
        | RunEvent::RunReopened { .. }
        | RunEvent::RunFinished { .. }
        | RunEvent::StepRetrying { .. }
        | RunEvent::StepAsks { .. }
        | RunEvent::StepCutOff { by: CutOff::Lost, .. }
        | RunEvent::StepFinished { result: StepResult::Failed { .. }, .. } => true,
        RunEvent::Rollout { event, .. } => matches!(
            **event,
            RolloutEvent::TurnedBack { .. }
                | RolloutEvent::WorldLost { .. }
                | RolloutEvent::Paused { .. }
                | RolloutEvent::Finished { .. }
        ),
        _ => false,
    }
}

/// What goes to a service's stream in the same commit as an event of a run; `state` has the event folded in.
fn service_part(state: &RunState, event: &RunEvent) -> Option<(String, Vec<ServiceEvent>)> {
    let RunEvent::Rollout { step, event } = event else { return None };
    let rollout = state.run()?.rollout(step)?;
    let service = rollout.start.as_ref()?.terms.service.clone();
    Some((service, service_events(rollout, event)))
}

/// The run's new row in the journal's index, if the event changes it.
fn index(event: &RunEvent, state: &RunState) -> Option<RunIndex> {
    let status = match event {
        RunEvent::RunFinished { outcome: RunOutcome::Succeeded } => "succeeded",
        RunEvent::RunFinished { outcome: RunOutcome::Failed } => "failed",
        RunEvent::RunFinished { outcome: RunOutcome::Cancelled } => "cancelled",
        RunEvent::StepAsks { .. } => "asking",
        RunEvent::RunStarted { .. } | RunEvent::RunReopened { .. } | RunEvent::StepResolved { .. } => "running",
        _ => return None,
    };
    let run = state.run()?;
    Some(RunIndex {
        pipeline: run.pipeline().spec().name.clone(),
        key: run.key().unwrap_or(run.id()).to_owned(),
        started: run.started(),
        status: status.to_owned(),
        finished: run.outcome().is_some(),
    })
}
