//! Is every Rust program of docs/guide: which one says the name that it is called by, and `GUIDE_PAGE`.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a user's program has rules of its own")]

use std::path::Path;
use std::process::ExitCode;

include!(concat!(env!("OUT_DIR"), "/blocks.rs"));

fn main() -> ExitCode {
    // For blocks that ship without a `main` of their own.
    if let Some(code) = tidegate::supervise_if_asked() {
        return code;
    }
    let called = std::env::args().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default().to_string_lossy().into_owned();
    program(&std::env::var("GUIDE_PAGE").unwrap_or_default(), &name)
}

fn unknown(page: &str, name: &str) -> ExitCode {
    eprintln!("guide: no such program: {name} (page: {page})");
    ExitCode::FAILURE
}
