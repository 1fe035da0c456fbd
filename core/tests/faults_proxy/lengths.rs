//! Bodies of another length than was said. (Requests of several lengths: with the other ways to smuggle one.)

use std::sync::atomic::Ordering;

use tidegate::proxy::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bench::{Bench, Client, GOOD, LEFT, Server, ask, get, until};
use crate::message::What;

/// What a client gets of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Got {
    Whole(&'static str),
    /// It sees that something is missing.
    Cut,
    /// 502.
    Nothing,
}
use Got::{Cut, Nothing, Whole};

/// An instance's answer after its first line; whether the instance closes then; what the client gets.
const ANSWERS: [(&str, bool, Got); 34] = [
    // Too long, too short.
    ("content-length: 10\r\n\r\nhalf", true, Cut),
    ("content-length: 4\r\n\r\nhalf", true, Whole("half")),
    ("content-length: 4\r\n\r\nhalf and more", false, Whole("half")),
    ("content-length: 0\r\n\r\nmore", false, Whole("")),
    ("content-length: 4\r\n\r\nhalfHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison", false, Whole("half")),
    // No lengths.
    ("content-length: -4\r\n\r\nhalf", true, Nothing),
    ("content-length: +4\r\n\r\nhalf", true, Nothing),
    ("content-length: 0x4\r\n\r\nhalf", true, Nothing),
    ("content-length: 4 4\r\n\r\nhalf", true, Nothing),
    ("content-length: 4.0\r\n\r\nhalf", true, Nothing),
    ("content-length: four\r\n\r\nhalf", true, Nothing),
    ("content-length:\r\n\r\nhalf", true, Nothing),
    ("content-length: 18446744073709551620\r\n\r\nhalf", true, Nothing),
    ("content-length : 4\r\n\r\nhalf", true, Nothing),
    // Several.
    ("content-length: 4\r\nContent-Length: 4\r\n\r\nhalf", false, Whole("half")),
    ("content-length: 4\r\ncontent-length: 5\r\n\r\nhalf", true, Nothing),
    ("content-length: 5\r\ncontent-length: 4\r\n\r\nhalf", true, Nothing),
    ("content-length: 4, 5\r\n\r\nhalf", true, Nothing),
    ("content-length: 4, 4\r\n\r\nhalf", false, Whole("half")),
    ("content-length: 4,4\r\ncontent-length: 4\r\n\r\nhalf", false, Whole("half")),
    // With chunks, which hold.
    ("content-length: 9\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n", false, Whole("half")),
    ("transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n4\r\nhalf\r\n0\r\n\r\n", false, Whole("half")),
    ("content-length: 4\r\ntransfer-encoding: xchunked\r\n\r\nhalf", true, Nothing),
    ("transfer-encoding: gzip, chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n", true, Nothing),
    ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n", true, Nothing),
    // Chunks of a wrong length.
    ("transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", true, Cut),
    ("transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n", true, Cut),
    ("transfer-encoding: chunked\r\n\r\n9\r\nhalf\r\n0\r\n\r\n", true, Cut),
    ("transfer-encoding: chunked\r\n\r\n2\r\nhalf\r\n0\r\n\r\n", true, Cut),
    ("transfer-encoding: chunked\r\n\r\n-4\r\nhalf\r\n0\r\n\r\n", true, Cut),
    ("transfer-encoding: chunked\r\n\r\n0x4\r\nhalf\r\n0\r\n\r\n", true, Cut),
    ("transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nhalf\r\n0\r\n\r\n", true, Cut),
    ("transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\npoison", false, Whole("half")),
    // None: until the connection ends.
    ("\r\nhalf", true, Whole("half")),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_a_wrong_length_are_whole_or_cut_or_none_and_poison_nobody() {
    for (answer, closes, got) in ANSWERS {
        let server = Server::start(move |mut stream, seen| async move {
            while let Some(request) = seen.request(&mut stream).await {
                if request.target() == "/next" {
                    stream.write_all(crate::bench::good("next").as_bytes()).await.unwrap();
                    continue;
                }
                stream.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes()).await.unwrap();
                if closes {
                    return;
                }
            }
        })
        .await;
        let bench = Bench::before(Config::default(), &server).await;
        let result = ask(bench.at(), get("/")).await;
        let seen = match &result {
            Ok(message) if message.status() == 502 => None,
            Ok(message) => Some((message.status(), message.text())),
            Err(error) => {
                assert_ne!(error.kind(), std::io::ErrorKind::InvalidData, "{answer:?}: {error}");
                Some((0, String::new()))
            }
        };
        let expected = match got {
            Whole(text) => Some((200, text.to_owned())),
            Cut => Some((0, String::new())),
            Nothing => None,
        };
        assert_eq!(seen, expected, "{answer:?}: {result:?}");
        for _ in 0..3 {
            assert_eq!(ask(bench.at(), get("/next")).await.unwrap().text(), "next", "after {answer:?}");
        }
        let counts = bench.counted(4).await["v"];
        assert_eq!(counts.errors, u64::from(!matches!(got, Whole(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn answers_that_have_no_body_have_none_though_one_is_sent() {
    for (method, answer, length) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody", Some("4")),
        ("HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", None),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\nbody", None),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\nbody", None),
    ] {
        let server = Server::says(answer, false).await;
        let bench = Bench::before(Config::default(), &server).await;
        let mut client = Client::to(bench.at()).await;
        for number in 1..=3 {
            // Each time on a new connection, or the rest of the answer before would be taken for the next one.
            client.send(format!("{method} / HTTP/1.1\r\nHost: shop\r\n\r\n")).await.unwrap();
            let got = client.read(What::Head).await.unwrap();
            assert_eq!(got.line, answer.lines().next().unwrap());
            assert_eq!(got.all("content-length").first().copied(), length, "{answer:?}");
            assert_eq!(server.seen.connections.load(Ordering::SeqCst), number, "{answer:?}");
        }
        assert_eq!(bench.counted(3).await["v"].errors, 0, "{answer:?}");
    }
}

#[tokio::test]
async fn a_body_shorter_than_said_reaches_no_instance_whole() {
    for (request, connected) in [
        ("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nhalf", true),
        ("POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", true),
        ("POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", true),
    ] {
        let server = Server::echo().await;
        let bench = Bench::before(Config::default(), &server).await;
        let mut client = Client::to(bench.at()).await;
        client.send(request).await.unwrap();
        until("the instance is asked", || server.seen.connections.load(Ordering::SeqCst) == u64::from(connected)).await;
        client.0.get_mut().shutdown().await.unwrap();
        let back = String::from_utf8(client.rest().await).unwrap();
        assert!(back.is_empty() || back.starts_with("HTTP/1.1 400"), "{request:?}: {back:?}");
        assert_eq!(bench.counted(1).await["v"], LEFT, "{request:?}");
        until("the instance is left alone", || server.seen.open.load(Ordering::SeqCst) == 0).await;
        assert!(server.seen.targets().is_empty(), "{request:?}");
    }
}

#[tokio::test]
async fn what_follows_a_body_longer_than_said_is_no_part_of_it() {
    let server = Server::echo().await;
    let bench = Bench::before(Config::default(), &server).await;
    let mut client = Client::to(bench.at()).await;
    client.send("POST /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello and more\r\n\r\n").await.unwrap();
    assert_eq!(client.answer().await.unwrap().text(), "/a");
    assert_eq!(client.answer().await.unwrap().status(), 400);
    assert!(client.0.read(&mut [0]).await.is_ok_and(|n| n == 0), "it is closed");
    assert_eq!(server.seen.requests.lock().unwrap()[0].text(), "hello");
    assert_eq!(bench.counted(1).await["v"], GOOD);
}
