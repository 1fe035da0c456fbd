//! A run that is ended without its program.

use std::collections::BTreeMap;

use super::world::{World, failed, kinds, ok, pipeline, step};
use super::*;
use crate::error::Kind;
use crate::pipeline::{ActionSpec, Guarantee, Output, SkipReason, StepSpec};

fn command(name: &str, after: &[&str]) -> StepSpec {
    let (argv, env) = (vec!["true".to_owned()], BTreeMap::new());
    let action = ActionSpec::Command { argv, shell: None, env, dir: None, grace: None, output: Output::None };
    StepSpec { action, ..step(name, after) }
}

fn cleanup(step: StepSpec) -> StepSpec {
    StepSpec { cleanup: true, ..step }
}

/// The driver is killed, and one without the run's program takes it up.
fn take_up_to_end(world: &mut World) -> Vec<Event> {
    world.stops.clear();
    world.state = world.fold(world.events.len());
    world.epoch += 1;
    // Until the cancel, in the same commit, what could start does not.
    world.checked = false;
    let mut events = world.input(Input::TakeUpToEnd { epoch: world.epoch }).unwrap();
    world.checked = true;
    events.extend(world.cancel());
    events
}

#[test]
fn only_cleanup_commands_run_any_more() {
    let mut pay = command("pay", &[]);
    pay.guarantee = Guarantee::Once;
    let steps = vec![
        step("a", &[]),
        pay,
        command("next", &["a"]),
        cleanup(command("tidy", &[])),
        cleanup(step("report", &[])),
        cleanup(command("after", &["report"])),
    ];
    let mut world = World::start(pipeline(steps));
    let started = world.starts.len();
    assert_eq!(
        kinds(&take_up_to_end(&mut world)),
        [
            "run_resumed",
            "step_cut_off a",
            "step_cut_off pay",
            "step_asks pay",
            "cancel_requested",
            "step_skipped a",
            "step_finished pay",
            "step_skipped next",
            "step_skipped report",
            "step_started tidy",
            "step_started after",
        ]
    );
    let live: Vec<&str> = world.live.keys().map(|(step, _)| step.as_str()).collect();
    assert_eq!(live, ["after", "tidy"], "what was left over is swept");
    let Phase::Skipped { reason } = world.phase("report") else { panic!() };
    assert_eq!(**reason, SkipReason::NoProgram { function: "f".into() });
    assert_eq!(reason.to_string(), "the run was ended without the program that has the function \"f\"");

    // Cut off in the middle of that, and taken up again, it goes on.
    world.report("after", ok());
    assert_eq!(kinds(&take_up_to_end(&mut world)), ["run_resumed", "step_cut_off tidy", "step_started tidy"]);
    assert_eq!(kinds(&world.report("tidy", ok())), ["step_finished tidy", "run_finished"]);
    assert_eq!(world.run().outcome(), Some(RunOutcome::Cancelled));
    assert_eq!(world.starts.len(), started + 3);
    let late = world.input(Input::TakeUpToEnd { epoch: 9 }).unwrap_err();
    assert_eq!(late.kind(), Kind::Conflict);
    // Its program runs again what was cancelled or skipped, as ever.
    let again = kinds(&world.input(Input::RerunFailed { by: "ann".into(), epoch: 9 }).unwrap());
    assert_eq!(again[..3], ["run_reopened", "step_started a", "step_asks pay"]);
    world.input(Input::Resolve { step: "pay".into(), answer: Answer::RunAgain, by: "ann".into() }).unwrap();
    assert_eq!(world.drive(|_, _| ok()), RunStatus::Finished(RunOutcome::Succeeded));
}

/// The program that comes back in the middle has its functions.
#[test]
fn its_own_program_goes_on_with_the_cleanup() {
    let mut report = cleanup(step("report", &["tidy"]));
    report.retry = super::world::retry(2, "1s");
    let mut world = World::start(pipeline(vec![step("a", &[]), cleanup(command("tidy", &[])), report]));
    world.cancel();
    world.report("a", Outcome::Stopped);
    world.report("tidy", ok());
    world.report("report", failed());
    assert_eq!(kinds(&world.crash()), ["run_resumed"]);
    world.pass(1);
    assert_eq!(world.starts_of("report"), [1, 2]);
    // Again without it: the attempt is cut off, and there is no other.
    assert_eq!(
        kinds(&take_up_to_end(&mut world)),
        ["run_resumed", "step_cut_off report", "step_skipped report", "run_finished"]
    );
    assert_eq!(world.run().outcome(), Some(RunOutcome::Cancelled));
}
