//! A batch of events in the making, over a state that stays as it is. It notes what the batch changes of what it has to
//! know again, so that an input costs as much as the edges it touches, however many steps there are.

use std::collections::{BTreeMap, BTreeSet};

use crate::pipeline::backoff;
use crate::pipeline::machine::event::{
    Cause, CutOff, Ended, Event, Question, RunOutcome, SkipReason, StepError, StepResult, StopWhy,
};
use crate::pipeline::machine::state::{Phase, Run, meets};
use crate::time::{Span, Time};

/// After how many cut-offs a step asks: a step that kills its driver must not loop.
const MAX_CUT_OFFS: u32 = 3;

/// The bits of a fencing token that hold the attempt; the rest hold the driver's epoch.
const ATTEMPT_BITS: u32 = 20;

pub(super) struct Draft<'a> {
    run: &'a Run,
    now: Time,
    epoch: u64,
    events: Vec<Event>,
    /// Steps that end in this batch.
    ended: BTreeMap<usize, Ended>,
    /// The open needs of steps, where this batch changes them.
    open: BTreeMap<usize, usize>,
    /// Steps that this batch makes ready.
    ready: BTreeSet<usize>,
    /// Steps whose attempt ends in this batch.
    gone: BTreeSet<usize>,
    /// Steps whose attempt is told to stop in this batch.
    stopped: BTreeSet<usize>,
    left: usize,
    ordinary_left: usize,
    failed: usize,
    cancelled: usize,
    halt: Option<StopWhy>,
    ending: bool,
    /// Steps and edges looked at.
    work: usize,
}

impl<'a> Draft<'a> {
    pub(super) fn new(run: &'a Run, now: Time) -> Draft<'a> {
        Draft {
            run,
            now,
            epoch: run.epoch,
            events: Vec::new(),
            ended: BTreeMap::new(),
            open: BTreeMap::new(),
            ready: BTreeSet::new(),
            gone: BTreeSet::new(),
            stopped: BTreeSet::new(),
            left: run.left,
            ordinary_left: run.ordinary_left,
            failed: run.failed,
            cancelled: run.cancelled,
            halt: run.halt.clone(),
            ending: run.ending,
            work: 0,
        }
    }

    /// Ends the batch: what takes too long is stopped, what can start starts, and the run ends if nothing is left.
    /// Gives the events, and how many steps and edges were looked at.
    pub(super) fn finish(mut self) -> (Vec<Event>, usize) {
        self.expire();
        if self.ending {
            self.skip_functions();
        }
        self.start();
        self.finish_quietly()
    }

    /// The same while the engine closes: nothing is stopped or started.
    pub(super) fn finish_quietly(mut self) -> (Vec<Event>, usize) {
        if self.left == 0 && self.run.outcome.is_none() {
            let by_hand = matches!(self.halt, Some(StopWhy::Cancelled { .. })) && self.cancelled > 0;
            let outcome = match (by_hand, self.failed) {
                (true, _) => RunOutcome::Cancelled,
                (false, 0) => RunOutcome::Succeeded,
                (false, _) => RunOutcome::Failed,
            };
            self.events.push(Event::RunFinished { outcome });
        }
        (self.events, self.work)
    }

    /// A new driver took the run up: every attempt that was not being stopped was cut off.
    pub(super) fn resume(&mut self, epoch: u64, ending: bool) {
        (self.epoch, self.ending) = (epoch, ending);
        self.events.push(Event::RunResumed { epoch, ending });
        for &i in &self.run.running {
            self.work += 1;
            let Some(step) = self.run.steps.get(i) else { continue };
            // What a rollout has asked of the world lasts: it goes on where it was.
            // But a `once` step that was to be repeated after its timeout may have ended well before it was stopped.
            let may_repeat = self.run.is_once(i) && step.stopping == Some(StopWhy::Timeout) && !self.is_halted(i);
            if (step.stopping.is_some() && !may_repeat) || self.run.rollouts.contains_key(&i) {
                continue;
            }
            if !self.run.is_once(i) && self.run.deadline_of(i).is_some_and(|deadline| deadline <= self.now) {
                self.stop(i, StopWhy::Deadline);
            } else {
                self.cut_off(i, CutOff::Lost);
            }
        }
    }

    /// Whether nothing of the step starts any more, since the run was stopped.
    fn is_halted(&self, i: usize) -> bool {
        self.halt.is_some() && !self.run.is_cleanup(i)
    }

    pub(super) fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    pub(super) fn succeed(&mut self, i: usize, value: serde_json::Value) {
        self.gone.insert(i);
        self.close(i, StepResult::Succeeded { value });
    }

    /// An attempt failed: there is another one, or the step has failed.
    pub(super) fn fail(&mut self, i: usize, mut error: StepError, retry_in: Option<Span>) {
        self.gone.insert(i);
        let Some(step) = self.run.steps.get(i) else { return };
        // A fault of the program, which another attempt would only repeat. What a command writes may be another time
        // what was asked of it.
        error.permanent |= error.cause == Cause::BadValue && self.run.is_function(i);
        let backoff = self.run.pipeline.limits(i).backoff;
        let failures = step.failures.saturating_add(1);
        if !error.permanent && !self.is_halted(i) && failures < backoff.attempts {
            let chance = backoff::chance(self.run.seed, self.run.pipeline.name(i), step.attempt);
            let next = self.now.after(backoff.wait(failures, retry_in, chance));
            if self.run.deadline_of(i).is_none_or(|deadline| next < deadline) {
                if next <= self.now {
                    self.ready.insert(i);
                }
                let (step, attempt) = (self.name(i), step.attempt);
                self.events.push(Event::StepRetrying { step, attempt, next_attempt_at: next, why: error });
                return;
            }
            error.message.push_str("; the next attempt would come after the step's deadline");
        }
        self.close(i, StepResult::Failed { error });
    }

    pub(super) fn cancelled(&mut self, i: usize, why: StopWhy) {
        self.gone.insert(i);
        self.close(i, StepResult::Cancelled { why });
    }

    /// An attempt ended without an outcome of its own.
    pub(super) fn cut_off(&mut self, i: usize, by: CutOff) {
        self.gone.insert(i);
        let Some(step) = self.run.steps.get(i) else { return };
        let attempt = step.attempt;
        self.events.push(Event::StepCutOff { step: self.name(i), attempt, by });
        let times = step.cut_offs.saturating_add(1);
        let question = match by {
            CutOff::Lost | CutOff::Close if self.run.is_once(i) => Question::DidItHappen { attempt },
            CutOff::Lost if times >= MAX_CUT_OFFS => Question::CutOffTooOften { times },
            _ => {
                self.ready.insert(i);
                return;
            }
        };
        self.events.push(Event::StepAsks { step: self.name(i), question });
    }

    /// A question was answered with a result; the event that says so is in the batch already.
    pub(super) fn resolved(&mut self, i: usize, event: Event, ended: Option<Ended>) {
        self.events.push(event);
        match ended {
            None => {
                self.ready.insert(i);
            }
            Some(ended) => self.conclude(i, ended),
        }
    }

    /// Somebody cancelled the run.
    pub(super) fn cancel(&mut self, by: String, reason: String) {
        self.events.push(Event::CancelRequested { by: by.clone(), reason });
        self.halt(StopWhy::Cancelled { by });
    }

    /// Steps that were reopened only to be told anew why they are skipped. Those that are waited for come first.
    pub(super) fn keep_skipped(&mut self, steps: &[usize]) {
        let run = self.run;
        for &i in steps {
            if self.has_ended(i) {
                continue;
            }
            let unmet = run.pipeline.graph().needs(i).iter().find_map(|need| {
                let known = run.steps.get(need.step).and_then(|step| step.phase.ended());
                let ended = self.ended.get(&need.step).copied().or(known)?;
                (!meets(need, ended, run.is_allowed_to_fail(need.step))).then_some((need, ended))
            });
            let Some((need, ended)) = unmet else { continue };
            let reason = SkipReason::Need { step: self.name(need.step), ended, when: need.when };
            self.events.push(Event::StepSkipped { step: self.name(i), reason });
            self.mark(i, Ended::Skipped);
            self.spread(vec![i]);
        }
    }

    fn name(&self, i: usize) -> String {
        self.run.pipeline.name(i).to_owned()
    }

    fn has_ended(&self, i: usize) -> bool {
        self.ended.contains_key(&i) || self.run.steps.get(i).is_none_or(|step| step.phase.ended().is_some())
    }

    /// Tells an attempt to stop, unless it was told already.
    fn stop(&mut self, i: usize, why: StopWhy) {
        if self.run.steps.get(i).is_none_or(|step| step.stopping.is_some()) || !self.stopped.insert(i) {
            return;
        }
        let attempt = self.run.steps.get(i).map_or(0, |step| step.attempt);
        self.events.push(Event::StepStopping { step: self.name(i), attempt, why });
    }

    /// Records a step's end and what follows from it.
    fn close(&mut self, i: usize, result: StepResult) {
        let ended = match &result {
            StepResult::Succeeded { .. } => Ended::Succeeded,
            StepResult::Failed { .. } => Ended::Failed,
            StepResult::Cancelled { why } => {
                self.cancelled += usize::from(matches!(why, StopWhy::Cancelled { .. }));
                Ended::Cancelled
            }
        };
        let attempt = self.run.steps.get(i).map_or(0, |step| step.attempt);
        self.events.push(Event::StepFinished { step: self.name(i), attempt, result });
        self.conclude(i, ended);
    }

    /// What follows from a step's end.
    fn conclude(&mut self, i: usize, ended: Ended) {
        self.mark(i, ended);
        if ended == Ended::Failed {
            self.failed += usize::from(!self.run.is_allowed_to_fail(i));
            if self.halt.is_none() && self.run.halts_at(i) {
                self.halt(StopWhy::FailFast { step: self.name(i) });
            }
        }
        self.spread(vec![i]);
    }

    fn mark(&mut self, i: usize, ended: Ended) {
        self.ended.insert(i, ended);
        self.ready.remove(&i);
        self.left = self.left.saturating_sub(1);
    }

    /// Meets the needs of those that wait for steps that were marked, and skips those whose needs can't be met.
    fn spread(&mut self, mut marked: Vec<usize>) {
        let run = self.run;
        let graph = run.pipeline.graph();
        let mut next = 0;
        while let Some(&i) = marked.get(next) {
            next += 1;
            self.work += 1;
            let Some(ended) = self.ended.get(&i).copied() else { continue };
            for (dependent, need) in graph.dependents(i) {
                self.work += 1;
                let waits = run.steps.get(*dependent).is_some_and(|step| step.phase == Phase::Waiting);
                if !waits || self.has_ended(*dependent) {
                    continue;
                }
                if meets(need, ended, run.is_allowed_to_fail(i)) {
                    self.meet(*dependent);
                } else {
                    let reason = SkipReason::Need { step: self.name(i), ended, when: need.when };
                    self.events.push(Event::StepSkipped { step: self.name(*dependent), reason });
                    self.mark(*dependent, Ended::Skipped);
                    marked.push(*dependent);
                }
            }
            if !run.is_cleanup(i) {
                self.ordinary_left = self.ordinary_left.saturating_sub(1);
                if self.ordinary_left == 0 {
                    for last in graph.last() {
                        self.meet(*last);
                    }
                }
            }
        }
    }

    fn meet(&mut self, i: usize) {
        if self.has_ended(i) {
            return;
        }
        let open = self.open.entry(i).or_insert_with(|| self.run.steps.get(i).map_or(0, |step| step.open));
        *open = open.saturating_sub(1);
        if *open == 0 {
            self.ready.insert(i);
        }
    }

    /// Stops every ordinary step that runs and ends every other one that has not ended.
    fn halt(&mut self, why: StopWhy) {
        self.halt = Some(why.clone());
        let mut marked = Vec::new();
        for i in 0..self.run.steps.len() {
            self.work += 1;
            if self.run.is_cleanup(i) || self.has_ended(i) {
                continue;
            }
            let Some(step) = self.run.steps.get(i) else { continue };
            let (name, attempt) = (self.name(i), step.attempt);
            match &step.phase {
                Phase::Running if !self.gone.contains(&i) => {
                    self.stop(i, why.clone());
                    continue;
                }
                Phase::Waiting => {
                    let reason = match &why {
                        StopWhy::FailFast { step } => SkipReason::FailFast { step: step.clone() },
                        StopWhy::Cancelled { by } => SkipReason::Cancelled { by: by.clone() },
                        StopWhy::Timeout | StopWhy::Deadline => continue,
                    };
                    self.events.push(Event::StepSkipped { step: name, reason });
                    self.mark(i, Ended::Skipped);
                }
                _ => {
                    let result = StepResult::Cancelled { why: why.clone() };
                    self.events.push(Event::StepFinished { step: name, attempt, result });
                    self.mark(i, Ended::Cancelled);
                }
            }
            self.cancelled += usize::from(matches!(why, StopWhy::Cancelled { .. }));
            marked.push(i);
        }
        self.spread(marked);
    }

    /// Stops attempts that take too long, and fails steps whose deadline passes while they wait.
    fn expire(&mut self) {
        let due: Vec<usize> = self.run.alarms.range(..=(self.now, usize::MAX)).map(|(_, i)| *i).collect();
        for i in due {
            self.work += 1;
            let Some(step) = self.run.steps.get(i) else { continue };
            let late = self.run.deadline_of(i).is_some_and(|deadline| deadline <= self.now);
            if self.has_ended(i) || self.gone.contains(&i) {
                continue;
            }
            match step.phase {
                Phase::Running => self.stop(i, if late { StopWhy::Deadline } else { StopWhy::Timeout }),
                Phase::BackingOff { .. } | Phase::Waiting => {
                    let error = StepError::new(Cause::Deadline, "its deadline passed before the next attempt started");
                    self.close(i, StepResult::Failed { error });
                }
                _ => {}
            }
        }
    }

    /// Skips the cleanup steps that are functions and could start now: nobody has them. (Other steps are cancelled.)
    fn skip_functions(&mut self) {
        let run = self.run;
        loop {
            let mut marked = Vec::new();
            for (i, step) in run.steps.iter().enumerate() {
                self.work += 1;
                let waits = self.open.get(&i).copied().unwrap_or(step.open) > 0;
                let runs = step.phase == Phase::Running && !self.gone.contains(&i);
                if waits || runs || !run.is_cleanup(i) || self.has_ended(i) {
                    continue;
                }
                let Some(function) = run.function(i) else { continue };
                let reason = SkipReason::NoProgram { function: function.to_owned() };
                self.events.push(Event::StepSkipped { step: self.name(i), reason });
                self.mark(i, Ended::Skipped);
                marked.push(i);
            }
            if marked.is_empty() {
                return;
            }
            self.spread(marked);
        }
    }

    /// Starts what is ready, in the order of definition, as far as there are slots.
    fn start(&mut self) {
        let run = self.run;
        let mut free = (run.max_parallel + self.gone.len()).saturating_sub(run.running.len());
        if free == 0 {
            return;
        }
        let due = run.backing_off.range(..=(self.now, usize::MAX)).map(|(_, i)| *i);
        let mut fresh: BTreeSet<usize> = due.chain(std::mem::take(&mut self.ready)).collect();
        let mut known = run.ready.iter().copied().peekable();
        while free > 0 {
            let i = match (known.peek().copied(), fresh.first().copied()) {
                (None, None) => break,
                (Some(known), None) => known,
                (None, Some(fresh)) => fresh,
                (Some(known), Some(fresh)) => known.min(fresh),
            };
            known.next_if_eq(&i);
            fresh.remove(&i);
            self.work += 1;
            let Some(step) = run.steps.get(i) else { continue };
            if self.has_ended(i) || (self.ending && !run.is_cleanup(i)) {
                continue;
            }
            if let Some(attempt) = step.unknown.filter(|_| !self.resolves(i)) {
                self.events.push(Event::StepAsks { step: self.name(i), question: Question::DidItHappen { attempt } });
                continue;
            }
            free -= 1;
            let attempt = step.attempt.saturating_add(1);
            let token = (self.epoch << ATTEMPT_BITS) | u64::from(attempt) & ((1 << ATTEMPT_BITS) - 1);
            self.events.push(Event::StepStarted { step: self.name(i), attempt, token });
        }
    }

    /// Whether this batch holds the answer to a step's question.
    fn resolves(&self, i: usize) -> bool {
        let name = self.run.pipeline.name(i);
        self.events.iter().any(|event| matches!(event, Event::StepResolved { step, .. } if step == name))
    }
}
