//! A run whose program was killed, taken up by another.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use tidegate::engine::EngineOptions;
use tidegate::journal::Durability;
use tidegate::{Engine, Pipeline};
use tokio::sync::oneshot;

use crate::shape::Shape;
use crate::steps;

const JOURNAL: &str = "journal.db";

/// Layers of finished steps, and one more that says that it has begun and never ends.
fn pipeline(finished: usize, begun: impl Fn() + Send + Sync + 'static) -> Pipeline {
    let mut pipeline = steps::pipeline(&Shape::Layers.needs(finished));
    let mut last = pipeline.function("last", (), move |_, ()| {
        begun();
        std::future::pending::<Result<(), String>>()
    });
    for i in finished.saturating_sub(3)..finished {
        last = last.after_named(steps::name(i));
    }
    pipeline
}

/// Runs all but the last step, says so, and waits for its end.
pub(crate) fn run_until_killed(finished: usize, folder: &Path) -> crate::Outcome {
    tokio::runtime::Runtime::new()?.block_on(async {
        let engine = EngineOptions::new().durability(Durability::Relaxed).open(folder.join(JOURNAL)).await?;
        engine.run(&pipeline(finished, || println!("begun"))).key("run").await?;
        Err("the last step ended".into())
    })
}

/// Milliseconds from the opening of the journal to the start of the step that was cut off.
pub(crate) fn measure(finished: usize) -> crate::Outcome {
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["resume-cut", &finished.to_string()])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut said)?;
    }
    child.kill()?;
    child.wait()?;
    if said != "begun\n" {
        return Err(format!("the run that is to be cut off said {said:?}").into());
    }
    tokio::runtime::Runtime::new()?.block_on(async {
        let (begun, begins) = oneshot::channel();
        let begun = Mutex::new(Some(begun));
        let pipeline = pipeline(finished, move || {
            let begun = begun.lock().ok().and_then(|mut begun| begun.take());
            begun.map(|begun| begun.send(Instant::now()));
        });
        let started = Instant::now();
        let engine = Engine::open(folder.path().join(JOURNAL)).await?;
        let run = engine.run(&pipeline).key("run").start().await?;
        let took = begins.await?.duration_since(started);
        engine.cancel(run.id(), "bench", "").await?;
        engine.close().await?;
        Ok(took.as_secs_f64() * 1e3)
    })
}
