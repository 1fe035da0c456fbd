//! A run: its events and its outcome.

use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;
use tidegate::{Events, Lines};
use tokio::sync::Mutex;

use crate::promise::{Promise, text};
use crate::threads::Reach;

/// A run that the engine drives.
#[napi]
pub struct NativeRun {
    run: tidegate::Run,
    reach: Reach,
}

impl NativeRun {
    pub(crate) fn new(run: tidegate::Run, reach: Reach) -> NativeRun {
        NativeRun { run, reach }
    }
}

#[napi]
impl NativeRun {
    /// The run's id.
    #[napi(getter)]
    pub fn id(&self) -> String {
        self.run.id().to_owned()
    }

    /// Resolves to the outcome.
    #[napi]
    pub fn outcome<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let (promise, object) = Promise::<String>::new(env)?;
        let run = self.run.clone();
        promise.settle_from(&self.reach, async move { text(&run.outcome().await?) });
        Ok(object)
    }

    /// Shows the run on standard error from now on, and resolves to the outcome.
    #[napi]
    pub fn show<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let (promise, object) = Promise::<String>::new(env)?;
        let shown = self.run.show();
        promise.settle_from(&self.reach, async move { text(&shown.await?) });
        Ok(object)
    }

    /// The same as lines for people.
    #[napi]
    pub fn lines(&self) -> NativeLines {
        NativeLines { lines: Arc::new(Mutex::new(self.run.lines())), reach: self.reach.clone() }
    }

    /// The run's events from its beginning, and its output from now on.
    #[napi]
    pub fn events(&self) -> NativeEvents {
        NativeEvents { events: Arc::new(Mutex::new(self.run.events())), reach: self.reach.clone() }
    }
}

/// One observer of a run.
#[napi]
pub struct NativeEvents {
    events: Arc<Mutex<Events>>,
    reach: Reach,
}

#[napi]
impl NativeEvents {
    /// Resolves to the next events, at most so many; none at the end.
    #[napi]
    pub fn next_batch<'env>(&self, env: &'env Env, most: u32) -> napi::Result<Object<'env>> {
        let (promise, object) = Promise::<Vec<String>>::new(env)?;
        let events = Arc::clone(&self.events);
        promise.settle_from(&self.reach, async move {
            let batch = events.lock().await.next_batch(most as usize).await;
            Ok(batch.iter().map(|event| event.to_string()).collect())
        });
        Ok(object)
    }
}

/// One reader of a run's lines.
#[napi]
pub struct NativeLines {
    lines: Arc<Mutex<Lines>>,
    reach: Reach,
}

#[napi]
impl NativeLines {
    /// Resolves to the next line; `null` at the end.
    #[napi]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let (promise, object) = Promise::<Option<String>>::new(env)?;
        let lines = Arc::clone(&self.lines);
        promise.settle_from(&self.reach, async move { Ok(lines.lock().await.next().await) });
        Ok(object)
    }
}
