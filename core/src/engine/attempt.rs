//! Runs one attempt of a step, command or function, and says how it ended.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::define::Functions;
use crate::engine::function::Stragglers;
use crate::engine::log::RunLog;
use crate::engine::logs::LogFile;
use crate::engine::secrets::{Secrets, clip};
use crate::error::counted;
use crate::pipeline::action::{CommandContext, StepLine, run_command, sweep_step};
use crate::pipeline::{ActionSpec, StartStep, StepError, StepOutcome};
use crate::time::Span;

/// How many lines may wait between a command and those who look at it.
const LINES: usize = 256;
/// How long what a cut-off attempt left behind may take to end after SIGTERM.
const LEFTOVER: Span = Span::seconds(2);
/// How much of a failure's text goes into the journal, in bytes: of its sentence, and of its detail and its last lines.
const MESSAGE: usize = 16 << 10;
const DETAIL: usize = 64 << 10;

/// All that the attempts of one run share.
#[derive(Debug)]
pub(crate) struct Workshop {
    /// Names the journal in the marks of processes.
    pub(crate) journal: String,
    pub(crate) run: String,
    pub(crate) params: Value,
    pub(crate) functions: Functions,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) log: Arc<RunLog>,
    /// The folder for captured output; `None` keeps none.
    pub(crate) logs: Option<PathBuf>,
    pub(crate) stragglers: Arc<Stragglers>,
}

impl Workshop {
    /// Runs an attempt to its end. When it returns, nothing of it is left running, but for a function that does not
    /// heed its context.
    pub(crate) async fn attempt(&self, start: StartStep, stop: watch::Receiver<bool>) -> StepOutcome {
        let outcome = match &start.action {
            // Boxed: it is large, and every attempt's task would be as large and is moved several times.
            ActionSpec::Command { .. } => Box::pin(self.command(&start, stop)).await,
            // Masked before it is clipped: half a secret would not be found.
            ActionSpec::Function { function } => self.secrets.keep_out(self.function(&start, function, stop).await),
            // The kernel begins these itself.
            ActionSpec::Rollout { .. } | ActionSpec::Revert { .. } => StepOutcome::Lost,
        };
        match outcome {
            StepOutcome::Failed { error, retry_in } => StepOutcome::Failed { error: clipped(error), retry_in },
            other => other,
        }
    }

    /// Whether an attempt only waits for what is done elsewhere.
    pub(crate) fn hands_over(&self, action: &ActionSpec) -> bool {
        let ActionSpec::Function { function } = action else { return false };
        self.functions.get(function).is_some_and(|function| function.hands_over())
    }

    /// Ends all that carries the mark of a step's attempts up to this one.
    pub(crate) async fn sweep(&self, step: &str, attempt: u32) {
        let survived = sweep_step(self.command_context(), step, attempt, LEFTOVER).await;
        if survived > 0 {
            tracing::error!(run = self.run, step, survived, "processes of a step could not be ended");
        }
    }

    fn command_context(&self) -> CommandContext<'_> {
        CommandContext {
            journal: &self.journal,
            run: &self.run,
            secrets: &self.secrets.by_name,
            masker: &self.secrets.masker,
        }
    }

    async fn command(&self, start: &StartStep, stop: watch::Receiver<bool>) -> StepOutcome {
        let (send, receive) = mpsc::channel(LINES);
        let run = run_command(start, self.command_context(), send, stopped(stop));
        tokio::join!(run, self.keep(start, receive)).0
    }

    /// Shows a command's lines and keeps them in a file.
    async fn keep(&self, start: &StartStep, mut lines: mpsc::Receiver<StepLine>) {
        let mut file = LogFile::new(self.logs.as_deref(), &self.run, &start.step, start.attempt);
        loop {
            let line = match lines.try_recv() {
                Ok(line) => line,
                Err(_) => {
                    // Before it waits: others may follow the file, and what was shown is not lost with us.
                    file.flush().await;
                    let Some(line) = lines.recv().await else { break };
                    line
                }
            };
            file.line(&line.text).await;
            self.log.output(line);
        }
        file.close().await;
    }
}

/// A failure of a bearable size.
fn clipped(error: StepError) -> StepError {
    let (mut lines, mut left) = (Vec::new(), DETAIL);
    for line in error.last_lines.iter().rev() {
        let line = clip(line, DETAIL);
        let Some(rest) = left.checked_sub(line.len()) else { break };
        left = rest;
        lines.push(line);
    }
    let dropped = error.last_lines.len() - lines.len();
    if dropped > 0 {
        let dropped = counted(dropped as u64, "line before this one is", "lines before this one are");
        lines.push(format!("({dropped} left out)"));
    }
    lines.reverse();
    let (message, detail) = (clip(&error.message, MESSAGE), error.detail.map(|detail| clip(&detail, DETAIL)));
    StepError { message, detail, last_lines: lines, ..error }
}

pub(super) async fn stopped(mut stop: watch::Receiver<bool>) {
    // The sender goes only with the engine, which is a reason to stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use crate::pipeline::Cause;

    use super::*;

    #[test]
    fn a_failure_is_clipped_to_its_ends_and_says_by_how_much() {
        let short = StepError { detail: Some("d".into()), last_lines: vec!["l".into()], ..error("m") };
        assert_eq!(clipped(short.clone()), short);
        // Of characters of three bytes none is cut.
        let long = format!("first{}last", "\u{20ac}".repeat(100_000));
        let lines = (0..5_000).map(|i| format!("line {i:>20}")).collect();
        let told = clipped(StepError { detail: Some(long.clone()), last_lines: lines, ..error(&long) });
        for (text, most) in [(told.message, MESSAGE), (told.detail.unwrap(), DETAIL)] {
            assert!(text.len() <= most && text.len() > most - 100, "{}", text.len());
            assert!(text.starts_with("first\u{20ac}") && text.ends_with("\u{20ac}last"));
            let (head, rest) = text.split_once(" ... (").unwrap();
            let (dropped, tail) = rest.split_once(" bytes left out) ... ").unwrap();
            assert_eq!(head.len() + tail.len() + dropped.parse::<usize>().unwrap(), long.len());
        }
        assert_eq!(told.last_lines.last().unwrap().trim_end(), format!("line {:>20}", 4_999));
        let kept = told.last_lines.len() - 1;
        assert_eq!(told.last_lines[0], format!("({} lines before this one are left out)", 5_000 - kept));
        assert!(kept * 25 <= DETAIL && kept * 25 > DETAIL - 100);
    }

    fn error(message: &str) -> StepError {
        StepError::new(Cause::Exception, message)
    }
}
