//! What six systems do with the same results, through one machine: each case's settings become our parameters, and
//! our states become the system's names.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::health::{Check, CheckMachine, CheckSpec, OutlierRules, ProbeSpec, State, Tally, Transition, Verdict};
use crate::time::{Chance, Span, SpanText, Time};

fn cases() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases/health/threshold_cases.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    file["cases"].as_array().unwrap().clone()
}

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

/// Steps of results, each probed when it is due (or when it would have been, were probing not ended).
fn run_steps(case: &Value) {
    let (spec, names) = translate(case);
    let check: Check = spec.validate().unwrap();
    let mut now = Time(0);
    let mut machine = CheckMachine::new(check.rules, now, Chance(1));
    for (i, step) in case["steps"].as_array().unwrap().iter().enumerate() {
        let context = format!("{} step {i}: {}", case["id"], machine.explain(now));
        now = machine.due().unwrap_or(now.after(Span::seconds(1)));
        let transition: Option<Transition> = match step["probe"].as_str().unwrap() {
            "new_container" => machine.restart(now),
            probe => machine.observe(verdict(probe), "", now, now),
        };
        if let Some(state) = step["state_after"].as_str() {
            assert_eq!(names.get(&machine.state()).copied(), Some(state), "{context}");
        }
        if let Some(open) = step["alert_open_after"].as_bool() {
            assert_eq!(machine.state() == State::Failing, open, "{context}");
            let notification = transition.as_ref().and_then(|transition| match (transition.from, transition.to) {
                (_, State::Failing) => Some("trigger"),
                (State::Failing, _) => Some("resolve"),
                _ => None,
            });
            assert_eq!(notification, step["notification"].as_str(), "{context}");
        }
        if let Some(after) = step["next_check_after_ms"].as_u64() {
            assert_eq!(machine.due(), Some(now.after(Span(after))), "{context}");
        }
    }
}

fn run_timed(case: &Value) {
    let (spec, names) = translate(case);
    let mut machine = CheckMachine::new(spec.validate().unwrap().rules, Time(0), Chance(1));
    for step in case["timed_steps"].as_array().unwrap() {
        let now = Time(0).after(Span::seconds(step["seconds_since_start"].as_u64().unwrap()));
        let runs = machine.due().is_some_and(|due| due <= now);
        assert_eq!(Some(runs), step["probe_runs"].as_bool(), "{}", case["id"]);
        if runs {
            machine.observe(verdict(step["probe_would"].as_str().unwrap()), "", now, now);
        }
        assert_eq!(names.get(&machine.state()).copied(), step["state_after"].as_str(), "{}", case["id"]);
    }
}

/// What an answer means.
fn run_map(case: &Value) {
    let verdict = if let Some(status) = case["http_status"].as_u64() {
        let spec = ProbeSpec::Http {
            url: "http://127.0.0.1:1/".to_owned(),
            pass: Some(vec!["200-299".to_owned()]),
            warn: vec!["429".to_owned()],
            fail_now: Vec::new(),
        };
        spec.verdict_of_status(u16::try_from(status).unwrap()).unwrap()
    } else {
        let code = i32::try_from(case["exit_code"].as_i64().unwrap()).unwrap();
        let spec = ProbeSpec::Command { argv: vec!["check".to_owned()], warn: vec![1], unknown: vec![] };
        spec.verdict_of_exit(code).unwrap()
    };
    let name = match verdict {
        Verdict::Pass => "passing",
        Verdict::Warn => "warning",
        Verdict::Fail | Verdict::FailNow => "critical",
        Verdict::Unknown => "unknown",
    };
    assert_eq!(Some(name), case["expected_state"].as_str(), "{}", case["id"]);
}

/// The timeout that was written, or 10 s; it is not bound to the interval.
fn run_timeout(case: &Value) {
    let seconds = |key: &str| case[key].as_u64().unwrap();
    let configured = Some(seconds("configured_timeout_s")).filter(|s| *s > 0).unwrap_or(10);
    let spec = CheckSpec {
        interval: Some(Span::seconds(seconds("interval_s")).into()),
        timeout: Some(Span::seconds(configured).into()),
        ..bare()
    };
    assert_eq!(spec.validate().unwrap().timeout, Span::seconds(seconds("expected_timeout_s")), "{}", case["id"]);
}

/// A heartbeat: results come from outside, and their staying away is a failure.
fn run_ttl(case: &Value) {
    let spec = CheckSpec {
        initial: Some(State::Failing),
        max_age: ms(&case["settings"], "ttl_ms"),
        stale: Some(State::Failing),
        ..bare()
    };
    let mut machine = CheckMachine::new(spec.validate().unwrap().rules, Time(0), Chance(1));
    let at = |entry: &Value| Time(entry["at_ms"].as_i64().unwrap());
    let mut beats = case["events"].as_array().unwrap().iter().peekable();
    for expected in case["expected"].as_array().unwrap() {
        while let Some(beat) = beats.next_if(|beat| at(beat) <= at(expected)) {
            machine.tick(at(beat));
            let verdict = match beat["heartbeat"].as_str().unwrap() {
                "passing" => Verdict::Pass,
                "warning" => Verdict::Warn,
                "critical" => Verdict::FailNow,
                other => panic!("unheard-of heartbeat {other}"),
            };
            machine.observe(verdict, "said the heartbeat", at(beat), at(beat));
        }
        let transition = machine.tick(at(expected));
        let name = match machine.state() {
            State::Passing => "passing",
            State::Degraded => "warning",
            State::Failing => "critical",
            other => panic!("{other:?}"),
        };
        assert_eq!(Some(name), expected["state"].as_str(), "{}", case["id"]);
        if expected["keeps_last_output"] == true {
            assert_eq!(transition.unwrap().reason, "said the heartbeat");
        }
    }
}

/// Passive checking, by what real requests do.
fn run_outlier(case: &Value) {
    let settings = &case["settings"];
    let number = |key: &str| settings[key].as_u64();
    let small = |key: &str, default: u32| number(key).map_or(default, |n| u32::try_from(n).unwrap());
    let ours = OutlierRules::default();
    let rules = OutlierRules {
        min_members: small("minimum_hosts", ours.min_members),
        min_requests: number("request_volume").unwrap_or(ours.min_requests),
        stdev_thousandths: small("success_rate_stdev_factor", ours.stdev_thousandths),
        max_percent: small("max_ejection_percent", ours.max_percent),
        base: number("base_ejection_seconds").map_or(ours.base, Span::seconds),
        max: number("max_ejection_seconds").map_or(ours.max, Span::seconds),
    };
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
    for case in cases() {
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
