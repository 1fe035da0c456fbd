//! The journal as other processes use it: they read it while it is driven, and send commands.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::check::{check_all, check_reading};
use super::error::OrSql;
use super::open::OpenOptions;
use super::read::Tables;
use super::schema;
use super::write::send;
use crate::error::{Error, Kind, Result};
use crate::journal::commit::Lookup;
use crate::journal::files::{HeadFile, Holder, Paths};
use crate::journal::{Damage, DamageKind, MAX_DAMAGES, RunEntry, Stored, StreamId, Verified};
use crate::time::Time;

/// Reads a journal that another process may drive. It never takes the driver's lock; its transactions are short, but
/// for `verify`.
#[derive(Debug)]
pub struct Reader {
    conn: Connection,
    paths: Paths,
    /// What was found at the opening that would be read as truth and is none; only `verify` goes on then.
    damage: Option<Error>,
}

impl Reader {
    /// Opens with [`OpenOptions`] that accept nothing; see [`OpenOptions::open_reader`].
    ///
    /// # Errors
    /// As [`OpenOptions::open_reader`].
    pub fn open(path: &Path) -> Result<Reader> {
        OpenOptions::new().open_reader(path)
    }

    pub(super) fn open_at(path: &Path, paths: Paths) -> Result<Reader> {
        schema::check_version()?;
        let absent = || Error::new(Kind::NotFound, "there is no journal");
        if !paths.db.exists() {
            return Err(absent().with("path", path.display()));
        }
        let (known, outer) = match HeadFile::read(&paths.beside(".head")) {
            Ok(outer) => (outer.as_ref().is_some_and(|outer| outer.no > 0), outer),
            // A damaged head tells that it is a journal, and hinders no reading; verify names it.
            Err(e) if e.kind() == Kind::Corrupt => (true, None),
            Err(e) => return Err(e),
        };
        // The header is left to SQLite: opening and closing the file here would drop the locks of other readers in
        // this process.
        let conn = schema::connect(&paths.db, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(|conn| {
            if !known && schema::is_empty(&conn)? {
                return Err(absent());
            }
            schema::check_tables(&conn).map(|()| conn)
        });
        let conn = conn.map_err(|e| match e.kind() {
            Kind::Corrupt if !known => Error::new(Kind::Invalid, "the file is not a journal").because(e),
            _ => e,
        });
        let conn = conn.map_err(|e| e.with("path", path.display()))?;
        let damage = match check_reading(Tables(&conn), outer.as_ref()) {
            Ok(()) => None,
            Err(e) if e.kind() == Kind::Corrupt => Some(e.with("path", path.display())),
            Err(e) => return Err(e.with("path", path.display())),
        };
        Ok(Reader { conn, paths, damage })
    }

    /// The tables, unless what they say is known to be wrong.
    fn tables(&self) -> Result<Tables<'_>> {
        match &self.damage {
            Some(damage) => Err(damage.again()),
            None => Ok(Tables(&self.conn)),
        }
    }

    /// The journal's path as it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.paths.db
    }

    /// The entries of the latest runs, newest first.
    pub(crate) fn entries(&self, limit: usize) -> Result<Vec<RunEntry>> {
        self.tables()?.runs(limit)
    }

    /// The runs of this key, and those whose id begins so; newest first.
    #[cfg(feature = "cli")]
    pub(crate) fn named(&self, name: &str) -> Result<Vec<RunEntry>> {
        self.tables()?.runs_named(name)
    }

    /// A run's row in the index; `None` when there is no such run.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] when the row is not what was written.
    pub fn row(&self, run: &StreamId) -> Result<Option<RunEntry>> {
        let index = Lookup::index(&self.tables()?, run)?;
        Ok(index.map(|index| RunEntry { stream: run.clone(), index }))
    }

    /// The run of a pipeline with a key.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] when the row is not what was written.
    pub fn find_run(&self, pipeline: &str, key: &str) -> Result<Option<StreamId>> {
        self.tables()?.run_by_key(pipeline, key)
    }

    /// All streams of services, by name.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] when a name is none.
    pub fn services(&self) -> Result<Vec<StreamId>> {
        self.tables()?.streams(true)
    }

    /// The sequence number of a stream's last event; 0 when there is no such stream.
    ///
    /// # Errors
    /// [`Kind::Io`] when it can't be read.
    pub fn head(&self, stream: &StreamId) -> Result<u64> {
        Ok(self.tables()?.stream_head(stream)?.map_or(0, |head| head.seq))
    }

    /// A stream's events after `after` (0: from the first), at most `limit`, checked against the chain. Asked again
    /// with the last sequence number, it follows a run while it is driven.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when they were pruned, [`Kind::Corrupt`] when they are not what was written.
    pub fn read(&mut self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Stored>> {
        self.tables()?;
        let tx = self.conn.transaction().or_sql("read events")?;
        Tables(&tx).read(stream, after, limit)
    }

    /// Checks everything. While it runs, the driver's log can't be reset, so that it grows.
    ///
    /// # Errors
    /// [`Kind::Io`] when the journal can't be read; damage is a result.
    pub fn verify(&mut self) -> Result<Verified> {
        // The head first: what it names is in every later state of the database.
        let (outer, damage) = match HeadFile::read(&self.paths.beside(".head")) {
            Ok(Some(outer)) => (Some(outer), None),
            Ok(None) => (None, Some("the journal's outer head is missing".to_owned())),
            Err(e) if e.kind() == Kind::Corrupt => (None, Some(e.message().to_owned())),
            Err(e) => return Err(e),
        };
        let tx = self.conn.transaction().or_sql("check the journal")?;
        let mut verified = check_all(Tables(&tx), outer.as_ref())?;
        if let Some(detail) = damage {
            verified.damages.insert(0, Damage { kind: DamageKind::Head, stream: None, seq: None, detail });
            verified.unlisted += u64::from(verified.damages.len() > MAX_DAMAGES);
            verified.damages.truncate(MAX_DAMAGES);
        }
        Ok(verified)
    }

    /// Sends a command to whoever drives the journal, now or later. Durable when it returns. Returns its number, to be
    /// asked for with [`Reader::waits`].
    ///
    /// # Errors
    /// [`Kind::Invalid`] when it is no JSON or too long; [`Kind::Busy`] when too many wait or the database is held.
    pub fn send(&self, stream: &StreamId, at: Time, body: &[u8]) -> Result<u64> {
        let mut conn = schema::connect(&self.paths.db, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA fullfsync = ON;").or_sql("write to the inbox")?;
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).or_sql("write to the inbox")?;
        let id = send(&tx, stream, at, body)?;
        tx.commit().or_sql("write to the inbox")?;
        conn.close().map_err(|(_, e)| e).or_sql("write to the inbox")?;
        Ok(id)
    }

    /// Whether a command still waits.
    ///
    /// # Errors
    /// [`Kind::Io`] when it can't be read.
    pub fn waits(&self, id: u64) -> Result<bool> {
        Lookup::waits(&Tables(&self.conn), id)
    }

    /// Who opened the journal for driving last and did not close it. It may have died since: compare its pid and start.
    pub fn driver(&self) -> Option<Holder> {
        Holder::read(&self.paths.beside(".lock"))
    }
}
