//! What is remembered of a service between and during rollouts: the fold of its own stream.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Desired, DesiredVersion, Measure, Weights};
use crate::time::Span;

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RolloutOutcome")]
pub enum Outcome {
    /// The new version is the stable one.
    Promoted,
    /// The rollout turned back by itself; what served before serves as before.
    RolledBack,
    /// Somebody took it back before its version was promoted; what served before serves as before.
    Aborted,
    /// Somebody took it back after its version was promoted; what served before serves as before.
    Reverted,
    /// The way back could not be walked to its end. Both versions are kept, and a person is needed.
    Stuck,
}

impl Outcome {
    /// The outcome's name in JSON, such as `rolled_back`.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Promoted => "promoted",
            Outcome::RolledBack => "rolled_back",
            Outcome::Aborted => "aborted",
            Outcome::Reverted => "reverted",
            Outcome::Stuck => "stuck",
        }
    }
}

/// Which rollout holds the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// The run that the rollout belongs to.
    pub run: String,
    /// The rollout's step within the run.
    pub step: String,
    /// The version that it ships.
    pub version: String,
}

/// The part of the desired state that belongs to the service as a whole and to no version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Serving {
    /// Where the proxy listens.
    pub listen: String,
    /// How requests are counted.
    pub measure: Measure,
    /// How long a request may take until the first byte of its answer.
    pub request_timeout: Span,
    /// The largest request body in bytes.
    pub max_body_bytes: u64,
}

/// How far past its time-out a request may end, as timers and busy machines have it. By then its window can be read.
pub(crate) const OVERDUE: Span = Span::seconds(1);

/// All that is known of a service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ServiceState {
    /// The service's name.
    pub name: String,
    /// The version that counts as good; `None` before the first release.
    pub stable: Option<String>,
    /// Versions that were stable before and can be started again, the latest first.
    pub kept: Vec<String>,
    /// What is needed to start each version that is stable, kept, running or about to be shipped; `replicas` is its
    /// full size, not the present one.
    pub versions: BTreeMap<String, DesiredVersion>,
    /// How the service is served; `None` before the first release.
    pub serving: Option<Serving>,
    /// Processes by version, as last asked for; a version with none is absent.
    pub sizes: BTreeMap<String, u32>,
    /// Shares of traffic, as last asked for.
    pub weights: Weights,
    /// The generation of the last ask; it never falls, whatever happens to the world.
    pub generation: u64,
    /// The epoch of the last change of weights; it never falls.
    pub epoch: u64,
    /// The rollout that holds the service.
    pub claim: Option<Claim>,
    /// What was lost of the world and has not been seen whole since.
    pub lost: Option<String>,
    /// How the last rollout ended.
    pub last: Option<LastRollout>,
}

/// How the last rollout of a service ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastRollout {
    /// The version that it shipped.
    pub version: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in one sentence.
    pub reason: String,
}

impl ServiceState {
    /// A service that nothing is known of.
    pub fn new(name: impl Into<String>) -> ServiceState {
        ServiceState { name: name.into(), ..ServiceState::default() }
    }

    /// The whole desired state as last asked for; `None` when nothing was ever asked.
    pub fn desired(&self) -> Option<Desired> {
        let serving = self.serving.as_ref()?;
        Some(desired(&self.name, serving, &self.versions, &self.sizes, &self.weights, self.generation, self.epoch))
    }

    /// Forgets how to start what is neither stable nor kept nor running nor being shipped.
    pub(super) fn prune(&mut self) {
        let (stable, kept, sizes, claim) = (&self.stable, &self.kept, &self.sizes, &self.claim);
        self.versions.retain(|version, _| {
            stable.as_ref() == Some(version)
                || kept.contains(version)
                || sizes.contains_key(version)
                || claim.as_ref().is_some_and(|claim| claim.version == *version)
        });
    }
}

/// Puts the desired state together from what services and rollouts remember of it.
pub(crate) fn desired(
    service: &str,
    serving: &Serving,
    definitions: &BTreeMap<String, DesiredVersion>,
    sizes: &BTreeMap<String, u32>,
    weights: &Weights,
    generation: u64,
    epoch: u64,
) -> Desired {
    let versions = sizes
        .iter()
        .filter(|(_, replicas)| **replicas > 0)
        .filter_map(|(version, replicas)| {
            let definition = definitions.get(version)?;
            Some((version.clone(), DesiredVersion { replicas: *replicas, ..definition.clone() }))
        })
        .collect();
    Desired {
        service: service.to_owned(),
        generation,
        listen: serving.listen.clone(),
        versions,
        weights: weights.clone(),
        epoch,
        measure: serving.measure,
        request_timeout: serving.request_timeout,
        max_body_bytes: serving.max_body_bytes,
    }
}
