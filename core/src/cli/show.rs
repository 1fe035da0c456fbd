//! Runs, services and the journal's state, as of now.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::{EventText, Follow, RunRow, StepOutcome, StepStatus};
use crate::error::{Error, Kind, Result};
use crate::journal::{Holder, Reader, RunEntry};
use crate::report::took;
use crate::rollout::{RolloutState, doing, percent, slowest};
use crate::time::{Span, Time};

use super::find;
use super::output::{Output, visible};

pub(super) fn runs(reader: &Reader, limit: usize, output: &mut Output<'_>) -> Result<()> {
    let runs = reader.runs(limit)?;
    if output.json {
        return runs.iter().try_for_each(|run| output.object(run));
    }
    if runs.is_empty() {
        return output.line("no runs");
    }
    let row = |run: RunRow| vec![run.pipeline, run.key, run.status, seconds(run.started), run.id];
    let rows: Vec<Vec<String>> = runs.into_iter().map(row).collect();
    output.table(&["PIPELINE", "KEY", "STATUS", "STARTED", "ID"], &rows)
}

pub(super) fn services(reader: &mut Reader, output: &mut Output<'_>) -> Result<()> {
    let names = reader.services()?;
    let mut rows = Vec::new();
    for name in &names {
        let Some(service) = reader.service(name.name())? else { continue };
        if output.json {
            output.object(&service)?;
            continue;
        }
        let shares = service.weights.iter().map(|(version, share)| format!("{version} {share} %")).collect::<Vec<_>>();
        let claim = service.claim.map(|claim| format!("{} by {} of run {}", claim.version, claim.step, claim.run));
        let last = service.last.map(|last| format!("{} {}", last.version, last.outcome.as_str().replace('_', " ")));
        let none = || "-".to_owned();
        rows.push(vec![
            service.name,
            service.stable.unwrap_or_else(none),
            if shares.is_empty() { none() } else { shares.join(", ") },
            claim.unwrap_or_else(none),
            last.unwrap_or_else(none),
        ]);
    }
    match (output.json, rows.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => output.line("no services"),
        (false, false) => output.table(&["SERVICE", "STABLE", "TRAFFIC", "UNDER WAY", "LAST ROLLOUT"], &rows),
    }
}

/// Tells whether the journal is sound.
pub(super) fn verify(reader: &mut Reader, output: &mut Output<'_>) -> Result<bool> {
    let verified = reader.verify()?;
    if output.json {
        output.object(&verified)?;
        return Ok(verified.is_sound());
    }
    let checked = format!("{} events of {} streams in {} commits", verified.events, verified.streams, verified.commits);
    if verified.is_sound() {
        return output.line(&format!("sound: {checked}")).map(|()| true);
    }
    output.line(&format!("damaged: {checked}"))?;
    for damage in &verified.damages {
        let stream = damage.stream.as_ref().map(|stream| format!("{stream} ")).unwrap_or_default();
        let seq = damage.seq.map(|seq| format!("{seq}: ")).unwrap_or_default();
        output.line(&format!("  {stream}{seq}{}", visible(&damage.detail)))?;
    }
    if verified.unlisted > 0 {
        output.line(&format!("  and {} more", verified.unlisted))?;
    }
    Ok(false)
}

/// A run with its steps, as JSON has it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    run: &'a RunRow,
    /// Who drives the journal, while the run goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<Driver<'a>>,
    steps: BTreeMap<String, StepOutcome>,
}

#[derive(Serialize)]
struct Driver<'a> {
    pid: u32,
    host: &'a str,
}

pub(super) fn run(reader: &mut Reader, run: &RunEntry, output: &mut Output<'_>) -> Result<()> {
    let (follow, events) = find::whole(reader, run)?;
    let holder = reader.driver().filter(|_| !run.index.finished);
    let row = RunRow::from(run.clone());
    let steps = follow.steps();
    if output.json {
        let driver = holder.as_ref().map(|Holder { pid, host, .. }| Driver { pid: *pid, host });
        return output.object(&Shown { run: &row, driver, steps });
    }
    let key = if row.key == row.id { String::new() } else { format!(" ({})", visible(&row.key)) };
    output.line(&format!("{}{key}: {}", visible(&row.pipeline), row.status))?;
    output.line(&format!("run {}, started {}", row.id, seconds(row.started)))?;
    if let Some(Holder { pid, host, .. }) = holder {
        output.line(&format!("driven by process {pid} on {}", visible(&host)))?;
    }
    output.line("")?;
    let lengths = lengths(&events);
    let names: Vec<&str> = in_order(&follow);
    let rows: Vec<Vec<String>> = names
        .iter()
        .filter_map(|name| {
            let step = follow.state().run()?.step(name)?;
            let attempts = if step.attempt() == 0 { String::new() } else { step.attempt().to_string() };
            let took = lengths.get(*name).copied().flatten().map(took).unwrap_or_default();
            Some(vec![(*name).to_owned(), step.phase().word().to_owned(), attempts, took])
        })
        .collect();
    output.table(&["STEP", "STATUS", "ATTEMPTS", "TOOK"], &rows)?;
    for name in names {
        let rollout = follow.state().run().and_then(|run| run.rollout(name));
        for line in steps.get(name).map(|step| explained(step, rollout)).into_iter().flatten() {
            output.line(&format!("\n{}: {line}", visible(name)))?;
        }
    }
    Ok(())
}

/// Writes the page of a run to a file.
pub(super) fn report(reader: &mut Reader, run: &RunEntry, file: &Path, output: &mut Output<'_>) -> Result<()> {
    let page = reader.report(run.stream.name())?;
    std::fs::write(file, &page)
        .map_err(|error| Error::new(Kind::Io, "can't write the page").with("path", file.display()).because(error))?;
    if output.json {
        return output.object(&json!({ "run": run.stream.name(), "file": file, "bytes": page.len() }));
    }
    output.line(&format!("written to {}", file.display()))
}

/// What there is to say of a step beyond its row.
fn explained(step: &StepOutcome, rollout: Option<&RolloutState>) -> Option<String> {
    if step.status == StepStatus::Running {
        let rollout = rollout?;
        let doing = doing(rollout.step()?);
        let mut line = format!("{} has {} of the traffic, {doing}", rollout.version(), percent(rollout.share()));
        if let Some(seen) = rollout.explanation() {
            line.push_str(&format!("; {}", seen.sentence));
        }
        let former = rollout.former().unwrap_or_default();
        if let Some(told) = slowest(&rollout.latency, rollout.version(), former) {
            line.push_str(&format!("; in the last window {told}"));
        }
        return Some(line);
    }
    let reason = step.reason.as_ref()?;
    let mut text = reason.clone();
    for line in &step.last_lines {
        text.push_str(&format!("\n  | {}", visible(line)));
    }
    if let Some(detail) = &step.detail {
        text.push_str(&format!("\n  {}", detail.trim_end().replace('\n', "\n  ")));
    }
    Some(text)
}

/// The names of the steps as they stand in the definition.
pub(super) fn in_order(follow: &Follow) -> Vec<&str> {
    let definition = follow.state().run().map(|run| run.pipeline().spec());
    definition.into_iter().flat_map(|spec| &spec.steps).map(|step| step.name.as_str()).collect()
}

/// How long each step took, from its first start to its end; `None` while it goes on.
fn lengths(events: &[EventText]) -> BTreeMap<String, Option<Span>> {
    let mut began: BTreeMap<String, Time> = BTreeMap::new();
    let mut all = BTreeMap::new();
    for event in events {
        let event: Value = serde_json::from_str(event).unwrap_or_default();
        let (Some(kind), Some(step)) = (event["kind"].as_str(), event["step"].as_str()) else { continue };
        let at = event["at"].as_str().and_then(|at| at.parse().ok()).unwrap_or_default();
        match kind {
            "step_started" => {
                began.entry(step.to_owned()).or_insert(at);
                all.insert(step.to_owned(), None);
            }
            "step_finished" => {
                all.insert(step.to_owned(), began.get(step).map(|began| at.since(*began)));
            }
            _ => {}
        }
    }
    all
}

/// A time without its milliseconds.
fn seconds(time: Time) -> String {
    let text = time.to_string();
    text.split_once('.').map_or_else(|| text.clone(), |(whole, _)| format!("{whole}Z"))
}
