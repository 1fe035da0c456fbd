//! Errors of the core as the package's exceptions, and JSON text both ways.

use pyo3::prelude::*;
use serde::{Deserialize, Serialize};
use tidegate::{Error, Kind, Result};

/// The exception for an error of the core; its classes are written in Python.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let json = error.to_json().to_string();
    let made = py.import("tidegate._errors").and_then(|errors| errors.getattr("from_json")?.call1((json,)));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// Runs blocking work without holding the interpreter, and raises its error.
pub(crate) fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    py.detach(work).map_err(|error| raise(py, &error))
}

/// Reads JSON text.
pub(crate) fn parse<'a, T: Deserialize<'a>>(text: &'a str, what: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::new(Kind::Invalid, format!("can't read {what}")).because(error))
}

/// Writes JSON text.
pub(crate) fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::new(Kind::Internal, "can't be written as JSON").because(error))
}
