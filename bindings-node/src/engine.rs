//! The engine and its runtime.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;
use serde::Deserialize;
use tidegate::journal::{Durability, RUNS_LISTED};
use tidegate::pipeline::PipelineSpec;
use tidegate::supervisor::Launcher;
use tidegate::{Command, EngineOptions, Error, Functions, Kind, Secret};
use tracing::instrument::WithSubscriber;

use crate::call::{Calls, JsFunction, Listener, Registry, Reply};
use crate::closed;
use crate::log::NativeLog;
use crate::promise::{Promise, parse, text};
use crate::run::NativeRun;
use crate::threads::{Reach, Threads};

/// How long closing waits for steps that are ending, and how long the end of Node does.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
const EXIT_WITHIN: Duration = Duration::from_secs(2);
/// How long threads may take to end once their tasks are gone.
const JOIN_WITHIN: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenOptions {
    #[serde(default)]
    durability: Durability,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    supervisor: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StartOptions {
    key: Option<String>,
    params: serde_json::Value,
    rerun_failed: Option<String>,
}

/// What closing takes away.
struct Open {
    threads: Threads,
    engine: tidegate::Engine,
}

impl Open {
    /// Closes the journal, gives steps the time to end, and ends the threads. When Node `exits`, functions can't answer
    /// any more and are not waited for. Not for a thread of the runtime.
    fn close(self, calls: &Calls, within: Duration, exits: bool) -> tidegate::Result<()> {
        let Open { threads, engine } = self;
        let closed = threads.handle().block_on(async {
            let mut closing = std::pin::pin!(tokio::time::timeout(within, engine.close()));
            let begun = tokio::select! {
                biased;
                closed = &mut closing => Some(closed),
                () = std::future::ready(()) => None,
            };
            // Only now, so that the close is known to be what stopped them.
            if exits {
                calls.give_up();
            }
            let closed = match begun {
                Some(closed) => closed,
                None => closing.await,
            };
            let late = || Error::new(Kind::Io, "closing took too long; nothing that was recorded is lost");
            closed.unwrap_or_else(|_| Err(late()))
        });
        threads.idle(within);
        calls.give_up();
        threads.join(JOIN_WITHIN);
        closed
    }
}

struct Shared {
    open: Mutex<Option<Open>>,
    calls: Arc<Calls>,
}

impl Shared {
    fn take(&self) -> Option<Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Closes it as Node ends.
    fn leave(&self) {
        if let Some(open) = self.take() {
            // There is nobody left to be told of an error, and nothing recorded is lost by it.
            let _ = open.close(&self.calls, EXIT_WITHIN, true);
        }
    }
}

/// An engine with a runtime of its own.
#[napi]
pub struct NativeEngine {
    shared: Arc<Shared>,
}

/// Resolves to an engine. `listener` is given each message as JSON text, and `log` what an operator should know.
#[napi]
pub(crate) fn open<'env>(
    env: &'env Env,
    path: String,
    options: String,
    listener: Listener,
    log: &NativeLog,
) -> napi::Result<Object<'env>> {
    let (promise, object) = Promise::<NativeEngine>::new(env)?;
    let calls = Calls::new(listener);
    match engine_options(&options).and_then(|options| Ok((options, Threads::start(2)?))) {
        Err(error) => promise.settle_with(Err(error), |_, engine| Ok(engine)),
        Ok((options, threads)) => {
            // The engine's threads and tasks speak to the subscriber that it was opened with.
            let opening = options.open(path).with_subscriber(log.dispatch());
            threads.handle().clone().spawn(async move {
                let opened = opening.await.map(|engine| (Open { threads, engine }, calls));
                promise.settle_with(opened, |env, (open, calls)| {
                    let shared = Arc::new(Shared { open: Mutex::new(Some(open)), calls });
                    // Node may end with the engine open: it is closed within a bound, by whoever ends the environment.
                    let known = Arc::downgrade(&shared);
                    env.add_env_cleanup_hook(known, |known| {
                        if let Some(shared) = known.upgrade() {
                            shared.leave();
                        }
                    })?;
                    Ok(NativeEngine { shared })
                });
            });
        }
    }
    Ok(object)
}

fn engine_options(text: &str) -> tidegate::Result<EngineOptions> {
    let options: OpenOptions = parse(text, "the engine's options")?;
    let mut builder = EngineOptions::new().durability(options.durability);
    if let Some((program, args)) = options.supervisor.split_first() {
        let launcher = Launcher { program: program.into(), args: args.to_vec(), env: BTreeMap::new() };
        builder = builder.launcher(launcher);
    }
    for (name, value) in options.secrets {
        let secret = Secret::new(value).map_err(|error| error.with("secret", &name))?;
        builder = builder.secret(name, secret);
    }
    Ok(builder)
}

#[napi]
impl NativeEngine {
    /// Resolves to a run that was started or taken up. `functions` are the names in JavaScript's registry of that
    /// number.
    #[napi]
    pub fn start<'env>(
        &self,
        env: &'env Env,
        spec: String,
        functions: Vec<String>,
        registry: u32,
        options: String,
    ) -> napi::Result<Object<'env>> {
        let registry = Arc::new(Registry::new(registry, Arc::clone(&self.shared.calls)));
        let mut registered = Functions::new();
        for name in functions {
            let function = JsFunction { name: name.clone(), registry: Arc::clone(&registry) };
            registered.insert(name, Arc::new(function));
        }
        self.begin(env, |engine| async move {
            let spec: PipelineSpec = parse(&spec, "the pipeline")?;
            let options: StartOptions = parse(&options, "the run's options")?;
            let mut start = engine.run_spec(spec, registered).params(options.params);
            if let Some(key) = options.key {
                start = start.key(key);
            }
            if let Some(by) = options.rerun_failed {
                start = start.rerun_failed(by);
            }
            start.start().await
        })
    }

    /// Resolves to a run, driven before or not, once it is cancelled.
    #[napi]
    pub fn cancel<'env>(&self, env: &'env Env, run: String, by: String, reason: String) -> napi::Result<Object<'env>> {
        self.begin(env, |engine| async move { engine.cancel(&run, by, reason).await })
    }

    /// Answers a call by its number.
    #[napi]
    pub fn finish(&self, id: i64, reply: String) {
        let reply = parse::<Reply>(&reply, "the answer of a function").unwrap_or_else(|error| Reply::broken(&error));
        if let Ok(id) = u64::try_from(id) {
            self.shared.calls.finish(id, reply);
        }
    }

    /// Resolves once a command to a run is recorded.
    #[napi]
    pub fn send<'env>(&self, env: &'env Env, run: String, command: String) -> napi::Result<Object<'env>> {
        self.ask(env, |engine| async move {
            let command: Command = parse(&command, "the command")?;
            engine.send(&run, command).await?;
            text(&())
        })
    }

    /// Resolves to the latest runs.
    #[napi]
    pub fn runs<'env>(&self, env: &'env Env, limit: Option<u32>) -> napi::Result<Object<'env>> {
        self.ask(env, move |engine| async move {
            text(&engine.runs(limit.map_or(RUNS_LISTED, |limit| limit as usize)).await?)
        })
    }

    /// Resolves to what is known of a service; `null` when nothing is.
    #[napi]
    pub fn service<'env>(&self, env: &'env Env, name: String) -> napi::Result<Object<'env>> {
        self.ask(env, |engine| async move { text(&engine.service(&name).await?) })
    }

    /// Resolves to how a service's instances fare and what its proxy has counted.
    #[napi]
    pub fn service_stats<'env>(&self, env: &'env Env, name: String) -> napi::Result<Object<'env>> {
        self.ask(env, |engine| async move { text(&engine.service_stats(&name).await?) })
    }

    /// Ends a service; resolves when that is recorded.
    #[napi]
    pub fn remove_service<'env>(&self, env: &'env Env, name: String) -> napi::Result<Object<'env>> {
        self.ask(env, |engine| async move {
            engine.remove_service(&name).await?;
            text(&())
        })
    }

    /// Resolves to what checking the whole journal found.
    #[napi]
    pub fn verify<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        self.ask(env, |engine| async move { text(&engine.verify().await?) })
    }

    /// Removes the events of a run that has ended.
    #[napi]
    pub fn prune<'env>(&self, env: &'env Env, run: String) -> napi::Result<Object<'env>> {
        self.ask(env, |engine| async move {
            engine.prune(&run).await?;
            text(&())
        })
    }

    /// Ends what runs of steps and closes the journal; a second time does nothing.
    #[napi]
    pub fn close<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let (promise, object) = Promise::<String>::new(env)?;
        let Some(open) = self.shared.take() else {
            promise.settle(text(&()));
            return Ok(object);
        };
        let calls = Arc::clone(&self.shared.calls);
        // Not on the runtime, which ends here.
        std::thread::spawn(move || promise.settle(open.close(&calls, CLOSE_WITHIN, false).and_then(|()| text(&()))));
        Ok(object)
    }

    /// Closes it within a bound, as the program ends.
    #[napi]
    pub fn leave(&self) {
        self.shared.leave();
    }

    fn parts(&self) -> Option<(Reach, tidegate::Engine)> {
        let open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map(|open| (open.threads.reach(), open.engine.clone()))
    }

    fn ask<'env, F>(&self, env: &'env Env, work: impl FnOnce(tidegate::Engine) -> F) -> napi::Result<Object<'env>>
    where
        F: Future<Output = tidegate::Result<String>> + Send + 'static,
    {
        let (promise, object) = Promise::<String>::new(env)?;
        match self.parts() {
            None => promise.settle(Err(closed())),
            Some((reach, engine)) => {
                let work = work(engine);
                reach.spawn(async move { promise.settle(work.await) });
            }
        }
        Ok(object)
    }

    fn begin<'env, F>(&self, env: &'env Env, work: impl FnOnce(tidegate::Engine) -> F) -> napi::Result<Object<'env>>
    where
        F: Future<Output = tidegate::Result<tidegate::Run>> + Send + 'static,
    {
        let (promise, object) = Promise::<NativeRun>::new(env)?;
        match self.parts() {
            None => promise.settle_with(Err(closed()), |_, run| Ok(run)),
            Some((reach, engine)) => {
                let (work, driven) = (work(engine), reach.clone());
                reach.spawn(async move {
                    let run = work.await;
                    promise.settle_with(run, |_, run| Ok(NativeRun::new(run, driven)));
                });
            }
        }
        Ok(object)
    }
}
