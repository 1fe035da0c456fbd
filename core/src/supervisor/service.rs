//! One service: brings its proxy and its instances to the desired state, and keeps them there.

mod hear;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::error::{Error, Kind, Result};
use crate::process::Mark;
use crate::proxy::Proxy;
use crate::service::{Desired, DesiredVersion, ObservedVersion};

use super::ask::{Ask, Shared};
use super::desired::{check, config};
use super::instance::{Instance, Order, Report};
use super::ports::held;
use super::slot::Slot;

/// How often an address that can't be listened on is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(1);

/// The service's task and all that it holds.
#[derive(Debug)]
pub(super) struct Service {
    shared: Shared,
    /// `None` once it is to end.
    desired: Option<Desired>,
    name: String,
    /// The highest generation that was accepted.
    generation: u64,
    /// The highest epoch of a driver that was accepted.
    driver: u64,
    proxy: Option<Arc<Proxy>>,
    bound_to: String,
    trouble: Option<String>,
    bind_at: Option<Instant>,
    epoch: u64,
    slots: BTreeMap<u64, Slot>,
    next_number: u64,
    versions: BTreeMap<String, ObservedVersion>,
    tasks: JoinSet<()>,
    /// Each ends with the number of the instance that has been drained.
    drains: JoinSet<u64>,
    closing: JoinSet<()>,
    reports: mpsc::Sender<(u64, Report)>,
}

impl Service {
    /// Starts the service's task; it ends once it was asked to and holds nothing any more.
    pub(super) fn start(name: String, shared: Shared) -> mpsc::Sender<Ask> {
        let (asks, asked) = mpsc::channel(16);
        let (reports, reported) = mpsc::channel(64);
        let service = Service {
            shared,
            desired: None,
            name,
            generation: 0,
            driver: 0,
            proxy: None,
            bound_to: String::new(),
            trouble: None,
            bind_at: None,
            epoch: 0,
            slots: BTreeMap::new(),
            next_number: 0,
            versions: BTreeMap::new(),
            tasks: JoinSet::new(),
            drains: JoinSet::new(),
            closing: JoinSet::new(),
            reports,
        };
        tokio::spawn(service.run(asked, reported));
        asks
    }

    async fn run(mut self, mut asked: mpsc::Receiver<Ask>, mut reported: mpsc::Receiver<(u64, Report)>) {
        loop {
            tokio::select! {
                ask = asked.recv() => match ask {
                    Some(Ask::Apply(desired, driver, answer)) => {
                        let applied = self.apply(*desired, driver).await;
                        let _ = answer.send(applied);
                    }
                    Some(Ask::Observe(window, reading, driver, answer)) => {
                        let _ = answer.send(self.observe(window, reading, driver));
                    }
                    Some(Ask::Look(answer)) => {
                        let _ = answer.send(self.observed());
                    }
                    Some(Ask::Stats(answer)) => {
                        let _ = answer.send(self.stats());
                    }
                    Some(Ask::Remove(answer)) => {
                        self.remove().await;
                        let _ = answer.send(());
                    }
                    // The server is gone, so is the service: instances end with their tasks.
                    None => return,
                },
                Some((number, report)) = reported.recv() => self.hear(number, report).await,
                Some(drained) = self.drains.join_next() => {
                    if let Ok(number) = drained {
                        self.stop(number);
                    }
                }
                Some(_) = self.closing.join_next() => {
                    self.stop_closing();
                }
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended {
                        self.shared.log.note(format_args!("service {}: an instance's task broke: {error}", self.name));
                    }
                }
                () = until(self.bind_at) => self.bind().await,
            }
            if self.desired.is_none() && self.slots.is_empty() && self.closing.is_empty() {
                // Nobody can be in between: asks that wait find the channel closed and ask a new service.
                self.shared.log.note(format_args!("service {}: ended", self.name));
                return;
            }
        }
    }

    async fn apply(&mut self, desired: Desired, driver: u64) -> Result<()> {
        check(&desired)?;
        // The server has looked already; this one was overtaken on its way here.
        if driver < self.driver {
            return Err(Error::new(Kind::Conflict, "a later driver has taken over").with("service", &self.name));
        }
        self.driver = driver;
        if desired.generation < self.generation {
            return Err(Error::new(Kind::Conflict, "a later state of the service is in force")
                .with("service", &self.name)
                .with("in force", self.generation)
                .with("asked", desired.generation));
        }
        if let Some(now) = &self.desired {
            if desired.generation == now.generation {
                return if *now == desired {
                    Ok(())
                } else {
                    Err(Error::new(Kind::Conflict, "another state of the service is in force under this generation")
                        .with("service", &self.name)
                        .with("generation", desired.generation))
                };
            }
            if self.proxy.is_some() && desired.listen != self.bound_to {
                return Err(Error::new(Kind::Conflict, "the address of a service can't change while it is served")
                    .with("service", &self.name)
                    .with("in force", &self.bound_to)
                    .with("asked", &desired.listen)
                    .help("keep the address, or remove the service first"));
            }
        }
        self.generation = desired.generation;
        self.desired = Some(desired);
        if self.proxy.is_none() {
            self.bind().await;
        } else {
            self.converge();
        }
        Ok(())
    }

    /// Listens, unless it does; then converges.
    async fn bind(&mut self) {
        self.bind_at = None;
        let Some(desired) = &self.desired else { return };
        if self.proxy.is_none() {
            match Proxy::bind(&desired.listen, config(desired), self.shared.clock.clone()).await {
                Ok(proxy) => {
                    self.shared.log.note(format_args!("service {}: listens on {}", self.name, proxy.address()));
                    self.bound_to = desired.listen.clone();
                    self.proxy = Some(Arc::new(proxy));
                    self.trouble = None;
                }
                Err(error) => {
                    let trouble = held(&desired.listen, error).await.sentence();
                    if self.trouble.as_ref() != Some(&trouble) {
                        self.shared.log.note(format_args!("service {}: {trouble}", self.name));
                    }
                    self.trouble = Some(trouble);
                    self.bind_at = Some(Instant::now() + BIND_AGAIN);
                    return;
                }
            }
        }
        self.converge();
    }

    /// Routes, starts what is missing, and lets go of what is surplus.
    fn converge(&mut self) {
        let (Some(desired), Some(proxy)) = (self.desired.clone(), self.proxy.clone()) else { return };
        proxy.configure(config(&desired));
        proxy.route(desired.weights.clone(), desired.epoch, desired.measure);
        self.epoch = desired.epoch;
        let surplus = |slot: &Slot| slot.is_surplus(desired.versions.get(&slot.release.version));
        let leaving: Vec<u64> =
            self.slots.iter().filter(|(_, slot)| !slot.leaving && surplus(slot)).map(|(number, _)| *number).collect();
        for (name, version) in &desired.versions {
            self.versions.entry(name.clone()).or_default();
            for slot in self.slots.values_mut().filter(|slot| slot.release.version == *name) {
                (slot.drain, slot.grace) = (version.drain, version.grace);
            }
            for place in 0..version.replicas {
                let taken = |(number, slot): (&u64, &Slot)| {
                    slot.release.version == *name && slot.place == place && !slot.leaving && !leaving.contains(number)
                };
                if !self.slots.iter().any(taken) {
                    self.launch(version, place);
                }
            }
        }
        leaving.into_iter().for_each(|number| self.leave(number));
        self.forget();
    }

    fn launch(&mut self, version: &DesiredVersion, place: u32) {
        let number = self.next_number;
        self.next_number += 1;
        let (orders, ordered) = watch::channel(Order::Run);
        let mut mark = self.shared.mark.parts().to_vec();
        mark.extend([self.name.clone(), number.to_string()]);
        let instance = Instance {
            number,
            slot: place,
            release: version.release.clone(),
            // Checked when it was applied.
            check: version.ready.as_ref().and_then(|ready| ready.validate().ok()),
            grace: version.grace,
            service: self.name.clone(),
            mark: Mark::new(mark),
            ports: self.shared.ports.clone(),
            clock: self.shared.clock.clone(),
        };
        self.slots.insert(number, Slot::new(version, place, orders));
        self.tasks.spawn(instance.run(ordered, self.reports.clone()));
    }

    /// Lets what is under way at an instance end, then stops it.
    fn leave(&mut self, number: u64) {
        let Some(slot) = self.slots.get_mut(&number) else { return };
        slot.leaving = true;
        match &self.proxy {
            // One that is not ready may still have requests under way, and one that was never ready has none.
            Some(proxy) if slot.pid.is_some() => {
                slot.ready = false;
                slot.orders.send_replace(Order::Leave);
                let (proxy, id, within) = (proxy.clone(), number.to_string(), slot.drain);
                self.drains.spawn(async move {
                    proxy.drain(&id, within).await;
                    number
                });
            }
            _ => self.stop(number),
        }
    }

    fn stop(&mut self, number: u64) {
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.leaving = true;
            slot.orders.send_replace(Order::Stop(slot.grace));
        }
    }

    /// Listens no more, lets what is under way end, then stops all.
    async fn remove(&mut self) {
        let Some(desired) = self.desired.take() else { return };
        self.shared.log.note(format_args!("service {}: to end", self.name));
        (self.bind_at, self.trouble, self.epoch) = (None, None, 0);
        let drains = self.slots.values().map(|slot| slot.drain);
        let longest = drains.chain(desired.versions.values().map(|version| version.drain)).max().unwrap_or_default();
        for slot in self.slots.values_mut() {
            (slot.ready, slot.leaving, slot.closing) = (false, true, true);
            slot.orders.send_if_modified(|order| {
                let runs = *order == Order::Run;
                if runs {
                    *order = Order::Leave;
                }
                runs
            });
        }
        // Closing waits for what the drains waited for.
        self.drains.shutdown().await;
        if let Some(proxy) = self.proxy.take().and_then(Arc::into_inner) {
            self.closing.spawn(proxy.close(longest));
        } else {
            self.stop_closing();
        }
    }

    fn stop_closing(&mut self) {
        let closing = self.slots.iter().filter(|(_, slot)| slot.closing).map(|(number, _)| *number);
        closing.collect::<Vec<u64>>().into_iter().for_each(|number| self.stop(number));
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
