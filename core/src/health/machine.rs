//! How a check decides: counts of results in a row against thresholds.
//!
//! | result | what is counted | what follows |
//! |---|---|---|
//! | pass, warn | one more pass, no failures | at `rise` passes: passing, or degraded if it warns |
//! | fail in the start period, before the first pass | nothing | nothing |
//! | fail | one more failure, no passes | at `fall` failures: failing; at `degrade`: degraded |
//! | fail now | at least `fall` failures, no passes | failing |
//! | unknown | neither passes nor failures | at `unknown_after` in a row: unknown |
//! | none for `max_age` | passes and failures begin anew | `stale` |
//!
//! The state stays when nothing follows. Counts begin anew only as the table says, so that a run of failures after
//! a pass can lead from failing to degraded while passes are still too few (as Consul counts). Time, and chance for
//! the jitter, come in as arguments.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::health::{Rules, State, Verdict};
use crate::time::{Chance, Span, Time};

/// No more of a result's reason is kept.
const MAX_REASON_CHARS: usize = 300;

/// A change of a check's state: all that is recorded of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// When it changed.
    pub at: Time,
    /// The rule that was met: `3 of 3 failures in a row`.
    pub rule: String,
    /// What the last result said: `status 503`.
    pub reason: String,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}: {}", self.from.as_str(), self.to.as_str(), self.rule)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

/// The threshold machine. Equal rules, seeds, results and times give equal transitions and times of probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckMachine {
    pub(super) rules: Rules,
    pub(super) state: State,
    pub(super) since: Time,
    pub(super) started: Time,
    pub(super) passes: u32,
    pub(super) failures: u32,
    pub(super) unknowns: u32,
    /// No result has counted yet.
    pub(super) fresh: bool,
    /// There was a pass, which ends the start period.
    pub(super) passed: bool,
    pub(super) held: bool,
    pub(super) due: Time,
    pub(super) answered: Option<Time>,
    pub(super) reason: String,
    chance: Chance,
}

impl CheckMachine {
    /// A check that starts now. `chance` decides the jitter and nothing else.
    pub fn new(rules: Rules, now: Time, chance: Chance) -> CheckMachine {
        CheckMachine {
            state: rules.initial,
            since: now,
            started: now,
            passes: 0,
            failures: 0,
            unknowns: 0,
            fresh: true,
            passed: false,
            held: false,
            due: now.after(rules.initial_delay),
            answered: None,
            reason: String::new(),
            chance,
            rules,
        }
    }

    /// What is held of the thing now.
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when.
    pub fn since(&self) -> Time {
        self.since
    }

    /// Passes in a row so far.
    pub fn passes(&self) -> u32 {
        self.passes
    }

    /// Failures in a row so far, those in the start period left out.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// How many passes in a row from now would make it passing; 0 when it is.
    pub fn passes_needed(&self) -> u32 {
        if self.state == State::Passing { 0 } else { self.needed(self.rules.rise, self.passes) }
    }

    /// How many failures in a row that count would make it failing; 0 when it is.
    pub fn failures_needed(&self) -> u32 {
        if self.state == State::Failing { 0 } else { self.needed(self.rules.fall, self.failures) }
    }

    fn needed(&self, threshold: u32, count: u32) -> u32 {
        let first = self.fresh && self.rules.first_result_applies;
        if first { 1 } else { threshold.saturating_sub(count).max(1) }
    }

    /// When the last pass or failure came.
    pub fn answered(&self) -> Option<Time> {
        self.answered
    }

    /// When the next probe is to start; `None` when none is, until a restart.
    pub fn due(&self) -> Option<Time> {
        (!self.held).then_some(self.due)
    }

    /// When results become too old, if they ever do.
    pub fn stale_at(&self) -> Option<Time> {
        let since = self.answered.unwrap_or(self.started.after(self.rules.initial_delay));
        let waits = !self.held && self.state != self.rules.stale;
        self.rules.max_age.filter(|_| waits).map(|age| since.after(age))
    }

    /// Whether failures don't count yet.
    pub fn in_start_period(&self, now: Time) -> bool {
        !self.passed && now.since(self.started) < self.rules.start_period
    }

    /// Counts a result. `began` is when its probe was started; a result from before the last restart is dropped, and
    /// so is one that comes while probing is ended.
    pub fn observe(&mut self, verdict: Verdict, reason: &str, began: Time, now: Time) -> Option<Transition> {
        if self.held || began < self.started {
            return None;
        }
        self.reason = reason.chars().take(MAX_REASON_CHARS).collect();
        let conclusion = self.count(verdict, now);
        let concluded = conclusion.is_some();
        let transition = conclusion.and_then(|(to, rule)| self.enter(to, rule, now));
        if concluded && self.rules.hold.contains(&self.state) {
            self.held = true;
            (self.passes, self.failures, self.unknowns) = (0, 0, 0);
        }
        let pause = self.interval(now);
        self.due = began.after(self.jittered(pause)).max(now);
        transition
    }

    /// What time alone changes: results that have become too old. Later calls with the same time change nothing.
    pub fn tick(&mut self, now: Time) -> Option<Transition> {
        let age = self.rules.max_age.filter(|_| self.stale_at().is_some_and(|at| now >= at))?;
        (self.passes, self.failures) = (0, 0);
        self.enter(self.rules.stale, format!("no result for {age}"), now)
    }

    /// The thing was started anew: back to the initial state, nothing counted, probing again.
    pub fn restart(&mut self, now: Time) -> Option<Transition> {
        let (from, since) = (self.state, self.since);
        *self = CheckMachine::new(self.rules.clone(), now, self.chance);
        (self.state, self.since) = (from, since);
        self.enter(self.rules.initial, "restarted".to_owned(), now)
    }

    /// Counts, and says which state the counts lead to, if to any.
    fn count(&mut self, verdict: Verdict, now: Time) -> Option<(State, String)> {
        if verdict == Verdict::Unknown {
            self.unknowns = self.unknowns.saturating_add(1);
            let enough = self.rules.unknown_after.filter(|enough| self.unknowns >= *enough)?;
            return Some((State::Unknown, format!("{} of {enough} results in a row unknown", self.unknowns)));
        }
        self.unknowns = 0;
        self.answered = Some(now);
        match verdict {
            Verdict::Pass => self.count_pass(State::Passing),
            Verdict::Warn => self.count_pass(State::Degraded),
            _ if self.in_start_period(now) => None,
            _ => self.count_failure(verdict == Verdict::FailNow),
        }
    }

    fn count_pass(&mut self, to: State) -> Option<(State, String)> {
        let rise = self.rules.rise.max(1);
        let first = std::mem::take(&mut self.fresh) && self.rules.first_result_applies;
        self.passed = true;
        self.failures = 0;
        self.passes = if first { rise } else { self.passes.saturating_add(1) };
        let rule = || if first { "the first result".to_owned() } else { in_a_row(self.passes, rise, "passes") };
        (self.passes >= rise).then(|| (to, rule()))
    }

    fn count_failure(&mut self, at_once: bool) -> Option<(State, String)> {
        let fall = self.rules.fall.max(1);
        let first = std::mem::take(&mut self.fresh) && self.rules.first_result_applies;
        self.passes = 0;
        self.failures = self.failures.saturating_add(1);
        if self.failures < fall && (first || at_once) {
            self.failures = fall;
            let rule = if at_once { "a failure that counts at once" } else { "the first result" };
            return Some((State::Failing, rule.to_owned()));
        }
        if self.failures >= fall {
            return Some((State::Failing, in_a_row(self.failures, fall, "failures")));
        }
        let degrade = self.rules.degrade.filter(|degrade| self.failures >= *degrade)?;
        Some((State::Degraded, in_a_row(self.failures, degrade, "failures")))
    }

    fn enter(&mut self, to: State, rule: String, now: Time) -> Option<Transition> {
        if to == self.state {
            return None;
        }
        let from = std::mem::replace(&mut self.state, to);
        self.since = now;
        Some(Transition { from, to, at: now, rule, reason: self.reason.clone() })
    }

    /// The time to the next probe, by what is known.
    pub(super) fn interval(&self, now: Time) -> Span {
        let every = &self.rules.every;
        if self.in_start_period(now) {
            every.starting
        } else if self.state != State::Passing && self.passes > 0 && self.passes < self.rules.rise {
            every.rising
        } else if self.state == State::Failing {
            every.failing
        } else if self.failures > 0 && self.failures < self.rules.fall {
            every.falling
        } else {
            every.normal
        }
    }

    fn jittered(&mut self, span: Span) -> Span {
        let most = u128::from(span.0) * u128::from(self.rules.every.jitter_percent) / 100;
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        Span(span.0.saturating_add(self.chance.below(most.saturating_add(1))))
    }
}

/// `2 of 3 failures in a row`; past the threshold only the threshold is named, so that the text stays the same.
fn in_a_row(count: u32, threshold: u32, what: &str) -> String {
    format!("{} of {threshold} {what} in a row", count.min(threshold))
}
