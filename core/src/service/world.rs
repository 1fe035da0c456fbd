//! What is asked of the world for a service, and what the world reports. Every ask is the whole desired state under
//! a generation, so that asking twice is asking once, and asking again after a fault mends it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::health::CheckSpec;
use crate::service::Release;
use crate::time::{Span, Time};

/// Shares of traffic by version, in hundredths of a percent; they add up to 10,000, or there are none.
pub type Weights = BTreeMap<String, u32>;

/// The whole desired state of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    /// The service's name.
    pub service: String,
    /// Rises with every change; an older one than what is in force is refused.
    pub generation: u64,
    /// Where the proxy listens.
    pub listen: String,
    /// The versions that run, by name.
    pub versions: BTreeMap<String, DesiredVersion>,
    /// Shares of traffic. Only versions that are ready get any: what is not ready is left out of the draw.
    pub weights: Weights,
    /// Rises with every change of weights; requests are counted under the epoch in which they were routed.
    pub epoch: u64,
    /// How requests are counted.
    pub measure: Measure,
    /// How long a request may take until the first byte of its answer.
    pub request_timeout: Span,
    /// The largest request body in bytes.
    pub max_body_bytes: u64,
}

/// One version's desired state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DesiredVersion {
    /// What to run.
    pub release: Release,
    /// How many processes.
    pub replicas: u32,
    /// When an instance is ready; `None`: when the process that was started listens on its port.
    pub ready: Option<CheckSpec>,
    /// How long requests under way may take to end before an instance is stopped.
    pub drain: Span,
    /// How long after SIGTERM an instance is killed.
    pub grace: Span,
}

/// How requests are counted into windows ; what validity rests on says [`analysis`](crate::analysis).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Measure {
    /// The length of a window. Windows also end when weights change.
    pub window: Span,
    /// Requests are in no window while any instance that can be drawn became ready less than this ago.
    pub warmup: Span,
}

/// What the world reports of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Observed {
    /// The generation in force; 0 when nothing is known of the service.
    pub generation: u64,
    /// The epoch of the weights in force.
    pub epoch: u64,
    /// Every version that is desired or still has processes.
    pub versions: BTreeMap<String, ObservedVersion>,
    /// Why nothing can be served (such as a port in use), if so.
    pub trouble: Option<String>,
    /// Whether that is because the address can't be listened on.
    #[serde(default)]
    pub cant_listen: bool,
}

/// What the world reports of one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct ObservedVersion {
    /// Processes that run, draining ones included.
    pub running: u32,
    /// Of these, how many may get traffic.
    pub ready: u32,
    /// How often a process was started again, or tried to be, since the version was first desired.
    pub restarts: u32,
    /// The last thing that went wrong.
    pub trouble: Option<Trouble>,
}

/// Why an instance does not serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trouble {
    /// One sentence: `exited with code 3, 0.2 s after its start`.
    pub what: String,
    /// The last lines that it wrote.
    pub last_lines: Vec<String>,
}

/// What was counted for one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Counts {
    /// Requests routed in the window that have ended, without those that the client left before the first byte.
    pub requests: u64,
    /// Of these the bad ones: status 500 and above from the instance, refused, reset, cut or timed out; also
    /// when another try made up for it.
    pub errors: u64,
    /// Requests that the client left before the first byte of the answer.
    pub abandoned: u64,
}

/// Quantiles of the time from routing to the first byte of the answer, in microseconds. Each is at most 1 % more than
/// what was measured, and never less: the upper end of a bucket of the proxy's histogram. An answer that the proxy makes
/// for an instance that failed or was too slow is one of them; a request that its client left is none. Of fewer than 100
/// answers `p99` is the longest, of fewer than 20 `p95` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyQuantiles {
    /// The median.
    pub p50: u64,
    /// 95 of 100 were no longer.
    pub p95: u64,
    /// 99 of 100 were no longer.
    pub p99: u64,
}

/// The requests that were routed within one window, counted after the last of them has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// The epoch of the weights under which they were routed.
    pub epoch: u64,
    /// Counts up for ever within the service; later windows have higher numbers.
    pub number: u64,
    /// When the window began.
    pub from: Time,
    /// When it ended for new requests.
    pub to: Time,
    /// The shares that were in force.
    pub weights: Weights,
    /// What was counted, by version. A window leaves out what was routed while an instance that could be drawn was in
    /// its warm-up, or a version with a share had none; a reading does not.
    pub counts: BTreeMap<String, Counts>,
    /// How long the answers to these requests took, by version: of those that had any. A reading has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub latency: BTreeMap<String, LatencyQuantiles>,
}
