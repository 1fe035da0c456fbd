//! What only a journal on disk does: one driver, readers, what lies beside it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Dir;
use super::contract::{Bench, record, run, started, suite, texts};
use crate::error::Kind;
use crate::journal::{
    Append, DamageKind, Durability, Journal, MAX_WAITING, OpenOptions, Reader, SqliteJournal, StreamId,
};
use crate::time::{Time, VirtualClock};

pub(super) fn open(path: &Path) -> crate::error::Result<SqliteJournal> {
    open_as(path, Durability::Relaxed)
}

pub(super) fn open_as(path: &Path, durability: Durability) -> crate::error::Result<SqliteJournal> {
    SqliteJournal::open(path, durability, &VirtualClock::new(Time(1_000)))
}

struct OnDisk(PathBuf, Durability);

impl Bench for OnDisk {
    fn open(&mut self) -> Box<dyn Journal> {
        Box::new(open_as(&self.0, self.1).unwrap())
    }

    fn send(&mut self, stream: &StreamId, at: Time, body: &[u8]) -> u64 {
        Reader::open(&self.0).unwrap().send(stream, at, body).unwrap()
    }
}

#[test]
fn sqlite_keeps_the_contract() {
    for durability in [Durability::Full, Durability::Relaxed] {
        let dir = Dir::new("contract");
        suite(&mut OnDisk(dir.0.join("x.db"), durability));
    }
}

#[test]
fn has_one_driver() {
    let dir = Dir::new("one");
    let path = dir.0.join("x.db");
    let mut journal = open(&path).unwrap();
    let error = open(&path).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.is_retryable() && error.to_string().contains(&format!("pid: {}", std::process::id())), "{error}");
    assert_eq!(Reader::open(&path).unwrap().driver().unwrap().pid, std::process::id());
    // The one that is refused has changed nothing.
    journal.append(vec![started("a", 1)], &[]).unwrap();
    // As a driver would that got past the lock.
    journal.sql("UPDATE meta SET value = 99 WHERE name = 'epoch'");
    let error = journal.append(vec![Append::new(run("a"), 2, vec![record(9, "x")])], &[]).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.message().contains("fenced off by epoch 99"), "{error}");
    assert_eq!(journal.head(&run("a")).unwrap(), 2);
    Box::new(journal).close().unwrap();
    assert_eq!(Reader::open(&path).unwrap().driver(), None);
}

#[test]
fn is_of_no_use_in_a_forked_child() {
    let dir = Dir::new("fork");
    let mut journal = open(&dir.0.join("x.db")).unwrap();
    journal.append(vec![started("a", 1)], &[]).unwrap();
    journal.pretend_forked();
    let append = Append::new(run("a"), 2, vec![record(9, "x")]);
    assert_eq!(journal.append(vec![append], &[]).unwrap_err().kind(), Kind::Busy);
    assert!(journal.read(&run("a")).unwrap_err().help_text().unwrap().contains("after the fork"));
    assert_eq!(journal.inbox().unwrap_err().kind(), Kind::Busy);
    assert_eq!(Box::new(journal).close().unwrap_err().kind(), Kind::Busy);
}

#[test]
fn files_are_the_owners_alone() {
    let dir = Dir::new("mode");
    let path = dir.0.join("x.db");
    let mut journal = open(&path).unwrap();
    journal.append(vec![started("a", 1)], &[]).unwrap();
    journal.reserve().unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(&dir.0).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.path());
        seen += 1;
    }
    // Database, log, its index, lock, head, reserve.
    assert_eq!(seen, 6);
}

#[test]
fn foreign_files_are_left_alone() {
    let dir = Dir::new("foreign");
    let text = dir.0.join("text");
    fs::write(&text, "x".repeat(5_000)).unwrap();
    let other = dir.0.join("other.db");
    let conn = rusqlite::Connection::open(&other).unwrap();
    conn.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
    conn.close().unwrap();
    for path in [&text, &other] {
        let before = fs::read(path).unwrap();
        assert_eq!(open(path).unwrap_err().kind(), Kind::Invalid, "{path:?}");
        assert_eq!(Reader::open(path).unwrap_err().kind(), Kind::Invalid, "{path:?}");
        assert_eq!(fs::read(path).unwrap(), before);
    }
    assert_eq!(Reader::open(&dir.0.join("none.db")).unwrap_err().kind(), Kind::NotFound);
    assert!(!dir.0.join("none.db").exists());
    assert_eq!(open(&dir.0.join("no/such/folder.db")).unwrap_err().kind(), Kind::Io);
    assert_eq!(open_as(&dir.0.join("m.db"), Durability::Memory).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_later_version_is_refused() {
    let dir = Dir::new("later");
    let path = dir.0.join("x.db");
    Box::new(open(&path).unwrap()).close().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[63] = 2;
    fs::write(&path, &bytes).unwrap();
    for head in [true, false] {
        if !head {
            fs::remove_file(dir.0.join("x.db.head")).unwrap();
        }
        for error in [open(&path).unwrap_err(), Reader::open(&path).unwrap_err()] {
            assert_eq!(error.kind(), Kind::Unsupported);
            assert!(error.to_string().contains("found: 2, known: 1"), "{error}");
            assert!(error.help_text().unwrap().contains("the version of tidegate that wrote it"), "{error}");
        }
    }
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_missing_head_is_accepted_only_on_request() {
    let dir = Dir::new("headless");
    let path = dir.0.join("x.db");
    let mut journal = open(&path).unwrap();
    journal.append(vec![started("a", 1)], &[]).unwrap();
    drop(journal);
    fs::remove_file(dir.0.join("x.db.head")).unwrap();
    let error = open(&path).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.help_text().unwrap().contains("accept_missing_head"), "{error}");
    let options = OpenOptions::new().accept_missing_head(true);
    let mut journal = options.open(&path, Durability::Full, &VirtualClock::default()).unwrap();
    assert_eq!(journal.read(&run("a")).unwrap().len(), 2);
    drop(journal);
    assert_eq!(open(&path).unwrap().head(&run("a")).unwrap(), 2);
    // A database that is gone is not begun anew either.
    for gone in ["x.db", "x.db-wal", "x.db-shm"] {
        fs::remove_file(dir.0.join(gone)).unwrap();
    }
    assert_eq!(open(&path).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn a_creation_that_was_cut_off_is_begun_again() {
    let dir = Dir::new("cut");
    let path = dir.0.join("x.db");
    let whole = dir.0.join("whole.db");
    drop(open(&whole).unwrap());
    // The outer head is the first thing that is made, then the empty file.
    for files in [vec!["x.db"], vec!["x.db.head", "x.db"], vec!["x.db.head"]] {
        for file in fs::read_dir(&dir.0).unwrap().map(|entry| entry.unwrap().path()) {
            if file.file_name().unwrap().to_str().unwrap().starts_with("x.db") {
                fs::remove_file(file).unwrap();
            }
        }
        for file in &files {
            fs::write(dir.0.join(file), b"").unwrap();
        }
        if files.contains(&"x.db.head") {
            fs::remove_file(dir.0.join("x.db.head")).unwrap();
            let none = crate::journal::files::Slot {
                durability: Durability::Full,
                boot: String::new(),
                epoch: 0,
                no: 0,
                hash: crate::journal::chain::Digest::ZERO,
            };
            crate::journal::files::HeadFile::open(&dir.0.join("x.db.head"), &none).unwrap();
        }
        let mut journal = open(&path).unwrap();
        journal.append(vec![started("a", 1)], &[]).unwrap();
        assert!(journal.verify().unwrap().is_sound());
    }
}

#[test]
fn a_reader_follows_a_run_while_it_is_driven() {
    let dir = Dir::new("reader");
    let path = dir.0.join("x.db");
    let mut journal = open(&path).unwrap();
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(reader.read(&run("a"), 0, 10).unwrap(), []);
    journal.append(vec![started("a", 1)], &[]).unwrap();
    let mut seen = reader.read(&run("a"), 0, 1).unwrap();
    seen.extend(reader.read(&run("a"), 1, 10).unwrap());
    journal.append(vec![Append::new(run("a"), 2, vec![record(5, "c")])], &[]).unwrap();
    seen.extend(reader.read(&run("a"), 2, 10).unwrap());
    assert_eq!(texts(&seen), texts(&journal.read(&run("a")).unwrap()));
    assert_eq!(reader.read(&run("a"), 3, 10).unwrap(), []);
    assert_eq!(reader.head(&run("a")).unwrap(), 3);
    assert_eq!(reader.find_run("p", "a").unwrap(), Some(run("a")));
    assert_eq!(reader.entries(9).unwrap(), journal.runs(9).unwrap());
    assert!(reader.verify().unwrap().is_sound());
    let id = reader.send(&run("a"), Time(7), b"{}").unwrap();
    assert!(reader.waits(id).unwrap());
    assert_eq!(journal.inbox().unwrap().len(), 1);
    journal.append(vec![], &[id]).unwrap();
    assert!(!reader.waits(id).unwrap());
    // The inbox is bounded.
    let other = rusqlite::Connection::open(&path).unwrap();
    for _ in 0..MAX_WAITING {
        other.execute("INSERT INTO inbox (stream, at, body, sum) VALUES ('run/a', 1, x'31', x'00')", []).unwrap();
    }
    let error = reader.send(&run("a"), Time(7), b"{}").unwrap_err();
    assert!(error.kind() == Kind::Busy && error.is_retryable());
    // What was put there by another way than a reader's is not believed.
    assert_eq!(journal.inbox().unwrap_err().kind(), Kind::Corrupt);
    // Each is named, so that they can be taken.
    let damaged: Vec<u64> = journal.damaged_inbox().unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(damaged.len(), MAX_WAITING);
    journal.append(vec![], &damaged).unwrap();
    assert_eq!(journal.inbox().unwrap(), []);
    let id = reader.send(&run("a"), Time(7), b"{}").unwrap();
    other.execute("INSERT INTO inbox (stream, at, body, sum) VALUES ('run/a', 1, x'31', x'00')", []).unwrap();
    let damaged = journal.damaged_inbox().unwrap();
    assert_eq!(damaged.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id + 1]);
    assert!(damaged[0].1.to_string().contains("damaged"), "{}", damaged[0].1);
}

#[test]
fn the_log_stays_small() {
    let dir = Dir::new("log");
    let path = dir.0.join("x.db");
    let mut journal = open(&path).unwrap();
    let body = format!("\"{}\"", "x".repeat(200_000)).into_bytes();
    for seq in 0..200 {
        let record = crate::journal::Record { at: Time(1), body: body.clone() };
        journal.append(vec![Append::new(run("a"), seq, vec![record])], &[]).unwrap();
    }
    let length = fs::metadata(dir.0.join("x.db-wal")).unwrap().len();
    assert!(length < 12 << 20, "40 MB were written, and the log has {length} bytes");
    // A large journal is checked by its ends.
    drop(journal);
    let mut journal = open(&path).unwrap();
    assert_eq!(journal.head(&run("a")).unwrap(), 200);
    // Damage that the opening did not look at is seen by the reading, and by verify with its place.
    journal.sql("UPDATE events SET body = x'31' WHERE seq = 77");
    let error = journal.read(&run("a")).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("seq: 77"), "{error}");
    let damages = journal.verify().unwrap().damages;
    assert_eq!(damages.len(), 1);
    assert_eq!((damages[0].kind, &damages[0].stream, damages[0].seq), (DamageKind::Changed, &Some(run("a")), Some(77)));
}
