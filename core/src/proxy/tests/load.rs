use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::proxy::Config;
use crate::proxy::harness::{Bench, GET, Load, Manner, Server, connect, exchange};
use crate::time::Span;

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
    // 200 changes of weights meanwhile, and instances are made known anew: to the proxy these are others, of whose
    // connections it thinks no evil yet.
    for epoch in 1..=200 {
        let share = [500, 2_500, 5_000, 7_500, 9_500][epoch as usize % 5];
        bench.route(epoch, &[("a", share), ("b", 10_000 - share)]);
        if epoch % 10 == 0 {
            for (i, (server, version)) in servers.iter().zip(["a", "a", "b"]).enumerate() {
                bench.add(&format!("{i}-{epoch}"), version, server);
                bench.proxy.remove(&if epoch == 10 { i.to_string() } else { format!("{i}-{}", epoch - 10) });
            }
        }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_hold_for_the_very_next_request_of_a_kept_connection() {
    let bench = Bench::new(Config::default()).await;
    let (a, b) = (Server::start("a", Manner::Good).await, Server::start("b", Manner::Good).await);
    bench.add("1", "a", &a);
    bench.add("2", "b", &b);
    let mut stream = connect(bench.at()).await;
    for epoch in 1..=100 {
        let to = if epoch % 2 == 0 { "a" } else { "b" };
        bench.route(epoch, &[("a", if to == "a" { 10_000 } else { 0 }), ("b", if to == "b" { 10_000 } else { 0 })]);
        assert_eq!(exchange(&mut stream, GET).await.unwrap().text(), to);
    }
    let (_, windows) = bench.counted(100).await;
    assert!(windows.iter().all(|window| {
        let (a, b) = (window.counts["a"].requests, window.counts["b"].requests);
        if window.epoch % 2 == 0 { a == 1 && b == 0 } else { a == 0 && b == 1 }
    }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_die_and_come_under_load_and_no_request_is_lost() {
    let bench = Bench::new(Config::default()).await;
    let steady = Server::start("v", Manner::Good).await;
    bench.add("steady", "v", &steady);
    bench.route(1, &[("v", 10_000)]);
    let load = Load { requests: 1_500, every: Duration::from_millis(1), only_get: true };
    let load = tokio::spawn(load.run(bench.at()));
    let mut died = 0;
    while !load.is_finished() {
        let id = format!("mortal-{died}");
        let mortal = Server::start("v", Manner::Slow(Duration::from_millis(5))).await;
        bench.add(&id, "v", &mortal);
        while mortal.requests.load(Ordering::SeqCst) < 10 && !load.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // It dies with requests under way; the proxy is told a while later.
        drop(mortal);
        tokio::time::sleep(Duration::from_millis(20)).await;
        bench.proxy.remove(&id);
        died += 1;
    }
    assert!(died > 3, "{died}");
    let report = load.await.unwrap();
    assert!(report.lost.is_empty(), "{} lost, such as {}", report.lost.len(), report.lost[0]);
    let (total, _) = bench.counted(1_500).await;
    let stats = bench.proxy.stats().versions["v"].clone();
    assert_eq!((total["v"].requests, stats.errors), (1_500, 0));
    assert!(total["v"].errors > 0 && total["v"].errors <= stats.retries, "{total:?}: some were sent again");
    assert_eq!(total["v"].errors, stats.blamed, "deaths are the version's fault");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drains_under_load_lose_nothing() {
    let bench = Bench::new(Config::default()).await;
    let servers = [
        Server::start("v", Manner::Slow(Duration::from_millis(10))).await,
        Server::start("v", Manner::Slow(Duration::from_millis(10))).await,
    ];
    bench.add("0", "v", &servers[0]);
    bench.add("1", "v", &servers[1]);
    bench.route(1, &[("v", 10_000)]);
    let load = Load { requests: 1_000, every: Duration::from_millis(1), only_get: false };
    let load = tokio::spawn(load.run(bench.at()));
    for round in 0..20_usize {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let id = (round % 2).to_string();
        let drained = bench.proxy.drain(&id, Span::seconds(10)).await;
        assert_eq!((drained.requests_cut, drained.tunnels_cut), (0, 0));
        assert!(!bench.proxy.stats().instances.contains_key(&id));
        bench.add(&id, "v", &servers[round % 2]);
    }
    let report = load.await.unwrap();
    assert!(report.lost.is_empty(), "{} lost, such as {}", report.lost.len(), report.lost[0]);
}
