//! Bodies on their way: never gathered, always frame by frame, as fast as the receiving side takes them.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::instance::{Lease, Sender};
use super::ticket::Ticket;

type Cause = Box<dyn Error + Send + Sync>;

/// What a request's body has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Flow {
    /// The instance is to take more of it.
    Moving,
    /// The client is to send more of it.
    Awaited,
    /// The client broke it off or sent nonsense.
    Broken,
    /// It is larger than allowed.
    TooLarge,
    /// All of it was handed on.
    Whole,
    /// The instance wants no more of it.
    Dropped,
}

/// A request's body as those who wait for the answer see it.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    moved: AtomicU64,
    flow: AtomicU8,
}

impl Progress {
    pub(super) fn new() -> Progress {
        #[allow(clippy::disallowed_methods, reason = "the time-out of a real request")]
        let began = Instant::now();
        Progress { began, moved: AtomicU64::new(0), flow: AtomicU8::new(Flow::Moving as u8) }
    }

    fn set(&self, flow: Flow) {
        self.flow.store(flow as u8, Ordering::Release);
    }

    pub(super) fn flow(&self) -> Flow {
        let flow = self.flow.load(Ordering::Acquire);
        let all = [Flow::Moving, Flow::Awaited, Flow::Broken, Flow::TooLarge, Flow::Whole, Flow::Dropped];
        all.into_iter().find(|known| *known as u8 == flow).unwrap_or(Flow::Moving)
    }

    /// When the body last made progress.
    pub(super) fn moved(&self) -> Instant {
        self.began + Duration::from_millis(self.moved.load(Ordering::Acquire))
    }
}

/// A request's body on its way to an instance.
pub(super) struct Upload {
    inner: Option<Incoming>,
    left: u64,
    progress: Option<Arc<Progress>>,
}

impl Upload {
    /// No body.
    pub(super) fn empty() -> Upload {
        Upload { inner: None, left: 0, progress: None }
    }

    /// A body of at most `limit` bytes.
    pub(super) fn new(inner: Incoming, limit: u64, progress: Arc<Progress>) -> Upload {
        Upload { inner: Some(inner), left: limit, progress: Some(progress) }
    }

    fn mark(&self, flow: Flow) {
        if let Some(progress) = &self.progress {
            progress.set(flow);
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Cause;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        let Some(inner) = self.inner.as_mut() else { return Poll::Ready(None) };
        let frame = match Pin::new(inner).poll_frame(cx) {
            Poll::Pending => {
                self.mark(Flow::Awaited);
                return Poll::Pending;
            }
            Poll::Ready(frame) => frame,
        };
        if let Some(progress) = &self.progress {
            let moved = u64::try_from(progress.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            progress.moved.store(moved, Ordering::Release);
        }
        match frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(left) = self.left.checked_sub(length) else {
                    self.inner = None;
                    self.mark(Flow::TooLarge);
                    return Poll::Ready(Some(Err("the request's body is larger than allowed".into())));
                };
                self.left = left;
                self.mark(Flow::Moving);
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.inner = None;
                self.mark(Flow::Broken);
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                self.inner = None;
                self.mark(Flow::Whole);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(inner) = &self.inner {
            self.mark(if inner.is_end_stream() { Flow::Whole } else { Flow::Dropped });
        }
    }
}

/// An instance's answer on its way to the client. Its end, by whatever cause, ends the request.
pub(super) struct Download {
    pub(super) inner: Incoming,
    pub(super) ticket: Ticket,
    pub(super) lease: Lease,
    pub(super) sender: Option<Sender>,
    pub(super) progress: Option<Arc<Progress>>,
    /// How long it may stand still.
    pub(super) patience: Duration,
    /// Runs while it stands still.
    pub(super) stall: Option<Pin<Box<Sleep>>>,
    pub(super) idle_connections: usize,
    pub(super) over: bool,
}

impl Download {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.stall = None;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let ours = self.progress.as_ref().is_some_and(|progress| {
                    // The client's own body tore the connection down.
                    matches!(progress.flow(), Flow::Broken | Flow::TooLarge)
                });
                if !ours {
                    self.ticket.failed();
                }
                self.sender = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                self.over = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let patience = self.patience;
                let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                ready!(stall.as_mut().poll(cx));
                self.ticket.failed();
                self.sender = None;
                Poll::Ready(Some(Err("the instance's answer stood still for too long".into())))
            }
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let over = self.over || self.inner.is_end_stream();
        let sent = self.progress.as_ref().is_none_or(|progress| progress.flow() == Flow::Whole);
        if let Some(sender) = self.sender.take()
            && over
            && sent
        {
            self.lease.upstream().put(sender, self.idle_connections);
        }
    }
}

/// What a client gets.
pub(super) enum Answer {
    /// A short text of our own.
    Text(Option<Bytes>),
    /// What an instance says.
    From(Download),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Cause;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        match &mut *self {
            Answer::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Answer::From(download) => download.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Text(text) => text.is_none(),
            Answer::From(download) => download.over || download.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Answer::From(download) => download.inner.size_hint(),
        }
    }
}
