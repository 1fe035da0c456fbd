//! One rollout machine alone, told one window after another: thousands of canaries in seconds, for figures about how
//! often a good release is rolled back and how soon a bad one is.

use std::collections::BTreeMap;

use crate::analysis::Binomial;
use crate::error::{Error, Kind, Result};
use crate::machine::Machine;
use crate::rollout::{
    Begin, Cause, Gate, Move, Request, RolloutEvent, RolloutInput, RolloutMachine, RolloutSpec, RolloutState,
    service_events,
};
use crate::service::{Counts, Observed, ObservedVersion, Release, ServiceMachine, ServiceState, Window};
use crate::time::{Chance, Time};

/// A canary of `v2` over `v1` that stands at its first analysis, all instances ready and the weights in force.
#[derive(Debug)]
pub struct Trial {
    state: RolloutState,
    now: Time,
    share: u32,
    requests: (u64, u64),
    errors: (Binomial, Binomial),
    burst: u64,
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialEnd {
    /// The window after which the rollout turned back, counted from 1, and why; `None` when it did not.
    pub turned: Option<(u64, Cause)>,
    /// The events since the analysis began, one JSON text a line.
    pub events: String,
}

impl Trial {
    /// A canary by this spec, whose first step must be judged, with so many requests to both sides in each window.
    /// `rates` are the shares of bad requests of the new and the old version, 0 to 1; they come in bursts of `burst`,
    /// each wholly on one side, which is the worst case within a window.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when the spec has faults or has no step that is judged.
    pub fn new(spec: &RolloutSpec, requests: u64, rates: (f64, f64), burst: u64) -> Result<Trial> {
        let mut service = ServiceState::new(&spec.service);
        let now = Time(1_767_225_600_000);
        let unjudged = RolloutSpec { judge: None, ..spec.clone() };
        let first = settled(&unjudged, "v1", &mut service, now)?;
        let state = settled(spec, "v2", &mut service, now)?;
        if first.finished.is_none() || !matches!(state.step(), Some(Move::Gate { gate: Gate::Analysis { .. } })) {
            return Err(Error::new(Kind::Invalid, "the rollout has no first step that is judged"));
        }
        let share = state.share();
        let canary = requests * u64::from(share) / 10_000;
        let burst = burst.max(1);
        let bursts = |requests, rate: f64| Binomial::new(requests, rate / burst as f64);
        let errors = (bursts(canary, rates.0), bursts(requests - canary, rates.1));
        Ok(Trial { state, now, share, requests: (canary, requests - canary), errors, burst })
    }

    /// Tells the machine one window after another until it turns back, at most so many.
    ///
    /// # Errors
    /// None that a valid trial can run into; those of the machine are passed on.
    pub fn run(&self, seed: u64, windows: u64) -> Result<TrialEnd> {
        let (mut state, mut chance) = (self.state.clone(), Chance(seed).fork("trial"));
        // The interval for the explanation has no say and costs most.
        if let Some(judge) = state.start.as_mut().and_then(|start| start.terms.judge.as_mut()) {
            judge.limits.clear();
        }
        let mut lines = Vec::new();
        let mut now = self.now;
        for number in 1..=windows {
            let window = self.window(&state, number, now, &mut chance);
            now = window.to;
            let turned = feed(&mut state, &RolloutInput::Windows(vec![window]), now, &mut lines)?;
            if let Some(cause) = turned {
                return Ok(TrialEnd { turned: Some((number, cause)), events: lines.join("\n") });
            }
        }
        Ok(TrialEnd { turned: None, events: lines.join("\n") })
    }

    fn window(&self, state: &RolloutState, number: u64, from: Time, chance: &mut Chance) -> Window {
        let span = state.start.as_ref().map(|start| start.terms.serving.measure.window).unwrap_or_default();
        let mut side = |requests: u64, errors: &Binomial| {
            let errors = (errors.draw(chance.unit()) * self.burst).min(requests);
            Counts { requests, errors, abandoned: 0 }
        };
        let counts = BTreeMap::from([
            ("v2".to_owned(), side(self.requests.0, &self.errors.0)),
            ("v1".to_owned(), side(self.requests.1, &self.errors.1)),
        ]);
        let weights = BTreeMap::from([("v2".to_owned(), self.share), ("v1".to_owned(), 10_000 - self.share)]);
        Window { epoch: state.epoch, number, from, to: from.after(span), weights, counts, latency: BTreeMap::new() }
    }
}

/// One input; why it turned back, if it did.
fn feed(state: &mut RolloutState, input: &RolloutInput, now: Time, lines: &mut Vec<String>) -> Result<Option<Cause>> {
    let mut turned = None;
    for event in RolloutMachine::decide(state, input, now)? {
        if let RolloutEvent::TurnedBack { cause, .. } = &event {
            turned = Some(*cause);
        }
        RolloutMachine::apply(state, &event, now);
        let line = serde_json::to_string(&event)
            .map_err(|error| Error::new(Kind::Internal, "an event is no JSON").because(error))?;
        lines.push(line);
    }
    Ok(turned)
}

/// Ships a version in a world that is at once as it is asked to be, until nothing more follows.
fn settled(spec: &RolloutSpec, version: &str, service: &mut ServiceState, now: Time) -> Result<RolloutState> {
    let release =
        Release { version: version.to_owned(), command: vec!["server".to_owned()], env: BTreeMap::new(), dir: None };
    let request = Request::Ship { spec: Box::new(spec.clone()), release };
    let (run, step) = (format!("ship-{version}"), "ship".to_owned());
    let mut state = RolloutState::default();
    let mut input = RolloutInput::Begin(Box::new(Begin { request, service: service.clone(), run, step }));
    let mut now = now;
    loop {
        let events = RolloutMachine::decide(&state, &input, now)?;
        for event in &events {
            RolloutMachine::apply(&mut state, event, now);
            for of_service in service_events(&state, event) {
                ServiceMachine::apply(service, &of_service, now);
            }
        }
        let analysis = matches!(state.step(), Some(Move::Gate { gate: Gate::Analysis { .. } })) && state.begun;
        if state.finished.is_some() || analysis {
            return Ok(state);
        }
        // Pauses take their time.
        now = RolloutMachine::deadline(&state).filter(|_| events.is_empty()).unwrap_or(now).max(now);
        input = match (events.is_empty(), state.desired()) {
            (true, _) | (_, None) => RolloutInput::Tick,
            (false, Some(desired)) => {
                let seen = |(version, wanted): (&String, &crate::service::DesiredVersion)| {
                    let (running, ready) = (wanted.replicas, wanted.replicas);
                    (version.clone(), ObservedVersion { running, ready, restarts: 0, trouble: None })
                };
                RolloutInput::Observed(Observed {
                    generation: desired.generation,
                    epoch: desired.epoch,
                    versions: desired.versions.iter().map(seen).collect(),
                    ..Observed::default()
                })
            }
        };
    }
}
