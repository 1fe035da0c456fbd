//! What there is of a service and what its proxy has counted, for people and dashboards.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::proxy::{Stats, VersionStats};

use super::client::Client;

/// What there is of a service now, and what its proxy has counted since it began to listen. It begins anew, with zeros,
/// when the supervisor is started again, or the service after its removal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ServiceStats {
    /// Where the proxy listens; nothing while it can't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What was counted, by version.
    pub versions: BTreeMap<String, VersionStats>,
    /// The instances, in the order in which they were begun. One keeps its place here when its process is started again.
    pub instances: Vec<InstanceStats>,
    /// Clients connected now, with an upgraded connection too.
    pub clients: u64,
    /// Requests that no instance was ready for (503).
    pub unrouted: u64,
    /// Requests that were refused before they were routed (400, 405, 413, 417, 501).
    pub refused: u64,
}

/// An instance of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceStats {
    /// The version that it runs.
    pub version: String,
    /// Its place within its version, from 0, which its process finds in `TIDEGATE_SLOT`.
    pub slot: u32,
    /// What it is about.
    pub state: InstanceState,
    /// Why it is not ready, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// Its process; nothing while it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Requests and upgraded connections under way at it.
    pub in_flight: u64,
    /// The proxy's open connections to it, idle ones too.
    pub connections: u64,
}

/// What an instance is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// It has no process: none could be started yet, or the last one ended.
    Down,
    /// Its process runs and is not ready for traffic.
    Starting,
    /// It gets traffic.
    Ready,
    /// It gets no new requests: what is under way ends, and then its process.
    Draining,
}

impl ServiceStats {
    pub(super) fn of_proxy(address: String, stats: Stats, instances: Vec<InstanceStats>) -> ServiceStats {
        let Stats { versions, clients, unrouted, refused, .. } = stats;
        ServiceStats { address: Some(address), versions, instances, clients, unrouted, refused }
    }

    /// Asks the supervisor of this folder.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::error::Kind::NotFound) when no supervisor runs, or it holds no such service.
    pub(crate) async fn ask(dir: &Path, service: &str) -> Result<ServiceStats> {
        Client::connect(dir).await?.stats(service).await
    }
}
