//! Checking a database: all of it, or what an opening can afford.

use std::collections::BTreeMap;

use super::error::OrSql;
use super::open::LostTail;
use super::read::Tables;
use crate::error::{Error, Kind, Result};
use crate::journal::chain::{Digest, Link};
use crate::journal::commit::{StreamHead, Tip, commit_hash};
use crate::journal::files::{Slot, boot_id};
use crate::journal::verify::{DamageKind, Damages, Source, Verified, verify};
use crate::journal::{Durability, MAX_WAITING, RunEntry, StreamId};

/// How many commits an opening checks of a journal that is too large to be checked in full.
const LAST_COMMITS: u64 = 1_000;

/// Checks everything within the current transaction, and against the outer head as it was before that began.
pub(super) fn check_all(tables: Tables<'_>, outer: Option<&Slot>) -> Result<Verified> {
    verify(&mut Database { tables, outer })
}

/// Checks the end of the chain of commits, that each stream's last event is its head, and in full what a driver
/// takes up: streams of services and of unfinished runs, and the inbox.
pub(super) fn check_quick(tables: Tables<'_>, tip: &Tip) -> Result<()> {
    let mut damages = Damages::default();
    let first = tip.no.saturating_sub(LAST_COMMITS);
    let mut previous = tables.commit(first)?.map_or(Digest::ZERO, |(_, hash)| hash);
    for no in first.saturating_add(1)..=tip.no {
        match tables.commit(no)? {
            Some((body, hash)) if commit_hash(&previous, no, &body) == hash => previous = hash,
            Some(_) => damages.add(DamageKind::Commit, None, Some(no), "a commit is not what was written"),
            None => damages.add(DamageKind::Missing, None, Some(no), "a commit is missing"),
        }
    }
    let sql = "SELECT s.stream, s.seq FROM streams s LEFT JOIN events e ON e.stream = s.stream AND e.seq = s.seq \
               WHERE s.pruned = 0 AND s.seq > 0 AND e.hash IS NOT s.hash LIMIT 1";
    let mut statement = tables.0.prepare(sql).or_sql("check the heads")?;
    let mut rows = statement.query([]).or_sql("check the heads")?;
    while let Some(row) = rows.next().or_sql("check the heads")? {
        let stream: String = row.get(0).or_sql("check the heads")?;
        let seq: i64 = row.get(1).or_sql("check the heads")?;
        let (stream, seq) = (stream.parse().ok(), u64::try_from(seq).ok());
        damages.add(DamageKind::Head, stream.as_ref(), seq, "the stream's last event is not its head");
    }
    drop(rows);
    // Whether a key has a run already is decided by these, and nothing else would notice that a row is missing.
    for table in ["meta", "streams", "runs", "inbox"] {
        integrity(tables, &format!("PRAGMA integrity_check('{table}')"), &mut damages)?;
    }
    damages.check()?;
    tables.check_runs()?;
    let runs = tables.unfinished()?.into_iter().map(|row| row.stream);
    for stream in tables.streams(true)?.into_iter().chain(runs) {
        tables.read(&stream, 0, usize::MAX)?;
    }
    tables.inbox(MAX_WAITING).map(drop)
}

/// Checks for a reader, which folds streams one by one by their own chains, what these can't tell: that the latest
/// commits are there, and that no run is missing in the index. `outer` was read before the database.
pub(super) fn check_reading(tables: Tables<'_>, outer: Option<&Slot>) -> Result<()> {
    if let Some(outer) = outer {
        check_outer(tables, &tables.tip()?.0, outer, &boot_id())?;
    }
    let mut damages = Damages::default();
    for table in ["streams", "runs"] {
        integrity(tables, &format!("PRAGMA integrity_check('{table}')"), &mut damages)?;
    }
    damages.check()
}

/// Compares with the outer head: what it names must be in the database. The one exception is the latest part of a
/// relaxed journal after another start of the machine.
pub(super) fn check_outer(tables: Tables<'_>, tip: &Tip, outer: &Slot, boot: &str) -> Result<Option<LostTail>> {
    if outer.no == 0 || tables.commit(outer.no)?.is_some_and(|(_, hash)| hash == outer.hash) {
        return Ok(None);
    }
    let rebooted = !boot.is_empty() && !outer.boot.is_empty() && outer.boot != boot;
    if outer.durability == Durability::Relaxed && rebooted {
        return Ok(Some(LostTail { last: tip.no, acknowledged: outer.no }));
    }
    let (what, found) = if tip.no < outer.no {
        ("the journal is damaged: its latest commits are missing", tip.no)
    } else {
        ("the journal is damaged: a commit is not the one that was acknowledged", outer.no)
    };
    Err(Error::new(Kind::Corrupt, what).with("found", found).with("acknowledged", outer.no).help(
        "restore the database, its -wal and its .head file together; if you mean to go on from this older state, \
         remove the .head file and open once with OpenOptions::accept_missing_head",
    ))
}

/// Notes what SQLite's own check finds.
fn integrity(tables: Tables<'_>, pragma: &str, damages: &mut Damages) -> Result<()> {
    let doing = "check the database";
    let mut statement = tables.0.prepare(pragma).or_sql(doing)?;
    let mut rows = statement.query([]).or_sql(doing)?;
    while let Some(row) = rows.next().or_sql(doing)? {
        let line: String = row.get(0).or_sql(doing)?;
        if line != "ok" {
            damages.add(DamageKind::Database, None, None, line);
        }
    }
    Ok(())
}

struct Database<'a> {
    tables: Tables<'a>,
    outer: Option<&'a Slot>,
}

impl Source for Database<'_> {
    fn commits(&mut self, each: &mut dyn FnMut(u64, &[u8], Digest)) -> Result<()> {
        let doing = "read the commits";
        let mut statement = self.tables.0.prepare("SELECT no, body, hash FROM commits ORDER BY no").or_sql(doing)?;
        let mut rows = statement.query([]).or_sql(doing)?;
        while let Some(row) = rows.next().or_sql(doing)? {
            let no: i64 = row.get(0).or_sql(doing)?;
            let body: Vec<u8> = row.get(1).or_sql(doing)?;
            let hash: [u8; 32] = row.get(2).or_sql(doing)?;
            each(super::error::uint(no)?, &body, Digest::from_bytes(hash));
        }
        Ok(())
    }

    fn streams(&mut self) -> Result<BTreeMap<StreamId, StreamHead>> {
        let names = self.tables.streams(false)?;
        let head = |stream: StreamId| self.tables.stream_head(&stream).map(|head| head.map(|head| (stream, head)));
        names.into_iter().filter_map(|stream| head(stream).transpose()).collect()
    }

    fn links(&mut self, stream: &StreamId) -> Result<Vec<Link>> {
        self.tables.links(stream, 0, usize::MAX)
    }

    fn index(&mut self) -> Result<Vec<RunEntry>> {
        self.tables.runs(usize::MAX)
    }

    fn own(&mut self, damages: &mut Damages) -> Result<()> {
        let doing = "check the database";
        integrity(self.tables, "PRAGMA integrity_check(10)", damages)?;
        let (tip, epoch) = self.tables.tip()?;
        if self.tables.epoch()? != epoch {
            damages.add(DamageKind::Database, None, None, "the epoch is not that of the last commit");
        }
        // Another start of the machine excuses only an opening, not what is there afterwards.
        if let Some(outer) = self.outer
            && let Err(e) = check_outer(self.tables, &tip, outer, &outer.boot)
        {
            damages.add(DamageKind::Missing, None, Some(outer.no), e.message());
        }
        let orphan = "SELECT e.stream, e.seq FROM events e LEFT JOIN streams s ON s.stream = e.stream \
                      WHERE s.stream IS NULL LIMIT 1";
        let mut statement = self.tables.0.prepare(orphan).or_sql(doing)?;
        let mut rows = statement.query([]).or_sql(doing)?;
        while let Some(row) = rows.next().or_sql(doing)? {
            let (stream, seq): (String, i64) = (row.get(0).or_sql(doing)?, row.get(1).or_sql(doing)?);
            let detail = format!("an event of {stream:?}, which has no head");
            damages.add(DamageKind::Unexpected, stream.parse().ok().as_ref(), u64::try_from(seq).ok(), detail);
        }
        self.tables.inbox(usize::MAX).map(drop)
    }
}
