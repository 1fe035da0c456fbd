//! How the supervisor's process is started.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::Pid;

use crate::error::{Error, Kind, Result};
use crate::process::{Exit, Mark};

use super::folder::{Folder, append, failed};
use super::log::LIMIT;

/// Names the folder to a program that is to act as supervisor instead of doing its work.
pub(super) const ASKED: &str = "TIDEGATE_SUPERVISE";
/// Names the fencing token under which the supervisor was started.
pub(super) const EPOCH: &str = "TIDEGATE_SUPERVISE_EPOCH";
/// What services must not inherit: a service may itself be a program that embeds tidegate.
pub(super) const VARIABLES: [&str; 2] = [ASKED, EPOCH];

/// The program that becomes the supervisor, such as the command `tidegate supervise {dir}`, or an interpreter with the
/// package. `{dir}` stands for the supervisor's folder, in arguments and in values of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// The program, looked up in `PATH` unless it holds a slash.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables besides those of this program. Services inherit them, except `TIDEGATE_SUPERVISE`.
    pub env: BTreeMap<String, String>,
}

impl Launcher {
    /// `<program> supervise {dir}`, as tidegate's own executable has it.
    pub fn command(program: impl Into<PathBuf>) -> Launcher {
        let args = vec!["supervise".to_owned(), "{dir}".to_owned()];
        Launcher { program: program.into(), args, env: BTreeMap::new() }
    }

    /// This very program again, with `TIDEGATE_SUPERVISE` in its environment. Its `main` must begin with
    /// [`asked`](super::asked), or it does its own work a second time.
    ///
    /// # Errors
    /// [`Kind::Io`] when the system does not say which program this is.
    pub fn this_program() -> Result<Launcher> {
        let program = std::env::current_exe()
            .map_err(|error| Error::new(Kind::Io, "can't tell which program this is").because(error))?;
        Ok(Launcher { program, args: Vec::new(), env: BTreeMap::from([(ASKED.to_owned(), "{dir}".to_owned())]) })
    }

    /// Starts it. It is reaped when it ends while this program still runs, and outlives it otherwise.
    pub(super) fn start(&self, folder: &Folder, epoch: u64) -> Result<Started> {
        let dir = folder.path().to_str().ok_or_else(|| {
            Error::new(Kind::Invalid, "the supervisor's folder has no name in UTF-8")
                .with("path", folder.path().display())
        })?;
        let path = folder.log();
        let log = append(&path).map_err(|error| failed("can't open the supervisor's log", &path, error))?;
        if log.metadata().is_ok_and(|meta| meta.len() > 2 * LIMIT) {
            log.set_len(0).map_err(|error| failed("can't empty the supervisor's log", &path, error))?;
        }
        let second = log.try_clone().map_err(|error| failed("can't open the supervisor's log", &path, error))?;
        let fill = |text: &String| text.replace("{dir}", dir);
        let mut command = std::process::Command::new(&self.program);
        command
            .args(self.args.iter().map(fill))
            .envs(self.env.iter().map(|(name, value)| (name, fill(value))))
            .env(EPOCH, epoch.to_string())
            .stdin(Stdio::null())
            .stdout(second)
            .stderr(log);
        // It is to outlive the step in which it may have been started. It must lead no group, or it could not begin a
        // session of its own.
        command.env_remove(Mark::VARIABLE);
        let child = command.spawn().map_err(|error| {
            Error::new(Kind::Io, "can't start the supervisor").with("program", self.program.display()).because(error)
        })?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::new(Kind::Internal, "a process has an impossible number"))?;
        let watch = crate::process::Watch::new(pid);
        let (ended, exit) = tokio::sync::watch::channel(None);
        tokio::spawn(async move {
            ended.send_replace(Some(watch.ended().await));
            crate::process::reap(pid);
        });
        Ok(Started { exit, log: path })
    }
}

/// A supervisor that was just started.
#[derive(Debug)]
pub(super) struct Started {
    exit: tokio::sync::watch::Receiver<Option<Exit>>,
    log: PathBuf,
}

impl Started {
    /// How it ended, if it has.
    pub(super) fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// The error for one that ended before it could be spoken to, with what it said last.
    pub(super) fn stillborn(&self, exit: Exit) -> Error {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(5)..).unwrap_or_default().join(" | ");
        Error::new(Kind::Failed, format!("the supervisor {exit} before it answered"))
            .with("log", self.log.display())
            .with("last lines", last)
    }
}
