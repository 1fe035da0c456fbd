//! What a service's instances report, and what the service is asked to tell of them.

use std::time::Duration;

use crate::proxy::Instance as Upstream;
use crate::service::Observed;
use crate::supervisor::instance::Report;
use crate::supervisor::protocol::{Report as Answer, WINDOWS};
use crate::supervisor::slot::Slot;
use crate::supervisor::stats::{InstanceStats, ServiceStats};
use crate::time::Span;

use super::Service;

impl Service {
    /// Takes in what the instance with this number reports.
    pub(super) async fn hear(&mut self, number: u64, report: Report) {
        let Some(slot) = self.slots.get_mut(&number) else { return };
        let version = self.versions.entry(slot.release.version.clone()).or_default();
        let note = |what: &str| {
            let log = &self.shared.log;
            log.note(format_args!(
                "service {}, version {}, slot {}: {what}",
                self.name, slot.release.version, slot.place
            ));
        };
        match report {
            Report::Started { again, pid } => {
                slot.pid = Some(pid);
                version.restarts = version.restarts.saturating_add(u32::from(again));
                note("started");
            }
            Report::Waiting(trouble) => {
                if slot.waiting.as_ref().is_none_or(|waiting| waiting.what != trouble.what) {
                    note(&trouble.what);
                }
                (slot.waiting, slot.failed) = (Some(trouble), false);
            }
            Report::Ready(address) if !slot.leaving => {
                (slot.ready, slot.waiting, slot.failed) = (true, None, false);
                note("ready");
                if let Some(proxy) = &self.proxy {
                    proxy.add(Upstream {
                        id: number.to_string(),
                        version: slot.release.version.clone(),
                        address,
                        ready_at: self.shared.clock.now(),
                    });
                }
            }
            Report::Ready(_) => {}
            // Dead: what is under way there fails at once, and a drain ends.
            Report::NotReady(None) => {
                slot.ready = false;
                if let Some(proxy) = &self.proxy {
                    proxy.remove(&number.to_string());
                }
            }
            // A check that fails while it is drained changes nothing.
            Report::NotReady(Some(_)) if slot.leaving => {}
            Report::NotReady(Some(trouble)) => {
                slot.ready = false;
                if let Some(proxy) = &self.proxy {
                    // A drain that nobody waits for: no new requests, those under way go on, and it stays known, so
                    // that they are waited for should it become surplus.
                    let id = number.to_string();
                    let _ = tokio::time::timeout(Duration::ZERO, proxy.drain(&id, Span(u64::MAX))).await;
                }
                note(&trouble.what);
                version.trouble = Some(trouble);
            }
            Report::NotStarted { again, trouble } => {
                slot.failed = true;
                version.restarts = version.restarts.saturating_add(u32::from(again));
                note(&trouble.what);
                version.trouble = Some(trouble);
            }
            Report::Ended(trouble) => {
                (slot.pid, slot.ready) = (None, false);
                (slot.waiting, slot.failed) = (None, true);
                note(&trouble.what);
                version.trouble = Some(trouble);
            }
            Report::Gone => {
                note("gone");
                if let Some(proxy) = &self.proxy {
                    proxy.remove(&number.to_string());
                }
                self.slots.remove(&number);
                self.forget();
            }
        }
    }

    /// Drops what is known of versions that are neither desired nor there.
    pub(super) fn forget(&mut self) {
        let desired = self.desired.as_ref().map(|desired| &desired.versions);
        let slots = &self.slots;
        self.versions.retain(|name, _| {
            desired.is_some_and(|versions| versions.contains_key(name))
                || slots.values().any(|slot| slot.release.version == *name)
        });
    }

    /// What is there now. Of what went wrong, an end tells more than what another instance still waits for.
    pub(super) fn observed(&self) -> Observed {
        let mut versions = self.versions.clone();
        for slot in self.slots.values() {
            let version = versions.entry(slot.release.version.clone()).or_default();
            version.running += u32::from(slot.pid.is_some());
            version.ready += u32::from(slot.ready);
        }
        for (name, version) in &mut versions {
            let mut slots = self.slots.values().filter(|slot| slot.release.version == *name && !slot.leaving);
            if !slots.clone().any(|slot| slot.failed)
                && let Some(waiting) = slots.find_map(|slot| slot.waiting.as_ref())
            {
                version.trouble = Some(waiting.clone());
            }
        }
        Observed {
            generation: self.desired.as_ref().map_or(0, |desired| desired.generation),
            epoch: if self.proxy.is_some() { self.epoch } else { 0 },
            versions,
            trouble: self.trouble.clone(),
            cant_listen: self.trouble.is_some(),
        }
    }

    /// The answer to somebody who asks how instances fare, and what was counted in all.
    pub(super) fn stats(&self) -> ServiceStats {
        let counted = self.proxy.as_ref().map(|proxy| (proxy.address().to_string(), proxy.stats()));
        let instance = |(number, slot): (&u64, &Slot)| {
            let known = counted.as_ref().and_then(|(_, stats)| stats.instances.get(&number.to_string()));
            InstanceStats {
                version: slot.release.version.clone(),
                slot: slot.place,
                state: slot.state(),
                waits_for: slot.waiting.as_ref().map(|waiting| waiting.what.clone()),
                pid: slot.pid,
                in_flight: known.map_or(0, |known| known.in_flight),
                connections: known.map_or(0, |known| known.connections),
            }
        };
        let instances = self.slots.iter().map(instance).collect();
        match counted {
            Some((address, stats)) => ServiceStats::of_proxy(address, stats, instances),
            None => ServiceStats { instances, ..ServiceStats::default() },
        }
    }

    /// The answer to somebody who asks what is there and what was counted.
    pub(super) fn observe(&self, window: u64, reading: u64, driver: bool) -> Answer {
        let observed = self.observed();
        let Some(proxy) = &self.proxy else { return Answer { observed, ..Answer::default() } };
        // After a supervisor that was killed, numbers go on where the asker's leave off.
        if driver {
            proxy.resume_numbers(window, reading);
        }
        let settled_to = proxy.settled_to();
        let windows = proxy.windows(window, WINDOWS);
        // What doesn't fit into this answer is in the next.
        let rest = windows.last().filter(|_| windows.len() >= WINDOWS).map(|last| last.to);
        Answer {
            observed,
            settled_to: Some(rest.map_or(settled_to, |told| told.min(settled_to))),
            address: Some(proxy.address()),
            windows,
            readings: proxy.readings(reading, WINDOWS),
        }
    }
}
