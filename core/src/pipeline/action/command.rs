//! Command steps: a program in a process group of its own.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use crate::error::Kind;
use crate::pipeline::action::capture::{Capture, line_limit};
use crate::pipeline::machine::{Cause, Outcome, StartStep, StepError};
use crate::pipeline::spec::{ActionSpec, EnvValue};
use crate::process::{Command, Exit, Line, Mark, Stream, sweep};
use crate::secret::{Masker, Secret};
use crate::time::Span;

/// The largest JSON of a command's inputs in its environment, in bytes. Linux takes 128 KiB for one variable.
const MAX_INPUTS_BYTES: usize = 96 * 1024;

/// How many lines wait between the command and what masks them.
const LINES: usize = 64;

/// Where a command runs.
#[derive(Debug, Clone, Copy)]
pub struct CommandContext<'a> {
    /// The journal's id, which every mark begins with.
    pub journal: &'a str,
    /// The run's id.
    pub run: &'a str,
    /// The secrets that are known, by name.
    pub secrets: &'a BTreeMap<String, Secret>,
    /// A masker for all of them.
    pub masker: &'a Masker,
}

/// A line that a command wrote, masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepLine {
    /// The step.
    pub step: String,
    /// The attempt's number.
    pub attempt: u32,
    /// Where it was written.
    pub stream: Stream,
    /// The line, without its end; at most 16 KiB and a note of what was cut.
    pub text: String,
}

/// Runs a command step to its end: until its group, and all that carries its mark, is gone. What an earlier attempt
/// left behind is ended first. When `stop` ends, the group is asked to end, and killed after the step's grace; if the
/// command still ran then, the outcome is [`Outcome::Stopped`], or a failure with what it wrote last, but never a
/// success, whatever its exit code. One that had ended by then, while processes that it left behind hold its output or
/// are ended, ended as it did.
///
/// In its environment the command finds `TIDEGATE_RUN`, `TIDEGATE_STEP`, `TIDEGATE_ATTEMPT`,
/// `TIDEGATE_IDEMPOTENCY_KEY`, `TIDEGATE_TOKEN`, and in `TIDEGATE_INPUTS` a JSON array of its inputs, if it has any.
///
/// A receiver of `lines` that is slow holds the command back; one that is gone loses lines and stops nothing. Dropping
/// the future kills the group. Must be called inside a runtime with I/O and time enabled.
pub async fn run_command(
    start: &StartStep,
    context: CommandContext<'_>,
    lines: mpsc::Sender<StepLine>,
    stop: impl Future<Output = ()>,
) -> Outcome {
    let failed = |error| Outcome::Failed { error, retry_in: None };
    let ActionSpec::Command { output, .. } = &start.action else {
        return failed(StepError::new(Cause::CanNotStart, "not a command"));
    };
    let command = match prepare(start, context) {
        Ok(command) => command,
        Err(error) => return failed(error),
    };
    if let Some(through) = start.sweep {
        sweep_step(context, &start.step, through, start.grace).await;
    }
    let stop = stop.fuse();
    tokio::pin!(stop);
    if (&mut stop).now_or_never().is_some() {
        return Outcome::Stopped;
    }
    let mut running = match command.spawn() {
        Ok(running) => running,
        Err(error) => {
            let cause = if error.kind() == Kind::NotFound { Cause::NotFound } else { Cause::CanNotStart };
            return failed(StepError::new(cause, context.masker.mask(&error.to_string())));
        }
    };
    let mut capture = Capture::new(context.masker, *output);
    let (sender, mut receiver) = mpsc::channel::<Line>(LINES);
    let stop = async {
        stop.await;
        start.grace
    };
    let show = async |shown: Vec<(Stream, String)>| {
        for (stream, text) in shown {
            let line = StepLine { step: start.step.clone(), attempt: start.attempt, stream, text };
            // A receiver that is gone wants no lines.
            let _ = lines.send(line).await;
        }
    };
    let drive = async {
        let ended = running.pipe(&sender, stop).await;
        // Ends the other side.
        drop(sender);
        ended
    };
    let read = async {
        while let Some(line) = receiver.recv().await {
            show(capture.push(&line)).await;
        }
        show(capture.finish()).await;
    };
    let (ended, ()) = futures_util::future::join(drive, read).await;
    let error =
        |cause, message: String| StepError { last_lines: capture.last_lines(), ..StepError::new(cause, message) };
    match ended.exit {
        Exit::Code(0) if ended.interrupted => Outcome::Stopped,
        Exit::Code(0) => match capture.value() {
            Ok(value) => Outcome::Succeeded { value },
            Err(error) => failed(error),
        },
        Exit::Code(code) => failed(error(Cause::ExitCode { code }, ended.exit.to_string())),
        Exit::Signal(signal) => failed(error(Cause::Signal { signal }, ended.exit.to_string())),
        Exit::Lost if ended.interrupted => Outcome::Stopped,
        Exit::Lost => Outcome::Lost,
    }
}

/// Ends what carries the mark of a step's attempts up to `through`: SIGTERM, `grace`, SIGKILL. Gives how many processes
/// would not end.
pub async fn sweep_step(context: CommandContext<'_>, step: &str, through: u32, grace: Span) -> usize {
    let outer = Mark::new([context.journal, context.run, step]);
    let wanted = move |mark: &Mark| {
        let attempt = mark.parts().get(3).and_then(|part| part.parse::<u32>().ok());
        mark.is_within(&outer) && attempt.is_some_and(|attempt| attempt <= through)
    };
    sweep(wanted, grace).await.iter().filter(|swept| swept.survived).count()
}

fn prepare(start: &StartStep, context: CommandContext<'_>) -> Result<Command, StepError> {
    let ActionSpec::Command { argv, shell, env, dir, grace: _, output } = &start.action else {
        return Err(StepError::new(Cause::CanNotStart, "not a command"));
    };
    let mut command = match shell {
        Some(script) => Command::new(["sh", "-eu", "-c", script.as_str()]),
        None => Command::new(argv.iter().cloned()),
    };
    for (name, value) in env {
        let value = match value {
            EnvValue::Text { value } => value.clone(),
            EnvValue::Secret { name: secret } => match context.secrets.get(secret) {
                Some(secret) => secret.expose().to_owned(),
                None => {
                    let message = format!("there is no secret {secret:?}, which the variable {name} is to hold");
                    return Err(StepError { permanent: true, ..StepError::new(Cause::NotFound, message) });
                }
            },
        };
        command = command.env(name, value);
    }
    if !start.inputs.is_empty() {
        let inputs = serde_json::Value::from(start.inputs.clone()).to_string();
        if inputs.len() > MAX_INPUTS_BYTES {
            let message = format!(
                "its inputs are too large for its environment: {} bytes, and {MAX_INPUTS_BYTES} fit; \
                 pass large values as files",
                inputs.len()
            );
            return Err(StepError { permanent: true, ..StepError::new(Cause::CanNotStart, message) });
        }
        command = command.env("TIDEGATE_INPUTS", inputs);
    }
    command = command
        .env("TIDEGATE_IDEMPOTENCY_KEY", &start.idempotency_key)
        .env("TIDEGATE_TOKEN", start.token.to_string())
        .step(context.journal, context.run, &start.step, start.attempt);
    if let Some(dir) = dir {
        command = command.dir(dir);
    }
    command.line_limit = line_limit(*output);
    command.grace = start.grace;
    Ok(command)
}
