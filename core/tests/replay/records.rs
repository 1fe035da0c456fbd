//! Recorded results through a check's rules: what a user asks of a replay.

use serde_json::json;
use tidegate::health::{CheckRecord, CheckSpec, Standing, State, Verdict};
use tidegate::time::{Chance, Span, Time};

use super::pointers;

fn check(more: serde_json::Value) -> CheckSpec {
    let mut spec = json!({"probe": {"kind": "http", "url": "http://127.0.0.1:1/"}, "start_period": "0s", "jitter": 0});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

fn replay(spec: &CheckSpec, records: &[CheckRecord]) -> Vec<Standing> {
    spec.replay(records, None, Chance(1)).unwrap()
}

fn result(at: i64, verdict: Verdict) -> CheckRecord {
    CheckRecord::result(verdict).at(Time(at))
}

#[test]
fn other_thresholds_make_other_alarms_of_the_same_results() {
    let verdicts = "pffpfffpffffp".chars().map(|c| if c == 'p' { Verdict::Pass } else { Verdict::Fail });
    let records: Vec<CheckRecord> = verdicts.zip((0..).step_by(5_000)).map(|(v, at)| result(at, v)).collect();
    let alarms = |fall: u32| {
        let standings = replay(&check(json!({"fall": fall})), &records);
        standings.iter().flat_map(|standing| &standing.transitions).filter(|t| t.to == State::Failing).count()
    };
    assert_eq!([1, 2, 3, 4, 5].map(alarms), [3, 3, 2, 1, 0]);
}

#[test]
fn says_what_is_counted_and_what_comes_next() {
    let spec = check(json!({"fall": 3, "interval": "5s", "falling_interval": "7s"}));
    let records = [
        CheckRecord::result(Verdict::Pass),
        CheckRecord { reason: "status 503".into(), ..CheckRecord::result(Verdict::Fail) },
        CheckRecord::look(Time(6_000)),
        CheckRecord { reason: "status 503".into(), ..CheckRecord::result(Verdict::Fail) },
    ];
    let standings = replay(&spec, &records.map(|record| record));
    let [pass, fail, look, again] = standings.as_slice() else { panic!("{standings:?}") };
    assert_eq!((pass.at, pass.was_due, pass.state, pass.due), (Time(0), true, State::Passing, Some(Time(5_000))));
    assert_eq!((fail.at, fail.failures, fail.failures_needed), (Time(5_000), 1, 2));
    assert_eq!((look.at, look.was_due, look.due), (Time(6_000), false, Some(Time(12_000))));
    let words = "passing for 6s: 1 of 3 failures; failing in about 13s if the next 2 fail; last result: status 503";
    assert_eq!(look.explanation, words);
    assert_eq!((again.at, again.failures, again.since), (Time(12_000), 2, Time(0)));
    assert_eq!(pass.transitions[0].to_string(), "starting to passing: 1 of 1 passes in a row");
}

#[test]
fn an_answer_means_what_the_check_says() {
    let spec = check(json!({
        "probe": {"kind": "http", "url": "http://127.0.0.1:1/", "warn": ["429"], "fail_now": ["500"]}, "fall": 2
    }));
    let status = |status| CheckRecord { status: Some(status), ..CheckRecord::default() };
    let standings = replay(&spec, &[status(200), status(429), status(404), status(500)]);
    let states: Vec<State> = standings.iter().map(|standing| standing.state).collect();
    assert_eq!(states, [State::Passing, State::Degraded, State::Degraded, State::Failing]);
    assert_eq!(standings[3].transitions[0].reason, "status 500");

    let command = check(json!({"probe": {"kind": "command", "argv": ["x"], "unknown": [3]}, "fall": 1}));
    let exit = |code| CheckRecord { exit_code: Some(code), ..CheckRecord::default() };
    let standings = replay(&command, &[exit(0), exit(3), exit(2)]);
    assert_eq!((standings[1].state, standings[1].unknowns), (State::Passing, 1));
    assert_eq!(standings[2].transitions[0].to_string(), "passing to failing: 1 of 1 failures in a row: exit code 2");
    let error = command.replay(&[status(200)], None, Chance(1)).unwrap_err();
    assert_eq!(pointers(&error), ["/records/0/status"]);
}

#[test]
fn a_probe_that_took_longer_than_the_timeout_failed() {
    let spec = check(json!({"fall": 1, "timeout": "1s"}));
    let took = |took: &str| CheckRecord { took: Some(took.into()), ..result(0, Verdict::Pass) };
    let standing = &replay(&spec, &[took("1s")])[0];
    assert_eq!((standing.state, standing.at, standing.due), (State::Passing, Time(1_000), Some(Time(5_000))));
    let standing = &replay(&spec, &[took("1001ms")])[0];
    assert_eq!((standing.state, standing.at), (State::Failing, Time(1_000)));
    assert_eq!(standing.transitions[0].reason, "timed out after 1s");
}

#[test]
fn results_that_stay_away_change_the_state_when_their_time_is_over() {
    let spec = check(json!({"max_age": "20s", "stale": "failing"}));
    let records = [result(0, Verdict::Pass), CheckRecord::look(Time(19_999)), result(60_000, Verdict::Pass)];
    let standings = replay(&spec, &records);
    assert_eq!((standings[1].state, standings[1].stale_at), (State::Passing, Some(Time(20_000))));
    let told: Vec<(Time, State)> = standings[2].transitions.iter().map(|t| (t.at, t.to)).collect();
    assert_eq!(told, [(Time(20_000), State::Failing), (Time(60_000), State::Passing)]);
}

#[test]
fn probing_begins_ends_and_begins_again() {
    let spec = check(json!({"fall": 1, "hold": ["failing"], "initial_delay": "10s"}));
    let records = [
        result(0, Verdict::Pass),
        result(10_000, Verdict::Fail),
        result(20_000, Verdict::Pass),
        CheckRecord::restart().at(Time(21_000)),
        CheckRecord::result(Verdict::Pass),
    ];
    let standings = replay(&spec, &records);
    let seen: Vec<(bool, State, Option<Time>)> = standings.iter().map(|s| (s.was_due, s.state, s.due)).collect();
    let expected = [
        (false, State::Starting, Some(Time(10_000))),
        (true, State::Failing, None),
        (false, State::Failing, None),
        (false, State::Starting, Some(Time(31_000))),
        (true, State::Passing, Some(Time(36_000))),
    ];
    assert_eq!(seen, expected);
    assert!(standings[2].explanation.contains("no more probes until a restart"), "{}", standings[2].explanation);
}

#[test]
fn equal_seeds_give_equal_jitter() {
    let spec = CheckSpec { jitter: Some(50), ..check(json!({})) };
    let records = vec![CheckRecord::result(Verdict::Pass); 20];
    let dues = |seed| {
        let standings = spec.replay(&records, Some(Time(1_000)), Chance(seed)).unwrap();
        standings.into_iter().map(|standing| standing.at).collect::<Vec<Time>>()
    };
    assert_eq!(dues(1), dues(1));
    assert_ne!(dues(1), dues(2));
    let gaps: Vec<Span> = dues(1).windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert!(gaps.iter().all(|gap| (5_000..=7_500).contains(&gap.0)), "{gaps:?}");
}

#[test]
fn every_fault_of_check_and_records_is_named() {
    let spec = check(json!({"fall": 0, "probe": {"kind": "tcp", "address": "nowhere"}}));
    let records = [
        result(10, Verdict::Pass),
        result(9, Verdict::Pass),
        CheckRecord { status: Some(200), restarted: true, ..result(10, Verdict::Pass) },
        CheckRecord { reason: "x".into(), took: Some("1s".into()), ..CheckRecord::restart() },
        CheckRecord { took: Some("long".into()), ..CheckRecord::result(Verdict::Pass) },
        CheckRecord { exit_code: Some(1), ..CheckRecord::default() },
    ];
    let error = spec.replay(&records, Some(Time(10)), Chance(1)).unwrap_err();
    let expected = [
        "/fall",
        "/probe/address",
        "/records/1/at",
        "/records/2",
        "/records/3/reason",
        "/records/3/took",
        "/records/4/took",
        "/records/5/exit_code",
    ];
    assert_eq!(pointers(&error), expected);
    let early = check(json!({})).replay(&[result(9, Verdict::Pass)], Some(Time(10)), Chance(1)).unwrap_err();
    assert_eq!(pointers(&early), ["/records/0/at"]);
}

#[test]
fn the_ends_of_time_are_no_panic() {
    let spec = check(json!({"max_age": "1ms", "interval": "365000000d"}));
    let all = [i64::MIN, -1, 0, i64::MAX].map(|at| result(at, Verdict::Fail));
    let longest = CheckRecord { took: Some("200000000000d".into()), ..result(i64::MAX, Verdict::Pass) };
    let records = [all.as_slice(), &[longest, CheckRecord::restart(), CheckRecord::look(Time(i64::MAX))]].concat();
    assert_eq!(replay(&spec, &records).len(), records.len());
}
