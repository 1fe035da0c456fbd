//! How a rollout goes on: from recorded facts to the next events, until nothing more follows.

use std::borrow::Cow;

use super::apply::apply;
use super::state::{MAX_LOSSES, RolloutState};
use crate::rollout::event::{Cause, RolloutEvent};
use crate::rollout::explain;
use crate::rollout::plan::{Gate, Move, way_back};
use crate::service::Outcome;
use crate::time::Time;

/// Events in the making, and the state with them folded in; a decision for nothing copies no state, which holds all
/// evidence.
pub(super) struct Draft<'a> {
    pub(super) state: Cow<'a, RolloutState>,
    pub(super) events: Vec<RolloutEvent>,
    pub(super) now: Time,
}

impl<'a> Draft<'a> {
    pub(super) fn new(state: &'a RolloutState, now: Time) -> Draft<'a> {
        Draft { state: Cow::Borrowed(state), events: Vec::new(), now }
    }

    pub(super) fn push(&mut self, event: RolloutEvent) {
        apply(self.state.to_mut(), &event, self.now);
        self.events.push(event);
    }

    /// Goes back from here.
    pub(super) fn turn_back(&mut self, cause: Cause, reason: String) {
        let Some(start) = &self.state.start else { return };
        let back = way_back(&start.from, &self.state.taken);
        self.push(RolloutEvent::TurnedBack { cause, reason, back });
    }

    /// Pushes all that follows. It ends: each round does one of finitely many moves, or changes a flag for good.
    pub(super) fn advance(&mut self) {
        while self.state.start.is_some() && self.state.finished.is_none() {
            self.restore();
            self.hold();
            if !self.state.back {
                self.look_out();
            }
            if !(self.take_step() || self.lose_patience()) {
                break;
            }
        }
    }

    fn restore(&mut self) {
        if self.state.lost.is_some() && self.state.in_force() && self.unready().is_none() {
            self.push(RolloutEvent::WorldRestored);
        }
    }

    /// Lets the bake's clock stand, or run again.
    fn hold(&mut self) {
        if self.state.back || self.state.seen.is_none() {
            return;
        }
        let unready = self.unready();
        let biased = unready.as_ref().is_some_and(|(version, _)| Some(version.as_str()) == self.state.former());
        let why = match (unready, &self.state.lost) {
            (_, Some(what)) => Some(format!("the world was lost: {what}")),
            (Some((_, why)), None) => Some(why),
            (None, None) if self.state.is_watching() && !self.state.in_force() => {
                let trouble = self.state.seen.as_ref().and_then(|seen| seen.trouble.clone());
                Some(trouble.unwrap_or_else(|| "the weights are not in force".to_owned()))
            }
            (None, None) => None,
        };
        match (why, &self.state.held) {
            (Some(_), Some(hold)) if hold.biased == biased => {}
            // Windows count again, or no longer: another hold.
            (Some(why), Some(_)) => {
                self.push(RolloutEvent::HoldEnded);
                self.push(RolloutEvent::Held { why, biased });
            }
            (Some(why), None) => self.push(RolloutEvent::Held { why, biased }),
            (None, Some(_)) => self.push(RolloutEvent::HoldEnded),
            (None, None) => {}
        }
    }

    fn unready(&self) -> Option<(String, String)> {
        self.state.unready(&self.state.layout.weights)
    }

    /// What turns a rollout back by itself, as long as the old version is still there.
    fn look_out(&mut self) {
        self.harm();
        let state = &self.state;
        let Some(start) = &state.start else { return };
        if state.back || state.is_retiring() {
            return;
        }
        let restarts = state.restarts();
        if restarts > start.terms.restart_limit {
            let reason = explain::crashes(state, restarts);
            self.turn_back(Cause::Crashes, reason);
        } else if state.losses > MAX_LOSSES {
            let reason = format!("the world was lost {} times", state.losses);
            self.turn_back(Cause::WorldLost, reason);
        } else if state.listening_ends().is_some_and(|end| self.now >= end) {
            let reason = explain::cant_listen(state);
            self.turn_back(Cause::CantListen, reason);
        }
    }

    /// Begins or ends the present move, if it can be; whether anything happened.
    fn take_step(&mut self) -> bool {
        let state = &self.state;
        let (index, back) = (u32::try_from(state.index).unwrap_or(u32::MAX), state.back);
        let Some(step) = state.step().cloned() else {
            // Nothing is left to be undone, and the old version is to be there again as before.
            if state.waits_for_world() && state.patience_ends().is_some_and(|end| self.now < end) {
                return false;
            }
            self.finish();
            return true;
        };
        if !state.begun {
            if !self.may_begin(&step) {
                return false;
            }
            let asks = u64::from(step.changes_world());
            let routes = u64::from(matches!(step, Move::Route { .. }));
            let generation = state.generation.saturating_add(asks);
            let epoch = state.epoch.saturating_add(routes);
            self.push(RolloutEvent::MoveBegan { index, back, step, generation, epoch });
            return true;
        }
        if let Move::Promote { version } = &step
            && state.announced.as_ref() != Some(version)
        {
            let kept = self.kept(version.as_deref());
            self.push(RolloutEvent::Promoted { version: version.clone(), kept });
            return true;
        }
        if !self.is_done(&step) {
            return false;
        }
        self.push(RolloutEvent::MoveDone { index, back });
        true
    }

    /// Size before weight: traffic goes only to versions that were seen ready, forward with all that their share
    /// needs, back with any at all (the way back must not wait for the last of four). What the old version keeps of it
    /// may be promoted past.
    fn may_begin(&self, step: &Move) -> bool {
        let state = &self.state;
        if !state.back && state.paused.is_some() {
            return false;
        }
        match step {
            Move::Route { weights } => weights.iter().filter(|(_, share)| **share > 0).all(|(version, share)| {
                let need = if state.back { 1 } else { state.need(version, *share) };
                state.ready(version) >= need || state.skips(version)
            }),
            _ => true,
        }
    }

    fn is_done(&self, step: &Move) -> bool {
        let state = &self.state;
        match step {
            Move::Route { .. } => state.in_force(),
            Move::Scale { version, .. } | Move::Retire { version } => {
                let gone =
                    state.shrinking() != Some(version.as_str()) || state.running(version) <= state.layout.size(version);
                // What shrinks comes last: a world that was lost meanwhile must be whole again before the end.
                state.in_force() && gone && (state.lost.is_none() || state.shrinking().is_none())
            }
            Move::Promote { .. } => true,
            Move::Gate { gate: Gate::Health { version, replicas } } => {
                (state.in_force() && state.ready(version) >= *replicas) || state.skips(version)
            }
            Move::Gate { gate: Gate::Pause { span } } => {
                state.opened || (state.held.is_none() && state.in_force() && state.watched_for(self.now) >= *span)
            }
            Move::Gate { gate: Gate::Analysis { .. } | Gate::Approval } => state.opened,
        }
    }

    /// What follows when the present move took too long; whether anything did.
    fn lose_patience(&mut self) -> bool {
        if self.state.step().is_none() || self.state.patience_ends().is_none_or(|end| self.now < end) {
            return false;
        }
        let (index, back) = (u32::try_from(self.state.index).unwrap_or(u32::MAX), self.state.back);
        if self.state.begun && self.state.shrinking().is_some() {
            // Traffic is where it should be; who stays is named at the end.
            self.push(RolloutEvent::MoveDone { index, back });
        } else if back {
            let reason = explain::stuck(&self.state);
            self.push(RolloutEvent::Finished { outcome: Outcome::Stuck, reason });
        } else {
            let reason = explain::too_long(&self.state);
            self.turn_back(Cause::Deadline, reason);
        }
        true
    }

    fn finish(&mut self) {
        let state = &self.state;
        let outcome = match &state.turned {
            None => Outcome::Promoted,
            Some(_) if state.left_running.is_some() || state.lost.is_some() => Outcome::Stuck,
            Some((Cause::Abort, ..)) => Outcome::Aborted,
            Some((Cause::Revert, ..)) => Outcome::Reverted,
            Some(_) => Outcome::RolledBack,
        };
        let reason = explain::end(state, outcome);
        self.push(RolloutEvent::Finished { outcome, reason });
    }

    /// The versions that can be reverted to once `version` is stable.
    fn kept(&self, version: Option<&str>) -> Vec<String> {
        let Some(start) = &self.state.start else { return Vec::new() };
        if self.state.back {
            return start.kept.clone();
        }
        let former = start.from.stable.iter();
        let mut kept: Vec<String> =
            former.chain(&start.kept).filter(|v| Some(v.as_str()) != version).cloned().collect();
        kept.truncate(usize::try_from(start.terms.keep_versions).unwrap_or(usize::MAX));
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::event::Pause;

    #[test]
    fn the_state_is_copied_only_for_an_event() {
        let state = RolloutState::default();
        let mut draft = Draft::new(&state, Time(1));
        draft.advance();
        assert!(matches!(draft.state, Cow::Borrowed(_)));
        let pause = Pause { by: None, reason: "a question".to_owned() };
        draft.push(RolloutEvent::Paused { pause });
        assert!(matches!(draft.state, Cow::Owned(_)));
        assert_eq!(state, RolloutState::default());
    }
}
