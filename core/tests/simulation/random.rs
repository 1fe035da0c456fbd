//! Random stories, and what must hold in every one of them.

use std::collections::BTreeMap;

use tidegate::analysis::OnInconclusive;
use tidegate::pipeline::{Guarantee, Jitter, NeedSpec, PipelineSpec, RetrySpec, RunStatus, StepSpec, When};
use tidegate::rollout::{PromoteSpec, RolloutSpec};
use tidegate::service::Outcome;
use tidegate::simulate::{Appended, Chapter, Done, End, Fault, Moment, Nature, Person, Script, Story};
use tidegate::time::{Chance, Span};
use tidegate::{Command, StepAnswer};

use crate::stories::*;

/// The seeds to be told.
fn seeds(stories: u64) -> Vec<u64> {
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match asked("TIDEGATE_SEED") {
        Some(seed) => vec![seed],
        None => (0..asked("TIDEGATE_STORIES").unwrap_or(stories)).collect(),
    }
}

/// Which ones those are.
fn told(seeds: &[u64]) -> String {
    format!("{} to {}", seeds[0], seeds[seeds.len() - 1])
}

fn one_in(chance: &mut Chance, n: u64) -> bool {
    chance.below(n) == 0
}

fn pick<T: Clone>(chance: &mut Chance, of: &[T]) -> T {
    of[chance.below(of.len() as u64) as usize].clone()
}

fn faults(chance: &mut Chance, at_most: u64, appends: u64, effects: u64) -> Vec<Fault> {
    let mut faults = Vec::new();
    for _ in 0..chance.below(at_most + 1) {
        let down = pick(chance, &[Span::ZERO, Span::millis(700), Span::seconds(4), Span::seconds(120)]);
        faults.push(if one_in(chance, 2) {
            let how = [Appended::Lost, Appended::Durable, Appended::Failed, Appended::Unacknowledged];
            Fault::append(1 + chance.below(appends), pick(chance, &how), down)
        } else {
            let how = pick(chance, &[Done::NotBegun, Done::HalfDone, Done::Done]);
            Fault::effect(1 + chance.below(effects), how, down)
        });
    }
    faults
}

fn random_pipeline(chance: &mut Chance) -> PipelineSpec {
    let mut steps: Vec<StepSpec> = Vec::new();
    for i in 0..1 + chance.below(7) {
        let name = format!("s{i}");
        let mut step = if one_in(chance, 2) { command(&name, &[]) } else { function(&name, &[]) };
        step.cleanup = one_in(chance, 7);
        for on in steps.iter().filter(|on| !on.cleanup || step.cleanup) {
            if one_in(chance, 4) {
                let when = pick(chance, &[None, Some(When::Success), Some(When::Done), Some(When::Failure)]);
                step.after.push(NeedSpec { step: on.name.clone(), when });
            }
        }
        if one_in(chance, 3) {
            let jitter = pick(chance, &[None, Some(Jitter::None)]);
            let attempts = 1 + chance.below(3) as u32;
            step.retry = Some(RetrySpec { attempts, initial: Some("2s".into()), factor: None, cap: None, jitter });
        }
        step.timeout = one_in(chance, 4).then(|| "3s".into());
        step.deadline = one_in(chance, 6).then(|| "12s".into());
        step.allow_failure = one_in(chance, 6);
        if one_in(chance, 6) {
            step.guarantee = Guarantee::Once;
        }
        steps.push(step);
    }
    let mut spec = pipeline("p", steps);
    spec.max_parallel = one_in(chance, 2).then(|| 1 + chance.below(3) as u32);
    spec.fail_fast = one_in(chance, 4);
    spec
}

fn pipeline_story(seed: u64) -> Story {
    let chance = &mut Chance(seed).fork("pipelines");
    let mut chapter = Chapter::new("r", random_pipeline(chance));
    for step in chapter.pipeline.steps.clone() {
        let fails = pick(chance, &[0, 0, 0, 1, 2, u32::MAX]);
        let takes = Span::millis(200 + chance.below(5_000));
        chapter.scripts.insert(step.name, Script { takes, fails, ..Script::default() });
    }
    let answer = pick(chance, &[StepAnswer::Fail, StepAnswer::Done { value: serde_json::Value::Null }]);
    chapter.person.answers = (!one_in(chance, 4)).then_some(answer);
    if one_in(chance, 4) {
        let cancel = Command::Cancel { by: "ann".to_owned(), reason: String::new() };
        chapter = chapter.say(Moment::After(Span::millis(chance.below(15_000))), cancel);
    }
    let mut story = Story::new(seed, chapter);
    story.faults = faults(chance, 4, 25, 15);
    story
}

fn random_nature(chance: &mut Chance) -> Nature {
    Nature {
        ready_after: chance.below(10),
        starts: true,
        comes_up: !one_in(chance, 8),
        dies: pick(chance, &[0, 0, 0, 5, 100]),
        errors: pick(chance, &[10, 10, 300, 10_000]),
        cold: (0, 0),
        burst: pick(chance, &[1, 5]),
        hangs: pick(chance, &[0, 0, 0, 3_000]),
    }
}

fn random_rollout(chance: &mut Chance) -> RolloutSpec {
    let mut shares: Vec<u32> = (0..1 + chance.below(3)).map(|_| 1 + chance.below(100) as u32).collect();
    shares.sort_unstable();
    shares.dedup();
    let shares: Vec<f64> = shares.into_iter().map(f64::from).collect();
    let mut spec =
        if one_in(chance, 4) { blue_green(pick(chance, &[None, Some("15s")])) } else { canary(&shares, "20s") };
    if !one_in(chance, 3) {
        let inconclusive = pick(chance, &[OnInconclusive::Pause, OnInconclusive::RollBack, OnInconclusive::Pass]);
        let mut judge = judge();
        (judge.inconclusive, judge.safe) = (Some(inconclusive), Some(3.0));
        spec.judge = Some(judge);
    }
    spec.promote = one_in(chance, 3).then_some(PromoteSpec::Manual);
    spec
}

/// Over `v1`: a release or a revert, with people, losses and crashes.
fn rollout_story(seed: u64) -> Story {
    let chance = &mut Chance(seed).fork("rollouts");
    let mut story = standing(seed);
    story.rate = pick(chance, &[0, 3, 40]);
    if one_in(chance, 5) {
        story = story.then(release("v0", blue_green(None)));
        story.chapters.push(revert(Some("v1")));
        story = story.nature("v1", random_nature_of_old(chance));
    } else {
        story = story.then(release("v2", random_rollout(chance)));
    }
    story = story.nature("v2", random_nature(chance));
    let last = story.chapters.len() - 1;
    let chapter = &mut story.chapters[last];
    chapter.person = Person { promotes: true, answers: Some(StepAnswer::RunAgain) };
    let step = if chapter.key == "revert" { "back" } else { "ship" };
    let (by, reason) = ("ann".to_owned(), String::new());
    let mut at = 0;
    for _ in 0..chance.below(3) {
        at += chance.below(60_000);
        let (step, by, reason) = (step.to_owned(), by.clone(), reason.clone());
        let command = match chance.below(6) {
            0 => Command::Abort { step, by, reason },
            1 => Command::Promote { step, by, reason },
            2 => Command::Cancel { by, reason },
            3 => Command::Revert { step, by, reason },
            _ => Command::Pause { step: step.clone(), by: by.clone(), reason: reason.clone() },
        };
        chapter.said.push(tidegate::simulate::Said { when: Moment::After(Span::millis(at)), command });
    }
    // Whoever paused goes on in the end.
    let resume = Command::Resume { step: step.to_owned(), by, reason };
    for seconds in [200, 900, 2_400] {
        chapter
            .said
            .push(tidegate::simulate::Said { when: Moment::After(Span::seconds(seconds)), command: resume.clone() });
    }
    if one_in(chance, 3) {
        chapter.losses.push(Span::millis(chance.below(90_000)));
    }
    story.faults = faults(chance, 3, 70, 30);
    story
}

/// One that can come up again and stands.
fn random_nature_of_old(chance: &mut Chance) -> Nature {
    Nature { ready_after: chance.below(6), ..Nature::GOOD }
}

fn check(story: &Story, end: &End) {
    let seed = story.seed;
    assert_eq!(end.broken, Vec::<String>::new(), "TIDEGATE_SEED={seed}, {:?}", story.faults);
    assert_eq!(end.left, Vec::<String>::new(), "TIDEGATE_SEED={seed}: left running");
    for run in &end.runs {
        assert!(matches!(run.status, RunStatus::Finished(_) | RunStatus::Asking), "TIDEGATE_SEED={seed}: {run:?}");
    }
}

/// The service of a story whose last rollout has ended is as before it, or stands by the new version, or says why not.
fn check_service(story: &Story, end: &End) {
    let seed = story.seed;
    let mut before = story.with(Vec::new());
    before.chapters.pop();
    let before = before.tell().unwrap();
    let (found, earlier) = (&end.services["shop"], &before.services["shop"]);
    assert_eq!(found.held, None, "TIDEGATE_SEED={seed}");
    let run = end.runs.last().unwrap();
    for (outcome, reason) in run.rollouts.values() {
        assert!(!reason.is_empty() && !reason.contains('\n'), "TIDEGATE_SEED={seed}: {reason:?}");
        let shape =
            |end: &tidegate::simulate::ServiceEnd| (end.stable.clone(), end.weights.clone(), end.running.clone());
        match outcome {
            Outcome::Promoted => {
                let version = found.stable.clone().unwrap();
                let all = BTreeMap::from([(version.clone(), 10_000)]);
                let running = BTreeMap::from([(version.clone(), 4)]);
                assert_eq!(shape(found), (Some(version), all, running), "TIDEGATE_SEED={seed}: {reason}");
            }
            Outcome::Aborted | Outcome::Reverted | Outcome::RolledBack => {
                assert_eq!(shape(found), shape(earlier), "TIDEGATE_SEED={seed}: {reason}");
                assert_eq!(found.kept, earlier.kept, "TIDEGATE_SEED={seed}: {reason}");
            }
            Outcome::Stuck => {
                let old = earlier.stable.clone().unwrap();
                assert!(found.running.contains_key(&old), "TIDEGATE_SEED={seed}: the old version is kept: {reason}");
            }
        }
    }
}

#[test]
fn random_pipelines_keep_their_promises() {
    let seeds = seeds(300);
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for seed in &seeds {
        let story = pipeline_story(*seed);
        let end = story.tell().unwrap();
        check(&story, &end);
        *ends.entry(format!("{:?}", end.runs[0].status).to_lowercase()).or_default() += 1;
    }
    eprintln!("figure: random pipelines from seeds {}: {ends:?}", told(&seeds));
    // Of one seed, or of few, not every end is there.
    assert!(seeds.len() < 300 || ends.len() == 4, "{ends:?}");
}

#[test]
fn random_rollouts_keep_their_promises() {
    let seeds = seeds(200);
    let mut ends: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in &seeds {
        let story = rollout_story(*seed);
        let end = story.tell().unwrap();
        check(&story, &end);
        check_service(&story, &end);
        for (outcome, _) in end.runs.last().unwrap().rollouts.values() {
            *ends.entry(outcome.as_str()).or_default() += 1;
        }
    }
    eprintln!("figure: random rollouts from seeds {}: {ends:?}", told(&seeds));
    let all = [Outcome::Promoted, Outcome::RolledBack, Outcome::Aborted].map(Outcome::as_str);
    assert!(seeds.len() < 200 || all.iter().all(|end| ends.get(end).is_some_and(|n| *n >= 10)), "{ends:?}");
}

#[test]
fn the_same_story_twice_gives_the_same_events_byte_for_byte() {
    for seed in 0..12 {
        for story in [pipeline_story(seed), rollout_story(seed)] {
            let (first, again) = (story.tell().unwrap(), story.tell().unwrap());
            assert!(!first.events.is_empty());
            assert!(first.events == again.events, "seed {seed}");
        }
    }
    assert_ne!(rollout_story(1).tell().unwrap().events, rollout_story(2).tell().unwrap().events);
}
