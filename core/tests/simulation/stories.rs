//! The stories that the tests tell.

use std::collections::BTreeMap;

use serde_json::json;
use tidegate::analysis::{JudgeSpec, OnInconclusive};
use tidegate::pipeline::{ActionSpec, NeedSpec, PipelineSpec, StepSpec};
use tidegate::rollout::{RevertSpec, RolloutSpec, StrategySpec};
use tidegate::service::ServeSpec;
use tidegate::simulate::{Chapter, Script, Story};

pub(crate) fn command(name: &str, after: &[&str]) -> StepSpec {
    let action = ActionSpec::Command {
        argv: vec!["make".to_owned(), name.to_owned()],
        shell: None,
        env: BTreeMap::new(),
        dir: None,
        grace: None,
        output: tidegate::pipeline::Output::None,
    };
    step(name, action, after)
}

pub(crate) fn function(name: &str, after: &[&str]) -> StepSpec {
    step(name, ActionSpec::Function { function: name.to_owned() }, after)
}

fn step(name: &str, action: ActionSpec, after: &[&str]) -> StepSpec {
    let mut step = StepSpec::new(name, action);
    step.after = after.iter().map(|on| NeedSpec { step: (*on).to_owned(), when: None }).collect();
    step
}

pub(crate) fn pipeline(name: &str, steps: Vec<StepSpec>) -> PipelineSpec {
    PipelineSpec { name: name.to_owned(), steps, max_parallel: None, fail_fast: false }
}

pub(crate) fn rollout(strategy: StrategySpec) -> RolloutSpec {
    RolloutSpec {
        service: "shop".to_owned(),
        strategy,
        serve: ServeSpec {
            listen: "127.0.0.1:0".to_owned(),
            replicas: 4,
            ready: None,
            drain: Some("5s".into()),
            grace: Some("1s".into()),
            request_timeout: None,
            max_body_bytes: None,
        },
        judge: None,
        progress_deadline: Some("60s".into()),
        promote: None,
        keep_old: Some("5s".into()),
        keep_versions: None,
        restart_limit: None,
    }
}

/// A judge for whom the traffic of a story is enough.
pub(crate) fn judge() -> JudgeSpec {
    JudgeSpec { inconclusive: Some(OnInconclusive::Pass), warmup: Some("2s".into()), ..JudgeSpec::default() }
}

pub(crate) fn canary(steps: &[f64], bake: &str) -> RolloutSpec {
    rollout(StrategySpec::Canary { steps: steps.to_vec(), bake: bake.into() })
}

pub(crate) fn judged(steps: &[f64], bake: &str) -> RolloutSpec {
    RolloutSpec { judge: Some(judge()), ..canary(steps, bake) }
}

pub(crate) fn blue_green(bake: Option<&str>) -> RolloutSpec {
    rollout(StrategySpec::BlueGreen { bake: bake.map(Into::into) })
}

/// The release of the first example: build, test, package, ship.
pub(crate) fn release(version: &str, rollout: RolloutSpec) -> Chapter {
    let action = ActionSpec::Rollout { rollout: Box::new(rollout), release: None };
    let mut ship = step("ship", action, &["test"]);
    ship.inputs = vec!["package".to_owned()];
    let steps = vec![command("build", &[]), command("test", &["build"]), function("package", &["build"]), ship];
    let value = json!({ "version": version, "command": ["server", version] });
    Chapter::new(format!("ship-{version}"), pipeline("release", steps))
        .script("package", Script { value, ..Script::default() })
}

pub(crate) fn revert(to: Option<&str>) -> Chapter {
    let revert = RevertSpec {
        service: "shop".to_owned(),
        to: to.map(str::to_owned),
        progress_deadline: Some("60s".into()),
        keep_old: Some("5s".into()),
    };
    Chapter::new("revert", pipeline("revert", vec![step("back", ActionSpec::Revert { revert }, &[])]))
}

/// A service that stands by `v1`.
pub(crate) fn standing(seed: u64) -> Story {
    Story::new(seed, release("v1", canary(&[50.0], "1s")))
}
