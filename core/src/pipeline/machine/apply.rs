//! How an event changes what is remembered. Total: what does not fit is left as it is.

use std::sync::Arc;

use crate::machine::Machine;
use crate::pipeline::machine::event::{Answer, Cause, CutOff, Event, StepError, StepResult, StopWhy};
use crate::pipeline::machine::state::{Phase, Run, RunState, Step, meets};
use crate::rollout::RolloutMachine;
use crate::time::Time;

pub(super) fn apply(state: &mut RunState, event: &Event, at: Time) {
    if let Event::RunStarted { .. } = event {
        if let Some(run) = started(event, at) {
            state.run = Some(Box::new(run));
        }
        return;
    }
    let Some(run) = state.run.as_deref_mut() else { return };
    run.wake(at);
    match event {
        Event::RunStarted { .. } => {}
        Event::RunResumed { epoch, ending } => (run.epoch, run.ending) = (*epoch, *ending),
        Event::StepStarted { step, attempt, token } => run.on(step, |run, i| run.start(i, *attempt, *token, at)),
        Event::StepStopping { step, attempt: _, why } => run.on(step, |run, i| {
            run.set_alarm(i, None);
            run.change(i, |step| step.stopping = Some(why.clone()));
        }),
        Event::StepFinished { step, attempt: _, result } => run.on(step, |run, i| run.finish(i, result)),
        Event::StepRetrying { step, attempt: _, next_attempt_at: until, why: _ } => run.on(step, |run, i| {
            run.enter(i, Phase::BackingOff { until: *until });
            run.change(i, |step| {
                step.failures = step.failures.saturating_add(1);
                step.leftover = None;
            });
            if *until <= at {
                run.ready.insert(i);
            } else {
                run.backing_off.insert((*until, i));
            }
            let deadline = run.deadline_of(i);
            run.set_alarm(i, deadline);
        }),
        Event::StepSkipped { step, reason } => run.on(step, |run, i| {
            run.enter(i, Phase::Skipped { reason: Arc::new(reason.clone()) });
            run.ended(i);
        }),
        Event::StepCutOff { step, attempt, by } => run.on(step, |run, i| {
            let unknown = run.is_once(i) && *by != CutOff::CloseBeforeStart;
            run.enter(i, Phase::Waiting);
            run.ready.insert(i);
            run.change(i, |step| {
                step.cut_offs = step.cut_offs.saturating_add(u32::from(*by == CutOff::Lost));
                step.leftover = Some(*attempt);
                step.unknown = unknown.then_some(*attempt);
            });
            let deadline = run.deadline_of(i);
            run.set_alarm(i, deadline);
        }),
        Event::StepAsks { step, question } => run.on(step, |run, i| {
            run.enter(i, Phase::Asking { question: *question });
            run.asking.insert(i);
        }),
        Event::StepResolved { step, answer, by } => run.on(step, |run, i| run.resolve(i, answer, by)),
        Event::CancelRequested { by, reason } => {
            run.halt = Some(StopWhy::Cancelled { by: by.clone() });
            run.cancel_reason.clone_from(reason);
        }
        Event::CommandRefused { .. } => {}
        Event::Rollout { step, event } => run.on(step, |run, i| {
            RolloutMachine::apply(run.rollouts.entry(i).or_default(), event, at);
        }),
        Event::RunFinished { outcome } => run.outcome = Some(*outcome),
        Event::RunReopened { by: _, epoch, steps } => {
            run.epoch = run.epoch.max(*epoch);
            run.ending = false;
            run.reopen(steps);
        }
    }
}

fn started(event: &Event, at: Time) -> Option<Run> {
    let Event::RunStarted { run, key, definition, params, params_hash, seed, max_parallel, epoch, .. } = event else {
        return None;
    };
    let pipeline = Arc::clone(definition);
    let mut run = Run {
        id: run.clone(),
        key: key.clone(),
        started: at,
        params: Arc::new(params.clone()),
        params_hash: params_hash.clone(),
        seed: *seed,
        max_parallel: usize::try_from(*max_parallel).unwrap_or(usize::MAX).max(1),
        epoch: *epoch,
        steps: (0..pipeline.graph().len()).map(|i| Step::new(pipeline.graph().needs(i).len())).collect(),
        ready: Default::default(),
        running: Default::default(),
        backing_off: Default::default(),
        alarms: Default::default(),
        asking: Default::default(),
        rollouts: Default::default(),
        left: pipeline.graph().len(),
        ordinary_left: pipeline.spec().steps.iter().filter(|step| !step.cleanup).count(),
        failed: 0,
        cancelled: 0,
        halt: None,
        cancel_reason: String::new(),
        ending: false,
        outcome: None,
        pipeline,
    };
    for i in 0..run.steps.len() {
        run.recount(i);
    }
    Some(run)
}

impl Run {
    /// Waits that are over by now make their steps ready.
    fn wake(&mut self, now: Time) {
        while let Some(&(until, i)) = self.backing_off.first() {
            if until > now {
                break;
            }
            self.backing_off.remove(&(until, i));
            self.ready.insert(i);
        }
    }

    fn on(&mut self, step: &str, f: impl FnOnce(&mut Run, usize)) {
        if let Some(i) = self.pipeline.graph().index(step) {
            f(self, i);
        }
    }

    fn change(&mut self, i: usize, f: impl FnOnce(&mut Step)) {
        if let Some(step) = self.steps.get_mut(i) {
            f(step);
        }
    }

    fn set_alarm(&mut self, i: usize, alarm: Option<Time>) {
        if let Some(step) = self.steps.get_mut(i) {
            if let Some(before) = std::mem::replace(&mut step.alarm, alarm) {
                self.alarms.remove(&(before, i));
            }
            if let Some(alarm) = alarm {
                self.alarms.insert((alarm, i));
            }
        }
    }

    /// Takes a step out of every index and gives it a phase.
    fn enter(&mut self, i: usize, phase: Phase) {
        self.set_alarm(i, None);
        self.ready.remove(&i);
        self.running.remove(&i);
        self.asking.remove(&i);
        if let Some(step) = self.steps.get_mut(i) {
            if let Phase::BackingOff { until } = step.phase {
                self.backing_off.remove(&(until, i));
            }
            step.stopping = None;
            step.phase = phase;
        }
    }

    fn start(&mut self, i: usize, attempt: u32, token: u64, at: Time) {
        self.enter(i, Phase::Running);
        self.running.insert(i);
        self.rollouts.remove(&i);
        self.change(i, |step| {
            step.attempt = attempt;
            step.token = token;
            step.first_started.get_or_insert(at);
        });
        let timeout = self.pipeline.limits(i).timeout.map(|timeout| at.after(timeout));
        let alarm = timeout.into_iter().chain(self.deadline_of(i)).min();
        self.set_alarm(i, alarm);
    }

    fn finish(&mut self, i: usize, result: &StepResult) {
        let phase = match result {
            StepResult::Succeeded { value } => Phase::Succeeded { value: Arc::new(value.clone()) },
            StepResult::Failed { error } => Phase::Failed { error: Arc::new(error.clone()) },
            StepResult::Cancelled { why } => Phase::Cancelled { why: why.clone() },
        };
        let failed = matches!(phase, Phase::Failed { .. });
        // A step that ends from a question leaves what may be left of its attempt to be swept.
        let ran = self.running.contains(&i);
        self.enter(i, phase);
        if ran {
            self.change(i, |step| {
                step.leftover = None;
                step.unknown = None;
            });
        }
        if failed && self.halts_at(i) {
            self.halt = Some(StopWhy::FailFast { step: self.pipeline.name(i).to_owned() });
        }
        self.ended(i);
    }

    /// Whether the failure of a step stops the run.
    pub(super) fn halts_at(&self, i: usize) -> bool {
        self.pipeline.spec().fail_fast && self.halt.is_none() && !self.is_cleanup(i) && !self.is_allowed_to_fail(i)
    }

    /// Counts a step that has ended, and what that means for those that wait for it.
    fn ended(&mut self, i: usize) {
        let Some(step) = self.steps.get(i) else { return };
        let Some(ended) = step.phase.ended() else { return };
        let allowed = self.is_allowed_to_fail(i);
        self.left = self.left.saturating_sub(1);
        self.failed += usize::from(matches!(step.phase, Phase::Failed { .. }) && !allowed);
        self.cancelled += usize::from(step.phase.is_cancelled_by_hand());
        let pipeline = Arc::clone(&self.pipeline);
        for (dependent, need) in pipeline.graph().dependents(i) {
            if meets(need, ended, allowed) {
                self.meet(*dependent);
            }
        }
        if !self.is_cleanup(i) {
            self.ordinary_left = self.ordinary_left.saturating_sub(1);
            if self.ordinary_left == 0 {
                for last in pipeline.graph().last() {
                    self.meet(*last);
                }
            }
        }
    }

    fn meet(&mut self, i: usize) {
        if let Some(step) = self.steps.get_mut(i).filter(|step| step.phase == Phase::Waiting) {
            step.open = step.open.saturating_sub(1);
            if step.open == 0 {
                self.ready.insert(i);
            }
        }
    }

    /// Counts the open needs of a waiting step anew.
    fn recount(&mut self, i: usize) {
        let graph = self.pipeline.graph();
        let is_open = |on: &crate::pipeline::graph::Need| {
            let ended = self.steps.get(on.step).and_then(|step| step.phase.ended());
            !ended.is_some_and(|ended| meets(on, ended, self.is_allowed_to_fail(on.step)))
        };
        let mut open = graph.needs(i).iter().filter(|need| is_open(need)).count();
        if graph.last().binary_search(&i).is_ok() && self.ordinary_left > 0 {
            open += 1;
        }
        if let Some(step) = self.steps.get_mut(i).filter(|step| step.phase == Phase::Waiting) {
            step.open = open;
            if open == 0 {
                self.ready.insert(i);
            } else {
                self.ready.remove(&i);
            }
        }
    }

    fn resolve(&mut self, i: usize, answer: &Answer, by: &str) {
        self.change(i, |step| {
            step.unknown = None;
            step.cut_offs = 0;
        });
        let was_failed = self.steps.get(i).is_some_and(|step| matches!(step.phase, Phase::Failed { .. }));
        match answer {
            Answer::Done { value } if was_failed => {
                self.failed = self.failed.saturating_sub(usize::from(!self.is_allowed_to_fail(i)));
                self.enter(i, Phase::Succeeded { value: Arc::new(value.clone()) });
                let pipeline = Arc::clone(&self.pipeline);
                for (dependent, _) in pipeline.graph().dependents(i) {
                    self.recount(*dependent);
                }
            }
            Answer::Done { value } => self.finish(i, &StepResult::Succeeded { value: value.clone() }),
            Answer::RunAgain => {
                self.enter(i, Phase::Waiting);
                self.ready.insert(i);
            }
            Answer::Fail => {
                let error = StepError::new(Cause::Resolved, format!("resolved as failed by {by}"));
                self.finish(i, &StepResult::Failed { error });
            }
        }
    }

    fn reopen(&mut self, names: &[String]) {
        let again: Vec<usize> = names.iter().filter_map(|name| self.pipeline.graph().index(name)).collect();
        for &i in &again {
            self.enter(i, Phase::Waiting);
            self.change(i, |step| {
                step.failures = 0;
                step.cut_offs = 0;
                step.first_started = None;
            });
        }
        self.outcome = None;
        self.halt = None;
        let count = |f: &dyn Fn(usize, &Phase) -> bool| {
            self.steps.iter().enumerate().filter(|(i, step)| f(*i, &step.phase)).count()
        };
        let left = count(&|_, phase| phase.ended().is_none());
        let ordinary_left = count(&|i, phase| phase.ended().is_none() && !self.is_cleanup(i));
        let failed = count(&|i, phase| matches!(phase, Phase::Failed { .. }) && !self.is_allowed_to_fail(i));
        let cancelled = count(&|_, phase| phase.is_cancelled_by_hand());
        (self.left, self.ordinary_left, self.failed, self.cancelled) = (left, ordinary_left, failed, cancelled);
        for i in again {
            self.recount(i);
        }
    }
}
