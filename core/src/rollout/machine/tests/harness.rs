//! A driver in small: it makes events durable, does their effects, and can be killed after any event.

use std::collections::BTreeMap;

use super::world::World;
use crate::error::Result;
use crate::machine::Machine;
use crate::rollout::machine::state::RolloutState;
use crate::rollout::*;
use crate::service::*;
use crate::time::{SpanText, Time};

/// When the driver is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Crash {
    /// After so many durable events.
    pub(super) after: usize,
    /// Whether the effects of the last events were done.
    pub(super) done: bool,
    /// Seconds without a driver.
    pub(super) down: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Driver {
    pub(super) world: World,
    pub(super) service: ServiceState,
    pub(super) state: RolloutState,
    pub(super) events: Vec<(Time, RolloutEvent)>,
    pub(super) crashes: Vec<Crash>,
    /// Promote whatever gate waits for a person.
    pub(super) promotes: bool,
    told: u64,
}

pub(super) fn release(version: &str) -> Release {
    Release { version: version.to_owned(), command: vec!["server".to_owned()], env: BTreeMap::new(), dir: None }
}

pub(super) fn spec(strategy: StrategySpec) -> RolloutSpec {
    RolloutSpec {
        service: "shop".to_owned(),
        strategy,
        serve: ServeSpec {
            listen: "127.0.0.1:0".to_owned(),
            replicas: 4,
            ready: None,
            drain: Some("5s".into()),
            grace: Some("1s".into()),
            request_timeout: None,
            max_body_bytes: None,
        },
        judge: None,
        progress_deadline: Some("60s".into()),
        promote: None,
        keep_old: Some("5s".into()),
        keep_versions: None,
        restart_limit: None,
    }
}

pub(super) fn canary(steps: &[f64], bake: &str) -> RolloutSpec {
    spec(StrategySpec::Canary { steps: steps.to_vec(), bake: SpanText::from(bake) })
}

pub(super) fn say(verb: Verb) -> RolloutInput {
    RolloutInput::Command(Command { verb, by: "ann".to_owned(), reason: "because".to_owned() })
}

impl Driver {
    pub(super) fn new(world: World) -> Driver {
        Driver {
            world,
            service: ServiceState::new("shop"),
            state: RolloutState::default(),
            events: Vec::new(),
            crashes: Vec::new(),
            promotes: false,
            told: 0,
        }
    }

    pub(super) fn begin(&mut self, request: Request) -> Result<()> {
        self.state = RolloutState::default();
        self.events.clear();
        let (service, run, step) = (self.service.clone(), "r1".to_owned(), "ship".to_owned());
        self.input(RolloutInput::Begin(Box::new(Begin { request, service, run, step })))
    }

    pub(super) fn ship(&mut self, spec: RolloutSpec, version: &str) {
        self.begin(Request::Ship { spec: Box::new(spec), release: release(version) }).unwrap();
    }

    /// Ships a version by which the service then stands, without faults.
    pub(super) fn with_stable(mut self, version: &str) -> Driver {
        self.ship(canary(&[50.0], "1s"), version);
        assert_eq!(self.run(200), Outcome::Promoted);
        self
    }

    /// Decides; each event is durable before its effects, and the driver may die after any.
    pub(super) fn input(&mut self, input: RolloutInput) -> Result<()> {
        let now = self.world.now;
        let mut effects = Vec::new();
        for event in RolloutMachine::decide(&self.state, &input, now)? {
            self.check(&event);
            RolloutMachine::apply(&mut self.state, &event, now);
            for of_service in service_events(&self.state, &event) {
                ServiceMachine::apply(&mut self.service, &of_service, now);
            }
            effects.extend(RolloutMachine::effects(&self.state, &event));
            self.events.push((now, event));
            if let Some(i) = self.crashes.iter().position(|crash| crash.after == self.events.len()) {
                let crash = self.crashes.remove(i);
                if crash.done {
                    self.act(&effects);
                }
                self.crash(crash.down);
                return Ok(());
            }
        }
        self.act(&effects);
        if self.state.finished.is_none() {
            assert_eq!(self.service.desired().filter(|d| d.generation > 0), self.asked(), "both streams ask the same");
        }
        Ok(())
    }

    fn asked(&self) -> Option<Desired> {
        // Until the first ask the service's own is in force, with the way it was served before.
        self.state.desired().filter(|desired| desired.generation > 0)
    }

    fn act(&mut self, effects: &[RolloutEffect]) {
        for effect in effects {
            if let RolloutEffect::Converge(desired) = effect {
                self.world.converge(desired);
            }
        }
    }

    fn crash(&mut self, down: u64) {
        for _ in 0..down {
            self.world.step();
        }
        let folded = self.refolded();
        assert_eq!(folded, self.state, "folding again gives the same state");
        self.state = folded;
        self.told = self.state.judged.unwrap_or(0);
        let pending = RolloutMachine::pending(&self.state);
        self.act(&pending);
        if self.state.start.is_some() {
            self.input(RolloutInput::TakeUp).unwrap();
        }
        self.look();
    }

    /// The state from the events as they are stored.
    pub(super) fn refolded(&self) -> RolloutState {
        let mut state = RolloutState::default();
        for (at, event) in &self.events {
            let stored = serde_json::to_string(event).unwrap();
            RolloutMachine::apply(&mut state, &serde_json::from_str(&stored).unwrap(), *at);
        }
        state
    }

    /// Tells the machine what the world looks like and has counted.
    pub(super) fn look(&mut self) {
        if self.state.finished.is_some() || self.state.start.is_none() {
            return;
        }
        self.input(RolloutInput::Observed(self.world.observed())).unwrap();
        self.input(RolloutInput::Readings(self.world.readings.clone())).unwrap();
        let told = self.told;
        let windows: Vec<Window> = self.world.settled().filter(|w| w.number > told).take(3).cloned().collect();
        match windows.last() {
            Some(last) => {
                self.told = last.number;
                self.input(RolloutInput::Windows(windows)).unwrap();
            }
            None => self.input(RolloutInput::Settled { to: Some(self.world.settled_to()) }).unwrap(),
        }
        self.input(RolloutInput::Tick).unwrap();
        let waits = matches!(self.state.step(), Some(Move::Gate { gate: Gate::Approval }));
        let asks = self.state.paused.as_ref().is_some_and(|pause| pause.by.is_none());
        if self.promotes && self.state.begun && !self.state.back && (waits || asks) {
            self.input(say(Verb::Promote)).unwrap();
        }
        if let Some(deadline) = RolloutMachine::deadline(&self.state) {
            assert!(deadline > self.world.now, "a deadline that has passed would spin: {:?}", self.state.step());
        }
    }

    pub(super) fn lose_world(&mut self) {
        self.world.lose();
        self.told = self.state.judged.unwrap_or(0);
        self.world.resume_numbers(self.told);
        self.input(RolloutInput::WorldLost { what: "the supervisor was killed".to_owned() }).unwrap();
    }

    pub(super) fn second(&mut self) {
        self.world.step();
        self.look();
    }

    /// Goes on until `done`, at most so many seconds.
    pub(super) fn until(&mut self, seconds: u64, what: &str, done: impl Fn(&Driver) -> bool) {
        for _ in 0..seconds {
            if done(self) {
                return;
            }
            self.second();
        }
        panic!("not within {seconds} s: {what}; at {:?}, {:#?}", self.state.step(), self.state.seen);
    }

    /// Goes on to the end.
    pub(super) fn run(&mut self, seconds: u64) -> Outcome {
        self.until(seconds, "the end", |driver| driver.state.finished.is_some());
        self.state.finished.as_ref().map(|(outcome, _)| *outcome).unwrap()
    }

    pub(super) fn reason(&self) -> &str {
        self.state.finished.as_ref().map_or("", |(_, reason)| reason)
    }

    pub(super) fn share(&self) -> u32 {
        self.state.share()
    }

    /// What must hold of every event, against the state before it.
    fn check(&self, event: &RolloutEvent) {
        let RolloutEvent::MoveBegan { step, back, generation, .. } = event else { return };
        let state = &self.state;
        let start = state.start.as_ref().unwrap();
        let ready = |version: &str| state.seen.as_ref().map_or(0, |seen| seen.ready(version));
        if step.changes_world() {
            assert_eq!(*generation, state.generation + 1, "each ask has a generation of its own");
        }
        let mut after = state.layout.clone();
        after.apply(step);
        match step {
            Move::Route { weights } => {
                assert!(weights.is_empty() || weights.values().sum::<u32>() == FULL);
                for (version, share) in weights {
                    let full = if *version == start.version { start.terms.full } else { start.from.size(version) };
                    let need = match (*back, state.opened && *version != start.version) {
                        // Somebody promoted past the old version's readiness.
                        (false, true) => 0,
                        (false, false) => replicas_for(full, *share),
                        (true, _) => 1,
                    };
                    assert!(ready(version) >= need, "{version} gets {share} with {} ready", ready(version));
                }
            }
            Move::Scale { version, .. } | Move::Retire { version }
                if after.size(version) < state.layout.size(version) =>
            {
                assert_eq!(after.weights.get(version), None, "{version} shrinks under traffic");
            }
            _ => {}
        }
        if let Some(stable) = &start.from.stable
            && !state.is_promoted()
            && *stable != start.version
        {
            assert!(
                after.size(stable) >= start.from.size(stable) || state.back,
                "stable keeps its size until promotion"
            );
        }
    }
}
