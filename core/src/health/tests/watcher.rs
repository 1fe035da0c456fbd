//! The watcher, on tokio's paused time with scripted probes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use crate::health::probe::{FunctionProbe, Probe};
use crate::health::{Check, CheckSpec, Outcome, ProbeSpec, State, Verdict, Watcher};
use crate::time::{Chance, Clock, Span, Time};

/// Tokio's time, which stands still while something runs and jumps when all wait.
#[derive(Debug)]
struct PausedClock(tokio::time::Instant);

impl PausedClock {
    fn start() -> Arc<PausedClock> {
        Arc::new(PausedClock(tokio::time::Instant::now()))
    }
}

impl Clock for PausedClock {
    fn now(&self) -> Time {
        Time(i64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
}

/// Answers in turn, each after a time; then hangs.
#[derive(Debug, Default)]
struct Script {
    answers: Mutex<VecDeque<(u64, Verdict)>>,
    begun: AtomicUsize,
    ended: AtomicUsize,
}

impl Script {
    fn new(answers: &[(u64, Verdict)]) -> Arc<Script> {
        Arc::new(Script { answers: Mutex::new(answers.iter().copied().collect()), ..Script::default() })
    }
}

struct Ended<'a>(&'a AtomicUsize);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Probe for Script {
    async fn run(&self) -> Outcome {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let _ended = Ended(&self.ended);
        let answer = self.answers.lock().unwrap().pop_front();
        let Some((after, verdict)) = answer else { return std::future::pending().await };
        tokio::time::sleep(Duration::from_millis(after)).await;
        Outcome::new(verdict, "scripted")
    }
}

fn check(spec: CheckSpec) -> Check {
    CheckSpec { jitter: Some(0), ..spec }.validate().unwrap()
}

fn spec() -> CheckSpec {
    CheckSpec::new(ProbeSpec::tcp("127.0.0.1:1"))
}

#[tokio::test(start_paused = true)]
async fn an_instance_becomes_ready_and_then_fails() {
    use Verdict::{Fail, Pass};
    let script = Script::new(&[(10, Fail), (10, Fail), (10, Pass), (10, Fail), (10, Fail), (10, Fail)]);
    let mut watcher = Watcher::new(&check(spec()), script.clone(), PausedClock::start(), Chance(1));
    let ready = watcher.next().await;
    assert_eq!((ready.to, ready.at), (State::Passing, Time(210)), "probed every 100 ms until the first pass");
    let failing = watcher.next().await;
    assert_eq!((failing.to, failing.at), (State::Failing, Time(15_210)));
    assert_eq!(failing.rule, "3 of 3 failures in a row");
    assert_eq!(script.begun.load(Ordering::SeqCst), 6);
    assert_eq!(watcher.last().map(|last| last.verdict), Some(Fail));
}

#[tokio::test(start_paused = true)]
async fn dropping_next_loses_neither_probe_nor_result() {
    let script = Script::new(&[(500, Verdict::Pass)]);
    let mut watcher = Watcher::new(&check(spec()), script.clone(), PausedClock::start(), Chance(1));
    for _ in 0..10 {
        assert!(tokio::time::timeout(Duration::from_millis(30), watcher.next()).await.is_err());
    }
    let ready = watcher.next().await;
    assert_eq!((ready.to, ready.at), (State::Passing, Time(500)));
    assert_eq!(script.begun.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_watcher_or_restarting_ends_the_probe() {
    let script = Script::new(&[]);
    let mut watcher = Watcher::new(&check(spec()), script.clone(), PausedClock::start(), Chance(1));
    assert!(tokio::time::timeout(Duration::from_millis(30), watcher.next()).await.is_err());
    assert_eq!(watcher.restart(), None, "it was starting and is so again");
    assert_eq!(script.ended.load(Ordering::SeqCst), 1);
    assert!(tokio::time::timeout(Duration::from_millis(30), watcher.next()).await.is_err());
    drop(watcher);
    assert_eq!((script.begun.load(Ordering::SeqCst), script.ended.load(Ordering::SeqCst)), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_keeps_no_time_is_given_up_and_unknown() {
    let mut watcher = Watcher::new(&check(spec()), Script::new(&[]), PausedClock::start(), Chance(1));
    let unknown = watcher.next().await;
    assert_eq!((unknown.to, unknown.at), (State::Unknown, Time(6_000)));
    assert_eq!(unknown.reason, "the probe did not end in its time");
}

#[tokio::test(start_paused = true)]
async fn old_results_are_noticed_while_a_probe_hangs() {
    let spec = CheckSpec { max_age: Some("7300ms".into()), timeout: Some("60s".into()), ..spec() };
    let script = Script::new(&[(0, Verdict::Pass)]);
    let mut watcher = Watcher::new(&check(spec), script, PausedClock::start(), Chance(1));
    assert_eq!(watcher.next().await.to, State::Passing);
    let stale = watcher.next().await;
    assert_eq!((stale.to, stale.at), (State::Unknown, Time(7_300)));
}

#[tokio::test(start_paused = true)]
async fn functions_are_probes() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let function = FunctionProbe::new(
        "backlog",
        Arc::new(move || {
            let call = counted.fetch_add(1, Ordering::SeqCst);
            assert!(call != 1, "the second call panics before there is a future");
            Box::pin(async move {
                assert!(call != 2, "the third call panics inside");
                if call == 3 {
                    return std::future::pending().await;
                }
                Outcome::new(Verdict::Pass, "short")
            })
        }),
        Span::seconds(2),
    );
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        outcomes.push(function.run().await);
    }
    let verdicts: Vec<Verdict> = outcomes.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(verdicts, [Verdict::Pass, Verdict::Unknown, Verdict::Unknown, Verdict::Fail]);
    assert!(outcomes[1].reason.contains("the second call panics"), "{}", outcomes[1].reason);
    assert_eq!(outcomes[3].reason, "timed out after 2s");
}

#[test]
fn a_watcher_crosses_threads() {
    fn sends<T: Send>() {}
    sends::<Watcher>();
}
