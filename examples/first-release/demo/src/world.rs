//! What runs besides the program: the shop's processes, the proxy, and the supervisor that holds them.

use std::fs;
use std::time::{Duration, Instant};

use tidegate::supervisor::Client;
use tidegate::{Error, Kind};

use crate::program::Program;
use crate::{Failure, Try, expect};

const SOON: Duration = Duration::from_secs(60);

async fn supervisor(program: &Program) -> tidegate::Result<Client> {
    Client::connect(&program.folder.join("release.db.supervisor")).await
}

/// Checks that the shop is served by four processes of this version and by no other.
pub(crate) async fn served_by(program: &Program, version: &str) -> Try<()> {
    let status = supervisor(program).await?.list().await?;
    let shop = status.services.get("shop").ok_or_else(|| Failure("there is no shop".to_owned()))?;
    let running: Vec<(&str, u32)> = shop.versions.iter().map(|(name, seen)| (name.as_str(), seen.ready)).collect();
    expect(running == [(version, 4)], || format!("expected four processes of {version}: {running:?}"))
}

/// Ends the supervisor and all that it holds, if it runs.
pub(crate) async fn end(program: &Program) -> Try<()> {
    let gone = |error: &Error| matches!(error.kind(), Kind::NotFound | Kind::Io);
    let client = match supervisor(program).await {
        Ok(client) => client,
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let identity = client.list().await?.identity;
    client.stop().await?;
    let late = Instant::now() + SOON;
    while identity.as_ref().is_some_and(tidegate::process::Identity::is_alive) {
        expect(Instant::now() < late, || "the supervisor does not end".to_owned())?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Checks that nothing that the program started still runs: all of it has inherited the variable `FOLDER`. (Without
/// `/proc` only the listening socket is looked for.)
pub(crate) async fn is_gone(program: &Program) -> Try<()> {
    let mark = format!("FOLDER={}", program.folder.display());
    let late = Instant::now() + Duration::from_secs(5);
    loop {
        let listens = tokio::net::TcpStream::connect(&program.listen).await.is_ok();
        let left = marked(&mark);
        if !listens && left.is_empty() {
            return Ok(());
        }
        expect(Instant::now() < late, || format!("left over: processes {left:?}, still listening: {listens}"))?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn marked(mark: &str) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let has_mark = |pid: &u32| {
        // Who ended meanwhile has no environment.
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(has_mark).collect()
}
