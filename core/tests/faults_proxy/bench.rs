//! A proxy between clients that look closely and instances that remember all they saw.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Result;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::proxy::{Config, Instance, Proxy};
use tidegate::service::{Counts, Measure, Weights, Window};
use tidegate::time::{Clock, Span, SystemClock, Time};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::message::{Message, What};

/// How long anything may take before a test gives up: much longer than it takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Gives up after much longer than it takes.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, work).await.unwrap_or_else(|_| panic!("{what}: not within {LONG:?}"))
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
}

/// A number of this process's memory, in kB: `VmRSS` what it has, `VmHWM` the most it ever had.
pub(crate) fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: shop\r\n\r\n")
}

/// An answer of 200 with a length.
pub(crate) fn good(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// One client's connection.
pub(crate) struct Client(pub(crate) BufReader<TcpStream>);

impl Client {
    pub(crate) async fn to(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client(BufReader::new(stream))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.0.write_all(bytes.as_ref()).await
    }

    pub(crate) async fn answer(&mut self) -> Result<Message> {
        self.read(What::Answer).await
    }

    pub(crate) async fn read(&mut self, what: What) -> Result<Message> {
        let read = within("an answer", Message::read(&mut self.0, what)).await?;
        read.ok_or_else(|| std::io::ErrorKind::ConnectionAborted.into())
    }

    /// Everything until the other side closes, however it does.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = within("the connection's end", self.0.read_to_end(&mut all)).await;
        all
    }
}

/// Sends bytes on a new connection and reads one answer.
pub(crate) async fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> Result<Message> {
    let mut client = Client::to(address).await;
    client.send(request).await?;
    client.answer().await
}

/// What an instance saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) requests: Mutex<Vec<Message>>,
    /// What could not be read.
    pub(crate) odd: Mutex<Vec<String>>,
    pub(crate) connections: AtomicU64,
    pub(crate) open: AtomicU64,
}

impl Seen {
    pub(crate) fn targets(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|request| request.target().to_owned()).collect()
    }

    /// Reads a request and remembers it.
    pub(crate) async fn request(&self, stream: &mut BufReader<TcpStream>) -> Option<Message> {
        match Message::read(stream, What::Request).await {
            Ok(request) => {
                self.requests.lock().unwrap().extend(request.clone());
                request
            }
            // Broken off: no instance takes it for a request.
            Err(error) if error.kind() != std::io::ErrorKind::InvalidData => None,
            Err(error) => {
                self.odd.lock().unwrap().push(error.to_string());
                None
            }
        }
    }
}

/// An instance; gone when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Every connection is given to `talk`.
    pub(crate) async fn start<F>(talk: impl Fn(BufReader<TcpStream>, Arc<Seen>) -> F + Send + 'static) -> Server
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let noted = seen.clone();
        let task = tokio::spawn(async move {
            let mut talks = JoinSet::new();
            loop {
                tokio::select! {
                    Some(_) = talks.join_next() => {}
                    accepted = listener.accept() => {
                        let stream = accepted.unwrap().0;
                        stream.set_nodelay(true).unwrap();
                        noted.connections.fetch_add(1, Ordering::SeqCst);
                        noted.open.fetch_add(1, Ordering::SeqCst);
                        let (talking, noted) = (talk(BufReader::new(stream), noted.clone()), noted.clone());
                        talks.spawn(async move {
                            talking.await;
                            noted.open.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                }
            }
        });
        Server { address, seen, task }
    }

    /// Answers every request with its target.
    pub(crate) async fn echo() -> Server {
        Server::start(|mut stream, seen| async move {
            while let Some(request) = seen.request(&mut stream).await {
                if stream.write_all(good(request.target()).as_bytes()).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// Reads a request, sends these bytes and waits for the other side to close; `closes`: closes itself.
    pub(crate) async fn says(bytes: impl Into<Vec<u8>>, closes: bool) -> Server {
        let bytes: Arc<[u8]> = bytes.into().into();
        Server::start(move |mut stream, seen| {
            let bytes = bytes.clone();
            async move {
                if seen.request(&mut stream).await.is_some() && stream.write_all(&bytes).await.is_ok() && !closes {
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
            }
        })
        .await
    }

    /// Reads a request, sends the first bytes, and the other ones again and again, `every` so often, `times` or until
    /// nobody takes them. Closes then.
    pub(crate) async fn repeats(first: &'static str, more: &'static str, every: Duration, times: usize) -> Server {
        Server::start(move |mut stream, seen| async move {
            if seen.request(&mut stream).await.is_none() || stream.write_all(first.as_bytes()).await.is_err() {
                return;
            }
            for _ in 0..times {
                if stream.write_all(more.as_bytes()).await.is_err() {
                    return;
                }
                if !every.is_zero() {
                    tokio::time::sleep(every).await;
                }
            }
        })
        .await
    }
}

/// A proxy.
pub(crate) struct Bench {
    pub(crate) proxy: Proxy,
    clock: Arc<SystemClock>,
    epoch: AtomicU64,
}

impl Bench {
    pub(crate) async fn new(config: Config) -> Bench {
        let clock = Arc::new(SystemClock::new(Time(0)));
        let proxy = Proxy::bind("127.0.0.1:0", config, clock.clone()).await.unwrap();
        Bench { proxy, clock, epoch: AtomicU64::new(0) }
    }

    /// A proxy before one instance, of the version `v`.
    pub(crate) async fn before(config: Config, server: &Server) -> Bench {
        let bench = Bench::new(config).await;
        bench.add("v-1", "v", server.address);
        bench.route(&[("v", 10_000)]);
        bench
    }

    pub(crate) fn at(&self) -> SocketAddr {
        self.proxy.address()
    }

    pub(crate) fn add(&self, id: &str, version: &str, address: SocketAddr) {
        // Ready for a while: a request that is routed in this very moment counts.
        let ready_at = Time(self.clock.now().0 - 10_000);
        self.proxy.add(Instance { id: id.into(), version: version.into(), address, ready_at });
    }

    pub(crate) fn route(&self, weights: &[(&str, u32)]) {
        let weights: Weights = weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
        let measure = Measure { window: Span::millis(50), warmup: Span::ZERO };
        self.proxy.route(weights, self.epoch.fetch_add(1, Ordering::SeqCst) + 1, measure);
    }

    /// Waits until so many requests are in windows; what they add up to, by version.
    pub(crate) async fn counted(&self, requests: u64) -> BTreeMap<String, Counts> {
        let mut total = BTreeMap::new();
        until("all requests in windows", || {
            total.clear();
            add_up(&mut total, &self.proxy.windows(0, usize::MAX));
            total.values().map(|counts| counts.requests + counts.abandoned).sum::<u64>() >= requests
        })
        .await;
        total
    }

    /// Waits until no client is connected.
    pub(crate) async fn deserted(&self) {
        until("no client is connected", || self.proxy.stats().clients == 0).await;
    }
}

pub(crate) fn add_up(total: &mut BTreeMap<String, Counts>, windows: &[Window]) {
    for (name, counts) in windows.iter().flat_map(|window| &window.counts) {
        let sum = total.entry(name.clone()).or_default();
        sum.requests += counts.requests;
        sum.errors += counts.errors;
        sum.abandoned += counts.abandoned;
    }
}

pub(crate) const GOOD: Counts = Counts { requests: 1, errors: 0, abandoned: 0 };
pub(crate) const BAD: Counts = Counts { requests: 1, errors: 1, abandoned: 0 };
pub(crate) const LEFT: Counts = Counts { requests: 0, errors: 0, abandoned: 1 };
