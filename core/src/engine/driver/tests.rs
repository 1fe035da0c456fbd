//! A driver turn by turn, over a journal that fails on demand.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::*;
use crate::engine::fleet::Supervisor;
use crate::error::Kind;
use crate::journal::{Append, InboxItem, Journal, MemoryJournal, RunRow, Stored, Verified};
use crate::pipeline::{Cause, StepError};
use crate::time::{Time, VirtualClock};

/// What goes wrong with a journal: which calls fail, and with what. Each failure is used once.
#[derive(Debug, Default)]
struct Faults {
    append: VecDeque<Error>,
    read: VecDeque<Error>,
    inbox: VecDeque<Error>,
    /// How many bytes the largest append had.
    largest: usize,
}

#[derive(Debug)]
struct Faulty {
    inner: MemoryJournal,
    faults: Arc<Mutex<Faults>>,
}

fn next(queue: &mut VecDeque<Error>) -> Result<()> {
    queue.pop_front().map_or(Ok(()), Err)
}

impl Journal for Faulty {
    fn append(&mut self, appends: Vec<Append>, took: &[u64]) -> Result<()> {
        let mut faults = self.faults.lock().unwrap();
        next(&mut faults.append)?;
        let bytes = appends.iter().flat_map(|append| &append.events).map(|event| event.body.len()).sum();
        faults.largest = faults.largest.max(bytes);
        self.inner.append(appends, took)
    }
    fn read(&mut self, stream: &StreamId) -> Result<Vec<Stored>> {
        next(&mut self.faults.lock().unwrap().read)?;
        self.inner.read(stream)
    }
    fn head(&self, stream: &StreamId) -> Result<u64> {
        self.inner.head(stream)
    }
    fn find_run(&self, pipeline: &str, key: &str) -> Result<Option<StreamId>> {
        self.inner.find_run(pipeline, key)
    }
    fn runs(&self, limit: usize) -> Result<Vec<RunRow>> {
        self.inner.runs(limit)
    }
    fn unfinished(&self) -> Result<Vec<RunRow>> {
        self.inner.unfinished()
    }
    fn services(&self) -> Result<Vec<StreamId>> {
        self.inner.services()
    }
    fn inbox(&mut self) -> Result<Vec<InboxItem>> {
        next(&mut self.faults.lock().unwrap().inbox)?;
        self.inner.inbox()
    }
    fn epoch(&self) -> u64 {
        self.inner.epoch()
    }
    fn last_time(&self) -> Time {
        self.inner.last_time()
    }
    fn reserve(&mut self) -> Result<()> {
        self.inner.reserve()
    }
    fn prune(&mut self, stream: &StreamId) -> Result<()> {
        self.inner.prune(stream)
    }
    fn verify(&mut self) -> Result<Verified> {
        self.inner.verify()
    }
    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// A driver whose turns are counted out, and what it is told.
struct Stage {
    driver: Driver,
    send: Sender<Message>,
    messages: Receiver<Message>,
    faults: Arc<Mutex<Faults>>,
    _runtime: Runtime,
}

impl Stage {
    fn new() -> Stage {
        Stage::over(MemoryJournal::new())
    }

    fn over(inner: MemoryJournal) -> Stage {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let faults = Arc::<Mutex<Faults>>::default();
        let kernel = Kernel::open(Box::new(Faulty { inner, faults: Arc::clone(&faults) }), None).unwrap();
        let (send, messages) = mpsc::channel();
        let supervisor = Supervisor::new("/nowhere".into(), None, 1);
        let fleet = Fleet::new(runtime.handle().clone(), supervisor, Arc::new(|_, _| {}));
        let secrets = Arc::new(Secrets::new(BTreeMap::new()).unwrap());
        let handle = runtime.handle().clone();
        let driver = Driver::new(
            kernel,
            Arc::new(VirtualClock::default()),
            handle,
            send.clone(),
            fleet,
            secrets,
            "test".into(),
            None,
        );
        Stage { driver, send, messages, faults, _runtime: runtime }
    }

    /// Starts a run of a definition; its attempts never begin, as nobody drives the runtime.
    fn start(&mut self, id: &str, spec: Value) -> StreamId {
        let begin = Begin {
            spec: serde_json::from_value(spec).unwrap(),
            functions: Functions::default(),
            key: Some(id.to_owned()),
            params: Value::Null,
            id: id.to_owned(),
            seed: 1,
            cores: 1_000,
            rerun_failed: None,
        };
        let (reply, mut begun) = oneshot::channel();
        self.send.send(Message::Start(Box::new(begin), reply)).unwrap();
        self.turn();
        begun.try_recv().unwrap().unwrap().run
    }

    fn turn(&mut self) {
        if let Some(End::Broken(error)) = self.driver.turn(&self.messages) {
            panic!("the engine gave up: {error}");
        }
    }

    fn ends(&self, run: &StreamId, step: &str, outcome: StepOutcome) {
        let started = self.driver.runs[run].attempts[step].token;
        let outcome = Message::Outcome { run: run.clone(), step: step.into(), attempt: 1, token: started, outcome };
        self.send.send(outcome).unwrap();
    }

    /// What the journal holds of a run, as JSON.
    fn stored(&mut self, run: &StreamId) -> Vec<Value> {
        let stored = self.driver.kernel.journal().read(run).unwrap();
        stored.iter().map(|event| event.decode::<Value>().unwrap()).collect()
    }

    fn fail(&self, errors: impl IntoIterator<Item = Error>) {
        self.faults.lock().unwrap().append.extend(errors);
    }
}

/// A definition of so many commands that don't wait for each other.
fn steps(n: usize) -> Value {
    let step = |i| json!({ "name": format!("s{i}"), "action": { "kind": "command", "argv": ["true"] } });
    json!({ "name": "p", "max_parallel": n, "steps": (0..n).map(step).collect::<Vec<_>>() })
}

fn failed(message: String) -> StepOutcome {
    StepOutcome::Failed { error: StepError::new(Cause::Exception, message), retry_in: None }
}

fn in_use() -> Error {
    Error::new(Kind::Busy, "can't write events").retry_later()
}

#[test]
fn an_outcome_that_is_too_large_fails_its_step_and_harms_no_other() {
    let mut stage = Stage::new();
    let run = stage.start("a", steps(2));
    stage.ends(&run, "s0", failed("x".repeat(5 << 20)));
    stage.ends(&run, "s1", StepOutcome::Succeeded { value: json!(1) });
    stage.turn();
    let stored = stage.stored(&run);
    let finished =
        |step| stored.iter().find(|e| e["kind"] == "step_finished" && e["step"] == step).unwrap().to_string();
    let told = "what it ended with can't be recorded: it is too large for the journal";
    assert!(finished("s0").contains(told) && finished("s0").len() < 1_000, "{}", finished("s0"));
    assert!(finished("s1").contains("succeeded"), "{}", finished("s1"));
    assert_eq!(stored.last().unwrap()["outcome"], "failed");
}

#[test]
fn a_burst_of_large_values_goes_into_more_than_one_commit() {
    // The second time it is fed again.
    for failures in [0, 1] {
        let mut stage = Stage::new();
        let run = stage.start("a", steps(40));
        for i in 0..40 {
            stage.ends(&run, &format!("s{i}"), StepOutcome::Succeeded { value: json!("x".repeat(1_000_000)) });
        }
        stage.fail((0..failures).map(|_| in_use()));
        for _ in 0..10 {
            stage.turn();
        }
        assert!(stage.driver.kernel.run(&run).is_none(), "it has ended and was let go");
        let largest = stage.faults.lock().unwrap().largest;
        assert!(largest < 32 << 20, "{largest}");
    }
}

#[test]
fn a_database_in_use_is_waited_for_and_a_later_driver_is_not() {
    let mut stage = Stage::new();
    let run = stage.start("a", steps(1));
    stage.ends(&run, "s0", StepOutcome::Succeeded { value: json!(1) });
    stage.fail((0..12).map(|_| in_use()));
    for _ in 0..12 {
        stage.turn();
    }
    assert_eq!(stage.stored(&run).last().unwrap()["kind"], "step_started");
    stage.turn();
    assert_eq!(stage.stored(&run).last().unwrap()["kind"], "run_finished");

    let mut stage = Stage::new();
    let run = stage.start("a", steps(1));
    stage.ends(&run, "s0", StepOutcome::Succeeded { value: json!(1) });
    stage.fail([Error::new(Kind::Busy, "fenced off by epoch 2")]);
    let Some(End::Broken(error)) = stage.driver.turn(&stage.messages) else { panic!("it goes on") };
    assert_eq!(error.message(), "fenced off by epoch 2");
}
