//! What people say, at every point of a rollout and with crashes after it.

use tidegate::Command;
use tidegate::pipeline::{RunOutcome, RunStatus};
use tidegate::rollout::PromoteSpec;
use tidegate::service::Outcome;
use tidegate::simulate::{Appended, Chapter, Fault, Moment, Person, Story};
use tidegate::time::Span;

use crate::crashes::{outcome, whole};
use crate::stories::*;

fn abort() -> Command {
    Command::Abort { step: "ship".to_owned(), by: "ann".to_owned(), reason: "because".to_owned() }
}

/// In every phase: without a crash, and with one at the append that takes the command.
fn abort_everywhere(name: &str, seed: u64, chapter: &Chapter) {
    let before = whole(&standing(seed));
    let expected = whole(&standing(seed).then(chapter.clone()));
    let first = expected.runs[1].appends_before;
    let (mut aborted, mut late) = (0, 0);
    for n in 0..expected.appends - first {
        let told = standing(seed).then(chapter.clone().say(Moment::Commits(n), abort()));
        let mut stories: Vec<Story> = vec![told.clone()];
        for how in [Appended::Lost, Appended::Durable, Appended::Failed, Appended::Unacknowledged] {
            stories.push(told.with(vec![Fault::append(first + n + 1, how, Span::seconds(2))]));
        }
        for story in stories {
            let end = story.tell().unwrap();
            assert_eq!(end.broken, Vec::<String>::new(), "{name} after {n}: {:?}", story.faults);
            assert_eq!(end.left, Vec::<String>::new());
            let RunStatus::Finished(run) = end.runs[1].status else { panic!("{name} after {n}: {:?}", end.runs) };
            match (run, end.runs[1].rollouts.get("ship").map(|(outcome, _)| *outcome)) {
                (RunOutcome::Failed, Some(Outcome::Aborted)) => {
                    assert_eq!(end.services, before.services, "{name} after {n}: {:?}", story.faults);
                    aborted += 1;
                }
                // Said before the rollout had begun, where it is refused, or after its end.
                (RunOutcome::Succeeded, Some(Outcome::Promoted)) => late += 1,
                other => panic!("{name} after {n}: {other:?}, {:?}", story.faults),
            }
        }
    }
    eprintln!("{name}: {aborted} aborted, {late} too early or too late, seed {seed}");
    assert!(aborted > 40, "{aborted}");
}

#[test]
fn abort_in_every_phase_of_a_canary() {
    abort_everywhere("abort of a canary", 21, &release("v2", judged(&[25.0, 50.0], "20s")));
}

#[test]
fn abort_in_every_phase_of_a_blue_green() {
    abort_everywhere("abort of a blue-green", 22, &release("v2", blue_green(Some("10s"))));
}

/// What a cancelled run had shipped goes back, also when nobody drives for longer than any move may take.
#[test]
fn a_cancel_takes_a_rollout_back_through_a_long_crash() {
    let seed = 24;
    let chapter = release("v2", judged(&[25.0], "20s"));
    let before = whole(&standing(seed));
    let expected = whole(&standing(seed).then(chapter.clone()));
    let first = expected.runs[1].appends_before;
    let cancel = || Command::Cancel { by: "ann".to_owned(), reason: "because".to_owned() };
    let mut back = 0;
    for n in 0..expected.appends - first {
        let told = standing(seed).then(chapter.clone().say(Moment::Commits(n), cancel()));
        for later in 1..=5 {
            let story = told.with(vec![Fault::append(first + n + later, Appended::Durable, Span::seconds(120))]);
            let end = story.tell().unwrap();
            assert_eq!(end.broken, Vec::<String>::new(), "after {n}: {:?}", story.faults);
            let run = &end.runs[1];
            match (run.status, run.rollouts.get("ship").map(|(outcome, _)| *outcome)) {
                (RunStatus::Finished(RunOutcome::Cancelled), rollout) => {
                    assert!(matches!(rollout, None | Some(Outcome::Aborted)), "after {n}: {:?}", run.rollouts);
                    assert_eq!(end.services, before.services, "after {n}: {:?}", story.faults);
                    back += u32::from(rollout.is_some());
                }
                (RunStatus::Finished(RunOutcome::Succeeded), Some(Outcome::Promoted)) => {}
                other => panic!("after {n}: {other:?}, {:?}", story.faults),
            }
        }
    }
    assert!(back > 40, "{back}");
}

/// A gate that waits for somebody waits through any crash.
#[test]
fn a_promotion_by_hand_is_taken_once() {
    let mut spec = canary(&[50.0], "5s");
    spec.promote = Some(PromoteSpec::Manual);
    let mut chapter = release("v2", spec);
    chapter.person = Person { promotes: true, answers: None };
    let story = standing(23).then(chapter);
    let expected = whole(&story);
    assert_eq!(outcome(&expected, "ship"), Outcome::Promoted);
    for fault in story.points(1, &[Span::seconds(2)]).unwrap() {
        let end = story.with(vec![fault]).tell().unwrap();
        assert_eq!((end.picture(), end.broken.len()), (expected.picture(), 0), "{fault:?} {:?}", end.broken);
    }
}
