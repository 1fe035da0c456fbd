//! Commands to a run, through the inbox.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::engine::{Command, StepAnswer};
use crate::error::{Error, Fault, Kind, Result};
use crate::journal::{Reader, RunEntry};
use crate::pipeline::lossy_integer;
use crate::report::Narrator;

use super::args::{AnswerName, Says};
use super::find;
use super::output::Output;

/// How long a program that drives the run is given to take a command; it looks every 200 ms.
const TAKES: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);

/// What can be said to a rollout.
#[derive(Debug, Clone, Copy)]
pub(super) enum RolloutCommand {
    Promote,
    Pause,
    Resume,
    Abort,
    Revert,
}

impl RolloutCommand {
    pub(super) fn of(self, step: String, says: Says) -> Command {
        let (by, reason) = (who(says.by), says.reason);
        match self {
            RolloutCommand::Promote => Command::Promote { step, by, reason },
            RolloutCommand::Pause => Command::Pause { step, by, reason },
            RolloutCommand::Resume => Command::Resume { step, by, reason },
            RolloutCommand::Abort => Command::Abort { step, by, reason },
            RolloutCommand::Revert => Command::Revert { step, by, reason },
        }
    }
}

pub(super) fn cancel(says: Says) -> Command {
    Command::Cancel { by: who(says.by), reason: says.reason }
}

pub(super) fn resolve(step: String, answer: AnswerName, value: Option<&str>, by: Option<String>) -> Result<Command> {
    let wrong = |message: String| Error::invalid("--value", vec![Fault::new("", message)]);
    let value = value
        .map(|text| match lossy_integer(text) {
            None => serde_json::from_str::<Value>(text).map_err(|error| wrong(format!("expected JSON: {error}"))),
            Some(_) => Err(wrong("an integer is beyond 2^53 − 1: write it as a string".to_owned())),
        })
        .transpose()?;
    let answer = match (answer, value) {
        (AnswerName::Done, value) => StepAnswer::Done { value: value.unwrap_or_default() },
        (_, Some(_)) => {
            return Err(wrong("only what is done has returned something".to_owned()));
        }
        (AnswerName::RunAgain, None) => StepAnswer::RunAgain,
        (AnswerName::Fail, None) => StepAnswer::Fail,
    };
    Ok(Command::Resolve { step, answer, by: who(by) })
}

/// Who asks, unless it is said: the user's name.
fn who(said: Option<String>) -> String {
    let user =
        || ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    said.or_else(user).unwrap_or_else(|| format!("user {}", rustix::process::getuid().as_raw()))
}

/// Sends a command and tells what came of it, if a program takes it.
pub(super) async fn send(reader: &mut Reader, run: &RunEntry, command: Command, output: &mut Output<'_>) -> Result<()> {
    let before = reader.head(&run.stream)?;
    let id = reader.command(run.stream.name(), &command)?;
    let late = Instant::now() + TAKES;
    // Nobody drives a journal that was closed, and whoever died does not take it.
    while reader.driver().is_some() && reader.waits(id)? && Instant::now() < late {
        tokio::time::sleep(LOOK).await;
    }
    let taken = !reader.waits(id)?;
    let (_, events) = find::whole(reader, run)?;
    if let Some(why) = events.iter().filter_map(|event| refusal(event, before, &command)).next_back() {
        return Err(Error::new(Kind::Conflict, format!("refused: {why}")).with("run", run.stream.name()));
    }
    if output.json {
        return output.object(&json!({ "run": run.stream.name(), "command": command, "taken": taken }));
    }
    if !taken {
        return output.line("recorded: it takes effect when the program that drives the run runs again");
    }
    let mut narrator = Narrator::new();
    let told: Vec<Vec<String>> = events.iter().map(|event| narrator.lines(event)).collect();
    let news = events.iter().zip(told).filter(|(event, _)| seq(event) > before).flat_map(|(_, lines)| lines);
    let news: Vec<String> = news.collect();
    if news.is_empty() {
        output.line("taken: it changes nothing")
    } else {
        news.iter().try_for_each(|line| output.line(line))
    }
}

fn seq(event: &str) -> u64 {
    let event: Value = serde_json::from_str(event).unwrap_or_default();
    event["seq"].as_u64().unwrap_or_default()
}

/// Why this command was refused, if the event says so.
fn refusal(event: &str, before: u64, command: &Command) -> Option<String> {
    let event: Value = serde_json::from_str(event).ok()?;
    let (verb, step, by) = command.told();
    let ours = event["kind"] == "command_refused"
        && event["seq"].as_u64()? > before
        && event["verb"] == verb
        && event["by"] == by
        && event.get("step").and_then(Value::as_str) == step;
    ours.then(|| event["why"].as_str().unwrap_or_default().to_owned())
}
