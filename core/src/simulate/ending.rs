//! The end of a story: what the journal holds and what the world looks like.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::journal::Journal;
use crate::simulate::telling::Telling;
use crate::simulate::{End, RunEnd, ServiceEnd};
use crate::time::Span;

/// How long the world goes on after the last run, so that what leaves is gone.
const AFTERWARDS: Span = Span::seconds(30);

impl Telling<'_> {
    /// Lets the world go on for a while, and puts the end together.
    pub(super) fn end(mut self, runs: Vec<RunEnd>) -> Result<End> {
        // What the last run asked for is still being looked after.
        let mut until = self.world.now.after(AFTERWARDS);
        // A driver that was killed in that time is followed by another one, which has as much of it.
        while self.world.now < until || self.driver.is_none() {
            self.world.advance(self.world.now.after(Span::seconds(1)));
            self.change_world()?;
            let now = self.world.now;
            match &mut self.driver {
                Some(driver) => driver.look(&mut self.world, now)?,
                None => {
                    self.begin()?;
                    until = now.after(AFTERWARDS);
                }
            }
            self.commit()?;
        }
        let mut journal = self.root.reopen();
        let mut events = Vec::new();
        let mut streams = journal.services()?;
        streams.extend(journal.runs(usize::MAX)?.into_iter().map(|row| row.stream));
        for stream in streams {
            for event in journal.read(&stream)? {
                events.extend(format!("{stream} {} {} ", event.seq, event.at.0).into_bytes());
                events.extend(event.body);
                events.push(b'\n');
            }
        }
        let mut services = BTreeMap::new();
        for (name, service) in &self.world.services {
            let known =
                self.driver.as_ref().and_then(|driver| driver.kernel.service(name)).cloned().unwrap_or_default();
            let end = ServiceEnd {
                stable: known.stable,
                kept: known.kept,
                held: known.claim.map(|claim| claim.run),
                running: service.running(),
                ready: service.ready(),
                weights: service.desired.as_ref().map(|desired| desired.weights.clone()).unwrap_or_default(),
            };
            services.insert(name.clone(), end);
        }
        Ok(End {
            seed: self.story.seed,
            runs,
            services,
            left: self.world.steps.running(),
            wrote: self.world.steps.wrote().into_keys().collect(),
            executions: self.world.steps.all,
            events,
            appends: self.appends,
            effects: self.effects,
            crashes: self.crashes,
            broken: self.world.broken,
        })
    }
}
