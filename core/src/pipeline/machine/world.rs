//! A virtual world for tests: it does what effects ask, and checks with every input what must always hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::error::Result;
use crate::machine::Machine;
use crate::pipeline::machine::event::{Cause, Event, RunOutcome, StepError, StopWhy};
use crate::pipeline::machine::input::{AtClose, Effect, Input, Outcome, StartStep};
use crate::pipeline::machine::state::{Phase, Run, RunState, RunStatus};
use crate::pipeline::machine::{RunMachine, decide};
use crate::pipeline::spec::{ActionSpec, NeedSpec, PipelineSpec, RetrySpec, StepSpec, When};
use crate::time::Time;

#[derive(Debug)]
pub(super) struct World {
    pub(super) spec: PipelineSpec,
    pub(super) state: RunState,
    pub(super) events: Vec<(Event, Time)>,
    /// How many events there were after each batch: a batch is one commit.
    pub(super) batches: Vec<usize>,
    pub(super) now: Time,
    pub(super) epoch: u64,
    /// Attempts that run, those that a dead driver left behind included.
    pub(super) live: BTreeMap<(String, u32), StartStep>,
    pub(super) stops: BTreeMap<(String, u32), StopWhy>,
    /// Every start, in order.
    pub(super) starts: Vec<StartStep>,
    /// Steps and edges looked at.
    pub(super) work: usize,
    /// Whether to check the whole state after each input; off for large runs.
    pub(super) checked: bool,
}

pub(super) fn step(name: &str, after: &[&str]) -> StepSpec {
    let mut step = StepSpec::new(name, ActionSpec::Function { function: "f".into() });
    step.after = after.iter().map(|on| NeedSpec { step: (*on).into(), when: None }).collect();
    step
}

pub(super) fn need(name: &str, when: When) -> NeedSpec {
    NeedSpec { step: name.into(), when: Some(when) }
}

pub(super) fn pipeline(steps: Vec<StepSpec>) -> PipelineSpec {
    PipelineSpec { name: "p".into(), steps, max_parallel: None, fail_fast: false }
}

/// A wait of exactly `initial`, doubled with each failure.
pub(super) fn retry(attempts: u32, initial: &str) -> Option<RetrySpec> {
    let jitter = Some(crate::pipeline::Jitter::None);
    Some(RetrySpec { attempts, initial: Some(initial.into()), factor: None, cap: None, jitter })
}

pub(super) fn ok() -> Outcome {
    Outcome::Succeeded { value: json!(null) }
}

pub(super) fn failed() -> Outcome {
    Outcome::Failed { error: StepError::new(Cause::ExitCode { code: 1 }, "exited with code 1"), retry_in: None }
}

impl World {
    /// A world in which a run has just started.
    pub(super) fn start(spec: PipelineSpec) -> World {
        World::start_with(spec, 4, 7, true)
    }

    pub(super) fn start_with(spec: PipelineSpec, cores: u32, seed: u64, checked: bool) -> World {
        let mut world = World {
            spec: spec.clone(),
            state: RunState::default(),
            events: Vec::new(),
            batches: Vec::new(),
            now: Time(1_000_000),
            epoch: 1,
            live: BTreeMap::new(),
            stops: BTreeMap::new(),
            starts: Vec::new(),
            work: 0,
            checked,
        };
        let definition = Arc::new(spec.check().unwrap());
        let (run, key) = ("r1".to_owned(), None);
        world.input(Input::Start { run, key, definition, params: json!({"n": 1}), seed, cores, epoch: 1 }).unwrap();
        world
    }

    pub(super) fn input(&mut self, input: Input) -> Result<Vec<Event>> {
        let (events, work) = decide::decide(&self.state, &input, self.now)?;
        self.work += work;
        for event in &events {
            if let Event::StepStarted { step, .. } = event {
                self.may_start(step);
            }
            RunMachine::apply(&mut self.state, event, self.now);
            self.events.push((event.clone(), self.now));
        }
        self.batches.push(self.events.len());
        for event in &events {
            for effect in RunMachine::effects(&self.state, event) {
                self.act(effect);
            }
        }
        if self.checked {
            self.check();
        }
        Ok(events)
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::StartStep(start) => {
                if let Some(through) = start.sweep {
                    self.sweep(&start.step, through);
                }
                let of_it = self.live.keys().filter(|(step, _)| *step == start.step).count();
                assert_eq!(of_it, 0, "an attempt of {} starts while another one runs", start.step);
                self.live.insert((start.step.clone(), start.attempt), start.clone());
                self.starts.push(start);
            }
            Effect::StopStep { step, attempt, why, .. } => {
                self.stops.insert((step, attempt), why);
            }
            Effect::Sweep { step, attempt } => self.sweep(&step, attempt),
            Effect::Rollout { step, .. } => unreachable!("no step here is a rollout: {step}"),
        }
    }

    fn sweep(&mut self, step: &str, through: u32) {
        self.live.retain(|(name, attempt), _| name != step || *attempt > through);
    }

    /// Reports the outcome of the step's running attempt.
    pub(super) fn report(&mut self, step: &str, outcome: Outcome) -> Vec<Event> {
        let (attempt, token) = {
            let step = self.run().step(step).unwrap();
            (step.attempt(), step.token())
        };
        self.live.remove(&(step.to_owned(), attempt));
        self.stops.remove(&(step.to_owned(), attempt));
        self.input(Input::StepOutcome { step: step.to_owned(), attempt, token, outcome }).unwrap()
    }

    /// Says what became of the step's attempt as the engine closed. Nothing may start or be stopped by that.
    pub(super) fn close(&mut self, step: &str, found: AtClose) -> Vec<Event> {
        let (attempt, token) = {
            let step = self.run().step(step).unwrap();
            (step.attempt(), step.token())
        };
        if found != AtClose::Left {
            self.live.remove(&(step.to_owned(), attempt));
        }
        let input = Input::Close { step: step.to_owned(), attempt, token, found };
        let checked = std::mem::replace(&mut self.checked, false);
        let events = self.input(input).unwrap();
        self.checked = checked;
        let starts = events.iter().any(|event| matches!(event, Event::StepStarted { .. }));
        assert!(!starts, "a step starts while the engine closes: {events:?}");
        assert_eq!(format!("{:?}", self.fold(self.events.len())), format!("{:?}", self.state));
        events
    }

    pub(super) fn cancel(&mut self) -> Vec<Event> {
        self.input(Input::Cancel { by: "ann".into(), reason: "wrong branch".into() }).unwrap()
    }

    /// The driver is killed, and another one takes the run up. What ran goes on until it is swept.
    pub(super) fn crash(&mut self) -> Vec<Event> {
        self.stops.clear();
        self.state = self.fold(self.events.len());
        self.epoch += 1;
        let definition = Box::new(self.spec.clone());
        self.input(Input::Resume { epoch: self.epoch, definition }).unwrap()
    }

    pub(super) fn fold(&self, events: usize) -> RunState {
        let mut state = RunState::default();
        for (event, at) in &self.events[..events] {
            // As it would be read back.
            let text = serde_json::to_string(event).unwrap();
            RunMachine::apply(&mut state, &serde_json::from_str(&text).unwrap(), *at);
        }
        state
    }

    /// Lets time pass, ticking whenever the machine wants to be asked.
    pub(super) fn pass(&mut self, seconds: i64) {
        let end = self.now.0 + seconds * 1_000;
        while let Some(next) = RunMachine::deadline(&self.state).filter(|next| next.0 <= end) {
            self.now = self.now.max(next);
            let events = self.input(Input::Tick).unwrap();
            assert!(!events.is_empty(), "a tick that was asked for led to nothing: the driver would spin");
        }
        self.now = Time(end);
    }

    /// Runs to the end or to a question: each attempt ends after a second, as `outcome` says.
    pub(super) fn drive(&mut self, mut outcome: impl FnMut(&str, u32) -> Outcome) -> RunStatus {
        for _ in 0..1_000_000 {
            if self.state.status() != RunStatus::Running {
                break;
            }
            let running = self.run().steps().find(|(_, step)| *step.phase() == Phase::Running);
            match running.map(|(name, step)| (name.to_owned(), step.attempt(), step.stopping().is_some())) {
                Some((name, _, true)) => drop(self.report(&name, Outcome::Stopped)),
                Some((name, attempt, false)) => {
                    let outcome = outcome(&name, attempt);
                    self.report(&name, outcome);
                }
                None => {
                    let next = RunMachine::deadline(&self.state).expect("a run that goes on wants to be asked");
                    self.now = self.now.max(next);
                    self.input(Input::Tick).unwrap();
                }
            }
        }
        self.state.status()
    }

    pub(super) fn run(&self) -> &Run {
        self.state.run().unwrap()
    }

    pub(super) fn phase(&self, step: &str) -> &Phase {
        self.run().step(step).unwrap().phase()
    }

    pub(super) fn running(&self) -> Vec<&str> {
        self.run().steps().filter(|(_, step)| *step.phase() == Phase::Running).map(|(name, _)| name).collect()
    }

    /// How each step ended, in one word, and how the run did.
    pub(super) fn summary(&self) -> (BTreeMap<&str, String>, Option<RunOutcome>) {
        let word = |phase: &Phase| serde_json::to_value(phase.ended()).unwrap().as_str().unwrap_or("open").to_owned();
        (self.run().steps().map(|(name, step)| (name, word(step.phase()))).collect(), self.run().outcome())
    }

    pub(super) fn starts_of(&self, step: &str) -> Vec<u32> {
        self.starts.iter().filter(|start| start.step == step).map(|start| start.attempt).collect()
    }

    pub(super) fn trace(&self) -> String {
        serde_json::to_string(&self.events).unwrap()
    }

    /// A step starts only when it has not ended and every need of it is met.
    fn may_start(&self, name: &str) {
        let run = self.run();
        assert_eq!(run.step(name).unwrap().phase().ended(), None, "{name} starts though it has ended");
        let spec = self.spec.steps.iter().find(|step| step.name == name).unwrap();
        assert!(run.halt.is_none() || spec.cleanup, "{name} starts though the run was stopped: {:?}", run.halt);
        for input in &spec.inputs {
            assert!(matches!(self.phase(input), Phase::Succeeded { .. }), "{name} starts without the value of {input}");
        }
        for need in &spec.after {
            let default = if spec.cleanup { When::Done } else { When::Success };
            let allowed = self.spec.steps.iter().any(|step| step.name == need.step && step.allow_failure);
            let phase = self.phase(&need.step);
            let met = match (need.when.unwrap_or(default), phase) {
                (When::Success, Phase::Failed { .. }) => allowed,
                (When::Success, phase) => matches!(phase, Phase::Succeeded { .. }),
                (When::Failure, phase) => matches!(phase, Phase::Failed { .. }),
                (When::Done, phase) => phase.ended().is_some(),
            };
            assert!(met, "{name} starts though it needs {}, which is {phase:?}", need.step);
        }
        if spec.cleanup && spec.after.is_empty() && spec.inputs.is_empty() {
            let open = self.spec.steps.iter().find(|s| !s.cleanup && self.phase(&s.name).ended().is_none());
            assert!(open.is_none(), "{name} starts before {}", open.unwrap().name);
        }
    }

    /// What must hold after every input.
    fn check(&self) {
        let run = self.run();
        let ids = |wanted: &dyn Fn(&Phase) -> bool| -> BTreeSet<usize> {
            run.steps.iter().enumerate().filter(|(_, step)| wanted(&step.phase)).map(|(i, _)| i).collect()
        };
        let running = ids(&|phase| *phase == Phase::Running);
        assert_eq!(running, run.running);
        assert!(running.len() <= run.max_parallel, "{} run at a time", running.len());
        assert_eq!(ids(&|phase| matches!(phase, Phase::Asking { .. })), run.asking);
        assert_eq!(ids(&|phase| phase.ended().is_none()).len(), run.left);
        assert!(run.ready.is_empty() || running.len() == run.max_parallel, "a slot is free and {:?} wait", run.ready);
        assert_eq!(run.left == 0, run.outcome.is_some());
        for (i, step) in run.steps.iter().enumerate() {
            let name = run.pipeline.name(i);
            if let Phase::Waiting = step.phase {
                assert_eq!(step.open == 0, run.ready.contains(&i), "{name} has {} open needs", step.open);
            }
            let lives = self.live.contains_key(&(name.to_owned(), step.attempt));
            assert_eq!(lives, step.phase == Phase::Running, "{name} is {:?}", step.phase);
        }
        assert_eq!(self.live.len(), running.len(), "something is left running");
        // What is remembered is the fold of what was written. (Now and then: it takes as long as the run so far.)
        if !self.batches.len().is_multiple_of(8) && run.outcome.is_none() {
            return;
        }
        assert_eq!(format!("{:?}", self.fold(self.events.len())), format!("{:?}", self.state));
    }

    /// A skipped step's reason is true, and a step that ran was not to be skipped.
    pub(super) fn check_skips(&self) {
        use crate::pipeline::machine::event::SkipReason;
        for (name, step) in self.run().steps() {
            let Phase::Skipped { reason } = step.phase() else { continue };
            match &**reason {
                SkipReason::Need { step: on, ended, .. } => {
                    assert_eq!(self.phase(on).ended(), Some(*ended), "{name} was skipped: {reason}");
                }
                SkipReason::Cancelled { .. } => {
                    assert!(self.events.iter().any(|(event, _)| matches!(event, Event::CancelRequested { .. })));
                }
                SkipReason::FailFast { step: on } => {
                    assert!(self.spec.fail_fast && matches!(self.phase(on), Phase::Failed { .. }));
                }
                SkipReason::NoProgram { function } => {
                    let spec = self.spec.steps.iter().find(|spec| spec.name == name).unwrap();
                    assert_eq!(spec.action, ActionSpec::Function { function: function.clone() });
                }
            }
        }
    }
}

/// The events in short: kind and step.
pub(super) fn kinds(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| {
            let event = serde_json::to_value(event).unwrap();
            let step = event["step"].as_str().map_or(String::new(), |step| format!(" {step}"));
            format!("{}{step}", event["kind"].as_str().unwrap())
        })
        .collect()
}

/// The values that a step was given when it last started.
pub(super) fn inputs_of(world: &World, step: &str) -> Vec<Value> {
    world.starts.iter().rev().find(|start| start.step == step).map(|start| start.inputs.clone()).unwrap_or_default()
}
