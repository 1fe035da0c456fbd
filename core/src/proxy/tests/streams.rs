use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::proxy::harness::{Bench, GET, Manner, Message, ask, connect, exchange};
use crate::proxy::{Config, Instance};
use crate::time::{Span, Time};

const BIG: usize = 50_000_000;

/// Waits until a counter stands still, and says where.
async fn standstill(counter: &AtomicU64) -> u64 {
    let mut last = counter.load(Ordering::SeqCst);
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = counter.load(Ordering::SeqCst);
        if now == last && now > 0 {
            return now;
        }
        last = now;
    }
}

async fn bench_before(listener: &TcpListener) -> Bench {
    let bench = Bench::new(Config::default()).await;
    let address = listener.local_addr().unwrap();
    bench.proxy.add(Instance { id: "1".into(), version: "v".into(), address, ready_at: Time(0) });
    bench.route(1, &[("v", 10_000)]);
    bench
}

async fn skip_head(stream: &mut BufReader<tokio::net::TcpStream>) {
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert_ne!(stream.read_line(&mut line).await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_upload_flows_as_fast_as_the_instance_takes_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bench = bench_before(&listener).await;
    let go = Arc::new(Semaphore::new(0));
    let gate = go.clone();
    let instance = tokio::spawn(async move {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        skip_head(&mut stream).await;
        gate.acquire().await.unwrap().forget();
        let (mut seen, mut right) = (0, true);
        let mut bytes = vec![0; 65_536];
        while seen < BIG {
            let n = stream.read(&mut bytes).await.unwrap();
            assert_ne!(n, 0);
            right &= bytes[..n].iter().enumerate().all(|(i, byte)| *byte == ((seen + i) % 251) as u8);
            seen += n;
        }
        let text = format!("{seen} {right}");
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let mut stream = connect(bench.at()).await;
    let client = tokio::spawn(async move {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BIG}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let data: Vec<u8> = (0..BIG).map(|i| (i % 251) as u8).collect();
        for part in data.chunks(65_536) {
            stream.write_all(part).await.unwrap();
            counter.fetch_add(part.len() as u64, Ordering::SeqCst);
        }
        Message::read(&mut stream, true).await.unwrap().unwrap()
    });
    let held = standstill(&sent).await;
    assert!(held < 30_000_000, "{held} bytes went out though the instance took none");
    go.add_permits(1);
    assert_eq!(client.await.unwrap().text(), format!("{BIG} true"));
    instance.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_download_flows_as_fast_as_the_client_takes_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bench = bench_before(&listener).await;
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let instance = tokio::spawn(async move {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        skip_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        let part = vec![b'x'; 50_000];
        for _ in 0..BIG / part.len() {
            stream.write_all(b"C350\r\n").await.unwrap();
            stream.write_all(&part).await.unwrap();
            stream.write_all(b"\r\n").await.unwrap();
            counter.fetch_add(part.len() as u64, Ordering::SeqCst);
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    });
    let mut stream = connect(bench.at()).await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    let held = standstill(&sent).await;
    assert!(held < 30_000_000, "{held} bytes came though the client took none");
    let answer = Message::read(&mut stream, true).await.unwrap().unwrap();
    assert_eq!(answer.body.len(), BIG);
    assert!(answer.body.iter().all(|byte| *byte == b'x'));
    instance.await.unwrap();
}

#[tokio::test]
async fn trailers_are_kept_both_ways() {
    let answer =
        "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx-sum: 7\r\n\r\n";
    let (bench, server) = Bench::with(Config::default(), Manner::Raw(answer)).await;
    let request = "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTrailer: x-check\r\n\
                   Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-check: 9\r\n\r\n";
    let answer = ask(bench.at(), request).await.unwrap();
    assert!(answer.head.contains("x-sum: 7"), "{answer:?}");
    assert!(server.seen().contains("x-check: 9"), "{}", server.seen());
    assert!(server.seen().contains("te: trailers"), "{}", server.seen());
}

#[tokio::test]
async fn a_get_may_have_a_body() {
    let (bench, server) = Bench::with(Config::default(), Manner::Good).await;
    let mut stream = connect(bench.at()).await;
    let chunked = "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    for request in [chunked, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", GET] {
        assert_eq!(exchange(&mut stream, request).await.unwrap().status(), 200);
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn answers_without_a_body_keep_their_connection_and_their_length() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n";
    let (bench, _server) = Bench::with(Config::default(), Manner::Raw(head)).await;
    let mut stream = connect(bench.at()).await;
    for _ in 0..2 {
        stream.write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut head).await.unwrap(), 0);
        }
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 1234"), "{head}");
    }
}

#[tokio::test]
async fn old_clients_get_a_body_that_ends_with_the_connection() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    let (bench, server) = Bench::with(Config::default(), Manner::Raw(answer)).await;
    let mut stream = connect(bench.at()).await;
    stream.write_all(b"GET /old HTTP/1.0\r\n\r\n").await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    assert!(all.starts_with("HTTP/1.0 200") || all.starts_with("HTTP/1.1 200"), "{all}");
    assert!(!all.contains("chunked") && all.ends_with("\r\n\r\nab"), "{all}");
    assert!(server.seen().starts_with("get /old http/1.1"), "{}", server.seen());
    assert!(server.seen().contains(&format!("\r\nhost: {}\r\n", server.address)), "{}", server.seen());
    assert!(!server.seen().contains("x-forwarded-host"), "nobody asked for that host: {}", server.seen());
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it_only_when_the_body_is_wanted() {
    let (bench, server) = Bench::with(Config::default(), Manner::Good).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut stream = connect(bench.at()).await;
    assert_eq!(exchange(&mut stream, head).await.unwrap().status(), 100);
    assert_eq!(exchange(&mut stream, "hello").await.unwrap().status(), 200);
    assert!(!server.seen().contains("expect"), "{}", server.seen());
    bench.proxy.remove("v-1");
    let mut stream = connect(bench.at()).await;
    assert_eq!(exchange(&mut stream, head).await.unwrap().status(), 503);
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_is_over_is_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bench = bench_before(&listener).await;
    let instance = tokio::spawn(async move {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        skip_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
        stream
    });
    let mut stream = connect(bench.at()).await;
    let half = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf";
    let answer = exchange(&mut stream, half).await.unwrap();
    assert_eq!((answer.status(), answer.text()), (401, "no"));
    drop(instance.await.unwrap());
    let (counts, _) = bench.counted(1).await;
    assert_eq!((counts["v"].requests, counts["v"].errors), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_is_cut_in_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bench = bench_before(&listener).await;
    bench.proxy.configure(Config { stream_idle_timeout: Span::millis(300), ..Config::default() });
    let instance = tokio::spawn(async move {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        skip_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await.unwrap();
        let part = vec![b'x'; 100_000];
        while stream.write_all(&part).await.is_ok() {}
    });
    let mut stream = connect(bench.at()).await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), instance).await.unwrap().unwrap();
    let (counts, _) = bench.counted(1).await;
    assert_eq!((counts["v"].requests, counts["v"].errors), (1, 0), "that is not the instance's fault");
}
