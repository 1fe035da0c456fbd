//! One line for each request that has ended, for who wants to know when each version answered.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::client::{Answer, Failure};

/// When one request was due, began to be sent, and ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) due: Instant,
    pub(crate) sent: Instant,
    pub(crate) ended: Instant,
}

/// The file, and what its times count from.
#[derive(Debug)]
pub(crate) struct Answers {
    path: PathBuf,
    file: BufWriter<File>,
    /// The same moment on both clocks, the first in microseconds since 1970.
    began: (u64, Instant),
}

impl Answers {
    /// Begins an empty file.
    pub(crate) fn create(path: &Path, start: Instant) -> Result<Answers, String> {
        let file = File::create(path).map_err(|error| format!("can't write {}: {error}", path.display()))?;
        #[allow(
            clippy::disallowed_methods,
            reason = "read once; other processes have no other clock in common with us"
        )]
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // What passed between the start and this reading.
        let wall = wall.saturating_sub(start.elapsed());
        let wall = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        Ok(Answers { path: path.to_owned(), file: BufWriter::new(file), began: (wall, start) })
    }

    /// Adds a line: due, sent, ended in microseconds since 1970, the status or why there was none, the version or `-`.
    pub(crate) fn add(&mut self, times: Times, result: &Result<Answer, Failure>) -> Result<(), String> {
        let at = |time: Instant| {
            let micros = time.saturating_duration_since(self.began.1).as_micros();
            self.began.0.saturating_add(u64::try_from(micros).unwrap_or(u64::MAX))
        };
        let (due, sent, ended) = (at(times.due), at(times.sent), at(times.ended));
        let written = match result {
            Ok(answer) => {
                let version = answer.version.as_deref().filter(|version| !version.contains(char::is_whitespace));
                writeln!(self.file, "{due} {sent} {ended} {} {}", answer.status, version.unwrap_or("-"))
            }
            Err(failure) => writeln!(self.file, "{due} {sent} {ended} {} -", failure.name()),
        };
        written.map_err(|error| self.failed(&error))
    }

    /// Writes what is still held back.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        self.file.flush().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("can't write {}: {error}", self.path.display())
    }
}
