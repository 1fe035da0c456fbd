//! What must hold for every pipeline, every outcome and every crash.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::world::{World, need, pipeline, retry, step};
use super::*;
use crate::machine::Machine;
use crate::pipeline::{Guarantee, Jitter, PipelineSpec, When};
use crate::time::{Chance, Span};

/// A random pipeline: needs go to earlier steps, so that there is no cycle.
fn random_spec(chance: &mut Chance) -> PipelineSpec {
    let n = 1 + chance.below(12) as usize;
    let mut steps: Vec<crate::pipeline::StepSpec> = Vec::new();
    for i in 0..n {
        let mut new = step(&format!("s{i}"), &[]);
        new.cleanup = chance.below(6) == 0;
        for (j, on) in steps.iter().enumerate() {
            if on.cleanup && !new.cleanup {
                continue;
            }
            match chance.below(8) {
                0 => new.after.push(need(&format!("s{j}"), When::Success)),
                1 => new.after.push(need(&format!("s{j}"), When::Done)),
                2 if chance.below(2) == 0 => new.after.push(need(&format!("s{j}"), When::Failure)),
                3 => new.inputs.push(format!("s{j}")),
                _ => {}
            }
        }
        if chance.below(3) == 0 {
            new.retry = retry(1 + chance.below(4) as u32, "2s");
            if let Some(retry) = new.retry.as_mut().filter(|_| chance.below(2) == 0) {
                retry.jitter = Some(Jitter::Full);
            }
        }
        new.timeout = (chance.below(4) == 0).then(|| "3s".into());
        new.deadline = (chance.below(6) == 0).then(|| "10s".into());
        new.allow_failure = chance.below(6) == 0;
        if chance.below(6) == 0 {
            new.guarantee = Guarantee::Once;
        }
        steps.push(new);
    }
    let mut spec = pipeline(steps);
    spec.max_parallel = (chance.below(3) > 0).then(|| 1 + chance.below(4) as u32);
    spec.fail_fast = chance.below(4) == 0;
    spec
}

fn random_outcome(chance: &mut Chance) -> Outcome {
    match chance.below(10) {
        0..=4 => Outcome::Succeeded { value: json!(chance.below(100)) },
        5..=6 => super::world::failed(),
        7 => Outcome::Failed {
            error: StepError { permanent: true, ..StepError::new(Cause::Exception, "no") },
            retry_in: Some(Span::seconds(1)),
        },
        8 => Outcome::TimedOut,
        _ => Outcome::Lost,
    }
}

/// A run in which anything may happen at any time, until it ends. The world checks after every input that nothing runs
/// that must not, that no slot is idle, and that folding what was written gives what is remembered.
fn random_run(seed: u64, crashes: bool) -> World {
    let chance = &mut Chance(seed);
    let spec = random_spec(chance);
    let mut world = World::start_with(spec, 3, seed, true);
    let mut reruns = 0;
    for turn in 0_u64.. {
        assert!(turn < 5_000, "the run does not end");
        match world.state.status() {
            RunStatus::Finished(outcome) => {
                world.check_skips();
                // A third of the runs that did not succeed are run again.
                if outcome == RunOutcome::Succeeded || reruns == 2 || chance.below(3) > 0 {
                    return world;
                }
                reruns += 1;
                rerun(&mut world);
                continue;
            }
            RunStatus::Asking => {
                answer(&mut world, chance);
                continue;
            }
            RunStatus::New | RunStatus::Running => {}
        }
        // Things calm down after a while, so that every run can end.
        let calm = turn > 300;
        match chance.below(20) {
            0 if crashes && !calm && chance.below(2) == 0 => close(&mut world, chance),
            0 if crashes && !calm => drop(world.crash()),
            1 if chance.below(10) == 0 => drop(world.cancel()),
            2..=5 => world.pass(chance.below(5) as i64),
            6 => answer(&mut world, chance),
            _ => {
                let running: Vec<String> = world.running().iter().map(|name| (*name).to_owned()).collect();
                let Some(name) = running.get(chance.below(running.len() as u64) as usize) else {
                    world.pass(5);
                    continue;
                };
                let stopping = world.run().step(name).unwrap().stopping().is_some();
                let outcome = match (stopping && chance.below(4) > 0, calm) {
                    (true, _) => Outcome::Stopped,
                    (false, true) => super::world::ok(),
                    (false, false) => random_outcome(chance),
                };
                world.report(name, outcome);
            }
        }
    }
    unreachable!()
}

/// The engine is closed in order, and the run is taken up again; now and then it is killed in between.
fn close(world: &mut World, chance: &mut Chance) {
    let running: Vec<String> = world.running().iter().map(|name| (*name).to_owned()).collect();
    for name in &running {
        let found = match chance.below(8) {
            0 => continue,
            1 => AtClose::NotBegun,
            2 => AtClose::Left,
            3..=5 => AtClose::Ended(Outcome::Stopped),
            _ => AtClose::Ended(random_outcome(chance)),
        };
        let cut_offs = world.run().step(name).unwrap().cut_offs();
        let counts = matches!(found, AtClose::Ended(Outcome::Lost));
        world.close(name, found);
        let after = world.run().step(name).unwrap().cut_offs();
        assert!(after <= cut_offs + u32::from(counts), "an orderly close counts as a cut-off of {name}");
    }
    if world.run().outcome().is_none() {
        world.crash();
    }
}

fn answer(world: &mut World, chance: &mut Chance) {
    let Some(step) = world.run().questions().next().map(|(name, _)| name.to_owned()) else { return };
    let answer = match chance.below(3) {
        0 => Answer::Done { value: json!("by hand") },
        1 => Answer::RunAgain,
        _ => Answer::Fail,
    };
    world.input(Input::Resolve { step, answer, by: "ann".into() }).unwrap();
}

/// What succeeded runs again only if it waits for something that runs again, or comes last.
fn rerun(world: &mut World) {
    let before: BTreeSet<String> = succeeded(world);
    world.epoch += 1;
    let input = Input::RerunFailed { by: "ann".into(), epoch: world.epoch };
    let Ok(events) = world.input(input) else { return };
    let Some(Event::RunReopened { steps, .. }) = events.first() else { panic!("{events:?}") };
    for name in steps.iter().filter(|name| before.contains(*name)) {
        let spec = world.spec.steps.iter().find(|step| step.name == *name).unwrap();
        let waits = spec.after.iter().map(|need| &need.step).chain(&spec.inputs).any(|on| steps.contains(on));
        let last = spec.cleanup && spec.after.is_empty() && spec.inputs.is_empty();
        assert!(waits || last, "{name} succeeded and runs again");
    }
}

fn succeeded(world: &World) -> BTreeSet<String> {
    let steps = world.run().steps().filter(|(_, step)| matches!(step.phase(), Phase::Succeeded { .. }));
    steps.map(|(name, _)| name.to_owned()).collect()
}

/// A step that has ended starts only after a reopening that names it; its attempts and tokens only rise.
fn check_history(world: &World) {
    let mut ended: BTreeSet<&str> = BTreeSet::new();
    for (event, _) in &world.events {
        match event {
            Event::StepFinished { step, .. } | Event::StepSkipped { step, .. } => {
                assert!(ended.insert(step), "{step} ended twice");
            }
            Event::StepResolved { step, answer: Answer::Done { .. } | Answer::Fail, .. } => {
                ended.insert(step);
            }
            Event::StepStarted { step, .. } => assert!(!ended.contains(step.as_str()), "{step} started after its end"),
            Event::RunReopened { steps, .. } => ended.retain(|step| !steps.iter().any(|again| again == step)),
            _ => {}
        }
    }
    for spec in &world.spec.steps {
        let starts: Vec<_> = world.starts.iter().filter(|start| start.step == spec.name).collect();
        assert!(starts.is_sorted_by(|a, b| a.attempt < b.attempt && a.token < b.token), "{}", spec.name);
        assert!(starts.iter().all(|start| start.idempotency_key == format!("r1/{}", spec.name)));
    }
    // A `once` step starts again only after a failure, an answer, or a reopening.
    for spec in world.spec.steps.iter().filter(|step| step.guarantee == Guarantee::Once) {
        let mut unknown = false;
        for (event, _) in &world.events {
            match event {
                Event::StepCutOff { step, by, .. } if *step == spec.name => unknown = *by != CutOff::CloseBeforeStart,
                Event::StepResolved { step, .. } if *step == spec.name => unknown = false,
                Event::StepStarted { step, .. } if *step == spec.name => {
                    assert!(!unknown, "{step} ran again by itself")
                }
                _ => {}
            }
        }
    }
}

/// What is skipped is skipped for a reason, and what has no reason to be skipped is not: without a cancel and without
/// `fail_fast`, a step ran unless one of its needs can't be met.
fn check_who_ran(world: &World) {
    let halted = world.spec.fail_fast
        || world.events.iter().any(|(event, _)| matches!(event, Event::CancelRequested { .. }))
        || world.events.iter().any(|(event, _)| matches!(event, Event::RunReopened { .. }));
    if halted {
        return;
    }
    for spec in &world.spec.steps {
        let default = if spec.cleanup { When::Done } else { When::Success };
        let unmet = spec.after.iter().any(|need| {
            let allowed = world.spec.steps.iter().any(|step| step.name == need.step && step.allow_failure);
            match (need.when.unwrap_or(default), world.phase(&need.step)) {
                (When::Success, Phase::Failed { .. }) => !allowed,
                (When::Success, phase) => !matches!(phase, Phase::Succeeded { .. }),
                (When::Failure, phase) => !matches!(phase, Phase::Failed { .. }),
                (When::Done, _) => false,
            }
        });
        let no_value = spec.inputs.iter().any(|on| !matches!(world.phase(on), Phase::Succeeded { .. }));
        let skipped = matches!(world.phase(&spec.name), Phase::Skipped { .. });
        assert_eq!(skipped, unmet || no_value, "{} is {:?}", spec.name, world.phase(&spec.name));
    }
}

proptest! {
    #[test]
    fn every_run_ends_and_keeps_its_promises(seed: u64) {
        let world = random_run(seed, true);
        check_history(&world);
        check_who_ran(&world);
    }

    #[test]
    fn the_same_seed_gives_the_same_events_byte_for_byte(seed: u64) {
        prop_assert_eq!(random_run(seed, true).trace(), random_run(seed, true).trace());
    }

    /// A crash in the middle of the journal loses nothing but time: from every prefix of its batches a run can be gone
    /// on with, and ends.
    #[test]
    fn from_every_prefix_a_run_goes_on(seed: u64, cut: prop::sample::Index) {
        let before = random_run(seed, false);
        let mut world = World::start_with(before.spec.clone(), 3, seed, true);
        let kept = before.batches[cut.index(before.batches.len())];
        let at = before.events[kept - 1].1;
        world.events = before.events[..kept].to_vec();
        world.live.clear();
        world.starts.clear();
        world.now = at;
        world.state = before.fold(kept);
        let finished = world.run().outcome().is_some();
        if !finished {
            let definition = Box::new(world.spec.clone());
            for effect in RunMachine::pending(&world.state) {
                // What ran when the driver ended: left over, until it is swept.
                if let Effect::StartStep(start) = effect {
                    world.live.insert((start.step.clone(), start.attempt), start);
                } else if let Effect::StopStep { step, attempt, token, .. } = effect {
                    let start = StartStep {
                        step: step.clone(), attempt, token, idempotency_key: String::new(), inputs: vec![],
                        action: world.spec.steps[0].action.clone(), grace: Span::ZERO, ends_by: None, sweep: None,
                    };
                    world.live.insert((step, attempt), start);
                }
            }
            world.input(Input::Resume { epoch: 50, definition }).unwrap();
            let chance = &mut Chance(seed ^ 1);
            for _ in 0..100 {
                match world.drive(|_, _| super::world::ok()) {
                    RunStatus::Asking => answer(&mut world, chance),
                    RunStatus::Finished(_) => break,
                    status => panic!("{status:?}"),
                }
            }
        }
        prop_assert!(world.run().outcome().is_some());
    }
}
