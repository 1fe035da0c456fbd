//! The engine and its runtime.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyList;
use serde::Deserialize;
use tidegate::journal::{Durability, RUNS_LISTED};
use tidegate::pipeline::PipelineSpec;
use tidegate::supervisor::Launcher;
use tidegate::{Command, EngineOptions, Error, Functions, Kind, Outcome, Result, Secret};

use crate::call::{Caller, PythonFunction};
use crate::calls::Calls;
use crate::error::{detached, json, parse};
use crate::host::{Host, block};
use crate::run::Run;

/// How long closing waits for the journal, and then for what still runs.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    durability: Durability,
    secrets: BTreeMap<String, String>,
    supervisor: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StartOptions {
    key: Option<String>,
    params: serde_json::Value,
    rerun_failed: Option<String>,
}

/// An engine with a runtime of its own.
#[pyclass(frozen, module = "tidegate._tidegate")]
#[derive(Debug)]
pub(crate) struct Engine {
    host: Arc<Host>,
    engine: Mutex<Option<tidegate::Engine>>,
    caller: Caller,
}

#[pymethods]
impl Engine {
    /// Opens a journal.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf, options: &str, calls: &Calls) -> PyResult<Engine> {
        let (host, engine) = detached(py, || {
            let options: Options = parse(options, "the engine's options")?;
            let mut builder = EngineOptions::new().durability(options.durability);
            if let Some((program, args)) = options.supervisor.split_first() {
                let args = args.to_vec();
                builder = builder.launcher(Launcher { program: program.into(), args, env: BTreeMap::new() });
            }
            for (name, value) in options.secrets {
                builder = builder.secret(name, Secret::new(value)?);
            }
            let host = Host::new(2, "tidegate-io")?;
            let engine = host.handle()?.block_on(builder.open(path))?;
            Ok((host, engine))
        })?;
        Ok(Engine { host: Arc::new(host), engine: Mutex::new(Some(engine)), caller: Caller::new(calls) })
    }

    /// Starts a run, or takes it up, and puts it into `begun`: an interrupt that comes as this returns would lose it.
    fn start(
        &self,
        py: Python<'_>,
        spec: &str,
        functions: BTreeMap<String, Py<PyAny>>,
        options: &str,
        begun: &Bound<'_, PyList>,
    ) -> PyResult<()> {
        let mut registered = Functions::new();
        for (name, function) in functions {
            let function = PythonFunction { function: Arc::new(function), caller: self.caller.clone() };
            registered.insert(name, Arc::new(function));
        }
        let run = detached(py, || {
            let engine = self.engine()?;
            let spec: PipelineSpec = parse(spec, "the pipeline")?;
            let options: StartOptions = parse(options, "the run's options")?;
            let mut start = engine.run_spec(spec, registered).params(options.params);
            if let Some(key) = options.key {
                start = start.key(key);
            }
            if let Some(by) = options.rerun_failed {
                start = start.rerun_failed(by);
            }
            Ok(Run::new(wait(start.start())?, Arc::clone(&self.host)))
        })?;
        begun.append(run)
    }

    /// Sends a command to a run.
    fn send(&self, py: Python<'_>, run: &str, command: &str) -> PyResult<()> {
        detached(py, || {
            let command: Command = parse(command, "the command")?;
            wait(self.engine()?.send(run, command))
        })
    }

    /// Cancels a run, driven or not.
    fn cancel(&self, py: Python<'_>, run: &str, by: &str, reason: &str) -> PyResult<Run> {
        detached(py, || Ok(Run::new(wait(self.engine()?.cancel(run, by, reason))?, Arc::clone(&self.host))))
    }

    /// The latest runs as JSON.
    #[pyo3(signature = (limit=None))]
    fn runs(&self, py: Python<'_>, limit: Option<usize>) -> PyResult<String> {
        detached(py, || json(&wait(self.engine()?.runs(limit.unwrap_or(RUNS_LISTED)))?))
    }

    /// A service as JSON; `null` when nothing is known of it.
    fn service(&self, py: Python<'_>, name: &str) -> PyResult<String> {
        detached(py, || json(&wait(self.engine()?.service(name))?))
    }

    /// How a service's instances fare and what its proxy has counted, as JSON.
    fn service_stats(&self, py: Python<'_>, name: &str) -> PyResult<String> {
        detached(py, || json(&wait(self.engine()?.service_stats(name))?))
    }

    /// Ends all versions of a service and its proxy.
    fn remove_service(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        detached(py, || wait(self.engine()?.remove_service(name)))
    }

    /// What checking the whole journal found, as JSON.
    fn verify(&self, py: Python<'_>) -> PyResult<String> {
        detached(py, || json(&wait(self.engine()?.verify())?))
    }

    /// Removes the events of a run that has ended.
    fn prune(&self, py: Python<'_>, run: &str) -> PyResult<()> {
        detached(py, || wait(self.engine()?.prune(run)))
    }

    /// Ends what runs of steps and closes the journal; a second time, and in a forked child, it does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.host.is_forked() {
            return Ok(());
        }
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(engine) = engine else { return Ok(()) };
        detached(py, move || {
            let closed = block(engine.close(), Some(CLOSE_WITHIN)).unwrap_or_else(|| {
                Err(Error::new(Kind::Io, "closing took too long").help("nothing that was recorded is lost"))
            });
            self.host.shut_down(CLOSE_WITHIN);
            closed
        })
    }
}

impl Engine {
    fn engine(&self) -> Result<tidegate::Engine> {
        self.host.check_process()?;
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone();
        engine.ok_or_else(|| Error::new(Kind::Cancelled, "the engine is closed").help("open it again"))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.host.is_forked() {
            // The parent's engine is not this process's to close.
            std::mem::forget(engine);
        }
    }
}

/// Waits for the driver, which answers or is gone.
fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    block(work, None).unwrap_or_else(|| Err(Error::new(Kind::Internal, "a wait without a limit ended early")))
}

/// Raises the error of a run that did not succeed.
#[pyfunction]
pub(crate) fn outcome_error(py: Python<'_>, outcome: &str) -> PyResult<()> {
    detached(py, || {
        let outcome: Outcome = parse(outcome, "the outcome")?;
        outcome.ok().map(drop)
    })
}

/// Runs the command line, the program's name first; returns the exit code. Takes the whole process.
#[pyfunction]
pub(crate) fn command_line(py: Python<'_>, args: Vec<std::ffi::OsString>) -> u8 {
    py.detach(|| tidegate::cli::run(args))
}
