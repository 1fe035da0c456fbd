//! Writing what was worked out, within a transaction.

use rusqlite::Connection;

use super::error::{OrSql, int};
use super::read::{item_sum, run_sum};
use crate::error::{Error, Kind, Result};
use crate::journal::commit::Prepared;
use crate::journal::event::check_body;
use crate::journal::{MAX_COMMAND, MAX_WAITING, StreamId};
use crate::time::Time;

/// Writes a commit with all that belongs to it.
pub(super) fn write(conn: &Connection, prepared: &Prepared) -> Result<()> {
    let doing = "write events";
    let mut insert = conn
        .prepare_cached("INSERT INTO events (stream, seq, at, body, hash) VALUES (?1, ?2, ?3, ?4, ?5)")
        .or_sql(doing)?;
    for (stream, link) in &prepared.links {
        let row = (stream.as_str(), int(link.seq)?, link.at.0, &link.body, link.hash.as_bytes());
        insert.execute(row).or_sql(doing)?;
    }
    let mut upsert = conn
        .prepare_cached(
            "INSERT INTO streams (stream, seq, hash, pruned) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (stream) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, pruned = excluded.pruned",
        )
        .or_sql(doing)?;
    let mut delete = conn.prepare_cached("DELETE FROM events WHERE stream = ?1").or_sql(doing)?;
    for (stream, head) in &prepared.heads {
        let row = (stream.as_str(), int(head.seq)?, head.hash.as_bytes(), i64::from(head.pruned));
        upsert.execute(row).or_sql(doing)?;
        if head.pruned {
            delete.execute([stream.as_str()]).or_sql(doing)?;
        }
    }
    let mut run = conn
        .prepare_cached(
            "INSERT INTO runs (stream, pipeline, key, started, status, finished, sum) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (stream) DO UPDATE SET \
             status = excluded.status, finished = excluded.finished, sum = excluded.sum",
        )
        .or_sql(doing)?;
    for (stream, index) in &prepared.indexes {
        let sum = run_sum(stream, index);
        let finished = i64::from(index.finished);
        let (pipeline, key, status) = (&index.pipeline, &index.key, &index.status);
        run.execute((stream.as_str(), pipeline, key, index.started.0, status, finished, sum.as_bytes()))
            .or_sql(doing)?;
    }
    let mut take = conn.prepare_cached("DELETE FROM inbox WHERE id = ?1").or_sql(doing)?;
    for id in &prepared.took {
        take.execute([int(*id)?]).or_sql(doing)?;
    }
    conn.prepare_cached("INSERT INTO commits (no, body, hash) VALUES (?1, ?2, ?3)")
        .and_then(|mut s| {
            let no = i64::try_from(prepared.tip.no).unwrap_or(i64::MAX);
            s.execute((no, &prepared.body, prepared.tip.hash.as_bytes()))
        })
        .map(drop)
        .or_sql(doing)
}

/// Sets the epoch that may write.
pub(super) fn set_epoch(conn: &Connection, epoch: u64) -> Result<()> {
    conn.execute("UPDATE meta SET value = ?1 WHERE name = 'epoch'", [int(epoch)?]).map(drop).or_sql("raise the epoch")
}

/// Puts a command into the inbox, within a transaction.
pub(super) fn send(conn: &Connection, stream: &StreamId, at: Time, body: &[u8]) -> Result<u64> {
    check_body(body, MAX_COMMAND)?;
    let doing = "write to the inbox";
    let waiting: i64 = conn.query_row("SELECT count(*) FROM inbox", [], |row| row.get(0)).or_sql(doing)?;
    if usize::try_from(waiting).unwrap_or(usize::MAX) >= MAX_WAITING {
        return Err(Error::new(Kind::Busy, "too many commands wait in the inbox")
            .with("waiting", waiting)
            .retry_later()
            .help("start the program that drives the journal, so that it takes them"));
    }
    let row = (stream.as_str(), at.0, body);
    conn.execute("INSERT INTO inbox (stream, at, body, sum) VALUES (?1, ?2, ?3, x'')", row).or_sql(doing)?;
    // The number is part of what is summed, and SQLite gives it.
    let id = conn.last_insert_rowid();
    let sum = item_sum(id, stream.as_str(), at.0, body);
    conn.execute("UPDATE inbox SET sum = ?1 WHERE id = ?2", (sum.as_bytes(), id)).or_sql(doing)?;
    super::error::uint(id)
}
