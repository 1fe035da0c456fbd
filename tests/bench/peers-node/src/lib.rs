//! A thread that calls a function of Node's thread, and waits for its answer before it calls again.

use std::sync::mpsc;

use napi::bindgen_prelude::{Function, Unknown};
use napi::threadsafe_function::ThreadsafeFunctionCallMode::NonBlocking;
use napi_derive::napi;

/// Calls `function` so many times from a thread, one by one, then `done`.
#[napi]
pub fn round_trips(count: u32, function: Function<'_, (), Unknown<'static>>, done: Function<'_, (), Unknown<'static>>) -> napi::Result<()> {
    let function = function.build_threadsafe_function().build()?;
    let done = done.build_threadsafe_function().build()?;
    std::thread::spawn(move || {
        let (answered, answers) = mpsc::channel();
        for _ in 0..count {
            let answered = answered.clone();
            function.call_with_return_value((), NonBlocking, move |_, _| {
                let _ = answered.send(());
                Ok(())
            });
            if answers.recv().is_err() {
                return;
            }
        }
        done.call((), NonBlocking);
    });
    Ok(())
}
