//! The command probe: a program whose exit code is the result.

use std::io::ErrorKind;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use crate::health::probe::Probe;
use crate::health::probe::child::Group;
use crate::health::probe::stopwatch::Stopwatch;
use crate::health::{Outcome, ProbeSpec, Verdict};
use crate::process::{Command, Exit};
use crate::time::Span;

/// So much of what a command writes is kept; the rest is read and dropped, so that it can go on.
const KEPT_OUTPUT_BYTES: usize = 4 * 1024;
/// So much of the output's first line goes into the reason.
const REASON_CHARS: usize = 200;
/// How long output is waited for after the group was ended: a process that left the group may hold the pipe.
const LAST_OUTPUT: Duration = Duration::from_millis(100);

/// Runs a command in a process group of its own. Exit code 0 passes and others fail, unless the spec says otherwise;
/// a signal or the timeout fails. What can't be started (not found, not permitted, no resources) is unknown: it says
/// nothing of what is checked. A shell's exit code 127 is an exit code like any other.
///
/// Whenever the probe ends or is dropped, every process of the group is killed. A process that leaves its group and
/// session escapes that.
#[derive(Debug)]
pub struct CommandProbe {
    command: Command,
    spec: ProbeSpec,
    timeout: Span,
}

impl CommandProbe {
    /// A probe that starts `command`, whose exit codes mean what `spec` says. The limits that the command sets to its
    /// lines and its end are not the probe's.
    pub fn new(command: Command, spec: ProbeSpec, timeout: Span) -> CommandProbe {
        CommandProbe { command, spec, timeout }
    }

    fn start(&self) -> Result<(Group, Receiver), Outcome> {
        let unknown = |what: String| Outcome::new(Verdict::Unknown, what);
        let program = self.command.argv.first().ok_or_else(|| unknown("no command".to_owned()))?;
        // One pipe for both streams, so that lines stay in the order in which they were written.
        let (reader, writer) = std::io::pipe().map_err(|error| unknown(format!("can't make a pipe: {error}")))?;
        let second = writer.try_clone().map_err(|error| unknown(format!("can't make a pipe: {error}")))?;
        let output = Receiver::from_owned_fd(reader.into())
            .map_err(|error| unknown(format!("can't read from a pipe: {error}")))?;
        let mut command = self.command.prepare();
        command.stdout(writer).stderr(second);
        // The command is dropped with this function, and with it this side's copies of the writing end.
        match Group::spawn(&mut command) {
            Ok(group) => Ok((group, output)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(unknown(format!("no such program: {program}"))),
            Err(error) => Err(unknown(format!("can't start {program}: {error}"))),
        }
    }

    fn judge(&self, exit: Exit, output: &str) -> Outcome {
        let code = match exit {
            Exit::Code(code) => code,
            Exit::Signal(signal) => {
                return Outcome::new(Verdict::Fail, format!("killed by signal {signal}")).with("signal", signal);
            }
            Exit::Lost => return Outcome::new(Verdict::Unknown, format!("the command {exit}")),
        };
        let line: String = output.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().into();
        let mut reason = format!("exit code {code}");
        if !line.is_empty() {
            reason.push_str(": ");
            reason.extend(line.chars().filter(|c| !c.is_control()).take(REASON_CHARS));
        }
        match self.spec.verdict_of_exit(code) {
            Ok(verdict) => Outcome::new(verdict, reason).with("exit_code", code),
            Err(error) => Outcome::new(Verdict::Unknown, format!("can't judge the exit code: {error}")),
        }
    }

    async fn ask(&self) -> Outcome {
        let (mut group, mut output) = match self.start() {
            Ok(started) => started,
            Err(outcome) => return outcome,
        };
        let mut kept = Vec::new();
        let finish = async {
            let mut reading = std::pin::pin!(read(&mut output, &mut kept));
            let exit = tokio::select! {
                exit = group.wait() => exit,
                // The output's end is not the command's: it may have closed it.
                () = &mut reading => return group.wait().await,
            };
            let _ = tokio::time::timeout(LAST_OUTPUT, reading).await;
            exit
        };
        let finished = tokio::time::timeout(Duration::from(self.timeout), finish).await;
        if finished.is_err() {
            group.kill();
            // Only to reap it here; the kernel may be busy with it, and then dropping it does what can be done.
            let _ = tokio::time::timeout(LAST_OUTPUT, group.wait()).await;
        }
        let text = String::from_utf8_lossy(&kept).into_owned();
        let outcome = match finished {
            Ok(exit) => self.judge(exit, &text),
            Err(_) => Outcome::new(Verdict::Fail, format!("timed out after {}", self.timeout)),
        };
        outcome.with("output", text)
    }
}

#[async_trait]
impl Probe for CommandProbe {
    async fn run(&self) -> Outcome {
        let begin = Stopwatch::start();
        let mut outcome = self.ask().await;
        outcome.took_us = begin.us();
        outcome
    }
}

/// Reads to the end and keeps the beginning.
async fn read(output: &mut Receiver, kept: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    // An error ends the output as its end does: the exit code is what counts.
    while let Ok(n @ 1..) = output.read(&mut buffer).await {
        let room = KEPT_OUTPUT_BYTES.saturating_sub(kept.len());
        kept.extend(buffer.iter().take(n).take(room));
    }
}
