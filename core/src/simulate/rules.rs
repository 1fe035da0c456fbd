//! What must hold of a service at every ask and every second, as the world sees it.

use crate::rollout::FULL;
use crate::service::Desired;
use crate::simulate::instances::Instances;
use crate::time::Time;

/// What the journal says is to be kept up while the world is asked for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Floor {
    /// The version that counts as good.
    pub(super) stable: String,
    /// Its full size.
    pub(super) full: u32,
}

/// What is watched over time.
#[derive(Debug, Default)]
pub(super) struct Rules {
    floor: Option<Floor>,
    /// Whether the floor was ever reached: from then on it must be kept.
    reached: bool,
    /// Whether the world itself broke something (a process that ended, a loss): then readiness proves nothing.
    disturbed: bool,
}

impl Rules {
    /// The world itself broke something.
    pub(super) fn disturb(&mut self) {
        self.disturbed = true;
        self.reached = false;
    }

    /// Holds an ask against the rules, before it is done.
    pub(super) fn check_ask(
        &mut self,
        desired: &Desired,
        before: Option<&Desired>,
        floor: Option<Floor>,
        instances: &Instances,
        now: Time,
    ) -> Vec<String> {
        let mut broken = Vec::new();
        let sum: u32 = desired.weights.values().sum();
        if !desired.weights.is_empty() && sum != FULL {
            broken.push(format!("weights add up to {sum}: {:?}", desired.weights));
        }
        for version in desired.weights.keys() {
            if !desired.versions.contains_key(version) {
                broken.push(format!("{version} gets traffic and has no size"));
            }
            let rerouted = before.is_some_and(|before| before.weights.get(version) != desired.weights.get(version));
            if rerouted && !self.disturbed && instances.ready(version, now) == 0 {
                broken.push(format!("{version} gets traffic and none of it is ready"));
            }
        }
        if let Some(floor) = &floor {
            let size = desired.versions.get(&floor.stable).map_or(0, |version| version.replicas);
            if size < floor.full {
                broken.push(format!("{} is stable and goes from {} to {size}", floor.stable, floor.full));
            }
        }
        if floor.as_ref().map(|floor| floor.full) != self.floor.as_ref().map(|floor| floor.full) {
            self.reached = false;
        }
        self.floor = floor;
        broken
    }

    /// Holds what serves now against the floor.
    pub(super) fn check_capacity(&mut self, desired: &Desired, instances: &Instances, now: Time) -> Option<String> {
        let floor = self.floor.as_ref().filter(|_| !self.disturbed)?;
        let ready: u32 = desired.weights.keys().map(|version| instances.ready(version, now)).sum();
        self.reached |= ready >= floor.full;
        (self.reached && ready < floor.full)
            .then(|| format!("{ready} are ready for traffic, under the floor of {}", floor.full))
    }
}
