//! What a user says about a rollout.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::analysis::JudgeSpec;
use crate::service::ServeSpec;
use crate::time::SpanText;

/// How a new version takes over from the old one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutSpec {
    /// The service that is shipped to.
    pub service: String,
    /// In which moves the new version takes over. A service's first release ignores it: nothing serves yet.
    pub strategy: StrategySpec,
    /// How the service is run and served.
    pub serve: ServeSpec,
    /// What decides whether the new version is worse than the old one. Without a judge only readiness and crashes
    /// turn a rollout back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<JudgeSpec>,
    /// How long a move may take, and how long a version that gets traffic may be unready, before the rollout turns
    /// back; `10m` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<SpanText>,
    /// Whether somebody must promote before the new version gets all traffic; `auto` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote: Option<PromoteSpec>,
    /// How long the old version is kept running after promotion; `30s` by default. Until then a new version that
    /// crashes again and again, or that the blackout guard finds dead, still goes back by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_old: Option<SpanText>,
    /// How many former versions can be reverted to; 2 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_versions: Option<u32>,
    /// How many crashes of the new version's processes turn the rollout back when passed; 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_limit: Option<u32>,
}

/// In which moves the new version takes over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum StrategySpec {
    /// Traffic goes over in steps, with a bake after each.
    Canary {
        /// Percent of the traffic in each step, rising; 100 may be the last.
        steps: Vec<f64>,
        /// How long each step is watched; where it is judged, at least the judge's warm-up and one of its windows.
        bake: SpanText,
    },
    /// The new version comes up in full beside the old one and gets all traffic at once. The old one then gets no
    /// requests to compare with: only the absolute form of a judge, and its blackout guard, have a say.
    BlueGreen {
        /// How long it is watched before it is promoted, with the old one warm; not at all by default. Where it is
        /// judged, at least the judge's warm-up and one of its windows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bake: Option<SpanText>,
    },
}

/// Who promotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromoteSpec {
    /// The rollout by itself.
    Auto,
    /// A person or program, with the command `promote`.
    Manual,
}

/// Back to a version that was stable before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevertSpec {
    /// The service.
    pub service: String,
    /// The version; by default the one that was stable before the present one. The stable version itself clears up
    /// what a stuck rollout has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How long a move may take; `10m` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<SpanText>,
    /// How long the present version is kept running after the change; `30s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_old: Option<SpanText>,
}
