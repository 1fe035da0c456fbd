//! What never ends where it should: heads, chunk extensions and trailers, from clients and from instances.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate::proxy::Config;
use tidegate::time::Span;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::alone::alone as in_a_process_of_its_own;
use crate::bench::{BAD, Bench, Client, LEFT, Server, ask, get, memory, within};

/// How much is sent when nobody says no.
const MUCH: usize = 64 << 20;

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The first bytes, those that follow for ever, and whether the request is under way by then.
const FROM_CLIENTS: [(&str, &str, bool); 10] = [
    ("", "GET", false),
    ("GET /", "x", false),
    ("GET / HTTP/1.1\r\n", "x", false),
    ("GET / HTTP/1.1\r\nX: ", "y", false),
    ("GET / HTTP/1.1\r\nHost: shop\r\n", "X: y\r\n", false),
    ("GET / HTTP/1.1\r\nHost: shop\r\nX: y", " ", false),
    (CHUNKED, "0", true),
    ("POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n5;", "x=y;", true),
    ("POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", "y", true),
    ("POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n", true),
];

/// The same of instances, and whether the answer is under way by then.
const FROM_INSTANCES: [(&str, &str, bool); 8] = [
    ("", "x", false),
    ("HTTP/1.1 200 ", "OK", false),
    ("HTTP/1.1 200 OK\r\nX: ", "y", false),
    ("HTTP/1.1 200 OK\r\n", "X: y\r\n", false),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "0", true),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n5;", "x=y;", true),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX: ", "y", true),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n", "X: y\r\n", true),
];

/// Sends until nobody takes any more; what came back, and how many bytes went out.
async fn send_for_ever(bench: &Bench, first: &str, more: &str, pause: Duration) -> (String, usize) {
    let (mut reading, mut writing) = Client::to(bench.at()).await.0.into_inner().into_split();
    let size = if pause.is_zero() { 65_536 } else { 64 };
    let part = more.repeat(size / more.len());
    let sending = async {
        let mut sent = 0;
        if writing.write_all(first.as_bytes()).await.is_ok() {
            while sent < MUCH && writing.write_all(part.as_bytes()).await.is_ok() {
                sent += part.len();
                tokio::time::sleep(pause).await;
            }
        }
        sent
    };
    let mut back = Vec::new();
    let (sent, _) = within(first, async { tokio::join!(sending, reading.read_to_end(&mut back)) }).await;
    (String::from_utf8_lossy(&back).into_owned(), sent)
}

async fn from_clients() {
    let config = Config { max_head_bytes: 16 << 10, request_timeout: Span::seconds(1), ..Config::default() };
    for (first, more, under_way) in FROM_CLIENTS {
        let server = Server::echo().await;
        let bench = Bench::before(config, &server).await;
        // Zeros of a chunk's size fill nothing: there time is the bound. (Few at a time: reading many would be all that the proxy does.)
        let timed = (first, more) == (CHUNKED, "0");
        let pause = Duration::from_millis(if timed { 20 } else { 0 });
        let (back, sent) = send_for_ever(&bench, first, more, pause).await;
        assert!(sent < MUCH / 2, "{first:?} and {more:?} for ever: {sent} bytes were taken");
        let statuses: &[&str] = if timed { &["408"] } else { &["400", "414", "431"] };
        let refused = statuses.iter().any(|status| back.starts_with(&format!("HTTP/1.1 {status} ")));
        assert!(back.is_empty() || refused, "{first:?} and {more:?} for ever: {back:?}");
        assert!(server.seen.targets().is_empty(), "{first:?} and {more:?} for ever: the instance saw it whole");
        assert!(server.seen.odd.lock().unwrap().is_empty());
        bench.deserted().await;
        if under_way {
            assert_eq!(bench.counted(1).await["v"], LEFT, "{first:?} and {more:?} for ever");
        }
    }
}

async fn from_instances() {
    let config =
        Config { request_timeout: Span::seconds(30), stream_idle_timeout: Span::seconds(1), ..Config::default() };
    for (first, more, under_way) in FROM_INSTANCES {
        let more: &str = more.repeat(65_536 / more.len()).leak();
        let server = Server::repeats(first, more, Duration::ZERO, MUCH / more.len()).await;
        let bench = Bench::before(config, &server).await;
        let mut client = Client::to(bench.at()).await;
        client.send(get("/")).await.unwrap();
        if under_way {
            let all = client.rest().await;
            let all = String::from_utf8_lossy(&all);
            assert!(all.starts_with("HTTP/1.1 200"), "{first:?} for ever: {all:?}");
            assert!(!all.ends_with("0\r\n\r\n"), "{first:?} for ever: it looks whole: {all:?}");
        } else {
            assert_eq!(client.answer().await.unwrap().status(), 502, "{first:?} for ever");
        }
        assert_eq!(bench.counted(1).await["v"], BAD, "{first:?} for ever");
        assert_eq!(server.seen.connections.load(Ordering::SeqCst), 1, "{first:?} for ever: it was asked again");
    }
}

/// News that the answer is yet to come, for ever: that is no answer.
async fn early_hints() {
    let hints = "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n".repeat(1_000).leak();
    let server = Server::repeats("", hints, Duration::from_millis(1), usize::MAX).await;
    let config = Config { request_timeout: Span::millis(800), ..Config::default() };
    let bench = Bench::before(config, &server).await;
    assert_eq!(ask(bench.at(), get("/")).await.unwrap().status(), 504);
    assert_eq!(bench.counted(1).await["v"], BAD);
}

pub(crate) async fn alone() {
    let before = memory("VmRSS");
    from_clients().await;
    from_instances().await;
    early_hints().await;
    let most = memory("VmHWM").saturating_sub(before);
    eprintln!("figure: what never ends: {most} kB at most");
    // What is sent in the tests is there once, and read buffers grow to the limit of a head.
    assert!(most < 20_000, "{most} kB");
}

#[tokio::test]
async fn heads_and_trailers_without_end_end_from_clients_and_from_instances() {
    in_a_process_of_its_own("endless").await;
}
