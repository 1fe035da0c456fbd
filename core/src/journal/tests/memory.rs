//! What only a journal in memory does.

use super::contract::{Bench, record, run, started, suite, texts};
use crate::error::Kind;
use crate::journal::{Append, Journal, MemoryJournal, Mishap, StreamId};
use crate::time::Time;

struct InMemory(MemoryJournal);

impl Bench for InMemory {
    fn open(&mut self) -> Box<dyn Journal> {
        Box::new(self.0.reopen())
    }

    fn send(&mut self, stream: &StreamId, at: Time, body: &[u8]) -> u64 {
        self.0.send(stream, at, body).unwrap()
    }
}

#[test]
fn memory_keeps_the_contract() {
    suite(&mut InMemory(MemoryJournal::new()));
}

#[test]
fn a_later_driver_fences_off_an_older_one() {
    let mut old = MemoryJournal::new();
    old.append(vec![started("a", 1)], &[]).unwrap();
    let mut new = old.reopen();
    let error = old.append(vec![Append::new(run("a"), 2, vec![record(9, "x")])], &[]).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.message().contains("fenced off by epoch 2"), "{error}");
    assert_eq!(new.read(&run("a")).unwrap().len(), 2);
}

#[test]
fn a_snapshot_is_a_world_of_its_own() {
    let mut first = MemoryJournal::new();
    first.append(vec![started("a", 1)], &[]).unwrap();
    let mut second = first.snapshot();
    first.append(vec![Append::new(run("a"), 2, vec![record(5, "first")])], &[]).unwrap();
    second.append(vec![Append::new(run("a"), 2, vec![record(6, "second")])], &[]).unwrap();
    assert_eq!(texts(&first.read(&run("a")).unwrap())[2].1, 5);
    assert_eq!(texts(&second.read(&run("a")).unwrap())[2].1, 6);
    assert!(first.verify().unwrap().is_sound() && second.verify().unwrap().is_sound());
}

#[test]
fn mishaps_come_as_planned() {
    let mut journal = MemoryJournal::new();
    let next = |journal: &MemoryJournal, way_back| {
        let head = journal.head(&run("a")).unwrap();
        vec![Append { way_back, ..Append::new(run("a"), head, vec![record(1, "x")]) }]
    };
    for (mishap, way_back, reserved, ok, written) in [
        (Mishap::Lost, true, true, false, 0),
        (Mishap::Unacknowledged, false, false, false, 1),
        (Mishap::Full, false, true, false, 0),
        (Mishap::Full, true, true, true, 1),
        // The reserve is gone now.
        (Mishap::Full, true, false, false, 0),
    ] {
        if reserved {
            journal.reserve().unwrap();
        }
        let before = journal.head(&run("a")).unwrap();
        journal.fail_next(mishap);
        let appends = next(&journal, way_back);
        assert_eq!(journal.append(appends, &[]).is_ok(), ok, "{mishap:?}");
        assert_eq!(journal.head(&run("a")).unwrap(), before + written, "{mishap:?}");
    }
    let appends = next(&journal, false);
    journal.append(appends, &[]).unwrap();
    assert!(journal.verify().unwrap().is_sound());
}
