//! Virtual processes of a service: they become ready, end by themselves, and go when they are not wanted.

use std::collections::BTreeMap;

use crate::service::{Desired, ObservedVersion, Trouble};
use crate::simulate::Nature;
use crate::time::{Chance, Span, Time};

/// How long a process takes to end, at most, in seconds.
const LONGEST_DRAIN: u64 = 3;

#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) version: String,
    /// When it is ready, counted from its last start.
    pub(super) ready_at: Time,
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
                let ready_at = if nature.comes_up { now.after(Span::seconds(wait + 1)) } else { Time(i64::MAX) };
                self.all.push(Instance { version: version.clone(), ready_at, leaves_at: None });
            }
            self.restarts.entry(version.clone()).or_default();
        }
        self.forget(desired);
    }

    /// One second of their lives, which ends now.
    pub(super) fn second(
        &mut self,
        desired: Option<&Desired>,
        natures: &BTreeMap<String, Nature>,
        mut chance: Chance,
        now: Time,
    ) {
        for instance in self.all.iter_mut().filter(|instance| instance.leaves_at.is_none()) {
            let nature = natures.get(&instance.version).copied().unwrap_or(Nature::GOOD);
            if nature.dies > 0 && chance.below(nature.dies) == 0 {
                if nature.comes_up {
                    instance.ready_at = now.after(Span::seconds(1 + chance.below(nature.ready_after + 1)));
                }
                let restarts = self.restarts.entry(instance.version.clone()).or_default();
                *restarts = restarts.saturating_add(1);
            }
        }
        self.all.retain(|instance| instance.leaves_at.is_none_or(|at| at > now));
        if let Some(desired) = desired {
            self.forget(desired);
        }
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

    pub(super) fn observed(&self, now: Time) -> BTreeMap<String, ObservedVersion> {
        let seen = |(version, restarts): (&String, &u32)| {
            let running = self.all.iter().filter(|instance| instance.version == *version).count();
            let trouble = (*restarts > 0).then(|| Trouble {
                what: "exited with code 3".to_owned(),
                last_lines: vec!["no such table".to_owned()],
            });
            let running = u32::try_from(running).unwrap_or(u32::MAX);
            let observed = ObservedVersion { running, ready: self.ready(version, now), restarts: *restarts, trouble };
            (version.clone(), observed)
        };
        self.restarts.iter().map(seen).collect()
    }
}
