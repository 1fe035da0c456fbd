//! What must always hold, over random plans, worlds, people and crashes. (What must hold of each single event is
//! checked by the harness, so in every test.)

use proptest::prelude::*;

use super::harness::*;
use super::world::{Nature, World};
use crate::analysis::{JudgeSpec, OnInconclusive};
use crate::rollout::{Cause, FULL, Move, PromoteSpec, Request, RevertSpec, RolloutSpec, Seen, StrategySpec, Verb};
use crate::service::{Outcome, ServiceState};

/// Longer than any rollout here can take: every move, hold and loss up to its deadline.
const LONG: u64 = 4_000;

#[derive(Debug, Clone)]
struct Story {
    seed: u64,
    kind: Kind,
    spec: RolloutSpec,
    new: Nature,
    old: Nature,
    rate: u64,
    promotes: bool,
    /// Seconds after the start, and what then happens.
    happenings: Vec<(u64, Happening)>,
    crashes: Vec<Crash>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    First,
    Over,
    Revert,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Happening {
    Lost,
    Say(Verb),
    /// Nothing comes into force for so many seconds.
    Trouble(u64),
}

impl Story {
    /// The world before the rollout.
    fn stage(&self) -> Driver {
        let mut driver = Driver::new(World::new(self.seed, &[]));
        if self.kind != Kind::First {
            driver = driver.with_stable("v1");
        }
        if self.kind == Kind::Revert {
            driver.ship(spec(StrategySpec::BlueGreen { bake: None }), "v0");
            assert_eq!(driver.run(200), Outcome::Promoted);
        }
        // In a revert the former version is the new one.
        let (new, old) = if self.kind == Kind::Revert { ("v1", "v0") } else { ("v2", "v1") };
        driver.world.natures.insert(new.to_owned(), self.new);
        driver.world.natures.insert(old.to_owned(), self.old);
        driver.world.rate = self.rate;
        driver
    }

    fn begin(&self, driver: &mut Driver) {
        driver.crashes = self.crashes.clone();
        driver.promotes = self.promotes;
        let request = match self.kind {
            Kind::Revert => Request::Revert {
                spec: RevertSpec {
                    service: "shop".to_owned(),
                    to: None,
                    progress_deadline: Some("60s".into()),
                    keep_old: Some("5s".into()),
                },
            },
            _ => Request::Ship { spec: Box::new(self.spec.clone()), release: release("v2") },
        };
        driver.begin(request).unwrap();
    }

    /// The whole story; the driver at its end, and the service before.
    fn tell(&self) -> (Driver, ServiceState) {
        let mut driver = self.stage();
        let before = driver.service.clone();
        self.begin(&mut driver);
        let mut trouble_ends = 0;
        for second in 0..LONG {
            if driver.state.finished.is_some() {
                break;
            }
            for (_, happening) in self.happenings.iter().filter(|(at, _)| *at == second) {
                match happening {
                    Happening::Lost => driver.lose_world(),
                    Happening::Say(verb) => drop(driver.input(say(*verb))),
                    Happening::Trouble(seconds) => {
                        driver.world.trouble = Some("port in use".to_owned());
                        trouble_ends = second + seconds;
                    }
                }
            }
            if second >= trouble_ends {
                driver.world.trouble = None;
            }
            // Whoever paused goes on in the end, so that the story ends.
            if second % 200 == 199 && driver.state.paused.is_some() {
                driver.input(say(Verb::Resume)).unwrap();
            }
            driver.second();
        }
        driver.until(1, "every rollout ends", |driver| driver.state.finished.is_some());
        (driver, before)
    }
}

/// What must hold at every end.
fn check_end(driver: &Driver, before: &ServiceState) {
    let steady = driver.world.natures.get(before.stable.as_deref().unwrap_or_default()) == Some(&Nature::GOOD);
    let (outcome, reason) = driver.state.finished.clone().unwrap();
    let after = &driver.service;
    assert_eq!(driver.refolded(), driver.state, "folding again gives the same state");
    assert_eq!(after.claim, None);
    assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}");
    let last = Seen::of(&driver.world.observed());
    match outcome {
        Outcome::Aborted | Outcome::Reverted | Outcome::RolledBack => {
            assert_eq!((&after.sizes, &after.weights), (&before.sizes, &before.weights), "{reason}");
            assert_eq!((&after.stable, &after.kept), (&before.stable, &before.kept), "{reason}");
            assert_eq!(after.versions, before.versions, "{reason}");
            for (version, size) in &before.sizes {
                let touched = driver.state.taken.iter().any(Move::changes_world);
                assert!(
                    !touched || !steady || last.ready(version) >= 1,
                    "{version} of {size} serves as before: {reason}"
                );
            }
        }
        Outcome::Promoted => {
            let version = driver.state.version().to_owned();
            assert_eq!(after.stable.as_ref(), Some(&version));
            assert_eq!(after.sizes, [(version.clone(), 4)].into());
            assert_eq!(after.weights, [(version, FULL)].into());
        }
        Outcome::Stuck => {
            let old = before.stable.iter().all(|version| after.sizes.contains_key(version));
            assert!(old, "the old version is kept: {reason}");
        }
    }
}

fn nature() -> impl Strategy<Value = Nature> {
    let dies = prop_oneof![3 => Just(0), 1 => Just(5), 1 => Just(100)];
    let errors = prop_oneof![2 => Just(10), 1 => Just(300), 1 => Just(10_000)];
    let hangs = prop_oneof![4 => Just(0), 1 => Just(3_000)];
    let all = (0..10_u64, prop::bool::weighted(0.85), dies, errors, hangs);
    all.prop_map(|(ready_after, comes_up, dies, errors, hangs)| Nature { ready_after, comes_up, dies, errors, hangs })
}

fn specs() -> impl Strategy<Value = RolloutSpec> {
    let steps = prop::collection::btree_set(1..=100_u32, 1..4);
    let canaries = steps.prop_map(|steps| canary(&steps.into_iter().map(f64::from).collect::<Vec<_>>(), "20s"));
    let bake = prop::option::of(Just("15s".into()));
    let strategy = prop_oneof![3 => canaries, 1 => bake.prop_map(|bake| spec(StrategySpec::BlueGreen { bake }))];
    let inconclusive =
        prop_oneof![Just(OnInconclusive::Pause), Just(OnInconclusive::RollBack), Just(OnInconclusive::Pass)];
    (strategy, any::<bool>(), prop::bool::weighted(0.6), inconclusive).prop_map(
        |(mut spec, manual, judged, inconclusive)| {
            spec.promote = manual.then_some(PromoteSpec::Manual);
            spec.judge =
                judged.then(|| JudgeSpec { inconclusive: Some(inconclusive), safe: Some(3.0), ..JudgeSpec::default() });
            spec
        },
    )
}

fn happenings() -> impl Strategy<Value = Vec<(u64, Happening)>> {
    let happening = prop_oneof![
        2 => Just(Happening::Lost),
        1 => (1..90_u64).prop_map(Happening::Trouble),
        2 => prop_oneof![Just(Verb::Pause), Just(Verb::Resume), Just(Verb::Promote)].prop_map(Happening::Say),
        1 => prop_oneof![Just(Verb::Abort), Just(Verb::Revert)].prop_map(Happening::Say),
    ];
    prop::collection::vec((0..200_u64, happening), 0..5)
}

fn crashes() -> impl Strategy<Value = Vec<Crash>> {
    let crash = (1..80_usize, any::<bool>(), 0..120_u64).prop_map(|(after, done, down)| Crash { after, done, down });
    prop::collection::vec(crash, 0..4)
}

fn stories() -> impl Strategy<Value = Story> {
    let kind = prop_oneof![1 => Just(Kind::First), 4 => Just(Kind::Over), 1 => Just(Kind::Revert)];
    let old = prop_oneof![4 => Just(Nature::GOOD), 1 => nature()];
    let world = (any::<u64>(), nature(), old, prop_oneof![Just(0_u64), Just(3), Just(40)]);
    (kind, specs(), world, any::<bool>(), happenings(), crashes()).prop_map(
        |(kind, spec, (seed, new, old, rate), manual, happenings, crashes)| {
            // Nobody would ever open a gate that waits for a person: then there is always one.
            let promotes = manual || spec.promote.is_some() || spec.judge.is_some();
            Story { seed, kind, spec, new, old, rate, promotes, happenings, crashes }
        },
    )
}

/// So many cases, unless the environment asks for more.
fn cases(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(cases), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn every_rollout_ends_as_before_or_promoted_or_says_that_it_is_stuck(story in stories()) {
        let (driver, before) = story.tell();
        check_end(&driver, &before);
    }

    #[test]
    fn the_same_story_twice_gives_the_same_events_byte_for_byte(story in stories()) {
        let bytes = |(driver, _): (Driver, ServiceState)| serde_json::to_string(&driver.events).unwrap();
        prop_assert_eq!(bytes(story.tell()), bytes(story.tell()));
    }
}

proptest! {
    #![proptest_config(cases(4))]

    /// At every event of a rollout: killed there, and reverted there. The world is healthy, so the end is known.
    #[test]
    fn revert_at_every_event_ends_as_before(mut story in stories(), done in any::<bool>()) {
        story.old = Nature::GOOD;
        story.new = Nature::GOOD;
        story.happenings.clear();
        story.crashes.clear();
        let (whole, _) = story.tell();
        for after in 1..whole.events.len() {
            let mut driver = story.stage();
            let before = driver.service.clone();
            story.begin(&mut driver);
            driver.crashes = vec![Crash { after, done, down: 0 }];
            driver.until(LONG, "the event", |d| d.events.len() >= after);
            let promoted = driver.state.is_promoted();
            prop_assert!(driver.clone().input(say(Verb::Abort)).is_err() == (promoted || driver.state.finished.is_some()));
            if driver.input(say(Verb::Revert)).is_err() {
                prop_assert!(driver.state.finished.is_some());
                continue;
            }
            let asked = driver.world.now;
            let expected = match driver.state.turned {
                Some((Cause::Abort, ..)) => Outcome::Aborted,
                Some((Cause::Revert, ..)) => Outcome::Reverted,
                _ => Outcome::RolledBack,
            };
            prop_assert_eq!(expected == Outcome::Reverted, promoted);
            let outcome = driver.run(60);
            prop_assert_eq!(outcome, expected, "{} after {}", driver.reason(), after);
            check_end(&driver, &before);
            prop_assert!(driver.world.now.since(asked) <= crate::time::Span::seconds(60));
        }
    }

    /// Killed after every event, with and without its effects done: the end is one that was possible without.
    #[test]
    fn a_crash_at_every_event_changes_no_outcome(mut story in stories(), down in 0..300_u64) {
        story.old = Nature::GOOD;
        story.new = Nature::GOOD;
        story.rate = 40;
        story.happenings.clear();
        story.crashes.clear();
        let (whole, _) = story.tell();
        prop_assume!(whole.state.finished.as_ref().is_some_and(|(outcome, _)| *outcome == Outcome::Promoted));
        for after in 1..=whole.events.len() {
            story.crashes = vec![Crash { after, done: after % 2 == 0, down }];
            let (driver, before) = story.tell();
            check_end(&driver, &before);
            let (outcome, reason) = driver.state.finished.clone().unwrap();
            // Chance goes on while the driver is down, so the judge sees other requests.
            let told_apart = story.spec.judge.is_some();
            prop_assert!(outcome == Outcome::Promoted || told_apart, "{reason}");
        }
    }
}
