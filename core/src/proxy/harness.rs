//! Instances with bad manners, clients that look closely, and load, over real sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::server::with_chance;
use super::{Config, Instance, Proxy};
use crate::service::{Counts, Measure, Weights, Window};
use crate::time::{Chance, Clock, Span, SystemClock, Time};

/// How a test's instance behaves.
#[derive(Clone, Copy)]
pub(super) enum Manner {
    /// As it should.
    Good,
    /// Closes a connection up to two milliseconds after so many answers, without having announced it: often in the very
    /// moment in which the next request is written to it.
    CloseAfter(u64),
    /// Waits before it answers.
    Slow(Duration),
    /// Says this status.
    Status(u16),
    /// Breaks off in the middle of the body.
    Cut,
    /// Reads the request and closes without an answer.
    Mute,
    /// Is mute to every so manieth request, good to all others.
    Flaky(u64),
    /// Breaks off in the middle of the head of a connection's second answer.
    HalfSecond,
    /// Sends bytes as they are, whatever is asked, and closes.
    Raw(&'static str),
    /// Says the status at once and sends a chunk every 10 ms for ever.
    Endless,
    /// Upgrades, then sends back what it gets.
    Echo,
}

/// A test's instance; gone when dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) requests: Arc<AtomicU64>,
    pub(super) connections: Arc<AtomicU64>,
    /// Connections that are open.
    pub(super) open: Arc<AtomicU64>,
    /// The other side's port of the last connection.
    pub(super) peer: Arc<AtomicU64>,
    /// The last request's head.
    pub(super) head: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn start(version: &'static str, manner: Manner) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, connections) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let head = Arc::new(Mutex::new(String::new()));
        let (counted, connected, seen) = (requests.clone(), connections.clone(), head.clone());
        let open = Arc::new(AtomicU64::new(0));
        let opened = open.clone();
        let peer = Arc::new(AtomicU64::new(0));
        let from = peer.clone();
        let task = tokio::spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                tokio::select! {
                    Some(_) = clients.join_next() => {}
                    accepted = listener.accept() => {
                        let (stream, other) = accepted.unwrap();
                        from.store(other.port().into(), Ordering::SeqCst);
                        connected.fetch_add(1, Ordering::SeqCst);
                        opened.fetch_add(1, Ordering::SeqCst);
                        let (counted, seen, opened) = (counted.clone(), seen.clone(), opened.clone());
                        clients.spawn(async move {
                            let _ = talk(stream, version, manner, counted, seen).await;
                            opened.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                }
            }
        });
        Server { address, requests, connections, open, peer, head, task }
    }

    pub(super) fn seen(&self) -> String {
        self.head.lock().unwrap().clone()
    }
}

async fn talk(
    stream: TcpStream,
    version: &'static str,
    manner: Manner,
    counted: Arc<AtomicU64>,
    seen: Arc<Mutex<String>>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut answered = 0;
    loop {
        let Some(message) = Message::read(&mut stream, false).await? else { return Ok(()) };
        let asked = counted.fetch_add(1, Ordering::SeqCst) + 1;
        *seen.lock().unwrap() = message.head.clone();
        let head = format!("content-length: {}\r\nx-version: {version}\r\n\r\n", version.len());
        if message.head.lines().next().is_some_and(|line| line.ends_with("http/1.1")) && message.field("host").is_none()
        {
            return stream.write_all(b"HTTP/1.1 400 No Host\r\ncontent-length: 0\r\n\r\n").await;
        }
        let good = format!("HTTP/1.1 200 OK\r\n{head}{version}");
        match manner {
            Manner::Flaky(n) if asked.is_multiple_of(n) => return Ok(()),
            Manner::HalfSecond if answered == 1 => return stream.write_all(b"HTTP/1.1 200 O").await,
            Manner::Good | Manner::Flaky(_) | Manner::HalfSecond | Manner::CloseAfter(_) => {
                stream.write_all(good.as_bytes()).await?
            }
            Manner::Slow(wait) => {
                tokio::time::sleep(wait).await;
                stream.write_all(good.as_bytes()).await?;
            }
            Manner::Status(status) => {
                stream.write_all(format!("HTTP/1.1 {status} Odd\r\n{head}{version}").as_bytes()).await?;
            }
            Manner::Cut => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf").await?;
                return Ok(());
            }
            Manner::Mute => return Ok(()),
            Manner::Raw(text) => return stream.write_all(text.as_bytes()).await,
            Manner::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                loop {
                    stream.write_all(b"4\r\nmore\r\n").await?;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            Manner::Echo => {
                let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n";
                stream.write_all(answer.as_bytes()).await?;
                let mut bytes = [0; 4_096];
                loop {
                    match stream.read(&mut bytes).await? {
                        0 => return Ok(()),
                        n => stream.write_all(&bytes[..n]).await?,
                    }
                }
            }
        }
        answered += 1;
        if matches!(manner, Manner::CloseAfter(n) if answered >= n) {
            let wait = with_chance(|chance| chance.below(2_000));
            tokio::time::sleep(Duration::from_micros(wait)).await;
            return Ok(());
        }
    }
}

/// A request or an answer as read from a socket.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// The next message; `None` when the connection ended before its first byte.
    pub(super) async fn read(stream: &mut BufReader<TcpStream>, answer: bool) -> std::io::Result<Option<Message>> {
        let cut = || std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "cut");
        let mut head = String::new();
        loop {
            let before = head.len();
            if stream.read_line(&mut head).await? == 0 {
                return if head.is_empty() { Ok(None) } else { Err(cut()) };
            }
            if &head[before..] == "\r\n" {
                break;
            }
        }
        head.make_ascii_lowercase();
        let mut message = Message { head, body: Vec::new() };
        if answer && (message.status() / 100 == 1 || message.status() == 204) {
            return Ok(Some(message));
        }
        if message.field("transfer-encoding") == Some("chunked") {
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await?;
                let length = usize::from_str_radix(line.trim(), 16).map_err(|_| cut())?;
                let start = message.body.len();
                message.body.resize(start + length, 0);
                stream.read_exact(&mut message.body[start..]).await?;
                loop {
                    line.clear();
                    if stream.read_line(&mut line).await? == 0 {
                        return Err(cut());
                    }
                    if line == "\r\n" {
                        break;
                    }
                    // A trailer.
                    message.head.push_str(&line);
                }
                if length == 0 {
                    return Ok(Some(message));
                }
            }
        }
        if let Some(length) = message.field("content-length") {
            message.body.resize(length.parse().map_err(|_| cut())?, 0);
            stream.read_exact(&mut message.body).await?;
        }
        Ok(Some(message))
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| *key == name).map(|(_, v)| v)
    }

    pub(super) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub(super) async fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    BufReader::new(stream)
}

/// Sends bytes on a new connection and reads one answer.
pub(super) async fn ask(address: SocketAddr, request: &str) -> std::io::Result<Message> {
    let mut stream = connect(address).await;
    exchange(&mut stream, request).await
}

/// Sends bytes and reads one answer.
pub(super) async fn exchange(stream: &mut BufReader<TcpStream>, request: &str) -> std::io::Result<Message> {
    stream.write_all(request.as_bytes()).await?;
    Message::read(stream, true).await?.ok_or_else(|| std::io::Error::other("closed without an answer"))
}

pub(super) const GET: &str = "GET /x HTTP/1.1\r\nHost: shop\r\n\r\n";
pub(super) const POST: &str = "POST /x HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello";
pub(super) const CHUNKED: &str =
    "POST /x HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n";

/// A proxy with every window and reading short.
pub(super) struct Bench {
    pub(super) proxy: Proxy,
    pub(super) clock: Arc<SystemClock>,
    pub(super) measure: Measure,
}

impl Bench {
    pub(super) async fn new(config: Config) -> Bench {
        let clock = Arc::new(SystemClock::new(Time(0)));
        let proxy = Proxy::bind("127.0.0.1:0", config, clock.clone()).await.unwrap();
        Bench { proxy, clock, measure: Measure { window: Span::millis(50), warmup: Span::ZERO } }
    }

    pub(super) fn at(&self) -> SocketAddr {
        self.proxy.address()
    }

    pub(super) fn add(&self, id: &str, version: &str, server: &Server) {
        // Ready for a while: a request that is routed in this very moment counts.
        let ready_at = Time(self.clock.now().0 - 10_000);
        self.proxy.add(Instance { id: id.into(), version: version.into(), address: server.address, ready_at });
    }

    pub(super) fn route(&self, epoch: u64, weights: &[(&str, u32)]) {
        let weights: Weights = weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
        self.proxy.route(weights, epoch, self.measure);
    }

    /// A proxy with one instance of the version `v`.
    pub(super) async fn with(config: Config, manner: Manner) -> (Bench, Server) {
        let bench = Bench::new(config).await;
        let server = Server::start("v", manner).await;
        bench.add("v-1", "v", &server);
        bench.route(1, &[("v", 10_000)]);
        (bench, server)
    }

    /// Waits until so many requests are in windows; all counts by version, and the windows.
    pub(super) async fn counted(&self, requests: u64) -> (BTreeMap<String, Counts>, Vec<Window>) {
        for _ in 0..500 {
            let windows = self.proxy.windows(0, usize::MAX);
            let total = sum(&windows);
            if total.values().map(|counts| counts.requests + counts.abandoned).sum::<u64>() >= requests {
                return (total, windows);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{requests} requests were not counted in 10 s: {:?}", self.proxy.windows(0, usize::MAX));
    }
}

pub(super) fn sum(windows: &[Window]) -> BTreeMap<String, Counts> {
    let mut total: BTreeMap<String, Counts> = BTreeMap::new();
    for (name, counts) in windows.iter().flat_map(|window| &window.counts) {
        let sum = total.entry(name.clone()).or_default();
        sum.requests += counts.requests;
        sum.errors += counts.errors;
        sum.abandoned += counts.abandoned;
    }
    total
}

/// Open-loop load: requests begin at their times, whatever became of the ones before. GET, POST and chunked POST, on
/// new and on kept connections.
pub(super) struct Load {
    pub(super) requests: u32,
    pub(super) every: Duration,
    pub(super) only_get: bool,
}

/// What clients saw.
#[derive(Default, Debug)]
pub(super) struct Report {
    pub(super) by_version: BTreeMap<String, u64>,
    pub(super) lost: Vec<String>,
}

impl Load {
    pub(super) async fn run(self, address: SocketAddr) -> Report {
        let kept: Arc<Mutex<Vec<BufReader<TcpStream>>>> = Arc::default();
        let report: Arc<Mutex<Report>> = Arc::default();
        let mut under_way = JoinSet::new();
        let mut interval = tokio::time::interval(self.every);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let mut chance = Chance(42);
        for _ in 0..self.requests {
            interval.tick().await;
            let kind = if self.only_get { 0 } else { chance.below(3) };
            let (what, request) = [("GET", GET), ("POST", POST), ("chunked", CHUNKED)][kind as usize];
            let fresh = chance.below(4) == 0;
            let (kept, report) = (kept.clone(), report.clone());
            under_way.spawn(async move {
                let old = if fresh { None } else { kept.lock().unwrap().pop() };
                let how = if old.is_some() { "kept" } else { "new" };
                let mut stream = match old {
                    Some(stream) => stream,
                    None => connect(address).await,
                };
                let result = exchange(&mut stream, request).await;
                let mut report = report.lock().unwrap();
                match result {
                    Ok(message) if message.status() == 200 => {
                        *report.by_version.entry(message.text().to_owned()).or_default() += 1;
                        kept.lock().unwrap().push(stream);
                    }
                    Ok(message) => report.lost.push(format!("{what} on a {how} connection: {}", message.head)),
                    Err(error) => report.lost.push(format!("{what} on a {how} connection: {error}")),
                }
            });
        }
        while let Some(ended) = under_way.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut *report.lock().unwrap())
    }
}
