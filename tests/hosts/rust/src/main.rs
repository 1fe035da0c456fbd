//! A program that embeds the engine. `host look JOURNAL N` tells what an engine leaves in it, `host soak JOURNAL
//! SECONDS` what many runs do to its memory and files, `host middle ACTION WHERE` ends in the middle of something. In
//! Python and Node the same are `look.py`, `middle.py`, `look.mjs` and `middle.mjs`.

mod allocator;
mod look;
mod middle;
mod soak;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["look", journal, runs] => look::main(journal.as_ref(), runs.parse().unwrap_or(4)),
        ["soak", journal, seconds] => soak::main(journal.as_ref(), seconds.parse().unwrap_or(1)),
        ["middle", action, place] => middle::main(action, place),
        _ => ExitCode::from(2),
    }
}
