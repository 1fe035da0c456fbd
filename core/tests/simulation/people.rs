//! What people say, at every point of a rollout and with crashes after it.

use tidegate::Command;
use tidegate::analysis::JudgeSpec;
use tidegate::pipeline::{RunOutcome, RunStatus};
use tidegate::rollout::PromoteSpec;
use tidegate::service::Outcome;
use tidegate::simulate::{Appended, Chapter, Fault, Moment, Nature, Person, Story};
use tidegate::time::Span;

use crate::crashes::{DOWNS, crash_everywhere, outcome, whole};
use crate::stories::*;

fn abort() -> Command {
    Command::Abort { step: "ship".to_owned(), by: "ann".to_owned(), reason: "because".to_owned() }
}

fn revert() -> Command {
    Command::Revert { step: "ship".to_owned(), by: "ann".to_owned(), reason: "because".to_owned() }
}

/// In every phase: without a crash, and with one at the append that takes the command.
fn say_everywhere(name: &str, seed: u64, chapter: &Chapter, command: &Command) {
    let before = whole(&standing(seed));
    let expected = whole(&standing(seed).then(chapter.clone()));
    let first = expected.runs[1].appends_before;
    let (mut aborted, mut reverted, mut late) = (0, 0, 0);
    for n in 0..expected.appends - first {
        let told = standing(seed).then(chapter.clone().say(Moment::Commits(n), command.clone()));
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
                (RunOutcome::Failed, Some(Outcome::Reverted)) if *command == revert() => {
                    assert_eq!(end.services, before.services, "{name} after {n}: {:?}", story.faults);
                    reverted += 1;
                }
                // Said before the rollout had begun, where it is refused, or after its end, or after the promotion.
                (RunOutcome::Succeeded, Some(Outcome::Promoted)) => late += 1,
                other => panic!("{name} after {n}: {other:?}, {:?}", story.faults),
            }
        }
    }
    eprintln!(
        "figure: {name} at every point: {aborted} aborted, {reverted} reverted, {late} too early or too late, seed {seed}"
    );
    assert!(aborted > 25, "{aborted}");
    assert_eq!(reverted > 10, *command == revert(), "{reverted}");
}

#[test]
fn abort_in_every_phase_of_a_canary() {
    say_everywhere("abort of a canary", 21, &release("v2", judged(&[25.0, 50.0], "20s")), &abort());
}

#[test]
fn abort_in_every_phase_of_a_blue_green() {
    say_everywhere("abort of a blue-green", 22, &release("v2", blue_green(Some("10s"))), &abort());
}

#[test]
fn revert_in_every_phase_of_a_canary() {
    say_everywhere("revert of a canary", 25, &release("v2", canary(&[50.0], "10s")), &revert());
}

/// Nothing of a first release that is aborted stays, whenever that is.
#[test]
fn abort_in_every_phase_of_a_first_release() {
    let seed = 25;
    let expected = whole(&standing(seed));
    let mut aborted = 0;
    for n in 0..expected.appends {
        let mut told = standing(seed);
        told.chapters[0] = told.chapters[0].clone().say(Moment::Commits(n), abort());
        for how in [Appended::Lost, Appended::Durable, Appended::Failed, Appended::Unacknowledged] {
            let story = told.with(vec![Fault::append(n + 1, how, Span::seconds(2))]);
            let end = story.tell().unwrap();
            assert_eq!((end.broken.len(), end.left.len()), (0, 0), "after {n}: {:?} {:?}", end.broken, story.faults);
            match end.runs[0].rollouts.get("ship").map(|(outcome, _)| *outcome) {
                Some(Outcome::Aborted) => {
                    let shop = &end.services["shop"];
                    let nothing = shop.stable.is_none() && shop.running.is_empty() && shop.weights.is_empty();
                    assert!(nothing && shop.held.is_none(), "after {n}: {shop:?}");
                    aborted += 1;
                }
                Some(Outcome::Promoted) => assert_eq!(end.services, expected.services, "after {n}"),
                other => panic!("after {n}: {other:?}"),
            }
        }
    }
    eprintln!("figure: abort of a first release at every point: {aborted} aborted, seed {seed}");
    assert!(aborted > 20, "{aborted}");
}

/// Who paused a rollout finds it paused after any crash, and it goes on when told to.
#[test]
fn a_pause_and_a_resume() {
    let said = |reason: &str| ("ship".to_owned(), "ann".to_owned(), reason.to_owned());
    let (step, by, reason) = said("lunch");
    let pause = Command::Pause { step, by, reason };
    let (step, by, reason) = said("back");
    let resume = Command::Resume { step, by, reason };
    let chapter = release("v2", judged(&[25.0], "30s"))
        .say(Moment::After(Span::seconds(25)), pause)
        .say(Moment::After(Span::seconds(300)), resume);
    let end = crash_everywhere("a pause and a resume", &standing(26).then(chapter));
    assert_eq!(outcome(&end, "ship"), Outcome::Promoted);
    let events = String::from_utf8(end.events).unwrap();
    assert!(events.contains(r#""kind":"paused""#) && events.contains(r#""kind":"resumed""#), "{events}");
}

/// A version that is proven no worse than the spec allows needs no more of its bake.
#[test]
fn a_gate_that_opens_early() {
    let mut spec = judged(&[50.0], "1h");
    spec.judge = Some(JudgeSpec { safe: Some(3.0), ..judge() });
    let (mut story, perfect) = (standing(27).then(release("v2", spec)), Nature { errors: 0, ..Nature::GOOD });
    story.rate = 300;
    let end = crash_everywhere("a gate that opens early", &story.nature("v1", Nature::BAD).nature("v2", perfect));
    assert_eq!(outcome(&end, "ship"), Outcome::Promoted);
    let events = String::from_utf8(end.events).unwrap();
    assert!(events.contains(r#""verdict":"safe""#), "{events}");
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
    let mut taken = 0;
    for n in 0..expected.appends - first {
        let told = standing(seed).then(chapter.clone().say(Moment::Commits(n), cancel()));
        for later in 1..=5 {
            let story = told.with(vec![Fault::append(first + n + later, Appended::Durable, Span::seconds(120))]);
            let end = story.tell().unwrap();
            assert_eq!(end.broken, Vec::<String>::new(), "after {n}: {:?}", story.faults);
            let run = &end.runs[1];
            match (run.status, run.rollouts.get("ship").map(|(outcome, _)| *outcome)) {
                (RunStatus::Finished(RunOutcome::Cancelled), rollout) => {
                    let back = matches!(rollout, None | Some(Outcome::Aborted | Outcome::Reverted));
                    assert!(back, "after {n}: {:?}", run.rollouts);
                    assert_eq!(end.services, before.services, "after {n}: {:?}", story.faults);
                    taken += u32::from(rollout.is_some());
                }
                (RunStatus::Finished(RunOutcome::Succeeded), Some(Outcome::Promoted)) => {}
                other => panic!("after {n}: {other:?}, {:?}", story.faults),
            }
        }
    }
    assert!(taken > 40, "{taken}");
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
    for fault in story.points(1, &DOWNS).unwrap() {
        let end = story.with(vec![fault]).tell().unwrap();
        assert_eq!((end.picture(), end.broken.len()), (expected.picture(), 0), "{fault:?} {:?}", end.broken);
    }
}
