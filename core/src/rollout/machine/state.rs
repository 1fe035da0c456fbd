//! What a rollout remembers: the fold of its events, and questions about it that no decision hides in.

use std::collections::BTreeMap;

use crate::analysis::{Evidence, Explanation, Judge, Sides};
use crate::rollout::event::{Cause, Pause, Seen, Start, WindowLatency};
use crate::rollout::plan::{FULL, Gate, Layout, Move, replicas_for};
use crate::service::{Desired, DesiredVersion, Outcome, Serving, Weights, desired};
use crate::time::{Span, Time};

/// A world that is lost more often than this turns the rollout back, and no longer extends a deadline.
pub(super) const MAX_LOSSES: u32 = 5;
/// How long an address may be held by somebody else: long enough for one that is about to end.
pub(in crate::rollout) const LISTEN_WITHIN: Span = Span::seconds(5);

/// What is remembered of a rollout. `RolloutState::default()` is one that has not begun.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RolloutState {
    /// What it began with; `None` before.
    pub start: Option<Box<Start>>,
    /// What is asked of the world now.
    pub layout: Layout,
    /// How the service is served now.
    pub serving: Option<Serving>,
    /// The generation of the last ask.
    pub generation: u64,
    /// The epoch of the last weights.
    pub epoch: u64,
    /// Whether it goes back.
    pub back: bool,
    /// The moves of the present direction.
    pub moves: Vec<Move>,
    /// Which of them is the present one, counted from 0.
    pub index: usize,
    /// Whether the present move has begun.
    pub begun: bool,
    /// Since when the present move is waited for.
    pub since: Time,
    /// Whether the present gate was opened, by somebody or by the judge.
    pub opened: bool,
    /// The forward moves that have begun.
    pub taken: Vec<Move>,
    /// What the world looked like last; `None` when this driver has not seen it yet.
    pub seen: Option<Seen>,
    /// Since when the address can't be listened on.
    pub cant_listen: Option<Time>,
    /// Restarts of the new version from before this rollout, once it was seen.
    pub restarts_before: Option<u32>,
    /// Since when and why the bake's clock stands.
    pub held: Option<Hold>,
    /// How long the clock stood before within the present move.
    pub held_for: Span,
    /// The last time in which the stable side was not as assigned.
    pub last_biased: Option<(Time, Time)>,
    /// How long the present gate was watched, and since when it is being watched.
    pub watched: (Span, Option<Time>),
    /// By whom and why no further move begins.
    pub paused: Option<Pause>,
    /// The number of the last window that was judged or left out.
    pub judged: Option<u64>,
    /// What the judge has folded.
    pub evidence: Evidence,
    /// How long the answers of the last window that was judged took.
    pub latency: WindowLatency,
    /// The last sentence of the judge that opened a gate.
    pub verdict: Option<String>,
    /// What was lost of the world and is not back.
    pub lost: Option<String>,
    /// How often it was lost.
    pub losses: u32,
    /// Who was last announced as stable by this rollout.
    pub announced: Option<Option<String>>,
    /// Why it goes back, and the new version's share when it turned.
    pub turned: Option<(Cause, String, u32)>,
    /// A shrinking version whose processes were not seen to end in time.
    pub left_running: Option<String>,
    /// How it ended, and why.
    pub finished: Option<(Outcome, String)>,
}

/// That the bake's clock stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Since when.
    pub since: Time,
    /// Why.
    pub why: String,
    /// Whether the stable side is not as assigned, so that windows don't count.
    pub biased: bool,
}

impl RolloutState {
    /// The move that is waited for, or that begins next.
    pub fn step(&self) -> Option<&Move> {
        self.moves.get(self.index)
    }

    /// The version that is shipped; empty before the start.
    pub fn version(&self) -> &str {
        self.start.as_ref().map_or("", |start| &start.version)
    }

    /// The version that counted as good before; `None` for a first release.
    pub fn former(&self) -> Option<&str> {
        self.start.as_ref().and_then(|start| start.from.stable.as_deref())
    }

    /// The new version's share of traffic as asked for, in hundredths of a percent.
    pub fn share(&self) -> u32 {
        self.layout.weights.get(self.version()).copied().unwrap_or(0)
    }

    /// The whole desired state; `None` before the start.
    pub fn desired(&self) -> Option<Desired> {
        let (start, serving) = (self.start.as_ref()?, self.serving.as_ref()?);
        let definitions: &BTreeMap<String, DesiredVersion> = &start.definitions;
        let (sizes, weights) = (&self.layout.sizes, &self.layout.weights);
        Some(desired(&start.terms.service, serving, definitions, sizes, weights, self.generation, self.epoch))
    }

    /// Whether the new version is the stable one by now.
    pub fn is_promoted(&self) -> bool {
        !self.back && self.start.is_some() && self.layout.stable.as_deref() == Some(self.version())
    }

    /// Whether the old version has begun to go: from here on only a person turns back.
    pub(super) fn is_retiring(&self) -> bool {
        !self.back && self.taken.iter().any(|step| matches!(step, Move::Retire { .. }))
    }

    /// What the judge makes of the windows so far; `None` where nothing is judged.
    pub fn explanation(&self) -> Option<Explanation> {
        let judge = self.start.as_ref()?.terms.judge.as_ref()?;
        let sides = Sides {
            canary: self.version(),
            stable: self.former()?,
            canary_replicas: Some(self.layout.size(self.version())),
        };
        Some(judge.explain(&self.evidence, &sides))
    }

    /// The judge, while it has a say: from the start until promotion.
    pub(super) fn judge(&self) -> Option<&Judge> {
        self.guard().filter(|_| !self.is_promoted())
    }

    /// The judge as long as its blackout guard watches: until the old version begins to go.
    pub(super) fn guard(&self) -> Option<&Judge> {
        let guarding = !self.back && !self.is_retiring() && self.finished.is_none() && self.former().is_some();
        self.start.as_ref().filter(|_| guarding).and_then(|start| start.terms.judge.as_ref())
    }

    /// Whether what was asked last is what the world last showed. Where nothing is to be served, it does not matter
    /// that nothing can be.
    pub(super) fn in_force(&self) -> bool {
        let idle = self.layout.weights.is_empty();
        self.seen.as_ref().is_some_and(|seen| {
            seen.generation == self.generation && (idle || (seen.epoch == self.epoch && seen.trouble.is_none()))
        })
    }

    pub(in crate::rollout) fn ready(&self, version: &str) -> u32 {
        self.seen.as_ref().map_or(0, |seen| seen.ready(version))
    }

    pub(super) fn running(&self, version: &str) -> u32 {
        self.seen.as_ref().map_or(0, |seen| seen.running(version))
    }

    /// How many ready instances of a version a share needs; never more than the version has.
    pub(super) fn need(&self, version: &str, share: u32) -> u32 {
        let full = match &self.start {
            Some(start) if start.version == version => start.terms.full.max(start.from.size(version)),
            Some(start) => start.from.size(version),
            None => 0,
        };
        let size = self.layout.size(version);
        if share >= FULL { size } else { replicas_for(full, share).min(size) }
    }

    /// A version that has fewer ready instances than its share of the traffic needs, and that in words; the old one
    /// first.
    pub(in crate::rollout) fn unready(&self, weights: &Weights) -> Option<(String, String)> {
        let mut versions: Vec<(&String, &u32)> = weights.iter().filter(|(_, share)| **share > 0).collect();
        versions.sort_by_key(|(version, _)| version.as_str() == self.version());
        versions.into_iter().find_map(|(version, share)| {
            let (ready, need) = (self.ready(version), self.need(version, *share));
            (ready < need)
                .then(|| (version.clone(), format!("{version} has {ready} ready of the {need} that it needs")))
        })
    }

    /// Whether only the old version is waited for: it is not ready, and somebody may promote past that.
    pub(super) fn waits_for_old(&self, step: &Move) -> bool {
        if self.back || self.seen.is_none() {
            return false;
        }
        match step {
            Move::Gate { gate: Gate::Health { version, .. } } => self.begun && version != self.version(),
            Move::Route { weights } => {
                let need = weights.get(self.version()).map_or(0, |share| self.need(self.version(), *share));
                !self.begun && self.paused.is_none() && self.ready(self.version()) >= need
            }
            _ => false,
        }
    }

    /// Whether somebody promoted past the readiness of this version. Never that of the new one.
    pub(super) fn skips(&self, version: &str) -> bool {
        self.opened && !self.back && version != self.version()
    }

    /// Whether the present gate watches over time: a pause, an analysis, an approval.
    pub(in crate::rollout) fn is_watching(&self) -> bool {
        let gate = matches!(
            self.step(),
            Some(Move::Gate { gate: Gate::Pause { .. } | Gate::Analysis { .. } | Gate::Approval })
        );
        self.begun && gate
    }

    /// How long the present gate has been watched at `now`, holds left out.
    pub(super) fn watched_for(&self, now: Time) -> Span {
        let (counted, from) = self.watched;
        Span(counted.0.saturating_add(from.map_or(0, |from| now.since(from).0)))
    }

    /// Restarts of the new version that count against it.
    pub(super) fn restarts(&self) -> u32 {
        let seen = self.seen.as_ref().and_then(|seen| seen.versions.get(self.version()));
        seen.map_or(0, |sight| sight.restarts.saturating_sub(self.restarts_before.unwrap_or(0)))
    }

    /// How long the present move may take.
    pub(in crate::rollout) fn patience(&self) -> Span {
        let Some(start) = &self.start else { return Span::ZERO };
        let deadline = start.terms.progress_deadline;
        match self.shrinking() {
            Some(version) => {
                let definition = start.definitions.get(version);
                let ending = definition.map_or(0, |d| d.drain.0.saturating_add(d.grace.0));
                Span(deadline.0.saturating_add(ending))
            }
            None => deadline,
        }
    }

    /// The version whose processes end by the present move.
    pub(super) fn shrinking(&self) -> Option<&str> {
        match self.step()? {
            Move::Retire { version } => Some(version),
            Move::Scale { version, .. } if self.back => {
                let following = self.moves.get(self.index + 1);
                // On the way back a version that grows is followed by its readiness.
                let grows =
                    matches!(following, Some(Move::Gate { gate: Gate::Health { version: v, .. } }) if v == version);
                (!grows).then_some(version.as_str())
            }
            _ => None,
        }
    }

    /// Whether only a world that was lost is waited for, at the end of the way back.
    pub(super) fn waits_for_world(&self) -> bool {
        let served = self.start.as_ref().is_some_and(|start| !start.from.sizes.is_empty());
        self.back && self.step().is_none() && self.lost.is_some() && served
    }

    /// When patience with the present move ends; `None` when it waits for a person, a bake or a judge.
    pub(super) fn patience_ends(&self) -> Option<Time> {
        if self.start.is_none() || self.finished.is_some() || (self.step().is_none() && !self.waits_for_world()) {
            return None;
        }
        if self.is_watching() {
            let hold = self.held.as_ref()?;
            return Some(hold.since.after(Span(self.patience().0.saturating_sub(self.held_for.0))));
        }
        if !self.begun && !self.back && self.paused.is_some() {
            return None;
        }
        Some(self.since.after(self.patience()))
    }

    /// When the address must be listened on, or the rollout turns back; `None` when it is or nothing depends on it.
    pub(super) fn listening_ends(&self) -> Option<Time> {
        let matters = !self.back && !self.is_retiring() && self.finished.is_none();
        self.cant_listen.filter(|_| matters).map(|since| since.after(LISTEN_WITHIN))
    }

    /// When the present pause is over; `None` when there is none, its clock stands, or the world is not known.
    pub(super) fn pause_ends(&self) -> Option<Time> {
        if !self.in_force() {
            return None;
        }
        match (self.step(), self.watched) {
            (Some(Move::Gate { gate: Gate::Pause { span } }), (counted, Some(from))) if self.begun => {
                Some(from.after(Span(span.0.saturating_sub(counted.0))))
            }
            _ => None,
        }
    }
}
