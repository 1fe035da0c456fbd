//! A virtual supervisor and proxy: what is asked for comes into force later, instances become ready and die, traffic
//! is counted into windows. Time goes on by whole seconds.

use std::collections::BTreeMap;

use crate::service::{Counts, Desired, Observed, ObservedVersion, Trouble, Weights, Window};
use crate::time::{Chance, Span, Time};

/// How a version behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Nature {
    /// Seconds until an instance is ready, at most.
    pub(super) ready_after: u64,
    /// Whether instances ever become ready.
    pub(super) comes_up: bool,
    /// An instance dies within a second with a chance of one in so many; 0: never.
    pub(super) dies: u64,
    /// Bad requests in 10,000.
    pub(super) errors: u64,
    /// Requests in 10,000 that hang until the client leaves.
    pub(super) hangs: u64,
}

impl Nature {
    pub(super) const GOOD: Nature = Nature { ready_after: 3, comes_up: true, dies: 0, errors: 10, hangs: 0 };
}

#[derive(Debug, Clone, Copy)]
struct Instance {
    ready_at: Time,
    ends_at: Option<Time>,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) now: Time,
    pub(super) natures: BTreeMap<String, Nature>,
    /// Requests a second.
    pub(super) rate: u64,
    /// How many seconds after its end a window can be read, as its requests have ended by then.
    pub(super) settles: u64,
    /// Why nothing comes into force, if so.
    pub(super) trouble: Option<String>,
    /// The highest generation that was asked for, and when it comes into force.
    desired: Option<(Time, Desired)>,
    in_force: Option<Desired>,
    instances: BTreeMap<String, Vec<Instance>>,
    restarts: BTreeMap<String, u32>,
    pub(super) windows: Vec<Window>,
    pub(super) readings: Vec<Window>,
    open: Option<Window>,
    number: u64,
}

impl World {
    pub(super) fn new(seed: u64, natures: &[(&str, Nature)]) -> World {
        World {
            chance: Chance(seed),
            now: Time(1_000_000),
            natures: natures.iter().map(|(v, n)| ((*v).to_owned(), *n)).collect(),
            rate: 100,
            settles: 0,
            trouble: None,
            desired: None,
            in_force: None,
            instances: BTreeMap::new(),
            restarts: BTreeMap::new(),
            windows: Vec::new(),
            readings: Vec::new(),
            open: None,
            number: 0,
        }
    }

    fn nature(&self, version: &str) -> Nature {
        self.natures.get(version).copied().unwrap_or(Nature::GOOD)
    }

    /// Takes an ask; an older generation is refused, an equal one changes nothing.
    pub(super) fn converge(&mut self, desired: &Desired) {
        let sum: u32 = desired.weights.values().sum();
        assert!(desired.weights.is_empty() || sum == 10_000, "weights add up: {:?}", desired.weights);
        for version in desired.weights.keys() {
            assert!(desired.versions.contains_key(version), "weight of {version} without size");
        }
        match &self.desired {
            Some((_, known)) if known.generation > desired.generation => {}
            Some((_, known)) if known.generation == desired.generation => {
                assert_eq!(known, desired, "one generation is one desired state");
            }
            _ => {
                let delay = self.chance.below(3);
                self.desired = Some((self.now.after(Span::seconds(delay)), desired.clone()));
            }
        }
    }

    /// Everything is gone: processes, proxy, counts.
    pub(super) fn lose(&mut self) {
        self.desired = None;
        self.in_force = None;
        self.instances.clear();
        self.restarts.clear();
        self.windows.clear();
        self.readings.clear();
        self.open = None;
        self.number = 0;
    }

    /// Later windows have higher numbers than this one, as the proxy's have once a driver asks.
    pub(super) fn resume_numbers(&mut self, window: u64) {
        self.number = self.number.max(window);
    }

    /// One second.
    pub(super) fn step(&mut self) {
        self.serve();
        self.now = self.now.after(Span::seconds(1));
        if self.trouble.is_none()
            && let Some((at, desired)) = &self.desired
            && *at <= self.now
            && self.in_force.as_ref() != Some(desired)
        {
            self.in_force = Some(desired.clone());
        }
        self.live_and_die();
    }

    fn live_and_die(&mut self) {
        let now = self.now;
        let wanted: BTreeMap<String, u32> = self
            .in_force
            .iter()
            .flat_map(|desired| desired.versions.iter().map(|(v, d)| (v.clone(), d.replicas)))
            .collect();
        let versions: Vec<String> = wanted.keys().chain(self.instances.keys()).cloned().collect();
        for version in versions {
            let nature = self.nature(&version);
            let wanted = wanted.get(&version).copied().unwrap_or(0) as usize;
            let instances = self.instances.entry(version.clone()).or_default();
            for instance in instances.iter_mut().filter(|i| i.ends_at.is_none()) {
                if nature.dies > 0 && self.chance.below(nature.dies) == 0 {
                    let wait = self.chance.below(nature.ready_after + 1);
                    instance.ready_at = now.after(Span::seconds(1 + wait));
                    *self.restarts.entry(version.clone()).or_default() += 1;
                }
            }
            let mut live = instances.iter().filter(|i| i.ends_at.is_none()).count();
            for instance in instances.iter_mut().filter(|i| i.ends_at.is_none()) {
                if live > wanted {
                    instance.ends_at = Some(now.after(Span::seconds(self.chance.below(3))));
                    live -= 1;
                }
            }
            while live < wanted {
                let wait = 1 + self.chance.below(nature.ready_after + 1);
                let ready_at = if nature.comes_up { now.after(Span::seconds(wait)) } else { Time(i64::MAX) };
                instances.push(Instance { ready_at, ends_at: None });
                live += 1;
            }
            instances.retain(|instance| instance.ends_at.is_none_or(|end| end > now));
            if instances.is_empty() {
                self.instances.remove(&version);
                self.restarts.remove(&version);
            }
        }
    }

    fn ready(&self, version: &str) -> u32 {
        let ready = |i: &&Instance| i.ends_at.is_none() && i.ready_at <= self.now;
        self.instances.get(version).map_or(0, |instances| instances.iter().filter(ready).count() as u32)
    }

    /// A second's requests: drawn by weight among versions with a ready instance.
    fn serve(&mut self) {
        let Some(desired) = self.in_force.clone() else { return };
        let weights: Weights =
            desired.weights.iter().filter(|(v, _)| self.ready(v) > 0).map(|(v, w)| (v.clone(), *w)).collect();
        let total: u64 = weights.values().map(|w| u64::from(*w)).sum();
        if self.open.as_ref().is_some_and(|open| open.epoch != desired.epoch) {
            self.close();
        }
        let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
        for _ in 0..if total > 0 { self.rate } else { 0 } {
            let mut at = self.chance.below(total);
            for (version, weight) in &weights {
                if at < u64::from(*weight) {
                    let Nature { errors, hangs, .. } = self.nature(version);
                    let bad = u64::from(self.chance.below(10_000) < errors);
                    let left = u64::from(hangs > 0 && self.chance.below(10_000) < hangs);
                    let c = counts.entry(version.clone()).or_default();
                    c.requests += 1 - left;
                    c.errors += bad * (1 - left);
                    c.abandoned += left;
                    break;
                }
                at -= u64::from(*weight);
            }
        }
        let (from, to) = (self.now, self.now.after(Span::seconds(1)));
        let (epoch, weights, latency) = (desired.epoch, desired.weights.clone(), BTreeMap::new());
        let second = Window { epoch, number: 0, from, to, weights, counts, latency };
        let open = self.open.get_or_insert_with(|| Window { counts: BTreeMap::new(), ..second.clone() });
        for (version, c) in &second.counts {
            let sum = open.counts.entry(version.clone()).or_default();
            sum.requests += c.requests;
            sum.errors += c.errors;
            sum.abandoned += c.abandoned;
        }
        open.to = to;
        let whole = to.since(open.from) >= desired.measure.window;
        self.readings.push(second);
        if self.readings.len() > 60 {
            self.readings.remove(0);
        }
        if whole {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(window) = self.open.take() {
            self.number += 1;
            self.windows.push(Window { number: self.number, ..window });
        }
    }

    fn is_settled(&self, window: &Window) -> bool {
        window.to.after(Span::seconds(self.settles)) <= self.now
    }

    /// The windows that can be read.
    pub(super) fn settled(&self) -> impl Iterator<Item = &Window> {
        self.windows.iter().filter(|window| self.is_settled(window))
    }

    /// All windows that ended before this time can be read.
    pub(super) fn settled_to(&self) -> Time {
        let held_back = self.windows.iter().find(|window| !self.is_settled(window));
        held_back.map_or(self.now.after(Span::seconds(1)), |window| window.to)
    }

    pub(super) fn observed(&self) -> Observed {
        let known = self.in_force.as_ref();
        let wanted = known.into_iter().flat_map(|desired| desired.versions.keys());
        let versions = wanted.chain(self.instances.keys()).map(|version| {
            let restarts = self.restarts.get(version).copied().unwrap_or(0);
            let trouble = (restarts > 0).then(|| Trouble {
                what: "exited with code 3".to_owned(),
                last_lines: vec!["no such table".to_owned()],
            });
            let running = self.instances.get(version).map_or(0, |instances| instances.len() as u32);
            (version.clone(), ObservedVersion { running, ready: self.ready(version), restarts, trouble })
        });
        Observed {
            generation: known.map_or(0, |desired| desired.generation),
            epoch: known.map_or(0, |desired| desired.epoch),
            versions: versions.collect(),
            trouble: self.trouble.clone(),
            cant_listen: self.trouble.is_some(),
        }
    }
}
