//! All that there is besides the driver: steps that run, services, and what broke a rule.

use std::collections::BTreeMap;

use crate::simulate::Nature;
use crate::simulate::service::{Climate, Service};
use crate::simulate::steps::Steps;
use crate::time::{Chance, Time};

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Time,
    pub(super) chance: Chance,
    pub(super) steps: Steps,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) natures: BTreeMap<String, Nature>,
    pub(super) rate: u64,
    /// Whether another program holds the addresses that are free.
    pub(super) taken: bool,
    /// What must not be and was.
    pub(super) broken: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64, natures: BTreeMap<String, Nature>, rate: u64) -> World {
        World {
            // 2026-01-01T00:00:00Z.
            now: Time(1_767_225_600_000),
            chance: Chance(seed).fork("world"),
            steps: Steps::default(),
            services: BTreeMap::new(),
            natures,
            rate,
            taken: false,
            broken: Vec::new(),
        }
    }

    /// Time goes on; never backwards.
    pub(super) fn advance(&mut self, to: Time) {
        self.now = self.now.max(to);
        self.steps.advance(self.now);
        let climate = Climate { natures: &self.natures, rate: self.rate, taken: self.taken };
        for service in self.services.values_mut() {
            service.advance(self.now, climate, &mut self.broken);
        }
    }

    /// The supervisor's part for a service, with all that an ask needs.
    pub(super) fn service(&mut self, name: &str) -> (&mut Service, Climate<'_>, &mut Vec<String>) {
        let (chance, now) = (self.chance.fork(&format!("service/{name}")), self.now);
        let service = self.services.entry(name.to_owned()).or_insert_with(|| Service::new(chance, now));
        let climate = Climate { natures: &self.natures, rate: self.rate, taken: self.taken };
        (service, climate, &mut self.broken)
    }

    /// The supervisor is killed.
    pub(super) fn lose(&mut self) {
        self.services.values_mut().for_each(Service::lose);
    }
}
