//! A journal that another process may drive: it is read, and commands go to its inbox.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use tidegate::journal::{RUNS_LISTED, StreamId};
use tidegate::{Command, Error, Kind, Result};

use crate::error::{detached, json, parse};
use crate::host::{check_process, seconds};

/// How long until it is looked again for events.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a reader and those who follow runs by it share.
#[derive(Debug)]
struct Shared {
    reader: Mutex<Option<tidegate::Reader>>,
    pid: u32,
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut tidegate::Reader) -> Result<T>) -> Result<T> {
        check_process(self.pid)?;
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = || Error::new(Kind::Cancelled, "the reader is closed").help("open it again");
        work(reader.as_mut().ok_or_else(closed)?)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if check_process(self.pid).is_err() {
            // SQLite's handles belong to the process that opened them: a forked child may not even close them.
            std::mem::forget(self.reader.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

/// A reader of a journal.
#[pyclass(frozen, module = "tidegate._tidegate")]
#[derive(Debug)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
}

#[pymethods]
impl Reader {
    /// Opens a journal for reading.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Reader> {
        let reader = detached(py, || tidegate::Reader::open(&path))?;
        let shared = Shared { reader: Mutex::new(Some(reader)), pid: std::process::id() };
        Ok(Reader { shared: Arc::new(shared) })
    }

    /// The latest runs as JSON.
    #[pyo3(signature = (limit=None))]
    fn runs(&self, py: Python<'_>, limit: Option<usize>) -> PyResult<String> {
        detached(py, || json(&self.shared.with(|reader| reader.runs(limit.unwrap_or(RUNS_LISTED)))?))
    }

    /// The id of the run of a pipeline with a key.
    fn find_run(&self, py: Python<'_>, pipeline: &str, key: &str) -> PyResult<Option<String>> {
        let found = detached(py, || self.shared.with(|reader| reader.find_run(pipeline, key)))?;
        Ok(found.map(|run| run.name().to_owned()))
    }

    /// The names of all services.
    fn services(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let services = detached(py, || self.shared.with(|reader| reader.services()))?;
        Ok(services.iter().map(|service: &StreamId| service.name().to_owned()).collect())
    }

    /// A service as JSON; `null` when nothing is known of it.
    fn service(&self, py: Python<'_>, name: &str) -> PyResult<String> {
        detached(py, || json(&self.shared.with(|reader| reader.service(name))?))
    }

    /// What checking the whole journal found, as JSON.
    fn verify(&self, py: Python<'_>) -> PyResult<String> {
        detached(py, || json(&self.shared.with(tidegate::Reader::verify)?))
    }

    /// The page of a run as HTML.
    fn report(&self, py: Python<'_>, run: &str) -> PyResult<String> {
        detached(py, || self.shared.with(|reader| reader.report(run)))
    }

    /// Sends a command to a run's inbox, and returns its number.
    fn send(&self, py: Python<'_>, run: &str, command: &str) -> PyResult<u64> {
        detached(py, || {
            let command: Command = parse(command, "the command")?;
            self.shared.with(|reader| reader.command(run, &command))
        })
    }

    /// Whether a command still waits.
    fn waits(&self, py: Python<'_>, number: u64) -> PyResult<bool> {
        detached(py, || self.shared.with(|reader| reader.waits(number)))
    }

    /// Follows a run from after an event.
    fn follow(&self, py: Python<'_>, run: &str, after: u64) -> PyResult<Follow> {
        let follow = detached(py, || self.shared.with(|reader| reader.follow(run, after)))?;
        Ok(Follow { follow: Mutex::new(follow), shared: Arc::clone(&self.shared) })
    }

    /// Closes it; a second time, and in a forked child, it does nothing.
    fn close(&self, py: Python<'_>) {
        if check_process(self.shared.pid).is_ok() {
            py.detach(|| drop(self.shared.reader.lock().unwrap_or_else(PoisonError::into_inner).take()));
        }
    }
}

/// A run that is followed.
#[pyclass(frozen, module = "tidegate._tidegate")]
#[derive(Debug)]
pub(crate) struct Follow {
    follow: Mutex<tidegate::Follow>,
    shared: Arc<Shared>,
}

#[pymethods]
impl Follow {
    /// Waits for the next events, at most so long; `None` when there are none yet, empty at the end.
    fn next(&self, py: Python<'_>, most: usize, limit: f64) -> PyResult<Option<Vec<String>>> {
        detached(py, || {
            check_process(self.shared.pid)?;
            let begun = Instant::now();
            let limit = seconds(limit).unwrap_or_default();
            loop {
                let mut follow = self.follow.lock().unwrap_or_else(PoisonError::into_inner);
                let news = self.shared.with(|reader| follow.look(reader, most))?;
                drop(follow);
                if let Some(news) = news {
                    return Ok(Some(news.iter().map(|event| event.to_string()).collect()));
                }
                match limit.saturating_sub(begun.elapsed()) {
                    Duration::ZERO => return Ok(None),
                    left => std::thread::park_timeout(left.min(LOOK_AGAIN)),
                }
            }
        })
    }

    /// The outcome as of the last look, as JSON; `None` while the run goes on.
    fn outcome(&self, py: Python<'_>) -> PyResult<Option<String>> {
        detached(py, || self.folded()?.outcome().map(|outcome| json(&outcome)).transpose())
    }

    /// Where every step stands as of the last look, as JSON.
    fn steps(&self, py: Python<'_>) -> PyResult<String> {
        detached(py, || json(&self.folded()?.steps()))
    }
}

impl Follow {
    fn folded(&self) -> Result<std::sync::MutexGuard<'_, tidegate::Follow>> {
        check_process(self.shared.pid)?;
        Ok(self.follow.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
