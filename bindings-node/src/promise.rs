//! Promises that are always settled: with a value, or with an error of the core as a value.

use std::task::{Context, Poll, Waker};

use napi::bindgen_prelude::{Either, Object, ToNapiValue};
use napi::{Env, JsDeferred};
use napi_derive::napi;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate::{Error, Kind, Result};

use crate::closed;
use crate::threads::Reach;

/// An error of the core, as JSON text.
#[napi(object)]
#[derive(Debug)]
pub struct Fault {
    /// The error as `Error::to_json` writes it.
    pub error: String,
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Fault {
        Fault { error: error.to_json().to_string() }
    }
}

/// A value, or what went wrong.
pub(crate) type Answer<T> = Either<T, Fault>;

/// Makes the answer on Node's thread.
type Make<T> = Box<dyn FnOnce(Env) -> napi::Result<Answer<T>> + Send>;

/// The other end of a promise. While it is open the process stays alive; dropping it says that the engine is closed.
pub(crate) struct Promise<T: ToNapiValue + 'static> {
    deferred: Option<JsDeferred<Answer<T>, Make<T>>>,
}

impl<T: ToNapiValue + 'static> Promise<T> {
    /// A promise and its other end.
    pub(crate) fn new(env: &Env) -> napi::Result<(Promise<T>, Object<'_>)> {
        let (deferred, promise) = env.create_deferred()?;
        Ok((Promise { deferred: Some(deferred) }, promise))
    }

    /// Settles it from any thread; `make` is called on Node's.
    pub(crate) fn settle_with<V: Send + 'static>(
        mut self,
        result: Result<V>,
        make: impl FnOnce(Env, V) -> napi::Result<T> + Send + 'static,
    ) {
        if let Some(deferred) = self.deferred.take() {
            deferred.resolve(match result {
                Ok(value) => Box::new(move |env| make(env, value).map(Either::A)),
                Err(error) => refuse(&error),
            });
        }
    }

    /// Settles it with what a future gives. What is known already is told also when the engine is closed, and with it
    /// whatever would drive the future.
    pub(crate) fn settle_from(self, reach: &Reach, future: impl Future<Output = Result<T>> + Send + 'static)
    where
        T: Send,
    {
        let mut future = Box::pin(future);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => self.settle(result),
            Poll::Pending => reach.spawn(async move { self.settle(future.await) }),
        }
    }

    /// Settles it from any thread.
    pub(crate) fn settle(self, result: Result<T>)
    where
        T: Send,
    {
        self.settle_with(result, |_, value| Ok(value));
    }
}

impl<T: ToNapiValue + 'static> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(deferred) = self.deferred.take() {
            deferred.resolve(refuse(&closed()));
        }
    }
}

fn refuse<T: 'static>(error: &Error) -> Make<T> {
    let fault = Fault::from(error);
    Box::new(move |_| Ok(Either::B(fault)))
}

/// Reads what TypeScript hands over.
pub(crate) fn parse<T: DeserializeOwned>(text: &str, what: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::new(Kind::Invalid, format!("can't read {what}")).because(error))
}

/// Writes what TypeScript reads.
pub(crate) fn text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::new(Kind::Internal, "can't be written as JSON").because(error))
}
