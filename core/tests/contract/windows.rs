//! Requests as they are counted: what both worlds keep to, though neither counts the same ones.

use serde_json::Value;
use tidegate::analysis::{JudgeSpec, OnInconclusive};
use tidegate::health::{CheckSpec, ProbeSpec};
use tidegate::rollout::{RolloutSpec, StrategySpec};
use tidegate::simulate::Nature;

use crate::play::Ending;
use crate::rollouts::{canary, of_v2, over_v1, spec, stable};

/// A window as it was judged.
#[derive(Debug)]
pub(crate) struct Judged {
    number: u64,
    epoch: u64,
    /// The new version's share in hundredths of a percent.
    share: u64,
    /// Requests and errors of the new version, and of the old one.
    canary: (u64, u64),
    stable: (u64, u64),
}

impl Judged {
    /// The window of an event, if it is one.
    pub(crate) fn of(event: &str) -> Option<Judged> {
        let event: Value = serde_json::from_str(event).unwrap();
        let inner = event.get("event").filter(|inner| inner["kind"] == "window_judged")?;
        let number = |value: &Value| value.as_u64().unwrap();
        let side = |side: &Value| (number(&side["requests"]), number(&side["errors"]));
        let counts = &inner["counts"];
        Some(Judged {
            number: number(&inner["number"]),
            epoch: number(&inner["epoch"]),
            share: number(&counts["share"]),
            canary: side(&counts["canary"]),
            stable: side(&counts["stable"]),
        })
    }
}

/// The judge of short windows.
fn judged(bake: &str, share: f64) -> RolloutSpec {
    let seconds = |n: &str| Some(n.into());
    let judge = JudgeSpec {
        window: seconds("1s"),
        burst: seconds("1s"),
        warmup: seconds("0s"),
        inconclusive: Some(OnInconclusive::Pass),
        ..JudgeSpec::default()
    };
    RolloutSpec { judge: Some(judge), ..spec(StrategySpec::Canary { steps: vec![share], bake: bake.into() }) }
}

/// Weights are honoured and every request counts once: numbers rise, all windows of one step have one epoch and its
/// share, nothing good is counted as bad, and of all requests the new version has got its share, within five standard
/// deviations (by chance one test in a million fails).
fn holds(world: &str, end: &Ending, share: u64) {
    let windows = &end.windows;
    assert!(windows.len() >= 3, "{world}: {windows:#?}");
    assert!(windows.windows(2).all(|two| two[0].number < two[1].number), "{world}: {windows:#?}");
    assert!(windows.iter().all(|one| one.epoch == windows[0].epoch && one.share == share), "{world}: {windows:#?}");
    assert!(windows.iter().all(|one| one.canary.1 + one.stable.1 == 0), "{world}: {windows:#?}");
    let canary: u64 = windows.iter().map(|one| one.canary.0).sum();
    let all: u64 = canary + windows.iter().map(|one| one.stable.0).sum::<u64>();
    let (p, n) = (share as f64 / 10_000.0, all as f64);
    let (mean, deviation) = (p * n, (p * (1.0 - p) * n).sqrt());
    eprintln!("figure: {world}: {canary} of {all} requests, {mean:.0} expected");
    assert!((canary as f64 - mean).abs() <= 5.0 * deviation, "{world}: {canary} of {all} at {p}: {windows:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_are_found_out() {
    tokio::join!(
        a_version_that_fails_altogether_is_seen_by_the_guard(),
        a_version_that_fails_often_is_condemned_by_the_judge(),
        versions_that_are_checked(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gets_its_share_and_each_request_counts() {
    let faultless = Nature { errors: 0, ..Nature::GOOD };
    let mut play = of_v2(over_v1(judged("8s", 25.0)), faultless);
    play.story = play.story.nature("v1", faultless);
    let (expected, found) = play.both().await;
    for (world, end) in [("virtual", &expected), ("real", &found)] {
        assert_eq!((end.status[1], stable(end)), ("succeeded", Some("v2")), "{world}: {:#?}", end.told);
        holds(world, end, 2_500);
    }
}

async fn a_version_that_fails_altogether_is_seen_by_the_guard() {
    let end = of_v2(over_v1(judged("5m", 50.0)), Nature { errors: 10_000, ..Nature::GOOD }).same().await;
    assert_eq!((end.status[1], stable(&end)), ("failed", Some("v1")));
    assert!(end.told[1].iter().any(|line| line.contains("blackout")), "{:#?}", end.told);
}

async fn a_version_that_fails_often_is_condemned_by_the_judge() {
    let end = of_v2(over_v1(judged("5m", 50.0)), Nature { errors: 3_000, ..Nature::GOOD }).same().await;
    assert_eq!((end.status[1], stable(&end)), ("failed", Some("v1")));
    assert!(end.told[1].iter().any(|line| line.contains("condemned")), "{:#?}", end.told);
}

/// By an HTTP check: who does not answer it is not ready, and why is told.
async fn versions_that_are_checked() {
    let url = "http://{host}:{port}/".to_owned();
    let http = CheckSpec::new(ProbeSpec::Http { url, pass: None, warn: Vec::new(), fail_now: Vec::new() });
    let mut checked = RolloutSpec { progress_deadline: Some("12s".into()), ..canary("60s") };
    checked.serve.ready = Some(http);
    let end = of_v2(over_v1(checked), Nature::NEVER_READY).same().await;
    assert_eq!((end.status[1], stable(&end)), ("failed", Some("v1")));
}
