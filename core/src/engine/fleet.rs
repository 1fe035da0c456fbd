//! One task for each service: it hands the desired state to the supervisor and reports what the world looks like.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::service::{Desired, Observed, Window};
use crate::supervisor::{Client, Launcher};

/// How often the world is looked at while a rollout is under way, and when none is.
const LOOK: Duration = Duration::from_millis(100);
const IDLE_LOOK: Duration = Duration::from_secs(1);
/// How many one-second readings are told at a time: those of the last minute.
const READINGS: usize = 60;
/// How long after a failed call it is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// What the world reports of a service.
#[derive(Debug)]
pub(crate) enum Report {
    Observed(Observed),
    Windows(Vec<Window>),
    Readings(Vec<Window>),
    Lost(String),
}

/// Where reports of a service go.
pub(crate) type Reports = Arc<dyn Fn(&str, Report) + Send + Sync>;

/// What a service's task is to do.
#[derive(Debug, Clone, Default)]
struct Order {
    desired: Option<Desired>,
    /// While a rollout watches: which watch this is, and the number of the last window that was told before it.
    watch: Option<(u64, u64)>,
    /// How many watches there were.
    watches: u64,
    /// The generation that the journal knows to have been in force.
    known: u64,
}

#[derive(Debug)]
struct Watched {
    order: watch::Sender<Order>,
    task: JoinHandle<()>,
}

/// The services that this engine looks after.
pub(crate) struct Fleet {
    runtime: Handle,
    supervisor: Arc<Supervisor>,
    report: Reports,
    services: BTreeMap<String, Watched>,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("services", &self.services.keys()).finish_non_exhaustive()
    }
}

impl Fleet {
    pub(crate) fn new(runtime: Handle, supervisor: Supervisor, report: Reports) -> Fleet {
        Fleet { runtime, supervisor: Arc::new(supervisor), report, services: BTreeMap::new() }
    }

    /// Asks the world for a state; asked again until it is accepted.
    pub(crate) fn converge(&mut self, desired: Desired) {
        let service = desired.service.clone();
        self.order(&service, |order| order.desired = Some(desired));
    }

    /// Reports what the service looks like at once, and from now on windows after this number, and readings.
    pub(crate) fn watch(&mut self, service: &str, after_window: u64) {
        self.order(service, |order| {
            order.watches += 1;
            order.watch = Some((order.watches, after_window));
        });
    }

    /// Ends that.
    pub(crate) fn unwatch(&mut self, service: &str) {
        self.order(service, |order| order.watch = None);
    }

    /// Says which generation was in force before this engine was opened, so that its absence is known for a loss.
    pub(crate) fn expect(&mut self, service: &str, generation: u64) {
        self.order(service, |order| order.known = generation);
    }

    fn order(&mut self, service: &str, change: impl FnOnce(&mut Order)) {
        let watched = self.services.entry(service.to_owned()).or_insert_with(|| {
            let order = watch::Sender::new(Order::default());
            let work = look_after(
                service.to_owned(),
                order.subscribe(),
                Arc::clone(&self.supervisor),
                Arc::clone(&self.report),
            );
            Watched { order, task: self.runtime.spawn(work) }
        });
        watched.order.send_modify(change);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for watched in self.services.values() {
            watched.task.abort();
        }
    }
}

async fn look_after(service: String, mut orders: watch::Receiver<Order>, supervisor: Arc<Supervisor>, report: Reports) {
    let mut view = View::default();
    loop {
        let order = orders.borrow_and_update().clone();
        let pause = match view.look(&service, &order, &supervisor, &report).await {
            Ok(()) if order.watch.is_some() || view.behind(&order) => LOOK,
            Ok(()) => IDLE_LOOK,
            Err(error) => {
                supervisor.forget().await;
                view.fail(&service, &error, &report);
                RETRY
            }
        };
        tokio::select! {
            changed = orders.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What a service's task has seen and asked so far.
#[derive(Debug, Default)]
struct View {
    /// Whether the world was looked at once.
    looked: bool,
    /// How many supervisors had been started then.
    starts: u64,
    applied: u64,
    seen: Option<Observed>,
    window: u64,
    readings: VecDeque<Window>,
    watch: Option<u64>,
    failing: bool,
}

impl View {
    /// Whether what was asked for is not in force yet.
    fn behind(&self, order: &Order) -> bool {
        let wanted = order.desired.as_ref().map_or(0, |desired| desired.generation);
        self.seen.as_ref().is_none_or(|seen| seen.generation < wanted)
    }

    async fn look(&mut self, service: &str, order: &Order, supervisor: &Supervisor, report: &Reports) -> Result<()> {
        if let Some((watch, window)) = order.watch.filter(|(watch, _)| self.watch != Some(*watch)) {
            self.watch = Some(watch);
            self.window = window;
            self.seen = None;
            self.readings.clear();
        }
        let client = supervisor.client().await?;
        let last_reading = self.readings.back().map_or(0, |reading| reading.number);
        let held = client.observe(service, self.window, last_reading).await?;
        // A call finds a dead supervisor's successor by itself; only the count of starts shows that there was one.
        let starts = supervisor.starts(&client);
        let successor = self.looked && starts != self.starts;
        let known = if self.looked { self.applied } else { order.known };
        (self.looked, self.starts, self.failing) = (true, starts, false);
        if known > 0 && (successor || held.observed.generation == 0) {
            self.applied = held.observed.generation;
            self.seen = None;
            report(service, Report::Lost("the supervisor that held its processes and proxy is gone".to_owned()));
        } else {
            self.applied = self.applied.max(held.observed.generation);
        }
        if self.seen.as_ref() != Some(&held.observed) {
            self.seen = Some(held.observed.clone());
            report(service, Report::Observed(held.observed));
        }
        if order.watch.is_some() {
            if let Some(last) = held.windows.last() {
                self.window = last.number;
            }
            report(service, Report::Windows(held.windows));
            if !held.readings.is_empty() {
                self.readings.extend(held.readings);
                let surplus = self.readings.len().saturating_sub(READINGS);
                self.readings.drain(..surplus);
                report(service, Report::Readings(self.readings.iter().cloned().collect()));
            }
        }
        if let Some(desired) = order.desired.as_ref().filter(|desired| desired.generation > self.applied) {
            client.apply(desired).await?;
            self.applied = desired.generation;
        }
        Ok(())
    }

    fn fail(&mut self, service: &str, error: &Error, report: &Reports) {
        if !self.failing {
            self.failing = true;
            tracing::warn!(service, %error, "the supervisor can't be asked");
            let trouble = Some(format!("the supervisor can't be asked: {error}"));
            let generation = self.seen.as_ref().map_or(0, |seen| seen.generation);
            let observed = Observed { generation, trouble, ..Observed::default() };
            self.seen = Some(observed.clone());
            report(service, Report::Observed(observed));
        }
    }
}

/// The connection to the supervisor, made when it is first needed.
#[derive(Debug)]
pub(crate) struct Supervisor {
    dir: std::path::PathBuf,
    launcher: Option<Launcher>,
    epoch: u64,
    client: Mutex<Option<Arc<Client>>>,
    /// Supervisors started by clients that were let go of.
    started_before: AtomicU64,
}

impl Supervisor {
    pub(crate) fn new(dir: std::path::PathBuf, launcher: Option<Launcher>, epoch: u64) -> Supervisor {
        Supervisor { dir, launcher, epoch, client: Mutex::new(None), started_before: AtomicU64::new(0) }
    }

    async fn client(&self) -> Result<Arc<Client>> {
        let mut client = self.client.lock().await;
        if let Some(client) = client.as_ref() {
            return Ok(Arc::clone(client));
        }
        let launcher = match &self.launcher {
            Some(launcher) => launcher.clone(),
            None => Launcher::find()?,
        };
        let fresh = Arc::new(Client::connect_or_start(&self.dir, &launcher, self.epoch).await?);
        *client = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    async fn forget(&self) {
        if let Some(client) = self.client.lock().await.take() {
            self.started_before.fetch_add(client.starts(), Ordering::Relaxed);
        }
    }

    fn starts(&self, client: &Client) -> u64 {
        self.started_before.load(Ordering::Relaxed) + client.starts()
    }
}
