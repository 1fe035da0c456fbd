//! Commands that do nothing.

use std::time::Instant;

use tidegate::Pipeline;
use tidegate::engine::EngineOptions;
use tidegate::journal::Durability;

/// Microseconds a command, so many at once; output is captured, each has a process group of its own.
pub(crate) fn run(commands: usize, jobs: u32) -> crate::Outcome {
    let mut pipeline = Pipeline::new("bench").max_parallel(jobs);
    for i in 0..commands {
        let _ = pipeline.command(&format!("command-{i}"), ["/bin/true"]);
    }
    tokio::runtime::Runtime::new()?.block_on(async {
        let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
        let options = EngineOptions::new().durability(Durability::Relaxed);
        let engine = options.open(folder.path().join("journal.db")).await?;
        let started = Instant::now();
        engine.run(&pipeline).await?.ok()?;
        let took = started.elapsed();
        engine.close().await?;
        Ok(crate::each(took, commands))
    })
}
