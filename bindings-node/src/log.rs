//! The core's log lines for Node: queued by whichever thread says them, taken by the thread whose engine it is.

use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use tidegate::host_log::LogQueue;
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;

use crate::call::Listener;
use crate::promise::text;

/// What the engines of one environment (the main thread or a worker) say. Nothing is heard at first.
///
/// It is a subscriber of `tracing` for these engines alone, and no global one. That copy of `tracing` is this library's
/// own: a `cdylib` shows nothing but its module's entry (`nm -D --defined-only`).
#[napi]
pub struct NativeLog {
    queue: LogQueue,
    dispatch: Dispatch,
}

#[napi]
impl NativeLog {
    /// `listener` is called when there is something to take. It keeps no process alive.
    #[napi(constructor)]
    pub fn new(listener: Listener) -> NativeLog {
        let queue = LogQueue::new(move || {
            // When Node is about to end, nobody takes anything any more.
            listener.call(String::new(), ThreadsafeFunctionCallMode::NonBlocking);
        });
        NativeLog { dispatch: Dispatch::new(queue.clone()), queue }
    }

    /// Says whether anybody listens.
    #[napi]
    pub fn listen(&self, listens: bool) {
        self.queue.set_levels(|_| if listens { LevelFilter::TRACE } else { LevelFilter::OFF });
    }

    /// Takes the lines that wait, as JSON.
    #[napi]
    pub fn take(&self) -> Vec<String> {
        // A line is texts and numbers, which JSON can hold.
        self.queue.take().iter().filter_map(|line| text(line).ok()).collect()
    }
}

impl NativeLog {
    /// Where an engine is to say what it has to.
    pub(crate) fn dispatch(&self) -> Dispatch {
        self.dispatch.clone()
    }
}
