use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::proxy::Config;
use crate::proxy::harness::{Bench, Manner, ask, connect};
use crate::time::Span;

/// Sends bytes, half-closes nothing, and reads until the proxy closes or a second has passed.
async fn send(bench: &Bench, bytes: &[u8]) -> String {
    let mut stream = connect(bench.at()).await;
    stream.write_all(bytes).await.unwrap();
    let mut all = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut all)).await;
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn what_could_hide_a_request_reaches_no_instance() {
    let (bench, server) = Bench::with(Config::default(), Manner::Good).await;
    for head in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        " Folded: x\r\n",
        "X: a\0b\r\n",
        "Host: other\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: shop\r\n{head}\r\nhello");
        let answer = send(&bench, request.as_bytes()).await;
        let status: u16 = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        assert!(matches!(status, 400 | 413 | 501), "{head:?} got {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head:?} got {answer:?}");
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/3.0\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = send(&bench, request.as_bytes()).await;
        assert!(!answer.contains(" 200 "), "{request:?} got {answer:?}");
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn where_chunks_and_a_length_are_given_chunks_hold_and_the_connection_closes() {
    let (bench, server) = Bench::with(Config::default(), Manner::Good).await;
    for head in
        ["Content-Length: 30\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 30\r\n"]
    {
        let hidden = "GET /hidden HTTP/1.1\r\nHost: shop\r\n\r\n";
        let request = format!("POST / HTTP/1.1\r\nHost: shop\r\n{head}\r\n0\r\n\r\n{hidden}");
        let answer = send(&bench, request.as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert!(!server.seen().contains("content-length"), "{}", server.seen());
        assert!(server.seen().contains("transfer-encoding: chunked"), "{}", server.seen());
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_reaches_nobody() {
    let two = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na\
               HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let (bench, _server) = Bench::with(Config::default(), Manner::Raw(two)).await;
    for _ in 0..5 {
        let answer = ask(bench.at(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(answer.text(), "a");
    }
}

#[tokio::test]
async fn slow_and_huge_heads_end() {
    let config = Config { header_read_timeout: Span::millis(200), max_head_bytes: 8_192, ..Config::default() };
    let (bench, server) = Bench::with(config, Manner::Good).await;
    let mut stream = connect(bench.at()).await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the proxy closes it");
    let mut kept = connect(bench.at()).await;
    kept.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(10), kept.read_to_end(&mut rest)).await;
    assert!(read.is_ok() && rest.ends_with(b"v"), "and one that is idle after its answer");
    server.requests.store(0, Ordering::SeqCst);
    let huge = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let answer = send(&bench, huge.as_bytes()).await;
    assert!(answer.is_empty() || answer.contains(" 431 "), "{answer}");
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}
