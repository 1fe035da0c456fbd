//! The core's log lines for Python's `logging`. Whichever thread says something queues it; a runtime's task then has
//! Python start the thread that takes it to the loggers. No thread of the core ever waits for the interpreter.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use tidegate::host_log::{LogQueue, PARTS};
use tokio::sync::Notify;
use tracing::level_filters::LevelFilter;

use crate::attach::attach;
use crate::error::json;

/// How long until it is tried again to start Python's thread.
const AGAIN: Duration = Duration::from_secs(1);

/// Python's numbers for the levels, lowest first. There is none for `trace`: 5 is what many use.
const LEVELS: [(u8, LevelFilter); 5] = [
    (5, LevelFilter::TRACE),
    (10, LevelFilter::DEBUG),
    (20, LevelFilter::INFO),
    (30, LevelFilter::WARN),
    (40, LevelFilter::ERROR),
];

static LOG: OnceLock<Log> = OnceLock::new();
static BELL: Mutex<Option<Bell>> = Mutex::new(None);

struct Log {
    queue: LogQueue,
    /// Starts Python's thread, and returns at once.
    wake: Py<PyAny>,
}

/// Rung when there is something to take.
struct Bell {
    rung: Arc<Notify>,
    /// The process whose tasks wait for it: a forked child needs one of its own.
    pid: u32,
}

/// The bell of this process.
fn bell() -> Arc<Notify> {
    let (mut bell, pid) = (BELL.lock().unwrap_or_else(PoisonError::into_inner), std::process::id());
    if bell.as_ref().is_some_and(|bell| bell.pid != pid)
        && let Some(log) = LOG.get()
    {
        // What the parent had not taken yet, it takes itself.
        log.queue.take();
        *bell = None;
    }
    Arc::clone(&bell.get_or_insert_with(|| Bell { rung: Arc::default(), pid }).rung)
}

/// Has Python take lines whenever there are some; a task of every runtime.
pub(crate) async fn deliver() {
    let bell = bell();
    loop {
        bell.notified().await;
        let woken = tokio::task::spawn_blocking(|| attach(|py| LOG.get().map(|log| log.wake.call0(py).is_ok()))).await;
        if let Ok(Some(Some(false))) = woken {
            tokio::time::sleep(AGAIN).await;
            bell.notify_one();
        }
    }
}

/// Says from which level on each part of the core is heard, in the order of `LOG_PARTS`; above 40 nothing is. `wake` is
/// called from another thread when there are lines to take. Before anything is heard, nothing is set up.
#[pyfunction]
pub(crate) fn log_to(wake: Py<PyAny>, levels: Vec<u8>) {
    let level_of = |part: &str| {
        let level = PARTS.iter().position(|known| *known == part).and_then(|at| levels.get(at)).copied();
        let heard = LEVELS.iter().find(|(number, _)| level.is_some_and(|level| level <= *number));
        heard.map_or(LevelFilter::OFF, |(_, filter)| *filter)
    };
    if LOG.get().is_none() && PARTS.into_iter().all(|part| level_of(part) == LevelFilter::OFF) {
        return;
    }
    let log = LOG.get_or_init(|| {
        let queue = LogQueue::new(|| bell().notify_one());
        // Global, but private: this library holds a copy of `tracing` that no other one sees, as a `cdylib` shows nothing
        // but its module's entry (`nm -D --defined-only`). It is set once, and nobody else does.
        let _ = tracing::subscriber::set_global_default(queue.clone());
        Log { queue, wake }
    });
    log.queue.set_levels(level_of);
}

/// Takes the lines that wait, as JSON.
#[pyfunction]
pub(crate) fn log_take() -> Vec<String> {
    let lines = LOG.get().map(|log| log.queue.take()).unwrap_or_default();
    // A line is texts and numbers, which JSON can hold.
    lines.iter().filter_map(|line| json(line).ok()).collect()
}

/// Whether lines wait.
#[pyfunction]
pub(crate) fn log_waits() -> bool {
    LOG.get().is_some_and(|log| !log.queue.is_empty())
}
