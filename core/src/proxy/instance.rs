//! One instance as the proxy holds it: its connections, those of them that are idle, and what is under way on them.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::body::Upload;
use super::config::{Config, Drained, Instance};
use super::io::{Heard, set_up};
use super::meter::lock;

/// How many requests go out on new connections after one that failed. See [`Upstream::suspect`].
const SUSPECT: u64 = 1_000;

/// The sending half of a connection to an instance.
pub(super) struct Sender {
    half: SendRequest<Upload>,
    /// Closed when the connection's task has ended and all that it held is dropped.
    ended: oneshot::Receiver<()>,
    /// Bytes that the instance has sent on it.
    heard: Arc<AtomicU64>,
}

/// A request without an answer.
pub(super) struct Unsent {
    /// The request, when not a byte of it was written.
    pub(super) request: Option<Request<Upload>>,
    /// Bytes came after it was sent: a part of an answer, or nonsense.
    pub(super) heard: bool,
}

impl Sender {
    pub(super) fn is_closed(&self) -> bool {
        self.half.is_closed()
    }

    /// Waits until the last answer has ended; false when the connection has.
    pub(super) async fn ready(&mut self) -> bool {
        self.half.ready().await.is_ok()
    }

    /// Sends a request. The connection comes back with the answer, unless it ended with it.
    ///
    /// A request that is sent in the very moment in which the connection's task drops its queue may stay in that queue,
    /// where nobody ever answers it or drops it while there is a sending half. So when the task has ended, that half is
    /// dropped, and with it the queue, which hands the request back.
    pub(super) async fn send(
        mut self,
        request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Option<Sender>), Unsent> {
        let heard = self.heard.clone();
        let before = heard.load(Ordering::Acquire);
        let unsent = |mut error: TrySendError<Request<Upload>>| Unsent {
            request: error.take_message(),
            heard: heard.load(Ordering::Acquire) > before,
        };
        let answer = self.half.try_send_request(request);
        tokio::pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => return answer.map(|answer| (answer, Some(self))).map_err(unsent),
            _ = &mut self.ended => {}
        }
        drop(self);
        answer.await.map(|answer| (answer, None)).map_err(unsent)
    }
}

/// The tasks that drive an instance's connections and tunnels, so that they can be cut.
#[derive(Default)]
struct Tasks {
    closed: bool,
    next: u64,
    connections: BTreeMap<u64, Option<AbortHandle>>,
    tunnels: BTreeMap<u64, Option<AbortHandle>>,
}

/// An instance with its connections.
pub(super) struct Upstream {
    pub(super) instance: Instance,
    /// Requests and tunnels under way.
    in_flight: AtomicU64,
    /// It gets no new requests, and keeps no connections.
    leaving: AtomicBool,
    /// How many more requests go out on new connections.
    suspected: AtomicU64,
    /// Told when the last request of a leaving instance has ended.
    idle: Notify,
    pool: Mutex<VecDeque<(Instant, Sender)>>,
    tasks: Mutex<Tasks>,
}

impl Upstream {
    pub(super) fn new(instance: Instance) -> Upstream {
        Upstream {
            instance,
            in_flight: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
            suspected: AtomicU64::new(0),
            idle: Notify::new(),
            pool: Mutex::default(),
            tasks: Mutex::default(),
        }
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::SeqCst)
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    pub(super) fn connections(&self) -> u64 {
        let tasks = lock(&self.tasks);
        (tasks.connections.len() + tasks.tunnels.len()) as u64
    }

    /// No new connections are kept, and the idle ones are closed.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
        let idle = std::mem::take(&mut *lock(&self.pool));
        drop(idle);
    }

    /// Waits until nothing is under way, for a leaving instance.
    pub(super) async fn emptied(&self) {
        loop {
            let notified = self.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// Whether what was under way was cut on this side.
    pub(super) fn is_cut(&self) -> bool {
        lock(&self.tasks).closed
    }

    /// A request failed. If that was on a connection used before, it may be that the instance closed it, being idle, in
    /// the moment in which the request was written, or that it fails requests: nobody can tell. On a new connection one
    /// can. So the next requests go out on new ones, where one failure begins the count anew: an instance that fails
    /// one request in 200 or more stays there nearly always, and one that closes idle connections is blamed for nothing.
    pub(super) fn suspect(&self) {
        self.suspected.store(SUSPECT, Ordering::Relaxed);
    }

    /// Whether the next request must go out on a new connection.
    pub(super) fn is_suspect(&self) -> bool {
        let next = |left: u64| left.checked_sub(1);
        self.suspected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Cuts all that is under way. Nothing can be begun afterwards.
    pub(super) fn cut(&self) -> Drained {
        let (connections, tunnels) = {
            let mut tasks = lock(&self.tasks);
            tasks.closed = true;
            (std::mem::take(&mut tasks.connections), std::mem::take(&mut tasks.tunnels))
        };
        let tunnels_cut = tunnels.len() as u64;
        let requests_cut = self.in_flight().saturating_sub(tunnels_cut);
        for task in connections.values().chain(tunnels.values()).flatten() {
            task.abort();
        }
        Drained { requests_cut, tunnels_cut }
    }

    /// An idle connection that looks usable, the one used last first.
    pub(super) fn take(&self, config: &Config) -> Option<Sender> {
        let mut pool = lock(&self.pool);
        let limit = Duration::from(config.upstream_idle_timeout);
        while let Some((since, sender)) = pool.pop_back() {
            if since.elapsed() < limit && !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps a connection whose request and answer are over.
    pub(super) fn put(&self, sender: Sender, limit: usize) {
        let surplus = {
            let mut pool = lock(&self.pool);
            // Under the lock: `leave` either sees this connection or is seen here.
            if self.is_leaving() || sender.is_closed() || limit == 0 || self.suspected.load(Ordering::Relaxed) > 0 {
                return;
            }
            #[allow(clippy::disallowed_methods, reason = "the age of a real connection")]
            pool.push_back((Instant::now(), sender));
            if pool.len() > limit { pool.pop_front() } else { None }
        };
        drop(surplus);
    }

    /// Closes connections that were idle for too long.
    pub(super) fn sweep(&self, config: &Config) {
        let limit = Duration::from(config.upstream_idle_timeout);
        let mut old = Vec::new();
        let mut pool = lock(&self.pool);
        while let Some((since, _)) = pool.front() {
            if since.elapsed() < limit {
                break;
            }
            old.extend(pool.pop_front());
        }
        drop(pool);
        drop(old);
    }

    /// Opens a connection. The error says in plain words why there is none.
    pub(super) async fn connect(self: &Arc<Self>, config: &Config) -> Result<Sender, std::io::Error> {
        let address: SocketAddr = self.instance.address;
        let stream = tokio::time::timeout(config.connect_timeout.into(), TcpStream::connect(address)).await??;
        set_up(&stream)?;
        let heard = Arc::new(AtomicU64::new(0));
        let (half, connection) = Builder::new()
            .max_buf_size(config.max_head_bytes.max(8_192))
            .handshake(TokioIo::new(Heard::new(stream, heard.clone())))
            .await
            .map_err(std::io::Error::other)?;
        let (ending, ended) = oneshot::channel();
        let driven = async move {
            // Dropped last, however the task ends.
            let _ending: oneshot::Sender<()> = ending;
            // Its errors reach whoever waits for the answer or reads its body.
            let _ = connection.with_upgrades().await;
        };
        if self.drive(driven, |tasks| &mut tasks.connections) {
            Ok(Sender { half, ended, heard })
        } else {
            Err(std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "the instance is gone"))
        }
    }

    /// Runs a tunnel; false when the instance was cut.
    pub(super) fn tunnel(self: &Arc<Self>, tunnel: impl Future<Output = ()> + Send + 'static) -> bool {
        self.drive(tunnel, |tasks| &mut tasks.tunnels)
    }

    fn drive(
        self: &Arc<Self>,
        work: impl Future<Output = ()> + Send + 'static,
        of: fn(&mut Tasks) -> &mut BTreeMap<u64, Option<AbortHandle>>,
    ) -> bool {
        let id = {
            let mut tasks = lock(&self.tasks);
            if tasks.closed {
                return false;
            }
            let id = tasks.next;
            tasks.next += 1;
            of(&mut tasks).insert(id, None);
            id
        };
        let entry = Entry { upstream: self.clone(), id, of };
        // Not under the lock: a runtime that is shutting down drops the task, and with it the entry, right here.
        let task = tokio::spawn(async move {
            let _entry = entry;
            work.await;
        });
        let mut tasks = lock(&self.tasks);
        if tasks.closed {
            task.abort();
            return false;
        }
        // No entry: it has ended already.
        if let Some(handle) = of(&mut tasks).get_mut(&id) {
            *handle = Some(task.abort_handle());
        }
        true
    }
}

/// Takes a task off the list when it ends.
struct Entry {
    upstream: Arc<Upstream>,
    id: u64,
    of: fn(&mut Tasks) -> &mut BTreeMap<u64, Option<AbortHandle>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        (self.of)(&mut lock(&self.upstream.tasks)).remove(&self.id);
    }
}

/// One request or tunnel under way at an instance.
pub(super) struct Lease(Arc<Upstream>);

impl Lease {
    /// Must be called while the instance can't be taken out of the table: under the table's lock.
    pub(super) fn new(upstream: &Arc<Upstream>) -> Lease {
        upstream.in_flight.fetch_add(1, Ordering::SeqCst);
        Lease(upstream.clone())
    }

    pub(super) fn upstream(&self) -> &Arc<Upstream> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.is_leaving() {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::atomic::AtomicU32;
    use std::task::Poll;

    /// The moment in which a connection ends is hit by chance: rarely, but surely within so many tries on two cores.
    #[tokio::test]
    async fn a_request_sent_as_its_connection_ends_comes_back() {
        for tried in 0..4_000 {
            let (socket, _other) = tokio::io::duplex(64);
            let (half, connection) = Builder::new().handshake(TokioIo::new(socket)).await.unwrap();
            let (ending, ended) = oneshot::channel::<()>();
            let sender = Sender { half, ended, heard: Arc::default() };
            let there = Arc::new(AtomicU32::new(0));
            let meet = |there: &AtomicU32| {
                there.fetch_add(1, Ordering::SeqCst);
                while there.load(Ordering::SeqCst) < 2 {
                    std::hint::spin_loop();
                }
            };
            let theirs = there.clone();
            let dropping = tokio::task::spawn_blocking(move || {
                meet(&theirs);
                drop(connection);
                drop(ending);
            });
            let mut sending = Box::pin(sender.send(Request::new(Upload::empty())));
            meet(&there);
            // The first poll puts the request into the connection's queue.
            let first = poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx).map(|sent| sent.is_err()))).await;
            dropping.await.unwrap();
            match first {
                Poll::Ready(failed) => assert!(failed),
                Poll::Pending => {
                    let Ok(end) = tokio::time::timeout(Duration::from_secs(5), sending).await else {
                        panic!("try {tried}: nobody answers it or hands it back");
                    };
                    assert!(end.is_err_and(|unsent| unsent.request.is_some()), "it was never sent");
                }
            }
        }
    }
}
