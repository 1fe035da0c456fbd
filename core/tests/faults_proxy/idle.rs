//! Ten thousand clients that have nothing to say.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate::proxy::Config;
use tidegate::time::Span;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use crate::alone::{alone as in_a_process_of_its_own, process};
use crate::bench::{Bench, Server, ask, get, memory, until, within};

const CLIENTS: u64 = 10_000;

/// What each may take: the future that serves it, and a buffer once it has said something.
const EACH_KB: u64 = 32;

/// Lets this process have as many files open as it may; how many clients that is enough for.
fn room() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    // Some are for what else is open.
    limit.maximum.map_or(CLIENTS, |most| CLIENTS.min(most.saturating_sub(200)))
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The third process: so many clients that connect, half of them with one request, and wait until they are closed.
pub(crate) async fn clients(at: SocketAddr, count: u64) {
    let _ = room();
    let mut waiting = JoinSet::new();
    for number in 0..count {
        let mut client = crate::bench::Client::to(at).await;
        if number % 2 == 0 {
            client.send(get("/once")).await.unwrap();
            assert_eq!(client.answer().await.unwrap().status(), 200);
        }
        waiting.spawn(async move {
            let n = within("the proxy closes it", client.0.read(&mut [0; 100])).await;
            assert!(matches!(n, Ok(0)), "{n:?}");
        });
    }
    while let Some(ended) = waiting.join_next().await {
        ended.unwrap();
    }
}

pub(crate) async fn alone() {
    let count = room();
    if count < CLIENTS {
        eprintln!("figure: only {count} idle clients: the system allows no more open files");
    }
    let server = Server::echo().await;
    let config = Config { max_connections: 20_000, upstream_idle_connections: 4, ..Config::default() };
    let bench = Bench::before(config, &server).await;
    // What the first requests set up.
    for _ in 0..100 {
        ask(bench.at(), get("/before")).await.unwrap();
    }
    let (before, files) = (memory("VmRSS"), open_files());
    let work = format!("idle-clients {} {count}", bench.at());

    let mut many = process(&work).spawn().unwrap();
    until("all are connected", || bench.proxy.stats().clients == count).await;
    let each = memory("VmRSS").saturating_sub(before) / count;
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(ask(bench.at(), get("/new")).await.unwrap().status(), 200);
    }
    eprintln!("figure: {count} idle clients: {each} kB each; 100 requests meanwhile in {:?}", began.elapsed());
    assert!(each < EACH_KB, "{each} kB each");
    many.kill().await.unwrap();
    bench.deserted().await;
    until("the sockets are closed", || open_files() < files + 20).await;

    // Such patience holds for new connections; these are closed by the proxy, and what they took is used again.
    bench.proxy.configure(Config { header_read_timeout: Span::millis(500), ..config });
    let closed = within("all are closed", process(&work).output()).await.unwrap();
    assert!(closed.status.success(), "{}", String::from_utf8_lossy(&closed.stderr));
    bench.deserted().await;
    until("the sockets are closed", || open_files() < files + 20).await;
    let each = memory("VmRSS").saturating_sub(before) / count;
    assert!(each < EACH_KB, "{each} kB each");
    assert!(server.seen.targets().len() as u64 >= count / 2);
    assert_eq!(server.seen.odd.lock().unwrap().len(), 0);
    assert!(server.seen.connections.load(Ordering::SeqCst) < 1_000, "connections are used again");
}

#[tokio::test]
async fn ten_thousand_idle_clients_cost_little_hinder_nobody_and_are_closed() {
    in_a_process_of_its_own("idle").await;
}
