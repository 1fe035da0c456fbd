//! What users hold: an engine, and the runs that it drives.

use std::future::{Future, IntoFuture};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::define::{Functions, Pipeline, check_finite};
use crate::engine::driver::Message;
use crate::engine::log::{Events, Lines, RunLog};
use crate::engine::logs;
use crate::engine::open::EngineOptions;
use crate::engine::outcome::Outcome;
use crate::engine::records::{RunRow, Service};
use crate::engine::start::Begin;
use crate::error::{Error, Kind, Result};
use crate::journal::{Reader, StreamId, Verified};
use crate::kernel::{Command, Kernel};
use crate::pipeline::PipelineSpec;
use crate::supervisor::ServiceStats;
use crate::time::{Chance, Clock};

/// Drives runs over one journal. Clones refer to the same engine.
///
/// When the last clone is dropped, steps that run are ended and the journal is left to be taken up again; supervised
/// services go on. [`Engine::close`] does the same and waits for it. What became of the steps is recorded: that they
/// were stopped counts neither as a failure nor as a crash, so that closing again and again makes no step ask. (One that
/// is to run `once` does, if it had begun.)
///
/// What an operator should know are `tracing` events below the target `tidegate`, for the subscriber that is in force
/// where the engine is opened: `debug` for engines that open and close, `info` for runs that start and end, `warn` for
/// attempts that fail, steps that ask and rollouts that turn back, `error` for trouble with the journal; with the fields
/// `run`, `key` and `step`.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) driver: Sender<Message>,
    pub(super) clock: Arc<dyn Clock>,
    /// Why the driver ended by itself.
    pub(super) broken: Arc<OnceLock<Error>>,
    /// Taken when it is closed: a handle keeps a runtime's files open, and runs that are held hold this.
    pub(super) runtime: Mutex<Option<Handle>>,
    /// The driver's thread; taken when it is closed.
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
    /// The full path of the journal; `None` when it is in memory.
    pub(super) journal: Option<PathBuf>,
    /// The supervisor's folder.
    pub(super) supervisor: PathBuf,
}

/// What is there until it is closed.
fn taken<T>(open: &Mutex<Option<T>>) -> Option<T> {
    open.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Drop for Shared {
    fn drop(&mut self) {
        let (reply, _) = oneshot::channel();
        // The driver may have ended by itself.
        let _ = self.driver.send(Message::Close(reply));
    }
}

impl Engine {
    /// Opens the journal at `path` for driving, with full durability. See [`EngineOptions::open`].
    ///
    /// # Errors
    /// As [`EngineOptions::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Engine> {
        EngineOptions::new().open(path).await
    }

    pub(super) fn new(shared: Shared) -> Engine {
        Engine { shared: Arc::new(shared) }
    }

    /// A run of a pipeline, to be started with [`Start::start`] or by awaiting it, which waits for its outcome.
    pub fn run(&self, pipeline: &Pipeline) -> Start {
        let (spec, functions) = pipeline.parts();
        self.run_spec(spec, functions)
    }

    /// The same for a definition that is data.
    pub fn run_spec(&self, spec: PipelineSpec, functions: Functions) -> Start {
        let params = Value::Null;
        Start { engine: self.clone(), spec, functions, key: None, params, rerun_failed: None, show: false, fault: None }
    }

    /// Sends a command to a run that this engine drives, and returns when it is recorded.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such run; [`Kind::Conflict`] when the command can't be now, when the run has
    /// ended (start it again with [`Start::rerun_failed`]), or when no program has taken it up (see [`Engine::cancel`]).
    pub async fn send(&self, run: &str, command: Command) -> Result<()> {
        let run = StreamId::run(run)?;
        self.call(|reply| Message::Command(run, command, reply)).await?
    }

    /// Cancels a run, whoever started it, and returns when that is recorded; [`Run::outcome`] says when it is done.
    ///
    /// One that no program has taken up, as its own does not come back, is ended without it, from what is recorded:
    /// what has not ended is cancelled, rollouts go back, cleanup steps run if they are commands, and are skipped if
    /// they are functions. Its program can run again what was cancelled, with [`Start::rerun_failed`].
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such run; [`Kind::Conflict`] when it has ended; [`Kind::Unsupported`] when a
    /// rollout is to go back and there is no way to start a supervisor.
    pub async fn cancel(&self, run: &str, by: impl Into<String>, reason: impl Into<String>) -> Result<Run> {
        let (run, by, reason) = (StreamId::run(run)?, by.into(), reason.into());
        let begun = self.call(|reply| Message::Cancel { run, by, reason, reply }).await??;
        Ok(Run { engine: self.clone(), id: begun.run.name().to_owned(), log: begun.log })
    }

    /// The latest runs, newest first.
    ///
    /// # Errors
    /// [`Kind::Io`] when the journal can't be read.
    pub async fn runs(&self, limit: usize) -> Result<Vec<RunRow>> {
        let runs = self.ask(move |kernel| kernel.journal().runs(limit)).await??;
        Ok(runs.into_iter().map(RunRow::from).collect())
    }

    /// Ends all versions of a service and its proxy, and forgets what could be reverted to. Returns when that is recorded.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there never was a service of that name; [`Kind::Conflict`] while a rollout holds it.
    pub async fn remove_service(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.call(|reply| Message::Remove(name, reply)).await?
    }

    /// What is known of a service; `None` when nothing is.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] when the engine is closed.
    pub async fn service(&self, name: &str) -> Result<Option<Service>> {
        let name = name.to_owned();
        self.ask(move |kernel| kernel.service(&name).map(Service::from)).await
    }

    /// How the instances of a service fare now, and what its proxy has counted: requests, errors and latencies by
    /// version.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when nothing of such a service is there.
    pub async fn service_stats(&self, name: &str) -> Result<ServiceStats> {
        let (folder, name) = (self.shared.supervisor.clone(), name.to_owned());
        let asked = self.runtime()?.spawn(async move { ServiceStats::ask(&folder, &name).await });
        asked.await.map_err(|error| Error::new(Kind::Internal, "the engine's work was cut off").because(error))?
    }

    /// Checks the whole journal, as it stands now. Runs are driven meanwhile.
    ///
    /// # Errors
    /// [`Kind::Io`] when it can't be read; damage is a result, not an error.
    pub async fn verify(&self) -> Result<Verified> {
        let Some(path) = self.shared.journal.clone() else {
            return self.ask(|kernel| kernel.journal().verify()).await?;
        };
        self.ask(|_| ()).await?;
        // As another process does: to read a long journal takes minutes, for which the driver must not stand still.
        self.blocking(move || Reader::open(&path)?.verify()).await
    }

    /// Removes the events of a run that has ended, and its logs; what remains still verifies.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when it has not ended; [`Kind::NotFound`] when there is none; [`Kind::Io`] when the logs can't
    /// be removed: prune it again then.
    pub async fn prune(&self, run: &str) -> Result<()> {
        let stream = StreamId::run(run)?;
        self.ask(move |kernel| kernel.journal().prune(&stream)).await??;
        let Some(path) = &self.shared.journal else { return Ok(()) };
        let folder = logs::folder_of(path).join(run);
        self.blocking(move || logs::remove(&folder)).await
    }

    /// Ends what runs of steps and records that, leaves runs to be taken up again and services as they are, and closes
    /// the journal. A step that does not end within 3 s is waited for no longer.
    ///
    /// # Errors
    /// [`Kind::Io`] when the journal could not be closed; nothing acknowledged is lost by that.
    pub async fn close(self) -> Result<()> {
        let closed = self.call(Message::Close).await?;
        // To answer was its last act: this takes no longer than a thread takes to end.
        if let Some(Err(_)) = taken(&self.shared.thread).map(JoinHandle::join) {
            tracing::error!("the engine's thread panicked after it had closed the journal");
        }
        taken(&self.shared.runtime);
        closed
    }

    async fn call<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.shared.driver.send(message(reply)).map_err(|_| self.closed())?;
        answer.await.map_err(|_| self.closed())
    }

    /// Why it can't be asked.
    fn closed(&self) -> Error {
        match self.shared.broken.get() {
            Some(error) if error.kind() == Kind::Internal => Error::new(Kind::Internal, "the engine has stopped")
                .because(error.to_string())
                .help("this is a fault of tidegate; open it again: runs go on where they were"),
            Some(error) => Error::new(error.kind(), "the engine has stopped, since its journal can't be written")
                .because(error.to_string())
                .help("mend that and open it again: runs go on where they were"),
            None => Error::new(Kind::Cancelled, "the engine is closed").help("open it again"),
        }
    }

    fn runtime(&self) -> Result<Handle> {
        let runtime = self.shared.runtime.lock().unwrap_or_else(PoisonError::into_inner).clone();
        runtime.ok_or_else(|| self.closed())
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let failed = |error| Error::new(Kind::Internal, "the engine's work was cut off").because(error);
        self.runtime()?.spawn_blocking(work).await.map_err(failed)?
    }

    async fn ask<T: Send + 'static>(&self, ask: impl FnOnce(&mut Kernel) -> T + Send + 'static) -> Result<T> {
        self.call(|reply| {
            Message::Ask(Box::new(move |kernel| {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(ask(kernel));
            }))
        })
        .await
    }
}

/// A run about to be started.
#[derive(Debug)]
#[must_use = "a run starts when this is awaited, or with start()"]
pub struct Start {
    engine: Engine,
    spec: PipelineSpec,
    functions: Functions,
    key: Option<String>,
    params: Value,
    rerun_failed: Option<String>,
    pub(super) show: bool,
    fault: Option<Error>,
}

impl Start {
    /// The run's key: the same key of the same pipeline is the same run. One that was cut off goes on; one that ended
    /// returns its recorded outcome and runs nothing.
    pub fn key(mut self, key: impl Into<String>) -> Start {
        self.key = Some(key.into());
        self
    }

    /// What the run is given. Params are part of a key's identity: the same key with others is an error.
    pub fn params(mut self, params: impl Serialize) -> Start {
        let not_json = || Error::new(Kind::Invalid, "the params are not JSON");
        match (check_finite(&params), serde_json::to_value(&params)) {
            (Ok(()), Ok(params)) => self.params = params,
            (Err(found), _) => self.fault = Some(not_json().because(found)),
            (_, Err(error)) => self.fault = Some(not_json().because(error)),
        }
        self
    }

    /// If the run has ended without success: run again what failed, was skipped or cancelled. `by` says who asked.
    pub fn rerun_failed(mut self, by: impl Into<String>) -> Start {
        self.rerun_failed = Some(by.into());
        self
    }

    /// Shows the run on standard error while it is awaited, or while [`Start::cancel_on_ctrl_c`] is: see [`Run::show`].
    pub fn show(mut self) -> Start {
        self.show = true;
        self
    }

    /// Starts the run, or takes it up, and returns as soon as that is recorded.
    ///
    /// # Errors
    /// [`Kind::Invalid`] with every fault of the definition; [`Kind::Conflict`] when the key belongs to a run with
    /// another definition or other params.
    pub async fn start(self) -> Result<Run> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut chance = entropy();
        let now = self.engine.shared.clock.now();
        let id = format!("{:011x}{:08x}", now.0, chance.draw() & 0xFFFF_FFFF);
        let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
        let begin = Begin {
            spec: self.spec,
            functions: self.functions,
            key: self.key,
            params: self.params,
            id,
            seed: chance.draw() >> 11,
            cores,
            rerun_failed: self.rerun_failed,
        };
        let begun = self.engine.call(|reply| Message::Start(Box::new(begin), reply)).await??;
        Ok(Run { engine: self.engine, id: begun.run.name().to_owned(), log: begun.log })
    }
}

impl IntoFuture for Start {
    type Output = Result<Outcome>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Outcome>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let show = self.show;
            self.start().await?.ended(show).await
        })
    }
}

/// A run. Dropping it changes nothing: the engine goes on driving.
#[derive(Debug, Clone)]
pub struct Run {
    engine: Engine,
    id: String,
    log: Arc<RunLog>,
}

impl Run {
    /// The run's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits until the run has ended or stopped to ask. Dropping the future stops the waiting, not the run.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] when the engine is closed before; the journal's own errors when it can't be written.
    pub async fn outcome(&self) -> Result<Outcome> {
        self.log.outcome().await
    }

    /// The same, and shows the run meanwhile if that is asked for.
    pub(super) async fn ended(&self, show: bool) -> Result<Outcome> {
        if show { self.show().await } else { self.outcome().await }
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.engine.shared.clock)
    }

    /// Where the engine's work is done.
    ///
    /// # Errors
    /// When the engine is closed.
    pub(super) fn runtime(&self) -> Result<Handle> {
        self.engine.runtime()
    }

    /// The run's events from its beginning, and its output from now on.
    pub fn events(&self) -> Events {
        Events::new(Arc::clone(&self.log))
    }

    /// The same as lines for people.
    pub fn lines(&self) -> Lines {
        Lines::new(self.events())
    }

    /// Cancels the run: what runs is stopped, the rest is skipped, cleanup steps run, rollouts go back. Returns when
    /// that is recorded; [`Run::outcome`] says when it is done.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when the run has ended.
    pub async fn cancel(&self, by: impl Into<String>, reason: impl Into<String>) -> Result<()> {
        self.send(Command::Cancel { by: by.into(), reason: reason.into() }).await
    }

    /// Sends a command to the run, and returns when it is recorded.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when the command can't be now, or the run has ended: a step that failed is not resolved then,
    /// but runs again with [`Start::rerun_failed`].
    pub async fn send(&self, command: Command) -> Result<()> {
        self.engine.send(&self.id, command).await
    }
}

/// Randomness from the operating system, by way of the standard library's hash seeds.
fn entropy() -> Chance {
    use std::hash::{BuildHasher, Hasher};
    Chance(std::collections::hash_map::RandomState::new().build_hasher().finish())
}
