//! What runs besides the program: the shop's processes, the proxy, and the supervisor that holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use tidegate::supervisor::Client;
use tidegate::{Error, Kind};

use crate::program::Program;
use crate::{Try, expect};

const SOON: Duration = Duration::from_secs(60);

async fn supervisor(program: &Program) -> tidegate::Result<Client> {
    Client::connect(&program.folder.join("release.db.supervisor")).await
}

/// The shop's processes by version, by the environment that each was given; `None` without `/proc`.
pub(crate) fn processes(program: &Program) -> Option<BTreeMap<String, BTreeSet<u32>>> {
    fs::metadata("/proc/self/environ").ok()?;
    let mut found: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for (pid, environ) in marked(program) {
        if let Some(version) = environ.iter().find_map(|variable| variable.strip_prefix("TIDEGATE_VERSION=")) {
            found.entry(version.to_owned()).or_default().insert(pid);
        }
    }
    Some(found)
}

/// Checks that the shop has four processes of this version and no other.
pub(crate) fn served_by(program: &Program, version: &str) -> Try<()> {
    let Some(running) = processes(program) else { return Ok(()) };
    let fits = running.len() == 1 && running.get(version).is_some_and(|pids| pids.len() == 4);
    expect(fits, || format!("expected four processes of {version}: {running:?}"))
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

/// Checks that nothing that the program started still runs. (Without `/proc` only the listening socket is looked for.)
pub(crate) async fn is_gone(program: &Program) -> Try<()> {
    let late = Instant::now() + Duration::from_secs(5);
    loop {
        let listens = tokio::net::TcpStream::connect(&program.listen).await.is_ok();
        let left: Vec<u32> = marked(program).into_iter().map(|(pid, _)| pid).collect();
        if !listens && left.is_empty() {
            return Ok(());
        }
        expect(Instant::now() < late, || format!("left over: processes {left:?}, still listening: {listens}"))?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// All that the program started, with its environment: all of it has inherited the variable `FOLDER`.
fn marked(program: &Program) -> Vec<(u32, Vec<String>)> {
    let mark = format!("FOLDER={}", program.folder.display());
    let environ = |pid: u32| -> Vec<String> {
        // Who ended meanwhile has none.
        let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        bytes.split(|byte| *byte == 0).map(|variable| String::from_utf8_lossy(variable).into_owned()).collect()
    };
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.map(|pid| (pid, environ(pid))).filter(|(_, environ)| environ.contains(&mark)).collect()
}
