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

use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The native part of `tidegate`; use the package instead.
#[pymodule]
fn _tidegate(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<calls::Calls>()?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<reader::Follow>()?;
    module.add_class::<reader::Reader>()?;
    module.add_class::<run::Events>()?;
    module.add_class::<run::Narrator>()?;
    module.add_class::<run::Run>()?;
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
