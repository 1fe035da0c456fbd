//! Recorded data run again, through the public API: the cases of `tests/cases`, and what a user asks of a replay.

mod backoff;
mod judge;
mod processes;
mod records;
mod thresholds;

use serde_json::Value;

/// The cases of a file below `tests/cases`.
fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/../tests/cases/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn pointers(error: &tidegate::Error) -> Vec<&str> {
    error.faults().iter().map(|fault| fault.pointer.as_str()).collect()
}
