//! What goes wrong in the world, at every move of a canary and of a blue-green. Afterwards all traffic is on the old
//! version, or all on the new one, and the outcome says why. (That the driver is killed there, or told to abort, is
//! in `crashes` and `people`.)

use std::collections::BTreeMap;

use tidegate::analysis::{Form, JudgeSpec};
use tidegate::rollout::{FULL, RolloutSpec};
use tidegate::service::Outcome;
use tidegate::simulate::{Change, End, Moment, Nature, Story};
use tidegate::time::Span;

use crate::crashes::whole;
use crate::narration::narrated;
use crate::stories::*;

/// A fault, and what is to be seen of it.
struct Fault<'a> {
    name: &'a str,
    seed: u64,
    change: Change,
    lasts: Option<Span>,
    bake: &'a str,
    /// What the reason says one of, where the rollout did not go through.
    says: &'a [&'a str],
    /// Whether it may end stuck, which says so and keeps both.
    sticks: bool,
    /// Whether the old version may be unable to serve afterwards.
    hurts_old: bool,
}

impl Fault<'_> {
    fn of(name: &str, seed: u64, change: Change) -> Fault<'_> {
        Fault { name, seed, change, lasts: None, bake: "20s", says: &[], sticks: false, hurts_old: false }
    }

    fn of_version<'a>(name: &'a str, seed: u64, version: &str, nature: Nature) -> Fault<'a> {
        Fault::of(name, seed, Change::Nature { version: version.to_owned(), nature })
    }

    /// Both strategies, each judged.
    fn strategies(&self) -> [(&'static str, RolloutSpec); 2] {
        let absolute = JudgeSpec { form: Some(Form::Absolute { objective: 0.01, independent: false }), ..judge() };
        [
            ("canary", judged(&[25.0, 50.0], self.bake)),
            ("blue-green", RolloutSpec { judge: Some(absolute), ..blue_green(Some(self.bake)) }),
        ]
    }

    /// The story without the fault, how it ends, and those with the fault after each of its commits.
    fn stories(&self, spec: &RolloutSpec) -> (End, Vec<Story>) {
        let chapter = release("v2", spec.clone());
        let expected = whole(&standing(self.seed).then(chapter.clone()));
        let commits = expected.appends - expected.runs[1].appends_before;
        let with = |n| chapter.clone().turn(Moment::Commits(n), self.change.clone(), self.lasts);
        (expected, (0..commits).map(|n| standing(self.seed).then(with(n))).collect())
    }

    /// Checks every story; how often each end came, by strategy.
    fn strike(&self) -> [BTreeMap<&'static str, u32>; 2] {
        self.strategies().map(|(strategy, spec)| {
            let mut ends = BTreeMap::new();
            for (n, story) in self.stories(&spec).1.into_iter().enumerate() {
                let told = format!("{} after commit {n} of a {strategy}", self.name);
                let end = story.tell().unwrap();
                assert_eq!((end.broken.as_slice(), end.left.as_slice()), (&[][..], &[][..]), "{told}");
                *ends.entry(self.check(&end, &told).as_str()).or_default() += 1;
            }
            eprintln!("figure: {} at every commit of a {strategy}: {ends:?}, seed {}", self.name, self.seed);
            ends
        })
    }

    fn check(&self, end: &End, told: &str) -> Outcome {
        let shop = &end.services["shop"];
        let (outcome, reason) = &end.runs[1].rollouts["ship"];
        assert!(!reason.is_empty() && !reason.contains('\n'), "{told}: {reason:?}");
        assert!(narrated(end).iter().any(|line| line.contains(reason.as_str())), "{told}: {:#?}", narrated(end));
        assert_eq!(shop.held, None, "{told}: {reason}");
        let all_on = |version: &str| BTreeMap::from([(version.to_owned(), FULL)]);
        let four = |version: &str| BTreeMap::from([(version.to_owned(), 4)]);
        if *outcome == Outcome::Promoted {
            assert_eq!((shop.stable.as_deref(), &shop.weights), (Some("v2"), &all_on("v2")), "{told}: {reason}");
            assert!(shop.running.keys().all(|version| version == "v2"), "{told}: {shop:?}");
            return *outcome;
        }
        assert!(self.says.iter().any(|words| reason.contains(words)), "{told}: {reason}");
        if *outcome == Outcome::Stuck {
            assert!(self.sticks, "{told}: {reason}");
            return *outcome;
        }
        assert_eq!(shop.stable.as_deref(), Some("v1"), "{told}: {reason}");
        assert_eq!(shop.weights, all_on("v1"), "{told}: {reason}");
        if !self.hurts_old {
            assert_eq!((&shop.running, &shop.ready), (&four("v1"), &four("v1")), "{told}: {reason}");
        }
        *outcome
    }
}

fn count(ends: &BTreeMap<&str, u32>, outcome: Outcome) -> u32 {
    ends.get(outcome.as_str()).copied().unwrap_or(0)
}

/// Of each strategy some go back and some go through, and none ends otherwise.
fn back_or_through(fault: &Fault<'_>) {
    for ends in fault.strike() {
        let (back, through) = (count(&ends, Outcome::RolledBack), count(&ends, Outcome::Promoted));
        assert!(back > 3 && through > 0 && ends.len() == 2, "{ends:?}");
    }
}

#[test]
fn the_new_version_can_not_be_started() {
    let fault = Fault::of_version("never starts", 61, "v2", Nature::NEVER_STARTS);
    back_or_through(&Fault { says: &["v2 could not be started"], ..fault });
}

#[test]
fn the_new_version_starts_and_dies() {
    let fault = Fault::of_version("starts and dies", 62, "v2", Nature::CRASH_LOOP);
    back_or_through(&Fault { says: &["exited with code 3"], ..fault });
    let fault = Fault::of_version("dies for good", 63, "v2", Nature::GONE);
    back_or_through(&Fault { says: &["v2 could not be started"], ..fault });
}

#[test]
fn the_new_version_is_healthy_and_wrong() {
    let wrong = Nature { errors: 10_000, ..Nature::GOOD };
    back_or_through(&Fault { says: &["readings running"], ..Fault::of_version("all wrong", 64, "v2", wrong) });
    // Too little for the guard: the judge must find it.
    let wrong = Nature { errors: 3_000, ..Nature::GOOD };
    let fault = Fault::of_version("a third wrong", 65, "v2", wrong);
    back_or_through(&Fault { says: &["the sequential judge condemned its errors"], bake: "2m", ..fault });
}

/// However much traffic there is, the guard needs two seconds of it.
#[test]
fn the_new_version_is_wrong_under_much_traffic() {
    let wrong = Nature { errors: 10_000, ..Nature::GOOD };
    for rate in [5, 40, 200, 2_000] {
        let story = standing(77).then(release("v2", judged(&[50.0], "10m"))).nature("v2", wrong);
        let end = whole(&Story { rate, ..story });
        let reason = &end.runs[1].rollouts["ship"].1;
        assert!(reason.contains("in 2 readings running"), "{rate} a second: {reason}");
    }
}

#[test]
fn the_new_version_is_slow() {
    let fault = Fault::of_version("it does not come up", 66, "v2", Nature::NEVER_READY);
    back_or_through(&Fault { says: &["nobody listens on its port"], ..fault });
    let hung = Nature { hangs: 10_000, ..Nature::GOOD };
    let fault = Fault::of_version("its requests hang", 67, "v2", hung);
    back_or_through(&Fault { says: &["clients that left before an answer"], ..fault });
}

#[test]
fn the_old_version_dies_and_comes_back() {
    let dies = Nature { dies: 2, ..Nature::GOOD };
    let fault = Fault::of_version("the old one dies for a while", 68, "v1", dies);
    for ends in (Fault { lasts: Some(Span::seconds(20)), ..fault }).strike() {
        assert_eq!(ends.keys().copied().collect::<Vec<_>>(), ["promoted"], "the new one is not to blame");
    }
    // Longer than any move may take.
    let fault = Fault::of_version("the old one is gone for long", 69, "v1", Nature::GONE);
    for ends in (Fault { lasts: Some(Span::seconds(80)), says: &["v1 could not be started"], ..fault }).strike() {
        assert!(count(&ends, Outcome::RolledBack) > 1 && count(&ends, Outcome::Promoted) > 0, "{ends:?}");
    }
}

/// There is nothing to go back to, so that a canary ends stuck; a blue-green that has all traffic needs it no more.
#[test]
fn the_old_version_dies_for_good() {
    let fault = Fault::of_version("the old one is gone", 70, "v1", Nature::GONE);
    let says = &["v1 could not be started"];
    let [canary, blue_green] = (Fault { says, sticks: true, hurts_old: true, ..fault }).strike();
    assert!(count(&canary, Outcome::Stuck) > 3 && count(&canary, Outcome::Promoted) > 3, "{canary:?}");
    assert!(count(&blue_green, Outcome::Stuck) == 0 && count(&blue_green, Outcome::Promoted) > 3, "{blue_green:?}");
}

#[test]
fn the_port_is_taken() {
    let says = &["can't listen (address: 127.0.0.1:0, held by pid: "];
    let fault = Fault { says, ..Fault::of("the port is taken for a while", 71, Change::PortTaken) };
    back_or_through(&Fault { lasts: Some(Span::seconds(20)), ..fault });
    let fault = Fault { says, sticks: true, ..Fault::of("the port is taken", 72, Change::PortTaken) };
    for ends in (Fault { hurts_old: true, ..fault }).strike() {
        assert!(count(&ends, Outcome::Stuck) > 3, "{ends:?}");
    }
}

/// As if it had been there alone: the first driver's decisions become nothing, and none of its asks is done.
#[test]
fn a_second_driver_starts() {
    let fault = Fault::of("a second driver", 73, Change::SecondDriver);
    for (strategy, spec) in fault.strategies() {
        let (expected, stories) = fault.stories(&spec);
        for (n, story) in stories.into_iter().enumerate() {
            let end = story.tell().unwrap();
            assert_eq!(end.broken, Vec::<String>::new(), "{strategy} {n}");
            assert_eq!(end.picture(), expected.picture(), "{strategy} {n}");
        }
    }
}

#[test]
fn the_disk_is_full() {
    let full = |reserve| Change::DiskFull { reserve };
    // Room again before the journal is given up: nothing was lost but time.
    let fault = Fault { lasts: Some(Span::millis(500)), ..Fault::of("a full disk for a moment", 74, full(true)) };
    for ends in fault.strike() {
        assert_eq!(ends.keys().copied().collect::<Vec<_>>(), ["promoted"]);
    }
    for (name, seed, reserve) in [("a full disk with a reserve", 75, true), ("a full disk without", 76, false)] {
        let fault = Fault { lasts: Some(Span::seconds(90)), ..Fault::of(name, seed, full(reserve)) };
        let says = ["the journal can't be written", "while the journal could not be written"];
        for ends in (Fault { says: &says, ..fault }).strike() {
            assert!(count(&ends, Outcome::Aborted) > 3 && count(&ends, Outcome::Promoted) > 0, "{ends:?}");
        }
    }
}
