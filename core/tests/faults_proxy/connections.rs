//! Connections used in uncommon ways: many requests at once, one direction closed, tunnels.

use std::sync::atomic::Ordering;
use std::time::Instant;

use tidegate::proxy::{Config, Drained};
use tidegate::time::Span;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bench::{Bench, Client, GOOD, LEFT, Server, ask, get, good, ms, until, within};
use crate::message::What;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_requests_in_one_write_get_ten_answers_in_order() {
    // Later ones are answered faster.
    let server = Server::start(|mut stream, seen| async move {
        while let Some(request) = seen.request(&mut stream).await {
            let number: u64 = request.target()[1..].parse().unwrap();
            tokio::time::sleep(ms(2 * (10 - number))).await;
            stream.write_all(good(&(request.target().to_owned() + &request.text())).as_bytes()).await.unwrap();
        }
    })
    .await;
    let bench = Bench::before(Config::default(), &server).await;
    let mut client = Client::to(bench.at()).await;
    let requests: String = (0..10)
        .map(|number| match number % 3 {
            0 => get(&format!("/{number}")),
            1 => format!("POST /{number} HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\n a"),
            _ => format!(
                "PUT /{number} HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n b\r\n0\r\n\r\n"
            ),
        })
        .collect();
    client.send(requests).await.unwrap();
    for number in 0..10 {
        let body = ["", " a", " b"][number % 3];
        assert_eq!(client.answer().await.unwrap().text(), format!("/{number}{body}"));
    }
    let targets: Vec<String> = (0..10).map(|number| format!("/{number}")).collect();
    assert_eq!(server.seen.targets(), targets);
    let counts = bench.counted(10).await["v"];
    assert_eq!((counts.requests, counts.errors), (10, 0));
}

#[tokio::test]
async fn requests_behind_one_that_is_refused_are_not_looked_at() {
    let server = Server::echo().await;
    let bench = Bench::before(Config::default(), &server).await;
    let mut client = Client::to(bench.at()).await;
    let refused = "GET /b HTTP/1.1\r\nHost: shop\r\nHost: mine\r\n\r\n";
    client.send(get("/a") + refused + &get("/c")).await.unwrap();
    assert_eq!(client.answer().await.unwrap().text(), "/a");
    assert_eq!(client.answer().await.unwrap().status(), 400);
    assert!(client.rest().await.is_empty());
    assert_eq!(server.seen.targets(), ["/a"]);
}

/// A client that shuts its sending side can't be told from one that has left, and so it is one: what it asked for is
/// given up, and that is nobody's fault.
#[tokio::test]
async fn a_client_that_half_closes_before_its_answer_has_left() {
    // Asked, it waits for the other side to close.
    let server = Server::says("", false).await;
    let bench = Bench::before(Config::default(), &server).await;
    let mut client = Client::to(bench.at()).await;
    client.send(get("/")).await.unwrap();
    until("the instance is asked", || server.seen.targets() == ["/"]).await;
    client.0.get_mut().shutdown().await.unwrap();
    assert!(client.rest().await.is_empty());
    until("the instance is left alone", || server.seen.open.load(Ordering::SeqCst) == 0).await;
    bench.deserted().await;
    assert_eq!(bench.counted(1).await["v"], LEFT);
}

/// It says all it has to say and sends no more: the next request goes elsewhere.
#[tokio::test]
async fn an_instance_that_half_closes_after_its_answer_costs_no_request() {
    let server = Server::start(|mut stream, seen| async move {
        let Some(request) = seen.request(&mut stream).await else { return };
        stream.write_all(good(request.target()).as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        // Whatever comes now is read and never answered.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty() || seen.odd.lock().unwrap().is_empty());
    })
    .await;
    let bench = Bench::before(Config::default(), &server).await;
    let mut client = Client::to(bench.at()).await;
    for number in 0..20 {
        let target = format!("/{number}");
        client.send(get(&target)).await.unwrap();
        assert_eq!(client.answer().await.unwrap().text(), target);
    }
    assert_eq!(server.seen.connections.load(Ordering::SeqCst), 20);
    let counts = bench.counted(20).await["v"];
    assert_eq!((counts.requests, counts.errors), (20, 0));
    until("no connection is left", || server.seen.open.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn an_instance_that_half_closes_before_its_answer_gave_none() {
    let server = Server::start(|mut stream, seen| async move {
        seen.request(&mut stream).await;
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let bench = Bench::before(Config::default(), &server).await;
    let post = "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(ask(bench.at(), post).await.unwrap().status(), 502);
    until("its connection is closed", || server.seen.open.load(Ordering::SeqCst) == 0).await;
    assert_eq!(bench.counted(1).await["v"].errors, 1);
}

/// Upgrades and sends back what it gets.
async fn sockets() -> Server {
    Server::start(|mut stream, seen| async move {
        let Some(request) = seen.request(&mut stream).await else { return };
        if request.all("upgrade") != ["websocket"] {
            let _ = stream.write_all(good("old").as_bytes()).await;
            return;
        }
        let accept = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                      sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        stream.write_all(accept.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.into_inner().into_split();
        let _ = tokio::io::copy(&mut reading, &mut writing).await;
    })
    .await
}

/// Whoever has said all may still listen, through a tunnel too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_side_of_a_tunnel_may_half_close() {
    // The first one waits for the client to end and then says goodbye, the second the other way round.
    for instance_first in [false, true] {
        let server = Server::start(move |mut stream, seen| async move {
            seen.request(&mut stream).await;
            let accept = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
            stream.write_all(accept.as_bytes()).await.unwrap();
            let mut heard = String::new();
            if instance_first {
                stream.write_all(b"goodbye").await.unwrap();
                stream.shutdown().await.unwrap();
                stream.read_to_string(&mut heard).await.unwrap();
            } else {
                stream.read_to_string(&mut heard).await.unwrap();
                stream.write_all(b"goodbye").await.unwrap();
            }
            seen.odd.lock().unwrap().push(heard);
        })
        .await;
        let bench = Bench::before(Config::default(), &server).await;
        let mut client = Client::to(bench.at()).await;
        client.send(UPGRADE).await.unwrap();
        assert_eq!(client.read(What::Head).await.unwrap().status(), 101);
        if instance_first {
            assert_eq!(client.rest().await, b"goodbye");
            client.send("and you").await.unwrap();
            client.0.get_mut().shutdown().await.unwrap();
        } else {
            client.send("and you").await.unwrap();
            client.0.get_mut().shutdown().await.unwrap();
            assert_eq!(client.rest().await, b"goodbye");
        }
        until("the tunnel ends", || bench.proxy.stats().instances["v-1"].in_flight == 0).await;
        until("all was heard", || *server.seen.odd.lock().unwrap() == ["and you"]).await;
        bench.deserted().await;
    }
}

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: shop\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A masked text frame of RFC 6455 there and back: to the proxy bytes like all others.
async fn chat(client: &mut Client, words: &str) {
    let mut frame = vec![0x81, 0x80 | u8::try_from(words.len()).unwrap(), 1, 2, 3, 4];
    frame.extend(words.bytes().enumerate().map(|(i, byte)| byte ^ [1, 2, 3, 4][i % 4]));
    client.send(&frame).await.unwrap();
    let mut back = vec![0; frame.len()];
    within("the frame comes back", client.0.read_exact(&mut back)).await.unwrap();
    assert_eq!(back, frame);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_outlives_a_change_of_weights_and_lives_to_the_end_of_a_drain() {
    let (old, new) = (sockets().await, Server::echo().await);
    // It says nothing for longer than anything else may.
    let short = Span::millis(300);
    let config = Config {
        request_timeout: short,
        header_read_timeout: short,
        stream_idle_timeout: short,
        upstream_idle_timeout: short,
        ..Config::default()
    };
    let bench = Bench::new(config).await;
    bench.add("old-1", "old", old.address);
    bench.add("new-1", "new", new.address);
    bench.route(&[("old", 10_000), ("new", 0)]);
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut client = Client::to(bench.at()).await;
        client.send(UPGRADE).await.unwrap();
        let answer = client.read(What::Head).await.unwrap();
        assert_eq!((answer.status(), answer.all("sec-websocket-accept").len()), (101, 1));
        chat(&mut client, "hello").await;
        sockets.push(client);
    }
    for weights in [[("old", 5_000), ("new", 5_000)], [("old", 0), ("new", 10_000)]] {
        bench.route(&weights);
        tokio::time::sleep(ms(700)).await;
        for client in &mut sockets {
            chat(client, "still there").await;
        }
    }
    assert_eq!(bench.proxy.stats().instances["old-1"].in_flight, 3);
    let began = Instant::now();
    let drain = bench.proxy.drain("old-1", Span::millis(1_500));
    let meanwhile = async {
        assert_eq!(ask(bench.at(), get("/new")).await.unwrap().text(), "/new");
        // One that ends by itself is not cut.
        drop(sockets.pop());
        let mut talked = 0;
        while began.elapsed() < ms(1_000) {
            for client in &mut sockets {
                chat(client, "to the end").await;
                talked += 1;
            }
            tokio::time::sleep(ms(50)).await;
        }
        talked
    };
    let (drained, talked) = tokio::join!(drain, meanwhile);
    assert!(began.elapsed() >= ms(1_500) && talked >= 2, "{talked}");
    assert_eq!(drained, Drained { requests_cut: 0, tunnels_cut: 2 });
    for mut client in sockets {
        assert!(client.rest().await.is_empty(), "it is closed");
    }
    until("the instance is left alone", || old.seen.open.load(Ordering::SeqCst) == 0).await;
    bench.deserted().await;
    let counts = bench.counted(4).await;
    assert_eq!((counts["old"].requests, counts["old"].errors), (3, 0), "each ended with its upgrade");
    assert_eq!(counts["new"], GOOD);
}
