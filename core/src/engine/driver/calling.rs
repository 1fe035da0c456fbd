//! Attempts whose work is done elsewhere: they are polled on the engine's own thread, as a way to a thread of the runtime
//! and back would cost more than the polling.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::task::{Context, Poll, Wake, Waker};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Handle;

use super::Message;

/// The attempts that wait for somebody else's answer.
pub(super) struct Calls {
    under_way: FuturesUnordered<BoxFuture<'static, Message>>,
    bell: Arc<Bell>,
}

/// Wakes the engine's thread, once until it looks.
struct Bell {
    inbox: Sender<Message>,
    rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // The driver is gone only with the attempts.
            let _ = self.inbox.send(Message::Answered);
        }
    }
}

impl Calls {
    pub(super) fn new(inbox: Sender<Message>) -> Calls {
        Calls { under_way: FuturesUnordered::new(), bell: Arc::new(Bell { inbox, rung: AtomicBool::new(false) }) }
    }

    /// Takes an attempt; it begins with the next [`answered`](Calls::answered).
    pub(super) fn begin(&self, attempt: impl Future<Output = Message> + Send + 'static) {
        self.under_way.push(Box::pin(attempt));
    }

    /// Begins what is new, and takes what those that were answered say. Time-outs are the runtime's.
    pub(super) fn answered(&mut self, runtime: &Handle) -> Vec<Message> {
        let mut ended = Vec::new();
        if self.under_way.is_empty() {
            return ended;
        }
        let _within = runtime.enter();
        // Before they are polled: what is answered meanwhile rings again.
        self.bell.rung.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut context = Context::from_waker(&waker);
        while let Poll::Ready(Some(message)) = Pin::new(&mut self.under_way).poll_next(&mut context) {
            ended.push(message);
        }
        ended
    }
}
