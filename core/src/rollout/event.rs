//! What happens in a rollout, as it is stored, and what goes to the service's stream with it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plan::{Layout, Move};
use super::terms::Terms;
use crate::analysis::{Explanation, WindowCounts};
use crate::service::{DesiredVersion, LatencyQuantiles, Observed, Outcome, Serving, Trouble, Window};

/// Everything that a rollout began with. What is written here is never computed again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RolloutStart")]
pub struct Start {
    /// The run that the rollout belongs to.
    pub run: String,
    /// Its step within the run.
    pub step: String,
    /// The version that is shipped.
    pub version: String,
    /// The checked spec.
    pub terms: Terms,
    /// What was asked of the world before.
    pub from: Layout,
    /// How the service was served before; `None` for a first release.
    pub served: Option<Serving>,
    /// The versions that could be reverted to before.
    pub kept: Vec<String>,
    /// How to start every version that is or will be running; `replicas` is the full size.
    pub definitions: BTreeMap<String, DesiredVersion>,
    /// The moves.
    pub plan: Vec<Move>,
    /// The generation of the last ask before this rollout.
    pub generation: u64,
    /// The epoch of the weights before this rollout.
    pub epoch: u64,
    /// Numbered behaviour: runs that began under a flag end under it. 1 is the first.
    pub behaviour: u32,
}

/// Why a rollout turned back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RolloutCause")]
pub enum Cause {
    /// Somebody took it back before its version was promoted.
    Abort,
    /// Somebody took it back after its version was promoted.
    Revert,
    /// The judge condemned the new version.
    Harm,
    /// Nearly every request to the new version failed.
    Blackout,
    /// The judge could not tell, and the spec says that this turns back.
    Inconclusive,
    /// The new version's processes ended again and again.
    Crashes,
    /// A move, or a version's unreadiness, took longer than it may.
    Deadline,
    /// The world was lost again and again.
    WorldLost,
    /// The service's address can't be listened on, most likely because another program does.
    CantListen,
}

/// Why a rollout stands still until somebody says how to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RolloutPause")]
pub struct Pause {
    /// Who paused it; `None` when it paused itself.
    pub by: Option<String>,
    /// Why, in one sentence.
    pub reason: String,
}

/// What a version looked like: the part of an observation that decisions rest on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "VersionSeen")]
pub struct Sight {
    /// Processes that run, draining ones included.
    pub running: u32,
    /// Of these, how many may get traffic.
    pub ready: u32,
    /// How often a process ended by itself.
    pub restarts: u32,
    /// The last thing that went wrong, its output cut to the last lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

/// What the world looked like.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "WorldSeen")]
pub struct Seen {
    /// The generation in force.
    pub generation: u64,
    /// The epoch of the weights in force.
    pub epoch: u64,
    /// Every version that is desired or still has processes.
    pub versions: BTreeMap<String, Sight>,
    /// Why nothing can be served, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Whether that is because the address can't be listened on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cant_listen: bool,
}

/// How many of a process's last lines are recorded, and how long each may be in characters.
const LAST_LINES: usize = 5;
const LINE_CHARS: usize = 200;
/// How long the sentence about it may be in characters: one that names the places that were searched is longer.
const WHAT_CHARS: usize = 500;

impl Seen {
    /// Takes from an observation what decisions rest on.
    pub fn of(observed: &Observed) -> Seen {
        let versions = observed.versions.iter().map(|(version, v)| {
            let trouble = v.trouble.as_ref().map(|trouble| Trouble {
                what: trouble.what.chars().take(WHAT_CHARS).collect(),
                last_lines: trouble
                    .last_lines
                    .iter()
                    .skip(trouble.last_lines.len().saturating_sub(LAST_LINES))
                    .map(|line| line.chars().take(LINE_CHARS).collect())
                    .collect(),
            });
            (version.clone(), Sight { running: v.running, ready: v.ready, restarts: v.restarts, trouble })
        });
        Seen {
            generation: observed.generation,
            epoch: observed.epoch,
            versions: versions.collect(),
            trouble: observed.trouble.as_ref().map(|what| what.chars().take(LINE_CHARS).collect()),
            cant_listen: observed.cant_listen,
        }
    }

    /// How many instances of a version may get traffic.
    pub fn ready(&self, version: &str) -> u32 {
        self.versions.get(version).map_or(0, |sight| sight.ready)
    }

    /// How many processes a version has, draining ones included.
    pub fn running(&self, version: &str) -> u32 {
        self.versions.get(version).map_or(0, |sight| sight.running)
    }
}

/// How long the answers to a window's requests took. Events of earlier versions don't have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct WindowLatency {
    /// Those of the release that is judged; nothing where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<LatencyQuantiles>,
    /// Those of what it is compared with; nothing where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<LatencyQuantiles>,
}

impl WindowLatency {
    /// Those of two versions in a service's window.
    pub fn of(window: &Window, canary: &str, stable: &str) -> WindowLatency {
        let side = |version: &str| window.latency.get(version).copied();
        WindowLatency { canary: side(canary), stable: side(stable) }
    }

    /// Whether neither side's is known.
    pub fn is_unknown(&self) -> bool {
        *self == WindowLatency::default()
    }
}

/// What happened in a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RolloutEvent {
    /// It began, and holds the service from here on.
    Started {
        /// With what.
        start: Box<Start>,
    },
    /// Another driver took it up after the one before had ended: what was seen is stale, and patience begins anew,
    /// since nobody drove the present move meanwhile.
    TakenUp,
    /// The world looked different from before.
    Seen {
        /// How.
        seen: Seen,
    },
    /// A move began; what it asks of the world is asked under this generation.
    MoveBegan {
        /// Which, counted from 0 in the plan, or in the way back.
        index: u32,
        /// Whether it is of the way back.
        back: bool,
        /// The move.
        step: Move,
        /// The generation of the ask; that of before when nothing is asked.
        generation: u64,
        /// The epoch of the weights.
        epoch: u64,
    },
    /// The move is done: seen in force, or its gate is open.
    MoveDone {
        /// Which.
        index: u32,
        /// Whether it is of the way back.
        back: bool,
    },
    /// What gets traffic is not all ready, or the weights are not in force: the bake's clock stands.
    Held {
        /// Why, in one sentence.
        why: String,
        /// Whether the old version is not as its share needs, so that windows of this time don't count: the requests
        /// that it did not take went to the new one.
        biased: bool,
    },
    /// What gets traffic is ready again.
    HoldEnded,
    /// A window was judged.
    WindowJudged {
        /// Its number within the service.
        number: u64,
        /// The epoch of its weights.
        epoch: u64,
        /// What was counted, and the new version's share.
        counts: WindowCounts,
        /// How long answers took. No decision rests on it.
        #[serde(default, skip_serializing_if = "WindowLatency::is_unknown")]
        latency: WindowLatency,
    },
    /// A window does not count, because the old version was not ready for its share in it, or got too few of the
    /// requests: the shares were not those assigned. Or it has more errors than requests.
    WindowLeftOut {
        /// Its number within the service.
        number: u64,
    },
    /// The judge said something that the rollout acts on.
    Verdict {
        /// `harm`, `blackout`, `safe`, `pass` or `inconclusive`.
        #[schemars(extend("enum" = ["harm", "blackout", "safe", "pass", "inconclusive"]))]
        verdict: String,
        /// With the evidence, in one sentence.
        sentence: String,
        /// The numbers behind it; none for a blackout.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        explanation: Option<Box<Explanation>>,
    },
    /// Somebody promoted: the gate opens.
    GateOpened {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// No further move begins until somebody says so.
    Paused {
        /// By whom and why.
        pause: Pause,
    },
    /// Moves may begin again; a bake that ended without a verdict begins anew.
    Resumed {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// It goes back from here on.
    TurnedBack {
        /// The kind of reason.
        cause: Cause,
        /// The reason in one sentence.
        reason: String,
        /// The moves of the way back.
        back: Vec<Move>,
    },
    /// Another version counts as good now.
    Promoted {
        /// Which; `None` when a first release was taken back.
        version: Option<String>,
        /// The versions that can be reverted to, the latest first.
        kept: Vec<String>,
    },
    /// The supervisor died, or what it held was lost.
    WorldLost {
        /// What happened.
        what: String,
    },
    /// The world is again as asked.
    WorldRestored,
    /// It is over, and the service is free.
    Finished {
        /// How it ended.
        outcome: Outcome,
        /// Why, in one sentence that names the evidence.
        reason: String,
    },
}
