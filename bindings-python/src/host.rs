//! What every handle shares: the runtime, while the engine is open and this is the process that opened it.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tidegate::{Error, Kind, Result};
use tokio::runtime::{Handle, Runtime};

use crate::log;

/// A runtime of our own that ends within a bound, and refuses to be used after a fork.
#[derive(Debug)]
pub(crate) struct Host {
    runtime: Mutex<Option<Runtime>>,
    pid: u32,
}

impl Host {
    /// Starts the threads.
    pub(crate) fn new(workers: usize, name: &'static str) -> Result<Host> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name(name)
            .enable_all()
            .build()
            .map_err(|error| Error::new(Kind::Io, "can't start threads").because(error))?;
        runtime.spawn(log::deliver());
        Ok(Host { runtime: Mutex::new(Some(runtime)), pid: std::process::id() })
    }

    /// Whether this is a child of the process that started the threads: they are not here.
    pub(crate) fn is_forked(&self) -> bool {
        std::process::id() != self.pid
    }

    /// Refuses in a forked child, where every wait would be for ever.
    pub(crate) fn check_process(&self) -> Result<()> {
        check_process(self.pid)
    }

    /// The runtime, to start something on it.
    pub(crate) fn handle(&self) -> Result<Handle> {
        self.check_process()?;
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = runtime.as_ref().map(|runtime| runtime.handle().clone());
        handle.ok_or_else(|| Error::new(Kind::Cancelled, "it is closed").help("open it again"))
    }

    /// Ends the threads; what they still do after `limit` is left alone.
    pub(crate) fn shut_down(&self, limit: Duration) {
        if let Some(runtime) = self.take() {
            runtime.shutdown_timeout(limit);
        }
    }

    fn take(&self) -> Option<Runtime> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let Some(runtime) = self.take() else { return };
        if self.is_forked() {
            // Its threads are not in this process: waiting for them, or waking them, would never end.
            std::mem::forget(runtime);
        } else {
            runtime.shutdown_background();
        }
    }
}

/// Refuses in a process that is not the one with this pid: it was forked from it.
pub(crate) fn check_process(opened_by: u32) -> Result<()> {
    let this = std::process::id();
    if this == opened_by {
        return Ok(());
    }
    Err(Error::new(Kind::Unsupported, "it belongs to the parent process: this one was forked from it")
        .with("opened by", opened_by)
        .with("used by", this)
        .help("open it in the process that uses it, or start children with spawn"))
}

/// Waits on this thread, at most `limit`. It needs no runtime: a wait may outlive the engine that it was begun for.
pub(crate) fn block<T>(work: impl Future<Output = T>, limit: Option<Duration>) -> Option<T> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let end = limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
            return Some(done);
        }
        match end.map(|end| end.saturating_duration_since(Instant::now())) {
            None => std::thread::park(),
            Some(Duration::ZERO) => return None,
            Some(left) => std::thread::park_timeout(left),
        }
    }
}

/// Seconds as a limit; what is no length of time is no limit.
pub(crate) fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}
