//! Starting a run and taking one up: by key, with the definition and params compared.

use std::sync::Arc;

use serde_json::Value;

use crate::define::Functions;
use crate::engine::driver::{Driver, workshop};
use crate::engine::log::RunLog;
use crate::engine::outcome::Outcome;
use crate::error::{Error, Fault, Kind, Result};
use crate::journal::StreamId;
use crate::kernel::{Command, no_run};
use crate::pipeline::{ActionSpec, Pipeline, PipelineSpec, RunInput, RunStatus, params_hash};
use crate::time::Time;

/// What is to be started.
#[derive(Debug)]
pub(crate) struct Begin {
    pub(crate) spec: PipelineSpec,
    pub(crate) functions: Functions,
    pub(crate) key: Option<String>,
    pub(crate) params: Value,
    /// The id if the run is new, and where its chance comes from.
    pub(crate) id: String,
    pub(crate) seed: u64,
    pub(crate) cores: u32,
    /// Whether failed steps are to run again if the run has ended without success, and who says so.
    pub(crate) rerun_failed: Option<String>,
}

/// A run that was started, taken up, or had ended before.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) run: StreamId,
    pub(crate) log: Arc<RunLog>,
}

impl Driver {
    pub(super) fn begin(&mut self, mut begin: Begin, now: Time) -> Result<Begun> {
        let definition = begin.spec.check()?;
        check_functions(&begin.spec, &begin.functions)?;
        self.secrets.check(&begin.spec, begin.key.as_deref(), &begin.params)?;
        begin.rerun_failed = begin.rerun_failed.map(|by| self.secrets.words(&by));
        let known = match &begin.key {
            // A run that was started a moment ago may not be durable yet.
            Some(key) => match self.kernel.find(&begin.spec.name, key) {
                Some(run) => Some(run),
                None => self.kernel.journal().find_run(&begin.spec.name, key)?,
            },
            None => None,
        };
        match known {
            Some(run) => self.take_up(run, begin, now),
            None => self.start(begin, definition, now),
        }
    }

    fn start(&mut self, begin: Begin, definition: Pipeline, now: Time) -> Result<Begun> {
        if begin.rerun_failed.is_some() {
            return Err(Error::new(Kind::NotFound, "there is no such run to be run again")
                .with("pipeline", &begin.spec.name)
                .with("key", begin.key.as_deref().unwrap_or("none")));
        }
        self.check_supervisor(&begin.spec)?;
        let run = StreamId::run(&begin.id)?;
        let log = Arc::new(RunLog::new());
        let input = RunInput::Start {
            run: begin.id,
            key: begin.key,
            definition: Arc::new(definition),
            params: begin.params.clone(),
            seed: begin.seed,
            cores: begin.cores,
            epoch: self.kernel.journal().epoch(),
        };
        self.kernel.create(run.clone());
        if let Err(error) = self.kernel.input(&run, &input, now) {
            self.kernel.unload(&run);
            return Err(error);
        }
        let driven = workshop(self, &run, begin.params, begin.functions, Arc::clone(&log));
        self.runs.insert(run.clone(), driven);
        self.begun.push(run.clone());
        Ok(Begun { run, log })
    }

    /// What a rollout ships must be held by a supervisor: without a way to start one it would fail in the middle.
    fn check_supervisor(&self, spec: &PipelineSpec) -> Result<()> {
        let ships = |action: &ActionSpec| matches!(action, ActionSpec::Rollout { .. } | ActionSpec::Revert { .. });
        match spec.steps.iter().find(|step| ships(&step.action)) {
            Some(step) => self.fleet.can_start().map_err(|error| error.with("step", &step.name)),
            None => Ok(()),
        }
    }

    fn take_up(&mut self, run: StreamId, begin: Begin, now: Time) -> Result<Begun> {
        let hash = params_hash(&begin.params);
        if let Some(driven) = self.runs.get(&run) {
            let log = Arc::clone(&driven.shop.log);
            self.kernel.check_params(&run, &hash)?;
            if let Some(known) = self.kernel.run(&run).and_then(|state| state.run()) {
                known.check_definition(&begin.spec)?;
            }
            return Ok(Begun { run, log });
        }
        let log = Arc::new(RunLog::new());
        self.kernel.load(&run, |event| log.push(event.seq, event.at, &event.body))?;
        let ended = self.kernel.run(&run).is_some_and(|state| matches!(state.status(), RunStatus::Finished(_)));
        let able = if ended && begin.rerun_failed.is_none() { Ok(()) } else { self.check_supervisor(&begin.spec) };
        let taken = able
            .and_then(|()| self.kernel.check_params(&run, &hash))
            .and_then(|()| self.kernel.resume(&run, &begin.spec, begin.rerun_failed.as_deref(), now));
        match taken {
            Err(error) => {
                self.kernel.unload(&run);
                Err(error)
            }
            Ok(false) => {
                let outcome = self.kernel.run(&run).and_then(Outcome::of);
                self.kernel.unload(&run);
                log.end(Some(outcome.ok_or_else(|| Error::new(Kind::Internal, "an ended run has no outcome"))));
                Ok(Begun { run, log })
            }
            Ok(true) => {
                let driven = workshop(self, &run, begin.params, begin.functions, Arc::clone(&log));
                self.runs.insert(run.clone(), driven);
                self.begun.push(run.clone());
                self.expect_services(&run);
                Ok(Begun { run, log })
            }
        }
    }
}

impl Driver {
    /// Cancels a run. One that no program has taken up is taken up to be ended, from what is recorded of it.
    pub(super) fn cancel(&mut self, run: StreamId, by: String, reason: String, now: Time) -> Result<Begun> {
        if let Some(driven) = self.runs.get(&run) {
            let log = Arc::clone(&driven.shop.log);
            self.kernel.command(&run, Command::Cancel { by, reason }, now)?;
            return Ok(Begun { run, log });
        }
        let log = Arc::new(RunLog::new());
        if !self.kernel.load(&run, |event| log.push(event.seq, event.at, &event.body))? {
            return Err(no_run(&run));
        }
        let known = self.kernel.run(&run).and_then(|state| state.run());
        let params = known.map(|known| known.params().clone()).unwrap_or_default();
        let ships = known.is_some_and(|known| known.outcome().is_none() && known.rollouts().next().is_some());
        let able = if ships { self.fleet.can_start() } else { Ok(()) };
        if let Err(error) = able.and_then(|()| self.kernel.end_only(&run, by, reason, now)) {
            self.kernel.unload(&run);
            return Err(error);
        }
        let driven = workshop(self, &run, params, Functions::new(), Arc::clone(&log));
        self.runs.insert(run.clone(), driven);
        self.begun.push(run.clone());
        self.expect_services(&run);
        Ok(Begun { run, log })
    }
}

/// Every function that the definition names must be registered.
fn check_functions(spec: &PipelineSpec, functions: &Functions) -> Result<()> {
    let missing: Vec<Fault> = spec
        .steps
        .iter()
        .enumerate()
        .filter_map(|(i, step)| match &step.action {
            ActionSpec::Function { function } if functions.get(function).is_none() => Some(Fault::new(
                format!("/steps/{i}/action/function"),
                format!("step {:?} calls a function that is not registered: {function:?}", step.name),
            )),
            _ => None,
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format_args!("pipeline {:?}", spec.name), missing))
}
