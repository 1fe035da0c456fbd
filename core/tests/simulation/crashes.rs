//! A crash at every append and every effect of a story ends as the story without one.

use tidegate::service::Outcome;
use tidegate::simulate::{End, Nature, Story};
use tidegate::time::Span;

use crate::stories::*;

/// How long nobody drives after a crash: in turn not at all, for a look, for windows to pile up.
const DOWNS: [Span; 3] = [Span::ZERO, Span::seconds(3), Span::seconds(95)];

/// The end of a story without faults, in which nothing was broken.
fn whole(story: &Story) -> End {
    let end = story.tell().unwrap();
    assert_eq!(end.broken, Vec::<String>::new(), "seed {}", story.seed);
    assert_eq!(end.left, Vec::<String>::new(), "seed {}", story.seed);
    end
}

/// Tells the story again with each single fault of its last chapter.
fn crash_everywhere(name: &str, story: &Story) -> End {
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
    eprintln!("{name}: {points} points, {crashes} crashes, seed {}", story.seed);
    assert!(crashes > 0);
    expected
}

fn outcome(end: &End, step: &str) -> Outcome {
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
