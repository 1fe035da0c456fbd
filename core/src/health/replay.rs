//! Replay: recorded results through a check's rules, by the machine that runs live.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Fault, Result};
use crate::health::{Check, CheckMachine, CheckSpec, State, Transition, Verdict};
use crate::time::{Chance, Span, SpanText, Time};

/// One thing that is recorded of a check: a result, a restart of what is checked, or, with neither, a mere look at the
/// time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct CheckRecord {
    /// When; of a result, when its probe was started. In milliseconds since 1970. By default a result's probe was
    /// started when it was due (after probing has ended, an interval after the record before), and all else happened
    /// with the record before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// What the result said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Or the status that an HTTP probe was answered with: the check says what it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Or the exit code of a command: the check says what it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why, in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How long the probe took; nothing by default. Longer than the check's timeout is a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<SpanText>,
    /// What is checked was started anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restarted: bool,
}

impl CheckRecord {
    /// A result of a probe that was started when it was due.
    pub fn result(verdict: Verdict) -> CheckRecord {
        CheckRecord { verdict: Some(verdict), ..CheckRecord::default() }
    }

    /// A restart.
    pub fn restart() -> CheckRecord {
        CheckRecord { restarted: true, ..CheckRecord::default() }
    }

    /// A mere look at the time.
    pub fn look(at: Time) -> CheckRecord {
        CheckRecord::default().at(at)
    }

    /// The same at this time.
    pub fn at(self, at: Time) -> CheckRecord {
        CheckRecord { at: Some(at), ..self }
    }

    fn is_result(&self) -> bool {
        self.verdict.is_some() || self.status.is_some() || self.exit_code.is_some()
    }
}

/// How a check stands after a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// When: a result's time is that of its probe's start and what the probe took.
    pub at: Time,
    /// Whether a probe was due by the record's time, so that the check would have run one.
    pub was_due: bool,
    /// What is held of the thing.
    pub state: State,
    /// Since when.
    pub since: Time,
    /// What changed with this record, or since the one before when results had become too old.
    pub transitions: Vec<Transition>,
    /// Passes in a row.
    pub passes: u32,
    /// Failures in a row that count.
    pub failures: u32,
    /// Unknown results in a row.
    pub unknowns: u32,
    /// How many passes in a row from now would make it passing; 0 when it is.
    pub passes_needed: u32,
    /// How many failures in a row that count would make it failing; 0 when it is.
    pub failures_needed: u32,
    /// When the next probe is to start; `None` when none is, until a restart.
    pub due: Option<Time>,
    /// When results become too old, if they ever do.
    pub stale_at: Option<Time>,
    /// The state, the counters and what comes next, in words.
    pub explanation: String,
}

/// What a record says, once it was checked.
struct Input {
    at: Option<Time>,
    result: Option<(Verdict, String)>,
    took: Span,
    restarted: bool,
}

impl CheckSpec {
    /// How this check stands after each of the records, by the machine that runs live. It starts at `start`, by default
    /// with the first record (1970, when that has no time), and `chance` decides the jitter. A result counts whenever it came, unless probing had not
    /// begun or had ended by then, so that records of one check say what others would have made of them.
    ///
    /// ```
    /// use tidegate::health::{CheckRecord, CheckSpec, ProbeSpec, State, Verdict::{Fail, Pass}};
    /// use tidegate::time::Chance;
    ///
    /// let records = [Pass, Fail, Fail, Pass, Fail].map(CheckRecord::result);
    /// let alarms = |fall| {
    ///     let check = CheckSpec { fall: Some(fall), ..CheckSpec::new(ProbeSpec::tcp("127.0.0.1:80")) };
    ///     let standings = check.replay(&records, None, Chance(1))?;
    ///     let transitions = standings.iter().flat_map(|standing| &standing.transitions);
    ///     Ok::<usize, tidegate::Error>(transitions.filter(|transition| transition.to == State::Failing).count())
    /// };
    /// assert_eq!([alarms(1)?, alarms(2)?, alarms(3)?], [2, 1, 0]);
    /// # Ok::<(), tidegate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] with every fault of the check and of the records.
    pub fn replay(&self, records: &[CheckRecord], start: Option<Time>, chance: Chance) -> Result<Vec<Standing>> {
        let mut faults = Vec::new();
        let check = self.check("", &mut faults);
        let start = start.or_else(|| records.first()?.at).unwrap_or_default();
        let mut before = start;
        let inputs: Vec<Input> = records
            .iter()
            .enumerate()
            .map(|(i, record)| self.input(&check, record, &mut before, &format!("/records/{i}"), &mut faults))
            .collect();
        if !faults.is_empty() {
            return Err(Error::invalid("replay", faults));
        }
        let mut now = start;
        let mut machine = CheckMachine::new(check.rules, start, chance);
        Ok(inputs.iter().map(|input| machine.replay(input, &mut now)).collect())
    }

    fn input(
        &self,
        check: &Check,
        record: &CheckRecord,
        before: &mut Time,
        pointer: &str,
        faults: &mut Vec<Fault>,
    ) -> Input {
        if let Some(at) = record.at {
            if at < *before {
                faults.push(Fault::new(format!("{pointer}/at"), format!("{at} is before the record before: {before}")));
            }
            *before = at.max(*before);
        }
        let said = [record.verdict.is_some(), record.status.is_some(), record.exit_code.is_some(), record.restarted];
        if said.into_iter().filter(|said| *said).count() > 1 {
            faults.push(Fault::new(pointer, "expected one of verdict, status, exit_code and restarted at most"));
        }
        if !record.is_result() {
            for (field, given) in [("reason", !record.reason.is_empty()), ("took", record.took.is_some())] {
                if given {
                    faults.push(Fault::new(format!("{pointer}/{field}"), "only a result has this"));
                }
            }
        }
        let took = record.took.as_ref().map_or(Span::ZERO, |took| took.check(format!("{pointer}/took"), faults));
        let mut meaning = |field: &str, meant: Result<Verdict>, reason: String| match meant {
            Ok(verdict) => Some((verdict, reason)),
            Err(error) => {
                faults.push(Fault::new(format!("{pointer}/{field}"), error.message()));
                None
            }
        };
        let said = if let Some(verdict) = record.verdict {
            Some((verdict, String::new()))
        } else if let Some(status) = record.status {
            meaning("status", self.probe.verdict_of_status(status), format!("status {status}"))
        } else if let Some(code) = record.exit_code {
            meaning("exit_code", self.probe.verdict_of_exit(code), format!("exit code {code}"))
        } else {
            None
        };
        let result = said.map(|(verdict, reason)| {
            if took > check.timeout {
                (Verdict::Fail, format!("timed out after {}", check.timeout))
            } else {
                (verdict, if record.reason.is_empty() { reason } else { record.reason.clone() })
            }
        });
        Input { at: record.at, result, took: took.min(check.timeout), restarted: record.restarted }
    }
}

impl CheckMachine {
    fn replay(&mut self, input: &Input, now: &mut Time) -> Standing {
        let by_default = match &input.result {
            Some(_) => self.due().unwrap_or_else(|| now.after(self.interval(*now))),
            None => *now,
        };
        // A probe starts once the one before has ended.
        let began = input.at.unwrap_or(by_default).max(*now);
        let mut transitions = Vec::new();
        // Results get too old when their time is over, and not when somebody looks.
        transitions.extend(self.stale_at().filter(|at| *at <= began).and_then(|at| self.tick(at.max(*now))));
        let was_due = self.due().is_some_and(|due| due <= began);
        *now = began.after(input.took).max(*now);
        transitions.extend(self.stale_at().filter(|at| at < now).and_then(|at| self.tick(at)));
        if input.restarted {
            transitions.extend(self.restart(*now));
        }
        if let Some((verdict, reason)) = &input.result
            && began >= self.started.after(self.rules.initial_delay)
        {
            transitions.extend(self.observe(*verdict, reason, began, *now));
        }
        Standing {
            at: *now,
            was_due,
            state: self.state,
            since: self.since,
            transitions,
            passes: self.passes,
            failures: self.failures,
            unknowns: self.unknowns,
            passes_needed: self.passes_needed(),
            failures_needed: self.failures_needed(),
            due: self.due(),
            stale_at: self.stale_at(),
            explanation: self.explain(*now),
        }
    }
}
