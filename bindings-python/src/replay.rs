//! Recorded data run again. Everything is pure and none of it touches Python, so it runs without the interpreter.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use tidegate::analysis::{EProcessSpec, JudgeSpec, Sides};
use tidegate::error::read_list;
use tidegate::health::{OutlierRules, OutlierSpec, Tally};
use tidegate::pipeline::RetrySpec;
use tidegate::time::{Chance, Time};

use crate::error::{detached, json, parse};
use crate::watch::check_spec;

/// ln E of an e-process after each window, as JSON.
#[pyfunction]
pub(crate) fn replay_process(py: Python<'_>, spec: &str, windows: &str) -> PyResult<String> {
    detached(py, || json(&parse::<EProcessSpec>(spec, "the e-process")?.replay(&read_list(windows, "windows")?)?))
}

/// What a judge says after each window, as JSON.
#[pyfunction]
#[pyo3(signature = (spec, windows, canary, stable, replicas))]
pub(crate) fn replay_judge(
    py: Python<'_>,
    spec: &str,
    windows: &str,
    canary: &str,
    stable: &str,
    replicas: Option<u32>,
) -> PyResult<String> {
    let sides = Sides { canary, stable, canary_replicas: replicas };
    detached(py, || json(&parse::<JudgeSpec>(spec, "the judge")?.replay(&read_list(windows, "windows")?, &sides)?))
}

/// How a check stands after each record, as JSON. Times are milliseconds since 1970.
#[pyfunction]
#[pyo3(signature = (spec, records, start, seed))]
pub(crate) fn replay_check(
    py: Python<'_>,
    spec: &str,
    records: &str,
    start: Option<i64>,
    seed: u64,
) -> PyResult<String> {
    detached(py, || json(&check_spec(spec)?.replay(&read_list(records, "records")?, start.map(Time), Chance(seed))?))
}

/// How the members of a group compare, as JSON; `null` when too few had enough requests.
#[pyfunction]
pub(crate) fn compare_members(py: Python<'_>, spec: &str, members: &str) -> PyResult<String> {
    detached(py, || json(&rules(spec)?.compare(&parse::<BTreeMap<String, Tally>>(members, "the members")?)))
}

/// How many members may be set aside at once.
#[pyfunction]
pub(crate) fn most_aside(py: Python<'_>, spec: &str, members: u32) -> PyResult<u32> {
    detached(py, || Ok(rules(spec)?.most(members)))
}

/// How long a member is set aside, in milliseconds.
#[pyfunction]
pub(crate) fn aside_for(py: Python<'_>, spec: &str, times: u32) -> PyResult<u64> {
    detached(py, || Ok(rules(spec)?.aside_for(times).0))
}

fn rules(spec: &str) -> tidegate::Result<OutlierRules> {
    parse::<OutlierSpec>(spec, "the rules for outliers")?.validate()
}

/// The waits between a retry's attempts, in milliseconds.
#[pyfunction]
pub(crate) fn retry_delays(py: Python<'_>, spec: &str) -> PyResult<Vec<u64>> {
    detached(py, || Ok(parse::<RetrySpec>(spec, "the retry")?.delays()?.into_iter().map(|wait| wait.0).collect()))
}
