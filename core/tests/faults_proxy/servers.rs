//! Instances that are slow, or die.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tidegate::proxy::Config;
use tidegate::time::Span;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::alone::process;
use crate::bench::{BAD, Bench, Client, GOOD, LONG, Server, ask, get, ms, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_drips_its_head_is_given_up() {
    let server = Server::repeats("HTTP/1.1 200 OK\r\nX: ", "y", ms(20), usize::MAX).await;
    let config = Config { request_timeout: Span::millis(600), ..Config::default() };
    let bench = Bench::before(config, &server).await;
    assert_eq!(ask(bench.at(), get("/")).await.unwrap().status(), 504);
    until("its connection is closed", || server.seen.open.load(Ordering::SeqCst) == 0).await;
    assert_eq!(server.seen.connections.load(Ordering::SeqCst), 1, "it is not asked again");
    assert_eq!(bench.counted(1).await["v"], BAD);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_drips_may_take_long() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 24\r\n\r\n";
    let server = Server::repeats(head, "x", ms(60), 24).await;
    let second = Span::seconds(1);
    let config = Config { request_timeout: second, stream_idle_timeout: second, ..Config::default() };
    let bench = Bench::before(config, &server).await;
    let began = Instant::now();
    assert_eq!(ask(bench.at(), get("/")).await.unwrap().body, [b'x'; 24]);
    assert!(began.elapsed() > ms(1_200));
    assert_eq!(bench.counted(1).await["v"], GOOD);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_stops_is_cut_and_is_the_versions_fault() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let server = Server::says(head, false).await;
    let config = Config { stream_idle_timeout: Span::millis(300), ..Config::default() };
    let bench = Bench::before(config, &server).await;
    let mut client = Client::to(bench.at()).await;
    client.send(get("/")).await.unwrap();
    let all = client.rest().await;
    assert!(all.ends_with(b"4\r\nhalf\r\n"), "a cut body must not look whole: {:?}", String::from_utf8_lossy(&all));
    until("its connection is closed", || server.seen.open.load(Ordering::SeqCst) == 0).await;
    assert_eq!(bench.counted(1).await["v"], BAD);
}

/// Its queue is full, and so the system answers nobody.
#[tokio::test]
async fn an_instance_that_takes_no_connection_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, ms(200)) {
        queued.push(stream);
        assert!(queued.len() < 10, "the system takes connections though there is no room");
    }
    let bench = Bench::new(Config { connect_timeout: Span::millis(300), ..Config::default() }).await;
    bench.add("v-1", "v", address);
    bench.route(&[("v", 10_000)]);
    assert_eq!(ask(bench.at(), get("/")).await.unwrap().status(), 502);
    assert_eq!(bench.counted(1).await["v"], BAD);
    // Once there is another one, requests go there.
    let server = Server::echo().await;
    bench.add("v-2", "v", server.address);
    for _ in 0..5 {
        assert_eq!(ask(bench.at(), get("/")).await.unwrap().status(), 200);
    }
}

/// The second process: an instance that sends half of an answer and then nothing more. `to`: where it says its address.
pub(crate) async fn give_bodies(to: &str) {
    let server = Server::start(|mut stream, seen| async move {
        let Some(request) = seen.request(&mut stream).await else { return };
        let half: &[u8] = match request.target() {
            "/length" => b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf",
            _ => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        };
        stream.write_all(half).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    std::fs::write(format!("{to}.part"), server.address.to_string()).unwrap();
    std::fs::rename(format!("{to}.part"), to).unwrap();
    tokio::time::sleep(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_can_tell_when_an_instance_is_killed_in_the_middle_of_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("address");
    let mut child = process(&format!("body {}", to.display())).spawn().unwrap();
    until("the instance listens", || to.exists()).await;
    let address: SocketAddr = std::fs::read_to_string(&to).unwrap().parse().unwrap();
    let bench = Bench::new(Config::default()).await;
    bench.add("v-1", "v", address);
    bench.route(&[("v", 10_000)]);
    let mut clients = Vec::new();
    for target in ["/length", "/chunks"] {
        let mut client = Client::to(bench.at()).await;
        client.send(get(target)).await.unwrap();
        let mut begun = Vec::new();
        while !begun.windows(4).any(|four| four == b"half") {
            within("half of it", client.0.read_buf(&mut begun)).await.unwrap();
        }
        clients.push((target, begun, client));
    }
    child.kill().await.unwrap();
    for (target, mut all, mut client) in clients {
        all.extend(client.rest().await);
        let all = String::from_utf8(all).unwrap();
        let cut = match target {
            "/length" => all.contains("content-length: 8\r\n") && all.ends_with("\r\n\r\nhalf"),
            _ => all.contains("transfer-encoding: chunked\r\n") && all.ends_with("4\r\nhalf\r\n"),
        };
        assert!(cut, "{target}: {all:?}");
    }
    let counts = bench.counted(2).await["v"];
    assert_eq!((counts.requests, counts.errors), (2, 2));
    assert_eq!(bench.proxy.stats().versions["v"].errors, 2);
}

/// An answer without a length ends with its connection; one that is reset did not end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_a_length_is_whole_only_when_its_connection_is_closed_in_order() {
    let asked = Arc::new(AtomicU64::new(0));
    let server = Server::start(move |mut stream, seen| {
        let asked = asked.clone();
        async move {
            seen.request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.unwrap();
            if asked.fetch_add(1, Ordering::SeqCst) == 1 {
                tokio::time::sleep(ms(50)).await;
                stream.get_ref().set_zero_linger().unwrap();
            }
        }
    })
    .await;
    let bench = Bench::before(Config::default(), &server).await;
    assert_eq!(ask(bench.at(), get("/")).await.unwrap().text(), "half");
    let mut client = Client::to(bench.at()).await;
    client.send(get("/")).await.unwrap();
    let all = String::from_utf8(client.rest().await).unwrap();
    assert!(all.contains("transfer-encoding: chunked") && !all.ends_with("0\r\n\r\n"), "{all:?}");
    let counts = bench.counted(2).await["v"];
    assert_eq!((counts.requests, counts.errors), (2, 1));
}
