//! The machine of a run: what it is told, what it remembers, what it decides and what it asks of the world.

mod apply;
mod decide;
mod draft;
mod effects;
mod event;
mod input;
mod nest;
mod rerun;
mod run;
mod state;

pub use decide::params_hash;
pub use event::{
    Answer, Cause, CutOff, Ended, Event, Question, RunOutcome, SkipReason, StepError, StepResult, StopWhy,
};
pub use input::{AtClose, Effect, Input, Outcome, StartStep};
pub use run::RunMachine;
pub use state::{Phase, Run, RunState, RunStatus};

#[cfg(test)]
mod cases;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
