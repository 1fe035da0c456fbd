//! Counters and latencies since the proxy began, by version.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::latencies::{self, Latencies};

/// The bounds that are told, in microseconds.
const BOUNDS: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];

/// Threads record into different shards, so that they seldom wait for each other.
const SHARDS: usize = 4;

/// Locks even after a panic in another thread: what these locks guard is whole after every single statement.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is counted for one version.
pub(super) struct Meter {
    pub(super) routed: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) abandoned: AtomicU64,
    pub(super) ended: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) blamed: AtomicU64,
    pub(super) late: AtomicU64,
    latency: [Mutex<Latencies>; SHARDS],
}

impl Meter {
    pub(super) fn new() -> Meter {
        Meter {
            routed: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            blamed: AtomicU64::new(0),
            late: AtomicU64::new(0),
            latency: std::array::from_fn(|_| Mutex::new(Latencies::default())),
        }
    }

    /// Records the time to an answer's first byte.
    pub(super) fn latency(&self, micros: u64) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static SHARD: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
        }
        let Some(shard) = SHARD.with(|shard| self.latency.get(*shard)) else { return };
        lock(shard).record(micros);
    }

    /// Requests that were routed and have not ended.
    pub(super) fn in_flight(&self) -> u64 {
        let ended = self.ended.load(Ordering::Acquire);
        self.routed.load(Ordering::Acquire).saturating_sub(ended)
    }

    pub(super) fn read(&self) -> VersionStats {
        let mut all = latencies::sum();
        for shard in &self.latency {
            if let Some(all) = all.as_mut() {
                lock(shard).add_to(all);
            }
        }
        let latency = all.map(|all| Latency {
            count: all.len(),
            p50: all.value_at_quantile(0.5),
            p90: all.value_at_quantile(0.9),
            p99: all.value_at_quantile(0.99),
            p999: all.value_at_quantile(0.999),
            max: all.max(),
            buckets: BOUNDS
                .map(|up_to| Bucket {
                    up_to,
                    count: all
                        .iter_recorded()
                        .take_while(|one| one.value_iterated_to() <= up_to)
                        .map(|one| one.count_at_value())
                        .sum(),
                })
                .to_vec(),
        });
        // Before the requests: never more of them than of these.
        let errors = self.errors.load(Ordering::Acquire);
        VersionStats {
            in_flight: self.in_flight(),
            requests: self.requests.load(Ordering::Relaxed),
            errors,
            abandoned: self.abandoned.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            blamed: self.blamed.load(Ordering::Relaxed),
            late: self.late.load(Ordering::Relaxed),
            latency: latency.unwrap_or_default(),
        }
    }
}

/// What a proxy has counted since it began.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// By version.
    pub versions: BTreeMap<String, VersionStats>,
    /// By instance, draining ones included.
    pub instances: BTreeMap<String, InstanceStats>,
    /// Clients connected at the moment, tunnels included.
    pub clients: u64,
    /// Requests that no instance was ready for (503).
    pub unrouted: u64,
    /// Requests that were refused before they were routed (400, 405, 413, 417, 501).
    pub refused: u64,
    /// Windows that nobody read in time and that are gone, since the proxy began.
    pub lost_windows: u64,
    /// Readings that nobody read in time and that are gone, since the proxy began.
    pub lost_readings: u64,
}

/// What was counted for a version, warm-up included. A request counts under the version first drawn for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct VersionStats {
    /// Requests under way.
    pub in_flight: u64,
    /// Requests that got an answer, or that failed.
    pub requests: u64,
    /// Of these the bad ones, as clients got them.
    pub errors: u64,
    /// Requests that the client left (or broke) before the first byte of the answer.
    pub abandoned: u64,
    /// How often a request was sent again.
    pub retries: u64,
    /// Requests that are bad in windows and readings though no client got an error: a try failed at an instance of this
    /// version, and another one made up for it, or the client left meanwhile.
    pub blamed: u64,
    /// Requests that had no answer when their window was handed out, and so are in no window.
    pub late: u64,
    /// The time from routing to the first byte of the answer.
    pub latency: Latency,
}

/// Quantiles and a histogram of a latency in microseconds, within 1 %; all 0 when nothing was counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// How many were counted.
    pub count: u64,
    /// The median.
    pub p50: u64,
    /// Nine of ten were no longer.
    pub p90: u64,
    /// 99 of 100 were no longer.
    pub p99: u64,
    /// 999 of 1,000 were no longer.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// How many took at most so long, for bounds from 0.5 ms to a minute: as Prometheus counts them, each with those
    /// before it.
    pub buckets: Vec<Bucket>,
}

/// How many were counted up to a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LatencyBucket")]
pub struct Bucket {
    /// The bound in microseconds.
    pub up_to: u64,
    /// How many took no longer.
    pub count: u64,
}

/// What is known of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceStats {
    /// The version that it runs.
    pub version: String,
    /// Requests and tunnels under way.
    pub in_flight: u64,
    /// Open connections to it, idle ones and tunnels included.
    pub connections: u64,
    /// Whether it gets no new requests any more.
    pub draining: bool,
}
