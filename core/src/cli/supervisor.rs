//! The supervisor of a journal: what it holds, and its end.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::supervisor::{Client, Status};

use super::output::Output;

/// How long `stop` waits for the end.
const STOP: Duration = Duration::from_secs(300);

pub(super) async fn status(dir: &Path, output: &mut Output<'_>) -> Result<()> {
    let status = Client::connect(dir).await?.list().await?;
    if output.json { output.object(&status) } else { output.bytes(told(&status).as_bytes()) }
}

fn told(status: &Status) -> String {
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

pub(super) async fn stop(dir: &Path, output: &mut Output<'_>) -> Result<()> {
    let client = Client::connect(dir).await?;
    let identity = client.list().await?.identity;
    client.stop().await?;
    let Some(identity) = identity else { return output.line("told to end") };
    let late = Instant::now() + STOP;
    while identity.is_alive() {
        if Instant::now() >= late {
            return Err(Error::new(Kind::Busy, "the supervisor has not ended yet").with("process", identity.pid));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    output.line("ended")
}
