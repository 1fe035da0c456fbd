//! A run as it happens.

use std::time::Duration;

use crate::engine::Status;
use crate::error::Result;
use crate::journal::{Reader, RunEntry};
use crate::report::Narrator;

use super::output::Output;

const LOOK: Duration = Duration::from_millis(200);
/// How many events are told at once.
const BATCH: usize = 256;

/// Tells a run until it ends or stops to ask; returns the exit code that says which.
pub(super) async fn watch(reader: &mut Reader, run: &RunEntry, output: &mut Output<'_>) -> Result<u8> {
    let mut follow = reader.follow(run.stream.name(), 0)?;
    let mut narrator = Narrator::new();
    loop {
        match follow.look(reader, BATCH)? {
            None => {
                output.flush()?;
                tokio::time::sleep(LOOK).await;
            }
            Some(events) if events.is_empty() => break,
            Some(events) => {
                for event in &events {
                    if output.json {
                        output.line(event)?;
                    } else {
                        narrator.lines(event).iter().try_for_each(|line| output.line(line))?;
                    }
                }
            }
        }
    }
    Ok(match follow.outcome().map(|outcome| outcome.status) {
        Some(Status::Succeeded) | None => 0,
        Some(Status::Failed) => 3,
        Some(Status::Cancelled) => 4,
        Some(Status::Asking) => 5,
    })
}
