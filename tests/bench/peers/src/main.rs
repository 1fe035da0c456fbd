//! `bench-peers PEER ARGUMENTS…` does a work of tests/bench once, as `bench` does, and prints what it took.

mod dag;
mod hand;
mod shape;
mod spawn;
mod sqlite;

use std::error::Error;
use std::time::Duration;

const USAGE: &str = "usage: bench-peers tokio SHAPE STEPS | dagrs SHAPE STEPS | posix-spawn COMMANDS JOBS | \
                     sqlite COMMITS ROWS";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let took = match arguments.as_slice() {
        ["tokio", shape, steps] => hand::run(shape.parse::<shape::Shape>()?.needs(steps.parse()?)),
        ["dagrs", shape, steps] => dag::run(shape.parse::<shape::Shape>()?.needs(steps.parse()?))?,
        ["posix-spawn", commands, jobs] => spawn::run(commands.parse()?, jobs.parse()?),
        ["sqlite", commits, rows] => sqlite::run(commits.parse()?, rows.parse()?)?,
        _ => return Err(USAGE.into()),
    };
    println!("{took:.4}");
    Ok(())
}

/// Microseconds for each of so many.
fn each(took: Duration, of: usize) -> f64 {
    took.as_secs_f64() * 1e6 / of as f64
}
