//! What six systems do with the same results, through one machine: each case's settings become our parameters, and
//! our states become the system's names.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate::health::{CheckRecord, CheckSpec, OutlierSpec, ProbeSpec, Standing, State, Tally, Verdict};
use tidegate::time::{Chance, Span, SpanText, Time};

use super::cases;

/// A check without anything that would be ours by default.
fn bare() -> CheckSpec {
    CheckSpec {
        start_period: Some("0s".into()),
        unknown_after: Some(0),
        jitter: Some(0),
        ..CheckSpec::new(ProbeSpec::tcp("127.0.0.1:1"))
    }
}

fn count(settings: &Value, key: &str) -> Option<u32> {
    settings[key].as_u64().map(|n| u32::try_from(n).unwrap().max(1))
}

fn ms(settings: &Value, key: &str) -> Option<SpanText> {
    settings[key].as_u64().map(|n| Span::millis(n).into())
}

/// The case's settings as our spec, and our states under the system's names.
fn translate(case: &Value) -> (CheckSpec, BTreeMap<State, &'static str>) {
    let settings = &case["settings"];
    let mut spec = bare();
    let names: &[(State, &'static str)] = match case["system"].as_str().unwrap() {
        "kubernetes" => {
            let kind = settings["probe_kind"].as_str().unwrap();
            spec.rise = count(settings, "success_threshold");
            spec.fall = count(settings, "failure_threshold");
            let by_kind = BTreeMap::from([("readiness", "failure"), ("liveness", "success"), ("startup", "unknown")]);
            spec.initial = Some(match settings["initial_state"].as_str().unwrap_or(by_kind[kind]) {
                "success" => State::Passing,
                "failure" => State::Failing,
                "unknown" => State::Unknown,
                other => panic!("unheard-of state {other}"),
            });
            spec.hold = match kind {
                "readiness" => vec![],
                "liveness" => vec![State::Failing],
                "startup" => vec![State::Passing, State::Failing],
                other => panic!("unheard-of probe {other}"),
            };
            spec.initial_delay = settings["initial_delay_seconds"].as_u64().map(|s| Span::seconds(s).into());
            &[(State::Passing, "success"), (State::Failing, "failure"), (State::Unknown, "unknown")]
        }
        "consul" => {
            spec.rise = count(settings, "success_before_passing");
            spec.fall = count(settings, "failures_before_critical");
            spec.degrade = count(settings, "failures_before_warning").filter(|n| Some(*n) < spec.fall);
            spec.first_result_applies = settings["first_result_applies_at_once"].as_bool().unwrap();
            assert_eq!(settings["initial_state"], "critical");
            spec.initial = Some(State::Failing);
            &[(State::Passing, "passing"), (State::Degraded, "warning"), (State::Failing, "critical")]
        }
        "envoy" => {
            spec.rise = count(settings, "healthy_threshold");
            spec.fall = count(settings, "unhealthy_threshold");
            spec.initial = Some(match case["start_state"].as_str() {
                None | Some("unhealthy") => State::Failing,
                Some("healthy") => State::Passing,
                Some(other) => panic!("unheard-of state {other}"),
            });
            spec.first_result_applies = case["start_state"].is_null();
            spec.interval = ms(settings, "interval_ms");
            spec.failing_interval = ms(settings, "unhealthy_interval_ms");
            spec.rising_interval = ms(settings, "healthy_edge_interval_ms");
            spec.falling_interval = ms(settings, "unhealthy_edge_interval_ms");
            &[(State::Passing, "healthy"), (State::Failing, "unhealthy")]
        }
        "haproxy" => {
            spec.rise = count(settings, "rise");
            spec.fall = count(settings, "fall");
            let (initial, first) = match settings["init_state"].as_str().unwrap() {
                "fully-up" => (State::Passing, false),
                "none" | "up" => (State::Passing, true),
                "down" => (State::Failing, true),
                "fully-down" => (State::Failing, false),
                other => panic!("unheard-of state {other}"),
            };
            spec.initial = Some(initial);
            spec.first_result_applies = first;
            &[(State::Passing, "up"), (State::Failing, "down")]
        }
        "uptime_kuma" => {
            let retries = u32::try_from(settings["max_retries"].as_u64().unwrap()).unwrap();
            spec.fall = Some(retries + 1);
            spec.degrade = Some(1);
            &[(State::Passing, "up"), (State::Degraded, "pending"), (State::Failing, "down")]
        }
        "gatus_alert" => {
            spec.rise = count(settings, "success_threshold");
            spec.fall = count(settings, "failure_threshold");
            &[]
        }
        other => panic!("unheard-of system {other}"),
    };
    (spec, names.iter().copied().collect())
}

fn verdict(probe: &str) -> Verdict {
    match probe {
        "pass" => Verdict::Pass,
        "warn" => Verdict::Warn,
        "fail" => Verdict::Fail,
        "hard_fail" => Verdict::FailNow,
        "prober_error" => Verdict::Unknown,
        other => panic!("unheard-of result {other}"),
    }
}

fn replay(spec: &CheckSpec, records: &[CheckRecord]) -> Vec<Standing> {
    spec.replay(records, Some(Time(0)), Chance(1)).unwrap()
}

/// Steps of results, each probed when it is due (or when it would have been, were probing not ended).
fn run_steps(case: &Value) {
    let (spec, names) = translate(case);
    let steps = case["steps"].as_array().unwrap();
    let record = |step: &Value| match step["probe"].as_str().unwrap() {
        "new_container" => CheckRecord::restart(),
        probe => CheckRecord::result(verdict(probe)),
    };
    let standings = replay(&spec, &steps.iter().map(record).collect::<Vec<_>>());
    assert_eq!(standings.len(), steps.len());
    for (i, (step, standing)) in steps.iter().zip(standings).enumerate() {
        let context = format!("{} step {i}: {}", case["id"], standing.explanation);
        if let Some(state) = step["state_after"].as_str() {
            assert_eq!(names.get(&standing.state).copied(), Some(state), "{context}");
        }
        if let Some(open) = step["alert_open_after"].as_bool() {
            assert_eq!(standing.state == State::Failing, open, "{context}");
            let notification =
                standing.transitions.first().and_then(|transition| match (transition.from, transition.to) {
                    (_, State::Failing) => Some("trigger"),
                    (State::Failing, _) => Some("resolve"),
                    _ => None,
                });
            assert_eq!(notification, step["notification"].as_str(), "{context}");
        }
        if let Some(after) = step["next_check_after_ms"].as_u64() {
            assert_eq!(standing.due, Some(standing.at.after(Span(after))), "{context}");
        }
    }
}

fn run_timed(case: &Value) {
    let (spec, names) = translate(case);
    let steps = case["timed_steps"].as_array().unwrap();
    let record = |step: &Value| {
        let at = Time(0).after(Span::seconds(step["seconds_since_start"].as_u64().unwrap()));
        CheckRecord::result(verdict(step["probe_would"].as_str().unwrap())).at(at)
    };
    for (step, standing) in steps.iter().zip(replay(&spec, &steps.iter().map(record).collect::<Vec<_>>())) {
        assert_eq!(Some(standing.was_due), step["probe_runs"].as_bool(), "{}", case["id"]);
        assert_eq!(names.get(&standing.state).copied(), step["state_after"].as_str(), "{}", case["id"]);
    }
}

/// What an answer means: the state to which one such answer leads.
fn run_map(case: &Value) {
    let (probe, record) = if let Some(status) = case["http_status"].as_u64() {
        let probe = ProbeSpec::Http {
            url: "http://127.0.0.1:1/".to_owned(),
            pass: Some(vec!["200-299".to_owned()]),
            warn: vec!["429".to_owned()],
            fail_now: Vec::new(),
        };
        (probe, CheckRecord { status: Some(u16::try_from(status).unwrap()), ..CheckRecord::default() })
    } else {
        let code = i32::try_from(case["exit_code"].as_i64().unwrap()).unwrap();
        let probe = ProbeSpec::Command { argv: vec!["check".to_owned()], warn: vec![1], unknown: vec![] };
        (probe, CheckRecord { exit_code: Some(code), ..CheckRecord::default() })
    };
    let spec = CheckSpec { probe, fall: Some(1), ..bare() };
    assert_eq!(Some(consul(replay(&spec, &[record])[0].state)), case["expected_state"].as_str(), "{}", case["id"]);
}

fn consul(state: State) -> &'static str {
    match state {
        State::Passing => "passing",
        State::Degraded => "warning",
        State::Failing => "critical",
        State::Unknown | State::Starting => "unknown",
    }
}

/// The timeout that was written, or 10 s; it is not bound to the interval. A probe that took as long passes, and one
/// that took longer fails.
fn run_timeout(case: &Value) {
    let seconds = |key: &str| case[key].as_u64().unwrap();
    let configured = Some(seconds("configured_timeout_s")).filter(|s| *s > 0).unwrap_or(10);
    let spec = CheckSpec {
        interval: Some(Span::seconds(seconds("interval_s")).into()),
        timeout: Some(Span::seconds(configured).into()),
        fall: Some(1),
        ..bare()
    };
    let expected = seconds("expected_timeout_s") * 1_000;
    for (took, state) in [(expected, State::Passing), (expected + 1, State::Failing)] {
        let record = CheckRecord { took: Some(Span(took).into()), ..CheckRecord::result(Verdict::Pass) };
        assert_eq!(replay(&spec, &[record])[0].state, state, "{}", case["id"]);
    }
}

/// A heartbeat: results come from outside, and their staying away is a failure.
fn run_ttl(case: &Value) {
    let spec = CheckSpec {
        initial: Some(State::Failing),
        max_age: ms(&case["settings"], "ttl_ms"),
        stale: Some(State::Failing),
        ..bare()
    };
    let at = |entry: &Value| Time(entry["at_ms"].as_i64().unwrap());
    let beat = |beat: &Value| {
        let verdict = match beat["heartbeat"].as_str().unwrap() {
            "passing" => Verdict::Pass,
            "warning" => Verdict::Warn,
            "critical" => Verdict::FailNow,
            other => panic!("unheard-of heartbeat {other}"),
        };
        CheckRecord { reason: "said the heartbeat".to_owned(), ..CheckRecord::result(verdict).at(at(beat)) }
    };
    let beats: Vec<CheckRecord> = case["events"].as_array().unwrap().iter().map(beat).collect();
    for expected in case["expected"].as_array().unwrap() {
        let mut records = beats.clone();
        records.retain(|beat| beat.at <= Some(at(expected)));
        records.push(CheckRecord::look(at(expected)));
        let last = replay(&spec, &records).pop().unwrap();
        assert_eq!(Some(consul(last.state)), expected["state"].as_str(), "{}", case["id"]);
        if expected["keeps_last_output"] == true {
            assert_eq!(last.transitions[0].reason, "said the heartbeat");
        }
    }
}

/// Passive checking, by what real requests do.
fn run_outlier(case: &Value) {
    let settings = &case["settings"];
    let number = |key: &str| settings[key].as_u64();
    let small = |key: &str| number(key).map(|n| u32::try_from(n).unwrap());
    let spec = OutlierSpec {
        min_members: small("minimum_hosts"),
        min_requests: number("request_volume"),
        deviations: number("success_rate_stdev_factor").map(|n| n as f64 / 1_000.0),
        max_percent: small("max_ejection_percent"),
        base: number("base_ejection_seconds").map(|s| Span::seconds(s).into()),
        max: number("max_ejection_seconds").map(|s| Span::seconds(s).into()),
    };
    let rules = spec.validate().unwrap();
    if let Some(expected) = case["expected_ejection_seconds"].as_u64() {
        let times = u32::try_from(case["times_ejected"].as_u64().unwrap()).unwrap();
        assert_eq!(rules.aside_for(times), Span::seconds(expected), "{}", case["id"]);
    } else if let Some(expected) = case["expected_max_ejected"].as_u64() {
        let hosts = u32::try_from(case["hosts"].as_u64().unwrap()).unwrap();
        assert_eq!(u64::from(rules.most(hosts)), expected, "{}", case["id"]);
    } else {
        let requests = case["each_host_requests"].as_u64().unwrap();
        let tally = |percent: &Value| Tally { requests, successes: requests * percent.as_u64().unwrap() / 100 };
        let percents = case["hosts_success_percent"].as_array().unwrap();
        let hosts = percents.iter().enumerate().map(|(i, percent)| (format!("{i:04}"), tally(percent))).collect();
        let comparison = rules.compare(&hosts).unwrap();
        let near = |value: f64, key: &str| (value - case[key].as_f64().unwrap()).abs() < 1e-9;
        assert!(near(comparison.mean, "expected_mean"), "{comparison:?}");
        assert!(near(comparison.stdev, "expected_population_stdev"), "{comparison:?}");
        assert!(near(comparison.limit, "expected_threshold"), "{comparison:?}");
        let mut outliers: Vec<u64> = comparison.outliers.iter().map(|name| name.parse().unwrap()).collect();
        outliers.sort_unstable();
        let expected = case["expected_ejected_indexes"].as_array().unwrap();
        assert!(outliers.into_iter().eq(expected.iter().map(|i| i.as_u64().unwrap())), "{comparison:?}");
    }
}

#[test]
fn results_count_as_they_do_in_six_systems() {
    let mut ran = BTreeMap::new();
    for case in cases("health/threshold_cases.json") {
        let system = case["system"].as_str().unwrap().to_owned();
        match system.as_str() {
            "consul_map" => run_map(&case),
            "consul_timeout" => run_timeout(&case),
            "consul_ttl" => run_ttl(&case),
            "envoy_outlier" => run_outlier(&case),
            _ if case["timed_steps"].is_array() => run_timed(&case),
            _ => run_steps(&case),
        }
        *ran.entry(system).or_insert(0) += 1;
    }
    for system in
        ["kubernetes", "consul", "envoy", "haproxy", "uptime_kuma", "gatus_alert", "consul_map", "envoy_outlier"]
    {
        assert!(ran[system] > 1, "no cases of {system}");
    }
}
