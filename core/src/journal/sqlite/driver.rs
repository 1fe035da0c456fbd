//! The journal as its driver uses it.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::check::check_all;
use super::error::{OrSql, may_be_full};
use super::open::{LostTail, OpenOptions};
use super::read::Tables;
use super::write::write;
use crate::error::{Error, Kind, Result};
use crate::journal::commit::{Lookup, Prepared, Tip, prepare, prepare_prune};
use crate::journal::files::{HeadFile, Lock, Paths, Reserve, Slot};
use crate::journal::memory::fenced;
use crate::journal::{Append, Durability, InboxItem, Journal, MAX_WAITING, RunEntry, Stored, StreamId, Verified};
use crate::time::{Clock, Time};

/// How much is written, roughly, before the log goes into the database.
const CHECKPOINT: usize = 4 << 20;
/// What a commit costs in the log besides its bodies: the pages that it touches.
const COMMIT_COST: usize = 32 << 10;

/// A journal in one SQLite database, driven by this process.
#[derive(Debug)]
pub struct SqliteJournal {
    conn: Connection,
    paths: Paths,
    lock: Lock,
    head: HeadFile,
    reserve: Reserve,
    durability: Durability,
    boot: String,
    tip: Tip,
    epoch: u64,
    lost: Option<LostTail>,
    /// The process that opened it.
    pid: u32,
    /// Whether a transaction ended in an error, so that `tip` may not be what is stored.
    unsure: bool,
    /// The commands that wait, with SQLite's data version in which they were read.
    inbox: Option<(i64, Vec<InboxItem>)>,
    /// Roughly how much was written since the log went into the database.
    logged: usize,
    /// Whether the way back is written into what was the reserve.
    on_reserve: bool,
}

/// What an opening puts together.
pub(super) struct Parts {
    pub(super) conn: Connection,
    pub(super) paths: Paths,
    pub(super) lock: Lock,
    pub(super) head: HeadFile,
    pub(super) reserve: Reserve,
    pub(super) durability: Durability,
    pub(super) boot: String,
    pub(super) tip: Tip,
    pub(super) epoch: u64,
    pub(super) lost: Option<LostTail>,
    pub(super) on_reserve: bool,
}

impl SqliteJournal {
    /// Opens with [`OpenOptions`] that accept nothing; see [`OpenOptions::open`].
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub fn open(path: &Path, durability: Durability, clock: &dyn Clock) -> Result<SqliteJournal> {
        OpenOptions::new().open(path, durability, clock)
    }

    /// What a loss of power took before this opening, if anything is known to be lost.
    pub fn lost_tail(&self) -> Option<LostTail> {
        self.lost
    }

    /// The path of the database, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.paths.db
    }

    pub(super) fn assemble(parts: Parts) -> SqliteJournal {
        let Parts { conn, paths, lock, head, reserve, durability, boot, tip, epoch, lost, on_reserve } = parts;
        SqliteJournal {
            conn,
            paths,
            lock,
            head,
            reserve,
            durability,
            boot,
            tip,
            epoch,
            lost,
            pid: std::process::id(),
            unsure: false,
            inbox: None,
            logged: CHECKPOINT,
            on_reserve,
        }
    }

    /// Refuses in a forked child: it shares the lock and the files with its parent, and SQLite forbids it.
    fn own_process(&self) -> Result<()> {
        let pid = std::process::id();
        if pid == self.pid {
            return Ok(());
        }
        Err(Error::new(Kind::Busy, "the journal was opened by the process that this one was forked from")
            .with("opened by", self.pid)
            .with("pid", pid)
            .help("open the journal after the fork, and in one process only"))
    }

    /// Works out and writes a commit in one transaction.
    fn commit(&mut self, work: impl FnOnce(&Tip, &dyn Lookup) -> Result<Option<Prepared>>) -> Result<()> {
        self.own_process()?;
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).or_sql("begin to write events")?;
        let tables = Tables(&tx);
        let epoch = tables.epoch()?;
        if epoch != self.epoch {
            return Err(fenced(self.epoch, epoch));
        }
        if self.unsure {
            self.tip = tables.tip()?.0;
            self.unsure = false;
        }
        let Some(prepared) = work(&self.tip, &tables)? else { return Ok(()) };
        self.unsure = true;
        write(&tx, &prepared)?;
        tx.commit().or_sql("write events")?;
        self.unsure = false;
        self.tip = prepared.tip;
        if let Some((_, items)) = &mut self.inbox {
            items.retain(|item| !prepared.took.contains(&item.id));
        }
        self.logged = self.logged.saturating_add(prepared.bytes).saturating_add(COMMIT_COST);
        self.head.write(&self.slot())?;
        self.checkpoint_when_due();
        Ok(())
    }

    fn slot(&self) -> Slot {
        let Tip { no, hash, .. } = self.tip;
        Slot { durability: self.durability, boot: self.boot.clone(), epoch: self.epoch, no, hash }
    }

    /// Brings the log into the database now and then, so that it does not grow for ever. What fails is tried again
    /// later: the events are durable in the log.
    fn checkpoint_when_due(&mut self) {
        if self.logged < CHECKPOINT {
            return;
        }
        if self.on_reserve {
            // The database would grow into the room that was kept for the way back.
            if let Err(e) = self.reserve() {
                tracing::debug!(error = %e, "the journal's log stays as it is while the disk is full");
                self.logged = CHECKPOINT - CHECKPOINT / 4;
                return;
            }
        }
        self.checkpoint();
    }

    fn checkpoint(&mut self) {
        // (0 or 1 for blocked, pages in the log, pages of these brought over)
        let result = self.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        });
        self.logged = match result {
            Ok((0, pages, done)) if pages == done => 0,
            Ok((_, pages, done)) => {
                tracing::debug!(pages, done, "a reader keeps the journal's log from being brought over");
                CHECKPOINT - CHECKPOINT / 4
            }
            Err(e) => {
                tracing::warn!(error = %e, "can't bring the journal's log into the database");
                CHECKPOINT - CHECKPOINT / 4
            }
        };
        if let Err(e) = self.head.sync() {
            tracing::warn!(error = %e, "can't sync the journal's outer head");
        }
    }

    fn data_version(&self) -> Result<i64> {
        let mut statement = self.conn.prepare_cached("PRAGMA data_version").or_sql("look for commands")?;
        statement.query_row([], |row| row.get(0)).or_sql("look for commands")
    }

    #[cfg(test)]
    pub(in crate::journal) fn pretend_forked(&mut self) {
        self.pid = self.pid.wrapping_add(1);
    }

    #[cfg(test)]
    pub(in crate::journal) fn sql(&self, text: &str) {
        self.conn.execute_batch(text).unwrap();
    }
}

impl Journal for SqliteJournal {
    fn append(&mut self, appends: Vec<Append>, took: &[u64]) -> Result<()> {
        let epoch = self.epoch;
        let way_back = appends.iter().any(|append| append.way_back);
        let again = way_back.then(|| appends.clone());
        let result = self.commit(|tip, lookup| prepare(tip, epoch, appends, took, lookup).map(Some));
        let (Err(full), Some(appends)) = (&result, again) else { return result };
        if !may_be_full(full) {
            return result;
        }
        if self.reserve.release()? {
            tracing::warn!(error = %full, "the disk is full: the way back is written into the reserve");
            self.on_reserve = true;
        } else {
            // The reserve is used up. Bringing the log over, if that needs no room, frees the log's own.
            self.checkpoint();
        }
        self.commit(|tip, lookup| prepare(tip, epoch, appends, took, lookup).map(Some))
    }

    fn read(&mut self, stream: &StreamId) -> Result<Vec<Stored>> {
        self.own_process()?;
        let tx = self.conn.transaction().or_sql("read events")?;
        Tables(&tx).read(stream, 0, usize::MAX)
    }

    fn head(&self, stream: &StreamId) -> Result<u64> {
        self.own_process()?;
        Ok(Tables(&self.conn).stream_head(stream)?.map_or(0, |head| head.seq))
    }

    fn find_run(&self, pipeline: &str, key: &str) -> Result<Option<StreamId>> {
        self.own_process()?;
        Tables(&self.conn).run_by_key(pipeline, key)
    }

    fn runs(&self, limit: usize) -> Result<Vec<RunEntry>> {
        self.own_process()?;
        Tables(&self.conn).runs(limit)
    }

    fn unfinished(&self) -> Result<Vec<RunEntry>> {
        self.own_process()?;
        Tables(&self.conn).unfinished()
    }

    fn services(&self) -> Result<Vec<StreamId>> {
        self.own_process()?;
        Tables(&self.conn).streams(true)
    }

    fn inbox(&mut self) -> Result<Vec<InboxItem>> {
        self.own_process()?;
        // It changes when another connection has written; what this one takes is taken from the list as well.
        // Asked first: what is sent in between is read twice, never missed.
        let version = self.data_version()?;
        match &self.inbox {
            Some((read, items)) if *read == version => Ok(items.clone()),
            _ => {
                let items = Tables(&self.conn).inbox(MAX_WAITING)?;
                self.inbox = Some((version, items.clone()));
                Ok(items)
            }
        }
    }

    fn damaged_inbox(&mut self) -> Result<Vec<(u64, Error)>> {
        self.own_process()?;
        Tables(&self.conn).damaged_inbox(MAX_WAITING)
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn last_time(&self) -> Time {
        self.tip.at
    }

    fn reserve(&mut self) -> Result<()> {
        self.own_process()?;
        self.reserve.ensure()?;
        self.on_reserve = false;
        Ok(())
    }

    fn prune(&mut self, stream: &StreamId) -> Result<()> {
        let epoch = self.epoch;
        self.commit(|tip, lookup| prepare_prune(tip, epoch, stream, lookup))
    }

    fn verify(&mut self) -> Result<Verified> {
        self.own_process()?;
        let slot = self.slot();
        let outer = (!self.unsure).then_some(&slot);
        let tx = self.conn.transaction().or_sql("check the journal")?;
        check_all(Tables(&tx), outer)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.own_process()?;
        let busy: i64 = self
            .conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .or_sql("bring the journal's log into the database")?;
        if busy != 0 {
            tracing::debug!("a reader keeps the journal's log from being brought over; the next opening does it");
        }
        self.head.sync()?;
        self.conn.close().map_err(|(_, e)| e).or_sql("close the journal")?;
        self.lock.release()
    }
}
