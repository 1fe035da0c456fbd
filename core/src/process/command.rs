//! What is to be started.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;

use tokio::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::time::Span;

use super::explain::explain;
use super::mark::Mark;
use super::running::Running;
use super::{reap, table};

/// A program to be started in a process group of its own: no input, its output read as lines.
#[derive(Debug, Clone)]
pub struct Command {
    /// The program, looked up in `PATH` unless it holds a slash, and its arguments.
    pub argv: Vec<String>,
    /// Variables besides those of this program.
    pub env: BTreeMap<String, String>,
    /// Variables of this program that it does not get.
    pub unset: BTreeSet<String>,
    /// The working directory; `None`: this program's.
    pub dir: Option<PathBuf>,
    /// The mark by which it, and what it starts, is found again.
    pub mark: Option<Mark>,
    /// The longest line in bytes; what is over is counted and dropped. 16 KiB by default.
    pub line_limit: usize,
    /// How long what is left of its group may take to end after SIGTERM when it ended by itself. 2 s by default.
    pub grace: Span,
}

impl Command {
    /// This program with these arguments.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Command {
        Command {
            argv: argv.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            unset: BTreeSet::new(),
            dir: None,
            mark: None,
            line_limit: 16 * 1024,
            grace: Span::seconds(2),
        }
    }

    /// Adds a variable to its environment.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Command {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets the working directory.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Command {
        self.dir = Some(dir.into());
        self
    }

    /// Marks it.
    pub fn mark(mut self, mark: Mark) -> Command {
        self.mark = Some(mark);
        self
    }

    /// Marks it as an attempt of a step, and tells it so in `TIDEGATE_RUN`, `TIDEGATE_STEP` and `TIDEGATE_ATTEMPT`.
    pub fn step(self, journal: &str, run: &str, step: &str, attempt: u32) -> Command {
        self.env("TIDEGATE_RUN", run)
            .env("TIDEGATE_STEP", step)
            .env("TIDEGATE_ATTEMPT", attempt.to_string())
            .mark(Mark::step(journal, run, step, attempt))
    }

    /// Starts it. Must be called inside a runtime with I/O and time enabled.
    ///
    /// # Errors
    /// [`Kind::NotFound`] or [`Kind::Invalid`] when the program or directory is missing or can't be run, with the
    /// places that were searched; [`Kind::Io`] when the system refused.
    pub fn spawn(&self) -> Result<Running> {
        let Some(program) = self.argv.first().filter(|program| !program.is_empty()) else {
            return Err(Error::new(Kind::Invalid, "the command is empty").help("name a program"));
        };
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(
                Error::new(Kind::Internal, "a command was started outside of a runtime").with("program", program)
            );
        }
        reap::reap_strays();
        let since = Instant::now();
        let child = self.prepare().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| {
            let path = self.env.get("PATH").map(Into::into).or_else(|| std::env::var_os("PATH"));
            explain(program, self.dir.as_deref(), path, error)
        })?;
        let started = table::entry(child.id());
        Running::adopt(child, since, started, self)
    }

    /// What the standard library is to start, but for where its output goes. An empty command can't be started.
    pub(crate) fn prepare(&self) -> std::process::Command {
        let (program, arguments) = self.argv.split_first().map_or(("", [].as_slice()), |(first, rest)| (first, rest));
        let mut command = std::process::Command::new(program);
        for name in &self.unset {
            command.env_remove(name);
        }
        command.args(arguments).envs(&self.env).stdin(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        if let Some(mark) = &self.mark {
            command.env(Mark::VARIABLE, mark.nested(std::env::var(Mark::VARIABLE).ok().as_deref()));
        }
        command
    }
}
