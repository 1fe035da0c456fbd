//! One task for each service: it hands the desired state to the supervisor and reports what the world looks like.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::analysis::BlackoutRule;
use crate::engine::scope::spawn;
use crate::error::{Error, Kind, Result};
use crate::kernel::{Order, Report, View};
use crate::service::Desired;
use crate::supervisor::{Client, Launcher, may_hold};

/// How often the world is looked at while a rollout is under way, and when none is.
const LOOK: Duration = Duration::from_millis(100);
const IDLE_LOOK: Duration = Duration::from_secs(1);
/// How long after a failed call it is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Where reports of a service go.
pub(crate) type Reports = Arc<dyn Fn(&str, Report) + Send + Sync>;

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

    /// Whether there is a way to start a supervisor.
    ///
    /// # Errors
    /// [`Kind::Unsupported`](crate::error::Kind::Unsupported) when there is none.
    pub(crate) fn can_start(&self) -> Result<()> {
        self.supervisor.launcher().map(drop)
    }

    /// Asks the world for a state; asked again until it is accepted.
    pub(crate) fn converge(&mut self, desired: Desired) {
        let service = desired.service.clone();
        self.order(&service, |order| order.converge(desired));
    }

    /// Asks the world for a state at once, and waits until it is accepted. For the end of an engine: its services' tasks
    /// go with it.
    pub(crate) fn converge_now(&self, desired: Desired, within: Duration) -> Result<()> {
        let (send, answers) = mpsc::channel();
        let supervisor = Arc::clone(&self.supervisor);
        spawn(&self.runtime, async move {
            loop {
                let asked = async { supervisor.client().await?.apply(&desired).await }.await;
                let over = asked.as_ref().map_or_else(|error| error.kind() == Kind::Conflict, |()| true);
                if send.send(asked).is_err() || over {
                    return;
                }
                supervisor.forget().await;
                tokio::time::sleep(RETRY).await;
            }
        });
        let end = Instant::now() + within;
        let mut last = Err(Error::new(Kind::Io, "the supervisor does not answer"));
        while let Ok(answer) = answers.recv_timeout(end.saturating_duration_since(Instant::now())) {
            last = answer;
            if last.is_ok() {
                break;
            }
        }
        last
    }

    /// Waits until the services that were removed have ended. For the end of an engine: its services' tasks go with it,
    /// and nobody may open another one soon.
    pub(crate) fn finish_removals(&self, within: Duration) {
        let removed = self.services.iter().filter(|(_, watched)| watched.order.borrow().is_removed());
        let removed: Vec<String> = removed.map(|(service, _)| service.clone()).collect();
        let (send, ended) = mpsc::channel();
        let left = removed.len();
        for service in removed {
            let (supervisor, send) = (Arc::clone(&self.supervisor), send.clone());
            spawn(&self.runtime, async move {
                while let Err(error) = supervisor.remove(&service).await {
                    tracing::debug!(service, %error, "a removed service can't be ended yet");
                    supervisor.forget().await;
                    tokio::time::sleep(RETRY).await;
                }
                // Whoever closes may have stopped waiting.
                let _ = send.send(());
            });
        }
        let end = Instant::now() + within;
        for _ in 0..left {
            if ended.recv_timeout(end.saturating_duration_since(Instant::now())).is_err() {
                tracing::warn!("a removed service did not end while the engine closed: the next one ends it");
                return;
            }
        }
    }

    /// Ends a service, its proxy too.
    pub(crate) fn remove(&mut self, service: &str) {
        self.order(service, Order::remove);
    }

    /// Reports what the service looks like at once, and from now on windows after this number, and the last readings
    /// that this guard needs.
    pub(crate) fn watch(&mut self, service: &str, after_window: u64, guard: Option<BlackoutRule>) {
        self.order(service, |order| order.watch(after_window, guard));
    }

    /// Ends that.
    pub(crate) fn unwatch(&mut self, service: &str) {
        self.order(service, Order::unwatch);
    }

    /// Says which generation was in force before this engine was opened, so that its absence is known for a loss.
    pub(crate) fn expect(&mut self, service: &str, generation: u64) {
        self.order(service, |order| order.expect(generation));
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
            Watched { order, task: spawn(&self.runtime, work) }
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
        let pause = match look(&mut view, &service, &order, &supervisor, &report).await {
            // Looking would keep the supervisor of nothing alive, or start another one.
            Ok(()) if order.is_idle() => {
                if orders.changed().await.is_err() {
                    return;
                }
                continue;
            }
            Ok(()) if order.watch.is_some() || view.behind(&order) => LOOK,
            Ok(()) => IDLE_LOOK,
            Err(error) => {
                supervisor.forget().await;
                if let Some(told) = view.fail(&error) {
                    tracing::warn!(service, %error, "the supervisor can't be asked");
                    report(&service, told);
                }
                RETRY
            }
        };
        tokio::select! {
            changed = orders.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn look(view: &mut View, service: &str, order: &Order, supervisor: &Supervisor, report: &Reports) -> Result<()> {
    if view.is_to_remove(order) {
        supervisor.remove(service).await?;
        view.removed(order);
    }
    if order.is_idle() {
        return Ok(());
    }
    let (window, reading) = view.after(order);
    let client = supervisor.client().await?;
    let held = client.observe(service, window, reading).await?;
    let windows = (held.windows, held.settled_to);
    for told in view.hear(order, supervisor.starts(&client), held.observed, windows, held.readings) {
        report(service, told);
    }
    if let Some(desired) = view.missing(order) {
        client.apply(desired).await?;
        view.applied(desired.generation);
    }
    Ok(())
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
        let launcher = self.launcher()?;
        let fresh = Arc::new(Client::connect_or_start(&self.dir, &launcher, self.epoch).await?);
        *client = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    fn launcher(&self) -> Result<Launcher> {
        self.launcher.clone().map_or_else(Launcher::find, Ok)
    }

    /// Ends a service, if there may be anything of it.
    async fn remove(&self, service: &str) -> Result<()> {
        if !may_hold(&self.dir) {
            return Ok(());
        }
        self.client().await?.remove(service).await
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
