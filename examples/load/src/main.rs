//! An open-loop HTTP load generator: requests are due at fixed times whatever the server does, and latency counts from
//! when a request was due, so that a server that stalls can't hide it. It never sends a request twice.
#![forbid(unsafe_code)]

mod answers;
mod args;
mod client;
mod report;
mod run;
mod stats;

use std::process::ExitCode;

#[allow(clippy::print_stdout, reason = "the summary is what the program is for")]
fn main() -> ExitCode {
    let args = match args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(args::Refusal::Help) => {
            println!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(args::Refusal::Wrong(message)) => {
            eprintln!("load: {message}\n  help: load --help shows all options");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("load: can't start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run::run(&args)) {
        Ok(summary) => {
            if !args.json {
                eprintln!("{}", report::for_people(&summary));
            }
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
