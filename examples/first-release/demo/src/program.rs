//! The program under demonstration: one run of it, whose lines are shown as they come.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::{Failure, Try, say};

/// No run takes longer.
const LONGEST: Duration = Duration::from_secs(300);

/// How the program is started.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) argv: Vec<String>,
    /// Where it keeps its journal and what it builds.
    pub(crate) folder: PathBuf,
    /// Where the shop is served.
    pub(crate) listen: String,
}

impl Program {
    pub(crate) fn start(&self, version: &str) -> Try<Running> {
        let mut child = Command::new(&self.argv[0])
            .args(&self.argv[1..])
            .arg(version)
            .env("FOLDER", &self.folder)
            .env("LISTEN", &self.listen)
            // What it shows is read as lines, wherever this runs.
            .env_remove("GITHUB_ACTIONS")
            .env_remove("GITLAB_CI")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure(format!("can't start {}: {error}", self.argv[0])))?;
        let output = child.stderr.take().ok_or_else(|| Failure("the program has no output".to_owned()))?;
        Ok(Running {
            child,
            lines: BufReader::new(output).lines(),
            shown: Vec::new(),
            known: VecDeque::new(),
            again: 0,
            began: Instant::now(),
        })
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self, version: &str) -> Try<Ended> {
        self.start(version)?.end().await
    }

    /// What the steps of a version wrote, in order: `build begins`, `build ends` and so on.
    pub(crate) fn notes(&self, version: &str) -> Try<Vec<String>> {
        let text = fs::read_to_string(self.folder.join("steps.txt"))?;
        let of_version = |line: &str| {
            let [step, shipped, what] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
            (shipped == version).then(|| format!("{step} {what}"))
        };
        Ok(text.lines().filter_map(of_version).collect())
    }
}

/// One run of the program; killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    shown: Vec<String>,
    /// What an earlier run has shown: not shown again.
    known: VecDeque<String>,
    again: usize,
    began: Instant,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) shown: Vec<String>,
    pub(crate) took: Duration,
}

impl Running {
    /// Doesn't show again what was shown before, as long as it is the same.
    pub(crate) fn after(mut self, shown: Vec<String>) -> Running {
        self.known = shown.into();
        self
    }

    /// Shows the next line; `None` at the end of the output.
    async fn show(&mut self) -> Try<Option<String>> {
        while let Some(line) = self.lines.next_line().await? {
            self.shown.push(line.clone());
            // Lines of output are not in the journal, so they don't come again.
            while self.known.front().is_some_and(|known| known.contains(" | ")) {
                self.known.pop_front();
            }
            if self.known.front() == Some(&line) {
                self.known.pop_front();
                self.again += 1;
                continue;
            }
            if self.again > 0 {
                say(&format!("          (it reads {} events above again from its journal)", self.again));
                self.again = 0;
            }
            self.known.clear();
            say(&line);
            return Ok(Some(line));
        }
        Ok(None)
    }

    /// Waits for a line that contains all of `parts`.
    pub(crate) async fn line_with(&mut self, parts: &[&str]) -> Try<()> {
        let wait = async {
            while let Some(line) = self.show().await? {
                if parts.iter().all(|part| line.contains(part)) {
                    return Ok(());
                }
            }
            Err(Failure(format!("the program ended before it said: {}", parts.join(" "))))
        };
        tokio::time::timeout(LONGEST, wait)
            .await
            .map_err(|_| Failure(format!("the program never said: {}", parts.join(" "))))?
    }

    /// Goes on for a time, then kills the program with SIGKILL. Gives what it had shown; `None` if it ended before.
    pub(crate) async fn kill_after(mut self, time: Duration) -> Try<Option<Vec<String>>> {
        let run = async {
            while self.show().await?.is_some() {}
            Ok::<(), Failure>(())
        };
        match tokio::time::timeout(time, run).await {
            Ok(ended) => {
                ended?;
                return Ok(None);
            }
            Err(_) => self.child.start_kill()?,
        }
        let status = self.child.wait().await?;
        // What it had said before goes to the screen too.
        while self.show().await?.is_some() {}
        Ok(status.code().is_none().then_some(self.shown))
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Try<Ended> {
        let end = async {
            while self.show().await?.is_some() {}
            Ok::<ExitStatus, Failure>(self.child.wait().await?)
        };
        let status =
            tokio::time::timeout(LONGEST, end).await.map_err(|_| Failure("the program does not end".to_owned()))??;
        Ok(Ended { status, shown: self.shown, took: self.began.elapsed() })
    }
}
