//! Virtual processes of a service: they become ready, end by themselves, and go when they are not wanted.

use std::collections::BTreeMap;

use crate::service::{Desired, ObservedVersion, Trouble};
use crate::simulate::Nature;
use crate::time::{Chance, Span, Time};

/// How long a process takes to end, at most, in seconds.
const LONGEST_DRAIN: u64 = 3;
/// When one is ready that is not going to be.
const NEVER: Time = Time(i64::MAX);

#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) version: String,
    /// When it is ready, counted from its last start.
    pub(super) ready_at: Time,
    /// Whether it has a process.
    runs: bool,
    /// When it is gone, if it is on its way.
    leaves_at: Option<Time>,
}

impl Instance {
    pub(super) fn is_ready(&self, now: Time) -> bool {
        self.leaves_at.is_none() && self.ready_at <= now
    }
}

/// The processes of one service.
#[derive(Debug, Default)]
pub(super) struct Instances {
    pub(super) all: Vec<Instance>,
    restarts: BTreeMap<String, u32>,
    started: u64,
}

impl Instances {
    /// Starts what is missing and lets go of what is surplus, the latest first.
    pub(super) fn converge(
        &mut self,
        desired: &Desired,
        natures: &BTreeMap<String, Nature>,
        chance: Chance,
        now: Time,
    ) {
        let mut kept: BTreeMap<String, u32> = BTreeMap::new();
        for instance in self.all.iter_mut().filter(|instance| instance.leaves_at.is_none()) {
            let wanted = desired.versions.get(&instance.version).map_or(0, |version| version.replicas);
            let place = kept.entry(instance.version.clone()).or_default();
            if *place < wanted {
                *place += 1;
            } else {
                let drain = chance.fork(&format!("drain/{}", now.0)).below(LONGEST_DRAIN);
                instance.leaves_at = Some(now.after(Span::seconds(drain + 1)));
            }
        }
        for (version, wanted) in &desired.versions {
            for _ in kept.get(version).copied().unwrap_or(0)..wanted.replicas {
                self.started += 1;
                let nature = natures.get(version).copied().unwrap_or(Nature::GOOD);
                let wait = chance.fork(&format!("start/{}", self.started)).below(nature.ready_after + 1);
                let ready = nature.starts && nature.comes_up;
                let ready_at = if ready { now.after(Span::seconds(wait + 1)) } else { NEVER };
                self.all.push(Instance { version: version.clone(), ready_at, runs: nature.starts, leaves_at: None });
            }
            self.restarts.entry(version.clone()).or_default();
        }
        self.forget(desired);
    }

    /// One second of their lives, which ends now; whether one that was ready is not any more.
    pub(super) fn second(
        &mut self,
        desired: Option<&Desired>,
        natures: &BTreeMap<String, Nature>,
        mut chance: Chance,
        now: Time,
    ) -> bool {
        let mut disturbed = false;
        for instance in self.all.iter_mut().filter(|instance| instance.leaves_at.is_none()) {
            let nature = natures.get(&instance.version).copied().unwrap_or(Nature::GOOD);
            let was_ready = instance.ready_at <= now;
            let ends = instance.runs && nature.dies > 0 && chance.below(nature.dies) == 0;
            // One that can't be started is tried again every other second.
            let tried = !instance.runs && chance.below(2) == 0;
            if ends || tried {
                instance.runs = nature.starts;
                instance.ready_at = NEVER;
                let restarts = self.restarts.entry(instance.version.clone()).or_default();
                *restarts = restarts.saturating_add(1);
            }
            if !nature.comes_up {
                instance.ready_at = NEVER;
            } else if instance.runs && instance.ready_at == NEVER {
                instance.ready_at = now.after(Span::seconds(1 + chance.below(nature.ready_after + 1)));
            }
            disturbed |= was_ready && instance.ready_at > now;
        }
        self.all.retain(|instance| instance.leaves_at.is_none_or(|at| at > now));
        if let Some(desired) = desired {
            self.forget(desired);
        }
        disturbed
    }

    /// Drops what is known of versions that are neither desired nor there.
    fn forget(&mut self, desired: &Desired) {
        let all = &self.all;
        self.restarts.retain(|version, _| {
            desired.versions.contains_key(version) || all.iter().any(|instance| instance.version == *version)
        });
    }

    pub(super) fn ready(&self, version: &str, now: Time) -> u32 {
        let ready = self.all.iter().filter(|instance| instance.version == version && instance.is_ready(now));
        u32::try_from(ready.count()).unwrap_or(u32::MAX)
    }

    /// How many processes a version has.
    pub(super) fn running(&self, version: &str) -> u32 {
        let running = self.all.iter().filter(|instance| instance.version == version && instance.runs);
        u32::try_from(running.count()).unwrap_or(u32::MAX)
    }

    fn trouble(&self, version: &str, restarts: u32) -> Option<Trouble> {
        let mut all = self.all.iter().filter(|one| one.version == version && one.leaves_at.is_none());
        let told = |what: &str, line: &str| {
            let last_lines = if line.is_empty() { Vec::new() } else { vec![line.to_owned()] };
            Some(Trouble { what: what.to_owned(), last_lines })
        };
        if all.clone().any(|one| !one.runs) {
            told("could not be started: there is no such program", "")
        } else if restarts > 0 {
            told("exited with code 3", "no such table")
        } else if all.any(|one| one.ready_at == NEVER) {
            told("is not ready: the probe timed out", "")
        } else {
            None
        }
    }

    pub(super) fn observed(&self, now: Time) -> BTreeMap<String, ObservedVersion> {
        let seen = |(version, restarts): (&String, &u32)| {
            let running = self.running(version);
            let trouble = self.trouble(version, *restarts);
            let observed = ObservedVersion { running, ready: self.ready(version, now), restarts: *restarts, trouble };
            (version.clone(), observed)
        };
        self.restarts.iter().map(seen).collect()
    }
}
