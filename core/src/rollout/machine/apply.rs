//! Folding events in. Total: whatever is stored can be folded.

use super::state::{Hold, MAX_LOSSES, RolloutState};
use crate::rollout::event::{RolloutEvent, Seen, Start};
use crate::rollout::plan::Move;
use crate::time::{Span, Time};

pub(super) fn apply(state: &mut RolloutState, event: &RolloutEvent, at: Time) {
    match event {
        RolloutEvent::Started { start } => *state = started(start, at),
        RolloutEvent::TakenUp => {
            state.seen = None;
            state.cant_listen = None;
            state.since = at;
            renew_hold(state, at);
        }
        RolloutEvent::Seen { seen } => {
            if state.restarts_before.is_none() {
                let ran = state.start.as_ref().is_some_and(|start| start.from.size(&start.version) > 0);
                let restarts = seen.versions.get(state.version()).filter(|_| ran).map_or(0, |sight| sight.restarts);
                state.restarts_before = Some(restarts);
            }
            state.cant_listen = seen.cant_listen.then(|| state.cant_listen.unwrap_or(at));
            state.seen = Some(seen.clone());
        }
        RolloutEvent::MoveBegan { step, generation, epoch, back, .. } => {
            begin(state, step, *back, at);
            state.generation = *generation;
            state.epoch = *epoch;
        }
        RolloutEvent::MoveDone { .. } => {
            if let Some(version) = state.shrinking()
                && state.running(version) > state.layout.size(version)
            {
                state.left_running = Some(version.to_owned());
            }
            state.index += 1;
            fresh(state, at);
        }
        RolloutEvent::Held { why, biased } => {
            state.held = Some(Hold { since: at, why: why.clone(), biased: *biased });
            stop_watch(state, at);
        }
        RolloutEvent::HoldEnded => {
            if let Some(hold) = state.held.take() {
                state.held_for = Span(state.held_for.0.saturating_add(at.since(hold.since).0));
                if hold.biased {
                    bias(state, hold.since, at);
                }
            }
            if state.is_watching() {
                state.watched.1 = Some(at);
            }
        }
        RolloutEvent::WindowJudged { number, counts, latency, .. } => {
            state.judged = Some(*number);
            state.latency = *latency;
            if let Some(judge) = state.start.as_ref().and_then(|start| start.terms.judge.as_ref()) {
                judge.fold(&mut state.evidence, *counts);
            }
        }
        RolloutEvent::WindowLeftOut { number } => state.judged = Some(*number),
        RolloutEvent::Verdict { verdict, sentence, .. } => {
            if verdict == "pass" || verdict == "safe" {
                state.opened = true;
                state.verdict = Some(sentence.clone());
            }
        }
        RolloutEvent::GateOpened { .. } => {
            state.opened = true;
            state.paused = None;
        }
        RolloutEvent::Paused { pause } => state.paused = Some(pause.clone()),
        RolloutEvent::Resumed { .. } => {
            // It had paused itself because the bake told too little: the bake begins anew.
            if state.paused.take().is_some_and(|pause| pause.by.is_none()) {
                state.watched = (Span::ZERO, state.watched.1.map(|_| at));
            }
            state.since = at;
        }
        RolloutEvent::TurnedBack { cause, reason, back } => {
            state.turned = Some((*cause, reason.clone(), state.share()));
            state.back = true;
            state.moves.clone_from(back);
            state.index = 0;
            state.paused = None;
            state.held = None;
            fresh(state, at);
        }
        RolloutEvent::Promoted { version, .. } => state.announced = Some(version.clone()),
        RolloutEvent::WorldLost { what } => {
            state.lost = Some(what.clone());
            state.losses = state.losses.saturating_add(1);
            state.seen = Some(Seen::default());
            state.cant_listen = None;
            state.restarts_before = Some(0);
            // Nobody knows since when the weights were not in force, and every instance is new: the bake begins anew.
            state.watched = (Span::ZERO, state.watched.1.map(|_| at));
            if state.losses <= MAX_LOSSES {
                state.since = at;
            }
        }
        RolloutEvent::WorldRestored => state.lost = None,
        RolloutEvent::Finished { outcome, reason } => state.finished = Some((*outcome, reason.clone())),
    }
}

fn started(start: &Start, at: Time) -> RolloutState {
    RolloutState {
        layout: start.from.clone(),
        serving: Some(start.served.clone().unwrap_or_else(|| start.terms.serving.clone())),
        generation: start.generation,
        epoch: start.epoch,
        moves: start.plan.clone(),
        since: at,
        start: Some(Box::new(start.clone())),
        ..RolloutState::default()
    }
}

fn begin(state: &mut RolloutState, step: &Move, back: bool, at: Time) {
    state.layout.apply(step);
    state.begun = true;
    state.since = at;
    if !back {
        state.taken.push(step.clone());
    }
    if let Some(start) = state.start.as_ref().filter(|_| step.changes_world()) {
        let former = start.served.as_ref().filter(|_| back);
        state.serving = Some(former.unwrap_or(&start.terms.serving).clone());
    }
    if state.is_watching() && state.held.is_none() {
        state.watched.1 = Some(at);
    }
}

/// The next move is waited for.
fn fresh(state: &mut RolloutState, at: Time) {
    state.begun = false;
    state.opened = false;
    state.since = at;
    state.held_for = Span::ZERO;
    state.watched = (Span::ZERO, None);
    renew_hold(state, at);
}

/// A hold that goes on is counted anew; what was biased stays so.
fn renew_hold(state: &mut RolloutState, at: Time) {
    if let Some(hold) = state.held.clone() {
        if hold.biased {
            bias(state, hold.since, at);
        }
        state.held = Some(Hold { since: at, ..hold });
    }
}

fn bias(state: &mut RolloutState, from: Time, to: Time) {
    let from = state.last_biased.filter(|(_, end)| *end == from).map_or(from, |(begin, _)| begin);
    state.last_biased = Some((from, to));
}

fn stop_watch(state: &mut RolloutState, at: Time) {
    let watched = state.watched_for(at);
    state.watched = (watched, None);
}
