//! Prints what breaks the rules in a repository: `house [folder]`, by default the one it was built in.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

#[allow(clippy::print_stdout, reason = "it is what the program is for")]
fn main() -> ExitCode {
    let root = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")), PathBuf::from);
    match house::check_repository(&root) {
        Ok(faults) => {
            for fault in &faults {
                println!("{fault}");
            }
            if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("house: can't read {}: {error}", root.display());
            ExitCode::from(2)
        }
    }
}
