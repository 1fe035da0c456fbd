//! The engine's driver without threads: what it holds besides the kernel, and how it looks at services.

use std::collections::{BTreeMap, VecDeque};

use crate::error::Result;
use crate::journal::{MemoryJournal, StreamId};
use crate::kernel::{Kernel, Order, Report, View};
use crate::pipeline::RunInput;
use crate::service::Desired;
use crate::simulate::rules::Floor;
use crate::simulate::world::World;
use crate::time::{Span, Time};

/// How often a service is looked at.
const LOOK: Span = Span::seconds(1);

#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) order: Order,
    view: View,
    /// When it is looked at next.
    look_at: Time,
}

/// What a live driver holds.
#[derive(Debug)]
pub(super) struct Driver {
    /// Its epoch.
    pub(super) number: u64,
    pub(super) kernel: Kernel,
    pub(super) services: BTreeMap<String, Watched>,
    /// Inputs of the world since the last commit: it won't repeat them if that fails.
    pub(super) reported: Vec<(StreamId, RunInput)>,
    /// Those that are to be fed again.
    pub(super) again: VecDeque<(StreamId, RunInput)>,
    /// Whether the run was started or taken up since the last commit: if that fails, it was not.
    pub(super) begun: bool,
    /// Whether the last commit failed.
    pub(super) failed: bool,
    /// Executions whose end was fed since the last commit.
    pub(super) fed: Vec<usize>,
    /// The last attempt of each step that was started here and has not been reported.
    pub(super) attempts: BTreeMap<(StreamId, String), u32>,
}

impl Driver {
    pub(super) fn open(journal: MemoryJournal) -> Result<Driver> {
        let kernel = Kernel::open(Box::new(journal), None)?;
        let mut driver = Driver {
            number: 0,
            kernel,
            services: BTreeMap::new(),
            reported: Vec::new(),
            again: VecDeque::new(),
            begun: false,
            failed: false,
            fed: Vec::new(),
            attempts: BTreeMap::new(),
        };
        driver.number = driver.kernel.journal().epoch();
        Ok(driver)
    }

    /// Changes what is to be done about a service, which is then looked at at once.
    pub(super) fn order(&mut self, service: &str, now: Time, change: impl FnOnce(&mut Order)) {
        let watched = self.services.entry(service.to_owned()).or_default();
        change(&mut watched.order);
        watched.look_at = now;
    }

    /// Feeds what the world reports of a run. A refusal is normal: the attempt may be over. Whether it was taken.
    pub(super) fn world(&mut self, run: StreamId, input: RunInput, now: Time) -> bool {
        let taken = self.kernel.input(&run, &input, now).is_ok();
        if taken {
            self.reported.push((run, input));
        }
        taken
    }

    /// When a service is looked at next.
    pub(super) fn next_look(&self) -> Option<Time> {
        self.services.values().map(|watched| watched.look_at).min()
    }

    /// Looks at every service whose time has come: as the engine's task for it does.
    pub(super) fn look(&mut self, world: &mut World, now: Time) -> Result<()> {
        let due: Vec<String> =
            self.services.iter().filter(|(_, w)| w.look_at <= now).map(|(name, _)| name.clone()).collect();
        for name in due {
            for report in self.look_at(&name, world, now) {
                for (run, input) in self.kernel.report(&name, report, now)? {
                    self.world(run, input, now);
                }
            }
        }
        Ok(())
    }

    /// Looks at every service now.
    pub(super) fn look_at_once(&mut self, world: &mut World, now: Time) -> Result<()> {
        self.services.values_mut().for_each(|watched| watched.look_at = now);
        self.look(world, now)
    }

    fn look_at(&mut self, name: &str, world: &mut World, now: Time) -> Vec<Report> {
        let floor = self.floor(name);
        let Some(watched) = self.services.get_mut(name) else { return Vec::new() };
        watched.look_at = now.after(LOOK);
        let (service, climate, broken) = world.service(name);
        if watched.view.is_to_remove(&watched.order) {
            service.remove();
            watched.view.removed(&watched.order);
        }
        let (window, reading) = watched.view.after(&watched.order);
        let (observed, windows, settled_to, readings) = service.observe(window, reading);
        let windows = (windows, Some(settled_to));
        let reports = watched.view.hear(&watched.order, service.starts, observed, windows, readings);
        if let Some(desired) = watched.view.missing(&watched.order) {
            match service.apply(desired, self.number, floor, climate, broken) {
                Ok(()) => watched.view.applied(desired.generation),
                Err(error) => broken.push(format!("the living driver was refused: {error}")),
            }
            watched.look_at = now.after(Span::millis(100));
        }
        reports
    }

    /// Asks the world at once.
    pub(super) fn ask(&mut self, desired: &Desired, world: &mut World) {
        let floor = self.floor(&desired.service);
        let (service, climate, broken) = world.service(&desired.service);
        if let Err(error) = service.apply(desired, self.number, floor, climate, broken) {
            broken.push(format!("the living driver was refused: {error}"));
        }
    }

    /// What the journal says is to be kept up.
    fn floor(&self, name: &str) -> Option<Floor> {
        let service = self.kernel.service(name)?;
        let stable = service.stable.clone()?;
        let full = service.versions.get(&stable)?.replicas;
        Some(Floor { stable, full })
    }
}
