//! What a Rust user writes: a pipeline whose steps know the types of what they take and return.
//!
//! It makes a [`PipelineSpec`](crate::pipeline::PipelineSpec) and a set of [`Functions`]; all checks happen there.

mod finite;
mod function;
mod inputs;
mod pipeline;
mod rollout;
mod step;

pub(crate) use finite::check_finite;
pub use function::{Context, Function, Functions};
pub use inputs::Inputs;
pub use pipeline::Pipeline;
pub use rollout::{Judge, Promoted, Rollout};
pub use step::{Ran, StepRef};
