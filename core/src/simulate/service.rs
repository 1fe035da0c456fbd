//! A virtual supervisor's part for one service: it takes asks, and time goes on by whole seconds.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::service::{Desired, Observed, Window};
use crate::simulate::Nature;
use crate::simulate::instances::Instances;
use crate::simulate::rules::{Floor, Rules};
use crate::simulate::traffic::Traffic;
use crate::time::{Chance, Span, Time};

#[derive(Debug)]
pub(super) struct Service {
    chance: Chance,
    /// The last whole second that was lived through.
    now: Time,
    pub(super) desired: Option<Desired>,
    /// Whether it holds its address. Until then nothing of what is asked for is done.
    listens: bool,
    pub(super) instances: Instances,
    traffic: Traffic,
    rules: Rules,
    /// How many supervisors there were.
    pub(super) starts: u64,
    /// The latest driver that asked for something.
    driver: u64,
}

/// What every service's world has in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Climate<'a> {
    pub(super) natures: &'a BTreeMap<String, Nature>,
    pub(super) rate: u64,
    /// Whether another program holds the addresses that are free.
    pub(super) taken: bool,
}

impl Service {
    pub(super) fn new(chance: Chance, now: Time) -> Service {
        Service {
            chance,
            now: Time(now.0 - now.0.rem_euclid(1_000)),
            desired: None,
            listens: false,
            instances: Instances::default(),
            traffic: Traffic::default(),
            rules: Rules::default(),
            starts: 1,
            driver: 0,
        }
    }

    /// Takes the whole desired state; the same again changes nothing.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when a later driver or a later generation was here, or another state has this generation.
    pub(super) fn apply(
        &mut self,
        desired: &Desired,
        driver: u64,
        floor: Option<Floor>,
        climate: Climate<'_>,
        broken: &mut Vec<String>,
    ) -> Result<()> {
        if driver < self.driver {
            return Err(Error::new(Kind::Conflict, "a later driver has taken over").with("service", &desired.service));
        }
        self.driver = driver;
        match &self.desired {
            Some(known) if known == desired => return Ok(()),
            Some(known) if known.generation >= desired.generation => {
                return Err(Error::new(Kind::Conflict, "another state, or a later one, is in force")
                    .with("service", &desired.service)
                    .with("in force", known.generation)
                    .with("asked", desired.generation));
            }
            _ => {}
        }
        let found = self.rules.check_ask(desired, self.desired.as_ref(), floor, &self.instances, self.now);
        broken.extend(found.into_iter().map(|what| format!("{} at {}: {what}", desired.service, self.now)));
        if self.desired.as_ref().is_some_and(|known| known.epoch != desired.epoch) {
            self.traffic.close();
        }
        self.desired = Some(desired.clone());
        self.listens |= !climate.taken;
        self.converge(climate);
        Ok(())
    }

    fn converge(&mut self, climate: Climate<'_>) {
        if let Some(desired) = self.desired.as_ref().filter(|_| self.listens) {
            self.instances.converge(desired, climate.natures, self.chance, self.now);
        }
    }

    /// The latest driver that asked for something.
    pub(super) fn driver(&self) -> u64 {
        self.driver
    }

    /// Lives through every whole second up to `to`.
    pub(super) fn advance(&mut self, to: Time, climate: Climate<'_>, broken: &mut Vec<String>) {
        while self.now.after(Span::seconds(1)) <= to {
            let second = self.chance.fork(&format!("second/{}", self.now.0));
            if let Some(desired) = self.desired.as_ref().filter(|_| self.listens) {
                let traffic = second.fork("traffic");
                self.traffic.second(desired, &self.instances, climate.natures, climate.rate, traffic, self.now);
            }
            self.now = self.now.after(Span::seconds(1));
            if !self.listens && !climate.taken && self.desired.is_some() {
                self.listens = true;
                self.converge(climate);
            }
            let disturbed =
                self.instances.second(self.desired.as_ref(), climate.natures, second.fork("lives"), self.now);
            if disturbed
                || self.instances.all.iter().any(|one| climate.natures.get(&one.version).is_some_and(|n| n.dies > 0))
            {
                self.rules.disturb();
            }
            let found = self.desired.as_ref().and_then(|d| self.rules.check_capacity(d, &self.instances, self.now));
            broken.extend(found.map(|what| format!("at {}: {what}", self.now)));
        }
    }

    /// Everything is gone: processes, proxy, counts. The successor holds nothing.
    pub(super) fn lose(&mut self) {
        self.starts += 1;
        self.remove();
    }

    /// The driver wants it no more. (What is under way ends within the second.)
    pub(super) fn remove(&mut self) {
        self.desired = None;
        self.listens = false;
        self.instances = Instances::default();
        self.traffic = Traffic::default();
        self.rules.disturb();
    }

    pub(super) fn observe(&mut self, window: u64, reading: u64) -> (Observed, Vec<Window>, Time, Vec<Window>) {
        self.traffic.resume_numbers(window, reading);
        let held = self.desired.as_ref().filter(|_| !self.listens);
        let trouble = held.map(|desired| cant_listen(&desired.listen));
        let observed = Observed {
            generation: self.desired.as_ref().map_or(0, |desired| desired.generation),
            epoch: self.desired.as_ref().filter(|_| self.listens).map_or(0, |desired| desired.epoch),
            versions: self.instances.observed(self.now),
            cant_listen: trouble.is_some(),
            trouble,
        };
        // Windows end with whole seconds, and can be read at once.
        let settled_to = self.now.after(Span::seconds(1));
        (observed, self.traffic.windows(window), settled_to, self.traffic.readings(reading))
    }

    /// How many instances of each version run.
    pub(super) fn running(&self) -> BTreeMap<String, u32> {
        let versions = self.instances.all.iter().map(|instance| &instance.version);
        let running = versions.map(|version| (version.clone(), self.instances.running(version)));
        running.filter(|(_, running)| *running > 0).collect()
    }

    /// How many instances of each version are ready.
    pub(super) fn ready(&self) -> BTreeMap<String, u32> {
        let versions = self.running().into_keys();
        versions.map(|version| (version.clone(), self.instances.ready(&version, self.now))).collect()
    }
}

/// What the supervisor says of an address that another program holds.
fn cant_listen(listen: &str) -> String {
    format!("can't listen (address: {listen}, held by pid: 1): Address already in use (os error 98)")
}
