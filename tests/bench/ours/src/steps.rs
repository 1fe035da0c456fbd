//! Steps that do nothing, in memory and durable.

use std::error::Error;
use std::time::Instant;

use tidegate::engine::EngineOptions;
use tidegate::journal::Durability;
use tidegate::{Engine, Outcome, Pipeline};

use crate::shape::Shape;

/// A pipeline of functions that do nothing; as many run at once as there are.
pub(crate) fn pipeline(needs: &[Vec<usize>]) -> Pipeline {
    let mut pipeline = Pipeline::new("bench").max_parallel(u32::try_from(needs.len()).unwrap_or(u32::MAX));
    let names: Vec<String> = (0..needs.len()).map(name).collect();
    for (name, needs) in names.iter().zip(needs) {
        let mut step = pipeline.function(name, (), |_, ()| async { Ok::<_, String>(()) });
        for &need in needs {
            step = step.after_named(&names[need]);
        }
    }
    pipeline
}

pub(crate) fn name(step: usize) -> String {
    format!("step-{step}")
}

fn succeeded(outcome: Outcome) -> Result<(), Box<dyn Error>> {
    outcome.ok()?;
    Ok(())
}

/// Microseconds a step of one run in memory, all events kept.
pub(crate) fn memory(shape: Shape, steps: usize) -> crate::Outcome {
    let pipeline = pipeline(&shape.needs(steps));
    tokio::runtime::Runtime::new()?.block_on(async {
        let folder = tempfile::tempdir()?;
        let engine = EngineOptions::new().durability(Durability::Memory).open(folder.path().join("memory")).await?;
        let started = Instant::now();
        succeeded(engine.run(&pipeline).await?)?;
        let took = started.elapsed();
        engine.close().await?;
        Ok(crate::each(took, steps))
    })
}

/// Microseconds a step of chains that survive power loss, as many runs at once as said.
pub(crate) fn durable(steps: usize, runs: usize) -> crate::Outcome {
    let pipeline = pipeline(&Shape::Chain.needs(steps));
    tokio::runtime::Runtime::new()?.block_on(async {
        // Where the results are, not in a folder that may lie in memory.
        let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
        let engine = Engine::open(folder.path().join("journal.db")).await?;
        let started = Instant::now();
        let mut running = Vec::new();
        for run in 0..runs {
            running.push(engine.run(&pipeline).key(run.to_string()).start().await?);
        }
        for run in running {
            succeeded(run.outcome().await?)?;
        }
        let took = started.elapsed();
        engine.close().await?;
        Ok(crate::each(took, steps * runs))
    })
}
