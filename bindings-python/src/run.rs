//! A run: its events and its outcome.

use std::sync::Arc;

use pyo3::prelude::*;
use tidegate::Result;
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;

use crate::attach::attach;
use crate::error::{detached, json, raise};
use crate::host::{Host, block, seconds};

/// A run that the engine drives.
#[pyclass(frozen, module = "tidegate._tidegate")]
#[derive(Debug)]
pub(crate) struct Run {
    run: tidegate::Run,
    host: Arc<Host>,
}

impl Run {
    pub(crate) fn new(run: tidegate::Run, host: Arc<Host>) -> Run {
        Run { run, host }
    }
}

#[pymethods]
impl Run {
    /// The run's id.
    #[getter]
    fn id(&self) -> &str {
        self.run.id()
    }

    /// Waits for the outcome as JSON, at most so long; `None` when it is not there yet.
    fn outcome(&self, py: Python<'_>, limit: f64) -> PyResult<Option<String>> {
        detached(py, || {
            self.host.check_process()?;
            block(self.run.outcome(), seconds(limit)).transpose()?.map(|outcome| json(&outcome)).transpose()
        })
    }

    /// Calls `done(outcome, error)` from another thread once the outcome is there. Never, if the engine is closed first.
    fn when_done(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<()> {
        let run = self.run.clone();
        let handle = detached(py, || self.host.handle())?;
        handle.spawn(async move {
            let outcome = run.outcome().await.and_then(|outcome| json(&outcome));
            answer(done, outcome);
        });
        Ok(())
    }

    /// Shows the run on standard error from now on.
    fn show(&self, py: Python<'_>) -> PyResult<Showing> {
        // With the interpreter, which guards the environment.
        let showing = self.run.show();
        let (ended, shown) = watch::channel(false);
        let handle = detached(py, || self.host.handle())?;
        let task = handle.spawn(async move {
            // It is asked of the run, when it has been shown.
            let _ = showing.await;
            ended.send_replace(true);
        });
        Ok(Showing { run: self.run.clone(), shown, task: task.abort_handle(), host: Arc::clone(&self.host) })
    }

    /// The run's events from its beginning, and its output from now on.
    fn events(&self) -> Events {
        Events { events: Arc::new(Mutex::new(self.run.events())), host: Arc::clone(&self.host) }
    }
}

/// A run that is shown.
#[pyclass(frozen, module = "tidegate._tidegate")]
#[derive(Debug)]
pub(crate) struct Showing {
    run: tidegate::Run,
    shown: watch::Receiver<bool>,
    task: AbortHandle,
    host: Arc<Host>,
}

impl Showing {
    /// The outcome once it was shown; also when the showing was ended before.
    async fn ended(run: tidegate::Run, mut shown: watch::Receiver<bool>) -> Result<String> {
        let _ = shown.wait_for(|shown| *shown).await;
        json(&run.outcome().await?)
    }
}

#[pymethods]
impl Showing {
    /// Waits for the outcome as JSON, at most so long; `None` when it is not there yet.
    fn outcome(&self, py: Python<'_>, limit: f64) -> PyResult<Option<String>> {
        detached(py, || {
            self.host.check_process()?;
            block(Showing::ended(self.run.clone(), self.shown.clone()), seconds(limit)).transpose()
        })
    }

    /// Calls `done(outcome, error)` from another thread once the outcome is there. Never, if the engine is closed first.
    fn when_done(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<()> {
        let ended = Showing::ended(self.run.clone(), self.shown.clone());
        let handle = detached(py, || self.host.handle())?;
        handle.spawn(async move {
            let outcome = ended.await;
            answer(done, outcome);
        });
        Ok(())
    }

    /// Shows it no longer; the run goes on.
    fn close(&self) {
        if !self.host.is_forked() {
            self.task.abort();
        }
    }
}

/// A reader of a run's events.
#[pyclass(frozen, module = "tidegate._tidegate")]
#[derive(Debug)]
pub(crate) struct Events {
    events: Arc<Mutex<tidegate::Events>>,
    host: Arc<Host>,
}

#[pymethods]
impl Events {
    /// Waits for the next events, at most so long; `None` when there are none yet, empty at the end.
    fn next(&self, py: Python<'_>, most: usize, limit: f64) -> PyResult<Option<Vec<String>>> {
        detached(py, || {
            self.host.check_process()?;
            Ok(block(batch(&self.events, most), seconds(limit)))
        })
    }

    /// Calls `ready(events, error)` from another thread once there are events, or with none at the end. Never, if the
    /// engine is closed first.
    fn when_next(&self, py: Python<'_>, most: usize, ready: Py<PyAny>) -> PyResult<()> {
        let events = Arc::clone(&self.events);
        let handle = detached(py, || self.host.handle())?;
        handle.spawn(async move {
            let batch = batch(&events, most).await;
            answer(ready, Ok(batch));
        });
        Ok(())
    }
}

/// Tells a run as lines for people.
#[pyclass(module = "tidegate._tidegate")]
#[derive(Debug)]
pub(crate) struct Narrator(tidegate::report::Narrator);

#[pymethods]
impl Narrator {
    /// Before the first event.
    #[new]
    fn new() -> Narrator {
        Narrator(tidegate::report::Narrator::new())
    }

    /// The lines for one event.
    fn lines(&mut self, event: &str) -> Vec<String> {
        self.0.lines(event)
    }
}

async fn batch(events: &Mutex<tidegate::Events>, most: usize) -> Vec<String> {
    events.lock().await.next_batch(most).await.iter().map(|event| event.to_string()).collect()
}

/// Calls back from a thread for blocking work: the interpreter may keep it waiting.
pub(crate) fn answer<T>(callback: Py<PyAny>, result: Result<T>)
where
    T: for<'py> IntoPyObject<'py> + Send + 'static,
{
    tokio::task::spawn_blocking(move || {
        // An interpreter that ends wants no answers any more.
        let _ = attach(|py| {
            let called = match result {
                Ok(value) => callback.call1(py, (value, py.None())),
                Err(error) => callback.call1(py, (py.None(), raise(py, &error).into_value(py))),
            };
            if let Err(error) = called {
                error.write_unraisable(py, None);
            }
        });
    });
}
