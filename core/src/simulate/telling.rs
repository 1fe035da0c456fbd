//! Telling a story: time goes from one thing that happens to the next.

use std::sync::Arc;

use serde_json::Value;

use crate::error::{Error, Kind, Result};
use crate::journal::{Journal, MemoryJournal, Mishap, StreamId};
use crate::kernel::{Command, TRIES, retry_after};
use crate::pipeline::{RunInput, RunState, RunStatus};
use crate::simulate::driver::Driver;
use crate::simulate::person::said_by;
use crate::simulate::world::World;
use crate::simulate::{Appended, Change, Chapter, Done, End, Fault, Moment, Point, RunEnd, Story};
use crate::time::{Span, Time};

/// More turns than any chapter needs: one that takes more does not end.
const TURNS: u32 = 40_000;
/// How often the inbox is looked at.
const INBOX: Span = Span::millis(100);

/// A story that is being told.
#[derive(Debug)]
pub(super) struct Telling<'a> {
    pub(super) story: &'a Story,
    pub(super) chapter: &'a Chapter,
    pub(super) world: World,
    /// Holds what is durable; each driver has a journal over the same store.
    pub(super) root: MemoryJournal,
    /// `None` between a crash and the next driver.
    pub(super) driver: Option<Driver>,
    /// The run of the present chapter, once it is known.
    run: Option<StreamId>,
    begun: Time,
    begun_at: (u64, u64),
    said: usize,
    /// Whether a command waits in the inbox.
    waits: bool,
    losses: usize,
    /// How many of the chapter's changes have come, and those that end, with the time of that.
    pub(super) turns: usize,
    pub(super) undo: Vec<(Time, Change)>,
    /// How many commits in a row have failed.
    tries: u32,
    pub(super) appends: u64,
    pub(super) effects: u64,
    pub(super) crashes: u32,
    /// The driver is killed when this attempt of this step has ended, for so long.
    pub(super) dies_after: Option<(String, u32, Span)>,
}

impl Story {
    /// Tells the story to its end.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::error::Kind::Invalid) when a pipeline can't be started at all.
    pub fn tell(&self) -> Result<End> {
        let first = self.chapters.first().ok_or_else(|| Error::new(Kind::Invalid, "a story needs a chapter"))?;
        let mut telling = Telling::new(self, first);
        let mut runs = Vec::new();
        for chapter in &self.chapters {
            chapter.pipeline.check()?;
            telling.chapter = chapter;
            runs.push(telling.run_chapter()?);
        }
        telling.end(runs)
    }
}

impl<'a> Telling<'a> {
    fn new(story: &'a Story, chapter: &'a Chapter) -> Telling<'a> {
        let world = World::new(story.seed, story.natures.clone(), story.rate);
        Telling {
            story,
            chapter,
            begun: world.now,
            world,
            root: MemoryJournal::new(),
            driver: None,
            run: None,
            begun_at: (0, 0),
            said: 0,
            waits: false,
            losses: 0,
            turns: 0,
            undo: Vec::new(),
            tries: 0,
            appends: 0,
            effects: 0,
            crashes: 0,
            dies_after: None,
        }
    }

    fn run_chapter(&mut self) -> Result<RunEnd> {
        (self.run, self.said, self.losses, self.turns, self.begun) = (None, 0, 0, 0, self.world.now);
        self.begun_at = (self.appends, self.effects);
        for _ in 0..TURNS {
            if self.driver.is_none() || self.run.is_none() {
                self.begin()?;
                self.commit()?;
                continue;
            }
            if let Some(end) = self.ended() {
                return Ok(end);
            }
            self.turn()?;
        }
        self.world.broken.push(format!("run {} does not end", self.chapter.key));
        let state = self.state().cloned().unwrap_or_default();
        Ok(RunEnd::new(&self.chapter.key, &state, self.begun_at))
    }

    /// Opens a driver if there is none, and starts the run or takes it up again.
    pub(super) fn begin(&mut self) -> Result<()> {
        let now = self.world.now;
        if self.driver.is_none() {
            let mut driver = Driver::open(self.journal())?;
            let mut effects = Vec::new();
            for (service, generation) in driver.kernel.unclaimed() {
                driver.order(&service, now, |order| order.expect(generation));
                effects.extend(driver.kernel.service_pending(&service));
            }
            self.driver = Some(driver);
            self.act(effects);
        }
        let Some(driver) = &mut self.driver else { return Ok(()) };
        let (kernel, chapter) = (&mut driver.kernel, self.chapter);
        let run = match kernel.journal().find_run(&chapter.pipeline.name, &chapter.key)? {
            Some(run) => {
                kernel.load(&run, |_| {})?;
                if kernel.resume(&run, &chapter.pipeline, None, now)? {
                    for (service, generation) in kernel.held_by(&run) {
                        driver.order(&service, now, |order| order.expect(generation));
                    }
                }
                run
            }
            None => {
                let run = StreamId::run(&chapter.key)?;
                kernel.create(run.clone());
                let input = RunInput::Start {
                    run: chapter.key.clone(),
                    key: Some(chapter.key.clone()),
                    definition: Arc::new(chapter.pipeline.check()?),
                    params: Value::Null,
                    seed: self.world.chance.fork("runs").0,
                    cores: 2,
                    epoch: driver.number,
                };
                kernel.input(&run, &input, now)?;
                run
            }
        };
        driver.begun = true;
        self.run = Some(run);
        Ok(())
    }

    /// The next driver's journal, with what is planned to go wrong with it while the driver goes on.
    fn journal(&self) -> MemoryJournal {
        let mut journal = self.root.reopen();
        let mut planned: Vec<(u64, Mishap)> = self
            .story
            .faults
            .iter()
            .filter_map(|fault| match fault.at {
                Point::Append { n, how: Appended::Failed } => Some((n, Mishap::Lost)),
                Point::Append { n, how: Appended::Unacknowledged } => Some((n, Mishap::Unacknowledged)),
                _ => None,
            })
            .filter(|(n, _)| *n > self.appends)
            .collect();
        planned.sort_by_key(|(n, _)| *n);
        // One thing becomes of an append: a second one would strike the next.
        planned.dedup_by_key(|(n, _)| *n);
        let mut next = self.appends + 1;
        for (n, mishap) in planned {
            journal.spare_next(n.saturating_sub(next));
            journal.fail_next(mishap);
            next = n + 1;
        }
        journal
    }

    fn state(&self) -> Option<&RunState> {
        self.driver.as_ref()?.kernel.run(self.run.as_ref()?)
    }

    /// The chapter's end, if it is there: the run has ended, or asks and nobody answers.
    fn ended(&mut self) -> Option<RunEnd> {
        let state = self.state()?;
        let over = match state.status() {
            RunStatus::Finished(_) => true,
            RunStatus::Asking => self.chapter.person.answers.is_none(),
            RunStatus::New | RunStatus::Running => false,
        };
        if !over {
            return None;
        }
        let end = RunEnd::new(&self.chapter.key, state, self.begun_at);
        if let (Some(driver), Some(run)) = (&mut self.driver, &self.run) {
            driver.kernel.unload(run);
        }
        Some(end)
    }

    /// Goes to the next thing that happens.
    fn turn(&mut self) -> Result<()> {
        let next = self.next();
        self.world.advance(next);
        let now = self.world.now;
        self.lose_world();
        self.change_world()?;
        self.say(now)?;
        let Some(driver) = &mut self.driver else { return Ok(()) };
        for (run, input) in std::mem::take(&mut driver.again) {
            driver.world(run, input, now);
        }
        let Some(run) = self.run.clone() else { return Ok(()) };
        for ended in self.world.steps.reports(driver.number) {
            if let Some((_, _, down)) =
                self.dies_after.take_if(|(step, attempt, _)| *step == ended.step && *attempt == ended.attempt)
            {
                self.die(down);
                return Ok(());
            }
            driver.attempts.retain(|(_, step), known| *step != ended.step || *known != ended.attempt);
            let (step, attempt, token, outcome) = (ended.step, ended.attempt, ended.token, ended.outcome);
            if driver.world(run.clone(), RunInput::StepOutcome { step, attempt, token, outcome }, now) {
                driver.fed.push(ended.index);
            }
        }
        driver.look(&mut self.world, now)?;
        let (kernel, broken) = (&mut driver.kernel, &mut self.world.broken);
        kernel.read_inbox(now, |_| Ok(()), |_| {})?;
        kernel.tick(now)?;
        if let Some(deadline) = kernel.deadline().filter(|deadline| *deadline <= now) {
            broken
                .push(format!("at {now} a machine that was due at {deadline} decided nothing: the driver would spin"));
        }
        self.commit()
    }

    /// When something happens next.
    fn next(&self) -> Time {
        let Some(driver) = &self.driver else { return self.world.now };
        if driver.failed {
            return self.world.now.after(retry_after(self.tries));
        }
        if driver.kernel.is_dirty() || !driver.again.is_empty() {
            return self.world.now;
        }
        let said = self.chapter.said.get(self.said).and_then(|said| self.time_of(said.when));
        let loss = self.chapter.losses.get(self.losses).map(|span| self.begun.after(*span));
        // The engine looks at its inbox every 100 ms.
        let awake = self.waits.then(|| self.world.now.after(INBOX));
        let turn = self.next_turn();
        let all = [self.world.steps.next(), driver.kernel.deadline(), driver.next_look(), said, loss, turn, awake];
        let next = all.into_iter().flatten().min().unwrap_or(self.world.now.after(Span::seconds(1)));
        next.max(self.world.now.after(Span::millis(1)))
    }

    pub(super) fn is_due(&self, moment: Moment, now: Time) -> bool {
        match moment {
            Moment::After(span) => self.begun.after(span) <= now,
            Moment::Commits(n) => self.appends >= self.begun_at.0 + n,
        }
    }

    /// When a moment is, where that is known before.
    pub(super) fn time_of(&self, moment: Moment) -> Option<Time> {
        match moment {
            Moment::After(span) => Some(self.begun.after(span)),
            Moment::Commits(_) => None,
        }
    }

    fn lose_world(&mut self) {
        while self.chapter.losses.get(self.losses).is_some_and(|span| self.begun.after(*span) <= self.world.now) {
            self.losses += 1;
            self.world.lose();
        }
    }

    /// What people say goes into the inbox, whoever drives.
    fn say(&mut self, now: Time) -> Result<()> {
        let Some(run) = self.run.clone() else { return Ok(()) };
        while let Some(said) = self.chapter.said.get(self.said) {
            if !self.is_due(said.when, now) {
                break;
            }
            self.said += 1;
            self.send(&run, now, &said.command)?;
        }
        self.waits = !self.root.inbox()?.is_empty();
        if !self.waits {
            for command in self.state().map(|state| said_by(self.chapter, state)).unwrap_or_default() {
                self.send(&run, now, &command)?;
                self.waits = true;
            }
        }
        Ok(())
    }

    fn send(&self, run: &StreamId, now: Time, command: &Command) -> Result<()> {
        let body = serde_json::to_vec(command)
            .map_err(|error| Error::new(Kind::Internal, "a command is no JSON").because(error))?;
        self.root.send(run, now, &body).map(|_| ())
    }

    /// One commit, with the driver killed before or after it; then its effects.
    pub(super) fn commit(&mut self) -> Result<()> {
        let Some(driver) = &mut self.driver else { return Ok(()) };
        if driver.kernel.is_dirty() {
            self.appends += 1;
            match self.story.faults.iter().find_map(|fault| match fault.at {
                Point::Append { n, how } if n == self.appends => Some((how, fault.down)),
                _ => None,
            }) {
                Some((Appended::Lost, down)) => {
                    self.die(down);
                    return Ok(());
                }
                Some((Appended::Durable, down)) => {
                    // Another fault of the story may fail it, or only say that it did.
                    let appends = self.appends;
                    let only_says = |fault: &Fault| matches!(fault.at, Point::Append { n, how: Appended::Unacknowledged } if n == appends);
                    if driver.kernel.commit().is_ok() || self.story.faults.iter().any(only_says) {
                        self.world.steps.record(&driver.fed);
                    }
                    self.die(down);
                    return Ok(());
                }
                Some((Appended::Failed | Appended::Unacknowledged, _)) | None => {}
            }
        }
        match driver.kernel.commit() {
            Ok(committed) => {
                (driver.failed, driver.begun) = (false, false);
                self.tries = 0;
                self.waits = !self.root.inbox()?.is_empty();
                driver.reported.clear();
                self.world.steps.record(&std::mem::take(&mut driver.fed));
                self.act(committed.effects);
            }
            Err(_) => {
                // As planned. The driver goes on; whoever started the run is told, and starts it again.
                driver.failed = true;
                driver.again.extend(driver.reported.drain(..));
                if std::mem::take(&mut driver.begun)
                    && let Some(run) = self.run.take()
                {
                    driver.kernel.unload(&run);
                }
                self.tries += 1;
                if self.tries >= TRIES {
                    self.tries = 0;
                    return self.give_up();
                }
            }
        }
        Ok(())
    }

    pub(super) fn fault_at_effect(&self, n: u64) -> Option<(Done, Span)> {
        self.story.faults.iter().find_map(|fault| match fault.at {
            Point::Effect { n: at, how } if at == n => Some((how, fault.down)),
            _ => None,
        })
    }

    /// The driver is killed, and nobody drives for a while.
    pub(super) fn die(&mut self, down: Span) {
        self.driver = None;
        self.dies_after = None;
        self.crashes += 1;
        self.world.steps.driver_died(self.world.now);
        self.world.advance(self.world.now.after(down));
        self.world.steps.reports(0);
        self.lose_world();
        self.take_back_what_is_over();
    }
}
