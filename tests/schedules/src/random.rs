//! Random stories: all of their chance comes from a seed.

use tidegate::analysis::OnInconclusive;
use tidegate::pipeline::{Guarantee, Jitter, NeedSpec, PipelineSpec, RetrySpec, StepSpec, When};
use tidegate::rollout::{PromoteSpec, RolloutSpec};
use tidegate::simulate::{Appended, Chapter, Done, Fault, Moment, Nature, Person, Said, Script, Story};
use tidegate::time::{Chance, Span};
use tidegate::{Command, StepAnswer};

use crate::stories::*;

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

/// A run with people and crashes.
pub(crate) fn pipeline_story(seed: u64) -> Story {
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
pub(crate) fn rollout_story(seed: u64) -> Story {
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
        chapter.said.push(Said { when: Moment::After(Span::millis(at)), command });
    }
    // Whoever paused goes on in the end.
    let resume = Command::Resume { step: step.to_owned(), by, reason };
    for seconds in [200, 900, 2_400] {
        chapter.said.push(Said { when: Moment::After(Span::seconds(seconds)), command: resume.clone() });
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
