//! Rules of the machine that the cases of other systems don't show.

use crate::health::{CheckMachine, CheckSpec, ProbeSpec, State, Verdict};
use crate::time::{Chance, Span, Time};

fn spec() -> CheckSpec {
    CheckSpec { jitter: Some(0), start_period: Some("0s".into()), ..CheckSpec::new(ProbeSpec::tcp("127.0.0.1:1")) }
}

fn machine(spec: &CheckSpec) -> CheckMachine {
    CheckMachine::new(spec.validate().unwrap().rules, Time(0), Chance(7))
}

/// Feeds one result when it is due, with a probe that took no time, and gives that time.
fn feed(machine: &mut CheckMachine, verdict: Verdict, reason: &str) -> Time {
    let now = machine.due().unwrap();
    machine.observe(verdict, reason, now, now);
    now
}

#[test]
fn failures_in_the_start_period_do_not_count() {
    let mut machine = machine(&CheckSpec { fall: Some(2), start_period: Some("10s".into()), ..spec() });
    for second in 0..10 {
        machine.observe(Verdict::FailNow, "refused", Time(second * 1_000), Time(second * 1_000));
        assert_eq!((machine.state(), machine.failures()), (State::Starting, 0));
    }
    assert!(machine.explain(Time(9_000)).starts_with("starting for 9s: failures don't count for another 1s;"));
    machine.observe(Verdict::Fail, "refused", Time(10_000), Time(10_000));
    assert_eq!((machine.state(), machine.failures()), (State::Starting, 1));
    machine.observe(Verdict::Fail, "refused", Time(11_000), Time(11_000));
    assert_eq!(machine.state(), State::Failing);
}

#[test]
fn the_first_pass_ends_the_start_period() {
    let mut machine = machine(&CheckSpec { rise: Some(2), fall: Some(1), start_period: Some("10s".into()), ..spec() });
    assert_eq!(feed(&mut machine, Verdict::Fail, ""), Time(0));
    assert_eq!(feed(&mut machine, Verdict::Pass, ""), Time(100), "it starts with short intervals");
    assert_eq!(machine.state(), State::Starting);
    assert_eq!(feed(&mut machine, Verdict::Fail, ""), Time(5_100));
    assert_eq!(machine.state(), State::Failing);
}

#[test]
fn unknown_results_lead_to_unknown_and_back_with_the_counts_kept() {
    let mut machine = machine(&CheckSpec { fall: Some(2), unknown_after: Some(2), ..spec() });
    feed(&mut machine, Verdict::Pass, "");
    feed(&mut machine, Verdict::Fail, "");
    feed(&mut machine, Verdict::Unknown, "not permitted");
    assert_eq!((machine.state(), machine.failures()), (State::Passing, 1));
    let now = machine.due().unwrap();
    let transition = machine.observe(Verdict::Unknown, "not permitted", now, now).unwrap();
    assert_eq!(transition.to_string(), "passing to unknown: 2 of 2 results in a row unknown: not permitted");
    feed(&mut machine, Verdict::Fail, "");
    assert_eq!(machine.state(), State::Failing, "the failure before still counts");
}

#[test]
fn results_of_probes_from_before_a_restart_are_dropped() {
    let mut machine = machine(&CheckSpec { fall: Some(1), ..spec() });
    feed(&mut machine, Verdict::Pass, "");
    let restarted = machine.restart(Time(1_000)).unwrap();
    assert_eq!((restarted.from, restarted.to), (State::Passing, State::Starting));
    assert_eq!(machine.observe(Verdict::FailNow, "", Time(999), Time(1_001)), None);
    assert_eq!((machine.state(), machine.failures()), (State::Starting, 0));
    assert_eq!(machine.due(), Some(Time(1_000)));
}

#[test]
fn a_hard_failure_needs_as_many_passes_as_any() {
    let mut machine = machine(&CheckSpec { rise: Some(2), fall: Some(5), degrade: Some(2), ..spec() });
    feed(&mut machine, Verdict::Pass, "");
    feed(&mut machine, Verdict::Pass, "");
    feed(&mut machine, Verdict::FailNow, "");
    assert_eq!(machine.state(), State::Failing);
    feed(&mut machine, Verdict::Fail, "");
    assert_eq!(machine.state(), State::Failing, "a second failure makes nothing better");
    feed(&mut machine, Verdict::Pass, "");
    assert_eq!(machine.state(), State::Failing);
    feed(&mut machine, Verdict::Pass, "");
    assert_eq!(machine.state(), State::Passing);
}

#[test]
fn a_long_probe_delays_the_next_one_and_never_doubles_it() {
    let mut machine = machine(&spec());
    machine.observe(Verdict::Pass, "", Time(0), Time(1_000));
    assert_eq!(machine.due(), Some(Time(5_000)), "from start to start");
    machine.observe(Verdict::Pass, "", Time(5_000), Time(17_000));
    assert_eq!(machine.due(), Some(Time(17_000)));
}

#[test]
fn old_results_become_unknown_once() {
    let mut machine = machine(&CheckSpec { max_age: Some("12s".into()), ..spec() });
    assert_eq!(machine.stale_at(), Some(Time(12_000)));
    feed(&mut machine, Verdict::Pass, "status 200");
    machine.observe(Verdict::Unknown, "no sockets left", Time(5_000), Time(5_000));
    assert_eq!(machine.tick(Time(11_999)), None);
    let transition = machine.tick(Time(12_000)).unwrap();
    assert_eq!(transition.to_string(), "passing to unknown: no result for 12s: no sockets left");
    assert_eq!(machine.tick(Time(99_000)), None);
    assert_eq!(machine.stale_at(), None);
}

#[test]
fn it_says_the_rule_the_counters_and_what_comes_next() {
    let mut machine = machine(&CheckSpec {
        rise: Some(2),
        interval: Some("20s".into()),
        falling_interval: Some("15s".into()),
        ..spec()
    });
    let explain = |machine: &CheckMachine, after: u64| machine.explain(machine.due().unwrap().after(Span(after)));
    let mut said = vec![explain(&machine, 0)];
    for (verdict, reason) in [
        (Verdict::Pass, "status 200"),
        (Verdict::Pass, "status 200"),
        (Verdict::Fail, "status 503"),
        (Verdict::Fail, "status 503"),
        (Verdict::Fail, "refused"),
        (Verdict::Pass, "status 200"),
        (Verdict::Unknown, "not permitted"),
    ] {
        let now = feed(&mut machine, verdict, reason);
        said.push(machine.explain(now.after(Span::seconds(1))));
    }
    assert_eq!(
        said,
        [
            "starting for 0s: no result that counts; next probe in 0s; passing after 2 passes in a row",
            "starting for 1s: 1 of 2 passes; passing in 19s if the next one passes; last result: status 200",
            "passing for 1s: 2 of 2 passes; next probe in 19s; failing after 3 failures in a row; \
             last result: status 200",
            "passing for 21s: 1 of 3 failures; failing in about 29s if the next 2 fail; last result: status 503",
            "passing for 36s: 2 of 3 failures; failing in 14s if the next one fails; last result: status 503",
            "failing for 1s: 3 of 3 failures; next probe in 19s; passing after 2 passes in a row; \
             last result: refused",
            "failing for 21s: 1 of 2 passes; passing in 19s if the next one passes; last result: status 200",
            "failing for 41s: 1 of 3 unknown results; passing in 19s if the next one passes; \
             last result: not permitted",
        ]
    );
}

#[test]
fn it_says_so_when_one_more_result_is_enough() {
    let mut machine = machine(&CheckSpec { rise: Some(2), fall: Some(2), unknown_after: Some(1), ..spec() });
    feed(&mut machine, Verdict::Warn, "");
    let now = feed(&mut machine, Verdict::Warn, "slow");
    assert_eq!(
        machine.explain(now),
        "degraded for 0s: 2 of 2 passes; next probe in 5s; passing after 1 pass; last result: slow"
    );
    for _ in 0..2 {
        feed(&mut machine, Verdict::Fail, "");
    }
    let now = feed(&mut machine, Verdict::Unknown, "not permitted");
    assert_eq!(
        machine.explain(now),
        "unknown for 0s: 1 of 1 unknown results; next probe in 5s; passing after 2 passes in a row; \
         last result: not permitted"
    );
    assert_eq!(machine.failures_needed(), 1);
}

#[test]
fn reasons_are_bounded() {
    let mut machine = machine(&spec());
    let now = machine.due().unwrap();
    let transition = machine.observe(Verdict::Pass, &"\u{e9}".repeat(100_000), now, now).unwrap();
    assert_eq!(transition.reason.chars().count(), 300);
}

#[test]
fn unknown_results_are_counted_in_a_row() {
    let mut machine = machine(&CheckSpec { unknown_after: Some(2), ..spec() });
    for verdict in [Verdict::Unknown, Verdict::Pass, Verdict::Unknown, Verdict::Fail, Verdict::Unknown] {
        feed(&mut machine, verdict, "");
        assert_ne!(machine.state(), State::Unknown);
    }
    feed(&mut machine, Verdict::Unknown, "");
    assert_eq!(machine.state(), State::Unknown);
}

#[test]
fn what_is_held_has_nothing_counted_and_waits_for_a_restart() {
    let mut machine = machine(&CheckSpec { hold: vec![State::Failing], initial: Some(State::Passing), ..spec() });
    let mut counted = Vec::new();
    for verdict in [Verdict::Pass, Verdict::Fail, Verdict::Fail, Verdict::Fail] {
        feed(&mut machine, verdict, "");
        counted.push(machine.passes() + machine.failures());
    }
    assert_eq!(counted, [1, 1, 2, 0]);
    assert_eq!((machine.due(), machine.observe(Verdict::Pass, "", Time(90_000), Time(90_000))), (None, None));
    assert_eq!(machine.explain(Time(15_000)), "failing for 0s: no more probes until a restart");
    machine.restart(Time(100_000));
    assert_eq!((machine.state(), machine.due()), (State::Passing, Some(Time(100_000))));
}
