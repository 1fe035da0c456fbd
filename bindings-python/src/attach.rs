//! The one way from our threads into Python: it is shut before the interpreter ends. A thread that is inside, or wants
//! in, while the interpreter is finalized ends the whole process with an abort.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// How long leaving waits for those inside: they start a thread or wake a loop, and take no longer than the
/// interpreter keeps them waiting.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// Set when nobody may go in any more.
const SHUT: usize = 1 << (usize::BITS - 1);

/// How many are inside, and whether it is shut.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// The process that the count belongs to: a forked child has none of the threads.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Runs something with the interpreter; `None` when that is about to end, or has.
pub(crate) fn attach<T>(work: impl FnOnce(Python<'_>) -> T) -> Option<T> {
    let inside = Inside::enter()?;
    let done = Python::try_attach(work);
    drop(inside);
    done
}

/// Does something without the interpreter, such as waiting, and comes back to it. A thread that comes back to one that
/// ends stays where it is.
pub(crate) fn reattached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    let (done, inside) = py.detach(|| {
        let done = work();
        loop {
            match Inside::enter() {
                Some(inside) => return (done, inside),
                None => std::thread::park(),
            }
        }
    });
    drop(inside);
    done
}

struct Inside;

impl Inside {
    fn enter() -> Option<Inside> {
        let before = INSIDE.fetch_add(1, Ordering::SeqCst);
        let inside = Inside;
        (before & SHUT == 0).then_some(inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Remembers the process whose threads are counted.
#[pyfunction]
pub(crate) fn arrive() {
    PROCESS.store(std::process::id(), Ordering::SeqCst);
}

/// Shuts the way in, and waits until nobody is inside. Called at exit, before the interpreter ends.
#[pyfunction]
pub(crate) fn leave(py: Python<'_>) {
    if PROCESS.load(Ordering::SeqCst) != std::process::id() {
        return;
    }
    INSIDE.fetch_or(SHUT, Ordering::SeqCst);
    py.detach(|| {
        let begun = Instant::now();
        while INSIDE.load(Ordering::SeqCst) != SHUT && begun.elapsed() < LEAVE_WITHIN {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    });
}
