//! Writes the typed surfaces of the Python and npm packages from the core's specs, events and records.
//!
//! `generate` writes the files; `generate --check` writes nothing, prints what differs and which command mends it, and
//! fails if anything does.

mod difference;
mod events;
mod python;
mod records;
mod schema;
mod surface;
mod typescript;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// What mends a difference.
const COMMAND: &str = "cargo run -p tidegate-generate";

/// Prints a surface.
type Printer = fn(&surface::Surface) -> Result<String, String>;

/// The files, below the repository's root, and what prints each.
const FILES: [(&str, Printer); 5] = [
    ("bindings-python/python/tidegate/_spec.py", python::print_specs),
    ("bindings-python/python/tidegate/events.py", python::print_events),
    ("bindings-python/python/tidegate/_records.py", records::print),
    ("bindings-node/src/spec.ts", typescript::print),
    ("bindings-node/src/events.ts", events::print),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let check = match args.as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => return refuse("usage: generate [--check]"),
    };
    match generate(check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => refuse(&message),
    }
}

fn refuse(message: &str) -> ExitCode {
    // Nothing is left to do if even that can't be written.
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::FAILURE
}

fn generate(check: bool) -> Result<(), String> {
    let surface = surface::collect()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut differences = String::new();
    for (name, print) in FILES {
        let path = root.join(name);
        let wanted = print(&surface).map_err(|error| format!("{name}: {error}"))?;
        let found = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("can't read {name}: {error}")),
        };
        if found == wanted {
            continue;
        }
        if check {
            differences.push_str(&difference::show(name, &found, &wanted));
        } else {
            std::fs::write(&path, wanted).map_err(|error| format!("can't write {name}: {error}"))?;
        }
    }
    if differences.is_empty() { Ok(()) } else { Err(format!("{differences}\nto mend it: {COMMAND}")) }
}
