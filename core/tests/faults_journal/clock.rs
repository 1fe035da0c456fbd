//! The wall clock of the machine is set by an hour, while a program runs and between two. Each life is a process of its own
//! whose wall clock libfaketime sets; its monotonic clock goes on as ever.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidegate::Pipeline;
use tidegate::journal::{Reader, StreamId};
use tidegate::pipeline::{Jitter, RetrySpec};

use crate::common::{LONG, Site};

const HOUR: i64 = 3_600_000;

/// A step that is waited for until a file is there, then a retry, a time-out that comes and one that does not.
fn pipeline(dir: &Path) -> Pipeline {
    let mut p = Pipeline::new("clock");
    let (go, failed) = (dir.join("go"), dir.join("failed"));
    let (touch, wait) = (failed.display().to_string(), go.display().to_string());
    let work = p.shell("work", format!("while [ ! -e '{wait}' ]; do sleep 0.05; done; sleep 1")).timeout("40m");
    let retry =
        RetrySpec { attempts: 2, initial: Some("2s".into()), factor: Some(1.0), cap: None, jitter: Some(Jitter::None) };
    let _ = p.shell("retried", format!("[ -e '{touch}' ] || {{ touch '{touch}'; exit 1; }}")).retry(retry).after(&work);
    let _ = p.shell("hangs", "sleep 600").timeout("2s").allow_failure().after(&work);
    p
}

/// Drives the run `TIDEGATE_TEST_CLOCK` names to its end.
#[tokio::test]
async fn lives() {
    let Ok(dir) = std::env::var("TIDEGATE_TEST_CLOCK") else { return };
    let site = Site::at(Path::new(&dir), 0);
    let engine = site.open().await;
    let run = engine.run(&pipeline(site.path())).key("k").start().await.unwrap();
    #[allow(clippy::print_stdout, reason = "the other process waits for it")]
    {
        println!("the run is under way");
    }
    let outcome = run.outcome().await.unwrap();
    assert!(outcome.succeeded(), "{outcome:?}");
    engine.close().await.unwrap();
}

/// Begins a life, whose clock is off by what the file `clock` says, which may change.
fn begin(site: &Site, offset: &str) -> Child {
    set(site, offset);
    let mut life = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "clock::lives", "--nocapture"])
        .env("TIDEGATE_TEST_CLOCK", site.path())
        .env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_TIMESTAMP_FILE", site.file("clock"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(life.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("the run is under way")));
    // What it says on the way must find a reader.
    std::thread::spawn(move || lines.for_each(drop));
    life
}

fn set(site: &Site, offset: &str) {
    std::fs::write(site.file("clock.new"), format!("{offset}\n")).unwrap();
    std::fs::rename(site.file("clock.new"), site.file("clock")).unwrap();
}

async fn end(mut life: Child) {
    let late = Instant::now() + LONG;
    loop {
        if let Some(status) = life.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return;
        }
        assert!(Instant::now() < late, "it hangs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The run's events, with their times: none is before another.
fn events(site: &Site) -> Vec<(i64, serde_json::Value)> {
    let mut reader = Reader::open(&site.journal()).unwrap();
    assert!(reader.verify().unwrap().is_sound());
    let run: StreamId = reader.find_run("clock", "k").unwrap().unwrap();
    let events: Vec<_> = reader.read(&run, 0, 1_000).unwrap();
    let events: Vec<_> = events.iter().map(|e| (e.at.0, serde_json::from_slice(&e.body).unwrap())).collect();
    assert!(events.is_sorted_by_key(|(at, _)| *at), "{events:?}");
    events
}

/// When the last event of a kind and a step was.
fn last(events: &[(i64, serde_json::Value)], kind: &str, step: &str) -> i64 {
    events.iter().rfind(|(_, e)| e["kind"] == kind && e["step"] == step).expect(kind).0
}

/// What a time-out and a retry of two seconds are told to have taken is what they took.
fn check_waits(events: &[(i64, serde_json::Value)], real: Duration) {
    let real = i64::try_from(real.as_millis()).unwrap();
    let timed_out = last(events, "step_stopping", "hangs") - last(events, "step_started", "hangs");
    let retried = last(events, "step_started", "retried") - last(events, "step_retrying", "retried");
    for took in [timed_out, retried] {
        assert!(took >= 2_000 && took <= real + 100, "{took} ms of {real}");
    }
}

#[tokio::test]
async fn the_clock_set_back_and_ahead_by_an_hour_between_two_lives() {
    for (offset, moved) in [("-1h", 0), ("+1h", HOUR)] {
        let site = Site::new();
        let mut first = begin(&site, "+0");
        first.kill().unwrap();
        first.wait().unwrap();
        let before = events(&site).last().unwrap().0;
        let begun = Instant::now();
        let second = begin(&site, offset);
        std::fs::write(site.file("go"), "").unwrap();
        end(second).await;
        let real = begun.elapsed();
        let events = events(&site);
        check_waits(&events, real);
        // Set back, time goes on from the last that was recorded; set ahead, the pause looks as long as that.
        let passed = events.last().unwrap().0 - before - moved;
        let most = i64::try_from((real + Duration::from_secs(60)).as_millis()).unwrap();
        assert!((2_000..most).contains(&passed), "{offset}: {passed} ms");
        // The attempt that ran after the pause had its 40 minutes for itself.
        assert!(events.iter().all(|(_, e)| e["kind"] != "step_stopping" || e["step"] == "hangs"), "{events:?}");
        site.end().await;
    }
}

#[tokio::test]
async fn the_clock_set_back_and_ahead_by_an_hour_while_an_engine_runs() {
    let site = Site::new();
    let begun = Instant::now();
    let life = begin(&site, "+0");
    for offset in ["+1h", "-1h", "+1h"] {
        set(&site, offset);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    std::fs::write(site.file("go"), "").unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    set(&site, "-1h");
    end(life).await;
    let real = begun.elapsed();
    let events = events(&site);
    check_waits(&events, real);
    let passed = events.last().unwrap().0 - events[0].0;
    assert!((3_000..i64::try_from(real.as_millis()).unwrap() + 100).contains(&passed), "{passed} ms of {real:?}");
    site.end().await;
}
