//! What a user says about a pipeline: its steps, what each does, and what each waits for.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rollout::{RevertSpec, RolloutSpec};
use crate::service::Release;
use crate::time::SpanText;

/// A pipeline: steps, and how many run at a time. [`PipelineSpec::check`] makes a [`super::Pipeline`] of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineSpec {
    /// The pipeline's name.
    pub name: String,
    /// Its steps. Of steps that could start at the same time, the one that is defined first starts first.
    pub steps: Vec<StepSpec>,
    /// How many steps run at a time; by default as many as there are cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// Whether the first failure stops the steps that run and skips the rest, cleanup steps excepted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fail_fast: bool,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    /// The step's name; unique within the pipeline.
    pub name: String,
    /// What it does.
    pub action: ActionSpec,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<NeedSpec>,
    /// Steps whose values it is given, in this order. It waits for each of them to succeed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// How a failed attempt is repeated; by default it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySpec>,
    /// How long one attempt may take; no limit by default. A function that goes on after its stop is given up after 10 s;
    /// the next attempt begins once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<SpanText>,
    /// How long all attempts and the waits between them may take, from the first start; no limit by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<SpanText>,
    /// What may happen to it when the program is killed in the middle of an attempt.
    #[serde(default, skip_serializing_if = "is_idempotent")]
    pub guarantee: Guarantee,
    /// Whether it cleans up: it runs also after failures and when the run is cancelled. What it names in `after` has
    /// ended (in any way, unless it says otherwise); if it names nothing, it runs after every ordinary step. A
    /// cancel does not stop it, nor does a second one: give one that may hang a timeout.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cleanup: bool,
    /// Whether its failure counts: if allowed, the run can succeed and steps that wait for its success go on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_failure: bool,
    /// A version of what a function does. A changed body can't be seen; a changed version can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl StepSpec {
    /// A step that does `action`, waits for nothing and is not repeated.
    pub fn new(name: impl Into<String>, action: ActionSpec) -> StepSpec {
        StepSpec {
            name: name.into(),
            action,
            after: Vec::new(),
            inputs: Vec::new(),
            retry: None,
            timeout: None,
            deadline: None,
            guarantee: Guarantee::Idempotent,
            cleanup: false,
            allow_failure: false,
            version: None,
        }
    }
}

/// One thing that a step waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NeedSpec {
    /// The step that it waits for.
    pub step: String,
    /// How that step must have ended; `success` by default, `done` for cleanup steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
}

/// How a step that another one waits for must have ended. It looks at that step alone, not at what that one waited
/// for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// It succeeded, or failed and is allowed to.
    Success,
    /// It failed, allowed or not. A step that was skipped or cancelled has not failed.
    Failure,
    /// It ended in any way: succeeded, failed, skipped or cancelled.
    Done,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ActionSpec {
    /// Runs a program in a process group of its own. It succeeds with exit code 0.
    Command {
        /// The program and its arguments. Either this or `shell`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        argv: Vec<String>,
        /// A script for `sh -eu`. Either this or `argv`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shell: Option<String>,
        /// Variables for its environment, besides those of the program that runs the pipeline.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        env: BTreeMap<String, EnvValue>,
        /// The working directory; by default that of the program that runs the pipeline.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dir: Option<String>,
        /// How long after SIGTERM its group is killed; `10s` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<SpanText>,
        /// What its value is.
        #[serde(default, skip_serializing_if = "is_none")]
        output: Output,
    },
    /// Calls a function of the program that runs the pipeline.
    Function {
        /// The name under which it is registered.
        function: String,
    },
    /// Ships a release of a service, step by step; it succeeds when that is promoted.
    Rollout {
        /// How.
        rollout: Box<RolloutSpec>,
        /// What; by default the value of the first step in `inputs`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<Release>,
    },
    /// Takes a service back to a version that was stable before.
    Revert {
        /// To which, and how.
        revert: RevertSpec,
    },
}

/// The value of a variable of a command's environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum EnvValue {
    /// A text. It is recorded with the definition: not for secrets.
    Text {
        /// The text.
        value: String,
    },
    /// A secret, looked up when the step starts. Only its name is recorded.
    Secret {
        /// The secret's name.
        name: String,
    },
}

/// What the value of a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// None: `null`.
    #[default]
    None,
    /// Its standard output as text, without the last line's end; at most 1 MiB.
    Text,
    /// Its standard output as JSON; at most 1 MiB.
    Json,
    /// The last line of its standard output that is not empty, as JSON.
    LastLineJson,
}

/// How a failed attempt is repeated: exponential backoff, capped, with jitter. A function that returned what can't be
/// stored is not called again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetrySpec {
    /// How many attempts may fail before the step has failed, the first one included; 1 to 10,000.
    pub attempts: u32,
    /// The wait after the first failure; `1s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<SpanText>,
    /// By how much the wait grows with each failure; 1 to 1,000, 2 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// The longest wait; `5m` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<SpanText>,
    /// How the wait is drawn; `full` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Jitter>,
}

/// How the wait between attempts is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// Evenly between nothing and the computed wait ("Full Jitter" of the AWS Architecture Blog, "Exponential Backoff
    /// And Jitter").
    Full,
    /// Always the computed wait.
    None,
}

/// What may happen to a step when the program is killed in the middle of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// It runs again, with the same idempotency key and a higher attempt.
    #[default]
    Idempotent,
    /// It never runs again by itself: the run stops and asks.
    Once,
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_idempotent(value: &Guarantee) -> bool {
    *value == Guarantee::Idempotent
}

fn is_none(value: &Output) -> bool {
    *value == Output::None
}
