//! One life of the driver: from its start to its end or to SIGKILL, with all that it acknowledged.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::{Failed, fell};

/// No life takes longer.
const LONGEST: Duration = Duration::from_secs(90);

/// Which program is run, and on what.
#[derive(Debug, Clone)]
pub(crate) struct Driver {
    pub(crate) folder: PathBuf,
    /// Where the service is served; `None` ships nothing.
    pub(crate) address: Option<String>,
}

/// What was seen of one life.
#[derive(Debug)]
pub(crate) struct Session {
    /// The events that it acknowledged, as text.
    pub(crate) acknowledged: Vec<String>,
    /// How its run ended; `None` when it was killed before it could say so.
    pub(crate) outcome: Option<Value>,
    pub(crate) killed: bool,
    /// The lines that steps had left when it was killed.
    pub(crate) left: String,
    pub(crate) took: Duration,
}

/// Another program of this folder of programs.
pub(crate) fn sibling(name: &str) -> Result<PathBuf, Failed> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.is_file() { Ok(path) } else { Err(format!("build it first: {}", path.display()).into()) }
}

impl Driver {
    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.join("release.db")
    }

    /// A file beside the journal, by what its name adds.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        self.folder.join(format!("release.db{suffix}"))
    }

    pub(crate) fn supervisor(&self) -> PathBuf {
        self.folder.join("release.db.supervisor")
    }

    pub(crate) fn effects(&self) -> PathBuf {
        self.folder.join("effects")
    }

    /// Runs the driver, and kills it after a time if it has not ended by then.
    pub(crate) async fn live(&self, key: &str, kill: Option<Duration>) -> Result<Session, Failed> {
        let begun = Instant::now();
        let mut child = Command::new(sibling("driver")?)
            .arg(&self.folder)
            .arg(key)
            .args(&self.address)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (out, err) = (child.stdout.take().ok_or("no pipe")?, child.stderr.take().ok_or("no pipe")?);
        let out = tokio::spawn(lines(out));
        let err = tokio::spawn(async move {
            let mut text = String::new();
            BufReader::new(err).read_to_string(&mut text).await.map(|_| text)
        });
        let mut left = String::new();
        let status = tokio::select! {
            status = child.wait() => status?,
            () = tokio::time::sleep(kill.unwrap_or(LONGEST)) => {
                // SIGKILL; it may have ended in this very moment, which the status tells.
                child.start_kill()?;
                left = fell::left(self);
                child.wait().await?
            }
        };
        let took = begun.elapsed();
        let (mut acknowledged, complaints) = (out.await??, err.await??);
        let killed = status.signal() == Some(9) && kill.is_some();
        if !killed && !status.success() {
            let last = acknowledged.last().cloned().unwrap_or_default();
            return Err(format!("{key}: the driver ended with {status}\n{complaints}\nlast said: {last}").into());
        }
        let outcome = match acknowledged.last() {
            Some(line) if line.starts_with("{\"outcome\"") => {
                let outcome = serde_json::from_str::<Value>(line)?["outcome"].take();
                acknowledged.pop();
                Some(outcome)
            }
            _ => None,
        };
        Ok(Session { acknowledged, outcome, killed, left, took })
    }
}

/// Every whole line; what a kill cut off is none.
async fn lines(pipe: impl tokio::io::AsyncRead + Unpin) -> std::io::Result<Vec<String>> {
    let mut pipe = BufReader::new(pipe);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        pipe.read_line(&mut line).await?;
        if line.pop() != Some('\n') {
            return Ok(lines);
        }
        lines.push(line);
    }
}

/// The processes whose environment names a folder, but for ourselves: what was started on its behalf.
pub(crate) fn processes(folder: &Path) -> Vec<String> {
    let plain = folder.display().to_string();
    // As marks have it.
    let escaped = plain.replace('/', "%2F");
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let environment = String::from_utf8_lossy(&std::fs::read(entry.path().join("environ")).ok()?).into_owned();
            let command =
                String::from_utf8_lossy(&std::fs::read(entry.path().join("cmdline")).ok()?).replace('\0', " ");
            let ours = environment.contains(&plain) || environment.contains(&escaped);
            ours.then(|| format!("{}: {command}", entry.file_name().to_string_lossy()))
        })
        .collect()
}
