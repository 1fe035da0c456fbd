//! Who gets the next request: weights, versions and instances in force. Pure but for the counters it touches.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::config::Instance;
use super::instance::{Lease, Upstream};
use super::ledger::Ledger;
use super::meter::Meter;
use super::ticket::{Epoch, Ticket};
use crate::service::{Measure, Weights};
use crate::time::{Chance, Time};

/// Meters of versions that are gone are kept up to this many.
const METERS: usize = 64;

/// One version that can be drawn.
struct Ready {
    name: String,
    /// Its place among the weights, which is that of its counts.
    slot: usize,
    /// Its share lies below this and not below the one before.
    upto: u64,
    meter: Arc<Meter>,
    upstreams: Vec<Arc<Upstream>>,
}

/// The whole state that routing looks at; it lives behind one lock, shared by requests, exclusive for changes.
pub(super) struct Table {
    pub(super) ledger: Ledger,
    pub(super) upstreams: BTreeMap<String, Arc<Upstream>>,
    /// Instances that were taken out while something was still under way on them.
    gone: Vec<Arc<Upstream>>,
    pub(super) meters: BTreeMap<String, Arc<Meter>>,
    ready: Vec<Ready>,
    total: u64,
    /// When the last of those that can be drawn has its warm-up behind it; nothing is judged before. Never, while a
    /// version with a share has nobody who could be drawn.
    warm: Time,
}

/// A request that has its version and its first instance.
pub(super) struct Routed {
    pub(super) ticket: Ticket,
    pub(super) lease: Lease,
}

impl Table {
    pub(super) fn new(now: Time) -> Table {
        Table {
            ledger: Ledger::new(now),
            upstreams: BTreeMap::new(),
            gone: Vec::new(),
            meters: BTreeMap::new(),
            ready: Vec::new(),
            total: 0,
            warm: now,
        }
    }

    /// Puts weights in force. The same again changes nothing.
    pub(super) fn route(&mut self, weights: Weights, epoch: u64, measure: Measure, now: Time) {
        let current = self.ledger.epoch();
        if current.number == epoch && current.weights == weights && current.measure == measure {
            return;
        }
        self.ledger.change(Epoch::new(epoch, weights, measure), now);
        self.rebuild();
    }

    /// Adds an instance; one of the same name is taken out, unless it is the same.
    pub(super) fn add(&mut self, instance: Instance) {
        if self.upstreams.get(&instance.id).is_some_and(|old| old.instance == instance && !old.is_leaving()) {
            return;
        }
        let old = self.upstreams.insert(instance.id.clone(), Arc::new(Upstream::new(instance)));
        self.part(old);
        self.rebuild();
    }

    /// Takes an instance out.
    pub(super) fn remove(&mut self, id: &str) {
        let old = self.upstreams.remove(id);
        self.part(old);
        self.rebuild();
    }

    fn part(&mut self, old: Option<Arc<Upstream>>) {
        if let Some(old) = old {
            old.leave();
            self.gone.push(old);
        }
        self.forget();
    }

    /// Forgets instances on which nothing is under way any more.
    pub(super) fn forget(&mut self) {
        self.gone.retain(|upstream| upstream.in_flight() > 0);
    }

    /// Gives an instance no new requests: it, and those of its name that were taken out and have some under way (from
    /// before it lost its readiness for a while).
    pub(super) fn leave(&mut self, id: &str) -> Vec<Arc<Upstream>> {
        if let Some(upstream) = self.upstreams.get(id) {
            upstream.leave();
        }
        self.rebuild();
        self.all().into_iter().filter(|upstream| upstream.instance.id == id).collect()
    }

    /// Every instance on which something may be under way.
    pub(super) fn all(&self) -> Vec<Arc<Upstream>> {
        self.upstreams.values().chain(&self.gone).cloned().collect()
    }

    /// Works out who can be drawn, after any change.
    pub(super) fn rebuild(&mut self) {
        let epoch = self.ledger.epoch().clone();
        self.ready.clear();
        self.total = 0;
        self.warm = Time(i64::MIN);
        for (slot, (name, weight)) in epoch.weights.iter().enumerate() {
            let meter = self.meters.entry(name.clone()).or_insert_with(|| Arc::new(Meter::new())).clone();
            let upstreams: Vec<Arc<Upstream>> = self.of(name).cloned().collect();
            if *weight > 0 && upstreams.is_empty() {
                self.warm = Time(i64::MAX);
            } else if *weight > 0 {
                self.total += u64::from(*weight);
                let warm = upstreams.iter().map(|upstream| upstream.instance.ready_at.after(epoch.measure.warmup));
                self.warm = warm.fold(self.warm, Time::max);
                self.ready.push(Ready { name: name.clone(), slot, upto: self.total, meter, upstreams });
            }
        }
        if self.meters.len() > METERS {
            let upstreams = &self.upstreams;
            self.meters.retain(|name, meter| {
                epoch.weights.contains_key(name)
                    || upstreams.values().any(|upstream| upstream.instance.version == *name)
                    || meter.in_flight() > 0
            });
        }
    }

    /// The instances of a version that take requests.
    fn of<'a>(&'a self, version: &'a str) -> impl Iterator<Item = &'a Arc<Upstream>> + 'a {
        self.upstreams.values().filter(move |upstream| upstream.instance.version == version && !upstream.is_leaving())
    }

    /// Draws a version by weight among those that have an instance, and of two random instances the one with less
    /// under way.
    ///
    /// While any instance that can be drawn is warming, no side counts for the judge. To leave out only what goes to the
    /// instance that warms would shift the counted share away from the assigned one, which the judge tests against; so
    /// does a version with a share and nobody ready, whose requests all go to the others.
    pub(super) fn draw(&self, now: Time, chance: &mut Chance) -> Option<Routed> {
        let point = chance.below(self.total);
        let ready = self.ready.iter().find(|ready| point < ready.upto)?;
        let upstream = lesser(&ready.upstreams, chance)?;
        let cell = self.ledger.cell();
        let ticket = Ticket::new(cell, now >= self.warm, ready.slot, ready.meter.clone());
        Some(Routed { ticket, lease: Lease::new(upstream) })
    }

    /// An instance for a second try: of the same version, one that was not tried if there is any, and of these the one
    /// that has been ready for longest. (Least under way would send all that a death has cut to the newest instance,
    /// which has proven nothing yet.)
    pub(super) fn again(&self, version: &str, tried: &[Arc<Upstream>]) -> Option<Lease> {
        let all = || self.of(version);
        let age = |upstream: &&Arc<Upstream>| (upstream.instance.ready_at, upstream.in_flight());
        let fresh = all().filter(|upstream| !tried.iter().any(|other| Arc::ptr_eq(other, upstream)));
        let upstream = fresh.min_by_key(age).or_else(|| all().min_by_key(age))?;
        Some(Lease::new(upstream))
    }

    /// An instance of another version, by the weights of the others.
    pub(super) fn elsewhere(&self, version: &str, chance: &mut Chance) -> Option<Lease> {
        let others = || self.ready.iter().filter(|ready| ready.name != version);
        let weight = |ready: &Ready| self.ledger.epoch().weights.get(&ready.name).copied().map_or(0, u64::from);
        let mut point = chance.below(others().map(weight).sum());
        for ready in others() {
            let weight = weight(ready);
            if point < weight {
                return lesser(&ready.upstreams, chance).map(Lease::new);
            }
            point -= weight;
        }
        None
    }

    /// Why nothing can be drawn.
    pub(super) fn why_not(&self) -> String {
        let weights = &self.ledger.epoch().weights;
        let named: Vec<&str> =
            weights.iter().filter(|(_, weight)| **weight > 0).map(|(name, _)| name.as_str()).collect();
        if named.is_empty() {
            "no version gets traffic: no weights are set".to_owned()
        } else {
            format!("no instance is ready of the versions that get traffic: {}", named.join(", "))
        }
    }
}

/// The power of two choices (Mitzenmacher 2001).
fn lesser<'a>(upstreams: &'a [Arc<Upstream>], chance: &mut Chance) -> Option<&'a Arc<Upstream>> {
    let count = upstreams.len() as u64;
    if count < 2 {
        return upstreams.first();
    }
    let first = chance.below(count);
    let second = (first + 1 + chance.below(count - 1)) % count;
    let one = upstreams.get(usize::try_from(first).ok()?)?;
    let two = upstreams.get(usize::try_from(second).ok()?)?;
    Some(if two.in_flight() < one.in_flight() { two } else { one })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn instance(id: &str, version: &str) -> Instance {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        Instance { id: id.into(), version: version.into(), address, ready_at: Time(0) }
    }

    fn table() -> Table {
        let mut table = Table::new(Time(0));
        let measure = Measure { window: Span::seconds(1), warmup: Span::ZERO };
        table.route(Weights::from([("new".into(), 2_500), ("old".into(), 7_500)]), 1, measure, Time(0));
        table
    }

    #[test]
    fn what_is_not_ready_is_left_out_of_the_draw() {
        let mut table = table();
        let mut chance = Chance(1);
        assert!(table.draw(Time(0), &mut chance).is_none());
        assert!(table.why_not().contains("new, old"));
        table.add(instance("a", "new"));
        let only = |table: &Table, chance: &mut Chance, version: &str| {
            (0..100).all(|_| table.draw(Time(0), chance).unwrap().lease.upstream().instance.version == version)
        };
        assert!(only(&table, &mut chance, "new"));
        table.add(instance("b", "old"));
        assert!(!only(&table, &mut chance, "new"));
        table.upstreams["a"].leave();
        table.rebuild();
        assert!(only(&table, &mut chance, "old"));
    }

    #[test]
    fn shares_are_as_the_weights_say_and_instances_even_out() {
        let mut table = table();
        for (id, version) in [("a", "new"), ("b", "old"), ("c", "old")] {
            table.add(instance(id, version));
        }
        let mut chance = Chance(7);
        let mut held = Vec::new();
        let mut new = 0;
        for _ in 0..10_000 {
            let routed = table.draw(Time(0), &mut chance).unwrap();
            new += u32::from(routed.lease.upstream().instance.version == "new");
            held.push(routed);
        }
        // 2,500 and five standard deviations.
        assert!((2_283..=2_717).contains(&new), "{new}");
        let (b, c) = (table.upstreams["b"].in_flight(), table.upstreams["c"].in_flight());
        assert!(b.abs_diff(c) <= 1, "{b} and {c}");
    }

    #[test]
    fn the_counted_share_is_the_assigned_one_whoever_warms_or_is_away() {
        let mut table = Table::new(Time(0));
        let measure = Measure { window: Span::seconds(1), warmup: Span::seconds(10) };
        table.route(Weights::from([("new".into(), 1_000), ("old".into(), 9_000)]), 1, measure, Time(0));
        for (id, version) in [("a", "new"), ("b", "old"), ("c", "old"), ("d", "old")] {
            table.add(instance(id, version));
        }
        table.add(Instance { ready_at: Time(60_000), ..instance("e", "old") });
        let mut chance = Chance(11);
        let mut counted = |table: &Table, now: Time| {
            // At most one under way: instances of a version are then drawn alike.
            (0..10_000).for_each(|_| drop(table.draw(now, &mut chance).unwrap()));
            let counts: Vec<u64> = table.ledger.cell().counts().iter().map(|side| side.abandoned).collect();
            (counts[0], counts[0] + counts[1])
        };
        assert_eq!(counted(&table, Time(60_000)), (0, 0));
        assert_eq!(counted(&table, Time(69_999)), (0, 0));
        let (new, all) = counted(&table, Time(70_000));
        // 1,000 and five standard deviations.
        assert!(all == 10_000 && (850..=1_150).contains(&new), "{new} of {all}");

        // Whoever can't be drawn has no say: neither without a share, nor on its way out.
        table.add(Instance { ready_at: Time(80_000), ..instance("f", "none") });
        assert_eq!(counted(&table, Time(80_000)).1, 20_000);
        table.add(Instance { ready_at: Time(80_000), ..instance("g", "old") });
        assert_eq!(counted(&table, Time(80_000)).1, 20_000);
        table.remove("g");
        assert_eq!(counted(&table, Time(80_000)).1, 30_000);

        // While a version has a share and nobody ready, its requests go to the other one, and none counts.
        table.upstreams["a"].leave();
        table.rebuild();
        assert_eq!(counted(&table, Time(80_000)).1, 30_000);
        table.add(instance("a", "new"));
        assert_eq!(counted(&table, Time(80_000)).1, 40_000);
    }

    #[test]
    fn a_second_try_stays_with_the_version() {
        let mut table = table();
        for (id, version) in [("a", "new"), ("b", "old"), ("c", "old")] {
            table.add(instance(id, version));
        }
        let b = table.upstreams["b"].clone();
        let lease = table.again("old", std::slice::from_ref(&b)).unwrap();
        assert_eq!(lease.upstream().instance.id, "c");
        let a = table.upstreams["a"].clone();
        assert_eq!(table.again("new", std::slice::from_ref(&a)).unwrap().upstream().instance.id, "a");
        let mut chance = Chance(3);
        assert!((0..50).all(|_| table.elsewhere("old", &mut chance).unwrap().upstream().instance.id == "a"));
    }
}
