//! The page of a run, as a browser gets it.

mod common;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{SHOP, Site, reason, release};
use serde_json::Value;
use tidegate::journal::Durability;
use tidegate::report::{Narrator, StepLog, page};
use tidegate::{EngineOptions, Judge, Pipeline, Reader, Status};

/// Every element that is opened is closed, in its order, and nothing is fetched or executed.
fn check(page: &str) {
    // The style is in there.
    let mut open = vec!["html", "head"];
    let mut rest = page.split_once("</style>").unwrap().1;
    while let Some((_, tag)) = rest.split_once('<') {
        let (tag, after) = tag.split_once('>').unwrap();
        rest = after;
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        assert!(!["script", "link", "img", "iframe", "object"].contains(&name), "<{tag}>");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "</{name}>");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("@import"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_what_steps_wrote_as_text() {
    let site = Site::new();
    let engine = site.open().await;
    let hostile = "<script>alert(1)</script>\"'&";
    let mut pipeline = Pipeline::new(hostile);
    let build = pipeline.shell("build <b>", "echo '<img src=x onerror=alert(1)>'; printf '\\033[31mred\\033[0m\\n'");
    let flaky = pipeline.shell("flaky", "test -e again || { touch again; echo first; exit 1; }; echo second");
    let flaky = flaky.dir(site.path().display().to_string()).attempts(2).after(&build);
    let _ = pipeline.shell("fails", "echo '</pre><h1>owned'; exit 3").after(&flaky);
    let _ = pipeline.shell("skipped", "true").after_named("fails");
    let _ = pipeline.shell("tidy", "true").cleanup();
    let outcome = engine.run(&pipeline).key(hostile).await.unwrap();
    assert_eq!(outcome.status, Status::Failed);
    let text = Reader::open(&site.journal()).unwrap().report(&outcome.run).unwrap();
    engine.close().await.unwrap();
    check(&text);
    for wanted in [
        "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;",
        "<p class=\"why\">fails: exited with code 3</p>",
        "<pre>&lt;img src=x onerror=alert(1)&gt;\nred\n</pre>",
        "&lt;/pre&gt;&lt;h1&gt;owned",
        "Attempt 1: failed after",
        "<pre>second\n</pre>",
        "title=\"attempt 1: failed after",
        "class=\"row critical\"",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    // What the cleanup waited for, too.
    assert_eq!(text.matches("class=\"row critical\"").count(), 4, "{text}");
}

/// The least that the new version takes for an answer.
const SLOW: Duration = Duration::from_millis(50);

/// What one client measured, by the version that answered: how often, and the longest.
type Measured = BTreeMap<String, (u64, Duration)>;

/// A client, with what it measured, until it is to end: after a whole request, so that none is counted that it did not
/// measure.
async fn client(site: &Site, measured: &Mutex<Measured>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let version = site.get().await;
        let took = began.elapsed();
        let mut measured = measured.lock().unwrap();
        let (count, longest) = measured.entry(version).or_default();
        *count += 1;
        *longest = took.max(*longest);
    }
}

/// Holds the quantiles of every judged window against what was measured outside: a proxy sees less of a request than
/// its client, and no less than the server's sleep.
fn fits(events: &[Value], measured: &Measured) {
    let mut windows = 0;
    for window in events.iter().map(|event| &event["event"]).filter(|event| event["kind"] == "window_judged") {
        for (side, version) in [("canary", "v2"), ("stable", "v1")] {
            let (told, requests) = (&window["latency"][side], window["counts"][side]["requests"].as_u64().unwrap());
            assert_eq!(told.is_object(), requests > 0, "{window}");
            if requests == 0 {
                continue;
            }
            windows += u64::from(side == "canary");
            let quantiles = ["p50", "p95", "p99"].map(|quantile| told[quantile].as_u64().unwrap());
            let longest = u64::try_from(measured[version].1.as_micros()).unwrap();
            assert!(quantiles.is_sorted() && quantiles[2] <= longest + longest / 100, "{window} and {measured:?}");
            assert!(version != "v2" || quantiles[0] >= u64::try_from(SLOW.as_micros()).unwrap(), "{window}");
        }
    }
    assert!(windows > 0, "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_rollout_shows_its_weights_latencies_and_evidence_and_why_it_ended() {
    let site = Site::new();
    let engine = site.open().await;
    site.ship_stable(&engine, "v1").await;
    let judge = Judge::errors().windows("200ms", "0s").warmup("0s");
    let canary = site.canary("60s").judge(judge);
    let sleeps = format!("        import time; time.sleep({})\n        body =", SLOW.as_secs_f64());
    let slow = release("v2", &SHOP.replacen("        body =", &sleeps, 1));
    let run = engine.run(&site.ship(canary, slow)).key("v2").start().await.unwrap();
    common::wait_for_gate(&run, "analysis").await;
    let (measured, over) = (Mutex::new(Measured::new()), AtomicBool::new(false));
    let judged = async {
        // Of some windows each side has requests.
        let both = |event: &Value| {
            let counts = &event["event"]["counts"];
            event["event"]["kind"] == "window_judged"
                && counts["canary"]["requests"] != 0
                && counts["stable"]["requests"] != 0
        };
        common::wait_for(&run, "a window with requests of both", both).await;
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(client(&site, &measured, &over), client(&site, &measured, &over), judged);
    let show = ["-j", &site.journal().display().to_string(), "show", "v2"].map(str::to_owned);
    let shown = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate")).args(show).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("; in the last window p99 of v2 "), "{shown}");
    run.send(tidegate::Command::Abort { step: "ship".into(), by: "ann".into(), reason: "<enough>".into() })
        .await
        .unwrap();
    let outcome = run.outcome().await.unwrap();
    let text = Reader::open(&site.journal()).unwrap().report(run.id()).unwrap();
    let mut events = run.events();
    let (mut all, mut lines, mut narrator) = (Vec::new(), Vec::new(), Narrator::new());
    loop {
        let batch = events.next_batch(1_000).await;
        if batch.is_empty() {
            break;
        }
        lines.extend(batch.iter().flat_map(|event| narrator.lines(event)));
        all.extend(batch.iter().map(|event| serde_json::from_str::<Value>(event).unwrap()));
    }
    engine.close().await.unwrap();
    fits(&all, &measured.into_inner().unwrap());
    assert!(lines.iter().any(|line| line.contains("; p99 of v2 ") && line.contains(", of v1 ")), "{lines:?}");
    check(&text);
    let why = reason(&outcome, "ship").replace('<', "&lt;").replace('>', "&gt;");
    assert!(text.contains(&why), "the same sentence as in the outcome: {why}");
    for wanted in [
        "<h2>Rollout ship: v2 over v1</h2>",
        "Weights",
        "Requests in a window",
        "Errors",
        "line class=\"bound\"",
        "Latency p50",
        "Latency p95",
        "Latency p99",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    for (class, charts) in [("new", 7), ("old", 6)] {
        let lines = text.matches(&format!("<path class=\"{class}\" d=\"M")).count();
        assert!(text.contains("50 %") && lines == charts, "{lines} lines of {class}: {text}");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_ten_thousand_steps_stays_small() {
    let mut pipeline = Pipeline::new("wide");
    for i in 0..10_000 {
        let step = pipeline.function(&format!("step-with-a-name-{i}"), (), |_, ()| async { Ok::<_, String>(()) });
        let _ = if i == 7_000 { step.attempts(1) } else { step };
    }
    let _ = pipeline.function("breaks", (), |_, ()| async { Err::<(), _>("on purpose") });
    let site = Site::new();
    let engine = EngineOptions::new().durability(Durability::Memory).open(site.journal()).await.unwrap();
    let run = engine.run(&pipeline).start().await.unwrap();
    let mut events = run.events();
    let mut all = Vec::new();
    loop {
        let batch = events.next_batch(1_000).await;
        if batch.is_empty() {
            break;
        }
        all.extend(batch);
    }
    let log = StepLog { step: "breaks".into(), attempt: 1, text: "its log\n".into(), left_out: 5 };
    let text = page(&all, &[log]);
    engine.close().await.unwrap();
    check(&text);
    assert!(text.len() < 300_000, "{}", text.len());
    for wanted in [
        "breaks: on purpose",
        "300 of 10001 steps",
        "500 of 10001 steps",
        "its log",
        "The 5 bytes before are left out.",
    ] {
        assert!(text.contains(wanted), "{wanted}");
    }
}

#[test]
fn a_page_of_nothing_says_so() {
    let text = page(["", "no JSON", "{\"kind\":\"unheard_of\"}"], &[]);
    check(&text);
    assert!(text.contains("The run has not begun."));
}
