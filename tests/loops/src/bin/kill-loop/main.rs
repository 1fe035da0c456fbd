//! Kills a program with SIGKILL at random instants until enough kills have hit, and proves from outside that nothing
//! acknowledged was lost, nothing finished was done again, nothing is left over, and every run ended as if nobody had
//! killed it. `--seed N` draws the same instants again.
#![forbid(unsafe_code)]

mod fell;
mod load;
mod proof;
mod rounds;
mod session;

use std::process::ExitCode;
use std::time::Instant;

use tidegate::time::Chance;

use session::Driver;

/// Why a proof failed, in words.
type Failed = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "kill-loop --seed N [--pipeline-kills N] [--main-kills N] [--supervisor-kills N]";

#[derive(Debug)]
struct Wanted {
    seed: u64,
    pipelines: usize,
    main: usize,
    supervisors: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(wanted) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    eprintln!("kill-loop: --seed {}", wanted.seed);
    match all(&wanted).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kill-loop: {error}\n  help: the same instants again with --seed {}", wanted.seed);
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<Wanted> {
    let mut wanted = Wanted { seed: 0, pipelines: 30, main: 100, supervisors: 6 };
    let mut seeded = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let number: u64 = arguments.next()?.parse().ok()?;
        let count = usize::try_from(number).ok()?;
        match name.as_str() {
            "--seed" => (wanted.seed, seeded) = (number, true),
            "--pipeline-kills" => wanted.pipelines = count,
            "--main-kills" => wanted.main = count,
            "--supervisor-kills" => wanted.supervisors = count,
            _ => return None,
        }
    }
    seeded.then_some(wanted)
}

async fn all(wanted: &Wanted) -> Result<(), Failed> {
    let chance = Chance(wanted.seed);
    if wanted.pipelines > 0 {
        let begun = Instant::now();
        let folder = tempfile::tempdir()?;
        let driver = Driver { folder: folder.path().canonicalize()?, address: None };
        let done = rounds::pipelines(&driver, wanted.pipelines, &mut chance.fork("pipelines")).await;
        let tally = keep(done, folder)?;
        eprintln!("pipelines: {} kills in {} runs, {:.1?}", tally.kills, tally.runs, begun.elapsed());
    }
    if wanted.main + wanted.supervisors > 0 {
        let begun = Instant::now();
        let folder = tempfile::tempdir()?;
        // Free now; another program may take it before we do, which shows as a service that can't listen.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let driver = Driver { folder: folder.path().canonicalize()?, address: Some(address) };
        let mut chance = chance.fork("main");
        let done = rounds::main_job(&driver, wanted.main, wanted.supervisors, &mut chance).await;
        if done.is_err() {
            rounds::abandon(&driver).await;
        }
        let (tally, load, dead) = keep(done, folder)?;
        eprintln!(
            "main job: {} kills in {} runs: {} in a commit, {} in a spawn, {} in a change of weights; {} requests, {} failed; \
             supervisor killed {dead} times, {:.1?}",
            tally.kills,
            tally.runs,
            tally.commits,
            tally.spawns,
            tally.weights,
            load["requests"],
            load["failed"],
            begun.elapsed()
        );
    }
    Ok(())
}

/// What failed stays to be looked at.
fn keep<T>(done: Result<T, Failed>, folder: tempfile::TempDir) -> Result<T, Failed> {
    done.map_err(|error| format!("{error}\n  kept: {}", folder.keep().display()).into())
}
