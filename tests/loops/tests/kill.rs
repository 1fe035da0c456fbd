//! More than a hundred kills of the main job at random instants; another seed with every run. `LOOPS_KILLS=1000` kills it
//! that often.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

#[test]
#[allow(clippy::disallowed_methods, reason = "a seed that nobody has drawn before; it is printed")]
fn nothing_is_lost_or_done_twice_by_kill_9_at_uniform_random_instants_of_the_main_job() {
    let seed = match std::env::var("LOOPS_SEED") {
        Ok(seed) => seed,
        Err(_) => (SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() % 1_000_000_007).to_string(),
    };
    let kills = std::env::var("LOOPS_KILLS").unwrap_or_else(|_| "100".to_owned());
    let arguments = ["--seed", &seed, "--main-kills", &kills];
    let output = Command::new(env!("CARGO_BIN_EXE_kill-loop")).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    for line in text.lines() {
        eprintln!("figure: {line}");
    }
    // That a tenth of them fell into each of a commit, a spawn and a change of weights is what it ends with success for.
    let killed = text.split_once("main job: ").and_then(|(_, rest)| rest.split_once(" kills in "));
    let killed = killed.and_then(|(killed, _)| killed.parse::<u32>().ok());
    assert!(killed >= Some(kills.parse().unwrap()), "{text}");
}
