//! Virtual processes of a service: they become ready, end by themselves, and go when they are not wanted.

use std::collections::BTreeMap;

use crate::health::{CheckSpec, ProbeSpec};
use crate::service::{Desired, DesiredVersion, ObservedVersion, Trouble};
use crate::simulate::Nature;
use crate::time::{Chance, Span, Time};

/// How long a process takes to end, at most, in seconds.
const LONGEST_DRAIN: u64 = 3;
/// When one is ready that is not going to be.
const NEVER: Time = Time(i64::MAX);
/// How long after its start it is told what one that is not ready waits for, as by the supervisor.
const TELL: Span = Span::seconds(1);
/// The first of the ports that processes are told to listen on.
const PORTS: u64 = 28_672;

#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) version: String,
    /// When it is ready, counted from its last start.
    pub(super) ready_at: Time,
    /// Whether it has a process.
    runs: bool,
    /// When it is gone, if it is on its way.
    leaves_at: Option<Time>,
    /// When its process was started.
    began: Time,
    /// Whether that process was ready once.
    was_ready: bool,
    /// Whether the one before ended, or none could be started, and it was neither ready nor waited for since.
    failed: bool,
    program: String,
    /// Why it is not ready while it is not.
    waits_for: String,
}

impl Instance {
    fn new(version: &str, definition: &DesiredVersion, number: u64) -> Instance {
        Instance {
            version: version.to_owned(),
            ready_at: NEVER,
            runs: false,
            leaves_at: None,
            began: Time::default(),
            was_ready: false,
            failed: false,
            program: definition.release.command.first().cloned().unwrap_or_default(),
            waits_for: waits_for(definition.ready.as_ref(), PORTS + number % 4_096),
        }
    }

    pub(super) fn is_ready(&self, now: Time) -> bool {
        self.leaves_at.is_none() && self.ready_at <= now
    }

    /// Whether it is told what it waits for.
    fn is_waiting(&self, now: Time) -> bool {
        self.runs && self.ready_at > now && now.since(self.began) >= TELL
    }

    /// A process is started, if one can be.
    fn start(&mut self, nature: &Nature, now: Time) {
        (self.runs, self.began, self.was_ready) = (nature.starts, now, false);
        self.failed |= !nature.starts;
    }

    fn not_started(&self) -> Trouble {
        let program = &self.program;
        let why = format!("no such file, path: {program}): No such file or directory (os error 2)");
        told(format!("could not be started: can't start the program: {program} (why: {why}"), "")
    }

    fn ended(&self, now: Time) -> Trouble {
        let after = now.since(self.began).0 as f64 / 1_000.0;
        told(format!("exited with code 3, {after:.1} s after its start"), "no such table")
    }

    fn waiting(&self) -> Trouble {
        let when = if self.was_ready { "any more" } else { "yet" };
        told(format!("is not ready {when}: {}", self.waits_for), "")
    }
}

/// Why one that does not come up is not ready: it does not answer its check in time, or listens on nothing.
fn waits_for(check: Option<&CheckSpec>, port: u64) -> String {
    let known = check.and_then(|spec| Some((&spec.probe, spec.validate().ok()?.timeout)));
    match known {
        Some((ProbeSpec::Http { .. }, timeout)) => {
            format!("timed out after {timeout} while waiting for the first byte of the answer")
        }
        Some((ProbeSpec::Command { .. }, timeout)) => format!("timed out after {timeout}"),
        Some((ProbeSpec::Tcp { .. }, _)) | None => format!("nobody listens on its port {port}"),
    }
}

fn told(what: String, line: &str) -> Trouble {
    let last_lines = if line.is_empty() { Vec::new() } else { vec![line.to_owned()] };
    Trouble { what, last_lines }
}

/// What is known of a version besides its processes.
#[derive(Debug, Default)]
struct Known {
    restarts: u32,
    /// The last thing that went wrong.
    trouble: Option<Trouble>,
}

/// The processes of one service.
#[derive(Debug, Default)]
pub(super) struct Instances {
    pub(super) all: Vec<Instance>,
    known: BTreeMap<String, Known>,
    started: u64,
}

impl Instances {
    /// Starts what is missing and lets go of what is surplus, the latest first.
    pub(super) fn converge(
        &mut self,
        desired: &Desired,
        natures: &BTreeMap<String, Nature>,
        chance: Chance,
        now: Time,
    ) {
        let mut kept: BTreeMap<String, u32> = BTreeMap::new();
        for instance in self.all.iter_mut().filter(|instance| instance.leaves_at.is_none()) {
            let wanted = desired.versions.get(&instance.version).map_or(0, |version| version.replicas);
            let place = kept.entry(instance.version.clone()).or_default();
            if *place < wanted {
                *place += 1;
            } else {
                let drain = chance.fork(&format!("drain/{}", now.0)).below(LONGEST_DRAIN);
                instance.leaves_at = Some(now.after(Span::seconds(drain + 1)));
            }
        }
        for (version, wanted) in &desired.versions {
            let known = self.known.entry(version.clone()).or_default();
            for _ in kept.get(version).copied().unwrap_or(0)..wanted.replicas {
                self.started += 1;
                let nature = natures.get(version).copied().unwrap_or(Nature::GOOD);
                let wait = chance.fork(&format!("start/{}", self.started)).below(nature.ready_after + 1);
                let mut instance = Instance::new(version, wanted, self.started);
                instance.start(&nature, now);
                if !nature.starts {
                    known.trouble = Some(instance.not_started());
                } else if nature.comes_up {
                    instance.ready_at = now.after(Span::seconds(wait + 1));
                }
                self.all.push(instance);
            }
        }
        self.forget(desired);
    }

    /// One second of their lives, which ends now; whether one that was ready is not any more.
    pub(super) fn second(
        &mut self,
        desired: Option<&Desired>,
        natures: &BTreeMap<String, Nature>,
        mut chance: Chance,
        now: Time,
    ) -> bool {
        let mut disturbed = false;
        for instance in self.all.iter_mut().filter(|instance| instance.leaves_at.is_none()) {
            let nature = natures.get(&instance.version).copied().unwrap_or(Nature::GOOD);
            let known = self.known.entry(instance.version.clone()).or_default();
            let was_ready = instance.ready_at <= now;
            instance.was_ready |= was_ready;
            let ends = instance.runs && nature.dies > 0 && chance.below(nature.dies) == 0;
            // One that can't be started is tried again every other second.
            let tried = !instance.runs && chance.below(2) == 0;
            if ends {
                (instance.failed, known.trouble) = (true, Some(instance.ended(now)));
            }
            if ends || tried {
                instance.start(&nature, now);
                instance.ready_at = NEVER;
                known.restarts = known.restarts.saturating_add(1);
                if !nature.starts {
                    known.trouble = Some(instance.not_started());
                }
            }
            if !nature.comes_up {
                instance.ready_at = NEVER;
            } else if instance.runs && instance.ready_at == NEVER {
                instance.ready_at = now.after(Span::seconds(1 + chance.below(nature.ready_after + 1)));
            }
            if was_ready && instance.ready_at > now {
                disturbed = true;
                if instance.was_ready {
                    known.trouble = Some(instance.waiting());
                }
            }
            instance.failed &= !instance.is_ready(now) && !instance.is_waiting(now);
        }
        self.all.retain(|instance| instance.leaves_at.is_none_or(|at| at > now));
        if let Some(desired) = desired {
            self.forget(desired);
        }
        disturbed
    }

    /// Drops what is known of versions that are neither desired nor there.
    fn forget(&mut self, desired: &Desired) {
        let all = &self.all;
        self.known.retain(|version, _| {
            desired.versions.contains_key(version) || all.iter().any(|instance| instance.version == *version)
        });
    }

    pub(super) fn ready(&self, version: &str, now: Time) -> u32 {
        let ready = self.all.iter().filter(|instance| instance.version == version && instance.is_ready(now));
        u32::try_from(ready.count()).unwrap_or(u32::MAX)
    }

    /// How many processes a version has.
    pub(super) fn running(&self, version: &str) -> u32 {
        let running = self.all.iter().filter(|instance| instance.version == version && instance.runs);
        u32::try_from(running.count()).unwrap_or(u32::MAX)
    }

    pub(super) fn observed(&self, now: Time) -> BTreeMap<String, ObservedVersion> {
        let seen = |(version, known): (&String, &Known)| {
            let observed = ObservedVersion {
                running: self.running(version),
                ready: self.ready(version, now),
                restarts: known.restarts,
                trouble: self.trouble(version, known, now),
            };
            (version.clone(), observed)
        };
        self.known.iter().map(seen).collect()
    }

    /// Of what went wrong, an end tells more than what another instance still waits for.
    fn trouble(&self, version: &str, known: &Known, now: Time) -> Option<Trouble> {
        let mut all = self.all.iter().filter(|one| one.version == version && one.leaves_at.is_none());
        let waiting = if all.clone().any(|one| one.failed) { None } else { all.find(|one| one.is_waiting(now)) };
        waiting.map(Instance::waiting).or_else(|| known.trouble.clone())
    }
}
