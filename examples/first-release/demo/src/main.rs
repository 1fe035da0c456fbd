//! Shows the first example at work: `demo --folder DIR [--seed N] [--json] -- PROGRAM...`, where `PROGRAM... v2` ships
//! version 2 of the shop.
//!
//! It ships a first version, puts it under load, and ships three more: one that is good, one that is bad, and one during
//! which the program is killed and started again. What came of it is counted by the load generator and by what the steps
//! wrote, not by the program. It fails if anything is not as promised.
#![forbid(unsafe_code)]

mod args;
mod definition;
mod load;
mod phases;
mod program;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use args::Args;
use phases::Demo;

/// What was not as promised, or what kept us from finding out.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.to_string())
    }
}

pub(crate) type Try<T> = Result<T, Failure>;

/// Fails with what is wrong unless it is so.
pub(crate) fn expect(so: bool, otherwise: impl FnOnce() -> String) -> Try<()> {
    if so { Ok(()) } else { Err(Failure(otherwise())) }
}

#[allow(clippy::print_stdout, reason = "showing is what the program is for")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

fn main() -> ExitCode {
    let args = match Args::read(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(Failure(what)) => {
            eprintln!("demo: {what}\nusage: demo --folder DIR [--seed N] [--json] -- PROGRAM...");
            return ExitCode::from(2);
        }
    };
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(run(&args)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(what)) => {
            eprintln!("demo: {what}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Try<()> {
    let began = Instant::now();
    let mut demo = Demo::new(args)?;
    let shown = tokio::select! {
        shown = demo.show() => shown,
        _ = tokio::signal::ctrl_c() => Err(Failure("interrupted".to_owned())),
    };
    // Whatever happened, nothing stays behind.
    demo.end_load().await;
    let ended = world::end(&demo.program).await;
    let result = shown?;
    ended?;
    demo.check_gone().await?;
    say(&phases::summary(&result, began.elapsed()));
    if args.json {
        say(&result.to_string());
    }
    Ok(())
}
