//! The Python package's native part: it converts and calls, and decides nothing. Everything crosses as JSON text.

mod attach;
mod call;
mod calls;
mod engine;
mod error;
mod host;
mod log;
mod reader;
mod replay;
mod run;
mod watch;

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The native part of `tidegate`; use the package instead.
#[pymodule]
fn _tidegate(module: &Bound<'_, PyModule>) -> PyResult<()> {
    refuse_second_interpreter(module.py())?;
    module.add_class::<calls::Calls>()?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<reader::Follow>()?;
    module.add_class::<reader::Reader>()?;
    module.add_class::<run::Events>()?;
    module.add_class::<run::Narrator>()?;
    module.add_class::<run::Run>()?;
    module.add_class::<run::Showing>()?;
    module.add_class::<watch::Watch>()?;
    module.add_function(wrap_pyfunction!(attach::arrive, module)?)?;
    module.add_function(wrap_pyfunction!(attach::leave, module)?)?;
    module.add("LOG_PARTS", PyTuple::new(module.py(), tidegate::host_log::PARTS)?)?;
    module.add_function(wrap_pyfunction!(log::log_to, module)?)?;
    module.add_function(wrap_pyfunction!(log::log_take, module)?)?;
    module.add_function(wrap_pyfunction!(log::log_waits, module)?)?;
    module.add_function(wrap_pyfunction!(engine::outcome_error, module)?)?;
    module.add_function(wrap_pyfunction!(engine::command_line, module)?)?;
    module.add_function(wrap_pyfunction!(replay::replay_process, module)?)?;
    module.add_function(wrap_pyfunction!(replay::replay_judge, module)?)?;
    module.add_function(wrap_pyfunction!(replay::replay_check, module)?)?;
    module.add_function(wrap_pyfunction!(replay::compare_members, module)?)?;
    module.add_function(wrap_pyfunction!(replay::most_aside, module)?)?;
    module.add_function(wrap_pyfunction!(replay::aside_for, module)?)?;
    module.add_function(wrap_pyfunction!(replay::retry_delays, module)?)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}

/// Our threads attach to the main interpreter, whichever asked; in another one every wait would be for ever.
fn refuse_second_interpreter(_: Python<'_>) -> PyResult<()> {
    // SAFETY: this thread is attached to an interpreter, which is all that either asks for.
    let number = unsafe { pyo3::ffi::PyInterpreterState_GetID(pyo3::ffi::PyInterpreterState_Get()) };
    match number {
        0 => Ok(()),
        _ => Err(PyImportError::new_err("it works in the main interpreter of a process alone, not in subinterpreters")),
    }
}
