//! To which `tracing` subscriber an engine speaks: that of whoever opened it, on every thread. This crate sets none.

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tracing::dispatcher::{self, Dispatch};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

/// The subscriber in force here; `None` when there is none, as a global one that is set later is to count.
fn here() -> Option<Dispatch> {
    dispatcher::get_default(|dispatch| (!dispatch.is::<NoSubscriber>()).then(|| dispatch.clone()))
}

/// Wraps the work of another thread: it speaks to the subscriber that is in force here.
pub(super) fn scoped<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let here = here();
    move || match here {
        Some(dispatch) => dispatcher::with_default(&dispatch, work),
        None => work(),
    }
}

/// Spawns a task that speaks to the subscriber that is in force here.
pub(super) fn spawn<F>(runtime: &Handle, work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match here() {
        Some(dispatch) => runtime.spawn(work.with_subscriber(dispatch)),
        None => runtime.spawn(work),
    }
}
