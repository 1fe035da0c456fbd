//! Pipelines: steps that wait for one another, and the machine that decides which runs when.

pub mod action;
mod backoff;
mod check;
mod difference;
mod graph;
mod machine;
mod spec;
mod value;

pub use backoff::Backoff;
pub use check::{Limits, MAX_STEPS, Pipeline};
pub use difference::{Change, Difference, difference};
pub use graph::{Graph, Need};
pub use machine::{
    Answer, AtClose, Cause, CutOff, Effect as RunEffect, Ended, Event as RunEvent, Input as RunInput,
    Outcome as StepOutcome, Phase, Question, Run, RunMachine, RunOutcome, RunState, RunStatus, SkipReason, StartStep,
    StepError, StepResult, StopWhy, params_hash,
};
pub use spec::{ActionSpec, EnvValue, Guarantee, Jitter, NeedSpec, Output, PipelineSpec, RetrySpec, StepSpec, When};
#[cfg(feature = "cli")]
pub(crate) use value::lossy_integer;
pub use value::{MAX_VALUE_BYTES, check_value};
