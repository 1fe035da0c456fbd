use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::harness::{Bench, CHUNKED, GET, Load, Manner, POST, Server, ask, connect, exchange};
use super::{Config, Proxy};
use crate::error::Kind;
use crate::time::{SystemClock, Time};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_close_idle_connections_cost_no_request() {
    let bench = Bench::new(Config::default()).await;
    let servers = [
        Server::start("a", Manner::CloseAfter(1)).await,
        Server::start("a", Manner::CloseAfter(7)).await,
        Server::start("b", Manner::CloseAfter(3)).await,
    ];
    for (i, (server, version)) in servers.iter().zip(["a", "a", "b"]).enumerate() {
        bench.add(&i.to_string(), version, server);
    }
    bench.route(0, &[("a", 5_000), ("b", 5_000)]);
    let load = Load { requests: 2_000, every: Duration::from_micros(700), only_get: false };
    let load = tokio::spawn(load.run(bench.at()));
    // 200 changes of weights meanwhile.
    for epoch in 1..=200 {
        let share = [500, 2_500, 5_000, 7_500, 9_500][epoch as usize % 5];
        bench.route(epoch, &[("a", share), ("b", 10_000 - share)]);
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    let report = load.await.unwrap();
    assert!(report.lost.is_empty(), "{} lost, such as {}", report.lost.len(), report.lost[0]);
    assert_eq!(report.by_version.values().sum::<u64>(), 2_000);

    let (total, windows) = bench.counted(2_000).await;
    for (version, seen) in &report.by_version {
        assert_eq!(total[version].requests, *seen, "{version}: what clients saw is what was counted");
        assert_eq!((total[version].errors, total[version].abandoned), (0, 0));
    }
    // Windows of equal weights together: one degree of freedom each; 36 is exceeded once in a million runs.
    let mut groups: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for window in &windows {
        let group = groups.entry(window.weights["a"]).or_default();
        group.0 += window.counts["a"].requests as f64;
        group.1 += window.counts.values().map(|counts| counts.requests as f64).sum::<f64>();
    }
    let squares: f64 = groups
        .iter()
        .map(|(share, (seen, n))| {
            let p = f64::from(*share) / 10_000.0;
            (seen - n * p).powi(2) / (n * p * (1.0 - p))
        })
        .sum();
    assert_eq!(groups.len(), 5);
    assert!(squares < 36.0, "{squares}: {groups:?}");
    assert!(windows.windows(2).all(|pair| pair[0].number + 1 == pair[1].number && pair[0].to <= pair[1].from));
}
