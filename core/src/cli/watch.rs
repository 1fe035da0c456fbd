//! A run as it happens: as it is shown by the program that runs it, or event by event as JSON.

use std::path::Path;
use std::time::Duration;

use crate::engine::{EventText, Follow, Status, log_end, log_file, size, style};
use crate::error::Result;
use crate::journal::{Reader, RunEntry};
use crate::report::{MOST_OF_ONE, View};
use crate::time::{Clock, SystemClock, Time};

use super::find;
use super::output::Output;

const LOOK: Duration = Duration::from_millis(200);
/// How many events are told at once.
const BATCH: usize = 256;
/// How far back the last line of a log is looked for, in bytes.
const LINE: u64 = 4 << 10;

/// Tells a run until it ends or stops to ask; returns the exit code that says which.
pub(super) async fn watch(reader: &mut Reader, journal: &Path, run: &RunEntry, output: &mut Output<'_>) -> Result<u8> {
    let mut follow = reader.follow(run.stream.name(), 0)?;
    if output.json {
        as_objects(reader, &mut follow, output).await?;
    } else {
        let logs = Logs { journal: &find::full(journal)?, run: run.stream.name() };
        shown(reader, &logs, &mut follow, output).await?;
    }
    Ok(match follow.outcome().map(|outcome| outcome.status) {
        Some(Status::Succeeded) | None => 0,
        Some(Status::Failed) => 3,
        Some(Status::Cancelled) => 4,
        Some(Status::Asking) => 5,
    })
}

async fn as_objects(reader: &mut Reader, follow: &mut Follow, output: &mut Output<'_>) -> Result<()> {
    loop {
        match follow.look(reader, BATCH)? {
            None => {
                output.flush()?;
                tokio::time::sleep(LOOK).await;
            }
            Some(events) if events.is_empty() => return Ok(()),
            Some(events) => events.iter().try_for_each(|event| output.line(event))?,
        }
    }
}

async fn shown(reader: &mut Reader, logs: &Logs<'_>, follow: &mut Follow, output: &mut Output<'_>) -> Result<()> {
    let stdout = std::io::stdout();
    let clock = SystemClock::new(Time::default());
    let mut view = View::new(style(&stdout));
    loop {
        let news = follow.look(reader, BATCH)?;
        let ended = news.as_ref().is_some_and(|events| events.is_empty());
        for event in news.iter().flatten() {
            logs.before(event, &mut view)?;
            view.take(event);
        }
        // While there is more to be told at once, what goes on now is not known.
        let text = if news.is_some() {
            view.draw_lines(size(&stdout))
        } else {
            logs.last_lines(&mut view)?;
            view.draw(clock.now(), size(&stdout))
        };
        output.bytes(text.as_bytes())?;
        if news.is_none() || view.is_live() {
            output.flush()?;
        }
        if ended {
            return Ok(());
        }
        if news.is_none() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The logs of a run's steps: output is not among the events that a reader follows.
struct Logs<'a> {
    journal: &'a Path,
    run: &'a str,
}

impl Logs<'_> {
    /// Tells what an attempt wrote before its end is told, where that is shown.
    fn before(&self, event: &EventText, view: &mut View) -> Result<()> {
        let Some((step, attempt)) = view.wants(event) else { return Ok(()) };
        if let Some((text, left_out)) = log_end(&log_file(self.journal, self.run, &step, attempt), MOST_OF_ONE / 2)? {
            if left_out > 0 {
                view.wrote(&step, &format!("... {left_out} earlier bytes are in the step's log"));
            }
            text.lines().for_each(|line| view.wrote(&step, line));
        }
        Ok(())
    }

    /// Tells what each running step wrote last.
    fn last_lines(&self, view: &mut View) -> Result<()> {
        for (step, attempt) in view.running() {
            if let Some((text, _)) = log_end(&log_file(self.journal, self.run, &step, attempt), LINE)?
                && let Some(line) = text.lines().rfind(|line| !line.trim().is_empty())
            {
                view.wrote(&step, line);
            }
        }
        Ok(())
    }
}
