//! How a service decides outside of rollouts: it brings back a world that was lost.
//!
//! | event | what it remembers |
//! |---|---|
//! | `claimed` | which rollout holds the service, and how to start what it ships |
//! | `changed` | sizes, weights, generation, epoch as last asked for |
//! | `promoted` | who is stable, and which versions are kept |
//! | `released` | that the rollout ended, and how |
//! | `world_lost`, `world_restored` | what the world was without, and until when |
//! | `removed` | that nothing is to run any more |
//!
//! All but the last three come from a rollout, in the same commit as the rollout's own events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Claim, Desired, DesiredVersion, LastRollout, Observed, Outcome, ServiceState, Serving, Weights};
use crate::error::{Error, Kind, Result};
use crate::machine::Machine;
use crate::time::Time;

/// The machine of a service. Its state is what rollouts begin from.
#[derive(Debug, Clone, Copy)]
pub struct ServiceMachine;

/// What the driver tells a service that no rollout holds.
#[derive(Debug, Clone, PartialEq)]
pub enum ServiceInput {
    /// What the world looks like.
    Observed(Observed),
    /// Who held the processes and the proxy is gone, and its successor holds nothing.
    WorldLost {
        /// What happened, in one sentence without a full stop.
        what: String,
    },
    /// Ends all versions and closes the proxy. Kept versions are forgotten.
    Remove,
}

/// What happened to a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ServiceEvent {
    /// A rollout took hold of the service.
    Claimed {
        /// The service's name.
        service: String,
        /// Who holds it.
        claim: Claim,
        /// How to start the version that is shipped; `replicas` is its full size.
        definition: Box<DesiredVersion>,
    },
    /// Something else was asked of the world.
    Changed {
        /// The generation of the ask.
        generation: u64,
        /// The epoch of the weights.
        epoch: u64,
        /// Processes by version.
        sizes: BTreeMap<String, u32>,
        /// Shares of traffic.
        weights: Weights,
        /// How the service is served.
        serving: Serving,
    },
    /// Another version counts as good now (on the way back of a rollout: the former one again).
    Promoted {
        /// The stable version; `None` when the first release was taken back.
        version: Option<String>,
        /// The versions that can be reverted to, the latest first.
        kept: Vec<String>,
    },
    /// The rollout let go of the service.
    Released {
        /// How it ended.
        outcome: Outcome,
        /// Why, in one sentence.
        reason: String,
    },
    /// The world lost what it held of the service.
    WorldLost {
        /// What happened.
        what: String,
    },
    /// The world is again as asked.
    WorldRestored,
    /// Nothing is to run any more.
    Removed {
        /// The generation of the ask.
        generation: u64,
        /// The epoch of the weights, which are none.
        epoch: u64,
    },
}

/// What a service asks of the world.
#[derive(Debug, Clone, PartialEq)]
pub enum ServiceEffect {
    /// Make the world as described.
    Converge(Box<Desired>),
    /// End what is left of it, its proxy too.
    Remove,
}

impl ServiceMachine {
    /// Whether a world is as last asked for: in force, and every version ready at its size.
    fn whole(state: &ServiceState, observed: &Observed) -> bool {
        observed.generation == state.generation
            && observed.trouble.is_none()
            && state
                .sizes
                .iter()
                .all(|(version, size)| observed.versions.get(version).is_some_and(|v| v.ready >= *size))
    }
}

impl Machine for ServiceMachine {
    type State = ServiceState;
    type Input = ServiceInput;
    type Event = ServiceEvent;
    type Effect = ServiceEffect;

    /// A service that a rollout holds decides nothing by itself: the rollout sees the same world.
    fn decide(state: &ServiceState, input: &ServiceInput, _now: Time) -> Result<Vec<ServiceEvent>> {
        if let (Some(claim), ServiceInput::Remove) = (&state.claim, input) {
            return Err(Error::new(
                Kind::Conflict,
                format!("a rollout of {} to {} is under way", state.name, claim.version),
            )
            .with("run", &claim.run)
            .with("step", &claim.step)
            .help("abort it first"));
        }
        if state.claim.is_some() || state.serving.is_none() {
            return Ok(Vec::new());
        }
        Ok(match input {
            // Of a service with nothing to run there is nothing to be brought back.
            ServiceInput::WorldLost { what } if !state.sizes.is_empty() => {
                vec![ServiceEvent::WorldLost { what: what.clone() }]
            }
            ServiceInput::Observed(observed) if state.lost.is_some() && Self::whole(state, observed) => {
                vec![ServiceEvent::WorldRestored]
            }
            ServiceInput::Remove if !state.sizes.is_empty() || state.stable.is_some() => vec![ServiceEvent::Removed {
                generation: state.generation.saturating_add(1),
                epoch: state.epoch.saturating_add(1),
            }],
            ServiceInput::Observed(_) | ServiceInput::WorldLost { .. } | ServiceInput::Remove => Vec::new(),
        })
    }

    fn apply(state: &mut ServiceState, event: &ServiceEvent, _at: Time) {
        match event {
            ServiceEvent::Claimed { service, claim, definition } => {
                state.name.clone_from(service);
                state.versions.insert(claim.version.clone(), (**definition).clone());
                state.claim = Some(claim.clone());
            }
            ServiceEvent::Changed { generation, epoch, sizes, weights, serving } => {
                state.generation = *generation;
                state.epoch = *epoch;
                state.sizes = sizes.clone();
                state.weights = weights.clone();
                state.serving = Some(serving.clone());
            }
            ServiceEvent::Promoted { version, kept } => {
                state.stable.clone_from(version);
                state.kept.clone_from(kept);
            }
            ServiceEvent::Released { outcome, reason } => {
                if let Some(claim) = state.claim.take() {
                    state.last =
                        Some(LastRollout { version: claim.version, outcome: *outcome, reason: reason.clone() });
                }
                state.prune();
            }
            ServiceEvent::WorldLost { what } => state.lost = Some(what.clone()),
            ServiceEvent::WorldRestored => state.lost = None,
            ServiceEvent::Removed { generation, epoch } => {
                state.generation = *generation;
                state.epoch = *epoch;
                state.sizes.clear();
                state.weights.clear();
                state.stable = None;
                state.kept.clear();
                state.lost = None;
                state.prune();
            }
        }
    }

    fn effects(state: &ServiceState, event: &ServiceEvent) -> Vec<ServiceEffect> {
        match event {
            ServiceEvent::WorldLost { .. } | ServiceEvent::Removed { .. } => Self::pending(state),
            // A first release that was taken back.
            ServiceEvent::Released { .. } if state.sizes.is_empty() => Self::pending(state),
            ServiceEvent::Claimed { .. }
            | ServiceEvent::Changed { .. }
            | ServiceEvent::Promoted { .. }
            | ServiceEvent::Released { .. }
            | ServiceEvent::WorldRestored => Vec::new(),
        }
    }

    /// What was last asked for, when no rollout holds the service: asking again is asking once.
    fn pending(state: &ServiceState) -> Vec<ServiceEffect> {
        if state.claim.is_some() {
            return Vec::new();
        }
        let Some(desired) = state.desired() else { return Vec::new() };
        if state.sizes.is_empty() {
            return vec![ServiceEffect::Remove];
        }
        vec![ServiceEffect::Converge(Box::new(desired))]
    }

    fn deadline(_state: &ServiceState) -> Option<Time> {
        None
    }
}
