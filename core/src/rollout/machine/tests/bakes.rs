//! How a bake ends.

use super::harness::*;
use super::world::{Nature, World};
use crate::analysis::JudgeSpec;
use crate::rollout::*;
use crate::service::Outcome;
use crate::time::Span;

/// A canary that is judged, with requests that may take 60 s, in a world in which every window is held back for so many
/// seconds.
fn baking(steps: &[f64], bake: &str, nature: Nature, settles: u64) -> Driver {
    let mut driver = Driver::new(World::new(7, &[("v2", nature)])).with_stable("v1");
    (driver.world.settles, driver.world.rate) = (settles, 1_000);
    let mut asked = canary(steps, bake);
    asked.judge = Some(JudgeSpec::default());
    driver.ship(asked, "v2");
    driver
}

/// How many seconds the gate before the first event like this was open.
fn baked(driver: &Driver, end: impl Fn(&RolloutEvent) -> bool) -> Span {
    let at = driver.events.iter().position(|(_, event)| end(event)).expect("it came to this");
    let begin = driver.events[..at].iter().rev().find(|(_, event)| {
        matches!(event, RolloutEvent::MoveBegan { step: Move::Gate { gate: Gate::Analysis { .. } }, .. })
    });
    driver.events[at].0.since(begin.unwrap().0)
}

fn is_verdict(event: &RolloutEvent) -> bool {
    matches!(event, RolloutEvent::Verdict { .. })
}

#[test]
fn the_last_bake_awaits_windows_whose_requests_have_not_ended() {
    // Every tenth request fails, after its time-out: no window can be read within the bake.
    let mut driver = baking(&[5.0], "30s", Nature { errors: 1_000, ..Nature::GOOD }, 45);
    assert_eq!(driver.run(300), Outcome::RolledBack, "{}", driver.reason());
    assert!(driver.reason().contains("the sequential judge condemned its errors"), "{}", driver.reason());
    let waited = baked(&driver, is_verdict);
    assert!((Span::seconds(75)..Span::seconds(78)).contains(&waited), "30 s and 45: {waited}");
    assert!(!driver.events.iter().any(|(_, event)| matches!(event, RolloutEvent::Paused { .. })));
}

#[test]
fn it_awaits_them_as_long_as_a_request_may_take_and_no_longer() {
    let mut driver = baking(&[50.0], "20s", Nature::GOOD, 100_000);
    driver.until(300, "a question", |d| d.state.paused.is_some());
    let waited = baked(&driver, is_verdict);
    assert!((Span::seconds(81)..Span::seconds(83)).contains(&waited), "20 s, 60 s and one more: {waited}");
}

#[test]
fn windows_of_after_the_bake_are_not_awaited() {
    // Ten windows later one is held back all the time, as in a service of slow answers.
    let mut driver = baking(&[50.0], "5m", Nature::GOOD, 12);
    assert_eq!(driver.run(600), Outcome::Promoted, "{}", driver.reason());
    let waited = baked(&driver, is_verdict);
    assert!((Span::seconds(308)..Span::seconds(316)).contains(&waited), "the last window, and no other: {waited}");
}

#[test]
fn an_earlier_bake_that_passes_goes_on_and_one_that_can_not_tell_waits() {
    let mut driver = baking(&[25.0, 50.0], "5m", Nature::GOOD, 12);
    assert_eq!(driver.run(900), Outcome::Promoted, "{}", driver.reason());
    let waited = baked(&driver, is_verdict);
    assert!((Span::seconds(300)..Span::seconds(303)).contains(&waited), "the next bake judges them: {waited}");
    let mut driver = baking(&[5.0, 50.0], "30s", Nature { errors: 1_000, ..Nature::GOOD }, 45);
    assert_eq!(driver.run(300), Outcome::RolledBack, "{}", driver.reason());
    assert!(driver.reason().starts_with("v2 rolled back at 5 %: the sequential judge"), "{}", driver.reason());
}
