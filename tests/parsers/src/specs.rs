//! What users define, as JSON: pipelines, rollouts, checks, judges and their parts.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidegate::analysis::{EProcessSpec, JudgeSpec};
use tidegate::error::{Error, Fault, Kind};
use tidegate::health::{CheckSpec, OutlierSpec};
use tidegate::pipeline::{Pipeline, PipelineSpec, RetrySpec, difference};
use tidegate::rollout::{FULL, Layout, Move, RevertSpec, RolloutSpec, Strategy, Terms, plan};
use tidegate::service::{Release, ServeSpec};
use tidegate::time::Span;

use crate::json::{check_places, read as read_json};

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let command = json!({"kind": "command", "argv": ["cargo", "build"], "dir": "/srv", "grace": "30s", "output": "json",
        "env": {"A": {"kind": "text", "value": "1"}, "TOKEN": {"kind": "secret", "name": "token"}}});
    let shell = json!({"kind": "command", "shell": "echo {}", "output": "last_line_json"});
    let retry = json!({"attempts": 5, "initial": "2s", "factor": 1.5, "cap": "1m", "jitter": "none"});
    let release = json!({"version": "v2", "command": ["server"], "env": {"LEVEL": "debug"}, "dir": "/srv"});
    let http = json!({"kind": "http", "url": "http://{host}:{port}/healthz", "pass": ["200-299", "404"],
        "warn": ["429"], "fail_now": ["500-599"]});
    let check = json!({"probe": http, "interval": "5s", "start_interval": "100ms", "failing_interval": "1s",
        "rising_interval": "2s", "falling_interval": "3s", "jitter": 20, "timeout": "1s", "rise": 2, "fall": 3,
        "degrade": 1, "initial": "unknown", "first_result_applies": true, "unknown_after": 0, "hold": ["failing"],
        "initial_delay": "1s", "start_period": "30s", "max_age": "1m", "stale": "failing"});
    let tcp = json!({"probe": {"kind": "tcp", "address": "{host}:{port}"}});
    // Found by the fuzzer: a port that fits in front of some ports only.
    let port = json!({"probe": {"kind": "tcp", "address": "{host}:6{port}"}});
    let program = json!({"probe": {"kind": "command", "argv": ["check", "{port}"], "warn": [1], "unknown": [2, 3]}});
    let judge = json!({"form": {"kind": "absolute", "objective": 0.01, "independent": true}, "alpha": 0.01,
        "beta": 0.05, "tolerate": 1.5, "safe": 2.0, "detect": 3.0, "base_rate": 0.001, "window": "20s", "burst": "10s",
        "warmup": "5s", "inconclusive": "roll_back",
        "blackout": {"kind": "on", "requests": 20, "bad": 0.5, "readings": 2, "stable": 0.05}});
    let serve = json!({"listen": "127.0.0.1:8080", "replicas": 4, "ready": check, "drain": "30s", "grace": "10s",
        "request_timeout": "60s", "max_body_bytes": 1048576});
    let canary = json!({"service": "shop", "serve": serve, "judge": judge, "progress_deadline": "10m",
        "promote": "manual", "keep_old": "30s", "keep_versions": 2, "restart_limit": 3,
        "strategy": {"kind": "canary", "steps": [0.5, 5, 33.33, 100], "bake": "2m"}});
    let blue_green = json!({"service": "shop", "serve": {"listen": "[::1]:0", "replicas": 1}, "judge": {},
        "strategy": {"kind": "blue_green", "bake": "1h"}});
    let revert = json!({"service": "shop", "to": "v1", "progress_deadline": "1m", "keep_old": "0s"});
    let pipeline = json!({"name": "release", "max_parallel": 2, "fail_fast": true, "steps": [
        {"name": "build", "action": command, "retry": retry, "timeout": "10m", "deadline": "1h", "version": "2"},
        {"name": "test", "action": shell, "after": [{"step": "build"}], "allow_failure": true},
        {"name": "package", "action": {"kind": "function", "function": "package"}, "inputs": ["build"],
            "guarantee": "once", "after": [{"step": "test", "when": "done"}]},
        {"name": "ship", "action": {"kind": "rollout", "rollout": canary, "release": release}, "inputs": ["package"]},
        {"name": "more", "action": {"kind": "rollout", "rollout": blue_green}, "inputs": ["package"]},
        {"name": "back", "action": {"kind": "revert", "revert": revert}, "after": [{"step": "ship", "when": "failure"}]},
        {"name": "tell", "action": {"kind": "function", "function": "tell"}, "cleanup": true},
    ]});
    let cycle = json!({"name": "p", "steps": [
        {"name": "a", "action": {"kind": "function", "function": "f"}, "after": [{"step": "b"}]},
        {"name": "b", "action": {"kind": "function", "function": "f"}, "inputs": ["a"]},
    ]});
    let outliers = json!({"min_members": 5, "min_requests": 100, "deviations": 1.9, "max_percent": 10, "base": "30s",
        "max": "5m"});
    let law = |law: Value| json!({"law": law, "points": [0.1, 0.5], "weights": [1, 3]});
    let all = [
        pipeline,
        cycle,
        canary,
        blue_green,
        check,
        tcp,
        port,
        program,
        judge,
        serve,
        revert,
        release,
        retry,
        outliers,
        law(json!({"kind": "betting", "side": "safe", "margin": 2.0})),
        law(json!({"kind": "absolute_betting", "side": "harm", "null": 0.01})),
        json!({"law": {"kind": "events", "margin": 1.0}, "points": [2, 3.5]}),
        json!({"law": {"kind": "absolute_events", "null": 0.01}, "points": [0.02]}),
        json!({"form": {"kind": "event"}, "blackout": {"kind": "off"}}),
    ];
    all.iter().map(|seed| seed.to_string().into_bytes()).collect()
}

pub(crate) fn read(bytes: &[u8]) -> bool {
    // Each at its own place: what all may be refused must not keep the others from being read.
    let taken = [
        pipeline(bytes),
        spec(bytes, rollout),
        spec(bytes, check),
        spec(bytes, |judge: &JudgeSpec| gather(|faults| judge.check("", faults)).1),
        spec(bytes, retry),
        spec(bytes, |outliers: &OutlierSpec| faults_of(outliers.validate().err())),
        spec(bytes, |law: &EProcessSpec| faults_of(law.process().err())),
        spec(bytes, |_: &RevertSpec| Vec::new()),
        spec(bytes, |_: &ServeSpec| Vec::new()),
        spec(bytes, |_: &Release| Vec::new()),
    ];
    taken.contains(&true)
}

/// A spec that is read, and checked twice with the same result; whether it has no faults.
fn spec<T>(bytes: &[u8], check: impl Fn(&T) -> Vec<Fault>) -> bool
where
    T: DeserializeOwned + Serialize + PartialEq + Debug,
{
    let Some(spec) = read_json::<T>(bytes) else { return false };
    let faults = check(&spec);
    assert_eq!(faults, check(&spec));
    check_places(&spec, &faults);
    faults.is_empty()
}

fn gather<T>(check: impl FnOnce(&mut Vec<Fault>) -> T) -> (T, Vec<Fault>) {
    let mut faults = Vec::new();
    (check(&mut faults), faults)
}

/// The faults of a refusal, of which there is one at least.
fn faults_of(error: Option<Error>) -> Vec<Fault> {
    let faults = error.iter().flat_map(Error::faults).cloned().collect::<Vec<_>>();
    assert!(error.is_none_or(|error| error.kind() == Kind::Invalid && !faults.is_empty()));
    faults
}

fn pipeline(bytes: &[u8]) -> bool {
    let Some(spec) = read_json::<PipelineSpec>(bytes) else { return false };
    let pipeline = match spec.check() {
        Ok(pipeline) => pipeline,
        Err(error) => {
            assert!((1..=100).contains(&error.faults().len()), "{error}");
            check_places(&spec, &faults_of(Some(error)));
            return false;
        }
    };
    assert_eq!(pipeline.graph().levels().concat().len(), spec.steps.len(), "no step waits for itself");
    assert!(difference(&spec, &spec).is_empty());
    // What is recorded is the same pipeline, by its hash too, or a run could not be taken up.
    let recorded: Pipeline = read_json(&serde_json::to_vec(&pipeline).expect("it can be written")).expect("as written");
    assert_eq!((recorded.hash(), recorded.spec()), (pipeline.hash(), &spec));
    let written = serde_json::to_value(&spec).expect("it can be written");
    for (function, pointer) in pipeline.functions() {
        assert_eq!(written.pointer(&pointer).and_then(Value::as_str), Some(function));
    }
    true
}

fn rollout(spec: &RolloutSpec) -> Vec<Fault> {
    let (terms, faults) = gather(|faults| spec.check("", faults));
    if faults.is_empty() {
        assert_eq!(read_json::<Terms>(&serde_json::to_vec(&terms).expect("terms")).as_ref(), Some(&terms));
        if let Strategy::Canary { steps, .. } = &terms.strategy {
            assert!(steps.is_sorted_by(|a, b| a < b) && steps.iter().all(|share| (1..=FULL).contains(share)));
        }
        let standing = Layout {
            sizes: [("v1".to_owned(), terms.full)].into(),
            weights: [("v1".to_owned(), FULL)].into(),
            stable: Some("v1".to_owned()),
        };
        for start in [Layout::default(), standing] {
            let moves = plan(&terms, &start, "v2");
            for step in &moves {
                let Move::Route { weights } = step else { continue };
                assert_eq!(weights.values().sum::<u32>(), FULL, "{weights:?}");
            }
            assert!(moves.contains(&Move::Promote { version: Some("v2".to_owned()) }));
        }
    }
    faults
}

fn check(spec: &CheckSpec) -> Vec<Fault> {
    let (check, faults) = gather(|faults| spec.check("", faults));
    assert_eq!(spec.validate().is_ok(), faults.is_empty());
    if faults.is_empty() {
        assert!(check.timeout > Span::ZERO && check.rules.every.normal > Span::ZERO);
        let resolved = check.probe.resolve("10.255.255.255", 60_999);
        assert!(!resolved.has_placeholders());
        // What is right for one address is right for all.
        let again = gather(|faults| resolved.check("", faults)).1;
        assert_eq!(again, [], "{resolved:?}");
        for status in [0, 99, 200, 404, 503, 65_535] {
            assert!(
                check.probe.verdict_of_status(status).is_ok() != check.probe.verdict_of_exit(0).is_ok()
                    || matches!(check.probe, tidegate::health::ProbeSpec::Tcp { .. })
            );
        }
    }
    faults
}

fn retry(spec: &RetrySpec) -> Vec<Fault> {
    let delays = match spec.delays() {
        Ok(delays) => delays,
        Err(error) => return faults_of(Some(error)),
    };
    assert_eq!(delays.len() + 1, spec.attempts as usize);
    assert!(delays.is_sorted());
    let cap = spec.cap.as_ref().map_or(Span::seconds(300), |cap| Span::parse(&cap.0).expect("it was checked"));
    assert!(delays.iter().all(|delay| *delay <= cap));
    Vec::new()
}
