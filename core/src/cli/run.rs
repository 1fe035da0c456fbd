//! From arguments to an exit code.

use std::ffi::OsString;
use std::io::Write;

use clap::{CommandFactory, Parser};

use crate::error::{Error, Kind, Result};
use crate::journal::Reader;
use crate::supervisor as supervise;

use super::args::{Asked, RolloutVerb, Verb};
use super::command::{self, RolloutCommand};
use super::output::{Output, nobody_reads};
use super::{find, logs, show, supervisor, watch};

/// Done, or not done for a reason that was said.
const DONE: u8 = 0;
const NOT_DONE: u8 = 1;
/// The command line is not understood.
const USAGE: u8 = 2;

/// Runs the command line `args`, the program's name first, and returns the code to exit with: 0 done, 1 not done, 2 not
/// understood; `watch` also 3 the run failed, 4 it was cancelled, 5 it stopped and asks. Answers go to standard output,
/// errors to standard error. Blocks until done; must not be called within a tokio runtime.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let asked = match Asked::try_parse_from(args) {
        Ok(asked) => asked,
        Err(error) => {
            // With standard error closed there is nobody to tell.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(USAGE);
        }
    };
    match answer(asked) {
        Ok(code) => code,
        Err(error) if nobody_reads(&error) => DONE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tidegate: {error}");
            if error.kind() == Kind::Invalid { USAGE } else { NOT_DONE }
        }
    }
}

fn answer(asked: Asked) -> Result<u8> {
    // It has a runtime of its own.
    if let Verb::Supervise { dir } = asked.verb {
        return supervise::main(&dir).map(|()| DONE);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::new(Kind::Io, "can't build a runtime").because(error))?;
    let mut stdout = std::io::stdout().lock();
    let mut output = Output { to: &mut stdout, json: asked.json };
    let code = runtime.block_on(ask(asked, &mut output))?;
    output.flush()?;
    Ok(code)
}

async fn ask(asked: Asked, output: &mut Output<'_>) -> Result<u8> {
    let Asked { journal, verb, .. } = asked;
    let folder = |dir: super::args::Folder| match dir.dir {
        Some(dir) => Ok(dir),
        None => find::supervisor(&find::journal(journal.clone())?),
    };
    match verb {
        Verb::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Asked::command(), "tidegate", &mut script);
            return output.bytes(&script).map(|()| DONE);
        }
        Verb::Status(dir) => return supervisor::status(&folder(dir)?, output).await.map(|()| DONE),
        Verb::Stop(dir) => return supervisor::stop(&folder(dir)?, output).await.map(|()| DONE),
        _ => {}
    }
    let journal = find::journal(journal)?;
    let reader = &mut Reader::open(&journal)?;
    match verb {
        Verb::Runs { limit } => show::runs(reader, limit, output)?,
        Verb::Services => show::services(reader, output)?,
        Verb::Verify => return show::verify(reader, output).map(|sound| if sound { DONE } else { NOT_DONE }),
        Verb::Show(run) => show::run(reader, &find::run(reader, &run.run)?, output)?,
        Verb::Watch(run) => return watch::watch(reader, &journal, &find::run(reader, &run.run)?, output).await,
        Verb::Logs { run, step, follow } => {
            let run = find::run(reader, &run.run)?;
            logs::logs(reader, &journal, &run, step.as_deref(), follow, output).await?;
        }
        Verb::Report { run, output: file } => show::report(reader, &find::run(reader, &run.run)?, &file, output)?,
        Verb::Promote(verb) => rollout(reader, RolloutCommand::Promote, verb, output).await?,
        Verb::Pause(verb) => rollout(reader, RolloutCommand::Pause, verb, output).await?,
        Verb::Resume(verb) => rollout(reader, RolloutCommand::Resume, verb, output).await?,
        Verb::Abort(verb) => rollout(reader, RolloutCommand::Abort, verb, output).await?,
        Verb::Revert(verb) => rollout(reader, RolloutCommand::Revert, verb, output).await?,
        Verb::Cancel { run, says } => {
            let run = find::run(reader, &run.run)?;
            let command = command::cancel(says);
            command::send(reader, &run, command, output).await?;
        }
        Verb::Resolve { run, step, answer, value, by } => {
            let run = find::run(reader, &run.run)?;
            let command = command::resolve(step, answer, value.as_deref(), by)?;
            command::send(reader, &run, command, output).await?;
        }
        Verb::Completion { .. } | Verb::Status(_) | Verb::Stop(_) | Verb::Supervise { .. } => {}
    }
    Ok(DONE)
}

async fn rollout(
    reader: &mut Reader,
    command: RolloutCommand,
    verb: RolloutVerb,
    output: &mut Output<'_>,
) -> Result<()> {
    let run = find::run(reader, &verb.run.run)?;
    let (follow, _) = find::whole(reader, &run)?;
    let step = find::rollout(&follow, verb.step)?;
    command::send(reader, &run, command.of(step, verb.says), output).await
}
