//! What an engine and a reader answer about runs and services: the same in every language.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::journal::RunEntry;
use crate::service::{Claim, LastRollout, Release, ServiceState};
use crate::time::Time;

/// A run in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunRow {
    /// The run's id.
    pub id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The run's key, unique within the pipeline; its id if it was started without one.
    pub key: String,
    /// When it was started.
    pub started: Time,
    /// Its status for people, such as `running`.
    pub status: String,
    /// Whether nothing more will happen.
    pub finished: bool,
}

impl From<RunEntry> for RunRow {
    fn from(RunEntry { stream, index }: RunEntry) -> RunRow {
        RunRow {
            id: stream.name().to_owned(),
            pipeline: index.pipeline,
            key: index.key,
            started: index.started,
            status: index.status,
            finished: index.finished,
        }
    }
}

/// What is known of a service.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The version that counts as good; nothing before the first release.
    pub stable: Option<String>,
    /// Versions that were stable before and can be reverted to, the latest first.
    pub kept: Vec<String>,
    /// What is needed to start each version that is known.
    pub versions: BTreeMap<String, Release>,
    /// Processes by version, as last asked for; a version with none is absent.
    pub sizes: BTreeMap<String, u32>,
    /// Percent of the traffic by version, as last asked for.
    pub weights: BTreeMap<String, f64>,
    /// The rollout that holds it.
    pub claim: Option<Claim>,
    /// What was lost of the world and has not been seen whole since.
    pub lost: Option<String>,
    /// How the last rollout ended.
    pub last: Option<LastRollout>,
}

impl From<&ServiceState> for Service {
    fn from(state: &ServiceState) -> Service {
        let release = |version: &crate::service::DesiredVersion| version.release.clone();
        Service {
            name: state.name.clone(),
            stable: state.stable.clone(),
            kept: state.kept.clone(),
            versions: state.versions.iter().map(|(name, version)| (name.clone(), release(version))).collect(),
            sizes: state.sizes.clone(),
            weights: state.weights.iter().map(|(name, share)| (name.clone(), f64::from(*share) / 100.0)).collect(),
            claim: state.claim.clone(),
            lost: state.lost.clone(),
            last: state.last.clone(),
        }
    }
}
