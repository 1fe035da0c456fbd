//! The machine itself: what comes in, what goes out, and what the service's stream gets of it.

use super::advance::Draft;
use super::apply::apply;
use super::begin::{Begin, begin};
use super::command::{Command, command};
use super::state::RolloutState;
use crate::analysis::BlackoutRule;
use crate::error::{Error, Kind, Result};
use crate::machine::Machine;
use crate::rollout::event::{RolloutEvent, Seen};
use crate::service::{Claim, Desired, Observed, ServiceEvent, Window};
use crate::time::Time;

/// The machine of one rollout or revert.
#[derive(Debug, Clone, Copy)]
pub struct RolloutMachine;

/// What the driver tells a rollout.
#[derive(Debug, Clone, PartialEq)]
pub enum RolloutInput {
    /// Begins.
    Begin(Box<Begin>),
    /// A driver takes the rollout up again: the first input after it was folded from its events.
    TakeUp,
    /// What the world looks like.
    Observed(Observed),
    /// Closed windows after the last one told, oldest first.
    Windows(Vec<Window>),
    /// All windows that can be read were told. A bake ends only with this, so that nothing counted while no driver lived
    /// is missed.
    Settled {
        /// All windows that ended before this time can be read, and later ones may be held back until their requests
        /// have ended; `None` when the world does not say.
        to: Option<Time>,
    },
    /// The last readings, each about a second long, oldest first, those told before included: the blackout guard looks
    /// at all of them each time.
    Readings(Vec<Window>),
    /// Somebody says something. To be taken from the inbox in the same commit as its events.
    Command(Command),
    /// The supervisor died, or what it held was lost; told once for each time.
    WorldLost {
        /// What happened, in one sentence without a full stop.
        what: String,
    },
    /// Time went on.
    Tick,
}

/// What a rollout asks of the world.
#[derive(Debug, Clone, PartialEq)]
pub enum RolloutEffect {
    /// Make the world as described; the same or an older generation changes nothing.
    Converge(Box<Desired>),
    /// Report what the service looks like and what it counts from now on, at first at once.
    Watch {
        /// The service.
        service: String,
        /// Windows up to this number were told.
        after_window: u64,
        /// The guard for which readings are told: as many at a time as it needs, where there are within an hour.
        guard: Option<BlackoutRule>,
    },
    /// No longer.
    Unwatch {
        /// The service.
        service: String,
    },
}

impl Machine for RolloutMachine {
    type State = RolloutState;
    type Input = RolloutInput;
    type Event = RolloutEvent;
    type Effect = RolloutEffect;

    fn decide(state: &RolloutState, input: &RolloutInput, now: Time) -> Result<Vec<RolloutEvent>> {
        let mut draft = Draft::new(state, now);
        match input {
            RolloutInput::Begin(asked) => {
                if let Some(start) = begin(state, asked)? {
                    draft.push(RolloutEvent::Started { start: Box::new(start) });
                }
            }
            _ if state.start.is_none() => {
                return Err(Error::new(Kind::NotFound, "the rollout has not begun"));
            }
            RolloutInput::Command(asked) => command(&mut draft, asked)?,
            // What comes late from the world is no fault.
            _ if state.finished.is_some() => return Ok(Vec::new()),
            RolloutInput::TakeUp => draft.push(RolloutEvent::TakenUp),
            RolloutInput::Observed(observed) => {
                let seen = Seen::of(observed);
                if state.seen.as_ref() != Some(&seen) {
                    draft.push(RolloutEvent::Seen { seen });
                }
            }
            RolloutInput::Windows(windows) => draft.windows(windows),
            RolloutInput::Settled { to } => draft.end_of_bake(*to),
            RolloutInput::Readings(readings) => draft.readings(readings),
            RolloutInput::WorldLost { what } => draft.push(RolloutEvent::WorldLost { what: what.clone() }),
            RolloutInput::Tick => {}
        }
        draft.advance();
        Ok(draft.events)
    }

    fn apply(state: &mut RolloutState, event: &RolloutEvent, at: Time) {
        apply(state, event, at);
    }

    fn effects(state: &RolloutState, event: &RolloutEvent) -> Vec<RolloutEffect> {
        match event {
            RolloutEvent::Started { .. } | RolloutEvent::WorldLost { .. } => {
                converge(state).chain(watch(state)).collect()
            }
            RolloutEvent::MoveBegan { step, .. } if step.changes_world() => converge(state).collect(),
            RolloutEvent::Finished { .. } => state
                .start
                .iter()
                .map(|start| RolloutEffect::Unwatch { service: start.terms.service.clone() })
                .collect(),
            _ => Vec::new(),
        }
    }

    fn pending(state: &RolloutState) -> Vec<RolloutEffect> {
        if state.finished.is_some() {
            return Vec::new();
        }
        converge(state).chain(watch(state)).collect()
    }

    fn deadline(state: &RolloutState) -> Option<Time> {
        if state.finished.is_some() {
            return None;
        }
        state.patience_ends().into_iter().chain(state.pause_ends()).chain(state.listening_ends()).min()
    }
}

/// The whole desired state, once something was asked for.
fn converge(state: &RolloutState) -> impl Iterator<Item = RolloutEffect> + use<> {
    let before = state.start.as_ref().filter(|start| start.served.is_none()).map_or(0, |start| start.generation);
    let desired = state.desired().filter(|desired| desired.generation > before);
    desired.map(|desired| RolloutEffect::Converge(Box::new(desired))).into_iter()
}

fn watch(state: &RolloutState) -> impl Iterator<Item = RolloutEffect> + use<> {
    let service = state.start.as_ref().map(|start| start.terms.service.clone());
    let after_window = state.judged.unwrap_or(0);
    let guard = state.start.as_ref().and_then(|start| start.terms.judge.as_ref()).and_then(|judge| judge.blackout);
    service.map(|service| RolloutEffect::Watch { service, after_window, guard }).into_iter()
}

/// What goes to the service's stream in the same commit as a rollout's event; `state` has the event folded in.
pub fn service_events(state: &RolloutState, event: &RolloutEvent) -> Vec<ServiceEvent> {
    let Some(start) = &state.start else { return Vec::new() };
    match event {
        RolloutEvent::Started { start } => {
            let claim = Claim { run: start.run.clone(), step: start.step.clone(), version: start.version.clone() };
            let definition = start.definitions.get(&start.version).cloned();
            let service = start.terms.service.clone();
            definition
                .map(|definition| ServiceEvent::Claimed { service, claim, definition: Box::new(definition) })
                .into_iter()
                .collect()
        }
        RolloutEvent::MoveBegan { step, generation, epoch, .. } if step.changes_world() => {
            vec![ServiceEvent::Changed {
                generation: *generation,
                epoch: *epoch,
                sizes: state.layout.sizes.clone(),
                weights: state.layout.weights.clone(),
                serving: state.serving.clone().unwrap_or_else(|| start.terms.serving.clone()),
            }]
        }
        RolloutEvent::Promoted { version, kept } => {
            vec![ServiceEvent::Promoted { version: version.clone(), kept: kept.clone() }]
        }
        RolloutEvent::WorldLost { what } => vec![ServiceEvent::WorldLost { what: what.clone() }],
        RolloutEvent::WorldRestored => vec![ServiceEvent::WorldRestored],
        RolloutEvent::Finished { outcome, reason } => {
            vec![ServiceEvent::Released { outcome: *outcome, reason: reason.clone() }]
        }
        _ => Vec::new(),
    }
}
