//! Opening an engine: the journal, the clock, the driver's thread.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::engine::Engine;
use crate::engine::driver::{Driver, Message};
use crate::engine::fleet::{Fleet, Supervisor};
use crate::engine::handle::Shared;
use crate::engine::logs;
use crate::engine::scope::scoped;
use crate::engine::secrets::Secrets;
use crate::error::{Error, Kind, Result, panic_text};
use crate::journal::{Durability, Journal, MemoryJournal, SqliteJournal};
use crate::kernel::Kernel;
use crate::process::Identity;
use crate::secret::Secret;
use crate::supervisor::Launcher;
use crate::time::{Clock, SystemClock, Time};

/// How an engine is opened.
#[derive(Debug, Default)]
pub struct EngineOptions {
    durability: Durability,
    launcher: Option<Launcher>,
    secrets: BTreeMap<String, Secret>,
}

impl EngineOptions {
    /// Full durability, no secrets.
    pub fn new() -> EngineOptions {
        EngineOptions::default()
    }

    /// What an acknowledged event survives.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> EngineOptions {
        self.durability = durability;
        self
    }

    /// How the supervisor is started; by default as [`Launcher::find`] says.
    #[must_use]
    pub fn launcher(mut self, launcher: Launcher) -> EngineOptions {
        self.launcher = Some(launcher);
        self
    }

    /// A secret for commands' environments. Its value is kept out of everything that is written: a definition, a key or
    /// params that hold it are refused, a step whose value holds it fails, and output is masked.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, secret: Secret) -> EngineOptions {
        self.secrets.insert(name.into(), secret);
        self
    }

    /// Opens the journal at `path`, which is made if it does not exist, for driving. Must be called within a tokio
    /// runtime with I/O and time; steps run on that runtime. With [`Durability::Memory`] the path only says
    /// beside what the supervisor's folder lies, which is this engine's alone: nobody remembers what it holds.
    ///
    /// # Errors
    /// [`Kind::Busy`] when another process drives the journal; [`Kind::Corrupt`] when it is damaged; [`Kind::Io`].
    pub async fn open(self, path: impl AsRef<Path>) -> Result<Engine> {
        let path = path.as_ref().to_owned();
        let runtime = Handle::try_current()
            .map_err(|_| Error::new(Kind::Invalid, "the engine must be opened within a tokio runtime"))?;
        let (send, receive) = mpsc::channel();
        let (ready, opened) = oneshot::channel();
        let inbox = send.clone();
        let memory = self.durability == Durability::Memory;
        let handle = runtime.clone();
        let broken = Arc::new(OnceLock::new());
        let breaks = Arc::clone(&broken);
        let work = move || match self.driver(&path, handle, inbox) {
            Ok((driver, clock, path, supervisor)) => {
                tracing::debug!(journal = %path.display(), "an engine was opened");
                if ready.send(Ok((clock, path, supervisor))).is_ok()
                    && let Err(error) = caught(|| driver.run(&receive))
                {
                    // Before `receive` goes, so that nobody finds the engine gone without finding why.
                    let _ = breaks.set(error);
                }
            }
            Err(error) => {
                // Whoever opened it may have stopped waiting.
                let _ = ready.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new()
            .name("tidegate".to_owned())
            .spawn(scoped(work))
            .map_err(|error| Error::new(Kind::Io, "can't start the engine's thread").because(error))?;
        let (clock, path, supervisor) = opened
            .await
            .map_err(|_| Error::new(Kind::Internal, "the engine's thread ended while it was opening"))??;
        let journal = (!memory).then_some(path);
        let (runtime, thread) = (Mutex::new(Some(runtime)), Mutex::new(Some(thread)));
        Ok(Engine::new(Shared { driver: send, clock, broken, runtime, thread, journal, supervisor }))
    }

    /// The driver, its clock, the full path of the journal, and the supervisor's folder.
    fn driver(
        self,
        path: &Path,
        runtime: Handle,
        inbox: mpsc::Sender<Message>,
    ) -> Result<(Driver, Arc<dyn Clock>, PathBuf, PathBuf)> {
        let start = SystemClock::new(Time::default());
        let journal: Box<dyn Journal> = match self.durability {
            Durability::Memory => Box::new(MemoryJournal::new()),
            durability => Box::new(SqliteJournal::open(path, durability, &start)?),
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(journal.last_time()));
        let epoch = journal.epoch();
        let memory = self.durability == Durability::Memory;
        // A journal has one supervisor, one folder of logs and one mark, by whatever name it was opened.
        let full = if memory { std::path::absolute(path) } else { std::fs::canonicalize(path) }.map_err(|error| {
            Error::new(Kind::Io, "can't tell the journal's full path").with("path", path.display()).because(error)
        })?;
        let folder = if memory { own_folder() } else { ".supervisor".to_owned() };
        let folder = beside(&full, &folder);
        let supervisor = Supervisor::new(folder.clone(), self.launcher, epoch);
        let reports = inbox.clone();
        let report = Arc::new(move |service: &str, report| {
            // The driver is gone only when the engine is.
            let _ = reports.send(Message::Report { service: service.to_owned(), report });
        });
        let fleet = Fleet::new(runtime.clone(), supervisor, report);
        // A release without a directory of its own runs where the program that ships it does, not where the supervisor is.
        let dir = std::env::current_dir().ok().and_then(|dir| dir.into_os_string().into_string().ok());
        let kernel = Kernel::open(journal, dir)?;
        let logs = (!memory).then(|| logs::folder_of(&full));
        let mark = full.display().to_string();
        let secrets = Arc::new(Secrets::new(self.secrets)?);
        let driver = Driver::new(kernel, Arc::clone(&clock), runtime, inbox, fleet, secrets, mark, logs);
        Ok((driver, clock, full, folder))
    }
}

/// The folder of a supervisor that no other engine, now or later, may take for its own: without a journal neither the
/// driver's epoch nor a service's generation goes on from what is in force there.
fn own_folder() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let started = Identity::own().map_or(0, |own| own.started);
    format!(".{}-{started}-{}.supervisor", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What ended the engine's thread, a panic too.
fn caught(work: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(Error::new(Kind::Internal, format!("the engine's thread panicked: {}", panic_text(panic.as_ref()))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::define::Pipeline;

    #[tokio::test]
    async fn a_panic_of_the_engines_thread_leaves_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let (up, bye) = (dir.path().join("up"), dir.path().join("bye"));
        let mut p = Pipeline::new("p");
        let script = format!("trap 'touch {}; exit 0' TERM; touch {}; sleep 600 & wait", bye.display(), up.display());
        let _ = p.shell("a", script);
        let engine = Engine::open(dir.path().join("release.db")).await.unwrap();
        let run = engine.run(&p).start().await.unwrap();
        let until = async |path: &Path| {
            while !path.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        until(&up).await;
        engine.shared.driver.send(Message::Ask(Box::new(|_| panic!("a fault of ours")))).unwrap();
        assert_eq!(run.outcome().await.unwrap_err().kind(), Kind::Internal);
        let error = engine.runs(1).await.unwrap_err();
        assert!(error.kind() == Kind::Internal && error.to_string().contains("a fault of ours"), "{error}");
        until(&bye).await;
        // The lock went with the thread.
        let engine = Engine::open(dir.path().join("release.db")).await.unwrap();
        engine.cancel(run.id(), "ann", "").await.unwrap().outcome().await.unwrap();
        engine.close().await.unwrap();
    }
}
