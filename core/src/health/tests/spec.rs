//! Validation and wire form of specs.

use serde_json::json;

use crate::health::{CheckSpec, ProbeSpec, State, Verdict};
use crate::time::Span;

#[test]
fn every_fault_is_reported_at_once_and_in_its_place() {
    let spec: CheckSpec = serde_json::from_value(json!({
        "probe": {"kind": "http", "url": "https://{host}:{port}/", "pass": ["2xx"]},
        "interval": "0s",
        "timeout": "soon",
        "rise": 0,
        "fall": 2,
        "degrade": 3,
        "jitter": 101,
        "hold": ["passing", "unknown"],
        "stale": "passing",
    }))
    .unwrap();
    let mut faults = Vec::new();
    spec.check("/ready", &mut faults);
    let pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/ready/interval",
            "/ready/timeout",
            "/ready/rise",
            "/ready/degrade",
            "/ready/jitter",
            "/ready/hold/1",
            "/ready/stale",
            "/ready/probe/url",
            "/ready/probe/pass/0",
        ]
    );
    let error = spec.validate().unwrap_err();
    assert_eq!(error.faults().len(), 9);
    assert!(error.to_string().contains("https is not supported by this probe yet"), "{error}");
}

#[test]
fn probes_are_checked_around_their_placeholders() {
    for (probe, pointer) in [
        (ProbeSpec::tcp("{host}"), "/address"),
        (ProbeSpec::http("http://{host}:{prt}/"), "/url"),
        (ProbeSpec::command(Vec::<String>::new()), "/argv"),
        (ProbeSpec::command([""]), "/argv"),
        (ProbeSpec::command(["a", "b\0"]), "/argv/1"),
    ] {
        let mut faults = Vec::new();
        probe.check("", &mut faults);
        assert_eq!(faults.len(), 1, "{probe:?}: {faults:?}");
        assert_eq!(faults[0].pointer, pointer);
    }
    let mut faults = Vec::new();
    ProbeSpec::http("http://{host}:{port}/healthz").check("", &mut faults);
    ProbeSpec::tcp("{host}:{port}").check("", &mut faults);
    ProbeSpec::command(["check", "{host}", "-p", "{port}"]).check("", &mut faults);
    assert_eq!(faults, []);
}

#[test]
fn an_instance_s_address_is_put_in() {
    let resolved = ProbeSpec::http("http://{host}:{port}/{x}").resolve("::1", 8080);
    assert_eq!(resolved, ProbeSpec::http("http://[::1]:8080/{x}"));
    assert_eq!(ProbeSpec::tcp("{host}:{port}").resolve("10.0.0.1", 1), ProbeSpec::tcp("10.0.0.1:1"));
    let command = ProbeSpec::command(["check", "{host}", "--port={port}"]).resolve("::1", 80);
    assert_eq!(command, ProbeSpec::command(["check", "::1", "--port=80"]));
    assert!(!command.has_placeholders() && ProbeSpec::tcp("{host}:1").has_placeholders());
}

#[test]
fn a_probe_without_an_address_is_refused() {
    let error = crate::health::probe::build(&ProbeSpec::tcp("{host}:{port}"), Span::seconds(1)).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Invalid);
    assert!(error.help_text().is_some());
}

#[test]
fn defaults_are_as_documented_and_unknown_fields_are_refused() {
    let minimal = json!({"probe": {"kind": "tcp", "address": "127.0.0.1:1"}});
    let spec: CheckSpec = serde_json::from_value(minimal.clone()).unwrap();
    assert_eq!(spec, CheckSpec::new(ProbeSpec::tcp("127.0.0.1:1")));
    assert_eq!(serde_json::to_value(&spec).unwrap(), minimal, "defaults are not written");
    let check = spec.validate().unwrap();
    assert_eq!((check.timeout, check.rules.rise, check.rules.fall), (Span::seconds(1), 1, 3));
    assert_eq!((check.rules.initial, check.rules.unknown_after), (State::Starting, Some(3)));
    assert_eq!((check.rules.every.normal, check.rules.every.starting), (Span::seconds(5), Span(100)));
    assert_eq!(check.rules.start_period, Span::seconds(30));
    for wrong in [
        json!({"probe": {"kind": "tcp", "address": "127.0.0.1:1"}, "rize": 2}),
        json!({"probe": {"kind": "tcp", "address": "127.0.0.1:1", "url": "x"}}),
        json!({"probe": {"kind": "udp"}}),
    ] {
        assert!(serde_json::from_value::<CheckSpec>(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn answers_mean_what_the_spec_says() {
    let http = ProbeSpec::http("http://127.0.0.1:1/");
    for (status, verdict) in
        [(200, Verdict::Pass), (302, Verdict::Pass), (399, Verdict::Pass), (199, Verdict::Fail), (404, Verdict::Fail)]
    {
        assert_eq!(http.verdict_of_status(status).unwrap(), verdict, "{status}");
    }
    let http = ProbeSpec::Http {
        url: "http://127.0.0.1:1/".to_owned(),
        pass: None,
        warn: vec!["299".to_owned(), "429".to_owned()],
        fail_now: vec!["200-499".to_owned()],
    };
    for (status, verdict) in [
        (200, Verdict::Pass),
        (299, Verdict::Warn),
        (404, Verdict::FailNow),
        (429, Verdict::Warn),
        (500, Verdict::Fail),
    ] {
        assert_eq!(http.verdict_of_status(status).unwrap(), verdict, "{status}");
    }
    assert!(http.verdict_of_exit(0).is_err());
    let plugin = ProbeSpec::Command { argv: vec!["check".to_owned()], warn: vec![1], unknown: vec![3] };
    let verdicts = [0, 1, 2, 3, 127].map(|code| plugin.verdict_of_exit(code).unwrap());
    use Verdict::{Fail, Pass, Unknown, Warn};
    assert_eq!(verdicts, [Pass, Warn, Fail, Unknown, Fail]);
}
