//! What an engine leaves in its host: prints the host's threads, open files and signal handlers before an engine was
//! opened, while it works, and after it was closed; then what many runs do to its memory and files. `tests/guest`
//! reads it, as it does what `guest.py` and `guest.mjs` print.

use std::path::Path;
use std::process::ExitCode;

use tidegate::{Engine, Pipeline};

/// One JSON object, as the other languages print it.
fn look() -> serde_json::Value {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").to_owned()
    };
    let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    serde_json::json!({
        "threads": field("Threads:").parse::<u64>().unwrap_or_default(),
        // Less the one that reads the folder.
        "files": files.saturating_sub(1),
        "handlers": field("SigCgt:"),
        "rss": field("VmRSS:").parse::<u64>().unwrap_or_default(),
        "cwd": std::env::current_dir().ok(),
        "environment": std::env::vars_os().count(),
    })
}

fn pipeline() -> Pipeline {
    let mut pipeline = Pipeline::new("guest");
    let hello = pipeline.shell("hello", "echo hello").text();
    let _ = pipeline.function("length", &hello, |_, text: String| async move { Ok::<_, String>(text.len()) });
    pipeline
}

async fn work(journal: &Path, runs: u32) -> tidegate::Result<Vec<serde_json::Value>> {
    let engine = Engine::open(journal).await?;
    let mut looks = Vec::new();
    for run in 0..runs {
        engine.run(&pipeline()).await?.ok()?;
        // The first runs fill caches.
        if run == 0 || run == runs / 2 || run + 1 == runs {
            looks.push(look());
        }
    }
    engine.close().await?;
    Ok(looks)
}

#[allow(clippy::print_stdout, reason = "it is what this program is for")]
fn main() -> ExitCode {
    let Some(journal) = std::env::args_os().nth(1) else { return ExitCode::from(2) };
    let Some(runs) = std::env::args().nth(2).and_then(|runs| runs.parse().ok()) else { return ExitCode::from(2) };
    let before = look();
    let working = match tidegate::block_on(work(Path::new(&journal), runs)) {
        Ok(working) => working,
        Err(error) => {
            println!("{error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", serde_json::json!({ "before": before, "working": working, "after": look() }));
    ExitCode::SUCCESS
}
