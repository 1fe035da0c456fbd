//! The definition that a program recorded is the one that is crashed at every point in the simulation
//! (`core/tests/simulation/first_release.rs`), whatever its language.

use serde_json::{Value, json};
use tidegate::Reader;

use crate::program::Program;
use crate::{Failure, Try, expect};

const DEFINITION: &str = include_str!("../../definition.json");

/// Holds the definition of a version's run against the one of the simulation.
pub(crate) fn check(program: &Program, version: &str) -> Try<()> {
    let mut reader = Reader::open(&program.folder.join("release.db"))?;
    let run = reader
        .find_run("first-release", version)?
        .ok_or_else(|| Failure(format!("the journal has no run of {version}")))?;
    let first = reader.read(&run, 0, 1)?;
    let body = first.first().ok_or_else(|| Failure(format!("the run of {version} has no events")))?.body.clone();
    let mut recorded = serde_json::from_slice::<Value>(&body)?["definition"].take();
    neutral(&mut recorded);
    let expected: Value = serde_json::from_str(DEFINITION)?;
    expect(recorded == expected, || format!("the definition is not that of the simulation: {recorded:#}"))
}

/// Without what differs between languages and machines: the scripts, and the address.
fn neutral(pipeline: &mut Value) {
    for step in pipeline["steps"].as_array_mut().into_iter().flatten() {
        let action = &mut step["action"];
        if let Some(shell) = action.get_mut("shell") {
            *shell = json!("...");
        }
        if let Some(listen) = action.pointer_mut("/rollout/serve/listen") {
            *listen = json!("127.0.0.1:0");
        }
    }
}
