//! The listening side: accepts clients, serves each in one task, and carries what the proxy is told to where it counts.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::fmt;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::config::{Config, Drained, Instance};
use super::forward;
use super::headers::Peer;
use super::instance::Upstream;
use super::io::{Patient, set_up};
use super::meter::{InstanceStats, Stats};
use super::table::{Routed, Table};
use crate::error::{Error, Kind, Result};
use crate::service::{Measure, OVERDUE, Weights, Window};
use crate::time::{Chance, Clock, Span, Time};

/// Chance of this thread, seeded by the operating system.
pub(super) fn with_chance<T>(f: impl FnOnce(&mut Chance) -> T) -> T {
    thread_local! {
        static CHANCE: Cell<Chance> = Cell::new(Chance(RandomState::new().hash_one(0)));
    }
    let mut chance = CHANCE.get();
    let value = f(&mut chance);
    CHANCE.set(chance);
    value
}

/// What all tasks of a proxy share.
pub(super) struct Shared {
    table: RwLock<Table>,
    config: RwLock<Config>,
    clock: Arc<dyn Clock>,
    pub(super) unrouted: AtomicU64,
    pub(super) refused: AtomicU64,
    places: Arc<Semaphore>,
    clients: AtomicU64,
}

impl Shared {
    pub(super) fn config(&self) -> Config {
        *self.config.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read<T>(&self, f: impl FnOnce(&Table) -> T) -> T {
        f(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, f: impl FnOnce(&mut Table) -> T) -> T {
        f(&mut self.table.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Routes a request.
    pub(super) fn draw(&self) -> Option<Routed> {
        let now = self.clock.now();
        let draw = |table: &Table| with_chance(|chance| table.draw(now, chance));
        if let Some(routed) = self.read(|table| (!table.ledger.due(now)).then(|| draw(table))) {
            return routed;
        }
        self.write(|table| {
            table.ledger.roll(now);
            draw(table)
        })
    }

    pub(super) fn why_not(&self) -> String {
        self.read(Table::why_not)
    }

    /// Closes windows that are over and hands out those whose requests have ended.
    fn settle(&self) {
        let config = self.config();
        let hold = Span(config.request_timeout.0.saturating_add(OVERDUE.0));
        self.write(|table| {
            let now = self.clock.now();
            table.ledger.roll(now);
            table.ledger.sample(now);
            table.ledger.settle(now, config.settle, hold);
            table.forget();
        });
    }

    fn upstreams(&self) -> Vec<Arc<Upstream>> {
        self.read(Table::all)
    }
}

/// One connected client.
pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Peer,
    _place: OwnedSemaphorePermit,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The embedded reverse proxy of one service. Dropped, it stops at once; see [`Proxy::close`] for the kind way.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    closing: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    ticking: JoinHandle<()>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Listens on `listen`, such as `127.0.0.1:8080`; port 0 takes any. Until weights and instances are told, every
    /// request is answered with 503.
    ///
    /// Errors: [`Kind::Io`], naming the address, when it can't be listened on. Must be called within a Tokio runtime.
    pub async fn bind(listen: &str, config: Config, clock: Arc<dyn Clock>) -> Result<Proxy> {
        let failed = |error: std::io::Error| {
            let help = match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "another program listens there: stop it, or give the service another address"
                }
                std::io::ErrorKind::PermissionDenied => "ports under 1024 need a privilege: take a higher one",
                std::io::ErrorKind::AddrNotAvailable => "the address is not one of this machine",
                _ => "expected an address and a port, such as 127.0.0.1:8080",
            };
            Error::new(Kind::Io, "can't listen").with("address", listen).because(error).help(help)
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let now = clock.now();
        let shared = Arc::new(Shared {
            table: RwLock::new(Table::new(now)),
            config: RwLock::new(config),
            clock,
            unrouted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            places: Arc::new(Semaphore::new(config.max_connections.clamp(1, Semaphore::MAX_PERMITS))),
            clients: AtomicU64::new(0),
        });
        let (closing, closed) = watch::channel(false);
        let accepting = tokio::spawn(accept(shared.clone(), listener, closed));
        let ticking = tokio::spawn(tick(shared.clone()));
        Ok(Proxy { shared, address, closing, accepting, ticking })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the limits. Those of connections hold for new ones, all others from the next request on;
    /// `max_connections` stays as it was at binding.
    pub fn configure(&self, config: Config) {
        *self.shared.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Puts weights in force for every request that is routed after this returns; the open window ends. Calling it
    /// again with the same values changes nothing. Epochs are not compared: telling old ones is the caller's part.
    pub fn route(&self, weights: Weights, epoch: u64, measure: Measure) {
        // The clock is read under the lock, so that no request of the old epoch is later than its end.
        self.shared.write(|table| table.route(weights, epoch, measure, self.shared.clock.now()));
    }

    /// Adds an instance that is ready. One of the same name is replaced, as if by [`Proxy::remove`]; adding the same
    /// again changes nothing, unless it was being drained.
    pub fn add(&self, instance: Instance) {
        self.shared.write(|table| table.add(instance));
    }

    /// Gives an instance no new requests from now on, and waits until those under way have ended or the time is over;
    /// then what is left is cut and counted, and the instance is taken out. What was under way on it when it was taken
    /// out or replaced before is waited for as well. Unknown instances have nothing to drain.
    pub async fn drain(&self, id: &str, within: Span) -> Drained {
        let leaving = self.shared.write(|table| table.leave(id));
        let emptied = async {
            for upstream in &leaving {
                upstream.emptied().await;
            }
        };
        let in_time = tokio::time::timeout(within.into(), emptied).await;
        let cut = leaving.iter().map(|upstream| upstream.cut()).fold(Drained::default(), |sum, one| Drained {
            requests_cut: sum.requests_cut + one.requests_cut,
            tunnels_cut: sum.tunnels_cut + one.tunnels_cut,
        });
        self.shared.write(|table| {
            if table.upstreams.get(id).is_some_and(|now| leaving.iter().any(|known| Arc::ptr_eq(now, known))) {
                table.remove(id);
            }
        });
        if in_time.is_ok() { Drained::default() } else { cut }
    }

    /// Takes an instance out at once: it has died. Answers that it had sent before still reach their clients; requests
    /// that it leaves unanswered fail as its sockets close, and are sent to another instance where that is safe.
    pub fn remove(&self, id: &str) {
        self.shared.write(|table| table.remove(id));
    }

    /// Windows with a number above `after`, oldest first, at most `limit`.
    ///
    /// A request is counted in the window in which it was routed and under the version that was first drawn for it,
    /// once, however often it was sent. A window is as long as [`Measure::window`] says, or ends early when weights
    /// change. It is handed out when all its requests have ended, and after all earlier ones; answers that still flow
    /// [`Config::settle`] after its end count by what is known of them, and a request without an answer holds it for a
    /// request time-out and a second: one whose body its client still sends by then is in no window, but in
    /// [`VersionStats::late`](super::VersionStats::late). Windows without a request are left out, so from
    /// one window's end to the next one's begin there may be a gap; their numbers have none, unless windows were lost:
    /// the last 4,096 are kept.
    ///
    /// Bad are: status 500 and above, refused, reset or cut connections, time-outs; also when the client got a good
    /// answer from another try ([`VersionStats::blamed`](super::VersionStats::blamed)), unless the failed one was on
    /// a connection used before, which the instance may have closed for its idleness, or was cut by a drain. Not counted are requests routed
    /// while any instance that could be drawn was in its warm-up or a version with a share had no instance ready, as the
    /// counted share would not be the assigned one, and those that no instance was ready for. An upgraded connection is
    /// one request that ended with its upgrade. A request that broke off or overran its own body counts as abandoned,
    /// and so does one that could not be sent because the proxy had no port or file handle left. A client that shuts its
    /// sending side before it has its answer can't be told from one that has left, and counts as such.
    ///
    /// [`Window::latency`] is that of the same requests, from the routing to the first byte of the answer that the
    /// client gets, all tries together.
    pub fn windows(&self, after: u64, limit: usize) -> Vec<Window> {
        self.shared.settle();
        self.shared.write(|table| table.ledger.windows(after, limit))
    }

    /// All windows that ended before this time can be read by now. Asked before [`Proxy::windows`], so that none falls
    /// between the two.
    pub fn settled_to(&self) -> Time {
        self.shared.settle();
        self.shared.read(|table| table.ledger.settled_to(self.shared.clock.now()))
    }

    /// Readings with a number above `after`, oldest first, at most `limit`: about one a second, with what ended in that
    /// time among requests that were routed in the epoch in force, those included that no window counts. Seconds in which
    /// nothing ended are left out.
    pub fn readings(&self, after: u64, limit: usize) -> Vec<Window> {
        self.shared.settle();
        self.shared.write(|table| table.ledger.readings(after, limit))
    }

    /// Lets numbers go on after these, for a proxy that follows another one.
    pub fn resume_numbers(&self, window: u64, reading: u64) {
        self.shared.write(|table| table.ledger.resume_numbers(window, reading));
    }

    /// What was counted since the proxy began.
    pub fn stats(&self) -> Stats {
        let (meters, upstreams, (lost_windows, lost_readings)) =
            self.shared.read(|table| (table.meters.clone(), table.upstreams.clone(), table.ledger.lost()));
        Stats {
            versions: meters.iter().map(|(name, meter)| (name.clone(), meter.read())).collect(),
            instances: upstreams
                .iter()
                .map(|(id, upstream)| {
                    let stats = InstanceStats {
                        version: upstream.instance.version.clone(),
                        in_flight: upstream.in_flight(),
                        connections: upstream.connections(),
                        draining: upstream.is_leaving(),
                    };
                    (id.clone(), stats)
                })
                .collect(),
            clients: self.shared.clients.load(Ordering::Relaxed),
            unrouted: self.shared.unrouted.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
            lost_windows,
            lost_readings,
        }
    }

    /// Listens no more, lets requests under way end for as long as `within`, then stops.
    pub async fn close(mut self, within: Span) {
        self.closing.send_replace(true);
        let ended = async {
            // It ends when its last client has; its only way to fail is a panic, which is reported as such.
            let _ = (&mut self.accepting).await;
            for upstream in self.shared.upstreams() {
                upstream.leave();
                upstream.emptied().await;
            }
        };
        // Over time: the drop cuts what is left.
        let _ = tokio::time::timeout(within.into(), ended).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.ticking.abort();
        for upstream in self.shared.upstreams() {
            upstream.leave();
            upstream.cut();
        }
    }
}

/// Once a second: readings, windows, and connections that were idle for too long.
async fn tick(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        shared.settle();
        let config = shared.config();
        for upstream in shared.upstreams() {
            upstream.sweep(&config);
        }
    }
}

/// Waits until the proxy is to close, or is gone.
async fn told(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Accepts until told to close, then waits for the last client. Dropped, it takes all clients with it.
async fn accept(shared: Arc<Shared>, listener: TcpListener, mut closing: watch::Receiver<bool>) {
    let mut clients = JoinSet::new();
    loop {
        let accepted = async {
            let place = shared.places.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        tokio::select! {
            () = told(&mut closing) => break,
            Some(_) = clients.join_next() => {}
            accepted = accepted => match accepted {
                Some((Ok((stream, peer)), place)) => {
                    shared.clients.fetch_add(1, Ordering::Relaxed);
                    let client = Client { shared: shared.clone(), peer: Peer::new(peer.ip()), _place: place };
                    clients.spawn(serve(Arc::new(client), stream, closing.clone()));
                }
                // Out of file handles, or a client that is gone already: the next one may fare better.
                Some((Err(_), _)) => tokio::time::sleep(Duration::from_millis(20)).await,
                // The semaphore is never closed.
                None => break,
            },
        }
    }
    drop(listener);
    while clients.join_next().await.is_some() {}
}

/// Serves one client until either side closes.
async fn serve(client: Arc<Client>, stream: TcpStream, mut closing: watch::Receiver<bool>) {
    let config = client.shared.config();
    // A socket that is gone already shows at the first read.
    let _ = set_up(&stream);
    let service = service_fn(move |request| {
        let client = client.clone();
        async move { Ok::<_, Infallible>(forward::answer(client, request).await) }
    });
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from(config.header_read_timeout))
        .max_buf_size(config.max_head_bytes.max(8_192));
    let io = Patient::new(stream, config.stream_idle_timeout.into());
    let connection = builder.serve_connection(io, service).with_upgrades();
    tokio::pin!(connection);
    // What goes wrong on a client's connection ends that connection; requests on it have been counted.
    tokio::select! {
        biased;
        _ = connection.as_mut() => {}
        () = told(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
