//! A user's program that is killed again and again: `driver FOLDER KEY` runs a pipeline, `driver FOLDER KEY ADDRESS`
//! also builds, tests and ships the version KEY of a service. It says each event that it observes on standard output, one
//! line each.
#![forbid(unsafe_code)]

mod operator;
mod pipeline;
mod shop;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use tidegate::{Engine, Error, Kind, Result, Run, Status};

fn main() -> ExitCode {
    if let Some(code) = tidegate::supervise_if_asked() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, key, address) = match arguments.as_slice() {
        [folder, key] => (folder, key, None),
        [folder, key, address] => (folder, key, Some(address.as_str())),
        _ => return ExitCode::from(2),
    };
    let done = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::new(Kind::Io, "no runtime").because(error))
        .and_then(|runtime| runtime.block_on(drive(folder.into(), key, address)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("driver: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn drive(folder: PathBuf, key: &str, address: Option<&str>) -> Result<()> {
    let journal = folder.join("release.db");
    let engine = Engine::open(&journal).await?;
    // A pipeline is built where it is used: it can't cross an await of a runtime of many threads.
    let start = engine.run(&pipeline::release(&folder, key, address)?).key(key);
    let run = start.start().await?;
    loop {
        acknowledge(&run).await?;
        let outcome = run.outcome().await?;
        if outcome.status == Status::Asking {
            operator::answer(&run, &outcome, &journal, &folder, key).await?;
            continue;
        }
        let text = serde_json::to_string(&outcome)
            .map_err(|error| Error::new(Kind::Internal, "the outcome is no JSON").because(error))?;
        say(&format!("{{\"outcome\":{text}}}"))?;
        return engine.close().await;
    }
}

/// Hands on every durable event until the run has ended or asks.
async fn acknowledge(run: &Run) -> Result<()> {
    let mut events = run.events();
    loop {
        let batch = events.next_batch(64).await;
        if batch.is_empty() {
            return Ok(());
        }
        for event in batch.iter().filter(|event| event.starts_with("{\"seq\"")) {
            say(event)?;
        }
    }
}

/// One line in one write, so that a kill leaves whole lines but perhaps for the last.
fn say(line: &str) -> Result<()> {
    std::io::stdout()
        .lock()
        .write_all(format!("{line}\n").as_bytes())
        .map_err(|error| Error::new(Kind::Io, "nobody listens").because(error))
}
