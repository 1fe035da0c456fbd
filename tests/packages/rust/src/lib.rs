//! A pipeline as a user's crate would hold it.
#![forbid(unsafe_code)]

use std::path::Path;

use tidegate::{Engine, Outcome, Pipeline, Result, StepRef};

/// Greets, and counts the letters; what ran is written to `ran`.
pub fn greeting(ran: &Path) -> (Pipeline, StepRef<usize>) {
    let mut pipeline = Pipeline::new("greeting");
    let hello = pipeline.shell("hello", format!("echo ran >> '{}'; echo hello", ran.display())).text();
    let length = pipeline.function("length", &hello, |_, text: String| async move { Ok::<_, String>(text.len()) });
    (pipeline, length)
}

/// Runs it once under its key, however often this is called.
///
/// # Errors
/// Those of the engine.
pub async fn run(journal: &Path, pipeline: &Pipeline) -> Result<Outcome> {
    let engine = Engine::open(journal).await?;
    let outcome = engine.run(pipeline).key("once").await?.ok()?;
    engine.close().await?;
    Ok(outcome)
}
