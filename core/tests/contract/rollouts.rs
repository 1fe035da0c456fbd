//! Rollouts: versions that are good, bad, dead or missing, people who have a say, and worlds that are lost.

use std::collections::BTreeMap;

use serde_json::json;
use tidegate::Command;
use tidegate::Release;
use tidegate::pipeline::{ActionSpec, PipelineSpec, StepSpec};
use tidegate::rollout::{PromoteSpec, RevertSpec, RolloutSpec, StrategySpec};
use tidegate::simulate::{Nature, Script};
use tidegate::time::Span;

use crate::common::SHOP;
use crate::play::{Ending, Play};
use crate::stories::{function, pipeline, rollout};

pub(crate) fn spec(strategy: StrategySpec) -> RolloutSpec {
    let mut spec = rollout(strategy);
    spec.serve.replicas = 2;
    (spec.serve.drain, spec.serve.grace) = (Some("1s".into()), Some("2s".into()));
    spec.keep_old = Some("500ms".into());
    spec
}

pub(crate) fn canary(bake: &str) -> RolloutSpec {
    spec(StrategySpec::Canary { steps: vec![50.0], bake: bake.into() })
}

fn blue_green() -> RolloutSpec {
    spec(StrategySpec::BlueGreen { bake: None })
}

fn ship(version: &str, rollout: RolloutSpec) -> PipelineSpec {
    let release =
        Release { version: version.to_owned(), command: vec!["server".to_owned()], env: BTreeMap::new(), dir: None };
    let action = ActionSpec::Rollout { rollout: Box::new(rollout), release: Some(release) };
    pipeline("release", vec![StepSpec::new("ship", action)])
}

/// A service that stands by `v1`, and a release of `v2`.
pub(crate) fn over_v1(rollout: RolloutSpec) -> Play {
    let mut play = Play::new(ship("v1", blue_green()));
    play.story.chapters[0].key = "v1".to_owned();
    play.then("v2", ship("v2", rollout))
}

pub(crate) fn of_v2(mut play: Play, nature: Nature) -> Play {
    play.story = play.story.nature("v2", nature);
    play
}

pub(crate) fn stable(end: &Ending) -> Option<&str> {
    end.services["shop"].0.as_deref()
}

fn who() -> (String, String, String) {
    ("ship".to_owned(), "ann".to_owned(), "because".to_owned())
}

// Stories that mostly wait are told side by side.

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_never_serve() {
    tokio::join!(
        a_version_that_can_not_be_started(),
        a_version_that_ends_again_and_again(),
        a_version_that_is_never_ready(),
        a_first_release_that_can_not_be_started(),
        an_address_that_another_program_holds(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_have_a_say() {
    tokio::join!(
        an_abort_in_the_middle(),
        a_person_who_pauses_resumes_and_promotes(),
        a_revert_while_the_old_version_is_kept_and_one_afterwards(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_while_a_canary_bakes() {
    tokio::join!(a_driver_that_is_killed(), a_supervisor_that_is_lost(), an_old_version_that_ends(),);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_canary_and_a_good_blue_green() {
    let end = over_v1(canary("1s")).then("v3", ship("v3", blue_green())).same().await;
    assert_eq!((end.status.as_slice(), stable(&end)), (&["succeeded"; 3][..], Some("v3")));
}

async fn a_version_that_can_not_be_started() {
    let end = of_v2(over_v1(canary("60s")), Nature::NEVER_STARTS).same().await;
    assert_eq!((end.status[1], stable(&end)), ("failed", Some("v1")));
}

async fn a_version_that_ends_again_and_again() {
    let end = of_v2(over_v1(canary("60s")), Nature { dies: 1, ..Nature::GOOD }).same().await;
    assert_eq!((end.status[1], stable(&end)), ("failed", Some("v1")));
}

async fn a_version_that_is_never_ready() {
    let impatient = RolloutSpec { progress_deadline: Some("8s".into()), ..canary("60s") };
    let end = of_v2(over_v1(impatient), Nature::NEVER_READY).same().await;
    assert_eq!((end.status[1], stable(&end)), ("failed", Some("v1")));
}

async fn a_first_release_that_can_not_be_started() {
    let mut play = Play::new(ship("v1", blue_green()));
    play.story = play.story.nature("v1", Nature::NEVER_STARTS);
    let end = play.same().await;
    assert_eq!((end.status[0], stable(&end)), ("failed", None));
}

async fn an_address_that_another_program_holds() {
    let end = Play::new(ship("v1", blue_green())).take_port().same().await;
    assert_eq!((end.status[0], stable(&end)), ("failed", None));
    let reason = end.told[0].iter().find(|line| line.contains(" finished ")).unwrap();
    assert!(reason.contains("nothing could be served for 5s; can't listen"), "{reason}");
    assert!(!reason.contains("\\n"), "one sentence: {reason}");
}

async fn an_abort_in_the_middle() {
    let (step, by, reason) = who();
    let play = over_v1(canary("10m")).say(Span::seconds(60), "move_began*pause", Command::Abort { step, by, reason });
    let end = play.same().await;
    assert_eq!((end.status[1], stable(&end)), ("failed", Some("v1")));
}

async fn a_person_who_pauses_resumes_and_promotes() {
    let manual = RolloutSpec { promote: Some(PromoteSpec::Manual), ..canary("10m") };
    let (step, by, reason) = who();
    let pause = Command::Pause { step: step.clone(), by: by.clone(), reason: reason.clone() };
    let resume = Command::Resume { step: step.clone(), by: by.clone(), reason: reason.clone() };
    let promote = Command::Promote { step, by, reason };
    let play = over_v1(manual).say(Span::seconds(60), "move_began*pause", pause);
    let play = play.say(Span::seconds(70), " paused", resume).say(Span::seconds(80), " resumed", promote.clone());
    let end = play.say(Span::seconds(120), "move_began*approval", promote).same().await;
    assert_eq!((end.status[1], stable(&end)), ("succeeded", Some("v2")));
}

async fn a_revert_while_the_old_version_is_kept_and_one_afterwards() {
    let keeps = RolloutSpec { keep_old: Some("10m".into()), ..blue_green() };
    let (step, by, reason) = who();
    let revert = Command::Revert { step, by, reason };
    let play = over_v1(keeps).say(Span::seconds(60), "move_began*pause", revert);
    let back = RevertSpec {
        service: "shop".to_owned(),
        to: None,
        progress_deadline: Some("60s".into()),
        keep_old: Some("500ms".into()),
    };
    let revert = pipeline("back", vec![StepSpec::new("back", ActionSpec::Revert { revert: back })]);
    let end = play.then("v3", ship("v3", blue_green())).then("back", revert).same().await;
    assert_eq!(
        (end.status.as_slice(), stable(&end)),
        (&["succeeded", "failed", "succeeded", "succeeded"][..], Some("v1"))
    );
}

async fn a_driver_that_is_killed() {
    let play = over_v1(canary("8s")).kill("move_began*pause");
    let end = play.same().await;
    assert_eq!((end.status[1], stable(&end)), ("succeeded", Some("v2")));
}

async fn a_supervisor_that_is_lost() {
    let play = over_v1(canary("8s"));
    let end = play.lose("move_began*pause").same().await;
    assert_eq!((end.status[1], stable(&end)), ("succeeded", Some("v2")));
}

/// The new one is not to blame.
async fn an_old_version_that_ends() {
    let end = over_v1(canary("8s")).end_instances("v1", "move_began*pause").same().await;
    assert_eq!((end.status[1], stable(&end)), ("succeeded", Some("v2")));
    assert!(end.told[1].iter().any(|line| line.contains("v1 has 0 ready of the 1 that it needs")), "{:#?}", end.told);
}

/// A release that an earlier step returns: one that is none fails the rollout's step.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_a_step_returns() {
    let mut steps = ship("v1", blue_green()).steps;
    if let ActionSpec::Rollout { release, .. } = &mut steps[0].action {
        *release = None;
    }
    steps[0].inputs = vec!["package".to_owned()];
    steps.insert(0, function("package", &[]));
    let good = json!({ "version": "v1", "command": ["python3", "-c", SHOP], "env": { "VERSION": "v1" }, "dir": "/" });
    for (value, status) in [(good, "succeeded"), (json!({ "command": [] }), "failed"), (json!(null), "failed")] {
        let play = Play::new(pipeline("release", steps.clone()));
        let end = play.script("package", Script { value, ..Script::default() }).same().await;
        assert_eq!(end.status[0], status);
    }
}
