//! The page of a run, as a browser gets it.

mod common;

use common::{Site, reason, shop};
use tidegate::journal::Durability;
use tidegate::report::{StepLog, page};
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
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_rollout_shows_its_weights_and_evidence_and_why_it_ended() {
    let site = Site::new();
    let engine = site.open().await;
    site.ship_stable(&engine, "v1").await;
    let judge = Judge::errors().windows("200ms", "0s").warmup("0s");
    let canary = site.canary("60s").judge(judge);
    let run = engine.run(&site.ship(canary, shop("v2"))).key("v2").start().await.unwrap();
    common::wait_for_gate(&run, "analysis").await;
    let load = async {
        loop {
            site.get().await;
        }
    };
    let judged = common::wait_for_rollout(&run, "window_judged");
    tokio::select! {
        () = load => {}
        _ = judged => {}
    }
    run.send(tidegate::Command::Abort { step: "ship".into(), by: "ann".into(), reason: "<enough>".into() })
        .await
        .unwrap();
    let outcome = run.outcome().await.unwrap();
    let text = Reader::open(&site.journal()).unwrap().report(run.id()).unwrap();
    engine.close().await.unwrap();
    check(&text);
    let why = reason(&outcome, "ship").replace('<', "&lt;").replace('>', "&gt;");
    assert!(text.contains(&why), "the same sentence as in the outcome: {why}");
    for wanted in
        ["<h2>Rollout ship: v2 over v1</h2>", "Weights", "Requests in a window", "Errors", "line class=\"bound\""]
    {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    assert!(text.contains("50 %") && text.matches("<path class=\"new\" d=\"M").count() == 4, "{text}");
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
