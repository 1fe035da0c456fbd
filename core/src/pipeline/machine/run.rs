//! The run machine.

use crate::error::Result;
use crate::machine::Machine;
use crate::pipeline::machine::event::Event;
use crate::pipeline::machine::input::{Effect, Input};
use crate::pipeline::machine::state::{Run, RunState};
use crate::pipeline::machine::{apply, decide, effects};
use crate::rollout::RolloutMachine;
use crate::time::Time;

/// The machine of a pipeline's run.
///
/// - A step that ended never starts again by itself. A step that was cut off starts again with the same idempotency
///   key and a higher attempt and token, which uses up no retry; the third time, or if it is `once`, it asks. That the
///   engine was closed counts for nothing, so that only a `once` step asks then, and only if it had begun.
/// - A step's end, and the starts and skips that follow from it, are one batch of events.
/// - Of steps that are ready, the one defined first starts first. At most `max_parallel` attempts run; a step that
///   waits for its next attempt holds no slot.
/// - An attempt that takes too long is told to stop, and its failure is recorded when it is gone. Until then it holds
///   its slot.
/// - A step whose needs can't be met any more is skipped at once, with the reason.
/// - After a cancel, and after the first failure if the pipeline is `fail_fast`, ordinary steps that run are stopped
///   and the others don't start; cleanup steps run all the same. The run ends when everything has.
///
/// After a crash the driver folds the events, gives [`Input::Resume`], and when that is durable does what its events
/// ask. [`Machine::pending`] is for a driver that goes on: its starts are of attempts that may run already.
#[derive(Debug, Clone, Copy)]
pub struct RunMachine;

impl Machine for RunMachine {
    type State = RunState;
    type Input = Input;
    type Event = Event;
    type Effect = Effect;

    fn decide(state: &RunState, input: &Input, now: Time) -> Result<Vec<Event>> {
        decide::decide(state, input, now).map(|(events, _)| events)
    }

    fn apply(state: &mut RunState, event: &Event, at: Time) {
        apply::apply(state, event, at);
    }

    fn effects(state: &RunState, event: &Event) -> Vec<Effect> {
        effects::effects(state, event)
    }

    fn pending(state: &RunState) -> Vec<Effect> {
        effects::pending(state)
    }

    fn deadline(state: &RunState) -> Option<Time> {
        state.run().and_then(Run::deadline)
    }
}

impl Run {
    /// When the run wants a tick: at once if something can start or the run can end (which a driver that applies
    /// events at the time of their decision never sees), else when an attempt takes too long or a wait is over. A wait
    /// that is over while every slot is taken needs no tick: whatever frees a slot looks at it.
    fn deadline(&self) -> Option<Time> {
        if self.outcome.is_some() {
            return None;
        }
        let free = self.running.len() < self.max_parallel;
        if (free && !self.ready.is_empty()) || self.left == 0 {
            return Some(Time::default());
        }
        let wait = self.backing_off.first().filter(|_| free);
        let rollouts = self.rollouts().filter_map(|(_, state)| RolloutMachine::deadline(state));
        self.alarms.first().into_iter().chain(wait).map(|(time, _)| *time).chain(rollouts).min()
    }
}
