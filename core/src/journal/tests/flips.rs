//! A flipped byte in each part of each file of a journal: every kind of page and every field of a header. Whoever reads
//! is told that it is damaged, or reads what was written; never anything else.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::Dir;
use super::contract::{index, record, run, started};
use super::damage::{Everything, copy, everything};
use super::sqlite::open;
use crate::error::{Error, Kind, Result};
use crate::journal::{
    Append, Durability, Journal, OpenOptions, Reader, RunEntry, SqliteJournal, Stored, StreamId, Verified,
};
use crate::time::{Chance, Time, VirtualClock};

const PAGE: usize = 4_096;
const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A journal with every kind of page; not closed, so that its log holds the latest commits.
fn fill(path: &Path) -> SqliteJournal {
    let mut journal = open(path).unwrap();
    for (at, id) in (0..).zip(["a", "b", "c"]) {
        journal.append(vec![started(id, at)], &[]).unwrap();
    }
    // So many that the indexes have inner pages.
    let runs = (0..120).map(|n| started(&format!("run-with-a-long-name-{n}"), 10 + n)).collect();
    journal.append(runs, &[]).unwrap();
    let send = |n: i64| Reader::open(path).unwrap().send(&run("a"), Time(n), b"{\"cancel\":1}").unwrap();
    for n in 0..30 {
        let id = run(["a", "b"][usize::try_from(n % 2).unwrap()]);
        let head = journal.head(&id).unwrap();
        // Some do not fit into a page.
        let length = if n % 10 == 0 { 20_000 } else { 300 };
        journal.append(vec![Append::new(id, head, vec![record(200 + n, &"x".repeat(length))])], &[]).unwrap();
    }
    // What is pruned leaves free pages.
    let head = journal.head(&run("c")).unwrap();
    let end = Append::new(run("c"), head, vec![record(300, &"y".repeat(60_000))]);
    journal.append(vec![Append { index: Some(index("c", 2, true)), ..end }], &[]).unwrap();
    journal.prune(&run("c")).unwrap();
    send(5);
    journal.append(vec![Append::new(StreamId::service("s").unwrap(), 0, vec![record(301, "s")])], &[]).unwrap();
    journal
}

/// All that a reader is told.
type Told = (Vec<Option<Vec<Stored>>>, Vec<Option<StreamId>>, Vec<RunEntry>, Vec<StreamId>);

fn told(path: &Path) -> Result<(Told, Verified)> {
    let mut reader = Reader::open(path)?;
    let streams = IDS.map(|id| match reader.read(&run(id), 0, 1_000) {
        Ok(stored) => Ok(Some(stored)),
        Err(e) if e.kind() == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    });
    let streams = streams.into_iter().collect::<Result<_>>()?;
    let found = IDS.iter().map(|key| reader.find_run("p", key)).collect::<Result<_>>()?;
    Ok(((streams, found, reader.entries(1_000)?, reader.services()?), reader.verify()?))
}

/// What is true of a journal, and how much of it was refused.
struct Truth {
    driven: Everything,
    told: Told,
    refused: usize,
}

impl Truth {
    fn of(path: &Path) -> Truth {
        let (told, verified) = told(path).unwrap();
        assert!(verified.is_sound(), "{verified:?}");
        let driven = everything(&mut open(path).unwrap()).unwrap();
        Truth { driven, told, refused: 0 }
    }

    /// Reads a journal that may be damaged, as other processes and as its driver.
    fn check(&mut self, path: &Path, full: bool, place: &str, kinds: &[Kind]) {
        let named = |e: &Error| assert!(kinds.contains(&e.kind()), "{place}: {e}");
        match told(path) {
            Ok((told, _)) => assert!(told == self.told, "{place}: a reader was told something else"),
            Err(e) => named(&e),
        }
        let mut options = OpenOptions::new();
        if !full {
            // As if it were too large to be checked in full.
            options.full_check = 0;
        }
        let opened = options.open(path, Durability::Relaxed, &VirtualClock::default());
        match opened.and_then(|mut journal| everything(&mut journal)) {
            Ok(found) => assert!(found == self.driven, "{place}: its driver read something else"),
            Err(e) => {
                named(&e);
                self.refused += 1;
            }
        }
    }
}

fn flip(path: &Path, at: usize, mask: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= mask;
    fs::write(path, bytes).unwrap();
}

fn word(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())).unwrap()
}

/// The pages of a database by kind, as numbers from 0. (<https://sqlite.org/fileformat2.html>)
fn pages(bytes: &[u8]) -> BTreeMap<&'static str, Vec<usize>> {
    let mut kinds: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut free = Vec::new();
    let mut trunk = word(bytes, 32);
    while trunk != 0 {
        let at = (trunk - 1) * PAGE;
        kinds.entry("free trunk").or_default().push(trunk - 1);
        free.push(trunk - 1);
        for leaf in 0..word(bytes, at + 4) {
            let page = word(bytes, at + 8 + 4 * leaf) - 1;
            kinds.entry("free leaf").or_default().push(page);
            free.push(page);
        }
        trunk = word(bytes, at);
    }
    for page in (0..bytes.len() / PAGE).filter(|page| !free.contains(page)) {
        let kind = match bytes[page * PAGE + if page == 0 { 100 } else { 0 }] {
            2 => "inner page of an index",
            5 => "inner page of a table",
            10 => "leaf of an index",
            13 => "leaf of a table",
            _ => "overflow",
        };
        kinds.entry(kind).or_default().push(page);
    }
    kinds
}

#[test]
fn a_flipped_byte_in_every_kind_of_page_is_never_read_as_truth() {
    let (dir, mut chance) = (Dir::new("pages"), Chance(17));
    let (good, bad) = (dir.0.join("good"), dir.0.join("bad"));
    fs::create_dir_all(&good).unwrap();
    Box::new(fill(&good.join("x.db"))).close().unwrap();
    let mut truth = Truth::of(&good.join("x.db"));
    Box::new(open(&good.join("x.db")).unwrap()).close().unwrap();
    let bytes = fs::read(good.join("x.db")).unwrap();
    let kinds = pages(&bytes);
    assert_eq!(kinds.len(), 7, "{kinds:?}");
    let mut places: Vec<(String, usize)> = (0..100).map(|at| ("the header".to_owned(), at)).collect();
    for (kind, pages) in &kinds {
        for _ in 0..3 {
            let page = pages[usize::try_from(chance.below(pages.len() as u64)).unwrap()];
            let mut at: Vec<usize> = (0..12).collect();
            at.extend((0..14).map(|_| usize::try_from(chance.below(PAGE as u64)).unwrap()));
            places.extend(at.into_iter().map(|at| (format!("{kind}, page {page}"), page * PAGE + at)));
        }
    }
    for (round, (place, at)) in places.iter().enumerate() {
        copy(&good, &bad);
        let mask = if round % 3 == 0 { 0xff } else { 1 << chance.below(8) };
        flip(&bad.join("x.db"), *at, mask);
        // A changed version of the layout may be a later one's.
        let version: &[Kind] = &[Kind::Corrupt, Kind::Unsupported];
        let kinds = if (60..64).contains(at) { version } else { &[Kind::Corrupt] };
        truth.check(&bad.join("x.db"), round % 2 == 0, &format!("{place}, byte {at} ^ {mask:#x}"), kinds);
    }
    assert!(truth.refused > places.len() / 4, "{} of {} were refused", truth.refused, places.len());
    eprintln!("figure: a flipped byte in {} places of every kind of page: {} refused", places.len(), truth.refused);
}

#[test]
fn a_flipped_byte_in_every_part_of_the_log_is_never_read_as_truth() {
    let (dir, mut chance) = (Dir::new("frames"), Chance(19));
    let (good, bad) = (dir.0.join("good"), dir.0.join("bad"));
    fs::create_dir_all(&good).unwrap();
    drop(fill(&good.join("x.db")));
    copy(&good, &bad);
    let mut truth = Truth::of(&bad.join("x.db"));
    let frames = (fs::metadata(good.join("x.db-wal")).unwrap().len() as usize - 32) / (24 + PAGE);
    assert!(frames > 100, "{frames}");
    let mut places: Vec<(String, usize)> = (0..32).map(|at| ("the log's header".to_owned(), at)).collect();
    for frame in [0, frames / 2, frames - 2, frames - 1] {
        let begin = 32 + frame * (24 + PAGE);
        places.extend((0..24).map(|at| (format!("the header of frame {frame} of {frames}"), begin + at)));
        let bodies = (0..12).map(|_| usize::try_from(chance.below(PAGE as u64)).unwrap());
        places.extend(bodies.map(|at| (format!("frame {frame} of {frames}"), begin + 24 + at)));
    }
    for (round, (place, at)) in places.iter().enumerate() {
        copy(&good, &bad);
        flip(&bad.join("x.db-wal"), *at, 1 << chance.below(8));
        truth.check(&bad.join("x.db"), round % 2 == 0, &format!("{place}, byte {at}"), &[Kind::Corrupt]);
    }
    assert!(truth.refused > places.len() / 2, "{} of {} were refused", truth.refused, places.len());
    eprintln!("figure: a flipped byte in {} places of the log: {} refused", places.len(), truth.refused);
}

/// SQLite makes it anew from the log; the lock file only names who drives, and the reserve is only room.
#[test]
fn a_flipped_byte_in_the_shared_memory_the_lock_file_or_the_reserve_changes_nothing() {
    let (dir, mut chance) = (Dir::new("beside"), Chance(23));
    let (good, bad) = (dir.0.join("good"), dir.0.join("bad"));
    fs::create_dir_all(&good).unwrap();
    let mut journal = fill(&good.join("x.db"));
    journal.reserve().unwrap();
    let memory = fs::read(good.join("x.db-shm")).unwrap();
    drop(journal);
    copy(&good, &bad);
    let mut truth = Truth::of(&bad.join("x.db"));
    let mut places: Vec<(&str, usize)> = (0..136).map(|at| ("x.db-shm", at)).collect();
    places.extend((0..40).map(|_| ("x.db-shm", usize::try_from(chance.below(memory.len() as u64)).unwrap())));
    for file in ["x.db.lock", "x.db.reserve"] {
        places.extend((0..20).map(|_| (file, usize::try_from(chance.below(512)).unwrap())));
    }
    for (round, (file, at)) in places.iter().enumerate() {
        copy(&good, &bad);
        fs::write(bad.join("x.db-shm"), &memory).unwrap();
        flip(&bad.join(file), *at, 1 << chance.below(8));
        truth.check(&bad.join("x.db"), round % 2 == 0, &format!("{file}, byte {at}"), &[]);
    }
    assert_eq!(truth.refused, 0);
}

/// While it is driven, both the driver and readers look pages up in the shared memory.
#[test]
fn a_flipped_byte_in_the_shared_memory_of_a_driven_journal_is_never_read_as_truth() {
    let (dir, mut chance) = (Dir::new("shm"), Chance(29));
    let good = dir.0.join("good");
    fs::create_dir_all(&good).unwrap();
    drop(fill(&good.join("x.db")));
    let known = dir.0.join("known");
    copy(&good, &known);
    let truth = Truth::of(&known.join("x.db"));
    for round in 0..30_u64 {
        let bad = dir.0.join(format!("bad-{round}"));
        copy(&good, &bad);
        let mut journal = open(&bad.join("x.db")).unwrap();
        assert!(everything(&mut journal).unwrap() == truth.driven);
        // The header's two copies, then the table of pages. The bytes from 120 to 136 are locks.
        let at = if round < 10 { chance.below(96) } else { 136 + chance.below(8_000) };
        // By another process: closing the file in this one would let go of SQLite's locks.
        let script = "printf \"\\\\$(printf %03o $((0x$(od -An -tx1 -j $2 -N 1 $1 | tr -d ' ') ^ 4)))\" | \
                      dd of=$1 bs=1 seek=$2 conv=notrunc status=none";
        let done = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(bad.join("x.db-shm"))
            .arg(at.to_string())
            .status()
            .unwrap();
        assert!(done.success());
        match told(&bad.join("x.db")) {
            Ok((told, _)) => assert!(told == truth.told, "byte {at}: a reader was told something else"),
            Err(e) => assert!(matches!(e.kind(), Kind::Corrupt | Kind::Busy | Kind::Io), "byte {at}: {e}"),
        }
        match everything(&mut journal) {
            Ok(found) => assert!(found == truth.driven, "byte {at}: its driver read something else"),
            Err(e) => assert!(matches!(e.kind(), Kind::Corrupt | Kind::Busy | Kind::Io), "byte {at}: {e}"),
        }
    }
}

/// The database's last page that is in use, and the log's last frame, as a disk leaves them that wrote only some sectors.
#[test]
fn a_torn_last_page_is_never_read_as_truth() {
    let dir = Dir::new("torn");
    let (good, bad) = (dir.0.join("good"), dir.0.join("bad"));
    for (file, closed) in [("x.db", true), ("x.db-wal", false)] {
        let _ = fs::remove_dir_all(&good);
        fs::create_dir_all(&good).unwrap();
        let journal = fill(&good.join("x.db"));
        if closed {
            Box::new(journal).close().unwrap();
        } else {
            drop(journal);
        }
        copy(&good, &bad);
        let mut truth = Truth::of(&bad.join("x.db"));
        let whole = fs::read(good.join(file)).unwrap();
        let end = if closed {
            let in_use = pages(&whole).into_iter().filter(|(kind, _)| !kind.starts_with("free"));
            (in_use.flat_map(|(_, pages)| pages).max().unwrap() + 1) * PAGE
        } else {
            whole.len()
        };
        for sector in 0..8 {
            let cut = end - PAGE + sector * 512;
            for fill in [None, Some(0), Some(0xa5)] {
                copy(&good, &bad);
                let mut torn = whole[..cut].to_vec();
                if let Some(fill) = fill {
                    torn.resize(end, fill);
                    torn.extend(&whole[end..]);
                }
                fs::write(bad.join(file), torn).unwrap();
                let place = format!("{file}, cut at {cut} of {}, then {fill:?}", whole.len());
                truth.check(&bad.join("x.db"), sector % 2 == 0, &place, &[Kind::Corrupt]);
            }
        }
        assert!(truth.refused > 3, "{file}: {} were refused", truth.refused);
    }
}
