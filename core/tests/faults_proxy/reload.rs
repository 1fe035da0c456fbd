//! Twenty thousand changes of weights under load.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tidegate::proxy::Config;
use tidegate::service::Counts;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::alone::alone as in_a_process_of_its_own;
use crate::bench::{Bench, Client, Server, add_up, get, good, memory, within};

/// The first half fills what is kept: the last 4,096 windows and readings. In the second half memory must stand still.
const CHANGES: u64 = 20_000;

async fn instance(version: &'static str) -> Server {
    Server::start(move |mut stream, _| async move {
        let mut seen = crate::message::Message::read(&mut stream, crate::message::What::Request).await;
        while let Ok(Some(_)) = seen {
            if stream.write_all(good(version).as_bytes()).await.is_err() {
                return;
            }
            seen = crate::message::Message::read(&mut stream, crate::message::What::Request).await;
        }
    })
    .await
}

pub(crate) async fn alone() {
    // A task like those that ask: what waits for the runtime outside of it gets its turn late.
    tokio::spawn(change()).await.unwrap();
}

async fn change() {
    // Few, so that memory is not that of idle connections, whose number grows with every POST.
    let config = Config { upstream_idle_connections: 8, ..Config::default() };
    let bench = Bench::new(config).await;
    let servers = [instance("a").await, instance("a").await, instance("b").await];
    for (number, (server, version)) in servers.iter().zip(["a", "a", "b"]).enumerate() {
        bench.add(&number.to_string(), version, server.address);
    }
    bench.route(&[("a", 5_000), ("b", 5_000)]);
    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let news = Arc::new(Notify::new());
    let mut load = JoinSet::new();
    for number in 0..8_u64 {
        let (at, over, answered, told) = (bench.at(), over.clone(), answered.clone(), news.clone());
        load.spawn(async move {
            let mut got: BTreeMap<String, u64> = BTreeMap::new();
            let mut client = Client::to(at).await;
            let mut asked = number;
            while !over.load(Ordering::SeqCst) {
                asked += 1;
                if asked % 50 == 0 {
                    client = Client::to(at).await;
                }
                let post = "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\nhi";
                let request = if asked % 10 == 0 { post.to_owned() } else { get("/") };
                client.send(request).await.unwrap();
                let answer = client.answer().await.unwrap();
                assert_eq!(answer.status(), 200, "{answer:?}");
                *got.entry(answer.text()).or_default() += 1;
                answered.fetch_add(1, Ordering::SeqCst);
                told.notify_one();
            }
            got
        });
    }
    let began = Instant::now();
    let mut total: BTreeMap<String, Counts> = BTreeMap::new();
    let (mut read, mut windows, mut half) = (0, 0, 0);
    for change in 0..CHANGES {
        let share = [0, 500, 5_000, 9_500, 10_000][change as usize % 5];
        let before = answered.load(Ordering::SeqCst);
        bench.route(&[("a", share), ("b", 10_000 - share)]);
        // Some requests in each.
        within("a request", async {
            while answered.load(Ordering::SeqCst) < before + 2 {
                news.notified().await;
            }
        })
        .await;
        if change % 500 == 499 {
            let fresh = bench.proxy.windows(read, usize::MAX);
            read = fresh.last().map_or(read, |last| last.number);
            windows += fresh.len();
            add_up(&mut total, &fresh);
            for window in &fresh {
                let to_none = |version: &String| window.weights[version] == 0 && window.counts[version].requests > 0;
                assert!(!window.counts.keys().any(to_none), "a version without a share got requests: {window:?}");
            }
        }
        if change == CHANGES / 2 {
            half = memory("VmRSS");
        }
    }
    let took = began.elapsed();
    let end = memory("VmRSS");
    over.store(true, Ordering::SeqCst);
    let mut got: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(ended) = load.join_next().await {
        for (version, count) in ended.unwrap() {
            *got.entry(version).or_default() += count;
        }
    }
    let all: u64 = got.values().sum();
    within("all requests in windows", async {
        while total.values().map(|counts| counts.requests).sum::<u64>() < all {
            let fresh = bench.proxy.windows(read, usize::MAX);
            read = fresh.last().map_or(read, |last| last.number);
            add_up(&mut total, &fresh);
            tokio::time::sleep(crate::bench::ms(20)).await;
        }
    })
    .await;
    eprintln!(
        "figure: {CHANGES} changes of weights in {took:?}: {all} requests, none lost; {half} kB after half of them, {end} kB at the end"
    );
    for (version, counts) in &total {
        let expected = Counts { requests: got[version], errors: 0, abandoned: 0 };
        assert_eq!(*counts, expected, "{version}: what clients got is what is counted");
    }
    let stats = bench.proxy.stats();
    assert_eq!((stats.lost_windows, stats.unrouted, stats.refused), (0, 0, 0));
    assert_eq!(stats.versions["a"].requests + stats.versions["b"].requests, all);
    assert!(windows as u64 > CHANGES / 2, "{windows} windows: changes without a request between them show nothing");
    assert!(end < half + 3_000, "{half} kB after half of them, {end} kB at the end");
}

#[tokio::test]
async fn twenty_thousand_changes_of_weights_lose_no_request_and_no_memory() {
    in_a_process_of_its_own("reload").await;
}
