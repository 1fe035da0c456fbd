//! What abort and revert take back, and when.

use super::harness::*;
use super::world::{Nature, World};
use crate::error::Kind;
use crate::rollout::*;
use crate::service::Outcome;

fn standing() -> Driver {
    Driver::new(World::new(7, &[])).with_stable("v1")
}

#[test]
fn revert_goes_back_after_promotion_and_abort_says_so() {
    for retiring in [false, true] {
        let mut driver = standing();
        driver.ship(canary(&[50.0], "1s"), "v2");
        driver.until(60, "promotion", |d| d.service.stable.as_deref() == Some("v2"));
        if retiring {
            driver.until(60, "retirement", |d| d.state.is_retiring());
        }
        let refused = driver.input(say(Verb::Abort)).unwrap_err();
        assert_eq!(
            (refused.kind(), refused.to_string().as_str()),
            (
                Kind::Conflict,
                "v2 is promoted already, and an abort takes back only what is not (version: v2)\n  help: revert goes back to \
                 v1 as long as the rollout is under way"
            )
        );
        driver.input(say(Verb::Revert)).unwrap();
        driver.input(say(Verb::Abort)).unwrap();
        assert_eq!(driver.run(60), Outcome::Reverted);
        assert_eq!(driver.reason(), "v2 reverted to v1 by ann: because");
        assert_eq!((driver.service.stable.as_deref(), driver.service.kept.len()), (Some("v1"), 0));
        assert_eq!(driver.service.sizes, [("v1".to_owned(), 4)].into());
        let over = driver.input(say(Verb::Revert)).unwrap_err().to_string();
        assert!(over.ends_with("to go back to a former version, start a run with a revert step"), "{over}");
    }
}

#[test]
fn revert_before_promotion_is_an_abort() {
    let mut driver = standing();
    driver.ship(canary(&[50.0], "1m"), "v2");
    driver.until(60, "50 %", |d| d.share() == 5_000);
    driver.input(say(Verb::Revert)).unwrap();
    assert_eq!(driver.run(60), Outcome::Aborted);
    assert_eq!(driver.reason(), "v2 aborted at 50 % by ann: because");
    assert_eq!(driver.service.sizes, [("v1".to_owned(), 4)].into());
}

/// A revert to the stable version, which clears up what a stuck rollout left, promotes nothing.
#[test]
fn a_revert_to_the_stable_version_can_be_aborted() {
    let mut driver = standing();
    driver.ship(canary(&[25.0], "5m"), "v2");
    driver.until(40, "25 %", |d| d.share() == 2_500);
    driver.world.natures.insert("v1".to_owned(), Nature { comes_up: false, ..Nature::GOOD });
    driver.lose_world();
    driver.second();
    driver.input(say(Verb::Abort)).unwrap();
    assert_eq!(driver.run(200), Outcome::Stuck);
    let spec = RevertSpec { service: "shop".into(), to: Some("v1".into()), progress_deadline: None, keep_old: None };
    driver.begin(Request::Revert { spec }).unwrap();
    driver.input(say(Verb::Abort)).unwrap();
    assert!(driver.state.back);
}
