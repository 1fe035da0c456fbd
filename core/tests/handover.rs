//! Functions whose work is done elsewhere, and what they may do to the engine that waits for them.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use common::Site;
use serde_json::{Value, json};
use tidegate::pipeline::{PipelineSpec, StepError};
use tidegate::{Context, Function, Functions, Pipeline, Status, StepStatus};
use tokio::sync::oneshot;

/// Answers from a thread of its own with the name of the thread that called it.
struct Elsewhere {
    hands_over: bool,
}

#[async_trait]
impl Function for Elsewhere {
    async fn call(&self, _: Context, _: Vec<Value>) -> Result<Value, StepError> {
        let caller = std::thread::current().name().unwrap_or_default().to_owned();
        let (send, answer) = oneshot::channel();
        std::thread::spawn(move || send.send(json!(caller)));
        Ok(answer.await.unwrap())
    }

    fn hands_over(&self) -> bool {
        self.hands_over
    }
}

/// Never ends, unless it is told to where `heeds` says so. Says when it is dropped.
struct Endless {
    heeds: bool,
    dropped: Arc<AtomicBool>,
}

struct Says(Arc<AtomicBool>);

impl Drop for Says {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[async_trait]
impl Function for Endless {
    async fn call(&self, context: Context, _: Vec<Value>) -> Result<Value, StepError> {
        let _says = Says(Arc::clone(&self.dropped));
        if self.heeds {
            context.stopped().await;
            return Ok(Value::Null);
        }
        std::future::pending().await
    }

    fn hands_over(&self) -> bool {
        true
    }
}

/// A pipeline of function steps, each after the one before where `chain` says so.
fn functions(names: &[&str], chain: bool) -> PipelineSpec {
    let mut p = Pipeline::new("p");
    let mut former = None;
    for name in names {
        let mut step = p.function(name, (), |_, ()| async { Ok::<_, String>(()) });
        if let Some(former) = former.filter(|_| chain) {
            step = step.after(&former);
        }
        former = Some(step);
    }
    p.parts().0
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hands_over_is_called_by_the_engine_itself_and_else_by_the_runtime() {
    let site = Site::new();
    let engine = site.open().await;
    let mut known = Functions::new();
    known.insert("mine", Arc::new(Elsewhere { hands_over: true }));
    known.insert("theirs", Arc::new(Elsewhere { hands_over: false }));
    let outcome = engine.run_spec(functions(&["mine", "theirs"], true), known).await.unwrap();
    assert_eq!(outcome.status, Status::Succeeded, "{outcome:?}");
    assert_eq!(outcome.steps["mine"].value, json!("tidegate"));
    assert_ne!(outcome.steps["theirs"].value, json!("tidegate"));
    engine.close().await.unwrap();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_for_ever_holds_up_nobody_and_is_stopped_like_any_other() {
    let site = Site::new();
    let engine = site.open().await;
    let dropped: [Arc<AtomicBool>; 2] = Default::default();
    let mut known = Functions::new();
    known.insert("heeds", Arc::new(Endless { heeds: true, dropped: Arc::clone(&dropped[0]) }));
    known.insert("deaf", Arc::new(Endless { heeds: false, dropped: Arc::clone(&dropped[1]) }));
    let run = engine.run_spec(functions(&["heeds", "deaf"], false), known).start().await.unwrap();

    let mut quick = Functions::new();
    for name in ["a", "b", "c"] {
        quick.insert(name, Arc::new(Elsewhere { hands_over: true }));
    }
    let outcome = engine.run_spec(functions(&["a", "b", "c"], true), quick).await.unwrap();
    assert_eq!(outcome.status, Status::Succeeded, "{outcome:?}");

    run.cancel("test", "enough").await.unwrap();
    let outcome = run.outcome().await.unwrap();
    assert_eq!(outcome.status, Status::Cancelled, "{outcome:?}");
    for name in ["heeds", "deaf"] {
        assert_eq!(outcome.steps[name].status, StepStatus::Cancelled, "{outcome:?}");
    }
    assert!(dropped.iter().all(|one| one.load(SeqCst)), "given up after the grace");
    engine.close().await.unwrap();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_stops_them_and_records_what_became_of_them() {
    let site = Site::new();
    let engine = site.open().await;
    let dropped: Arc<AtomicBool> = Arc::default();
    let mut known = Functions::new();
    known.insert("heeds", Arc::new(Endless { heeds: true, dropped: Arc::clone(&dropped) }));
    let spec = functions(&["heeds"], false);
    let run = engine.run_spec(spec.clone(), known).key("k").start().await.unwrap();
    engine.close().await.unwrap();
    run.outcome().await.unwrap_err();
    assert!(dropped.load(SeqCst));

    let engine = site.open().await;
    let mut known = Functions::new();
    known.insert("heeds", Arc::new(Elsewhere { hands_over: true }));
    let outcome = engine.run_spec(spec, known).key("k").await.unwrap();
    // No crash: the engine recorded that it stopped the first attempt.
    assert_eq!((outcome.status, outcome.steps["heeds"].attempts), (Status::Succeeded, 2), "{outcome:?}");
    engine.close().await.unwrap();
    site.end().await;
}

/// Panics when it is dropped, in what it then throws as well.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            std::panic::panic_any(Bomb(self.0 - 1));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_whose_payload_panics_fails_its_step_and_leaves_the_engine_alone() {
    let site = Site::new();
    let engine = site.open().await;
    let mut p = Pipeline::new("p");
    let _ = p.blocking("throws", (), |_, ()| -> Result<(), String> { std::panic::panic_any(Bomb(2)) });
    let outcome = engine.run(&p).await.unwrap();
    assert_eq!(outcome.status, Status::Failed, "{outcome:?}");
    let mut p = Pipeline::new("p");
    let _ = p.blocking("fine", (), |_, ()| Ok::<_, String>(1));
    let outcome = tokio::time::timeout(Duration::from_secs(60), async { engine.run(&p).await }).await.unwrap();
    assert_eq!(outcome.unwrap().status, Status::Succeeded);
    engine.close().await.unwrap();
    site.end().await;
}
