//! The calls that the core makes of Python functions: threads of Python's take them, one after the other, and answer by
//! number from whichever thread they like.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use serde_json::Value;
use tidegate::Context;
use tidegate::pipeline::{Cause, StepError};
use tokio::sync::oneshot;

use crate::attach::reattached;
use crate::host::seconds;

/// How a call ended.
pub(crate) type Answer = Result<Value, StepError>;

/// The calls that Python has not answered yet.
#[pyclass(frozen, module = "tidegate._tidegate")]
#[derive(Debug, Default)]
pub(crate) struct Calls {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    open: Mutex<Open>,
    /// There is something to take, or nothing will come any more.
    changed: Condvar,
    /// There is more to take than there are threads that wait, or nothing will come any more.
    crowded: Condvar,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    calls: BTreeMap<u64, UnderWay>,
    queue: VecDeque<Item>,
    /// Threads that wait for something to take.
    waiting: usize,
    /// How often something was taken.
    taken: u64,
    /// How many threads were asked for the last time, while there were too few.
    grown: usize,
    closed: bool,
}

/// A call that has not ended.
#[derive(Debug)]
struct UnderWay {
    /// Who waits for the answer; `None` once it was given up.
    answer: Option<oneshot::Sender<Answer>>,
    /// Says that the attempt of a step still runs.
    context: Option<Context>,
    /// It was asked to end.
    stopped: bool,
}

/// What a thread takes.
#[derive(Debug)]
enum Item {
    Begin(u64, Arc<Py<PyAny>>, String),
    Stop(u64),
}

/// For Python: a call's number, its function and payload. Without these the call is to be asked to end.
type Taken = (u64, Option<Py<PyAny>>, Option<String>);

/// When nothing was taken for so long, those who could are blocked, and others are needed. Long enough for many calls
/// that do little, so that they don't each get a thread.
const BLOCKED: Duration = Duration::from_millis(2);

#[pymethods]
impl Calls {
    /// No calls yet.
    #[new]
    fn new() -> Calls {
        Calls::default()
    }

    /// Waits for the next thing to do; `None` when there will be none, or when this thread has waited for so many
    /// seconds and others do as well.
    fn take(&self, py: Python<'_>, patience: f64) -> Option<Taken> {
        let item = self.shared.lock().pop();
        // Without letting the interpreter go where that is not needed: many short calls are done in a row.
        let item = match item {
            Some(item) => item,
            None => {
                let patience = seconds(patience);
                reattached(py, || self.shared.wait(patience))?
            }
        };
        self.shared.tell_if_crowded();
        Some(match item {
            Item::Begin(id, function, payload) => (id, Some(function.clone_ref(py)), Some(payload)),
            Item::Stop(id) => (id, None, None),
        })
    }

    /// Waits until there are calls and nobody to take them, and says how many more threads are to; `None` when there will
    /// be no more calls.
    fn crowded(&self, py: Python<'_>) -> Option<usize> {
        reattached(py, || self.shared.crowded())
    }

    /// Whether a call was asked to end.
    fn is_stopped(&self, id: u64) -> bool {
        self.shared.lock().calls.get(&id).is_none_or(|call| call.stopped)
    }

    /// The call has ended, with an answer to follow or with none.
    fn ended(&self, id: u64) {
        let mut open = self.shared.lock();
        if let Some(call) = open.calls.get_mut(&id) {
            call.context = None;
            if call.answer.is_none() {
                open.calls.remove(&id);
            }
        }
    }

    /// Answers a call: with a value as JSON text, or with an error's message and traceback. A second answer, or one
    /// that nobody waits for any more, changes nothing.
    #[pyo3(signature = (id, value=None, error=None, detail=None, bad_value=false, permanent=false))]
    fn finish(
        &self,
        id: u64,
        value: Option<&str>,
        error: Option<String>,
        detail: Option<String>,
        bad_value: bool,
        permanent: bool,
    ) {
        let cause = if bad_value { Cause::BadValue } else { Cause::Exception };
        let answer = match (value, error) {
            (_, Some(message)) => Err(StepError { detail, permanent, ..StepError::new(cause, message) }),
            (value, None) => serde_json::from_str(value.unwrap_or("null"))
                .map_err(|error| StepError::new(Cause::BadValue, format!("the value is not JSON: {error}"))),
        };
        let call = self.shared.lock().calls.remove(&id);
        if let Some(waiting) = call.and_then(|call| call.answer) {
            // The call may have been given up in the meantime.
            let _ = waiting.send(answer);
        }
    }

    /// Sends the threads that wait away. What was not begun never is: its attempt is cut off.
    fn close(&self) {
        let mut open = self.shared.lock();
        open.closed = true;
        let left = std::mem::take(&mut open.queue);
        drop(open);
        self.shared.changed.notify_all();
        self.shared.crowded.notify_all();
        drop(left);
    }

    pub(crate) fn __repr__(&self) -> String {
        let open = self.shared.lock();
        format!("Calls({} under way, {} threads waiting)", open.calls.len(), open.waiting)
    }
}

impl Calls {
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a call into the queue; what is to be held while it runs is its context.
    pub(crate) fn begin(
        &self,
        function: Arc<Py<PyAny>>,
        payload: String,
        context: Option<Context>,
    ) -> (u64, oneshot::Receiver<Answer>) {
        let (send, answer) = oneshot::channel();
        let mut open = self.lock();
        open.next += 1;
        let id = open.next;
        open.calls.insert(id, UnderWay { answer: Some(send), context, stopped: false });
        self.push(open, Item::Begin(id, function, payload));
        (id, answer)
    }

    /// Asks a call to end, once.
    pub(crate) fn stop(&self, id: u64) {
        let mut open = self.lock();
        if let Some(call) = open.calls.get_mut(&id)
            && !std::mem::replace(&mut call.stopped, true)
        {
            self.push(open, Item::Stop(id));
        }
    }

    /// Nobody waits for the answer any more: the call is asked to end, if it has not.
    pub(crate) fn give_up(&self, id: u64) {
        let mut open = self.lock();
        let Some(call) = open.calls.get_mut(&id) else { return };
        let waited = call.answer.take().is_some();
        if call.context.is_none() {
            open.calls.remove(&id);
        }
        drop(open);
        if waited {
            self.stop(id);
        }
    }

    fn push(&self, mut open: MutexGuard<'_, Open>, item: Item) {
        if open.closed {
            return;
        }
        open.queue.push_back(item);
        let (first, anybody) = (open.queue.len() == 1, open.waiting > 0);
        drop(open);
        if anybody {
            self.changed.notify_one();
        } else if first {
            self.crowded.notify_one();
        }
    }

    /// Those who waited may be fewer than what there is to take.
    fn tell_if_crowded(&self) {
        let open = self.lock();
        if open.grown == 0 && open.waiting == 0 && !open.queue.is_empty() {
            drop(open);
            self.crowded.notify_one();
        }
    }

    /// Waits until too few take what there is. The number doubles for as long as only those who were added take
    /// something: a thousand functions that wait are all begun within some milliseconds.
    fn crowded(&self) -> Option<usize> {
        let mut open = self.lock();
        loop {
            if open.closed {
                return None;
            }
            if open.queue.is_empty() || open.waiting > 0 {
                open.grown = 0;
                open = self.crowded.wait(open).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let before = open.taken;
            let until = Instant::now() + BLOCKED;
            loop {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() || open.closed {
                    break;
                }
                open = self.crowded.wait_timeout(open, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            let taken = usize::try_from(open.taken - before).unwrap_or(usize::MAX);
            if taken > open.grown || open.waiting > 0 {
                open.grown = 0;
                continue;
            }
            if !open.closed && !open.queue.is_empty() {
                open.grown = (open.grown * 2).clamp(1, open.queue.len());
                return Some(open.grown);
            }
        }
    }

    /// Waits for something to take.
    fn wait(&self, patience: Option<Duration>) -> Option<Item> {
        let mut open = self.lock();
        open.waiting += 1;
        loop {
            if open.closed {
                open.waiting -= 1;
                return None;
            }
            if !open.queue.is_empty() {
                open.waiting -= 1;
                if let Some(found) = open.pop() {
                    return Some(found);
                }
                open.waiting += 1;
            }
            let timed_out = match patience {
                Some(patience) => {
                    let (again, timeout) =
                        self.changed.wait_timeout(open, patience).unwrap_or_else(PoisonError::into_inner);
                    open = again;
                    timeout.timed_out()
                }
                None => {
                    open = self.changed.wait(open).unwrap_or_else(PoisonError::into_inner);
                    false
                }
            };
            if timed_out && open.queue.is_empty() && open.waiting > 1 {
                open.waiting -= 1;
                return None;
            }
        }
    }
}

impl Open {
    /// What is to be done next.
    fn pop(&mut self) -> Option<Item> {
        if self.closed {
            return None;
        }
        loop {
            let item = self.queue.pop_front()?;
            match &item {
                // It was given up before it began.
                Item::Begin(id, ..) if self.calls.get(id).is_none_or(|call| call.answer.is_none()) => {
                    self.calls.remove(id);
                }
                _ => {
                    self.taken += 1;
                    return Some(item);
                }
            }
        }
    }
}
