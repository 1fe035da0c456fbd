//! `schedules [--seconds N] [--schedules N] [--seed S]`: random stories from consecutive seeds, checked, until the time
//! or their number is over. Of a story that breaks a promise the seed is told, and the smallest one like it that does.
#![expect(clippy::print_stdout, reason = "what it found is what it is for")]

mod check;
mod random;
mod shrink;
#[path = "../../../core/tests/simulation/stories.rs"]
#[expect(dead_code, reason = "some are for the tests of the core alone")]
mod stories;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use tidegate::simulate::Story;

use crate::check::Checked;

/// Seeds whose stories once broke a promise, a line each.
const KEPT: &str = include_str!("../kept-seeds");
/// One story in so many is a rollout: it takes as long as twenty of the others.
const ROLLOUTS: u64 = 10;

/// Tells random pipelines and rollouts with random faults, and checks what must hold in every one of them.
#[derive(Parser)]
#[command(name = "tests/simulate")]
struct Asked {
    /// For how long; 60 unless a number of schedules or a seed is given.
    #[arg(long)]
    seconds: Option<u64>,
    /// How many, the kept ones not counted.
    #[arg(long)]
    schedules: Option<u64>,
    /// The first seed. Alone, only its own story is told. By default another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// Tells the events of the first seed's story as well.
    #[arg(long)]
    events: bool,
}

/// A story of a kind and a seed, and how it is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pipeline,
    Rollout,
}

impl Kind {
    fn of(seed: u64) -> Kind {
        if seed.is_multiple_of(ROLLOUTS) { Kind::Rollout } else { Kind::Pipeline }
    }

    fn story(self, seed: u64) -> Story {
        match self {
            Kind::Pipeline => random::pipeline_story(seed),
            Kind::Rollout => random::rollout_story(seed),
        }
    }

    /// A panic is a broken promise as well.
    fn check(self, story: &Story) -> Checked {
        let check = || match self {
            Kind::Pipeline => check::pipeline(story),
            Kind::Rollout => check::rollout(story),
        };
        catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(format!("it panicked: {}", text.unwrap_or("without a word")))
        })
    }
}

/// What was found.
#[derive(Default)]
struct Found {
    ends: BTreeMap<String, u64>,
    broken: Vec<(u64, String)>,
}

fn kept() -> impl Iterator<Item = u64> {
    KEPT.lines().filter_map(|line| line.split('#').next()?.trim().parse().ok())
}

/// Tells the stories of these seeds on as many threads as there are cores, until one is broken or the time is over.
fn tell(seeds: &(dyn Fn(u64) -> Option<u64> + Sync), until: Option<Instant>) -> Found {
    let (next, found) = (AtomicU64::new(0), Mutex::new(Found::default()));
    let work = || {
        let mut ends: BTreeMap<String, u64> = BTreeMap::new();
        while let Some(seed) = seeds(next.fetch_add(1, Ordering::Relaxed)) {
            if until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
            let kind = Kind::of(seed);
            match kind.check(&kind.story(seed)) {
                Ok(end) => *ends.entry(end).or_default() += 1,
                Err(what) => {
                    let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    found.broken.push((seed, what));
                    // A few are enough to see what they have in common.
                    next.fetch_add(u64::MAX / 2, Ordering::Relaxed);
                }
            }
        }
        let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (end, count) in ends {
            *found.ends.entry(end).or_default() += count;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn report(found: &Found) {
    for (seed, what) in &found.broken {
        println!("seed {seed}: {what}");
        let kind = Kind::of(*seed);
        // The same promise, and not another one that a smaller story may break.
        let class = |what: &str| what.split(':').next().unwrap_or_default().to_owned();
        let same = |story: &Story| kind.check(story).is_err_and(|found| class(&found) == class(what));
        let least = shrink::shrink(kind.story(*seed), same);
        let what = kind.check(&least).err().unwrap_or_default();
        println!("  the smallest story like it: {what}");
        for chapter in &least.chapters {
            let pipeline = serde_json::to_string(&chapter.pipeline).unwrap_or_default();
            println!("    run {}: {pipeline}", chapter.key);
            println!(
                "      {:?}, said {:?}, losses {:?}, {:?}",
                chapter.person, chapter.said, chapter.losses, chapter.scripts
            );
        }
        println!("    {} requests a second, {:?}, {:?}", least.rate, least.natures, least.faults);
        println!("  again: tests/simulate --seed {seed}; once mended, keep {seed} in tests/schedules/kept-seeds");
    }
}

fn main() -> ExitCode {
    let asked = Asked::parse();
    if asked.events {
        let seed = asked.seed.unwrap_or_default();
        match Kind::of(seed).story(seed).tell() {
            Ok(end) => println!("{}", String::from_utf8_lossy(&end.events)),
            Err(error) => println!("{error}"),
        }
    }
    // A broken promise is told once, and not at each step of making it smaller.
    #[expect(clippy::disallowed_methods, reason = "this program is ours alone")]
    std::panic::set_hook(Box::new(|_| {}));
    let known: Vec<u64> = kept().collect();
    let alone = asked.seed.filter(|_| asked.seconds.is_none() && asked.schedules.is_none());
    let first =
        asked.seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() * 1_000_000));
    let limit = match (alone, asked.schedules) {
        (Some(_), _) => 1,
        (None, Some(schedules)) => schedules,
        (None, None) => u64::MAX / 4,
    };
    let seconds = asked.seconds.or((limit == u64::MAX / 4).then_some(60));
    let began = Instant::now();
    let until = seconds.map(|seconds| began + Duration::from_secs(seconds));
    let mut found = tell(&|i| known.get(usize::try_from(i).ok()?).copied(), None);
    if found.broken.is_empty() {
        found = tell(&|i| (i < limit).then(|| first.wrapping_add(i)), until);
    }
    report(&found);
    let told: u64 = found.ends.values().sum();
    let seconds = began.elapsed().as_secs_f64();
    println!("{told} schedules from seed {first} in {seconds:.1} s, {} broken: {:?}", found.broken.len(), found.ends);
    if found.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use tidegate::pipeline::RunStatus;
    use tidegate::simulate::{End, ServiceEnd};

    use super::*;

    #[test]
    fn the_same_story_twice_gives_the_same_events_byte_for_byte() {
        for seed in 0..24 {
            let story = Kind::of(seed).story(seed);
            let (first, again) = (story.tell().unwrap(), story.tell().unwrap());
            assert!(!first.events.is_empty());
            assert!(first.events == again.events, "seed {seed}");
        }
        assert_ne!(random::rollout_story(1).tell().unwrap().events, random::rollout_story(2).tell().unwrap().events);
    }

    /// A story that holds, and then each promise of its end broken by hand.
    #[test]
    fn each_broken_promise_is_found() {
        let story = (0..)
            .map(|i| Kind::Rollout.story(i * ROLLOUTS))
            .find(|story| Kind::Rollout.check(story).is_ok_and(|end| end == "rolled_back"));
        let story = story.unwrap();
        type Breaks = fn(&mut End);
        let broken: [(&str, Breaks); 6] = [
            ("a rule was broken", |end| end.broken.push("two at once".to_owned())),
            ("left running", |end| end.left.push("r/s0".to_owned())),
            ("a run neither ended", |end| end.runs[0].status = RunStatus::Running),
            ("the service is gone", |end| drop(end.services.remove("shop"))),
            ("the service is still held", |end| shop(end).held = Some("r".to_owned())),
            ("rolled_back: (", |end| shop(end).weights.extend([("v2".to_owned(), 1)])),
        ];
        for (says, breaks) in broken {
            let mut end = story.tell().unwrap();
            assert_eq!(check::ended_rollout(&story, &end).as_deref(), Ok("rolled_back"));
            breaks(&mut end);
            let said = check::ended_rollout(&story, &end).unwrap_err();
            assert!(said.starts_with(says), "{says}: {said}");
        }
    }

    fn shop(end: &mut End) -> &mut ServiceEnd {
        end.services.get_mut("shop").unwrap()
    }
}
