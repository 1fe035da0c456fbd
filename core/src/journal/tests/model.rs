//! Both journals answer alike, whatever comes.

use proptest::prelude::*;

use super::Dir;
use super::contract::{index, record, run};
use super::damage::everything;
use super::sqlite::open;
use crate::error::Kind;
use crate::journal::{Append, Journal, MemoryJournal, Reader, Record, StreamId};
use crate::time::Time;

/// Something that is done to a journal; sequence numbers, keys and ids are right or nearly so.
#[derive(Debug, Clone)]
enum Step {
    Append { parts: Vec<Part>, take: Option<usize> },
    Send { stream: u8 },
    Prune { stream: u8 },
    Reopen,
    Close,
}

#[derive(Debug, Clone)]
struct Part {
    stream: u8,
    off: u64,
    events: Vec<(i64, String)>,
    index: Option<(u8, bool)>,
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn stream(n: u8) -> StreamId {
    NAMES.get(usize::from(n)).map_or_else(|| StreamId::service("s").unwrap(), |id| run(id))
}

fn part() -> impl Strategy<Value = Part> {
    let off = prop_oneof![20 => Just(0_u64), 1 => Just(1)];
    let body = prop_oneof![20 => "[a-z]{0,30}", 1 => Just("\"".to_owned())];
    let events = proptest::collection::vec((0_i64..50, body), 0..4);
    let index = proptest::option::of((prop_oneof![10 => Just(99_u8), 1 => 0_u8..5], any::<bool>()));
    (0_u8..6, off, events, index).prop_map(|(stream, off, mut events, index)| {
        events.sort();
        Part { stream, off, events, index }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (proptest::collection::vec(part(), 0..4), proptest::option::weighted(0.2, 0_usize..3))
            .prop_map(|(parts, take)| Step::Append { parts, take }),
        2 => (0_u8..6).prop_map(|stream| Step::Send { stream }),
        2 => (0_u8..6).prop_map(|stream| Step::Prune { stream }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Close),
    ]
}

/// Does an append; times rise with `now`, so that most are taken.
fn append(journal: &mut dyn Journal, parts: &[Part], take: Option<usize>, now: i64) -> Result<(), Kind> {
    let appends = parts.iter().map(|part| {
        let id = stream(part.stream);
        let events: Vec<Record> = part.events.iter().map(|(at, text)| record(now + at, text)).collect();
        let index = part.index.map(|(key, finished)| {
            let key = if key == 99 { part.stream } else { key };
            index(NAMES.get(usize::from(key)).unwrap_or(&"s"), i64::from(key), finished)
        });
        Append { index, ..Append::new(id.clone(), journal.head(&id).unwrap() + part.off, events) }
    });
    let appends = appends.collect();
    let took: Vec<u64> =
        take.map(|at| journal.inbox().unwrap().get(at).map_or(4_711, |item| item.id)).into_iter().collect();
    journal.append(appends, &took).map_err(|e| e.kind())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_sqlite_are_one(steps in proptest::collection::vec(step(), 1..40)) {
        let dir = Dir::new("model");
        let path = dir.0.join("x.db");
        let mut memory = MemoryJournal::new();
        let mut disk = open(&path).unwrap();
        for (n, step) in (0_i64..).zip(&steps) {
            match step {
                Step::Append { parts, take } => prop_assert_eq!(
                    append(&mut memory, parts, *take, n * 20),
                    append(&mut disk, parts, *take, n * 20),
                    "{:?}", step
                ),
                Step::Send { stream: to } => prop_assert_eq!(
                    memory.send(&stream(*to), Time(n), b"{}").unwrap(),
                    Reader::open(&path).unwrap().send(&stream(*to), Time(n), b"{}").unwrap()
                ),
                Step::Prune { stream: of } => prop_assert_eq!(
                    memory.prune(&stream(*of)).map_err(|e| e.kind()),
                    disk.prune(&stream(*of)).map_err(|e| e.kind())
                ),
                Step::Reopen | Step::Close => {
                    if matches!(step, Step::Close) {
                        Box::new(disk).close().unwrap();
                    } else {
                        drop(disk);
                    }
                    memory = memory.reopen();
                    disk = open(&path).unwrap();
                    prop_assert_eq!(memory.epoch(), disk.epoch());
                }
            }
            prop_assert_eq!(everything(&mut memory).unwrap(), everything(&mut disk).unwrap());
        }
        let (memory, disk) = (memory.verify().unwrap(), disk.verify().unwrap());
        prop_assert!(memory.is_sound(), "{:?}", memory);
        prop_assert_eq!(memory, disk);
    }
}
