//! What an engine leaves in the program that embeds it. One test: it counts what the whole process has.

#![cfg(target_os = "linux")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::until;
use tidegate::{Engine, Kind, Pipeline};

/// What is the host's own.
#[derive(Debug, PartialEq)]
struct Host {
    files: Vec<String>,
    threads: usize,
    signals: Vec<u64>,
    folder: std::path::PathBuf,
    environment: BTreeMap<String, String>,
    logger: bool,
}

fn look() -> Host {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open = open.filter_map(|file| std::fs::read_link(file.path()).ok());
    // Less the folder that is read for it.
    let mut files: Vec<_> = open.map(|file| file.display().to_string()).filter(|file| !file.ends_with("/fd")).collect();
    files.sort();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kinds = ["SigBlk:", "SigIgn:", "SigCgt:"];
    // Without the C library's own two.
    let own = |line: &str| u64::from_str_radix(&line[8..], 16).unwrap() & !(1 << 31 | 1 << 32);
    Host {
        files,
        threads: std::fs::read_dir("/proc/self/task").unwrap().count(),
        signals: status.lines().filter(|line| kinds.iter().any(|kind| line.starts_with(kind))).map(own).collect(),
        folder: std::env::current_dir().unwrap(),
        environment: std::env::vars().collect(),
        logger: tracing::dispatcher::has_been_set(),
    }
}

static PANICS: AtomicU32 = AtomicU32::new(0);

async fn embed(journal: &Path) -> (tidegate::Run, tidegate::Events) {
    let engine = Engine::open(journal).await.unwrap();
    let mut p = Pipeline::new("p");
    let hello = p.shell("hello", "echo hello").text();
    let _ = p.function("length", &hello, |_, text: String| async move { Ok::<_, String>(text.len()) });
    let run = engine.run(&p).start().await.unwrap();
    assert!(run.outcome().await.unwrap().succeeded());
    assert!(engine.verify().await.unwrap().is_sound());

    let mut panics = Pipeline::new("panics");
    let _ = panics.function("panics", (), |_, ()| async { panic!("in a step") as Result<(), String> });
    assert_eq!(engine.run(&panics).await.unwrap().ok().unwrap_err().kind(), Kind::Failed);

    // Cut off by the close.
    let mut hangs = Pipeline::new("hangs");
    let _ = hangs.shell("hangs", "sleep 600");
    let _ = engine.run(&hangs).start().await.unwrap();
    let events = run.events();
    engine.close().await.unwrap();
    (run, events)
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a hook of the host's own, to see that it stays")]
fn nothing_of_the_hosts_is_touched_and_nothing_is_left() {
    std::panic::set_hook(Box::new(|_| {
        PANICS.fetch_add(1, Ordering::SeqCst);
    }));
    let dir = tempfile::tempdir().unwrap();
    // The host's, of one thread, on which steps run.
    let host = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let before = look();
    // Held on to, they hold nothing of the system's.
    let (run, events) = host.block_on(embed(&dir.path().join("release.db")));
    assert_eq!(host.metrics().num_alive_tasks(), 0, "tasks in the host's runtime");
    assert_eq!(PANICS.load(Ordering::SeqCst), 1, "the host's hook is told of the panic in the step");
    // Threads of the host's runtime for blocking work, on which a look at the journal ran, end by themselves.
    host.shutdown_timeout(Duration::from_secs(60));
    let host = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    host.block_on(until("threads end", async || look().threads == before.threads));
    assert_eq!(look(), before);
    drop((run, events));
    let _ = std::panic::take_hook();
}
