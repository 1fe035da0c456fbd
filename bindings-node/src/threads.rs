//! A runtime that ends within a bound and never blocks where it must not.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tidegate::{Error, Kind, Result};
use tokio::runtime::{Builder, Handle, Runtime};

/// How often it is looked whether tasks have ended.
const LOOK: Duration = Duration::from_millis(5);

/// The threads of all checks and readers; they end with the last one.
static SHARED: Mutex<Weak<Threads>> = Mutex::new(Weak::new());

/// The way to a runtime for who may outlive it: a handle of tokio's would keep the runtime's files open.
#[derive(Debug, Clone)]
pub(crate) struct Reach(Arc<Mutex<Option<Handle>>>);

impl Reach {
    /// Spawns a task; without a runtime it is dropped.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(handle) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            handle.spawn(task);
        }
    }
}

/// A tokio runtime of its own. Dropping it leaves its threads to end by themselves; [`Threads::join`] waits for them.
#[derive(Debug)]
pub(crate) struct Threads {
    runtime: Option<Runtime>,
    handle: Handle,
    reach: Reach,
}

impl Threads {
    /// Those that checks and readers share.
    pub(crate) fn shared() -> Result<Arc<Threads>> {
        let mut known = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(threads) = known.upgrade() {
            return Ok(threads);
        }
        let threads = Arc::new(Threads::start(1)?);
        *known = Arc::downgrade(&threads);
        Ok(threads)
    }

    /// Starts so many threads.
    pub(crate) fn start(workers: usize) -> Result<Threads> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("tidegate-io")
            .enable_all()
            .build()
            .map_err(|error| Error::new(Kind::Io, "can't start the threads for input and output").because(error))?;
        let handle = runtime.handle().clone();
        let reach = Reach(Arc::new(Mutex::new(Some(handle.clone()))));
        Ok(Threads { handle, reach, runtime: Some(runtime) })
    }

    /// What tasks are spawned on.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The same for who may outlive the threads.
    pub(crate) fn reach(&self) -> Reach {
        self.reach.clone()
    }

    /// Waits until no task is left, at most so long. Not for a thread of the runtime.
    pub(crate) fn idle(&self, within: Duration) {
        let ended = async {
            while self.handle.metrics().num_alive_tasks() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        // What is left after that is dropped with the runtime.
        let _ = self.handle.block_on(async { tokio::time::timeout(within, ended).await });
    }

    /// Drops the tasks that are left and waits for the threads, at most so long. Not for a thread of the runtime.
    pub(crate) fn join(mut self, within: Duration) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(within);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        drop(self.reach.0.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
