//! A journal that another process may drive: it is read, and commands go to its inbox. What blocks is done on the
//! threads that checks use as well.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;
use tidegate::journal::RUNS_LISTED;
use tidegate::report::Narrator;
use tidegate::{Command, Error, Kind, Reader, Result};

use crate::promise::{Promise, parse, text};
use crate::threads::Threads;

/// What a reader and those who follow runs by it share.
#[derive(Clone)]
struct Shared {
    reader: Arc<Mutex<Option<Reader>>>,
    threads: Arc<Threads>,
}

impl Shared {
    /// Resolves to what blocking work gives.
    fn ask<'env>(
        &self,
        env: &'env Env,
        work: impl FnOnce(&mut Reader) -> Result<String> + Send + 'static,
    ) -> napi::Result<Object<'env>> {
        let (promise, object) = Promise::<String>::new(env)?;
        let shared = self.clone();
        self.threads.handle().spawn_blocking(move || promise.settle(shared.with(work)));
        Ok(object)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Reader) -> Result<T>) -> Result<T> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = || Error::new(Kind::Cancelled, "the reader is closed").help("open it again");
        work(reader.as_mut().ok_or_else(closed)?)
    }
}

/// A reader of a journal.
#[napi]
pub struct NativeReader {
    shared: Shared,
}

/// Resolves to a reader.
#[napi]
pub(crate) fn open_reader<'env>(env: &'env Env, path: String) -> napi::Result<Object<'env>> {
    let (promise, object) = Promise::<NativeReader>::new(env)?;
    match Threads::shared() {
        Err(error) => promise.settle_with(Err(error), |_, reader| Ok(reader)),
        Ok(threads) => {
            threads.handle().clone().spawn_blocking(move || {
                let opened = Reader::open(Path::new(&path));
                let opened = opened.map(|reader| Shared { reader: Arc::new(Mutex::new(Some(reader))), threads });
                promise.settle_with(opened, |_, shared| Ok(NativeReader { shared }));
            });
        }
    }
    Ok(object)
}

#[napi]
impl NativeReader {
    /// Resolves to the latest runs.
    #[napi]
    pub fn runs<'env>(&self, env: &'env Env, limit: Option<u32>) -> napi::Result<Object<'env>> {
        self.shared.ask(env, move |reader| text(&reader.runs(limit.map_or(RUNS_LISTED, |limit| limit as usize))?))
    }

    /// Resolves to the id of the run of a pipeline with a key; `null` when there is none.
    #[napi]
    pub fn find_run<'env>(&self, env: &'env Env, pipeline: String, key: String) -> napi::Result<Object<'env>> {
        self.shared.ask(env, move |reader| text(&reader.find_run(&pipeline, &key)?.as_ref().map(|run| run.name())))
    }

    /// Resolves to the names of all services.
    #[napi]
    pub fn services<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        self.shared.ask(env, |reader| {
            let services = reader.services()?;
            text(&services.iter().map(|service| service.name()).collect::<Vec<_>>())
        })
    }

    /// Resolves to what is known of a service; `null` when nothing is.
    #[napi]
    pub fn service<'env>(&self, env: &'env Env, name: String) -> napi::Result<Object<'env>> {
        self.shared.ask(env, move |reader| text(&reader.service(&name)?))
    }

    /// Resolves to what checking the whole journal found.
    #[napi]
    pub fn verify<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        self.shared.ask(env, |reader| text(&reader.verify()?))
    }

    /// Resolves to the page of a run as HTML.
    #[napi]
    pub fn report<'env>(&self, env: &'env Env, run: String) -> napi::Result<Object<'env>> {
        self.shared.ask(env, move |reader| reader.report(&run))
    }

    /// Resolves to the number of a command, once it is in a run's inbox.
    #[napi]
    pub fn send<'env>(&self, env: &'env Env, run: String, command: String) -> napi::Result<Object<'env>> {
        self.shared.ask(env, move |reader| {
            let command: Command = parse(&command, "the command")?;
            text(&reader.command(&run, &command)?)
        })
    }

    /// Resolves to whether a command still waits.
    #[napi]
    pub fn waits<'env>(&self, env: &'env Env, number: i64) -> napi::Result<Object<'env>> {
        self.shared.ask(env, move |reader| text(&reader.waits(u64::try_from(number).unwrap_or_default())?))
    }

    /// Resolves to a run that is followed from after an event.
    #[napi]
    pub fn follow<'env>(&self, env: &'env Env, run: String, after: i64) -> napi::Result<Object<'env>> {
        let (promise, object) = Promise::<NativeFollow>::new(env)?;
        let shared = self.shared.clone();
        self.shared.threads.handle().spawn_blocking(move || {
            let follow = shared.with(|reader| reader.follow(&run, u64::try_from(after).unwrap_or_default()));
            promise.settle_with(follow, |_, follow| Ok(NativeFollow { follow: Arc::new(Mutex::new(follow)), shared }));
        });
        Ok(object)
    }

    /// Closes it; a second time does nothing.
    #[napi]
    pub fn close<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let (promise, object) = Promise::<String>::new(env)?;
        let shared = self.shared.clone();
        self.shared.threads.handle().spawn_blocking(move || {
            drop(shared.reader.lock().unwrap_or_else(PoisonError::into_inner).take());
            promise.settle(text(&()));
        });
        Ok(object)
    }
}

/// A run that is followed.
#[napi]
pub struct NativeFollow {
    follow: Arc<Mutex<tidegate::Follow>>,
    shared: Shared,
}

#[napi]
impl NativeFollow {
    /// Resolves to the next events, at most so many, without waiting for them: `null` when there are none yet, none at
    /// the end.
    #[napi]
    pub fn look<'env>(&self, env: &'env Env, most: u32) -> napi::Result<Object<'env>> {
        let (promise, object) = Promise::<Option<Vec<String>>>::new(env)?;
        let (follow, shared) = (Arc::clone(&self.follow), self.shared.clone());
        self.shared.threads.handle().spawn_blocking(move || {
            let mut follow = follow.lock().unwrap_or_else(PoisonError::into_inner);
            let news = shared.with(|reader| follow.look(reader, most as usize));
            let texts = |news: Vec<tidegate::engine::EventText>| news.iter().map(|event| event.to_string()).collect();
            promise.settle(news.map(|news| news.map(texts)));
        });
        Ok(object)
    }

    /// Resolves to the outcome as of the last look; `null` while the run goes on.
    #[napi]
    pub fn outcome<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let follow = Arc::clone(&self.follow);
        self.shared.ask(env, move |_| text(&follow.lock().unwrap_or_else(PoisonError::into_inner).outcome()))
    }

    /// Resolves to where every step stands as of the last look.
    #[napi]
    pub fn steps<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let follow = Arc::clone(&self.follow);
        self.shared.ask(env, move |_| text(&follow.lock().unwrap_or_else(PoisonError::into_inner).steps()))
    }
}

/// Tells a run as lines for people.
#[napi]
pub struct NativeNarrator {
    narrator: Narrator,
}

#[napi]
impl NativeNarrator {
    /// Before the first event.
    #[napi(constructor)]
    #[allow(clippy::new_without_default, reason = "JavaScript has no defaults")]
    pub fn new() -> NativeNarrator {
        NativeNarrator { narrator: Narrator::new() }
    }

    /// The lines for one event.
    #[napi]
    pub fn lines(&mut self, event: String) -> Vec<String> {
        self.narrator.lines(&event)
    }
}
