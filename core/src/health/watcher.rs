//! Runs a check: probes when the machine wants it and hands out transitions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::health::probe::Probe;
use crate::health::{Check, CheckMachine, Outcome, State, Transition, Verdict};
use crate::time::{Chance, Clock, Span, Time};

/// Times are looked at again at least this often, so that a clock that was stopped with the machine is noticed.
const LOOK_AGAIN: Span = Span::seconds(1);
/// How much longer than its timeout a probe may take before it is given up.
const OVERTIME: Span = Span::seconds(1);

/// One check under watch: at most one probe runs at a time, in the task that calls [`Watcher::next`]. Dropping it
/// ends the probe under way.
pub struct Watcher {
    machine: CheckMachine,
    probe: Arc<dyn Probe>,
    timeout: Span,
    clock: Arc<dyn Clock>,
    running: Option<(Time, BoxFuture<'static, Outcome>)>,
    last: Option<Outcome>,
}

impl Watcher {
    /// A check that starts now. `chance` decides the jitter of the intervals.
    pub fn new(check: &Check, probe: Arc<dyn Probe>, clock: Arc<dyn Clock>, chance: Chance) -> Watcher {
        let machine = CheckMachine::new(check.rules.clone(), clock.now(), chance);
        Watcher { machine, probe, timeout: check.timeout, clock, running: None, last: None }
    }

    /// The next change of state; never completes when there is none. May be dropped at any await: a probe under way
    /// stays under way and is taken up by the next call, which must come soon, as nothing else moves it on.
    pub async fn next(&mut self) -> Transition {
        loop {
            let now = self.clock.now();
            if let Some(transition) = self.machine.tick(now) {
                return transition;
            }
            if self.running.is_none() && self.machine.due().is_some_and(|due| due <= now) {
                self.running = Some((now, self.begin()));
            }
            let wait = Duration::from(self.wait(now));
            match &mut self.running {
                Some((began, probe)) => {
                    let began = *began;
                    tokio::select! {
                        biased;
                        outcome = probe => {
                            // No await from here on, so that no outcome is lost.
                            self.running = None;
                            let (verdict, now) = (outcome.verdict, self.clock.now());
                            let transition = self.machine.observe(verdict, &outcome.reason, began, now);
                            self.last = Some(outcome);
                            if let Some(transition) = transition {
                                return transition;
                            }
                        }
                        () = tokio::time::sleep(wait) => {}
                    }
                }
                None => tokio::time::sleep(wait).await,
            }
        }
    }

    /// What is held of the thing now.
    pub fn state(&self) -> State {
        self.machine.state()
    }

    /// The counters and what comes next, in words.
    pub fn explain(&self) -> String {
        self.machine.explain(self.clock.now())
    }

    /// The last result.
    pub fn last(&self) -> Option<&Outcome> {
        self.last.as_ref()
    }

    /// The thing was started anew: a probe under way is ended, and counting begins again.
    pub fn restart(&mut self) -> Option<Transition> {
        self.running = None;
        self.machine.restart(self.clock.now())
    }

    fn begin(&self) -> BoxFuture<'static, Outcome> {
        let probe = Arc::clone(&self.probe);
        let limit = Duration::from(self.timeout).saturating_add(OVERTIME.into());
        async move {
            // Probes keep their own timeouts; one that does not must not stop the watch.
            let given_up = |_| Outcome::new(Verdict::Unknown, "the probe did not end in its time");
            tokio::time::timeout(limit, probe.run()).await.unwrap_or_else(given_up)
        }
        .boxed()
    }

    /// How long nothing is to be done but to wait for the probe under way.
    fn wait(&self, now: Time) -> Span {
        let due = self.machine.due().filter(|_| self.running.is_none());
        let next = due.into_iter().chain(self.machine.stale_at()).min();
        // At least a millisecond, so that a clock that stands still does not make this spin.
        next.map_or(LOOK_AGAIN, |next| next.since(now).clamp(Span(1), LOOK_AGAIN))
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("machine", &self.machine)
            .field("probe", &self.probe)
            .field("running", &self.running.as_ref().map(|(began, _)| began))
            .finish_non_exhaustive()
    }
}
