//! The command line: see [`tidegate::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = tidegate::supervise_if_asked() {
        return code;
    }
    ExitCode::from(tidegate::cli::run(std::env::args_os()))
}
