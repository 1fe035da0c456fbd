//! What a check's state rests on and what comes next, in words.

use crate::health::{CheckMachine, State};
use crate::time::{Span, Time};

impl CheckMachine {
    /// The state, the counters and what comes next: `passing for 2m: 2 of 3 failures; failing in 14s if the next one
    /// fails; last result: status 503`.
    pub fn explain(&self, now: Time) -> String {
        let mut parts = vec![self.counters(now)];
        if !self.held {
            parts.push(self.outlook(now));
        }
        if let Some(at) = self.stale_at() {
            parts.push(format!("{} in {} without a result", self.rules.stale.as_str(), at.since(now)));
        }
        if !self.reason.is_empty() {
            parts.push(format!("last result: {}", self.reason));
        }
        format!("{} for {}: {}", self.state.as_str(), now.since(self.since), parts.join("; "))
    }

    fn counters(&self, now: Time) -> String {
        let (rise, fall) = (self.rules.rise.max(1), self.rules.fall.max(1));
        if self.held {
            "no more probes until a restart".to_owned()
        } else if self.unknowns > 0 {
            match self.rules.unknown_after {
                Some(enough) => format!("{} of {enough} unknown results", self.unknowns.min(enough)),
                None => format!("{} unknown results, which count for nothing", self.unknowns),
            }
        } else if self.in_start_period(now) {
            let left = self.started.after(self.rules.start_period).since(now);
            format!("failures don't count for another {left}")
        } else if self.failures > 0 {
            format!("{} of {fall} failures", self.failures.min(fall))
        } else if self.passes > 0 {
            format!("{} of {rise} passes", self.passes.min(rise))
        } else {
            "no result that counts".to_owned()
        }
    }

    /// The nearest change of state if the present run goes on, or else what it would take.
    fn outlook(&self, now: Time) -> String {
        let wait = self.due.since(now);
        let (passes, failures) = (self.passes_needed(), self.failures_needed());
        if self.failures > 0 && failures > 0 && self.failures < self.rules.fall {
            let soon = self.rules.degrade.filter(|degrade| self.failures < *degrade && self.state != State::Degraded);
            let (to, needed) = match soon {
                Some(degrade) if degrade < self.rules.fall => (State::Degraded, degrade - self.failures),
                _ => (State::Failing, failures),
            };
            self.forecast(to, needed, wait, self.rules.every.falling, ("fails", "fail"))
        } else if self.passes > 0 && passes > 0 && self.passes < self.rules.rise {
            self.forecast(State::Passing, passes, wait, self.rules.every.rising, ("passes", "pass"))
        } else if passes > 0 {
            format!("next probe in {wait}; passing after {}", run(passes, "pass", "passes"))
        } else {
            format!("next probe in {wait}; failing after {}", run(failures, "failure", "failures"))
        }
    }

    fn forecast(&self, to: State, needed: u32, wait: Span, interval: Span, verb: (&str, &str)) -> String {
        let total = Span(wait.0.saturating_add(interval.0.saturating_mul(u64::from(needed.saturating_sub(1)))));
        let to = to.as_str();
        if needed == 1 {
            format!("{to} in {total} if the next one {}", verb.0)
        } else {
            format!("{to} in about {total} if the next {needed} {}", verb.1)
        }
    }
}

fn run(n: u32, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many} in a row") }
}
