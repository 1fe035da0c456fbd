//! Doing what durable events ask, with the driver killed before, within or after.

use crate::journal::StreamId;
use crate::kernel::{Effect, Order};
use crate::pipeline::{RunEffect, RunInput, StepOutcome};
use crate::rollout::RolloutEffect;
use crate::service::{Desired, ServiceEffect};
use crate::simulate::Done;
use crate::simulate::telling::Telling;
use crate::time::Span;

/// How long the world goes on after an ask that is done, before the driver is killed.
const SETTLES: Span = Span::seconds(5);

impl Telling<'_> {
    /// Does effects in their order; none after the one at which the driver is killed.
    pub(super) fn act(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.effects += 1;
            let fault = self.fault_at_effect(self.effects);
            let Some((how, down)) = fault else {
                self.carry_out(effect, false);
                continue;
            };
            match (how, &effect) {
                (Done::NotBegun, _) => {}
                // Killed when the step has ended, before that is recorded.
                (Done::Done, Effect::Run(_, RunEffect::StartStep(start))) => {
                    self.dies_after = Some((start.step.clone(), start.attempt, down));
                    self.carry_out(effect, false);
                    continue;
                }
                (Done::HalfDone, _) => self.carry_out(effect, true),
                (Done::Done, _) => {
                    self.carry_out(effect, true);
                    self.world.advance(self.world.now.after(SETTLES));
                }
            }
            self.die(down);
            return;
        }
    }

    /// Begins an effect. `dying`: nobody will look afterwards, so an ask goes to the world at once.
    fn carry_out(&mut self, effect: Effect, dying: bool) {
        match effect {
            Effect::Run(_, RunEffect::Rollout { effect: RolloutEffect::Converge(desired), .. }) => {
                self.converge(*desired, dying);
            }
            Effect::Run(
                _,
                RunEffect::Rollout { effect: RolloutEffect::Watch { service, after_window, guard }, .. },
            ) => {
                let now = self.world.now;
                self.driver
                    .iter_mut()
                    .for_each(|driver| driver.order(&service, now, |order| order.watch(after_window, guard)));
            }
            Effect::Run(_, RunEffect::Rollout { effect: RolloutEffect::Unwatch { service }, .. }) => {
                let now = self.world.now;
                self.driver.iter_mut().for_each(|driver| driver.order(&service, now, |order| order.unwatch()));
            }
            Effect::Run(run, effect) => self.for_step(&run, effect),
            Effect::Service(_, ServiceEffect::Converge(desired)) => self.converge(*desired, dying),
            Effect::Service(service, ServiceEffect::Remove) if dying => self.world.service(&service).0.remove(),
            Effect::Service(service, ServiceEffect::Remove) => {
                let now = self.world.now;
                self.driver.iter_mut().for_each(|driver| driver.order(&service, now, Order::remove));
            }
        }
    }

    fn converge(&mut self, desired: Desired, dying: bool) {
        let Some(driver) = &mut self.driver else { return };
        if dying {
            driver.ask(&desired, &mut self.world);
        } else {
            let service = desired.service.clone();
            driver.order(&service, self.world.now, |order| order.converge(desired));
        }
    }

    fn for_step(&mut self, run: &StreamId, effect: RunEffect) {
        let now = self.world.now;
        let Some(driver) = &mut self.driver else { return };
        let (number, chance) = (driver.number, self.world.chance.fork("steps"));
        match effect {
            RunEffect::StartStep(start) => {
                // It was started by this driver already: asking twice is asking once.
                let known = |known: &u32| *known >= start.attempt;
                if driver.attempts.get(&(run.clone(), start.step.clone())).is_some_and(known) {
                    return;
                }
                driver.attempts.insert((run.clone(), start.step.clone()), start.attempt);
                let (world, chapter) = (&mut self.world, self.chapter);
                world.steps.start(chapter, run.name(), &start, number, chance, now, &mut world.broken);
            }
            RunEffect::StopStep { step, attempt, token, .. } => {
                if !self.world.steps.stop(run.name(), &step, attempt, number, now) {
                    let outcome = StepOutcome::Stopped;
                    driver.world(run.clone(), RunInput::StepOutcome { step, attempt, token, outcome }, now);
                }
            }
            RunEffect::Sweep { step, attempt } => self.world.steps.sweep(run.name(), &step, attempt, now),
            RunEffect::Rollout { .. } => {}
        }
    }
}
