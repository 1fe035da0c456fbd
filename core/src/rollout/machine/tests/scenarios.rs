//! Single stories, each with its whole reason.

use super::harness::*;
use super::world::{Nature, World};
use crate::analysis::JudgeSpec;
use crate::error::Kind;
use crate::machine::Machine;
use crate::rollout::*;
use crate::service::{Outcome, Weights, Window};

fn world(natures: &[(&str, Nature)]) -> World {
    World::new(7, natures)
}

fn judged(mut spec: RolloutSpec) -> RolloutSpec {
    spec.judge = Some(JudgeSpec::default());
    spec
}

fn shares(driver: &Driver) -> Vec<u32> {
    let routes = driver.events.iter().filter_map(|(_, event)| match event {
        RolloutEvent::MoveBegan { step: Move::Route { weights }, .. } => Some(weights),
        _ => None,
    });
    routes.map(|weights| weights.get(driver.state.version()).copied().unwrap_or(0)).collect()
}

#[test]
fn a_first_release_scales_is_ready_gets_all_traffic_and_is_promoted() {
    let mut driver = Driver::new(world(&[]));
    driver.ship(canary(&[5.0, 50.0], "30s"), "v1");
    assert_eq!(driver.run(60), Outcome::Promoted);
    assert_eq!(shares(&driver), [10_000]);
    assert_eq!(driver.reason(), "v1 promoted: the first release");
    assert_eq!(driver.service.stable.as_deref(), Some("v1"));
    assert_eq!((driver.service.sizes["v1"], driver.service.claim.clone()), (4, None));
}

#[test]
fn a_first_release_that_never_comes_up_is_removed() {
    let mut driver = Driver::new(world(&[("v1", Nature { comes_up: false, ..Nature::GOOD })]));
    driver.ship(canary(&[50.0], "1s"), "v1");
    assert_eq!(driver.run(200), Outcome::RolledBack);
    assert_eq!(driver.reason(), "v1 rolled back at 0 %: waiting for 4 ready of v1 took longer than 1m, with 0 ready");
    assert_eq!(driver.service.stable, None);
    assert!(driver.service.sizes.is_empty() && driver.service.weights.is_empty() && driver.service.versions.is_empty());
    assert!(driver.world.observed().versions.is_empty());
}

#[test]
fn a_good_canary_goes_through_its_steps_and_the_old_version_is_kept_for_a_revert() {
    let mut driver = Driver::new(world(&[])).with_stable("v1");
    driver.ship(judged(canary(&[5.0, 25.0, 50.0], "60s")), "v2");
    driver.promotes = true;
    assert_eq!(driver.run(600), Outcome::Promoted, "{}", driver.reason());
    assert_eq!(shares(&driver), [500, 2_500, 5_000, 10_000]);
    assert_eq!(driver.service.kept, ["v1"]);
    assert_eq!(driver.service.sizes.keys().collect::<Vec<_>>(), ["v2"]);

    driver
        .begin(Request::Revert {
            spec: RevertSpec { service: "shop".into(), to: None, progress_deadline: None, keep_old: Some("1s".into()) },
        })
        .unwrap();
    assert_eq!(driver.run(60), Outcome::Promoted);
    assert_eq!(driver.service.stable.as_deref(), Some("v1"));
    assert_eq!(driver.service.kept, ["v2"]);
    assert_eq!(driver.reason(), "v1 promoted: in place of v2");
}

#[test]
fn a_bad_canary_goes_back_with_the_evidence_in_one_sentence() {
    let mut driver = Driver::new(world(&[("v3", Nature { errors: 1_000, ..Nature::GOOD })])).with_stable("v2");
    let before = driver.service.clone();
    driver.ship(judged(canary(&[25.0, 50.0], "2m")), "v3");
    assert_eq!(driver.run(400), Outcome::RolledBack);
    let reason = driver.reason();
    assert!(reason.starts_with("v3 rolled back at 25 %: the sequential judge condemned its errors: "), "{reason}");
    for part in [" on v3 (", " against ", " on v2 (", "; evidence ", " passed the bound of 111 (90 % of alpha 1 %)"] {
        assert!(reason.contains(part), "{part:?} in {reason}");
    }
    let after = &driver.service;
    assert_eq!((&after.sizes, &after.weights, &after.stable), (&before.sizes, &before.weights, &before.stable));
    assert_eq!((&after.kept, &after.versions, &after.serving), (&before.kept, &before.versions, &before.serving));
}

#[test]
fn a_release_that_fails_altogether_goes_back_within_seconds() {
    let mut driver = Driver::new(world(&[("v2", Nature { errors: 10_000, ..Nature::GOOD })])).with_stable("v1");
    driver.ship(judged(canary(&[50.0], "5m")), "v2");
    driver.until(30, "traffic", |d| d.share() == 5_000);
    driver.until(8, "turned back", |d| d.state.back);
    assert_eq!(driver.run(30), Outcome::RolledBack);
    assert!(driver.reason().contains("2 readings running"), "{}", driver.reason());
}

#[test]
fn a_release_that_fails_altogether_after_its_promotion_goes_back_while_the_old_one_runs() {
    for strategy in [
        StrategySpec::Canary { steps: vec![50.0], bake: "30s".into() },
        StrategySpec::BlueGreen { bake: Some("30s".into()) },
    ] {
        let mut driver = Driver::new(world(&[])).with_stable("v1");
        let before = driver.service.clone();
        let mut asked = judged(spec(strategy));
        asked.keep_old = Some("5m".into());
        driver.ship(asked, "v2");
        driver.promotes = true;
        driver.until(300, "promotion", |d| d.service.stable.as_deref() == Some("v2"));
        driver.world.natures.insert("v2".to_owned(), Nature { errors: 10_000, ..Nature::GOOD });
        driver.until(8, "turned back", |d| d.state.back);
        assert_eq!(driver.run(60), Outcome::RolledBack);
        let reason = driver.reason();
        assert!(reason.starts_with("v2 rolled back at 100 %: ") && reason.contains("2 readings running"), "{reason}");
        let after = &driver.service;
        assert_eq!((&after.stable, &after.kept, &after.weights), (&before.stable, &before.kept, &before.weights));
        assert_eq!(after.sizes, before.sizes);
    }
}

#[test]
fn a_release_that_hangs_until_its_clients_leave_goes_back_without_one_error() {
    for (hangs, why) in [
        (3_000, "the sequential judge condemned its requests that clients left before an answer: "),
        (10_000, "errors, and clients that left before an answer: "),
    ] {
        let nature = Nature { errors: 0, hangs, ..Nature::GOOD };
        let mut driver = Driver::new(world(&[("v3", nature)])).with_stable("v2");
        driver.ship(judged(canary(&[20.0], "2m")), "v3");
        assert_eq!(driver.run(400), Outcome::RolledBack);
        let reason = driver.reason();
        assert!(reason.starts_with(&format!("v3 rolled back at 20 %: {why}")), "{reason}");
    }
}

#[test]
fn blue_green_waits_for_a_person_and_keeps_the_old_one_warm() {
    let mut driver = Driver::new(world(&[])).with_stable("v1");
    let mut asked = spec(StrategySpec::BlueGreen { bake: Some("20s".into()) });
    asked.promote = Some(PromoteSpec::Manual);
    driver.ship(asked, "v2");
    for _ in 0..100 {
        driver.second();
    }
    assert_eq!((driver.share(), driver.state.step()), (0, Some(&Move::Gate { gate: Gate::Approval })));
    driver.input(say(Verb::Promote)).unwrap();
    driver.until(20, "promotion", |d| d.service.stable.as_deref() == Some("v1") && d.share() == 10_000);
    assert_eq!(driver.service.sizes["v1"], 4);
    assert_eq!(driver.run(100), Outcome::Promoted);
    assert_eq!(driver.service.sizes.get("v1"), None);
}

#[test]
fn a_crash_loop_goes_back_with_the_last_lines() {
    let mut driver = Driver::new(world(&[("v2", Nature { dies: 4, ..Nature::GOOD })])).with_stable("v1");
    driver.ship(canary(&[50.0], "5m"), "v2");
    assert_eq!(driver.run(200), Outcome::RolledBack);
    let reason = driver.reason();
    assert!(
        reason.contains("v2 was started again ") && reason.contains("exited with code 3: \"no such table\""),
        "{reason}"
    );
}

#[test]
fn one_crash_is_told_in_the_singular() {
    let mut driver = Driver::new(world(&[("v2", Nature { dies: 40, ..Nature::GOOD })])).with_stable("v1");
    let asked = RolloutSpec { restart_limit: Some(0), ..canary(&[50.0], "5m") };
    driver.ship(asked, "v2");
    assert_eq!(driver.run(200), Outcome::RolledBack);
    assert!(driver.reason().contains("v2 was started again 1 time;"), "{}", driver.reason());
}

#[test]
fn abort_is_one_change_of_weights_and_wins_over_a_pause() {
    let mut driver = Driver::new(world(&[])).with_stable("v1");
    driver.ship(canary(&[25.0, 50.0], "1m"), "v2");
    driver.until(40, "25 %", |d| d.share() == 2_500);
    driver.input(say(Verb::Pause)).unwrap();
    driver.input(say(Verb::Pause)).unwrap();
    for _ in 0..100 {
        driver.second();
    }
    assert_eq!(driver.share(), 2_500, "paused");
    let events = driver.events.len();
    driver.input(say(Verb::Abort)).unwrap();
    assert_eq!(driver.state.layout.weights, Weights::from([("v1".to_owned(), 10_000)]), "at once, in the same commit");
    assert!(matches!(&driver.events[events].1, RolloutEvent::TurnedBack { cause: Cause::Abort, .. }));
    driver.input(say(Verb::Abort)).unwrap();
    assert_eq!(driver.input(say(Verb::Resume)).unwrap_err().kind(), Kind::Conflict);
    assert_eq!(driver.run(20), Outcome::Aborted);
    assert_eq!(driver.reason(), "v2 aborted at 25 % by ann: because");
    assert_eq!(driver.input(say(Verb::Abort)).unwrap_err().kind(), Kind::Conflict);
}

#[test]
fn a_pause_and_a_resume_change_nothing_but_time() {
    let mut driver = Driver::new(world(&[])).with_stable("v1");
    driver.ship(canary(&[50.0], "10s"), "v2");
    assert_eq!(driver.input(say(Verb::Resume)).unwrap_err().kind(), Kind::Conflict);
    assert_eq!(driver.input(say(Verb::Promote)).unwrap_err().kind(), Kind::Conflict);
    driver.input(say(Verb::Pause)).unwrap();
    for _ in 0..200 {
        driver.second();
    }
    assert_eq!(driver.state.finished, None);
    driver.input(say(Verb::Resume)).unwrap();
    assert_eq!(driver.run(100), Outcome::Promoted);
}

#[test]
fn a_world_that_is_lost_is_brought_back_and_the_rollout_goes_on() {
    let mut driver = Driver::new(world(&[])).with_stable("v1");
    driver.ship(canary(&[25.0], "20s"), "v2");
    driver.until(40, "25 %", |d| d.share() == 2_500);
    driver.lose_world();
    assert!(driver.service.lost.is_some());
    driver.until(30, "restored", |d| d.service.lost.is_none());
    assert_eq!(driver.share(), 2_500);
    assert_eq!(driver.run(100), Outcome::Promoted);
}

#[test]
fn an_old_version_that_cant_come_up_again_leaves_the_rollout_stuck_with_both() {
    let mut driver = Driver::new(world(&[])).with_stable("v1");
    driver.ship(canary(&[25.0], "5m"), "v2");
    driver.until(40, "25 %", |d| d.share() == 2_500);
    driver.world.natures.insert("v1".to_owned(), Nature { comes_up: false, ..Nature::GOOD });
    driver.lose_world();
    for _ in 0..10 {
        driver.second();
    }
    driver.input(say(Verb::Abort)).unwrap();
    assert_eq!(driver.run(200), Outcome::Stuck);
    assert!(driver.reason().contains("v2 can't be taken back to v1") && driver.reason().contains("both are kept"));
    assert_eq!((driver.service.sizes["v1"], driver.service.sizes["v2"]), (4, 1));

    // A revert to the stable version clears up once it can run again.
    driver.world.natures.insert("v1".to_owned(), Nature::GOOD);
    driver.world.lose();
    let spec = RevertSpec { service: "shop".into(), to: Some("v1".into()), progress_deadline: None, keep_old: None };
    driver.begin(Request::Revert { spec }).unwrap();
    assert_eq!(driver.run(200), Outcome::Promoted);
    assert_eq!(driver.service.sizes, [("v1".to_owned(), 4)].into());
    assert_eq!(driver.service.weights, Weights::from([("v1".to_owned(), 10_000)]));
}

#[test]
fn without_traffic_the_judge_cant_tell_and_asks() {
    let mut driver = Driver::new(world(&[])).with_stable("v1");
    driver.world.rate = 0;
    driver.ship(judged(canary(&[25.0], "20s")), "v2");
    driver.until(100, "a question", |d| d.state.paused.is_some());
    let pause = driver.state.paused.clone().unwrap();
    assert_eq!(pause.by, None);
    assert!(pause.reason.starts_with("the judge can't tell: "), "{}", pause.reason);
    driver.input(say(Verb::Resume)).unwrap();
    assert_eq!(driver.state.paused, None);
    driver.until(30, "the question again", |d| d.state.paused.is_some());
    driver.input(say(Verb::Promote)).unwrap();
    assert_eq!(driver.run(60), Outcome::Promoted);
}

#[test]
fn what_was_counted_while_no_driver_lived_is_judged_before_the_bake_ends() {
    let mut driver = Driver::new(world(&[("v2", Nature { errors: 2_000, ..Nature::GOOD })])).with_stable("v1");
    driver.ship(judged(canary(&[10.0], "60s")), "v2");
    driver.until(40, "10 %", |d| d.share() == 1_000);
    driver.crashes = vec![Crash { after: driver.events.len() + 1, done: true, down: 300 }];
    assert_eq!(driver.run(60), Outcome::RolledBack, "{}", driver.reason());
    let mut numbers: Vec<u64> = driver
        .events
        .iter()
        .filter_map(|(_, e)| match e {
            RolloutEvent::WindowJudged { number, .. } => Some(*number),
            _ => None,
        })
        .collect();
    let judged = numbers.len();
    numbers.dedup();
    assert!(judged == numbers.len() && numbers.is_sorted(), "in order, none twice: {numbers:?}");
}

#[test]
fn a_second_rollout_is_refused_and_the_first_is_named() {
    let mut driver = Driver::new(world(&[])).with_stable("v1");
    driver.ship(canary(&[50.0], "10s"), "v2");
    let mut second = driver.clone();
    let error = second
        .begin(Request::Ship { spec: Box::new(canary(&[50.0], "10s")), release: release("v3") })
        .unwrap_err()
        .to_string();
    assert!(error.contains("to v2 is under way (run: r1, step: ship)"), "{error}");
}

#[test]
fn begins_that_contradict_what_is_known_are_refused() {
    let driver = Driver::new(world(&[])).with_stable("v1");
    let refused = |request: Request| driver.clone().begin(request).unwrap_err();
    let ship = |spec: RolloutSpec, release| Request::Ship { spec: Box::new(spec), release };
    assert_eq!(refused(ship(canary(&[50.0], "1s"), release("v1"))).kind(), Kind::Conflict);
    let mut moved = canary(&[50.0], "1s");
    moved.serve.listen = "127.0.0.1:9".to_owned();
    assert!(refused(ship(moved, release("v2"))).to_string().contains("can't move it"));
    let error = refused(ship(canary(&[50.0], "1s"), crate::service::Release { command: vec![], ..release(" ") }));
    assert_eq!(
        error.faults().iter().map(|f| f.pointer.as_str()).collect::<Vec<_>>(),
        ["/release/version", "/release/command"]
    );
    for to in [None, Some("v9".to_owned()), Some("v1".to_owned())] {
        let spec = RevertSpec { service: "shop".into(), to, progress_deadline: None, keep_old: None };
        assert!(matches!(refused(Request::Revert { spec }).kind(), Kind::NotFound | Kind::Conflict));
    }
    let mut fresh = Driver::new(world(&[]));
    assert_eq!(fresh.input(say(Verb::Abort)).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn as_many_former_versions_are_kept_as_asked() {
    let mut driver = Driver::new(world(&[]));
    for version in ["v1", "v2", "v3", "v4"] {
        driver.ship(canary(&[50.0], "1s"), version);
        assert_eq!(driver.run(100), Outcome::Promoted);
    }
    assert_eq!(driver.service.kept, ["v3", "v2"]);
    assert_eq!(driver.service.versions.keys().collect::<Vec<_>>(), ["v2", "v3", "v4"]);
    let mut none = canary(&[50.0], "1s");
    none.keep_versions = Some(0);
    driver.ship(none, "v5");
    assert_eq!(driver.run(100), Outcome::Promoted);
    assert_eq!(driver.service.kept, Vec::<String>::new());
}

#[test]
fn an_old_version_that_dies_is_not_held_against_the_new_one() {
    let mut driver = Driver::new(world(&[("v2", Nature { errors: 500, ..Nature::GOOD })])).with_stable("v1");
    driver.world.natures.insert("v1".to_owned(), Nature { errors: 500, ..Nature::GOOD });
    driver.ship(judged(canary(&[10.0], "2m")), "v2");
    driver.until(40, "10 %", |d| d.share() == 1_000);
    // Now most requests fall on the new version, and with them most errors.
    driver.world.natures.insert("v1".to_owned(), Nature { dies: 2, ready_after: 8, ..Nature::GOOD });
    for _ in 0..50 {
        driver.second();
    }
    assert!(driver.events.iter().any(|(_, event)| matches!(event, RolloutEvent::Held { biased: true, .. })));
    assert!(driver.events.iter().any(|(_, event)| matches!(event, RolloutEvent::WindowLeftOut { .. })));
    assert!(!driver.state.back, "{:?}", driver.state.turned);
    driver.world.natures.insert("v1".to_owned(), Nature { errors: 500, ..Nature::GOOD });
    driver.promotes = true;
    assert_eq!(driver.run(400), Outcome::Promoted);
}

#[test]
fn windows_that_are_told_again_are_judged_once() {
    let mut driver = Driver::new(world(&[])).with_stable("v1");
    driver.ship(judged(canary(&[25.0, 50.0], "2m")), "v2");
    driver.until(100, "windows", |d| d.state.judged.is_some_and(|number| number > 3));
    let before = driver.state.evidence.clone();
    let mut windows = driver.world.windows.clone();
    windows.reverse();
    driver.input(RolloutInput::Windows(windows)).unwrap();
    assert_eq!(driver.state.evidence, before, "told again, and in another order");

    // A window of weights from before the rollout is none of its.
    let epoch = driver.state.start.as_ref().unwrap().epoch;
    let last = driver.world.windows.last().unwrap().clone();
    let stale = Window { epoch, number: last.number + 1, ..last.clone() };
    let late = Window { epoch: last.epoch, number: last.number + 1, ..last };
    driver.input(RolloutInput::Windows(vec![stale])).unwrap();
    assert_eq!(driver.state.evidence, before);
    driver.input(RolloutInput::Windows(vec![late])).unwrap();
    assert_ne!(driver.state.evidence, before);
}

#[test]
fn a_loss_that_was_none_makes_no_window_count_twice() {
    let mut driver = Driver::new(world(&[])).with_stable("v1");
    driver.ship(judged(canary(&[25.0, 50.0], "2m")), "v2");
    driver.until(100, "windows", |d| d.state.judged.is_some_and(|number| number > 3));
    let before = (driver.state.judged, driver.state.evidence.clone());
    driver.input(RolloutInput::WorldLost { what: "it seemed so".to_owned() }).unwrap();
    driver.input(RolloutInput::Windows(driver.world.windows.clone())).unwrap();
    assert_eq!((driver.state.judged, driver.state.evidence.clone()), before);
    let watch = RolloutMachine::pending(&driver.state).into_iter().find_map(|effect| match effect {
        RolloutEffect::Watch { after_window, .. } => Some(after_window),
        _ => None,
    });
    assert_eq!(watch, before.0, "and the world is asked for later ones");

    // After a loss that was one, what is counted anew counts.
    driver.lose_world();
    let judged = driver.state.judged;
    driver.until(60, "another window", |d| d.state.judged > judged);
}

#[test]
fn an_address_in_use_turns_back_after_five_seconds_and_not_for_one_that_ends_in_time() {
    let held = "can't listen (address: 127.0.0.1:80, held by pid: 7): address in use";
    let mut driver = Driver::new(world(&[]));
    driver.world.trouble = Some(held.to_owned());
    driver.ship(canary(&[50.0], "1s"), "v1");
    let begun = driver.world.now;
    driver.until(10, "turned back", |d| d.state.back);
    assert!((5_000..=7_000).contains(&driver.world.now.since(begun).0), "{:?}", driver.world.now.since(begun));
    // In this world nothing at all comes into force while the address is held.
    driver.world.trouble = None;
    assert_eq!(driver.run(20), Outcome::RolledBack);
    assert_eq!(driver.reason(), format!("v1 rolled back at 0 %: nothing could be served for 5s; {held}"));

    let mut driver = Driver::new(world(&[]));
    driver.world.trouble = Some(held.to_owned());
    driver.ship(canary(&[50.0], "1s"), "v1");
    for _ in 0..3 {
        driver.second();
    }
    driver.world.trouble = None;
    assert_eq!(driver.run(60), Outcome::Promoted);
}
