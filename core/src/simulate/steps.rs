//! Virtual commands and functions: they take their time, end as their script says, and what they did is remembered by
//! the world, whatever a journal says.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::pipeline::{ActionSpec, Cause, Guarantee, Output, StartStep, StepError, StepOutcome, StepSpec};
use crate::simulate::Chapter;
use crate::time::{Chance, Span, Time};

/// How a step behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// How long it takes at least.
    pub takes: Span,
    /// How much longer it may take.
    pub spread: Span,
    /// How many executions end in failure before one succeeds; `u32::MAX`: all.
    pub fails: u32,
    /// What it returns; of a command, what its output stands for.
    pub value: Value,
    /// How long it takes to end when it is told to.
    pub stops_in: Span,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            takes: Span::seconds(1),
            spread: Span::seconds(2),
            fails: 0,
            value: Value::Null,
            stops_in: Span::millis(300),
        }
    }
}

/// How an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// By itself, well.
    Succeeded,
    /// By itself, badly.
    Failed,
    /// It was told to.
    Stopped,
    /// It was swept after its driver's end.
    Swept,
    /// With its driver, whose function it was.
    Died,
}

/// One execution of a step, as the world saw it.
#[derive(Debug, Clone)]
pub struct Execution {
    /// The run.
    pub run: String,
    /// The step.
    pub step: String,
    /// The attempt under which it was started.
    pub attempt: u32,
    /// The step's idempotency key.
    pub key: String,
    /// When it began.
    pub began: Time,
    /// When and how it ended; `None` while it runs.
    pub ended: Option<(Time, Finish)>,
    /// Whether its end became durable.
    pub recorded: bool,
    token: u64,
    driver: u64,
    is_function: bool,
    grace: Span,
    ends: Time,
    planned: Finish,
    value: Value,
    stops_in: Span,
}

impl Execution {
    fn outcome(&self) -> Option<StepOutcome> {
        Some(match self.ended?.1 {
            Finish::Succeeded => StepOutcome::Succeeded { value: self.value.clone() },
            Finish::Failed if self.is_function => failed(StepError::new(Cause::Exception, "fails by its script")),
            Finish::Failed => failed(StepError::new(Cause::ExitCode { code: 1 }, "exited with code 1")),
            Finish::Stopped | Finish::Swept | Finish::Died => StepOutcome::Stopped,
        })
    }

    fn runs(&self) -> bool {
        self.ended.is_none()
    }

    fn is_of(&self, run: &str, step: &str) -> bool {
        self.run == run && self.step == step
    }
}

fn failed(error: StepError) -> StepOutcome {
    StepOutcome::Failed { error, retry_in: None }
}

/// What a step returns by its script: a function the value itself, a command what its output is taken for.
fn value_of(action: &ActionSpec, value: Value) -> Value {
    match action {
        ActionSpec::Command { output: Output::None, .. } => Value::Null,
        ActionSpec::Command { output: Output::Text, .. } if !value.is_string() => Value::String(value.to_string()),
        _ => value,
    }
}

/// An end that is to be reported.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) index: usize,
    pub(super) step: String,
    pub(super) attempt: u32,
    pub(super) token: u64,
    pub(super) outcome: StepOutcome,
}

/// All executions so far.
#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) all: Vec<Execution>,
    /// Executions that ended and are to be reported.
    ended: Vec<usize>,
}

impl Steps {
    /// Starts an attempt. What must not be goes to `broken`.
    #[allow(clippy::too_many_arguments, reason = "called once")]
    pub(super) fn start(
        &mut self,
        chapter: &Chapter,
        run: &str,
        start: &StartStep,
        driver: u64,
        chance: Chance,
        now: Time,
        broken: &mut Vec<String>,
    ) {
        if let Some(through) = start.sweep {
            self.sweep(run, &start.step, through, now);
        }
        let spec = chapter.pipeline.steps.iter().find(|step| step.name == start.step);
        self.check_start(run, start, spec, broken);
        let script = chapter.scripts.get(&start.step).cloned().unwrap_or_default();
        let nth = self.all.iter().filter(|done| done.is_of(run, &start.step)).count();
        let failures = self
            .all
            .iter()
            .filter(|done| done.is_of(run, &start.step) && matches!(done.ended, Some((_, Finish::Failed))))
            .count();
        let fails = u32::try_from(failures).unwrap_or(u32::MAX) < script.fails;
        let longer = chance.fork(&format!("{run}/{}/{nth}", start.step)).below(script.spread.0.saturating_add(1));
        self.all.push(Execution {
            run: run.to_owned(),
            step: start.step.clone(),
            attempt: start.attempt,
            key: start.idempotency_key.clone(),
            began: now,
            ended: None,
            recorded: false,
            token: start.token,
            driver,
            is_function: matches!(start.action, ActionSpec::Function { .. }),
            grace: start.grace,
            ends: now.after(Span(script.takes.0.saturating_add(longer).max(1))),
            planned: if fails { Finish::Failed } else { Finish::Succeeded },
            value: value_of(&start.action, script.value),
            stops_in: script.stops_in,
        });
    }

    fn check_start(&self, run: &str, start: &StartStep, spec: Option<&StepSpec>, broken: &mut Vec<String>) {
        let step = &start.step;
        let mut breaks = |what: &str| broken.push(format!("{run}/{step}, attempt {}: {what}", start.attempt));
        let before = || self.all.iter().filter(|done| done.is_of(run, step));
        if before().any(Execution::runs) {
            breaks("starts while another one runs");
        }
        if before().any(|done| done.recorded && matches!(done.ended, Some((_, Finish::Succeeded)))) {
            breaks("starts though the step's success was recorded");
        }
        if before().any(|done| done.attempt >= start.attempt) {
            breaks("starts under an attempt that was used before");
        }
        if before().any(|done| done.key != start.idempotency_key) {
            breaks("starts under another idempotency key");
        }
        let once = spec.is_some_and(|spec| spec.guarantee == Guarantee::Once);
        // A failure that is known, a timeout included, may be repeated if the step's retry says so.
        let known =
            |done: &Execution| done.recorded && matches!(done.ended, Some((_, Finish::Failed | Finish::Stopped)));
        if once && before().any(|done| !known(done)) {
            breaks("runs again by itself though it is `once`");
        }
    }

    /// Tells an attempt to stop. One that this driver does not know is swept; whether it was known.
    pub(super) fn stop(&mut self, run: &str, step: &str, attempt: u32, driver: u64, now: Time) -> bool {
        let known = |done: &&mut Execution| done.is_of(run, step) && done.attempt == attempt && done.driver == driver;
        match self.all.iter_mut().find(known) {
            Some(done) => {
                // It is killed, or given up, after its grace.
                let end = now.after(done.stops_in.min(done.grace));
                if done.runs() && (done.ends > end || done.planned == Finish::Succeeded) {
                    // What ends well after its stop has not succeeded either.
                    (done.ends, done.planned) = (done.ends.min(end), Finish::Stopped);
                }
                true
            }
            None => {
                self.sweep(run, step, attempt, now);
                false
            }
        }
    }

    /// Ends what is left of a step's attempts up to this one.
    pub(super) fn sweep(&mut self, run: &str, step: &str, through: u32, now: Time) {
        for done in self.all.iter_mut().filter(|done| done.is_of(run, step) && done.attempt <= through && done.runs()) {
            done.ended = Some((now, Finish::Swept));
        }
    }

    /// The driver was killed: its functions end with it, its commands go on.
    pub(super) fn driver_died(&mut self, now: Time) {
        for done in self.all.iter_mut().filter(|done| done.runs() && done.is_function) {
            done.ended = Some((now, Finish::Died));
        }
    }

    /// When the next execution ends.
    pub(super) fn next(&self) -> Option<Time> {
        self.all.iter().filter(|done| done.runs()).map(|done| done.ends).min()
    }

    /// Lets what ends by then end.
    pub(super) fn advance(&mut self, to: Time) {
        let mut due: Vec<usize> = (0..self.all.len())
            .filter(|i| self.all.get(*i).is_some_and(|done| done.runs() && done.ends <= to))
            .collect();
        due.sort_by_key(|i| self.all.get(*i).map(|done| done.ends));
        for i in due {
            if let Some(done) = self.all.get_mut(i) {
                done.ended = Some((done.ends, done.planned));
                self.ended.push(i);
            }
        }
    }

    /// What this driver is told of.
    pub(super) fn reports(&mut self, driver: u64) -> Vec<Ended> {
        let ended = std::mem::take(&mut self.ended);
        let known = ended.into_iter().filter_map(|index| {
            let done = self.all.get(index).filter(|done| done.driver == driver)?;
            let (step, attempt, token) = (done.step.clone(), done.attempt, done.token);
            Some(Ended { index, step, attempt, token, outcome: done.outcome()? })
        });
        known.collect()
    }

    /// Marks ends as durable.
    pub(super) fn record(&mut self, indexes: &[usize]) {
        for index in indexes {
            if let Some(done) = self.all.get_mut(*index) {
                done.recorded = true;
            }
        }
    }

    /// What runs now, as `run/step`.
    pub(super) fn running(&self) -> Vec<String> {
        self.all.iter().filter(|done| done.runs()).map(|done| format!("{}/{}", done.run, done.step)).collect()
    }

    /// How often each step of each run ended well by itself: what it wrote outside.
    pub(super) fn wrote(&self) -> BTreeMap<String, u32> {
        let mut wrote = BTreeMap::new();
        for done in self.all.iter().filter(|done| matches!(done.ended, Some((_, Finish::Succeeded)))) {
            *wrote.entry(format!("{}/{}", done.run, done.step)).or_default() += 1;
        }
        wrote
    }
}
