//! What follows from an input.

use std::sync::Arc;

use serde_json::Value;

use crate::error::{Error, Kind, Result};
use crate::pipeline::check::sha256_hex;
use crate::pipeline::difference::difference;
use crate::pipeline::machine::apply::apply;
use crate::pipeline::machine::draft::Draft;
use crate::pipeline::machine::event::{Answer, Cause, CutOff, Ended, Event, StepError, StopWhy};
use crate::pipeline::machine::input::{AtClose, Input, Outcome};
use crate::pipeline::machine::nest;
use crate::pipeline::machine::rerun::{self, Again};
use crate::pipeline::machine::state::{Phase, Run, RunState};
use crate::pipeline::spec::PipelineSpec;
use crate::pipeline::value::check_value;
use crate::time::{Span, Time};

/// SHA-256 in hexadecimal of params as JSON with sorted keys. Runs with the same key must have the same.
pub fn params_hash(params: &Value) -> String {
    let mut text = String::new();
    write_sorted(params, &mut text);
    sha256_hex(text.as_bytes())
}

/// JSON with the keys of objects sorted: whether `serde_json` keeps them as written is another crate's feature flag.
fn write_sorted(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_sorted(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, field) in fields {
                text.push_str(&Value::String(name.clone()).to_string());
                text.push(':');
                write_sorted(field, text);
                text.push(',');
            }
            text.push('}');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

/// The events that follow, and how many steps and edges were looked at to find them.
pub(super) fn decide(state: &RunState, input: &Input, now: Time) -> Result<(Vec<Event>, usize)> {
    if let Input::Start { .. } = input {
        return start(state, input, now);
    }
    let Some(run) = state.run() else {
        return Err(Error::new(Kind::NotFound, "the run has not started"));
    };
    let mut draft = Draft::new(run, now);
    match input {
        Input::Start { .. } => {}
        Input::Resume { epoch, definition } => {
            run.check_definition(definition)?;
            if run.outcome.is_some() {
                return Ok((Vec::new(), 0));
            }
            if *epoch <= run.epoch {
                return Err(Error::new(Kind::Conflict, "the run was taken up by a later driver")
                    .with("epoch", epoch)
                    .with("epoch of the later driver", run.epoch));
            }
            draft.resume(*epoch, false);
        }
        Input::TakeUpToEnd { epoch } => {
            // The same epoch: this driver began it in an append that was reported as failed and is durable.
            if run.outcome.is_some() || *epoch < run.epoch {
                return Err(Error::new(Kind::Conflict, "the run has ended, or was taken up by a later driver")
                    .with("run", &run.id));
            }
            draft.resume(*epoch, true);
        }
        Input::StepOutcome { step, attempt, token, outcome } => {
            let i = find(run, step)?;
            current(run, i, *attempt, *token)?;
            settle(&mut draft, run, i, outcome);
        }
        Input::Close { step, attempt, token, found } => {
            let i = find(run, step)?;
            current(run, i, *attempt, *token)?;
            close(&mut draft, run, i, found);
            return Ok(draft.finish_quietly());
        }
        Input::Cancel { by, reason } => {
            if run.outcome.is_some() || matches!(run.halt, Some(StopWhy::Cancelled { .. })) {
                return Ok((Vec::new(), 0));
            }
            draft.cancel(by.clone(), reason.clone());
        }
        Input::Refuse { .. } if run.outcome.is_some() => return Ok((Vec::new(), 0)),
        Input::Refuse { verb, step, by, why } => {
            let (verb, step, by, why) = (verb.clone(), step.clone(), by.clone(), why.clone());
            return Ok((vec![Event::CommandRefused { verb, step, by, why }], 0));
        }
        Input::Resolve { step, answer, by } => return resolve(run, draft, state, step, answer, by, now),
        Input::RerunFailed { by, epoch } => {
            if run.outcome.is_none() {
                return Err(Error::new(
                    Kind::Conflict,
                    "the run has not ended; only then can its failed steps run again",
                )
                .with("run", &run.id)
                .help("cancel it first, or wait for its end"));
            }
            let again = rerun::unfinished(run);
            if again.steps.is_empty() {
                return Err(
                    Error::new(Kind::Conflict, "nothing is left to run again: no step failed").with("run", &run.id)
                );
            }
            return reopen(state, again, by, *epoch, None, now);
        }
        Input::Rollout { step, input } => nest::decide(&mut draft, run, step, input, now)?,
        Input::Tick => {
            if run.outcome.is_some() {
                return Ok((Vec::new(), 0));
            }
            nest::tick(&mut draft, run, now)?;
        }
    }
    Ok(draft.finish())
}

fn start(state: &RunState, input: &Input, now: Time) -> Result<(Vec<Event>, usize)> {
    let Input::Start { run, key, definition, params, seed, cores, epoch } = input else { return Ok((Vec::new(), 0)) };
    if let Some(before) = state.run() {
        return Err(Error::new(Kind::Conflict, "the run has started already").with("run", &before.id));
    }
    check_value(params)
        .map_err(|error| Error::new(Kind::Invalid, "the params can't be stored").with("run", run).because(error))?;
    let event = Event::RunStarted {
        run: run.clone(),
        key: key.clone(),
        definition_hash: definition.hash().to_owned(),
        definition: Arc::clone(definition),
        params: params.clone(),
        params_hash: params_hash(params),
        seed: seed & ((1 << 53) - 1),
        max_parallel: definition.spec().max_parallel.unwrap_or(*cores).max(1),
        epoch: *epoch,
        flags: Vec::new(),
    };
    follow(&RunState::default(), vec![event], &[], now)
}

/// Events that look at every step anyway, and what follows from the state after them. Steps that are `kept` are skipped
/// at once.
fn follow(state: &RunState, mut events: Vec<Event>, kept: &[usize], now: Time) -> Result<(Vec<Event>, usize)> {
    let mut state = state.clone();
    for event in &events {
        apply(&mut state, event, now);
    }
    let mut work = 0;
    if let Some(run) = state.run() {
        let mut draft = Draft::new(run, now);
        draft.keep_skipped(kept);
        let (more, looked_at) = draft.finish();
        events.extend(more);
        work = looked_at + run.steps.len();
    }
    Ok((events, work))
}

impl Run {
    /// Whether a definition is the one that the run was started with.
    ///
    /// # Errors
    /// [`Kind::Conflict`] with what differs.
    pub fn check_definition(&self, definition: &PipelineSpec) -> Result<()> {
        let difference = difference(self.pipeline.spec(), definition);
        if difference.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Conflict, format!("the pipeline has changed since the run started:\n{difference}\n"))
            .with("run", &self.id)
            .help("run the pipeline as it was, or start a run with another key"))
    }
}

pub(super) fn find(run: &Run, step: &str) -> Result<usize> {
    run.pipeline
        .graph()
        .index(step)
        .ok_or_else(|| Error::new(Kind::NotFound, format!("there is no step {step:?}")).with("run", &run.id))
}

/// Whether an outcome belongs to the attempt that runs: a late result of an older attempt is refused.
fn current(run: &Run, i: usize, attempt: u32, token: u64) -> Result<()> {
    let step = run.steps.get(i);
    if step.is_some_and(|step| step.phase == Phase::Running && step.attempt == attempt && step.token == token) {
        return Ok(());
    }
    Err(Error::new(Kind::Conflict, "the outcome of an attempt that is over")
        .with("run", &run.id)
        .with("step", run.pipeline.name(i))
        .with("attempt", attempt)
        .with("last attempt", step.map_or(0, |step| step.attempt)))
}

pub(super) fn settle(draft: &mut Draft<'_>, run: &Run, i: usize, outcome: &Outcome) {
    let limits = run.pipeline.limits(i);
    let shown = |span: Option<Span>| span.map_or(String::new(), |span| format!(": {span}"));
    // What it said last belongs to the error, also when the reason is that it was stopped.
    let with = |cause, message: String, permanent| {
        let mut error = StepError { permanent, ..StepError::new(cause, message) };
        if let Outcome::Failed { error: said, .. } = outcome {
            error.detail = said.detail.clone();
            error.last_lines = said.last_lines.clone();
        }
        error
    };
    let timed_out = || with(Cause::Timeout, format!("took longer than its timeout{}", shown(limits.timeout)), false);
    let stopping = run.steps.get(i).and_then(|step| step.stopping.clone());
    match (outcome, stopping) {
        (Outcome::Succeeded { value }, _) => match check_value(value) {
            Ok(()) => draft.succeed(i, value.clone()),
            Err(error) => draft.fail(i, StepError::new(Cause::BadValue, error.to_string()), None),
        },
        (_, Some(StopWhy::Timeout)) | (Outcome::TimedOut, None) => draft.fail(i, timed_out(), None),
        (_, Some(StopWhy::Deadline)) => {
            let message = format!("took longer than its deadline over all attempts{}", shown(limits.deadline));
            draft.fail(i, with(Cause::Deadline, message, true), None);
        }
        (_, Some(why @ (StopWhy::Cancelled { .. } | StopWhy::FailFast { .. }))) => draft.cancelled(i, why),
        (Outcome::Failed { error, retry_in }, None) => draft.fail(i, error.clone(), *retry_in),
        (Outcome::Stopped | Outcome::Lost, None) => draft.cut_off(i, CutOff::Lost),
    }
}

/// Records what became of an attempt when the engine closed.
fn close(draft: &mut Draft<'_>, run: &Run, i: usize, found: &AtClose) {
    let stopping = run.steps.get(i).is_some_and(|step| step.stopping.is_some());
    match found {
        AtClose::NotBegun if !stopping => draft.cut_off(i, CutOff::CloseBeforeStart),
        AtClose::NotBegun => settle(draft, run, i, &Outcome::Stopped),
        AtClose::Ended(Outcome::Failed { .. } | Outcome::Stopped) | AtClose::Left if !stopping => {
            draft.cut_off(i, CutOff::Close);
        }
        AtClose::Ended(outcome) => settle(draft, run, i, outcome),
        // Its stop has another reason, which the next driver sees to.
        AtClose::Left => {}
    }
}

fn resolve(
    run: &Run,
    mut draft: Draft<'_>,
    state: &RunState,
    step: &str,
    answer: &Answer,
    by: &str,
    now: Time,
) -> Result<(Vec<Event>, usize)> {
    let i = find(run, step)?;
    if let Answer::Done { value } = answer {
        check_value(value).map_err(|error| error.with("step", step))?;
    }
    let event = Event::StepResolved { step: step.to_owned(), answer: answer.clone(), by: by.to_owned() };
    match (run.steps.get(i).map(|step| &step.phase), answer) {
        (Some(Phase::Asking { .. }), _) => {
            let ended = match answer {
                Answer::Done { .. } => Some(Ended::Succeeded),
                Answer::Fail => Some(Ended::Failed),
                Answer::RunAgain => None,
            };
            draft.resolved(i, event, ended);
            Ok(draft.finish())
        }
        (Some(Phase::Failed { .. }), Answer::Done { .. }) if run.outcome.is_some() => {
            reopen(state, rerun::freed_by(run, i), by, run.epoch, Some(event), now)
        }
        _ => Err(Error::new(Kind::Conflict, "the step asks nothing")
            .with("run", &run.id)
            .with("step", step)
            .help("only a step that asks can be resolved; after the run's end also a failed one, as done")),
    }
}

fn reopen(
    state: &RunState,
    again: Again,
    by: &str,
    epoch: u64,
    resolved: Option<Event>,
    now: Time,
) -> Result<(Vec<Event>, usize)> {
    let Some(run) = state.run() else { return Ok((Vec::new(), 0)) };
    let mut steps = again.steps;
    steps.extend(&again.kept);
    let steps = steps.into_iter().map(|i| run.pipeline.name(i).to_owned()).collect();
    let mut events = vec![Event::RunReopened { by: by.to_owned(), epoch, steps }];
    events.extend(resolved);
    follow(state, events, &again.kept, now)
}
