//! Opening a journal for driving: what is there is checked before anything is written.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::check::{check_all, check_outer, check_quick};
use super::driver::{Parts, SqliteJournal};
use super::error::{OrSql, may_be_full};
use super::read::Tables;
use super::reader::Reader;
use super::schema;
use super::write::{set_epoch, write};
use crate::error::{Error, Kind, Result};
use crate::journal::Durability;
use crate::journal::chain::Digest;
use crate::journal::commit::{Tip, prepare_opening};
use crate::journal::files::{HeadFile, Lock, Paths, Reserve, Slot, boot_id, refuse_network, sync_dir};
use crate::time::Clock;

/// The largest database that an opening checks in full, in bytes.
const FULL_CHECK: u64 = 8 << 20;

/// What a loss of power took from a relaxed journal: commits that were acknowledged and are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostTail {
    /// The last commit that is there.
    pub last: u64,
    /// The last commit that was acknowledged.
    pub acknowledged: u64,
}

/// What an opening accepts that it would refuse.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    accept_missing_head: bool,
    accept_file_system: bool,
    /// The largest database that is checked in full, in bytes.
    pub(in crate::journal) full_check: u64,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions { accept_missing_head: false, accept_file_system: false, full_check: FULL_CHECK }
    }
}

impl OpenOptions {
    /// Nothing is accepted.
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }

    /// Opens a journal whose outer head is not there, as after a restore of the database alone. Whether its latest
    /// events are missing can't be known then.
    #[must_use]
    pub fn accept_missing_head(mut self, accept: bool) -> OpenOptions {
        self.accept_missing_head = accept;
        self
    }

    /// Opens or reads a journal on a network file system or one that is not known to be local.
    #[must_use]
    pub fn accept_file_system(mut self, accept: bool) -> OpenOptions {
        self.accept_file_system = accept;
        self
    }

    /// Opens the journal at `path`, which is made when it is not there, and drives it from now on. Databases up to
    /// 8 MiB are checked in full; of larger ones the latest commits, the heads of all streams, and all events of
    /// services and unfinished runs.
    ///
    /// # Errors
    /// [`Kind::Busy`] when it is driven already, [`Kind::Corrupt`] when it is damaged or its latest commits are
    /// missing, [`Kind::Invalid`] when the file is something else, [`Kind::Unsupported`] for a later version, a SQLite
    /// that loses data or a network file system, [`Kind::Io`] when the operating system refuses.
    pub fn open(&self, path: &Path, durability: Durability, clock: &dyn Clock) -> Result<SqliteJournal> {
        self.open_at(path, durability, clock).map_err(|e| {
            if e.context().iter().any(|(key, _)| *key == "path") { e } else { e.with("path", path.display()) }
        })
    }

    /// Opens the journal at `path` for reading, which may be driven by another process.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none, [`Kind::Invalid`] when the file is something else,
    /// [`Kind::Corrupt`] when its tables are damaged, [`Kind::Unsupported`] for a later version or a network file
    /// system.
    pub fn open_reader(&self, path: &Path) -> Result<Reader> {
        let paths = Paths::of(path)?;
        if !self.accept_file_system {
            refuse_network(&paths.dir)?;
        }
        Reader::open_at(path, paths)
    }

    fn open_at(&self, path: &Path, durability: Durability, clock: &dyn Clock) -> Result<SqliteJournal> {
        if durability == Durability::Memory {
            return Err(Error::new(Kind::Invalid, "a journal on disk can't have the durability memory"));
        }
        schema::check_version()?;
        let paths = Paths::of(path)?;
        if !self.accept_file_system {
            refuse_network(&paths.dir)?;
        }
        let lock = Lock::acquire(&paths.beside(".lock"), clock.now())?;
        let head_path = paths.beside(".head");
        let outer = HeadFile::read(&head_path)?;
        let boot = boot_id();
        let none = Slot { durability, boot: boot.clone(), epoch: 0, no: 0, hash: Digest::ZERO };
        let known = outer.as_ref().is_some_and(|outer| outer.no > 0);
        let mut fresh = false;
        if !schema::check_header(&paths, known)? {
            if known {
                return Err(Error::new(Kind::Corrupt, "the journal's database is gone, though it had commits").help(
                    "restore it from a backup; to begin anew, remove the .head file and what else lies beside it",
                ));
            }
            // The outer head comes first, so that a missing one is never a creation that was cut off.
            HeadFile::open(&head_path, &none)?;
            create_file(&paths)?;
            fresh = true;
        }
        let load = || self.load(&paths, outer.as_ref(), durability, &boot);
        let reserve = Reserve::new(paths.beside(".reserve"), paths.dir.clone());
        let mut on_reserve = false;
        let (conn, started) = match load() {
            // A rollout that goes back must be taken up on a full disk as well.
            Err(e) if may_be_full(&e) && reserve.release()? => {
                tracing::warn!(error = %e, "the disk is full: the journal is opened with what was the reserve");
                on_reserve = true;
                load()?
            }
            loaded => loaded?,
        };
        if fresh {
            sync_dir(&paths.dir)?;
        }
        let slot = Slot { epoch: started.epoch, no: started.tip.no, hash: started.tip.hash, ..none };
        // Whoever accepts that the head is missing, or loses a tail, goes on with a head of its own.
        let head = HeadFile::open(&head_path, &outer.unwrap_or_else(|| slot.clone()))?;
        head.write(&slot)?;
        let Started { tip, epoch, lost } = started;
        if let Some(lost) = lost {
            tracing::warn!(
                last = lost.last,
                acknowledged = lost.acknowledged,
                "a loss of power took the latest commits"
            );
        }
        let parts = Parts { conn, paths, lock, head, reserve, durability, boot, tip, epoch, lost, on_reserve };
        Ok(SqliteJournal::assemble(parts))
    }

    /// Opens the database, makes its tables when it is new, and begins an epoch.
    fn load(
        &self,
        paths: &Paths,
        outer: Option<&Slot>,
        durability: Durability,
        boot: &str,
    ) -> Result<(Connection, Started)> {
        let mut conn = schema::connect(&paths.db, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        if outer.is_none_or(|outer| outer.no == 0) && schema::is_empty(&conn)? {
            schema::create(&conn)?;
        }
        schema::check_tables(&conn)?;
        schema::settings(&conn, durability)?;
        let started = self.begin(&mut conn, outer, boot)?;
        Ok((conn, started))
    }

    /// Checks what is there and raises the epoch, in one transaction.
    fn begin(&self, conn: &mut Connection, outer: Option<&Slot>, boot: &str) -> Result<Started> {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).or_sql("open the journal")?;
        let tables = Tables(&tx);
        let (tip, last_epoch) = tables.tip()?;
        let mut lost = None;
        match outer {
            Some(outer) => lost = check_outer(tables, &tip, outer, boot)?,
            None if tip.no == 0 || self.accept_missing_head => {}
            None => {
                return Err(Error::new(
                    Kind::Corrupt,
                    "the journal's outer head is missing, so that its latest commits may be",
                )
                .help(
                    "restore the .head file that belongs to the database; if you know that the journal is whole, \
                         open once with OpenOptions::accept_missing_head",
                ));
            }
        }
        let size: i64 = tx
            .query_row("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()", [], |row| {
                row.get(0)
            })
            .or_sql("ask for the journal's size")?;
        if u64::try_from(size).is_ok_and(|size| size <= self.full_check) {
            // The outer head has been looked at, and may have been excused.
            check_all(tables, None)?.check()?;
        } else {
            check_quick(tables, &tip)?;
        }
        let epochs = [last_epoch, tables.epoch()?, outer.map_or(0, |outer| outer.epoch)];
        let epoch = epochs.into_iter().max().unwrap_or(0).saturating_add(1);
        let prepared = prepare_opening(&tip, epoch)?;
        set_epoch(&tx, epoch)?;
        write(&tx, &prepared)?;
        tx.commit().or_sql("open the journal")?;
        Ok(Started { tip: prepared.tip, epoch, lost })
    }
}

struct Started {
    tip: Tip,
    epoch: u64,
    lost: Option<LostTail>,
}

/// Makes the database's file, readable by its owner only; SQLite gives its log the same mode.
fn create_file(paths: &Paths) -> Result<()> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&paths.db) {
        Ok(_) => sync_dir(&paths.dir),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(Error::new(Kind::Io, "can't make the journal").with("path", paths.db.display()).because(e)),
    }
}
