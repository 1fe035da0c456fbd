//! Decide, apply and enqueue as one step; then one commit; then what the events ask of the world.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Kind, Result};
use crate::journal::{Append, Journal, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, StreamId};
use crate::machine::Machine;
use crate::pipeline::{RunEffect, RunEvent, RunInput, RunMachine, RunState};
use crate::rollout::{RolloutEffect, RolloutInput};
use crate::service::{Desired, ServiceEffect, ServiceEvent, ServiceInput, ServiceMachine, ServiceState};
use crate::time::{Span, Time};

mod recording;

/// How often a commit that failed is tried again before a driver gives up. That another process uses the database does
/// not count.
pub(crate) const TRIES: u32 = 8;

/// How long after so many failures in a row it is tried again.
pub(crate) fn retry_after(tries: u32) -> Span {
    Span::millis(50 << tries.min(6))
}

/// One event as it was made durable.
#[derive(Debug, Clone)]
pub(crate) struct Durable {
    pub(crate) stream: StreamId,
    pub(crate) seq: u64,
    pub(crate) at: Time,
    pub(crate) body: Vec<u8>,
}

/// What a durable event asks of the world.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "short-lived, and mostly of the large kind")]
pub(crate) enum Effect {
    Run(StreamId, RunEffect),
    Service(String, ServiceEffect),
}

/// What a commit released.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    pub(crate) events: Vec<Durable>,
    pub(crate) effects: Vec<Effect>,
    /// Of the events, those that an operator is told.
    pub(crate) news: Vec<News>,
}

/// An event of a run that an operator is told, as it was decided: what is stored need not be read again for that.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) run: StreamId,
    pub(crate) event: RunEvent,
}

/// A machine's state in memory, ahead of the journal by what waits in the batch.
#[derive(Debug)]
struct Slot<S> {
    state: S,
    /// The sequence number of the last event, those that wait included.
    seq: u64,
    /// The sequence number of the last durable event.
    durable: u64,
}

#[derive(Debug, Default)]
struct Batch {
    appends: Vec<Append>,
    effects: Vec<Effect>,
    news: Vec<News>,
    took: Vec<u64>,
    /// How many events wait, and the bytes of their bodies.
    events: usize,
    bytes: usize,
}

/// From here on a batch takes nothing more: far below what one append may carry, as the last input may bring some MiB
/// and thousands of events.
const FULL_BYTES: usize = MAX_BATCH_BYTES / 4;
const FULL_EVENTS: usize = MAX_BATCH_EVENTS / 4;

/// All machines of one journal, and the journal.
#[derive(Debug)]
pub(crate) struct Kernel {
    journal: Box<dyn Journal>,
    runs: BTreeMap<StreamId, Slot<RunState>>,
    services: BTreeMap<String, Slot<ServiceState>>,
    batch: Batch,
    /// Streams that were folded again after a failed commit: what they ask of the world may have been lost with it.
    refolded: BTreeSet<StreamId>,
    /// Streams whose memory was thrown away and that could not be folded again yet.
    lost: BTreeSet<StreamId>,
    /// Where releases run that name no directory.
    dir: Option<String>,
}

impl Kernel {
    /// Takes a journal over and folds its services; runs are folded when they are taken up.
    pub(crate) fn open(mut journal: Box<dyn Journal>, dir: Option<String>) -> Result<Kernel> {
        let mut services = BTreeMap::new();
        for stream in journal.services()? {
            services.insert(stream.name().to_owned(), load_service(journal.as_mut(), &stream)?);
        }
        let (batch, refolded, lost) = Default::default();
        Ok(Kernel { journal, runs: BTreeMap::new(), services, batch, refolded, lost, dir })
    }

    pub(crate) fn journal(&mut self) -> &mut dyn Journal {
        self.journal.as_mut()
    }

    pub(crate) fn into_journal(self) -> Box<dyn Journal> {
        self.journal
    }

    /// A run that was taken up or started here.
    pub(crate) fn run(&self, run: &StreamId) -> Option<&RunState> {
        self.runs.get(run).map(|slot| &slot.state)
    }

    /// The run of a pipeline with a key among those that are driven here, recorded or about to be.
    pub(crate) fn find(&self, pipeline: &str, key: &str) -> Option<StreamId> {
        let same = |slot: &Slot<RunState>| {
            slot.state.run().is_some_and(|run| run.key() == Some(key) && run.pipeline().spec().name == pipeline)
        };
        self.runs.iter().find(|(_, slot)| same(slot)).map(|(run, _)| run.clone())
    }

    pub(crate) fn service(&self, name: &str) -> Option<&ServiceState> {
        self.services.get(name).map(|slot| &slot.state)
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = &ServiceState> {
        self.services.values().map(|slot| &slot.state)
    }

    /// Folds a run from the journal; `false` when there is no such run. Its stored events go to `each`.
    pub(crate) fn load(&mut self, run: &StreamId, mut each: impl FnMut(Durable)) -> Result<bool> {
        let stored = self.journal.read(run)?;
        let mut state = RunState::default();
        let mut seq = 0;
        for event in stored {
            RunMachine::apply(&mut state, &event.decode::<RunEvent>()?, event.at);
            seq = event.seq;
            each(Durable { stream: run.clone(), seq, at: event.at, body: event.body });
        }
        if seq > 0 {
            self.runs.insert(run.clone(), Slot { state, seq, durable: seq });
        }
        Ok(seq > 0)
    }

    /// Forgets a run; the journal keeps it.
    pub(crate) fn unload(&mut self, run: &StreamId) {
        self.lost.remove(run);
        self.runs.remove(run);
    }

    /// Makes room for a run that is about to start.
    pub(crate) fn create(&mut self, run: StreamId) {
        self.runs.insert(run, Slot { state: RunState::default(), seq: 0, durable: 0 });
    }

    /// Marks a command of the inbox as taken, in the same commit as what follows from it.
    pub(crate) fn take(&mut self, inbox: u64) {
        self.batch.took.push(inbox);
    }

    /// Decides what follows from an input to a run, and enqueues it.
    pub(crate) fn input(&mut self, run: &StreamId, input: &RunInput, now: Time) -> Result<()> {
        self.recover()?;
        let slot = self.runs.get(run).ok_or_else(|| no_run(run))?;
        let events = RunMachine::decide(&slot.state, input, now)?;
        self.record_run(run, events, now)
    }

    /// Decides what follows from an input to a service, and enqueues it.
    pub(crate) fn service_input(&mut self, service: &str, input: &ServiceInput, now: Time) -> Result<()> {
        self.recover()?;
        let Some(slot) = self.services.get(service) else { return Ok(()) };
        let events = ServiceMachine::decide(&slot.state, input, now)?;
        self.record_service(service, events, now)
    }

    /// Asks every machine whose time has come. One that fails keeps no other from being asked; the first failure comes
    /// back.
    pub(crate) fn tick(&mut self, now: Time) -> Result<()> {
        self.recover()?;
        let due: Vec<StreamId> = self
            .runs
            .iter()
            .filter(|(_, slot)| RunMachine::deadline(&slot.state).is_some_and(|deadline| deadline <= now))
            .map(|(run, _)| run.clone())
            .collect();
        let mut done = Ok(());
        for run in due {
            let asked = self.input(&run, &RunInput::Tick, now);
            done = done.and(asked.map_err(|error| error.with("run", run.name())));
        }
        done
    }

    /// When a machine wants to be asked next.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.runs.values().filter_map(|slot| RunMachine::deadline(&slot.state)).min()
    }

    /// The rollouts that are under way, and neither on their way back nor promoted.
    pub(super) fn rollouts_forward(&self) -> Vec<(StreamId, String)> {
        let runs = self.runs.iter().filter_map(|(stream, slot)| Some((stream, slot.state.run()?)));
        let steps = runs.flat_map(|(stream, run)| run.rollouts().map(move |(step, rollout)| (stream, step, rollout)));
        steps
            .filter(|(_, _, rollout)| rollout.start.is_some() && !rollout.back && !rollout.is_promoted())
            .map(|(stream, step, _)| (stream.clone(), step.to_owned()))
            .collect()
    }

    /// The states that rollouts ask for with the next commit.
    pub(super) fn asked_of_world(&self) -> Vec<Desired> {
        let asked = self.batch.effects.iter().filter_map(|effect| match effect {
            Effect::Run(_, RunEffect::Rollout { effect: RolloutEffect::Converge(desired), .. }) => {
                Some((**desired).clone())
            }
            _ => None,
        });
        asked.collect()
    }

    /// Goes on with the rollouts of a run that was just resumed: what they ask of the world is asked again with the next
    /// commit. (Other attempts were cut off; the events of that ask for what follows.)
    pub(super) fn take_up(&mut self, run: &StreamId, now: Time) -> Result<()> {
        let state = self.run(run).and_then(RunState::run);
        let steps: Vec<String> = state.iter().flat_map(|run| run.rollouts()).map(|(step, _)| step.to_owned()).collect();
        for step in steps {
            self.input(run, &RunInput::Rollout { step, input: Box::new(RolloutInput::TakeUp) }, now)?;
        }
        let Some(slot) = self.runs.get(run) else { return Ok(()) };
        let lasting = RunMachine::pending(&slot.state).into_iter().filter(|e| matches!(e, RunEffect::Rollout { .. }));
        self.batch.effects.extend(lasting.map(|effect| Effect::Run(run.clone(), effect)));
        Ok(())
    }

    /// What a service asks of the world again.
    pub(crate) fn service_pending(&self, service: &str) -> Vec<Effect> {
        let Some(slot) = self.services.get(service) else { return Vec::new() };
        ServiceMachine::pending(&slot.state).into_iter().map(|e| Effect::Service(service.to_owned(), e)).collect()
    }

    /// Whether something waits to be made durable.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.batch.appends.is_empty() || !self.batch.took.is_empty()
    }

    /// Whether so much waits that it is to be committed before anything else is fed.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.bytes >= FULL_BYTES || self.batch.events + self.batch.took.len() >= FULL_EVENTS
    }

    /// Makes all that waits durable in one transaction, and releases what it asks of the world.
    ///
    /// If that fails, memory is thrown away and folded again from the journal (see `recover`); the inputs since the last commit are
    /// not remembered, and the caller feeds again those that the world won't repeat. The journal may hold what it
    /// reported as failed, so the next commit also asks again for all that has no recorded outcome.
    pub(crate) fn commit(&mut self) -> Result<Committed> {
        self.recover()?;
        if !self.is_dirty() {
            let mut effects = self.asked_again();
            effects.append(&mut self.batch.effects);
            return Ok(Committed { effects, ..Committed::default() });
        }
        let batch = std::mem::take(&mut self.batch);
        let events = batch
            .appends
            .iter()
            .flat_map(|append| {
                append.events.iter().zip(append.expect + 1..).map(|(record, seq)| Durable {
                    stream: append.stream.clone(),
                    seq,
                    at: record.at,
                    body: record.body.clone(),
                })
            })
            .collect();
        let touched: Vec<StreamId> = batch.appends.iter().map(|append| append.stream.clone()).collect();
        if let Err(error) = self.journal.append(batch.appends, &batch.took) {
            for stream in &touched {
                self.forget(stream);
            }
            self.refolded.extend(touched);
            // What can't be read now is read before the next decision, which fails if that does.
            let _ = self.recover();
            return Err(error);
        }
        for stream in &touched {
            if let Some(slot) = self.runs.get_mut(stream) {
                slot.durable = slot.seq;
            } else if let Some(slot) = self.services.get_mut(stream.name()) {
                slot.durable = slot.seq;
            }
        }
        let mut effects = self.asked_again();
        effects.extend(batch.effects);
        Ok(Committed { events, effects, news: batch.news })
    }

    /// With the next commit, asks for all that has no recorded outcome.
    pub(super) fn ask_again(&mut self, stream: &StreamId) {
        self.refolded.insert(stream.clone());
    }

    /// What streams that were folded again ask of the world as they are now.
    fn asked_again(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for stream in std::mem::take(&mut self.refolded) {
            if stream.is_service() {
                effects.extend(self.service_pending(stream.name()));
            } else if let Some(slot) = self.runs.get(&stream) {
                let pending = RunMachine::pending(&slot.state);
                effects.extend(pending.into_iter().map(|effect| Effect::Run(stream.clone(), effect)));
            }
        }
        effects
    }

    /// Throws away what memory holds of a stream.
    fn forget(&mut self, stream: &StreamId) {
        if stream.is_service() {
            self.services.remove(stream.name());
        } else {
            self.runs.remove(stream);
        }
        self.lost.insert(stream.clone());
    }

    /// Folds what could not be folded after a commit failed. Until that is done nothing is decided: memory would be
    /// without runs that are driven, and without services that are claimed.
    pub(crate) fn recover(&mut self) -> Result<()> {
        while let Some(stream) = self.lost.first().cloned() {
            if stream.is_service() {
                let slot = load_service(self.journal.as_mut(), &stream)?;
                if slot.seq > 0 {
                    self.services.insert(stream.name().to_owned(), slot);
                }
            } else {
                self.load(&stream, |_| {})?;
            }
            self.lost.remove(&stream);
        }
        Ok(())
    }
}

fn load_service(journal: &mut dyn Journal, stream: &StreamId) -> Result<Slot<ServiceState>> {
    let mut state = ServiceState::new(stream.name());
    let mut seq = 0;
    for event in journal.read(stream)? {
        ServiceMachine::apply(&mut state, &event.decode::<ServiceEvent>()?, event.at);
        seq = event.seq;
    }
    Ok(Slot { state, seq, durable: seq })
}

fn no_run(run: &StreamId) -> Error {
    Error::new(Kind::NotFound, "no such run is driven here").with("run", run.name())
}
