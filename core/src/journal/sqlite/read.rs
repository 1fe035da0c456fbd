//! Reading the tables, for the driver and for readers.

use rusqlite::{Connection, OptionalExtension, Row};

use super::error::{OrSql, int, uint};
use crate::error::{Error, Kind, Result};
use crate::journal::chain::{Digest, Hasher, Link, check_end, check_links};
use crate::journal::commit::{Lookup, StreamHead, Tip, commit_hash};
use crate::journal::memory::pruned;
use crate::journal::verify::{DamageKind, Damages};
use crate::journal::{InboxItem, RunEntry, RunIndex, Stored, StreamId};
use crate::time::Time;

/// The tables behind a connection or within a transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables<'a>(pub(super) &'a Connection);

const RUN: &str = "SELECT stream, pipeline, key, started, status, finished, sum FROM runs";

/// A row's values before they are checked.
type RawRun = (String, String, String, i64, String, i64, [u8; 32]);
type RawItem = (i64, String, i64, Vec<u8>, [u8; 32]);

/// The sum of a run's row.
pub(super) fn run_sum(stream: &StreamId, index: &RunIndex) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(b"tidegate run 1\n");
    for text in [stream.as_str(), &index.pipeline, &index.key, &index.status] {
        hasher.field(text.as_bytes());
    }
    hasher.update(&index.started.0.to_be_bytes());
    hasher.update(&[u8::from(index.finished)]);
    hasher.finish()
}

/// The sum of a command's row.
pub(super) fn item_sum(id: i64, stream: &str, at: i64, body: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(b"tidegate command 1\n");
    hasher.update(&id.to_be_bytes());
    hasher.field(stream.as_bytes());
    hasher.update(&at.to_be_bytes());
    hasher.field(body);
    hasher.finish()
}

fn item((id, stream, at, body, sum): RawItem) -> Result<InboxItem> {
    if item_sum(id, &stream, at, &body).as_bytes() != &sum {
        let mut damages = Damages::default();
        damages.add(DamageKind::Inbox, None, Some(uint(id)?), "a command is not what was sent");
        damages.check()?;
    }
    Ok(InboxItem { id: uint(id)?, stream: name(stream)?, at: Time(at), body })
}

fn name(text: String) -> Result<StreamId> {
    text.parse()
        .map_err(|e: Error| Error::new(Kind::Corrupt, "the journal is damaged: a stream's name is none").because(e))
}

fn raw_run(row: &Row<'_>) -> rusqlite::Result<RawRun> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
}

fn run_row((stream, pipeline, key, started, status, finished, sum): RawRun) -> Result<RunEntry> {
    let stream = name(stream)?;
    let index = RunIndex { pipeline, key, started: Time(started), status, finished: finished != 0 };
    if run_sum(&stream, &index).as_bytes() != &sum || !matches!(finished, 0 | 1) {
        let mut damages = Damages::default();
        damages.add(DamageKind::Index, Some(&stream), None, "a run's row in the index is not what was written");
        damages.check()?;
    }
    Ok(RunEntry { stream, index })
}

impl Tables<'_> {
    /// Where a stream stands; `None` when there is no such stream.
    pub(super) fn stream_head(self, stream: &StreamId) -> Result<Option<StreamHead>> {
        let sql = "SELECT s.seq, s.hash, s.pruned, e.at FROM streams s \
                   LEFT JOIN events e ON e.stream = s.stream AND e.seq = s.seq WHERE s.stream = ?1";
        let mut statement = self.0.prepare_cached(sql).or_sql("read a stream's head")?;
        let row =
            statement.query_row([stream.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
        let row: Option<(i64, [u8; 32], i64, Option<i64>)> = row.optional().or_sql("read a stream's head")?;
        row.map(|(seq, hash, pruned, at)| {
            Ok(StreamHead {
                seq: uint(seq)?,
                hash: Digest::from_bytes(hash),
                at: Time(at.unwrap_or(i64::MIN)),
                pruned: pruned != 0,
            })
        })
        .transpose()
    }

    /// The names of all streams.
    pub(super) fn streams(self, only_services: bool) -> Result<Vec<StreamId>> {
        let sql = if only_services {
            "SELECT stream FROM streams WHERE stream >= 'service/' AND stream < 'service0' ORDER BY stream"
        } else {
            "SELECT stream FROM streams ORDER BY stream"
        };
        let mut statement = self.0.prepare_cached(sql).or_sql("list the streams")?;
        let rows = statement.query_map([], |row| row.get(0)).or_sql("list the streams")?;
        rows.map(|row| name(row.or_sql("list the streams")?)).collect()
    }

    /// A stream's events after `after`, oldest first, at most `limit`.
    pub(super) fn links(self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Link>> {
        let sql = "SELECT seq, at, body, hash FROM events WHERE stream = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
        let mut statement = self.0.prepare_cached(sql).or_sql("read events")?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement
            .query_map((stream.as_str(), int(after)?, limit), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .or_sql("read events")?;
        rows.map(|row| {
            let (seq, at, body, hash): (i64, i64, Vec<u8>, [u8; 32]) = row.or_sql("read events")?;
            Ok(Link { seq: uint(seq)?, at: Time(at), body, hash: Digest::from_bytes(hash) })
        })
        .collect()
    }

    /// Events after `after`, at most `limit`, checked against the chain, and against the head when they reach it.
    pub(super) fn read(self, stream: &StreamId, after: u64, limit: usize) -> Result<Vec<Stored>> {
        let Some(head) = self.stream_head(stream)? else {
            return match self.links(stream, 0, 1)?.first() {
                None => Ok(Vec::new()),
                Some(link) => {
                    let mut damages = Damages::default();
                    damages.add(DamageKind::Head, Some(stream), Some(link.seq), "events of a stream without a head");
                    damages.check().map(|()| Vec::new())
                }
            };
        };
        if head.pruned {
            return Err(pruned(stream, head.seq));
        }
        let mut damages = Damages::default();
        let previous = match after {
            0 => Digest::ZERO,
            // Beyond the end there is nothing yet.
            _ if after >= head.seq => return Ok(Vec::new()),
            _ => match self.links(stream, after.saturating_sub(1), 1)?.first() {
                Some(link) if link.seq == after => link.hash,
                _ => {
                    damages.add(DamageKind::Missing, Some(stream), Some(after), "missing");
                    return damages.check().map(|()| Vec::new());
                }
            },
        };
        let links = self.links(stream, after, limit)?;
        check_links(stream, after, previous, &links, &mut damages);
        if links.len() < limit || links.last().is_some_and(|link| link.seq >= head.seq) {
            check_end(stream, links.last(), head.seq, &head.hash, &mut damages);
        }
        damages.check()?;
        Ok(links.into_iter().map(|link| Stored { seq: link.seq, at: link.at, body: link.body }).collect())
    }

    /// Runs, newest first.
    pub(super) fn runs(self, limit: usize) -> Result<Vec<RunEntry>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.run_rows("ORDER BY started DESC, stream DESC LIMIT ?1", [limit])
    }

    /// Runs of this key, and those whose id begins so; newest first.
    #[cfg(feature = "cli")]
    pub(super) fn runs_named(self, name: &str) -> Result<Vec<RunEntry>> {
        let begins = format!("run/{name}");
        self.run_rows(
            "WHERE key = ?1 OR substr(stream, 1, length(?2)) = ?2 ORDER BY started DESC, stream DESC",
            [name, begins.as_str()],
        )
    }

    /// Runs that are not finished, oldest first.
    pub(super) fn unfinished(self) -> Result<Vec<RunEntry>> {
        self.run_rows("WHERE finished = 0 ORDER BY started, stream", [])
    }

    /// Checks every run's row, keeping none.
    pub(super) fn check_runs(self) -> Result<()> {
        let mut statement = self.0.prepare(RUN).or_sql("check the runs")?;
        let mut rows = statement.query_map([], raw_run).or_sql("check the runs")?;
        rows.try_for_each(|row| run_row(row.or_sql("check the runs")?).map(drop))
    }

    fn run_rows(self, rest: &str, params: impl rusqlite::Params) -> Result<Vec<RunEntry>> {
        let mut statement = self.0.prepare_cached(&format!("{RUN} {rest}")).or_sql("list the runs")?;
        let rows = statement.query_map(params, raw_run).or_sql("list the runs")?;
        rows.map(|row| run_row(row.or_sql("list the runs")?)).collect()
    }

    /// The commands that wait, oldest first, at most `limit`.
    pub(super) fn inbox(self, limit: usize) -> Result<Vec<InboxItem>> {
        self.inbox_rows(limit, |row| item(row.or_sql("read the inbox")?))
    }

    /// Those that are not what was sent, with what is wrong.
    pub(super) fn damaged_inbox(self, limit: usize) -> Result<Vec<(u64, Error)>> {
        let ids: Vec<i64> = {
            let sql = "SELECT id FROM inbox ORDER BY id LIMIT ?1";
            let mut statement = self.0.prepare_cached(sql).or_sql("read the inbox")?;
            let rows = statement.query_map([int(limit as u64)?], |row| row.get(0)).or_sql("read the inbox")?;
            rows.collect::<rusqlite::Result<_>>().or_sql("read the inbox")?
        };
        let items = self.inbox_rows(limit, |row| Ok(row.or_sql("read the inbox").and_then(item).err()))?;
        let damaged = ids.into_iter().zip(items).filter_map(|(id, error)| error.map(|error| Ok((uint(id)?, error))));
        damaged.collect()
    }

    fn inbox_rows<T>(self, limit: usize, each: impl FnMut(rusqlite::Result<RawItem>) -> Result<T>) -> Result<Vec<T>> {
        let sql = "SELECT id, stream, at, body, sum FROM inbox ORDER BY id LIMIT ?1";
        let mut statement = self.0.prepare_cached(sql).or_sql("read the inbox")?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement
            .query_map([limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
            .or_sql("read the inbox")?;
        rows.map(each).collect()
    }

    /// The epoch that may write.
    pub(super) fn epoch(self) -> Result<u64> {
        let mut statement =
            self.0.prepare_cached("SELECT value FROM meta WHERE name = 'epoch'").or_sql("read the epoch")?;
        uint(statement.query_row([], |row| row.get(0)).or_sql("read the epoch")?)
    }

    /// A commit's body and hash.
    pub(super) fn commit(self, no: u64) -> Result<Option<(Vec<u8>, Digest)>> {
        let mut statement =
            self.0.prepare_cached("SELECT body, hash FROM commits WHERE no = ?1").or_sql("read a commit")?;
        let row = statement.query_row([int(no)?], |row| Ok((row.get(0)?, row.get(1)?)));
        let row: Option<(Vec<u8>, [u8; 32])> = row.optional().or_sql("read a commit")?;
        Ok(row.map(|(body, hash)| (body, Digest::from_bytes(hash))))
    }

    /// The last commit with its epoch, checked against the one before it.
    pub(super) fn tip(self) -> Result<(Tip, u64)> {
        let last: Option<i64> =
            self.0.query_row("SELECT max(no) FROM commits", [], |row| row.get(0)).or_sql("read the last commit")?;
        let Some(no) = last.map(uint).transpose()? else { return Ok((Tip::NONE, 0)) };
        let bad = || {
            let mut damages = Damages::default();
            damages.add(DamageKind::Commit, None, Some(no), "the last commit is not what was written");
            damages.check().map(|()| (Tip::NONE, 0))
        };
        let Some((body, hash)) = self.commit(no)? else { return bad() };
        let previous = match no {
            1 => Some(Digest::ZERO),
            _ => self.commit(no.saturating_sub(1))?.map(|(_, hash)| hash),
        };
        if previous.is_none_or(|previous| commit_hash(&previous, no, &body) != hash) {
            return bad();
        }
        match serde_json::from_slice::<crate::journal::commit::Body>(&body) {
            Ok(body) => Ok((Tip { no, hash, at: body.at }, body.epoch)),
            Err(_) => bad(),
        }
    }
}

impl Lookup for Tables<'_> {
    fn stream(&self, stream: &StreamId) -> Result<Option<StreamHead>> {
        self.stream_head(stream)
    }

    fn index(&self, stream: &StreamId) -> Result<Option<RunIndex>> {
        Ok(self.run_rows("WHERE stream = ?1", [stream.as_str()])?.into_iter().next().map(|row| row.index))
    }

    fn run_by_key(&self, pipeline: &str, key: &str) -> Result<Option<StreamId>> {
        let rows = self.run_rows("WHERE pipeline = ?1 AND key = ?2", [pipeline, key])?;
        Ok(rows.into_iter().next().map(|row| row.stream))
    }

    fn waits(&self, id: u64) -> Result<bool> {
        let mut statement = self.0.prepare_cached("SELECT 1 FROM inbox WHERE id = ?1").or_sql("read the inbox")?;
        statement.exists([int(id)?]).or_sql("read the inbox")
    }
}
