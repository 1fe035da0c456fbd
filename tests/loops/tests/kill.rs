//! More than a hundred kills at random instants; another seed with every run.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

#[test]
#[allow(clippy::disallowed_methods, reason = "a seed that nobody has drawn before; it is printed")]
fn nothing_is_lost_or_done_twice_however_often_the_driver_is_killed() {
    let seed = match std::env::var("LOOPS_SEED") {
        Ok(seed) => seed,
        Err(_) => (SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() % 1_000_000_007).to_string(),
    };
    let output = Command::new(env!("CARGO_BIN_EXE_kill-loop")).args(["--seed", &seed]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    for line in text.lines() {
        eprintln!("figure: {line}");
    }
    let kills: usize = text
        .lines()
        .filter_map(|line| line.split_once(": ")?.1.split_once(" kills in ")?.0.parse::<usize>().ok())
        .sum();
    assert!(kills >= 120, "{text}");
}
