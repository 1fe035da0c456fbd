//! A driver turn by turn, over a journal that fails on demand.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::*;
use crate::engine::fleet::Supervisor;
use crate::error::Kind;
use crate::journal::{Append, InboxItem, Journal, MAX_BODY, MemoryJournal, RunEntry, Stored, Verified};
use crate::pipeline::{Cause, StepError};
use crate::supervisor::Launcher;
use crate::time::{Span, Time, VirtualClock};

/// What goes wrong with a journal: which calls fail, and with what. Each failure is used once.
#[derive(Debug, Default)]
struct Faults {
    append: VecDeque<Error>,
    read: VecDeque<Error>,
    inbox: VecDeque<Error>,
    /// Whether only what is marked as the way back can be written.
    full: bool,
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
        if faults.full && !appends.iter().any(|append| append.way_back) {
            return Err(io());
        }
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
    fn runs(&self, limit: usize) -> Result<Vec<RunEntry>> {
        self.inner.runs(limit)
    }
    fn unfinished(&self) -> Result<Vec<RunEntry>> {
        self.inner.unfinished()
    }
    fn services(&self) -> Result<Vec<StreamId>> {
        self.inner.services()
    }
    fn inbox(&mut self) -> Result<Vec<InboxItem>> {
        next(&mut self.faults.lock().unwrap().inbox)?;
        self.inner.inbox()
    }
    fn damaged_inbox(&mut self) -> Result<Vec<(u64, Error)>> {
        self.inner.damaged_inbox()
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
    clock: Arc<VirtualClock>,
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
        let supervisor = Supervisor::new("/nowhere".into(), Some(Launcher::command("/nowhere")), 1);
        let fleet = Fleet::new(runtime.handle().clone(), supervisor, Arc::new(|_, _| {}));
        let clock = Arc::new(VirtualClock::default());
        let shared: Arc<dyn Clock> = Arc::<VirtualClock>::clone(&clock);
        let secrets = Arc::new(Secrets::new(BTreeMap::new()).unwrap());
        let handle = runtime.handle().clone();
        let driver = Driver::new(kernel, shared, handle, send.clone(), fleet, secrets, "test".into(), None);
        Stage { driver, send, messages, faults, clock, _runtime: runtime }
    }

    /// Starts a run of a definition; its attempts never begin, as nobody drives the runtime.
    fn start(&mut self, id: &str, spec: Value) -> StreamId {
        self.try_start(id, spec).unwrap()
    }

    fn try_start(&mut self, id: &str, spec: Value) -> Result<StreamId> {
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
        begun.try_recv().unwrap().map(|begun| begun.run)
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
    stage.ends(&run, "s0", failed("x".repeat(MAX_BODY)));
    stage.ends(&run, "s1", StepOutcome::Succeeded { value: json!(1) });
    stage.turn();
    let stored = stage.stored(&run);
    let finished =
        |step| stored.iter().find(|e| e["kind"] == "step_finished" && e["step"] == step).unwrap().to_string();
    let told = "what it ended with can't be recorded: it is too large for the journal";
    assert!(finished("s0").len() < 1_000, "{} bytes", finished("s0").len());
    assert!(finished("s0").contains(told), "{}", finished("s0"));
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

fn io() -> Error {
    Error::new(Kind::Io, "the disk is on fire")
}

#[test]
fn deadlines_are_met_whatever_the_inbox_says() {
    let mut stage = Stage::new();
    let mut spec = steps(1);
    spec["steps"][0]["retry"] = json!({ "attempts": 2, "initial": "1s", "jitter": "none" });
    let run = stage.start("a", spec);
    stage.ends(&run, "s0", failed("once".into()));
    stage.turn();
    stage.faults.lock().unwrap().inbox.extend((0..9).map(|_| io()));
    stage.clock.advance_to(stage.clock.now().after(Span::seconds(2)));
    stage.turn();
    assert_eq!(stage.stored(&run).last().unwrap()["kind"], "step_started");
    assert!(stage.driver.trouble.is_some());
}

#[test]
fn a_run_that_can_not_be_read_again_at_once_is_not_lost() {
    let mut stage = Stage::new();
    let run = stage.start("a", steps(1));
    stage.ends(&run, "s0", StepOutcome::Succeeded { value: json!(1) });
    stage.fail([io()]);
    stage.faults.lock().unwrap().read.extend([io(), io(), io()]);
    stage.turn();
    assert!(stage.driver.kernel.run(&run).is_none(), "it can't be read");
    // What is asked meanwhile waits, and is answered: here too late to change how it ended.
    let (reply, mut cancelled) = oneshot::channel();
    let cancel = Command::Cancel { by: "ann".into(), reason: String::new() };
    stage.send.send(Message::Command(run.clone(), cancel, reply)).unwrap();
    stage.turn();
    assert!(cancelled.try_recv().is_err(), "nothing is decided");
    stage.turn();
    stage.turn();
    cancelled.try_recv().unwrap().unwrap();
    assert_eq!(stage.stored(&run).last().unwrap()["outcome"], "succeeded");
    // A journal that can't be read for good ends the engine, and a close is heard before that.
    for close in [true, false] {
        let mut stage = Stage::new();
        let run = stage.start("a", steps(1));
        stage.ends(&run, "s0", StepOutcome::Succeeded { value: json!(1) });
        stage.fail([io()]);
        stage.faults.lock().unwrap().read.extend((0..20).map(|_| io()));
        stage.turn();
        if close {
            stage.send.send(Message::Close(oneshot::channel().0)).unwrap();
        }
        let end = std::iter::repeat_with(|| stage.driver.turn(&stage.messages)).take(8).flatten().next();
        assert_eq!(matches!(end, Some(End::Closed(_))), close);
        assert!(end.is_some());
    }
}

/// A pipeline that ships a version, as JSON.
fn ship(version: &str) -> Value {
    let mut pipeline = crate::define::Pipeline::new("p");
    let release = crate::service::Release {
        version: version.into(),
        command: vec!["server".into()],
        env: BTreeMap::new(),
        dir: None,
    };
    let rollout = crate::define::Rollout::blue_green("shop").listen("127.0.0.1:0");
    let _ = pipeline.rollout_of("ship", rollout, release);
    serde_json::to_value(pipeline.parts().0).unwrap()
}

#[test]
fn a_service_is_not_held_by_a_rollout_that_the_journal_never_got() {
    let mut stage = Stage::new();
    stage.fail([io()]);
    stage.faults.lock().unwrap().read.extend([io(), io()]);
    assert_eq!(stage.try_start("a", ship("v1")).unwrap_err().message(), "it could not be recorded");
    assert!(stage.driver.kernel.service("shop").is_none());
    for _ in 0..3 {
        stage.turn();
    }
    let run = stage.start("b", ship("v1"));
    let claim = stage.driver.kernel.service("shop").unwrap().claim.clone().unwrap();
    assert_eq!(claim.run, run.name());
}

#[test]
fn a_loss_of_the_world_is_recorded_although_the_first_commit_of_it_fails() {
    let stream = StreamId::service("shop").unwrap();
    let mut inner = MemoryJournal::new();
    let definition = json!({
        "release": { "version": "v1", "command": ["server"] },
        "replicas": 2, "ready": null, "drain": "30s", "grace": "10s",
    });
    let serving = json!({
        "listen": "127.0.0.1:0", "measure": { "window": "10s", "warmup": "0s" },
        "request_timeout": "60s", "max_body_bytes": 1,
    });
    let claim = json!({ "run": "r", "step": "ship", "version": "v1" });
    let events = [
        json!({ "kind": "claimed", "service": "shop", "claim": claim, "definition": definition }),
        json!({ "kind": "changed", "generation": 1, "epoch": 1, "sizes": { "v1": 2 }, "weights": { "v1": 10_000 },
            "serving": serving }),
        json!({ "kind": "promoted", "version": "v1", "kept": [] }),
        json!({ "kind": "released", "outcome": "promoted", "reason": "v1 promoted" }),
    ];
    let records = events.iter().map(|event| crate::journal::Record::json(Time(0), event).unwrap()).collect();
    inner.append(vec![Append::new(stream.clone(), 0, records)], &[]).unwrap();

    let mut stage = Stage::over(inner);
    let report = |report| Message::Report { service: "shop".into(), report };
    stage.send.send(report(Report::Lost("the supervisor is gone".into()))).unwrap();
    for running in 0..3 {
        let version = crate::service::ObservedVersion { running, ..Default::default() };
        let versions = BTreeMap::from([("v1".to_owned(), version)]);
        let observed = crate::service::Observed { versions, ..Default::default() };
        stage.send.send(report(Report::Observed(observed))).unwrap();
    }
    stage.fail([io()]);
    stage.turn();
    // Of the views only the last one is kept.
    assert_eq!(stage.driver.again.len(), 2, "{:?}", stage.driver.again);
    stage.turn();
    assert_eq!(stage.stored(&stream).last().unwrap()["kind"], "world_lost");
}

#[test]
fn a_rollout_turns_back_into_the_reserve_and_the_engine_goes_on() {
    let mut stage = Stage::new();
    let run = stage.start("a", ship("v1"));
    stage.faults.lock().unwrap().full = true;
    let observed = crate::service::Observed { generation: 1, ..Default::default() };
    stage.send.send(Message::Report { service: "shop".into(), report: Report::Observed(observed) }).unwrap();
    for _ in 0..8 {
        assert!(!format!("{:?}", stage.stored(&run)).contains("turned_back"));
        stage.turn();
    }
    let stored = stage.stored(&run);
    let turned = stored.iter().find(|event| event["event"]["kind"] == "turned_back").expect("it turned back");
    assert!(turned.to_string().contains("the journal can't be written"), "{turned}");
    assert_eq!(stage.driver.tries, 0);
}
