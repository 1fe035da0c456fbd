//! Clients that are slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tidegate::proxy::Config;
use tidegate::time::Span;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::alone::alone;
use crate::bench::{Bench, Client, GOOD, Server, ask, get, memory, ms, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_drip_are_cut_and_hold_nobody_up() {
    let server = Server::echo().await;
    let config = Config { header_read_timeout: Span::millis(800), ..Config::default() };
    let bench = Bench::before(config, &server).await;
    let at = bench.at();
    let mut slow = JoinSet::new();
    for _ in 0..50 {
        slow.spawn(async move {
            let (mut reading, mut writing) = Client::to(at).await.0.into_inner().into_split();
            writing.write_all(b"GET /slow HTTP/1.1\r\nHost: shop\r\nX: ").await.unwrap();
            let dripping = async {
                while writing.write_all(b"y").await.is_ok() {
                    tokio::time::sleep(ms(20)).await;
                }
            };
            let mut answer = Vec::new();
            let ended = within("a slow head is cut", async {
                tokio::select! {
                    _ = reading.read_to_end(&mut answer) => {}
                    () = dripping => {}
                }
            });
            ended.await;
            String::from_utf8(answer).unwrap()
        });
    }
    for _ in 0..20 {
        assert_eq!(ask(at, get("/quick")).await.unwrap().status(), 200);
    }
    while let Some(answer) = slow.join_next().await {
        let answer = answer.unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    bench.deserted().await;
    assert_eq!(server.seen.targets(), ["/quick"; 20]);
    assert_eq!(bench.counted(20).await["v"].errors, 0);
}

/// (One that stops altogether: `a_client_that_stalls_or_breaks_its_body_is_not_the_versions_fault` beside the proxy.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_drips_may_take_longer_than_an_answer() {
    let server = Server::echo().await;
    let config = Config { request_timeout: Span::seconds(1), ..Config::default() };
    let bench = Bench::before(config, &server).await;
    let began = Instant::now();
    let mut client = Client::to(bench.at()).await;
    client.send("POST /drip HTTP/1.1\r\nHost: shop\r\nContent-Length: 24\r\n\r\n").await.unwrap();
    for _ in 0..24 {
        tokio::time::sleep(ms(60)).await;
        client.send("x").await.unwrap();
    }
    assert_eq!(client.answer().await.unwrap().status(), 200);
    assert!(began.elapsed() > ms(1_200));
    assert_eq!(server.seen.requests.lock().unwrap()[0].body, [b'x'; 24]);
    assert_eq!(bench.counted(1).await["v"], GOOD);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_a_little_now_and_then_gets_it_all() {
    const SIZE: usize = 40_000_000;
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + SIZE, b'x');
    let server = Server::says(answer, false).await;
    let config = Config { stream_idle_timeout: Span::seconds(1), ..Config::default() };
    let bench = Bench::before(config, &server).await;
    let began = Instant::now();
    let mut client = Client::to(bench.at()).await;
    client.send(get("/much")).await.unwrap();
    let mut read = 0;
    let mut part = vec![0; 2_000_000];
    while read < SIZE {
        // Much less often than the proxy needs to fill what the system holds for this client.
        tokio::time::sleep(ms(80)).await;
        let n = part.len().min(SIZE - read);
        within("more of it", client.0.read_exact(&mut part[..n])).await.unwrap();
        read += n;
    }
    assert!(began.elapsed() > ms(1_500));
    drop(client);
    assert_eq!(bench.counted(1).await["v"], GOOD);
}

/// A hundred at a time.
pub(crate) async fn readers_alone() {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let server = Server::start(move |mut stream, seen| {
        let counter = counter.clone();
        async move {
            seen.request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
            let part = format!("1000\r\n{:4096}\r\n", "").repeat(16);
            while stream.write_all(part.as_bytes()).await.is_ok() {
                counter.fetch_add(part.len() as u64, Ordering::SeqCst);
            }
        }
    })
    .await;
    let config = Config { stream_idle_timeout: Span::millis(1_500), ..Config::default() };
    let bench = Bench::before(config, &server).await;
    let before = memory("VmRSS");
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = Client::to(bench.at()).await;
        client.send(get("/endless")).await.unwrap();
        clients.push(client);
    }
    until("all are asked", || server.seen.connections.load(Ordering::SeqCst) == 100).await;
    bench.deserted().await;
    until("the instance is left alone", || server.seen.open.load(Ordering::SeqCst) == 0).await;
    let (most, sent) = (memory("VmHWM").saturating_sub(before), sent.load(Ordering::SeqCst));
    eprintln!("figure: 100 readers that take nothing: {most} kB at most, {} MB came", sent / 1_000_000);
    assert!(sent > 100_000_000, "{sent} bytes: too few to tell");
    assert!(most < 60_000, "{most} kB");
    let counts = bench.counted(100).await["v"];
    assert_eq!((counts.requests, counts.errors), (100, 0), "that is not the instance's fault");
}

#[tokio::test]
async fn readers_that_take_nothing_cost_little_memory_and_are_cut() {
    alone("readers").await;
}
