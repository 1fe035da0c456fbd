//! A crash at every append and every effect of a story ends as the story without one.

use tidegate::Command;
use tidegate::analysis::{Form, JudgeSpec};
use tidegate::rollout::RolloutSpec;
use tidegate::service::Outcome;
use tidegate::simulate::{Appended, End, Fault, Moment, Nature, Story};
use tidegate::time::Span;

use crate::stories::*;

/// How long nobody drives after a crash: in turn not at all, for a look, for windows to pile up.
pub(crate) const DOWNS: [Span; 3] = [Span::ZERO, Span::seconds(3), Span::seconds(95)];

/// The end of a story without faults, in which nothing was broken.
pub(crate) fn whole(story: &Story) -> End {
    let end = story.tell().unwrap();
    assert_eq!(end.broken, Vec::<String>::new(), "seed {}", story.seed);
    assert_eq!(end.left, Vec::<String>::new(), "seed {}", story.seed);
    end
}

/// Tells the story again with each single fault of its last chapter.
pub(crate) fn crash_everywhere(name: &str, story: &Story) -> End {
    let expected = whole(story);
    let faults = story.points(story.chapters.len() - 1, &DOWNS).unwrap();
    let points = faults.len();
    let mut crashes = 0;
    for fault in faults {
        let end = story.with(vec![fault]).tell().unwrap();
        assert_eq!(end.broken, Vec::<String>::new(), "{name}, seed {}, {fault:?}", story.seed);
        assert_eq!(end.picture(), expected.picture(), "{name}, seed {}, {fault:?}", story.seed);
        crashes += end.crashes;
    }
    eprintln!("figure: crash at every point of {name}: {points} points, {crashes} crashes, seed {}", story.seed);
    assert!(crashes > 0);
    expected
}

pub(crate) fn outcome(end: &End, step: &str) -> Outcome {
    end.runs.last().unwrap().rollouts[step].0
}

#[test]
fn a_good_canary() {
    let end = crash_everywhere("a good canary", &standing(1).then(release("v2", judged(&[25.0, 50.0], "30s"))));
    assert_eq!(outcome(&end, "ship"), Outcome::Promoted);
    assert_eq!(end.services["shop"].stable.as_deref(), Some("v2"));
}

#[test]
fn a_bad_canary() {
    let story = standing(2).then(release("v2", judged(&[25.0, 50.0], "10m"))).nature("v2", Nature::BAD);
    let end = crash_everywhere("a bad canary", &story);
    assert_eq!(outcome(&end, "ship"), Outcome::RolledBack);
    assert_eq!(end.services["shop"].running, [("v1".to_owned(), 4)].into());
}

#[test]
fn a_canary_that_fails_before_it_is_warm() {
    let mut spec = judged(&[25.0], "10m");
    spec.judge = Some(JudgeSpec { warmup: Some("5m".into()), ..judge() });
    let broken = Nature { errors: 10_000, ..Nature::GOOD };
    let end = crash_everywhere("a cold failure", &standing(5).then(release("v2", spec)).nature("v2", broken));
    assert_eq!(outcome(&end, "ship"), Outcome::RolledBack);
    assert!(end.runs[1].rollouts["ship"].1.contains("readings running"), "{:?}", end.runs[1].rollouts);
}

#[test]
fn a_canary_that_ends_again_and_again() {
    let story = standing(3).then(release("v2", canary(&[25.0], "10m"))).nature("v2", Nature::CRASH_LOOP);
    let end = crash_everywhere("a crash loop", &story);
    assert_eq!(outcome(&end, "ship"), Outcome::RolledBack);
    assert!(end.runs[1].rollouts["ship"].1.contains("exited with code 3"), "{:?}", end.runs[1].rollouts);
}

#[test]
fn a_good_blue_green() {
    let end = crash_everywhere("a good blue-green", &standing(4).then(release("v2", blue_green(Some("20s")))));
    assert_eq!(outcome(&end, "ship"), Outcome::Promoted);
}

#[test]
fn a_bad_blue_green() {
    let form = Some(Form::Absolute { objective: 0.001, independent: false });
    let spec = RolloutSpec { judge: Some(JudgeSpec { form, ..judge() }), ..blue_green(Some("10m")) };
    let story = standing(5).then(release("v2", spec)).nature("v2", Nature::BAD);
    let end = crash_everywhere("a bad blue-green", &story);
    assert_eq!(outcome(&end, "ship"), Outcome::RolledBack);
    assert_eq!(end.services["shop"].weights, [("v1".to_owned(), 10_000)].into());
}

#[test]
fn a_first_release() {
    let end = crash_everywhere("a first release", &standing(6));
    assert_eq!(outcome(&end, "ship"), Outcome::Promoted);
}

#[test]
fn a_first_release_that_is_never_ready() {
    let end = crash_everywhere("never ready", &standing(7).nature("v1", Nature::NEVER_READY));
    assert_eq!(outcome(&end, "ship"), Outcome::RolledBack);
    let shop = &end.services["shop"];
    assert!(shop.stable.is_none() && shop.running.is_empty() && shop.weights.is_empty(), "{shop:?}");
}

#[test]
fn a_revert() {
    let story = standing(8).then(release("v2", blue_green(None))).then(revert(None));
    let end = crash_everywhere("a revert", &story);
    assert_eq!((outcome(&end, "back"), end.services["shop"].stable.as_deref()), (Outcome::Promoted, Some("v1")));
}

/// Long after the promotion of every telling, with or without a crash before it, and long before the old version goes.
#[test]
fn a_revert_while_the_old_version_is_kept() {
    let spec = RolloutSpec { keep_old: Some("20m".into()), ..canary(&[50.0], "10s") };
    let revert = Command::Revert { step: "ship".to_owned(), by: "ann".to_owned(), reason: "because".to_owned() };
    let chapter = release("v2", spec).say(Moment::After(Span::seconds(300)), revert);
    let end = crash_everywhere("a revert while the old version is kept", &standing(11).then(chapter));
    assert_eq!(end.runs[1].rollouts["ship"], (Outcome::Reverted, "v2 reverted to v1 by ann: because".to_owned()));
    let shop = &end.services["shop"];
    assert_eq!((shop.stable.as_deref(), shop.held.as_deref()), (Some("v1"), None));
    assert_eq!((&shop.weights, &shop.ready), (&[("v1".to_owned(), 10_000)].into(), &[("v1".to_owned(), 4)].into()));
}

#[test]
fn a_world_that_is_lost() {
    let mut chapter = release("v2", canary(&[25.0], "40s"));
    chapter.losses = vec![Span::seconds(20)];
    let end = crash_everywhere("a lost world", &standing(9).then(chapter));
    assert_eq!(outcome(&end, "ship"), Outcome::Promoted);
}

/// Two crashes: one at any append, another within the next few.
#[test]
fn a_crash_in_a_resume() {
    let story = standing(10).then(release("v2", judged(&[50.0], "20s")));
    let expected = whole(&story);
    let from = expected.runs[1].appends_before;
    for n in from + 1..expected.appends {
        for (gap, how) in [(1, Appended::Durable), (2, Appended::Lost), (3, Appended::Unacknowledged)] {
            let faults = vec![
                Fault::append(n, Appended::Durable, Span::seconds(2)),
                Fault::append(n + gap, how, Span::seconds(1)),
            ];
            let end = story.with(faults).tell().unwrap();
            assert_eq!(end.broken, Vec::<String>::new(), "{n} {gap}");
            assert_eq!(end.picture(), expected.picture(), "{n} {gap}");
        }
    }
}
