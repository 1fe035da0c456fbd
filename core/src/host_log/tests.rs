use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::with_default;

use super::{LogLine, LogQueue, PARTS};

fn queue(level: LevelFilter) -> (LogQueue, Arc<AtomicU32>) {
    let woken = Arc::new(AtomicU32::new(0));
    let wakes = Arc::clone(&woken);
    let queue = LogQueue::new(move || {
        wakes.fetch_add(1, Ordering::Relaxed);
    });
    queue.set_levels(|_| level);
    (queue, woken)
}

fn messages(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| line.message.as_str()).collect()
}

#[test]
fn a_line_has_its_fields_as_they_are() {
    let (queue, woken) = queue(LevelFilter::TRACE);
    with_default(queue.clone(), || {
        let none: Option<&str> = None;
        tracing::warn!(target: "tidegate::engine::driver", step = "a", none, n = 3_u32, ok = true, "it {}", "failed");
        tracing::debug!(target: "tidegate::new", "elsewhere");
        tracing::error!(target: "tidegates", "of another crate");
    });
    let lines = queue.take();
    assert_eq!(messages(&lines), ["it failed", "elsewhere"]);
    assert_eq!((lines[0].level, lines[0].target.as_str()), ("warn", "tidegate.engine"));
    assert_eq!((lines[1].level, lines[1].target.as_str()), ("debug", "tidegate"));
    let json = serde_json::to_value(&lines[0]).unwrap();
    assert_eq!(json["fields"], serde_json::json!({ "step": "a", "n": 3, "ok": true }));
    assert_eq!(lines[0].fields.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["step", "n", "ok"]);
    assert!(json["time"].as_i64().unwrap() > 1_700_000_000_000);
    assert_eq!(woken.load(Ordering::Relaxed), 1, "once for both");
    assert!(queue.take().is_empty());
}

#[test]
fn each_part_has_a_level_of_its_own_that_can_change() {
    let (queue, _) = queue(LevelFilter::OFF);
    let say = || {
        with_default(queue.clone(), || {
            tracing::debug!(target: "tidegate::engine", "engine");
            tracing::debug!(target: "tidegate::journal::sqlite", "journal");
            tracing::error!(target: "tidegate::journal::sqlite", "trouble");
        });
        messages(&queue.take()).join(" ")
    };
    assert_eq!(say(), "");
    queue.set_levels(|part| if part == "tidegate.engine" { LevelFilter::DEBUG } else { LevelFilter::WARN });
    assert_eq!(say(), "engine trouble");
    queue.set_levels(|_| LevelFilter::OFF);
    assert_eq!(say(), "");
}

#[test]
fn what_does_not_fit_is_counted_and_told_behind_what_did() {
    let (queue, _) = queue(LevelFilter::INFO);
    with_default(queue.clone(), || {
        (0..1_030).for_each(|n| tracing::info!(target: "tidegate", n, "line"));
    });
    let lines = queue.take();
    assert_eq!(lines.len(), 1_025);
    assert_eq!(lines[1_023].fields, [("n", 1_023.into())]);
    assert_eq!((lines[1_024].level, lines[1_024].message.as_str()), ("warn", "6 log lines were dropped"));
    assert!(queue.take().is_empty(), "told once");
}

#[test]
fn a_line_is_of_a_bounded_size() {
    let (queue, _) = queue(LevelFilter::INFO);
    let long = "\u{20ac}".repeat(100_000);
    with_default(queue.clone(), || {
        let (a, b, c, d, e) = (&*long, &*long, &*long, &*long, &*long);
        tracing::info!(target: "tidegate", a, b, c, ?d, %e, "{long}");
    });
    let line = queue.take().remove(0);
    let size = serde_json::to_string(&line).unwrap().len();
    assert!(size < 18_000, "{size}");
    assert!(line.message.ends_with("bytes left out)"), "{}", line.message);
    let kept = line.message.chars().filter(|c| *c == '\u{20ac}').count();
    assert!(line.message.contains(&format!("({} bytes left out)", 300_000 - 3 * kept)));
}

#[test]
fn every_part_that_says_something_is_named() {
    fn walk(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if std::fs::read_to_string(&path).is_ok_and(|text| text.contains("tracing::")) {
                found.push(path);
            }
        }
    }
    let src = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&src, &mut found);
    assert!(found.len() > 5, "{found:?}");
    for path in found {
        let part = path.strip_prefix(&src).unwrap().iter().next().unwrap().to_str().unwrap();
        assert!(part == "host_log" || PARTS.contains(&&*format!("tidegate.{part}")), "{path:?} says something");
    }
}
