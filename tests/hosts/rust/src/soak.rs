//! What a long time of all kinds of runs does to the host's memory and files: prints a look at every tenth of the time.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate::health::{CheckSpec, ProbeSpec};
use tidegate::journal::Durability;
use tidegate::{Engine, EngineOptions, Pipeline, Reader};

use crate::look::{look, pipeline};

/// How many looks are taken.
const LOOKS: u32 = 10;
/// How many rounds are run at least, however slow the machine is.
const LEAST: u64 = 200;

fn quick() -> Pipeline {
    let mut pipeline = Pipeline::new("quick");
    let _ = pipeline.function("one", (), |_, ()| async { Ok::<_, String>(1) });
    pipeline
}

fn failing() -> Pipeline {
    let mut pipeline = Pipeline::new("failing");
    let _ = pipeline.function("fails", (), |_, ()| async { Err::<(), _>("on purpose".to_owned()) });
    pipeline
}

fn endless() -> Pipeline {
    let mut pipeline = Pipeline::new("endless");
    let _ = pipeline.shell("hangs", "sleep 600");
    pipeline
}

/// Twenty quick runs, one with a command, and one that fails; in one of ten rounds also one that is cancelled in the
/// middle, events that are not read to their end, a reader as another process would have, and a second engine on a second
/// journal.
async fn round(engine: &Engine, journal: &Path, number: u64) -> tidegate::Result<()> {
    let ended = engine.run(&pipeline()).start().await?;
    ended.outcome().await?.ok()?;
    let failed = engine.run(&failing()).start().await?;
    let _ = failed.outcome().await?;
    let mut gone = vec![ended.id().to_owned(), failed.id().to_owned()];
    for _ in 0..20 {
        let run = engine.run(&quick()).start().await?;
        run.outcome().await?.ok()?;
        gone.push(run.id().to_owned());
    }
    if number.is_multiple_of(10) {
        let run = engine.run(&endless()).start().await?;
        let mut events = run.events();
        let _ = events.next_batch(1).await;
        run.cancel("soak", "").await?;
        gone.push(run.id().to_owned());
        let _ = run.outcome().await?;
        let reader = Reader::open(journal)?;
        let _ = reader.runs(10)?;
        // A new one each time: an engine takes more memory to open a journal of more runs.
        let second = journal.with_extension("second");
        let _ = std::fs::create_dir(&second);
        let other = EngineOptions::new().durability(Durability::Relaxed).open(second.join("release.db")).await?;
        other.run(&pipeline()).await?.ok()?;
        other.close().await?;
        let _ = std::fs::remove_dir_all(&second);
        // A spec is checked and dropped.
        let _ = CheckSpec::new(ProbeSpec::tcp("127.0.0.1:1")).validate()?;
    }
    for run in gone {
        engine.prune(&run).await?;
    }
    Ok(())
}

async fn work(journal: &Path, time: Duration) -> tidegate::Result<Vec<Value>> {
    let engine = EngineOptions::new().durability(Durability::Relaxed).open(journal).await?;
    let (begun, mut looks, mut rounds) = (Instant::now(), Vec::new(), 0_u64);
    while looks.len() < LOOKS as usize {
        round(&engine, journal, rounds).await?;
        rounds += 1;
        let next = looks.len() as u32 + 1;
        if begun.elapsed() * LOOKS >= time * next && rounds * u64::from(LOOKS) >= LEAST * u64::from(next) {
            let now = look();
            let files = now["files"].as_array().map_or(0, Vec::len);
            looks.push(json!({ "rounds": rounds, "threads": now["threads"], "files": files, "rss": now["rss"] }));
        }
    }
    engine.close().await?;
    Ok(looks)
}

#[allow(clippy::print_stdout, reason = "it is what this program is for")]
pub(crate) fn main(journal: &Path, seconds: u64) -> ExitCode {
    match tidegate::block_on(work(journal, Duration::from_secs(seconds))) {
        Ok(looks) => {
            println!("{}", json!(looks));
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
