//! What everything that lasts over time is: a machine.
//!
//! A machine never reads a clock, a file, a socket, a random number or a map in random order. The driver hands it
//! inputs and the time, makes its events durable, and only then does what their effects ask.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::time::Time;

/// A pure decider over a state that is the fold of its events.
pub trait Machine {
    /// What is remembered; the fold of all events.
    type State: Clone + std::fmt::Debug;
    /// A command (imperative) or something that the world reports.
    type Input: Clone + std::fmt::Debug;
    /// A fact (past tense), as it is stored.
    type Event: Clone + std::fmt::Debug + Serialize + DeserializeOwned;
    /// What a durable event asks of the world. Doing it twice must be the same as doing it once.
    type Effect: Clone + std::fmt::Debug;

    /// What follows from an input. An input that changes nothing gives no events; one that is refused (a command
    /// that can't be, an outcome of an attempt that is over) gives an error, and nothing is remembered of it.
    fn decide(state: &Self::State, input: &Self::Input, now: Time) -> Result<Vec<Self::Event>>;

    /// Folds one event in. Total: it never fails and never looks at anything else.
    fn apply(state: &mut Self::State, event: &Self::Event, at: Time);

    /// What a newly durable event asks of the world; `state` has it folded in.
    fn effects(state: &Self::State, event: &Self::Event) -> Vec<Self::Effect>;

    /// What is to be done again after a crash: effects that were begun and have no recorded outcome.
    fn pending(state: &Self::State) -> Vec<Self::Effect>;

    /// When the machine wants to be asked next with a tick, if nothing else happens before.
    fn deadline(state: &Self::State) -> Option<Time>;
}
