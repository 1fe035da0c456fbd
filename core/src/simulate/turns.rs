//! How the world changes while a story is told: natures, traffic, a port that is taken, a full disk, a second driver.

use crate::error::{Kind, Result};
use crate::simulate::telling::Telling;
use crate::simulate::{Change, Nature};
use crate::time::{Span, Time};

/// When somebody makes room on a disk that the story leaves full.
const ROOM: Span = Span::seconds(60);

impl Telling<'_> {
    /// Carries out what is due, and takes back what is over.
    pub(super) fn change_world(&mut self) -> Result<()> {
        self.take_back_what_is_over();
        let (now, chapter) = (self.world.now, self.chapter);
        while let Some(turn) = chapter.turns.get(self.turns).filter(|turn| self.is_due(turn.when, now)) {
            self.turns += 1;
            self.undo.extend(turn.lasts.map(|span| (now.after(span), turn.change.clone())));
            self.change(turn.change.clone())?;
        }
        Ok(())
    }

    pub(super) fn take_back_what_is_over(&mut self) {
        let now = self.world.now;
        let (over, lasting) = std::mem::take(&mut self.undo).into_iter().partition(|(at, _)| *at <= now);
        self.undo = lasting;
        for (_, change) in over {
            self.take_back(change);
        }
    }

    /// When the next change comes or ends, where that is known before.
    pub(super) fn next_turn(&self) -> Option<Time> {
        let next = self.chapter.turns.get(self.turns).and_then(|turn| self.time_of(turn.when));
        self.undo.iter().map(|(at, _)| *at).chain(next).min()
    }

    fn change(&mut self, change: Change) -> Result<()> {
        match change {
            Change::Nature { version, nature } => drop(self.world.natures.insert(version, nature)),
            Change::Rate(rate) => self.world.rate = rate,
            Change::PortTaken => {
                self.world.taken = true;
                self.world.lose();
            }
            Change::DiskFull { reserve } => self.root.fill(Some(reserve)),
            Change::SecondDriver => self.second_driver()?,
        }
        Ok(())
    }

    fn take_back(&mut self, change: Change) {
        match change {
            Change::Nature { version, .. } => {
                let nature = self.story.natures.get(&version).copied().unwrap_or(Nature::GOOD);
                self.world.natures.insert(version, nature);
            }
            Change::Rate(_) => self.world.rate = self.story.rate,
            Change::PortTaken => self.world.taken = false,
            Change::DiskFull { .. } => self.root.fill(None),
            Change::SecondDriver => {}
        }
    }

    /// Another driver takes over. The first one goes on until it is refused: nothing that it decides may become durable,
    /// and the world may do nothing more for it once it has heard of the second.
    fn second_driver(&mut self) -> Result<()> {
        let Some(mut first) = self.driver.take() else { return Ok(()) };
        self.begin()?;
        self.commit()?;
        let now = self.world.now;
        let Some(second) = &mut self.driver else { return Ok(()) };
        second.look(&mut self.world, now)?;
        let before = self.world.broken.len();
        first.look_at_once(&mut self.world, now)?;
        // What it was refused is as it should be.
        self.world.broken.truncate(before);
        let ticked = first.kernel.tick(now);
        if ticked.is_ok() && first.kernel.is_dirty() {
            match first.kernel.commit() {
                Err(error) if error.kind() == Kind::Busy => {}
                other => self.world.broken.push(format!("a driver that was fenced off has committed: {other:?}")),
            }
        }
        for (name, watched) in &first.services {
            let Some(mut desired) = watched.order.desired.clone() else { continue };
            desired.generation += 1_000;
            let (service, climate, broken) = self.world.service(name);
            if service.driver() > first.number && service.apply(&desired, first.number, None, climate, broken).is_ok() {
                broken.push(format!("the world did something of {name} for a driver that was fenced off"));
            }
        }
        Ok(())
    }

    /// The journal can't be written and is given up, as by the engine: rollouts are turned back while somebody can say
    /// so, into the reserve or from memory, and in that case the program ends. Its next one comes when there is room.
    pub(super) fn give_up(&mut self) -> Result<()> {
        let now = self.world.now;
        let Some(driver) = &mut self.driver else { return Ok(()) };
        let asked = driver.kernel.turn_all_back(now).unwrap_or_default();
        if !asked.is_empty() {
            self.appends += 1;
            if let Ok(committed) = driver.kernel.commit() {
                driver.failed = false;
                self.act(committed.effects);
                return Ok(());
            }
            for desired in &asked {
                driver.ask(desired, &mut self.world);
            }
        }
        let full = self.undo.iter().filter(|(_, change)| matches!(change, Change::DiskFull { .. }));
        let room = full.map(|(at, _)| at.since(now)).max().unwrap_or(ROOM);
        self.die(room);
        Ok(())
    }
}
