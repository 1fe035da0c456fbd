//! What was counted.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::client::{Answer, Failure};

/// More versions than this are counted together, so that a server can't fill the memory.
const MAX_VERSIONS: usize = 64;
/// The longest latency that is told apart, in microseconds.
const MAX_MICROS: u64 = 120_000_000;

/// Counts since the start.
#[derive(Debug)]
pub(crate) struct Stats {
    requests: u64,
    failed: u64,
    by_status: BTreeMap<u16, u64>,
    by_version: BTreeMap<String, u64>,
    failed_by_version: BTreeMap<String, u64>,
    by_failure: BTreeMap<&'static str, u64>,
    /// Microseconds from when a request was due to the end of its answer; complete answers only.
    latency: Histogram<u64>,
}

impl Stats {
    pub(crate) fn new() -> Result<Stats, hdrhistogram::CreationError> {
        Ok(Stats {
            requests: 0,
            failed: 0,
            by_status: BTreeMap::new(),
            by_version: BTreeMap::new(),
            failed_by_version: BTreeMap::new(),
            by_failure: BTreeMap::new(),
            latency: Histogram::new_with_bounds(1, MAX_MICROS, 3)?,
        })
    }

    /// Counts one request that has ended. `latency` runs from when it was due.
    pub(crate) fn record(&mut self, result: &Result<Answer, Failure>, latency: Duration) {
        self.requests += 1;
        match result {
            Ok(answer) => {
                *self.by_status.entry(answer.status).or_default() += 1;
                self.latency.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(MAX_MICROS));
                let version = self.version_name(answer.version.as_deref());
                *self.by_version.entry(version.clone()).or_default() += 1;
                if answer.status >= 500 {
                    self.failed += 1;
                    *self.by_failure.entry("5xx").or_default() += 1;
                    *self.failed_by_version.entry(version).or_default() += 1;
                }
            }
            Err(failure) => {
                self.failed += 1;
                *self.by_failure.entry(failure.name()).or_default() += 1;
            }
        }
    }

    fn version_name(&self, version: Option<&str>) -> String {
        let Some(version) = version else { return "none".to_owned() };
        let short: String = version.chars().take(64).collect();
        if self.by_version.len() < MAX_VERSIONS || self.by_version.contains_key(&short) {
            short
        } else {
            "other".to_owned()
        }
    }

    /// The counts as one JSON object.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "requests": self.requests,
            "failed": self.failed,
            "by_status": self.by_status,
            "by_version": self.by_version,
            "failed_by_version": self.failed_by_version,
            "by_failure": self.by_failure,
            "latency_us": {
                "p50": self.latency.value_at_quantile(0.5),
                "p90": self.latency.value_at_quantile(0.9),
                "p99": self.latency.value_at_quantile(0.99),
                "p999": self.latency.value_at_quantile(0.999),
                "max": self.latency.max(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, version: &str) -> Result<Answer, Failure> {
        Ok(Answer { status, version: Some(version.to_owned()) })
    }

    #[test]
    fn every_end_is_counted_once() {
        let mut stats = Stats::new().unwrap();
        stats.record(&answer(200, "v1"), Duration::from_millis(2));
        stats.record(&answer(404, "v1"), Duration::from_millis(2));
        stats.record(&answer(503, "v2"), Duration::from_millis(4));
        stats.record(&Ok(Answer { status: 200, version: None }), Duration::from_millis(2));
        stats.record(&Err(Failure::Reset), Duration::from_millis(900));
        let json = stats.to_json();
        assert_eq!((&json["requests"], &json["failed"]), (&json!(5), &json!(2)));
        assert_eq!(json["by_status"], json!({"200": 2, "404": 1, "503": 1}));
        assert_eq!(json["by_version"], json!({"v1": 2, "v2": 1, "none": 1}));
        assert_eq!(json["failed_by_version"], json!({"v2": 1}));
        assert_eq!(json["by_failure"], json!({"5xx": 1, "reset": 1}));
        assert!(json["latency_us"]["max"].as_u64().unwrap() < 5_000, "{json}");
    }

    #[test]
    fn a_server_can_not_fill_the_memory() {
        let mut stats = Stats::new().unwrap();
        for i in 0..1_000 {
            stats.record(&answer(200, &format!("v{i}{}", "x".repeat(1_000))), Duration::MAX);
        }
        let json = stats.to_json();
        let versions = json["by_version"].as_object().unwrap();
        assert_eq!(versions.len(), MAX_VERSIONS + 1);
        assert!(versions.keys().all(|name| name.len() <= 64));
        assert_eq!(versions["other"], json!(1_000 - MAX_VERSIONS));
    }
}
