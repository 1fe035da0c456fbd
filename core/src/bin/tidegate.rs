//! The executable: becomes the supervisor, and shows or ends one.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tidegate::error::{Error, Kind, Result};
use tidegate::supervisor::{self, Client, Status};

const USAGE: &str = "\
usage: tidegate supervise DIR   hold the services of this folder until there are none
       tidegate status DIR      show what the folder's supervisor holds
       tidegate stop DIR        end all services of the folder, and its supervisor

DIR is the folder beside the journal: release.db.supervisor for release.db
";

/// How long `stop` waits for the end.
const STOP: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    if let Some(dir) = supervisor::asked() {
        return finish(supervisor::main(&dir));
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    finish(match *arguments.as_slice() {
        ["supervise", dir] => supervisor::main(Path::new(dir)),
        ["status", dir] => wait(status(dir.into())),
        ["stop", dir] => wait(stop(dir.into())),
        ["help" | "--help" | "-h"] => say(USAGE),
        _ => Err(Error::new(Kind::Invalid, "not understood").help(USAGE.trim_end())),
    })
}

fn finish(done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error closed there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "tidegate: {error}");
            ExitCode::from(if error.kind() == Kind::Invalid { 2 } else { 1 })
        }
    }
}

fn wait(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::new(Kind::Io, "can't build a runtime").because(error))?.block_on(work)
}

fn say(text: &str) -> Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Error::new(Kind::Io, "can't write the output").because(error))
}

async fn status(dir: PathBuf) -> Result<()> {
    let status = Client::connect(&dir).await?.list().await?;
    say(&show(&status))
}

fn show(status: &Status) -> String {
    let pid = status.identity.as_ref().map_or_else(|| "unknown".to_owned(), |identity| identity.pid.to_string());
    let mut text = format!("supervisor: process {pid}, driver's epoch {}\n", status.epoch);
    if status.services.is_empty() {
        text.push_str("no services\n");
    }
    for (name, service) in &status.services {
        text.push_str(&format!("service {name}: generation {}, weights {}\n", service.generation, service.epoch));
        if let Some(trouble) = &service.trouble {
            text.push_str(&format!("  {}\n", trouble.replace('\n', "\n  ")));
        }
        for (version, observed) in &service.versions {
            let (running, ready, restarts) = (observed.running, observed.ready, observed.restarts);
            text.push_str(&format!("  version {version}: {running} running, {ready} ready, {restarts} restarts\n"));
            if let Some(trouble) = &observed.trouble {
                text.push_str(&format!("    last trouble: {}\n", trouble.what));
                for line in &trouble.last_lines {
                    text.push_str(&format!("      {line}\n"));
                }
            }
        }
    }
    text
}

async fn stop(dir: PathBuf) -> Result<()> {
    let client = Client::connect(&dir).await?;
    let identity = client.list().await?.identity;
    client.stop().await?;
    let Some(identity) = identity else { return say("told to end\n") };
    let late = Instant::now() + STOP;
    while identity.is_alive() {
        if Instant::now() >= late {
            return Err(Error::new(Kind::Busy, "the supervisor has not ended yet").with("process", identity.pid));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    say("ended\n")
}
