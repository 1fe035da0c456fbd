//! What an engine leaves in its host: prints the host's threads, files and what else is its own before an engine was
//! opened, while it works, and after it was closed.

use std::panic;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate::{Engine, Kind, Pipeline};

use crate::allocator::allocated;

/// How long threads that have done all they had to may take to be gone.
const END_WITHIN: Duration = Duration::from_secs(2);

/// How often the host's panic hook was called.
static PANICS: AtomicU32 = AtomicU32::new(0);

/// One look, as the other languages print it. `host` must never change.
pub(crate) fn look() -> Value {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").to_owned()
    };
    json!({
        "threads": field("Threads:").parse::<u64>().unwrap_or_default(),
        "files": files(),
        "rss": field("VmRSS:").parse::<u64>().unwrap_or_default(),
        "host": {
            "signals": format!("{} {} {}", caught(&field("SigCgt:")), field("SigIgn:"), field("SigBlk:")),
            "working directory": std::env::current_dir().ok(),
            "environment": std::env::vars().collect::<std::collections::BTreeMap<_, _>>(),
            "umask": field("Umask:"),
            "logger": tracing::dispatcher::has_been_set(),
        },
    })
}

/// What the open files are, less the folder that is read for it.
fn files() -> Vec<String> {
    let Ok(folder) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let open = folder.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
    open.map(|file| file.display().to_string()).filter(|file| !file.ends_with("/fd")).collect()
}

/// The signals that are caught, without the C library's own two.
fn caught(mask: &str) -> String {
    let mask = u64::from_str_radix(mask, 16).unwrap_or_default();
    format!("{:x}", mask & !((1 << 31) | (1 << 32)))
}

/// Whether the host's own hook is what a panic calls.
fn hooked() -> bool {
    let before = PANICS.load(Ordering::SeqCst);
    let _ = panic::catch_unwind(|| panic!("to see who is told"));
    PANICS.load(Ordering::SeqCst) == before + 1
}

/// The last look, once it shows no more than the first, or when the time is up.
pub(crate) fn last_look(before: &Value) -> Value {
    let begun = Instant::now();
    loop {
        let now = look();
        if now["threads"] == before["threads"] || begun.elapsed() > END_WITHIN {
            return now;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

pub(crate) fn pipeline() -> Pipeline {
    let mut pipeline = Pipeline::new("guest");
    let hello = pipeline.shell("hello", "echo hello").text();
    let _ = pipeline.function("length", &hello, |_, text: String| async move { Ok::<_, String>(text.len()) });
    pipeline
}

/// Runs, and looks at the first, the middle and the last; and how many tasks the engine left in the host's runtime.
async fn work(journal: &Path, runs: u32) -> tidegate::Result<(Vec<Value>, usize)> {
    let tasks = tokio::runtime::Handle::current().metrics();
    let before = tasks.num_alive_tasks();
    let engine = Engine::open(journal).await?;
    let mut looks = Vec::new();
    for run in 0..runs {
        engine.run(&pipeline()).await?.ok()?;
        if run == 0 || run == runs / 2 || run + 1 == runs {
            looks.push(look());
        }
    }
    let mut panics = Pipeline::new("panics");
    let _ = panics.function("panics", (), |_, ()| async { panic!("in a step") as Result<(), String> });
    let failed = engine.run(&panics).await?.ok().map_err(|error| error.kind());
    assert_eq!(failed.err(), Some(Kind::Failed), "a panic fails its step");
    engine.close().await?;
    Ok((looks, tasks.num_alive_tasks() - before))
}

#[allow(clippy::print_stdout, clippy::disallowed_methods, reason = "it is what this program is for")]
pub(crate) fn main(journal: &Path, runs: u32) -> ExitCode {
    panic::set_hook(Box::new(|_| {
        PANICS.fetch_add(1, Ordering::SeqCst);
    }));
    let before = look();
    let asked = allocated();
    // A runtime of the host's own, of one thread.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return ExitCode::FAILURE,
    };
    let (working, tasks) = match runtime.block_on(work(journal, runs)) {
        Ok(worked) => worked,
        Err(error) => {
            println!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let own = json!({
        "runtime: tasks left in it": tasks,
        "panic hook": i32::from(!hooked()),
        "allocator": i32::from(allocated() == asked),
    });
    drop(runtime);
    let after = last_look(&before);
    println!("{}", json!({ "before": before, "working": working, "after": after, "own": own }));
    ExitCode::SUCCESS
}
