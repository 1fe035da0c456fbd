//! The HTTP and TCP probes against real sockets that behave well or badly.

use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::health::probe::build;
use crate::health::{Outcome, ProbeSpec, Verdict};
use crate::time::Span;

/// Long enough for a busy machine; what hangs is probed with less.
const LONG: Span = Span::seconds(20);
const SHORT: Span = Span::seconds(1);

/// Serves one connection after its request was read, and tells the request.
async fn serve<F>(answer: impl FnOnce(TcpStream) -> F + Send + 'static) -> (u16, JoinHandle<String>)
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        answer(stream).await;
        String::from_utf8(request).unwrap()
    });
    (port, server)
}

async fn probe(port: u16, timeout: Span) -> Outcome {
    let spec = ProbeSpec::http("http://{host}:{port}/healthz?full=1").resolve("127.0.0.1", port);
    build(&spec, timeout).unwrap().run().await
}

/// Probes a server that writes `answer` and closes.
async fn answered(answer: &'static str) -> Outcome {
    let (port, server) = serve(move |mut stream| async move {
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let outcome = probe(port, LONG).await;
    server.await.unwrap();
    outcome
}

/// Probes a server that writes `first` and then `again` for ever, until the probe has gone.
async fn flooded(first: &'static str, again: &'static str) -> Outcome {
    let (port, server) = serve(move |mut stream| async move {
        let _ = stream.write_all(first.as_bytes()).await;
        while stream.write_all(again.as_bytes()).await.is_ok() {}
    })
    .await;
    let outcome = probe(port, LONG).await;
    server.await.unwrap();
    outcome
}

/// Probes a server that writes `answer` and then holds the connection without a word.
async fn stalled(answer: &'static str) -> Outcome {
    let (port, server) = serve(move |mut stream| async move {
        stream.write_all(answer.as_bytes()).await.unwrap();
        // Until the probe closes.
        let _ = stream.read_u8().await;
    })
    .await;
    let outcome = probe(port, SHORT).await;
    server.await.unwrap();
    outcome
}

fn said(outcome: &Outcome) -> (Verdict, &str) {
    (outcome.verdict, outcome.reason.as_str())
}

#[tokio::test]
async fn the_status_decides() {
    for (answer, verdict, reason) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Verdict::Pass, "status 200"),
        ("HTTP/1.1 204 No Content\r\n\r\n", Verdict::Pass, "status 204"),
        ("HTTP/1.0 200 OK\r\n\r\nup to the end", Verdict::Pass, "status 200"),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            Verdict::Pass,
            "status 302",
        ),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", Verdict::Fail, "status 404"),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", Verdict::Fail, "status 500"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Oh\r\nContent-Length: 0\r\n\r\n", Verdict::Fail, "status 503"),
    ] {
        assert_eq!(said(&answered(answer).await), (verdict, reason), "{answer:?}");
    }
}

#[tokio::test]
async fn it_asks_as_a_client_does_and_tells_what_it_saw() {
    let (port, server) = serve(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    })
    .await;
    let outcome = probe(port, LONG).await;
    let request = server.await.unwrap().to_lowercase();
    assert!(request.starts_with("get /healthz?full=1 http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nhost: 127.0.0.1:{port}\r\n")), "{request}");
    assert!(request.contains("\r\nconnection: close\r\n"), "{request}");
    let names: Vec<&str> = outcome.detail.keys().map(String::as_str).collect();
    assert_eq!(names, ["body", "connect_us", "first_byte_us", "lookup_us", "peer", "status"]);
    assert_eq!((&outcome.detail["status"], &outcome.detail["body"]), (&200.into(), &"ok".into()));
    let phases = ["connect_us", "first_byte_us"].map(|name| outcome.detail[name].as_u64().unwrap());
    assert!(outcome.took_us >= phases.iter().sum());
}

#[tokio::test]
async fn what_is_no_answer_fails() {
    for (answer, says) in [
        ("", "no answer"),
        ("HTTP/1.1 20", "no answer"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "no answer"),
        ("\0\u{1}\u{2}garbage\r\n\r\n", "no answer"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "status 200, then cut off in the body"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "status 200, then cut off in the body"),
    ] {
        let outcome = answered(answer).await;
        assert_eq!(outcome.verdict, Verdict::Fail, "{answer:?}: {}", outcome.reason);
        assert!(outcome.reason.starts_with(says), "{answer:?}: {}", outcome.reason);
    }
}

#[tokio::test]
async fn an_endless_head_fails_and_an_endless_body_is_not_waited_for() {
    let outcome = flooded("HTTP/1.1 200 OK\r\n", "X-More: and more and more and more\r\n").await;
    assert_eq!(outcome.verdict, Verdict::Fail, "{}", outcome.reason);
    let outcome = flooded("HTTP/1.1 200 OK\r\nX: ", "and more and more and more and more").await;
    assert_eq!(outcome.verdict, Verdict::Fail, "{}", outcome.reason);
    let outcome = flooded("HTTP/1.1 200 OK\r\n\r\n", "more and more and more and more").await;
    assert_eq!(said(&outcome), (Verdict::Pass, "status 200"));
    assert_eq!(outcome.detail["body"].as_str().map(str::len), Some(4096));
}

#[tokio::test]
async fn what_hangs_times_out_and_says_where() {
    for (answer, phase) in [
        ("", "waiting for the first byte of the answer"),
        ("HTTP/1.1 200 OK\r\n", "waiting for the first byte of the answer"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "reading the body"),
    ] {
        let outcome = stalled(answer).await;
        assert_eq!(said(&outcome), (Verdict::Fail, format!("timed out after 1s while {phase}").as_str()));
        assert!(outcome.took_us >= 1_000_000);
    }
}

#[tokio::test]
async fn dropping_a_probe_closes_its_connection() {
    let (port, server) = serve(|mut stream| async move {
        assert!(stream.read_u8().await.is_err(), "nothing more comes but the end");
    })
    .await;
    let dropped = tokio::time::timeout(Duration::from(SHORT), probe(port, LONG)).await;
    assert!(dropped.is_err());
    server.await.unwrap();
}

#[tokio::test]
async fn a_closed_port_fails_and_an_open_one_passes_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tcp = build(&ProbeSpec::tcp("{host}:{port}").resolve("127.0.0.1", port), LONG).unwrap();
    let outcome = tcp.run().await;
    assert_eq!(said(&outcome), (Verdict::Pass, "connected"));
    assert_eq!(outcome.detail["peer"], format!("127.0.0.1:{port}"));
    drop(listener);
    let outcome = tcp.run().await;
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert!(outcome.reason.starts_with("can't connect: Connection refused"), "{}", outcome.reason);
    let outcome = probe(port, LONG).await;
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert!(outcome.reason.starts_with("can't connect: Connection refused"), "{}", outcome.reason);
}
