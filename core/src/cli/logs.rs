//! What the commands of a run wrote, from the files beside the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::engine::{Follow, StepOutcome, StepStatus, log_file};
use crate::error::{Error, Kind, Result};
use crate::journal::{Reader, RunEntry};

use super::find;
use super::output::{Output, visible};
use super::show::in_order;

const LOOK: Duration = Duration::from_millis(200);

/// One attempt's file, read as far as it was written.
struct Tail {
    path: PathBuf,
    file: BufReader<File>,
    /// What is written of a line that is not whole yet.
    line: Vec<u8>,
}

impl Tail {
    fn open(path: PathBuf) -> Result<Option<Tail>> {
        match File::open(&path) {
            Ok(file) => Ok(Some(Tail { path, file: BufReader::new(file), line: Vec::new() })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unread(&path, error)),
        }
    }

    /// The next line; at the end of what is written `None`, or the line that nobody will end if it is the `last` look.
    fn next(&mut self, last: bool) -> Result<Option<Vec<u8>>> {
        self.file.read_until(b'\n', &mut self.line).map_err(|error| unread(&self.path, error))?;
        if self.line.pop_if(|byte| *byte == b'\n').is_none() && (!last || self.line.is_empty()) {
            return Ok(None);
        }
        Ok(Some(std::mem::take(&mut self.line)))
    }
}

fn unread(path: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::Io, "can't read a log").with("path", path.display()).because(error)
}

/// Prints the output of every step, or of one; with `on` until the run has ended.
pub(super) async fn logs(
    reader: &mut Reader,
    journal: &Path,
    run: &RunEntry,
    step: Option<&str>,
    on: bool,
    output: &mut Output<'_>,
) -> Result<()> {
    let journal = find::full(journal)?;
    let mut follow = reader.follow(run.stream.name(), 0)?;
    let mut open: BTreeMap<(usize, u32), Tail> = BTreeMap::new();
    let mut read: BTreeSet<(usize, u32)> = BTreeSet::new();
    loop {
        // In this order: what a step wrote is written before its end is told.
        while follow.look(reader, usize::MAX)?.is_some_and(|news| !news.is_empty()) {}
        let ended = follow.outcome().is_some();
        let steps = follow.steps();
        for (i, name) in wanted(&follow, step)?.iter().enumerate() {
            let Some(StepOutcome { status, attempts, .. }) = steps.get(name) else { continue };
            for attempt in (1..=*attempts).filter(|attempt| !read.contains(&(i, *attempt))).collect::<Vec<_>>() {
                let path = log_file(&journal, run.stream.name(), name, attempt);
                let mut tail = match open.remove(&(i, attempt)) {
                    Some(tail) => Some(tail),
                    None => Tail::open(path)?,
                };
                let last = ended || !on || attempt < *attempts || *status != StepStatus::Running;
                while let Some(line) = tail.as_mut().map(|tail| tail.next(last)).transpose()?.flatten() {
                    print(output, name, attempt, &line, step.is_some())?;
                }
                match tail {
                    _ if last => drop(read.insert((i, attempt))),
                    Some(tail) => drop(open.insert((i, attempt), tail)),
                    None => {}
                }
            }
        }
        if ended || !on {
            return Ok(());
        }
        output.flush()?;
        tokio::time::sleep(LOOK).await;
    }
}

/// The steps that are asked for, in the order of the definition.
fn wanted(follow: &Follow, step: Option<&str>) -> Result<Vec<String>> {
    let all = in_order(follow);
    match step {
        None => Ok(all.into_iter().map(str::to_owned).collect()),
        Some(step) if all.contains(&step) => Ok(vec![step.to_owned()]),
        Some(step) => Err(Error::new(Kind::NotFound, "the run has no such step")
            .with("step", step)
            .help(format!("its steps are {}", all.join(", ")))),
    }
}

fn print(output: &mut Output<'_>, step: &str, attempt: u32, line: &[u8], alone: bool) -> Result<()> {
    if output.json {
        let line = String::from_utf8_lossy(line);
        return output.object(&json!({ "step": step, "attempt": attempt, "line": line }));
    }
    if !alone {
        let again = if attempt > 1 { format!(" ({attempt})") } else { String::new() };
        output.bytes(format!("{}{again} | ", visible(step)).as_bytes())?;
    }
    output.bytes(line)?;
    output.bytes(b"\n")
}
