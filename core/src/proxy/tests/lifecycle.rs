use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::Kind;
use crate::proxy::harness::{Bench, CHUNKED, GET, Manner, POST, Server, ask, connect, exchange};
use crate::proxy::{Config, Drained, Proxy, Reuse};
use crate::service::Counts;
use crate::time::{Clock, Span, SystemClock, Time};

#[tokio::test]
async fn a_port_in_use_is_named() {
    let bench = Bench::new(Config::default()).await;
    let clock = Arc::new(SystemClock::new(Time(0)));
    let error = Proxy::bind(&bench.at().to_string(), Config::default(), clock).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.to_string().contains(&bench.at().to_string()), "{error}");
    assert!(error.help_text().unwrap().contains("another program"), "{error}");
}

#[tokio::test]
async fn without_anybody_ready_the_answer_says_why() {
    let bench = Bench::new(Config::default()).await;
    let answer = ask(bench.at(), GET).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("no weights are set"), "{answer:?}");
    bench.route(1, &[("v", 10_000)]);
    let answer = ask(bench.at(), GET).await.unwrap();
    assert!(answer.text().contains("no instance is ready"), "{answer:?}");
    assert_eq!(bench.proxy.stats().unrouted, 2);
    assert!(bench.proxy.windows(0, 10).is_empty());
}

#[tokio::test]
async fn requests_of_every_kind_go_through_on_one_kept_connection() {
    let (bench, server) = Bench::with(Config::default(), Manner::Good).await;
    let mut stream = connect(bench.at()).await;
    for request in [GET, POST, CHUNKED, GET] {
        let answer = exchange(&mut stream, request).await.unwrap();
        assert_eq!((answer.status(), answer.text()), (200, "v"));
    }
    assert!(server.seen().contains("x-forwarded-for: 127.0.0.1"));
    assert!(server.seen().contains("host: shop"));
    let (counts, _) = bench.counted(4).await;
    assert_eq!(counts["v"].errors, 0);
    let stats = bench.proxy.stats();
    assert_eq!((stats.versions["v"].requests, stats.versions["v"].latency.count), (4, 4));
    assert!(stats.versions["v"].latency.p50 > 0);
    assert_eq!(stats.instances["v-1"].in_flight, 0);
}

#[tokio::test]
async fn idle_connections_are_used_again_only_where_that_is_safe() {
    let (bench, server) = Bench::with(Config::default(), Manner::Good).await;
    for _ in 0..10 {
        ask(bench.at(), GET).await.unwrap();
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    ask(bench.at(), POST).await.unwrap();
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
    bench.proxy.configure(Config { reuse: Reuse::Always, ..Config::default() });
    for _ in 0..10 {
        ask(bench.at(), POST).await.unwrap();
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_drain_waits_for_what_is_under_way_and_closes_the_pool() {
    let (bench, server) = Bench::with(Config::default(), Manner::Slow(Duration::from_millis(150))).await;
    let other = Server::start("other", Manner::Good).await;
    bench.add("o-1", "other", &other);
    bench.route(2, &[("v", 10_000), ("other", 0)]);
    ask(bench.at(), GET).await.unwrap();
    let at = bench.at();
    let under_way = tokio::spawn(async move { ask(at, POST).await.unwrap() });
    while server.requests.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let drain = bench.proxy.drain("v-1", Span::seconds(20));
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(bench.proxy.stats().instances["v-1"].draining);
        assert_eq!(ask(at, GET).await.unwrap().status(), 503, "nobody else has a share");
    };
    let (drained, ()) = tokio::join!(drain, meanwhile);
    assert_eq!(drained, Drained::default());
    assert_eq!(under_way.await.unwrap().text(), "v");
    assert_eq!(bench.proxy.drain("v-1", Span::ZERO).await, Drained::default(), "it is gone");
}

#[tokio::test]
async fn a_drain_waits_for_what_came_before_an_instance_was_away_for_a_while() {
    let (bench, server) = Bench::with(Config::default(), Manner::Slow(Duration::from_millis(400))).await;
    let at = bench.at();
    let under_way = tokio::spawn(async move { ask(at, POST).await.unwrap() });
    while server.requests.load(Ordering::SeqCst) < 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // It loses its readiness, and has it again: the supervisor drains without waiting, or removes, and adds.
    let _ = tokio::time::timeout(Duration::ZERO, bench.proxy.drain("v-1", Span(u64::MAX))).await;
    bench.add("v-1", "v", &server);
    assert_eq!(bench.proxy.drain("v-1", Span::seconds(20)).await, Drained::default());
    // Whoever drains stops the process next.
    drop(server);
    assert_eq!(under_way.await.unwrap().text(), "v");

    let (bench, echo) = Bench::with(Config::default(), Manner::Echo).await;
    let upgrade = "GET /ws HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut tunnels = [connect(bench.at()).await, connect(bench.at()).await];
    for tunnel in &mut tunnels {
        assert_eq!(exchange(tunnel, upgrade).await.unwrap().status(), 101);
        bench.proxy.remove("v-1");
        bench.add("v-1", "v", &echo);
    }
    let drained = bench.proxy.drain("v-1", Span::millis(50)).await;
    assert_eq!(drained, Drained { requests_cut: 0, tunnels_cut: 2 });
    for mut tunnel in tunnels {
        assert!(matches!(tunnel.read(&mut [0; 5]).await, Ok(0) | Err(_)), "the tunnel is closed");
    }
}

#[tokio::test]
async fn a_drain_cuts_what_is_left_at_its_deadline() {
    let (bench, _echo) = Bench::with(Config::default(), Manner::Echo).await;
    let mut tunnel = connect(bench.at()).await;
    let upgrade = "GET /ws HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let answer = exchange(&mut tunnel, upgrade).await.unwrap();
    assert_eq!((answer.status(), answer.field("upgrade")), (101, Some("echo")));
    tunnel.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    tunnel.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
    let (counts, _) = bench.counted(1).await;
    assert_eq!((counts["v"].requests, counts["v"].errors), (1, 0), "it ended with the upgrade");
    assert_eq!(bench.proxy.stats().instances["v-1"].in_flight, 1);

    let drained = bench.proxy.drain("v-1", Span::millis(50)).await;
    assert_eq!(drained, Drained { requests_cut: 0, tunnels_cut: 1 });
    assert!(matches!(tunnel.read(&mut back).await, Ok(0) | Err(_)), "the tunnel is closed");

    let endless = Server::start("v", Manner::Endless).await;
    bench.add("v-2", "v", &endless);
    let mut stream = connect(bench.at()).await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 40]).await.unwrap();
    let drained = bench.proxy.drain("v-2", Span::millis(50)).await;
    assert_eq!(drained, Drained { requests_cut: 1, tunnels_cut: 0 });
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a cut body must not look whole");
}

#[tokio::test]
async fn what_clients_get_in_a_warm_up_is_read_and_not_judged() {
    let bench = Bench::new(Config::default()).await;
    let server = Server::start("v", Manner::Status(500)).await;
    let now = bench.clock.now();
    let mut measure = bench.measure;
    measure.warmup = Span::seconds(3_600);
    bench.proxy.add(crate::proxy::Instance {
        id: "1".into(),
        version: "v".into(),
        address: server.address,
        ready_at: now,
    });
    bench.proxy.route([("v".to_owned(), 10_000)].into(), 1, measure);
    assert_eq!(ask(bench.at(), GET).await.unwrap().status(), 500);
    let mut readings = Vec::new();
    while readings.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        readings = bench.proxy.readings(0, 10);
    }
    assert_eq!(readings[0].counts["v"], Counts { requests: 1, errors: 1, abandoned: 0 });
    assert!(bench.proxy.windows(0, 10).is_empty());
    bench.route(2, &[("v", 10_000)]);
    ask(bench.at(), GET).await.unwrap();
    let (counts, windows) = bench.counted(1).await;
    assert_eq!((counts["v"].requests, windows[0].epoch, windows.len()), (1, 2, 1));
    assert_eq!(bench.proxy.stats().versions["v"].requests, 2);
}

#[tokio::test]
async fn readings_follow_ends_and_numbers_go_on() {
    let (bench, _server) = Bench::with(Config::default(), Manner::Good).await;
    bench.proxy.resume_numbers(70, 90);
    ask(bench.at(), GET).await.unwrap();
    for _ in 0..200 {
        if !bench.proxy.readings(90, 10).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let readings = bench.proxy.readings(90, 10);
    assert_eq!((readings.len(), readings[0].number, readings[0].counts["v"].requests), (1, 91, 1));
    assert!(bench.proxy.readings(91, 10).is_empty());
    assert_eq!(bench.counted(1).await.1[0].number, 71);
}

#[tokio::test]
async fn it_says_up_to_when_windows_can_be_read() {
    let config = Config { request_timeout: Span::millis(800), ..Config::default() };
    let (bench, _server) = Bench::with(config, Manner::Slow(Duration::from_secs(60))).await;
    let before = bench.clock.now();
    let waiting = tokio::spawn(ask(bench.at(), GET));
    tokio::time::sleep(Duration::from_millis(400)).await;
    let held = bench.proxy.settled_to();
    assert!(bench.proxy.windows(0, 10).is_empty());
    assert_eq!(waiting.await.unwrap().unwrap().status(), 504);
    let (counts, windows) = bench.counted(1).await;
    assert_eq!(counts["v"], Counts { requests: 1, errors: 1, abandoned: 0 });
    assert_eq!(held, windows[0].to, "the window of the request, which ended 350 ms before");
    assert!(windows[0].from <= before.after(Span::millis(100)) && bench.proxy.settled_to() > windows[0].to);
}

#[tokio::test]
async fn an_endless_answer_holds_a_window_only_until_it_settles() {
    let config = Config { settle: Span::millis(300), ..Config::default() };
    let (bench, _server) = Bench::with(config, Manner::Endless).await;
    let mut stream = connect(bench.at()).await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 40]).await.unwrap();
    let (counts, windows) = bench.counted(1).await;
    assert_eq!((counts["v"].requests, counts["v"].errors, windows.len()), (1, 0, 1));
    assert_eq!(bench.proxy.stats().versions["v"].in_flight, 1);
    drop(stream);
    while bench.proxy.stats().versions["v"].in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let stats = &bench.proxy.stats().versions["v"];
    assert_eq!((stats.requests, stats.errors, stats.abandoned), (1, 0, 0), "a client that leaves is nobody's fault");
}

#[tokio::test]
async fn closing_lets_requests_end_and_listens_no_more() {
    let (bench, server) = Bench::with(Config::default(), Manner::Slow(Duration::from_millis(150))).await;
    let at = bench.at();
    let idle = connect(at).await;
    let under_way = tokio::spawn(async move { ask(at, POST).await.unwrap() });
    while server.requests.load(Ordering::SeqCst) < 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bench.proxy.close(Span::seconds(20)).await;
    assert_eq!(under_way.await.unwrap().status(), 200);
    assert!(tokio::net::TcpStream::connect(at).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn dropping_the_proxy_ends_all_that_it_carried() {
    let (bench, _echo) = Bench::with(Config::default(), Manner::Echo).await;
    let upgrade = "GET /ws HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut tunnel = connect(bench.at()).await;
    assert_eq!(exchange(&mut tunnel, upgrade).await.unwrap().status(), 101);
    // An instance that was taken out still has its tunnel.
    bench.proxy.remove("v-1");
    tunnel.write_all(b"hello").await.unwrap();
    tunnel.read_exact(&mut [0; 5]).await.unwrap();
    assert_eq!(bench.proxy.stats().clients, 1);
    let idle = connect(bench.at()).await;
    let mut waiting = connect(bench.at()).await;
    waiting.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    drop(bench);
    for mut stream in [tunnel, idle, waiting] {
        let end = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut [0; 100])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}

/// As the kernel tells: the keep-alive timer of a connection between two ports, in hundredths of a second.
#[cfg(target_os = "linux")]
fn keep_alive(local: u16, remote: u16) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = |field: &str| u16::from_str_radix(field.rsplit(':').next().unwrap(), 16).unwrap();
        let (timer, left) = fields[5].split_once(':').unwrap();
        ((port(fields[1]), port(fields[2])) == (local, remote) && timer == "02")
            .then(|| u64::from_str_radix(left, 16).unwrap())
    })
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn both_sides_of_a_silent_tunnel_are_asked_whether_they_are_still_there() {
    let (bench, echo) = Bench::with(Config::default(), Manner::Echo).await;
    let upgrade = "GET /ws HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut tunnel = connect(bench.at()).await;
    assert_eq!(exchange(&mut tunnel, upgrade).await.unwrap().status(), 101);
    let client = tunnel.get_ref().local_addr().unwrap().port();
    let instance = echo.peer.load(Ordering::SeqCst);
    // (A timer of data that waits for its acknowledgement hides it for a moment.)
    for (local, remote) in [(bench.at().port(), client), (u16::try_from(instance).unwrap(), echo.address.port())] {
        let mut timer = None;
        for _ in 0..200 {
            timer = keep_alive(local, remote);
            if timer.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(timer.is_some_and(|left| (4_000..=6_000).contains(&left)), "{local} to {remote}: {timer:?}");
    }
}

#[tokio::test]
async fn more_clients_than_allowed_wait() {
    let (bench, _server) = Bench::with(Config { max_connections: 2, ..Config::default() }, Manner::Good).await;
    let mut first = connect(bench.at()).await;
    let mut second = connect(bench.at()).await;
    exchange(&mut first, GET).await.unwrap();
    exchange(&mut second, GET).await.unwrap();
    let at = bench.at();
    let third = tokio::spawn(async move { ask(at, GET).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!third.is_finished());
    assert_eq!(bench.proxy.stats().clients, 2);
    drop(first);
    assert_eq!(third.await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_instance_that_was_taken_out_keeps_its_request_and_no_connection() {
    let (bench, server) = Bench::with(Config::default(), Manner::Slow(Duration::from_millis(100))).await;
    let at = bench.at();
    ask(at, POST).await.unwrap();
    let under_way = tokio::spawn(async move { ask(at, POST).await.unwrap() });
    while server.requests.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(server.open.load(Ordering::SeqCst), 2, "one idle, one in use");
    bench.proxy.remove("v-1");
    assert_eq!(under_way.await.unwrap().status(), 200);
    let closed = async {
        while server.open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    // Sooner than idle connections are closed for their age.
    assert!(tokio::time::timeout(Duration::from_secs(3), closed).await.is_ok());
}

#[tokio::test]
async fn connections_are_closed_when_they_were_idle_for_too_long() {
    let config = Config { upstream_idle_timeout: Span::millis(100), ..Config::default() };
    let (bench, server) = Bench::with(config, Manner::Good).await;
    ask(bench.at(), GET).await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    ask(bench.at(), GET).await.unwrap();
    assert_eq!(server.connections.load(Ordering::SeqCst), 2, "an old one is not used again");
    let closed = async {
        while server.open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), closed).await.is_ok(), "the sweep takes it");
}
