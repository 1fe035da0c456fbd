//! The engine's own thread: it takes what came in, lets the kernel decide, commits, and only then acts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::define::Functions;
use crate::engine::attempt::Workshop;
use crate::engine::fleet::Fleet;
use crate::engine::function::Stragglers;
use crate::engine::log::RunLog;
use crate::engine::scope::spawn;
use crate::engine::secrets::Secrets;
use crate::engine::start::{Begin, Begun};
use crate::error::{Error, Kind, Result};
use crate::journal::StreamId;
use crate::kernel::{Command, Effect, Kernel, Report};
use crate::pipeline::{RunEffect, RunInput, StartStep, StepOutcome};
use crate::rollout::RolloutEffect;
use crate::service::ServiceEffect;
use crate::time::Clock;
use calling::Calls;
use hearing::Heard;

mod calling;
mod closing;
mod committing;
mod hearing;
mod telling;
#[cfg(test)]
mod tests;

/// How often the inbox is looked at, and how long a deadline may be overslept after a suspend.
const INBOX: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How many messages go into one commit at most, so that a flood can't hold an acknowledgement back for ever.
const BATCH: usize = 4_096;

/// What comes in to the driver.
pub(crate) enum Message {
    Start(Box<Begin>, oneshot::Sender<Result<Begun>>),
    Command(StreamId, Command, oneshot::Sender<Result<()>>),
    Cancel {
        run: StreamId,
        by: String,
        reason: String,
        reply: oneshot::Sender<Result<Begun>>,
    },
    Outcome {
        run: StreamId,
        step: String,
        attempt: u32,
        token: u64,
        outcome: StepOutcome,
    },
    /// Attempts that are polled here can go on.
    Answered,
    Report {
        service: String,
        report: Report,
    },
    Remove(String, oneshot::Sender<Result<()>>),
    Ask(Box<dyn FnOnce(&mut Kernel) + Send>),
    Close(oneshot::Sender<Result<()>>),
}

/// An attempt that runs.
#[derive(Debug)]
struct Attempt {
    attempt: u32,
    token: u64,
    stop: watch::Sender<bool>,
}

/// A run that is driven here.
#[derive(Debug)]
pub(super) struct Driven {
    pub(super) shop: Arc<Workshop>,
    attempts: BTreeMap<String, Attempt>,
}

impl Driven {
    /// Whether an attempt, or a later one of its step, was begun here.
    fn runs(&self, start: &StartStep) -> bool {
        self.attempts.get(&start.step).is_some_and(|known| known.attempt >= start.attempt)
    }

    /// The attempts that run: of what run and step, which, and with what token.
    fn left(&self, run: &StreamId) -> impl Iterator<Item = (StreamId, String, u32, u64)> {
        self.attempts.iter().map(|(step, known)| (run.clone(), step.clone(), known.attempt, known.token))
    }
}

impl Drop for Driven {
    /// A fault of ours must not leave anybody waiting.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = Error::new(Kind::Internal, "the engine's thread panicked; the run goes on when it is taken up");
            self.shop.log.end(Some(Err(error)));
        }
    }
}

/// What waits for the next commit besides events.
type Ack = Box<dyn FnOnce(Result<()>) + Send>;

pub(crate) struct Driver {
    pub(super) kernel: Kernel,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) runtime: Handle,
    pub(super) inbox: Sender<Message>,
    pub(super) fleet: Fleet,
    pub(super) runs: BTreeMap<StreamId, Driven>,
    pub(super) secrets: Arc<Secrets>,
    /// Names the journal in the marks of processes.
    pub(super) mark: String,
    pub(super) logs: Option<std::path::PathBuf>,
    stragglers: Arc<Stragglers>,
    calls: Calls,
    acks: Vec<Ack>,
    /// Runs that were started or taken up since the last commit.
    pub(super) begun: Vec<StreamId>,
    /// Inputs of the world since the last commit: it won't repeat them if that fails.
    reported: Vec<Heard>,
    /// Those that are to be fed again.
    again: VecDeque<Heard>,
    /// What came while nothing could be decided.
    held: VecDeque<Message>,
    /// What was last said to be wrong with a turn: it is said once.
    trouble: Option<String>,
    /// How many commits in a row have failed, and how many of them for another reason than that the database was in use.
    failures: u32,
    tries: u32,
}

/// Why the loop ended.
enum End {
    Closed(Option<oneshot::Sender<Result<()>>>),
    Broken(Error),
}

impl Driver {
    #[allow(clippy::too_many_arguments, reason = "called once, with what open() has gathered")]
    pub(super) fn new(
        kernel: Kernel,
        clock: Arc<dyn Clock>,
        runtime: Handle,
        inbox: Sender<Message>,
        fleet: Fleet,
        secrets: Arc<Secrets>,
        mark: String,
        logs: Option<std::path::PathBuf>,
    ) -> Driver {
        Driver {
            kernel,
            clock,
            runtime,
            calls: Calls::new(inbox.clone()),
            inbox,
            fleet,
            runs: BTreeMap::new(),
            secrets,
            mark,
            logs,
            stragglers: Arc::default(),
            acks: Vec::new(),
            begun: Vec::new(),
            reported: Vec::new(),
            again: VecDeque::new(),
            held: VecDeque::new(),
            trouble: None,
            failures: 0,
            tries: 0,
        }
    }

    /// Runs until the engine is closed or dropped, or the journal can't be written any more, and says why in that case.
    pub(super) fn run(mut self, messages: &Receiver<Message>) -> Result<()> {
        self.restore_services();
        let end = loop {
            if let Some(end) = self.turn(messages) {
                break end;
            }
        };
        match end {
            End::Closed(reply) => {
                if reply.as_ref().is_none_or(oneshot::Sender::is_closed) {
                    // The engine was let go of, and perhaps its runtime with it: nothing is polled any more.
                    self.calls = Calls::new(self.inbox.clone());
                }
                let closed = self.close(messages);
                if let Some(reply) = reply {
                    // Whoever closed may have stopped waiting.
                    let _ = reply.send(closed);
                }
                Ok(())
            }
            End::Broken(error) => {
                tracing::error!(%error, "the journal can't be written; the engine stops");
                self.stop_attempts();
                for driven in self.runs.values() {
                    driven.shop.log.end(Some(Err(error.again())));
                }
                Err(error)
            }
        }
    }

    fn stop_attempts(&self) {
        for attempt in self.runs.values().flat_map(|driven| driven.attempts.values()) {
            attempt.stop.send_replace(true);
        }
    }

    fn forget_attempt(&mut self, run: &StreamId, step: &str, attempt: u32) {
        if let Some(driven) = self.runs.get_mut(run)
            && driven.attempts.get(step).is_some_and(|known| known.attempt == attempt)
        {
            driven.attempts.remove(step);
        }
    }

    fn turn(&mut self, messages: &Receiver<Message>) -> Option<End> {
        if let Err(error) = self.kernel.recover() {
            return self.wait_for_journal(error, messages);
        }
        self.feed_again();
        let first = match self.held.pop_front() {
            Some(message) => Ok(message),
            None => messages.recv_timeout(self.patience()),
        };
        match first {
            Ok(message) => {
                if let Some(end) = self.take(message) {
                    return Some(end);
                }
                for _ in 1..BATCH {
                    if self.kernel.is_full() {
                        break;
                    }
                    let Some(message) = self.held.pop_front().or_else(|| messages.try_recv().ok()) else { break };
                    if let Some(end) = self.take(message) {
                        return Some(end);
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Some(End::Closed(None)),
        }
        let now = self.clock.now();
        let secrets = Arc::clone(&self.secrets);
        let refused = |error: Error| {
            let error = secrets.words(&error.to_string());
            tracing::warn!(error, "a command from the inbox was refused");
        };
        let read = self.kernel.read_inbox(now, |command| secrets.said(command), refused);
        // Deadlines don't wait for the inbox.
        let asked = self.kernel.tick(now);
        self.note(read.and(asked));
        if let Err(error) = self.commit() {
            return Some(End::Broken(error));
        }
        self.hear_answers();
        None
    }

    /// Begins the attempts that are polled here, and takes what has become of others.
    fn hear_answers(&mut self) {
        self.held.extend(self.calls.answered(&self.runtime));
    }

    /// Says what is wrong with a turn, once for as long as it lasts.
    fn note(&mut self, turn: Result<()>) {
        let trouble = turn.err().map(|error| self.secrets.words(&error.to_string()));
        if trouble != self.trouble {
            if let Some(error) = &trouble {
                tracing::error!(error, "a turn of the engine failed");
            }
            self.trouble = trouble;
        }
    }

    /// While what a failed commit threw away can't be read again, nothing can be decided. Only a close is heard.
    fn wait_for_journal(&mut self, error: Error, messages: &Receiver<Message>) -> Option<End> {
        if let Err(error) = self.failed(error) {
            return Some(End::Broken(error));
        }
        loop {
            match messages.try_recv() {
                Ok(Message::Close(reply)) => return Some(End::Closed(Some(reply))),
                Ok(message) => self.held.push_back(message),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => return Some(End::Closed(None)),
            }
        }
    }

    /// How long nothing can happen by itself.
    fn patience(&self) -> Duration {
        if self.kernel.is_dirty() || !self.again.is_empty() {
            return Duration::ZERO;
        }
        let longest = if self.runs.is_empty() { LONGEST_WAIT } else { INBOX };
        match self.kernel.deadline() {
            // A machine that is due and decides nothing must not spin.
            Some(_) if self.trouble.is_some() => longest.min(INBOX),
            Some(deadline) => {
                longest.min(Duration::from(deadline.since(self.clock.now())).max(Duration::from_millis(1)))
            }
            None => longest,
        }
    }

    fn take(&mut self, message: Message) -> Option<End> {
        let now = self.clock.now();
        match message {
            Message::Start(begin, reply) => {
                let begun = self.begin(*begin, now);
                self.ack(move |committed| {
                    // Whoever started it may have stopped waiting; the run goes on.
                    let _ = reply.send(committed.and(begun));
                });
            }
            Message::Command(run, mut command, reply) => {
                let said = self.secrets.said(&mut command);
                let done = said.and_then(|()| self.kernel.command(&run, command, now));
                self.ack(move |committed| {
                    let _ = reply.send(committed.and(done));
                });
            }
            Message::Cancel { run, by, reason, reply } => {
                let (by, reason) = (self.secrets.words(&by), self.secrets.words(&reason));
                let begun = self.cancel(run, by, reason, now);
                self.ack(move |committed| {
                    let _ = reply.send(committed.and(begun));
                });
            }
            Message::Outcome { run, step, attempt, token, outcome } => {
                self.forget_attempt(&run, &step, attempt);
                self.world(run, RunInput::StepOutcome { step, attempt, token, outcome }, now);
            }
            Message::Answered => self.hear_answers(),
            Message::Report { service, mut report } => {
                self.secrets.mask_report(&mut report);
                self.report(&service, report, now);
            }
            Message::Remove(service, reply) => {
                let done = self.kernel.remove_service(&service, now);
                self.ack(move |committed| {
                    let _ = reply.send(committed.and(done));
                });
            }
            Message::Ask(ask) => ask(&mut self.kernel),
            Message::Close(reply) => return Some(End::Closed(Some(reply))),
        }
        None
    }

    fn ack(&mut self, ack: impl FnOnce(Result<()>) + Send + 'static) {
        self.acks.push(Box::new(ack));
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Run(run, effect) => self.act_for_run(run, effect),
            Effect::Service(_, ServiceEffect::Converge(desired)) => self.fleet.converge(*desired),
            Effect::Service(service, ServiceEffect::Remove) => self.fleet.remove(&service),
        }
    }

    fn act_for_run(&mut self, run: StreamId, effect: RunEffect) {
        let Some(driven) = self.runs.get_mut(&run) else { return };
        match effect {
            RunEffect::StartStep(start) => {
                if driven.runs(&start) {
                    return;
                }
                let stop = watch::Sender::new(false);
                let (shop, stopped, inbox) = (Arc::clone(&driven.shop), stop.subscribe(), self.inbox.clone());
                let known = Attempt { attempt: start.attempt, token: start.token, stop };
                driven.attempts.insert(start.step.clone(), known);
                let here = shop.hands_over(&start.action);
                let attempt = async move {
                    let (step, attempt, token) = (start.step.clone(), start.attempt, start.token);
                    let outcome = shop.attempt(start, stopped).await;
                    Message::Outcome { run, step, attempt, token, outcome }
                };
                if here {
                    self.calls.begin(attempt);
                } else {
                    // The driver is gone only when the engine is: the next one finds the attempt cut off.
                    spawn(&self.runtime, async move { drop(inbox.send(attempt.await)) });
                }
            }
            RunEffect::StopStep { step, attempt, token, .. } => match driven.attempts.get(&step) {
                Some(known) if known.attempt == attempt => {
                    known.stop.send_replace(true);
                }
                _ => {
                    let (shop, inbox) = (Arc::clone(&driven.shop), self.inbox.clone());
                    spawn(&self.runtime, async move {
                        shop.sweep(&step, attempt).await;
                        let outcome = StepOutcome::Stopped;
                        let _ = inbox.send(Message::Outcome { run, step, attempt, token, outcome });
                    });
                }
            },
            RunEffect::Sweep { step, attempt } => {
                let shop = Arc::clone(&driven.shop);
                spawn(&self.runtime, async move { shop.sweep(&step, attempt).await });
            }
            RunEffect::Rollout { effect, .. } => match effect {
                RolloutEffect::Converge(desired) => self.fleet.converge(*desired),
                RolloutEffect::Watch { service, after_window, guard } => {
                    self.fleet.watch(&service, after_window, guard);
                }
                RolloutEffect::Unwatch { service } => self.fleet.unwatch(&service),
            },
        }
    }

    /// Says what a run's rollouts knew to be in force, so that a loss while nobody drove is noticed.
    pub(super) fn expect_services(&mut self, run: &StreamId) {
        let held = self.kernel.held_by(run);
        for (service, generation) in held {
            self.fleet.expect(&service, generation);
        }
    }

    /// Brings back what the journal says of services that no rollout holds.
    fn restore_services(&mut self) {
        for (service, generation) in self.kernel.unclaimed() {
            self.fleet.expect(&service, generation);
            for effect in self.kernel.service_pending(&service) {
                self.act(effect);
            }
        }
    }
}

/// What a run is given when it is taken up.
pub(super) fn workshop(
    driver: &Driver,
    run: &StreamId,
    params: Value,
    functions: Functions,
    log: Arc<RunLog>,
) -> Driven {
    let shop = Workshop {
        journal: driver.mark.clone(),
        run: run.name().to_owned(),
        params,
        functions,
        secrets: Arc::clone(&driver.secrets),
        log,
        logs: driver.logs.clone(),
        stragglers: Arc::clone(&driver.stragglers),
    };
    Driven { shop: Arc::new(shop), attempts: BTreeMap::new() }
}
