//! What a promotion skips, and what it never does.

use super::harness::*;
use super::world::{Nature, World};
use crate::error::Kind;
use crate::rollout::*;
use crate::service::Outcome;

/// As `promote` of Argo Rollouts: the present wait is skipped, and no later one.
#[test]
fn a_promotion_skips_what_is_waited_for_now_and_not_what_comes_later() {
    let mut driver = Driver::new(World::new(7, &[])).with_stable("v1");
    let mut asked = canary(&[25.0, 50.0], "1h");
    asked.promote = Some(PromoteSpec::Manual);
    driver.ship(asked, "v2");
    let refused = driver.input(say(Verb::Promote)).unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict);
    assert_eq!(
        refused.to_string(),
        "the rollout waits for nothing that a promotion could skip: it is waiting for 4 ready of v1 now (version: v2)\n  help: \
         send it again once it bakes, is judged, or waits for the old version or a promotion; its events say so"
    );
    for share in [2_500, 5_000] {
        driver.until(60, "the bake", |d| d.share() == share && d.state.is_watching());
        driver.input(say(Verb::Promote)).unwrap();
    }
    for _ in 0..100 {
        driver.second();
    }
    assert_eq!(driver.state.step(), Some(&Move::Gate { gate: Gate::Approval }), "the bakes were skipped, and no more");
    driver.input(say(Verb::Promote)).unwrap();
    assert_eq!(driver.run(100), Outcome::Promoted);
}

/// A rollout that somebody paused between two moves goes on; one that is paused in a bake goes on without it.
#[test]
fn a_promotion_ends_a_pause() {
    let mut driver = Driver::new(World::new(7, &[])).with_stable("v1");
    driver.ship(canary(&[50.0], "1h"), "v2");
    driver.input(say(Verb::Pause)).unwrap();
    for _ in 0..100 {
        driver.second();
    }
    assert!(!driver.state.begun && driver.state.paused.is_some());
    driver.input(say(Verb::Promote)).unwrap();
    assert_eq!(driver.state.paused, None);
    driver.until(60, "the bake", |d| d.state.is_watching());
    driver.input(say(Verb::Pause)).unwrap();
    driver.input(say(Verb::Promote)).unwrap();
    assert_eq!(driver.run(100), Outcome::Promoted);
}

/// A service whose stable version is not ready any more, and never will be.
fn sick(new: Nature) -> Driver {
    let mut driver = Driver::new(World::new(7, &[("v2", new)])).with_stable("v1");
    driver.world.natures.insert("v1".to_owned(), Nature { comes_up: false, ..Nature::GOOD });
    driver.world.lose();
    driver
}

fn waits_for(driver: &Driver, version: &str) -> bool {
    matches!(driver.state.step(), Some(Move::Gate { gate: Gate::Health { version: v, .. } }) if v == version)
        && driver.state.begun
        && driver.state.seen.is_some()
}

#[test]
fn a_promotion_goes_on_without_an_old_version_that_is_sick() {
    let mut driver = sick(Nature::GOOD);
    driver.ship(spec(StrategySpec::BlueGreen { bake: None }), "v2");
    driver.until(5, "the first gate", |d| waits_for(d, "v1"));
    assert_eq!(driver.clone().run(100), Outcome::RolledBack, "by itself it waits, and gives up");
    driver.input(say(Verb::Promote)).unwrap();
    driver.until(5, "its own gate", |d| waits_for(d, "v2"));
    assert_eq!(driver.run(60), Outcome::Promoted, "{}", driver.reason());
    assert_eq!(driver.service.stable.as_deref(), Some("v2"));
}

#[test]
fn a_canary_is_promoted_past_each_wait_for_an_old_version_that_is_sick() {
    let mut driver = sick(Nature::GOOD);
    driver.ship(canary(&[25.0], "20s"), "v2");
    driver.until(5, "the first gate", |d| waits_for(d, "v1"));
    driver.input(say(Verb::Promote)).unwrap();
    // The old version's share waits for it, too.
    for _ in 0..20 {
        driver.second();
    }
    assert!(matches!(driver.state.step(), Some(Move::Route { .. })) && !driver.state.begun);
    driver.input(say(Verb::Promote)).unwrap();
    driver.until(10, "25 %", |d| d.share() == 2_500 && d.state.is_watching());
    driver.input(say(Verb::Promote)).unwrap();
    assert_eq!(driver.run(60), Outcome::Promoted, "{}", driver.reason());
}

#[test]
fn no_promotion_skips_that_the_new_version_is_ready() {
    let mut driver = sick(Nature { comes_up: false, ..Nature::GOOD });
    driver.ship(canary(&[25.0], "20s"), "v2");
    driver.until(5, "the first gate", |d| waits_for(d, "v1"));
    driver.input(say(Verb::Promote)).unwrap();
    driver.until(5, "its own gate", |d| waits_for(d, "v2"));
    let refused = driver.input(say(Verb::Promote)).unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict);
    assert!(refused.to_string().contains("it is waiting for 1 ready of v2 now"), "{refused}");
    // It was ready, and is not any more when its share comes: nothing is skipped then either.
    driver.world.natures.insert("v2".to_owned(), Nature::GOOD);
    driver.lose_world();
    driver.until(20, "the share", |d| matches!(d.state.step(), Some(Move::Route { .. })));
    driver.world.natures.insert("v2".to_owned(), Nature { comes_up: false, ..Nature::GOOD });
    driver.lose_world();
    driver.second();
    driver.second();
    assert_eq!(driver.state.ready("v2"), 0);
    let refused = driver.input(say(Verb::Promote)).unwrap_err();
    assert!(refused.to_string().contains("routing v1 75 %, v2 25 % comes next"), "{refused}");
    assert_eq!(driver.share(), 0);
}
