//! `bench WORK ARGUMENTS…` does the work once and prints what it took, as one number; the unit stands with each work.
#![expect(clippy::print_stdout, reason = "the number is what it is for")]

mod commands;
mod decide;
mod judge;
mod plan;
mod probes;
mod proxy;
mod resume;
mod shape;
mod steps;

use std::error::Error;
use std::time::Duration;

type Outcome = Result<f64, Box<dyn Error>>;

const USAGE: &str = "usage: bench steps chain|fan|layers STEPS | durable STEPS RUNS | commands COMMANDS JOBS | \
                     resume STEPS | plan STEPS | judge-window | judge-day | \
                     proxy UPSTREAM | probes SERVER PROBES | checks | \
                     decide JUDGE BURST | decide-dead";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let took = match arguments.as_slice() {
        ["steps", shape, steps] => steps::memory(shape.parse()?, steps.parse()?),
        ["durable", steps, runs] => steps::durable(steps.parse()?, runs.parse()?),
        ["commands", commands, jobs] => commands::run(commands.parse()?, jobs.parse()?),
        ["resume", steps] => resume::measure(steps.parse()?),
        // What `resume` starts and kills.
        ["resume-cut", steps, folder] => resume::run_until_killed(steps.parse()?, folder.as_ref()),
        ["plan", steps] => plan::check(steps.parse()?),
        ["probes", server, count] => probes::http(server.parse()?, count.parse()?),
        ["checks"] => return probes::checks(),
        ["decide", judge, burst] => return decide::compare(judge, burst.parse()?),
        ["decide-dead"] => decide::dead(),
        // Serves until its standard input ends; what it took is measured from outside.
        ["proxy", upstream] => return proxy::serve(upstream.parse()?),
        ["judge-window"] => judge::window(),
        ["judge-day"] => judge::day(),
        _ => Err(USAGE.into()),
    };
    println!("{:.4}", took?);
    Ok(())
}

/// Microseconds for each of so many.
fn each(took: Duration, of: usize) -> f64 {
    took.as_secs_f64() * 1e6 / of as f64
}
