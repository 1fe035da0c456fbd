//! The database's layout and settings.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::OrSql;
use crate::error::{Error, Kind, Result};
use crate::journal::Durability;
use crate::journal::files::Paths;

/// "TdGt": says in the file's header that it is a journal.
const APPLICATION_ID: i32 = 0x5464_4774;
/// The version of the layout.
const LAYOUT: i32 = 1;
/// SQLite before 3.51.3 can lose committed data when a checkpoint races a write (the "WAL-reset" fault).
const OLDEST_SQLITE: i32 = 3_051_003;
/// How long to wait for another process's short transaction.
const BUSY: Duration = Duration::from_secs(5);

/// Bodies and hashes are blobs: they are kept byte for byte. `sum` covers a row that is outside the chain of events.
const TABLES: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE streams (stream TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL, pruned INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE TABLE events (stream TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL,
    hash BLOB NOT NULL, PRIMARY KEY (stream, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE commits (no INTEGER PRIMARY KEY, body BLOB NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TABLE runs (stream TEXT PRIMARY KEY, pipeline TEXT NOT NULL, key TEXT NOT NULL, started INTEGER NOT NULL,
    status TEXT NOT NULL, finished INTEGER NOT NULL, sum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX runs_by_key ON runs (pipeline, key);
CREATE INDEX runs_by_start ON runs (started);
CREATE INDEX runs_unfinished ON runs (started) WHERE finished = 0;
CREATE TABLE inbox (id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, at INTEGER NOT NULL,
    body BLOB NOT NULL, sum BLOB NOT NULL) STRICT;
INSERT INTO meta (name, value) VALUES ('epoch', 0);
";

/// Refuses a SQLite that can lose data.
pub(super) fn check_version() -> Result<()> {
    if rusqlite::version_number() >= OLDEST_SQLITE {
        return Ok(());
    }
    Err(Error::new(Kind::Unsupported, "this SQLite can lose committed data")
        .with("found", rusqlite::version())
        .with("needed", "3.51.3")
        .help("build with libsqlite3-sys 0.37 or later: cargo update -p libsqlite3-sys"))
}

/// Looks at the first bytes of the file before SQLite does. False when there is nothing in it yet. `known` says
/// whether other files tell that this is a journal: then a foreign header is damage.
pub(super) fn check_header(paths: &Paths, known: bool) -> Result<bool> {
    let io = |e: io::Error| Error::new(Kind::Io, "can't open the journal").with("path", paths.db.display()).because(e);
    let mut header = [0; 100];
    let length = {
        // Closed again before SQLite opens it: a later closing would drop SQLite's locks.
        let mut file = match File::open(&paths.db) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(io(e)),
        };
        let length = file.metadata().map_err(io)?.len();
        if length >= 100 {
            file.read_exact(&mut header).map_err(io)?;
        }
        length
    };
    // A creation that was cut off is rolled back by SQLite.
    if length == 0 || fs::exists(paths.beside("-journal")).map_err(io)? {
        return Ok(length > 0);
    }
    let word = |at: usize| header.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_be_bytes);
    let sqlite = header.starts_with(b"SQLite format 3\0");
    if sqlite && word(68) == APPLICATION_ID && word(60) > LAYOUT {
        return Err(later(word(60)).with("path", paths.db.display()));
    }
    let versions = matches!(header.get(18..20), Some([1 | 2, 1 | 2]));
    if sqlite && versions && word(68) == APPLICATION_ID && word(60) == LAYOUT && word(56) == 1 {
        return Ok(true);
    }
    Err(if known {
        Error::new(Kind::Corrupt, "the journal is damaged: its header is not what was written")
            .with("path", paths.db.display())
            .help("restore the journal with the files beside it from a backup")
    } else {
        Error::new(Kind::Invalid, "the file is not a journal")
            .with("path", paths.db.display())
            .help("choose another path")
    })
}

fn later(found: i32) -> Error {
    Error::new(Kind::Unsupported, "the journal is of a later version").with("found", found).with("known", LAYOUT).help(
        "use the version of tidegate that wrote it, or a later one; if none did, it is damaged: restore the journal \
             with the files beside it from a backup",
    )
}

/// Opens a connection to a file that is there.
pub(super) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).or_sql("open the journal")?;
    conn.busy_timeout(BUSY).or_sql("set up the journal")?;
    // Closing writes nothing: whoever drives decides when the log goes into the database.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).or_sql("set up the journal")?;
    conn.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA wal_autocheckpoint = 0;")
        .or_sql("set up the journal")?;
    Ok(conn)
}

/// Makes the tables of a new journal, durable and in the database file itself. In rollback mode a creation that is cut
/// off leaves an empty file.
pub(super) fn create(conn: &Connection) -> Result<()> {
    let script = format!(
        "PRAGMA synchronous = FULL; BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; \
         PRAGMA user_version = {LAYOUT}; {TABLES} COMMIT;"
    );
    conn.execute_batch(&script).or_sql("make a journal")
}

/// The settings of the driver's connection.
pub(super) fn settings(conn: &Connection, durability: Durability) -> Result<()> {
    let mode: String =
        conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).or_sql("switch the journal to WAL")?;
    if mode != "wal" {
        return Err(Error::new(Kind::Unsupported, "SQLite can't use its write-ahead log here").with("mode", mode));
    }
    let synchronous = if durability == Durability::Full { "FULL" } else { "NORMAL" };
    // fullfsync is macOS's F_FULLFSYNC, and nothing elsewhere. The log's file is cut back to 16 MiB when it is reset.
    conn.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous}; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON; \
         PRAGMA journal_size_limit = 16777216; PRAGMA temp_store = MEMORY;"
    ))
    .or_sql("set up the journal")
}

/// Whether nothing was ever made in the database.
pub(super) fn is_empty(conn: &Connection) -> Result<bool> {
    let count: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).or_sql("look into the journal")?;
    Ok(count == 0)
}

/// Checks that the tables are those that this version makes, to the letter.
pub(super) fn check_tables(conn: &Connection) -> Result<()> {
    let pragma = |name: &str| -> Result<i32> {
        conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).or_sql("look into the journal")
    };
    let version = pragma("user_version")?;
    if version > LAYOUT {
        return Err(later(version));
    }
    let model = Connection::open_in_memory().or_sql("set up the journal")?;
    create(&model)?;
    if pragma("application_id")? != APPLICATION_ID || version != LAYOUT || tables(conn)? != tables(&model)? {
        return Err(Error::new(
            Kind::Corrupt,
            "the journal's database is damaged: its tables are not those of a journal",
        )
        .help("restore the journal with the files beside it from a backup"));
    }
    Ok(())
}

type Table = (String, String, String, Option<String>);

fn tables(conn: &Connection) -> Result<Vec<Table>> {
    let mut statement = conn
        .prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name")
        .or_sql("look into the journal")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
    rows.and_then(Iterator::collect).or_sql("look into the journal")
}
