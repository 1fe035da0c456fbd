//! Damage is found, named, and never read as truth.

use std::fs;
use std::path::Path;

use super::Dir;
use super::contract::{index, record, run, started};
use super::sqlite::open;
use crate::error::Kind;
use crate::journal::{
    Append, DamageKind, Durability, InboxItem, Journal, OpenOptions, Reader, RunEntry, SqliteJournal, Stored, StreamId,
};
use crate::time::{Chance, Time, VirtualClock};

/// All that can be read of a journal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Everything {
    streams: Vec<Option<Vec<Stored>>>,
    runs: Vec<RunEntry>,
    unfinished: Vec<RunEntry>,
    found: Vec<Option<StreamId>>,
    services: Vec<StreamId>,
    inbox: Vec<InboxItem>,
    last: Time,
}

pub(super) fn everything(journal: &mut dyn Journal) -> crate::error::Result<Everything> {
    let streams = ["a", "b", "c", "d", "e"].iter().map(|id| match journal.read(&run(id)) {
        Ok(stored) => Ok(Some(stored)),
        Err(e) if e.kind() == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    });
    let streams = streams.collect::<crate::error::Result<_>>()?;
    let found = ["a", "b", "c", "d", "e"].iter().map(|key| journal.find_run("p", key));
    Ok(Everything {
        streams,
        found: found.collect::<crate::error::Result<_>>()?,
        runs: journal.runs(100)?,
        unfinished: journal.unfinished()?,
        services: journal.services()?,
        inbox: journal.inbox()?,
        last: journal.last_time(),
    })
}

/// A journal with a bit of everything; not closed, so that its log holds the latest commits.
fn fill(path: &Path, chance: &mut Chance, commits: u64) -> SqliteJournal {
    let mut journal = open(path).unwrap();
    let ids = ["a", "b", "c", "d"];
    for (at, id) in (0..).zip(ids) {
        journal.append(vec![started(id, at)], &[]).unwrap();
    }
    for at in 0..commits {
        let id = run(ids[usize::try_from(chance.below(4)).unwrap()]);
        let head = journal.head(&id).unwrap();
        let count = 1 + chance.below(3);
        let text = "x".repeat(usize::try_from(chance.below(600)).unwrap());
        let events = (0..count).map(|_| record(100 + i64::try_from(at).unwrap(), &text)).collect();
        journal.append(vec![Append::new(id, head, events)], &[]).unwrap();
    }
    let head = journal.head(&run("d")).unwrap();
    let end = Append { index: Some(index("d", 3, true)), ..Append::new(run("d"), head, vec![record(9_000, "end")]) };
    journal.append(vec![end, Append::new(StreamId::service("s").unwrap(), 0, vec![record(1, "s")])], &[]).unwrap();
    journal.prune(&run("d")).unwrap();
    Reader::open(path).unwrap().send(&run("a"), Time(5), b"{\"cancel\":1}").unwrap();
    journal
}

/// Copies the files of a journal to another folder, but for SQLite's shared memory, which is of no use to others.
pub(super) fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        if !entry.file_name().to_str().unwrap().ends_with("-shm") && entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn a_flipped_bit_is_never_read_as_truth() {
    let (dir, mut chance) = (Dir::new("flip"), Chance(7));
    let (good, bad) = (dir.0.join("good"), dir.0.join("bad"));
    fs::create_dir_all(&good).unwrap();
    Box::new(fill(&good.join("x.db"), &mut chance, 25)).close().unwrap();
    let truth = everything(&mut open(&good.join("x.db")).unwrap()).unwrap();
    // The opening has added a commit; what is compared does not depend on it.
    Box::new(open(&good.join("x.db")).unwrap()).close().unwrap();
    let bytes = fs::read(good.join("x.db")).unwrap();
    let mut refused = 0;
    for round in 0..400 {
        copy(&good, &bad);
        // Every byte of the header, then anywhere.
        let at = if round < 100 { round } else { usize::try_from(chance.below(bytes.len() as u64)).unwrap() };
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << chance.below(8);
        fs::write(bad.join("x.db"), &flipped).unwrap();
        // As if the journal were too large to be checked in full, every other time.
        let mut options = OpenOptions::new();
        if round % 2 == 1 {
            options.full_check = 0;
        }
        let opened = options.open(&bad.join("x.db"), Durability::Relaxed, &VirtualClock::default());
        match opened.and_then(|mut journal| everything(&mut journal)) {
            Ok(found) => assert_eq!(found, truth, "byte {at}"),
            Err(e) => {
                // A changed version of the layout may be a later one's.
                let may_be_later = (60..64).contains(&at) && e.kind() == Kind::Unsupported;
                assert!(e.kind() == Kind::Corrupt || may_be_later, "byte {at}: {e}");
                refused += 1;
            }
        }
    }
    assert!(refused > 50, "only {refused} were refused");
}

#[test]
fn a_bit_in_an_event_refuses_the_opening_and_verify_names_it() {
    let dir = Dir::new("event");
    let path = dir.0.join("x.db");
    let mut journal = open(&path).unwrap();
    let events = (0..5).map(|n| record(n, &format!("needle-{n}"))).collect();
    journal.append(vec![Append::new(run("a"), 0, events)], &[]).unwrap();
    Box::new(journal).close().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(8).position(|window| window == b"needle-2").unwrap();
    bytes[at] ^= 4;
    fs::write(&path, &bytes).unwrap();
    let error = open(&path).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("stream: run/a, seq: 3"), "{error}");
    let found = Reader::open(&path).unwrap().verify().unwrap();
    assert_eq!((found.damages[0].kind, found.damages[0].seq), (DamageKind::Changed, Some(3)));
    assert_eq!(found.damages.len(), 1);
}

#[test]
fn a_log_that_lost_its_end_is_refused() {
    let (dir, mut chance) = (Dir::new("wal"), Chance(11));
    let (good, bad) = (dir.0.join("good"), dir.0.join("bad"));
    fs::create_dir_all(&good).unwrap();
    let journal = fill(&good.join("x.db"), &mut chance, 20);
    // Dropped and not closed, as by a crash.
    drop(journal);
    copy(&good, &bad);
    let length = fs::metadata(good.join("x.db-wal")).unwrap().len();
    let truth = everything(&mut open(&bad.join("x.db")).unwrap()).unwrap();
    assert!(truth.streams.iter().flatten().map(Vec::len).sum::<usize>() > 20);
    let mut cut = vec![0, 1, 31, 32, length - 1];
    cut.extend((0..40).map(|_| chance.below(length)));
    let mut whole = 0;
    for (at, flips) in cut.iter().flat_map(|at| [(*at, false), (*at, true)]) {
        copy(&good, &bad);
        let log = bad.join("x.db-wal");
        if flips {
            let mut bytes = fs::read(&log).unwrap();
            bytes[usize::try_from(at).unwrap()] ^= 1 << chance.below(8);
            fs::write(&log, bytes).unwrap();
        } else {
            fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(at).unwrap();
        }
        match open(&bad.join("x.db")) {
            // Only the command in the inbox, which the chain of commits does not hold, was in the part that is lost.
            Ok(mut journal) => {
                whole += 1;
                let found = everything(&mut journal).unwrap();
                assert_eq!(Everything { inbox: truth.inbox.clone(), ..found }, truth, "at {at}, flips: {flips}");
            }
            Err(e) => assert_eq!(e.kind(), Kind::Corrupt, "at {at}, flips: {flips}: {e}"),
        }
    }
    assert!(whole < 20, "{whole} were not refused");
}

#[test]
fn each_damage_in_the_tables_is_named() {
    use DamageKind::{Changed, Commit, Database, Head, Index, Missing, Reordered, Unexpected};
    let dir = Dir::new("named");
    let (good, bad) = (dir.0.join("good"), dir.0.join("bad"));
    fs::create_dir_all(&good).unwrap();
    let mut journal = open(&good.join("x.db")).unwrap();
    let events = (0..6).map(|n| record(n, &n.to_string())).collect();
    let first = Append { index: Some(index("a", 0, false)), ..Append::new(run("a"), 0, events) };
    journal.append(vec![first, Append::new(run("b"), 0, vec![record(1, "b")])], &[]).unwrap();
    Box::new(journal).close().unwrap();
    for (sql, kind, stream, seq) in [
        ("UPDATE events SET at = at + 1 WHERE seq = 4", Changed, Some("a"), Some(4)),
        ("DELETE FROM events WHERE stream = 'run/a' AND seq = 2", Missing, Some("a"), Some(2)),
        ("DELETE FROM events WHERE stream = 'run/a' AND seq > 4", Missing, Some("a"), Some(5)),
        (
            "UPDATE events SET seq = 99 WHERE stream = 'run/a' AND seq = 2; \
             UPDATE events SET seq = 2 WHERE stream = 'run/a' AND seq = 5; \
             UPDATE events SET seq = 5 WHERE stream = 'run/a' AND seq = 99",
            Reordered,
            Some("a"),
            Some(2),
        ),
        (
            "DELETE FROM events WHERE stream = 'run/b'; DELETE FROM streams WHERE stream = 'run/b'",
            Missing,
            Some("b"),
            Some(1),
        ),
        (
            "DELETE FROM events WHERE stream = 'run/b'; UPDATE streams SET pruned = 1 WHERE stream = 'run/b'",
            Head,
            Some("b"),
            Some(1),
        ),
        ("DELETE FROM streams WHERE stream = 'run/b'", Unexpected, Some("b"), Some(1)),
        ("UPDATE runs SET status = 'succeeded'", Database, None, None),
        ("DELETE FROM runs", Index, Some("a"), None),
        ("UPDATE commits SET body = '{}' WHERE no = 2".replace("'{}'", "x'7b7d'").as_str(), Commit, None, Some(2)),
        ("DELETE FROM commits WHERE no = 2", Missing, None, Some(2)),
        ("UPDATE meta SET value = 7", Database, None, None),
    ] {
        copy(&good, &bad);
        let journal = open(&bad.join("x.db")).unwrap();
        journal.sql(sql);
        drop(journal);
        let found = Reader::open(&bad.join("x.db")).unwrap().verify().unwrap();
        let stream = stream.map(run);
        let hit = found.damages.iter().any(|d| (d.kind, &d.stream, d.seq) == (kind, &stream, seq));
        assert!(hit, "{sql}: {:?}", found.damages);
        assert_eq!(open(&bad.join("x.db")).unwrap_err().kind(), Kind::Corrupt, "{sql}");
    }
}

#[test]
fn a_damaged_outer_head_hinders_driving_and_not_reading() {
    let dir = Dir::new("outer");
    let path = dir.0.join("x.db");
    let mut journal = open(&path).unwrap();
    journal.append(vec![started("a", 1)], &[]).unwrap();
    Box::new(journal).close().unwrap();
    for missing in [false, true] {
        if missing {
            fs::remove_file(dir.0.join("x.db.head")).unwrap();
        } else {
            fs::write(dir.0.join("x.db.head"), [7; 5_000]).unwrap();
        }
        let error = open(&path).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.help_text().unwrap().contains("accept_missing_head"));
        let mut reader = Reader::open(&path).unwrap();
        assert_eq!(reader.read(&run("a"), 0, 9).unwrap().len(), 2);
        let damages = reader.verify().unwrap().damages;
        assert_eq!(damages.iter().map(|damage| damage.kind).collect::<Vec<_>>(), [DamageKind::Head]);
    }
}

#[test]
fn a_relaxed_tail_may_be_lost_with_the_machine_only() {
    let dir = Dir::new("relaxed");
    let (good, bad) = (dir.0.join("good"), dir.0.join("bad"));
    fs::create_dir_all(&good).unwrap();
    let mut journal = open(&good.join("x.db")).unwrap();
    journal.append(vec![started("a", 1)], &[]).unwrap();
    drop(journal);
    for (durability, boot, kind) in [
        (Durability::Relaxed, "another start of the machine", None),
        (Durability::Full, "another start of the machine", Some(Kind::Corrupt)),
        (Durability::Relaxed, "", Some(Kind::Corrupt)),
    ] {
        copy(&good, &bad);
        let path = bad.join("x.db.head");
        let slot = crate::journal::files::HeadFile::read(&path).unwrap().unwrap();
        let no = slot.no + 3;
        let slot = crate::journal::files::Slot { durability, boot: boot.to_owned(), no, ..slot };
        crate::journal::files::HeadFile::open(&path, &slot).unwrap().write(&slot).unwrap();
        match (open(&bad.join("x.db")), kind) {
            (Err(e), Some(kind)) => assert_eq!(e.kind(), kind),
            (Ok(journal), None) => {
                let lost = journal.lost_tail().unwrap();
                assert_eq!((lost.last, lost.acknowledged), (no - 3, no));
                drop(journal);
                // It is reported once.
                assert_eq!(open(&bad.join("x.db")).unwrap().lost_tail(), None);
            }
            (result, _) => panic!("{durability:?} {boot}: {result:?}"),
        }
    }
}

#[test]
fn a_large_journal_is_checked_where_a_driver_would_be_misled() {
    let dir = Dir::new("large");
    let (good, bad) = (dir.0.join("good"), dir.0.join("bad"));
    fs::create_dir_all(&good).unwrap();
    let mut journal = open(&good.join("x.db")).unwrap();
    let done =
        Append { index: Some(index("b", 9, true)), ..Append::new(run("b"), 0, vec![record(1, "b"), record(1, "c")]) };
    journal.append(vec![started("a", 1), done], &[]).unwrap();
    Reader::open(&good.join("x.db")).unwrap().send(&run("a"), Time(5), b"1").unwrap();
    Box::new(journal).close().unwrap();
    let mut options = OpenOptions::new();
    options.full_check = 0;
    for (sql, refused) in [
        ("UPDATE runs SET key = 'other' WHERE stream = 'run/b'", true),
        ("UPDATE runs SET finished = 1 WHERE stream = 'run/a'", true),
        ("UPDATE inbox SET body = x'32'", true),
        ("UPDATE commits SET hash = body WHERE no = 2", true),
        ("UPDATE events SET body = x'31' WHERE stream = 'run/a' AND seq = 1", true),
        ("UPDATE streams SET seq = 1 WHERE stream = 'run/b'", true),
        ("DELETE FROM events WHERE stream = 'run/b'", true),
        // Not looked at until it is read: the inside of a finished run.
        ("UPDATE events SET body = x'31' WHERE stream = 'run/b' AND seq = 1", false),
    ] {
        copy(&good, &bad);
        let path = bad.join("x.db");
        let journal = open(&path).unwrap();
        journal.sql(sql);
        drop(journal);
        match options.open(&path, Durability::Relaxed, &VirtualClock::default()) {
            Err(e) => assert!(refused && e.kind() == Kind::Corrupt, "{sql}: {e}"),
            Ok(mut journal) => {
                assert!(!refused, "{sql}");
                assert_eq!(journal.read(&run("b")).unwrap_err().kind(), Kind::Corrupt);
            }
        }
    }
}
