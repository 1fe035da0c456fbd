//! Checks all that a journal keeps, wherever it keeps it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::journal::chain::{Digest, Link, check_end, check_links};
use crate::journal::commit::{Body, Change, StreamHead, commit_hash};
use crate::journal::{RunEntry, StreamId};
use crate::time::Time;

/// The most damages that are listed.
pub const MAX_DAMAGES: usize = 100;

/// What kind of damage it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DamageKind {
    /// An event is not what was written.
    Changed,
    /// An event, stream or commit that was written is not there.
    Missing,
    /// An event stands where another belongs.
    Reordered,
    /// Something is there that was never committed.
    Unexpected,
    /// A stream's head does not fit its events or the commits.
    Head,
    /// A commit is not what was written.
    Commit,
    /// The index of runs does not fit the commits.
    Index,
    /// A command in the inbox is not what was sent.
    Inbox,
    /// The database itself is damaged.
    Database,
}

/// One thing that is wrong with a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Damage {
    /// What kind of damage.
    pub kind: DamageKind,
    /// The stream, when it is one stream's damage.
    #[schemars(with = "Option<String>")]
    pub stream: Option<StreamId>,
    /// The event's sequence number, or the commit's number when there is no stream.
    pub seq: Option<u64>,
    /// What was found, in a few words.
    pub detail: String,
}

impl Damage {
    /// The damage as an error of [`Kind::Corrupt`].
    pub fn error(&self) -> Error {
        let mut error = Error::new(Kind::Corrupt, format!("the journal is damaged: {}", self.detail));
        if let Some(stream) = &self.stream {
            error = error.with("stream", stream);
        }
        if let Some(seq) = self.seq {
            error = error.with(if self.stream.is_some() { "seq" } else { "number" }, seq);
        }
        error.help("restore the journal with the files beside it from a backup; verify lists all that is wrong")
    }
}

/// What a check of everything found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
pub struct Verified {
    /// Streams that were checked.
    pub streams: u64,
    /// Events that were checked.
    pub events: u64,
    /// Commits that were checked.
    pub commits: u64,
    /// What is wrong, in the order in which it was found; the first 100 are listed.
    pub damages: Vec<Damage>,
    /// How much more is wrong than is listed.
    pub unlisted: u64,
}

impl Verified {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damages.is_empty()
    }

    /// The first damage as an error, if there is any.
    pub fn check(&self) -> Result<()> {
        match self.damages.first() {
            Some(first) => Err(first.error().with("damages", self.damages.len() as u64 + self.unlisted)),
            None => Ok(()),
        }
    }
}

/// Gathers damages up to the limit.
#[derive(Debug, Default)]
pub(super) struct Damages {
    pub(super) listed: Vec<Damage>,
    pub(super) unlisted: u64,
}

impl Damages {
    pub(super) fn add(
        &mut self,
        kind: DamageKind,
        stream: Option<&StreamId>,
        seq: Option<u64>,
        detail: impl Into<String>,
    ) {
        if self.listed.len() < MAX_DAMAGES {
            self.listed.push(Damage { kind, stream: stream.cloned(), seq, detail: detail.into() });
        } else {
            self.unlisted = self.unlisted.saturating_add(1);
        }
    }

    /// The first damage as an error.
    pub(super) fn check(self) -> Result<()> {
        self.listed.first().map_or(Ok(()), |first| Err(first.error()))
    }
}

/// Where a check gets what is stored.
pub(super) trait Source {
    /// All commits in order of their number: number, body, hash.
    fn commits(&mut self, each: &mut dyn FnMut(u64, &[u8], Digest)) -> Result<()>;
    /// All streams with their heads, by name.
    fn streams(&mut self) -> Result<BTreeMap<StreamId, StreamHead>>;
    /// All events of a stream.
    fn links(&mut self, stream: &StreamId) -> Result<Vec<Link>>;
    /// The whole index of runs.
    fn index(&mut self) -> Result<Vec<RunEntry>>;
    /// What only this kind of storage can have.
    fn own(&mut self, damages: &mut Damages) -> Result<()>;
}

/// What the commits say, folded.
#[derive(Debug)]
struct Folded {
    count: u64,
    last: Digest,
    at: Time,
    epoch: u64,
    streams: BTreeMap<StreamId, Change>,
}

impl Folded {
    fn add(&mut self, no: u64, body: &[u8], hash: Digest, damages: &mut Damages) {
        let expected = self.count.saturating_add(1);
        self.count = no;
        if no != expected {
            damages.add(DamageKind::Missing, None, Some(expected), "a commit is missing");
        } else if commit_hash(&self.last, no, body) != hash {
            damages.add(DamageKind::Commit, None, Some(no), "a commit is not what was written");
        }
        self.last = hash;
        let Ok(body) = serde_json::from_slice::<Body>(body) else {
            damages.add(DamageKind::Commit, None, Some(no), "a commit can't be read");
            return;
        };
        if body.epoch < self.epoch || body.at < self.at {
            damages.add(DamageKind::Commit, None, Some(no), "a commit's epoch or time goes back");
        }
        (self.epoch, self.at) = (body.epoch, body.at);
        for change in body.changes {
            let known = self.streams.get(&change.stream).and_then(|known| known.index.clone());
            let index = change.index.clone().or(known);
            self.streams.insert(change.stream.clone(), Change { index, ..change });
        }
    }
}

/// What was read; damage that hinders the reading is noted, and gives `None`.
fn or_damage<T>(read: Result<T>, stream: Option<&StreamId>, damages: &mut Damages) -> Result<Option<T>> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == Kind::Corrupt => {
            let cause = std::error::Error::source(&e).map(|source| format!(": {source}")).unwrap_or_default();
            damages.add(DamageKind::Database, stream, None, format!("{}{cause}", e.message()));
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Checks everything: the chain of commits, each stream's events and head against it, and the index.
///
/// # Errors
/// Only when the storage can't be read for another reason than damage; damage is a result.
pub(super) fn verify(source: &mut dyn Source) -> Result<Verified> {
    let mut damages = Damages::default();
    let own = source.own(&mut damages);
    or_damage(own, None, &mut damages)?;
    let mut folded = Folded { count: 0, last: Digest::ZERO, at: Time(i64::MIN), epoch: 0, streams: BTreeMap::new() };
    let commits = source.commits(&mut |no, body, hash| folded.add(no, body, hash, &mut damages));
    let commits = or_damage(commits, None, &mut damages)?;
    let heads = or_damage(source.streams(), None, &mut damages)?;
    let mut result = Verified { commits: folded.count, ..Verified::default() };
    for (stream, head) in heads.iter().flatten() {
        result.streams += 1;
        match folded.streams.get(stream) {
            None => damages.add(DamageKind::Unexpected, Some(stream), None, "a stream that no commit names"),
            Some(change) if (change.seq, change.head, change.pruned) != (head.seq, head.hash, head.pruned) => {
                let detail = format!("the commits end it at {}, its head says {}", change.seq, head.seq);
                damages.add(DamageKind::Head, Some(stream), Some(change.seq.min(head.seq)), detail);
            }
            Some(_) => {}
        }
        let Some(links) = or_damage(source.links(stream), Some(stream), &mut damages)? else { continue };
        result.events += links.len() as u64;
        if !head.pruned {
            check_links(stream, 0, Digest::ZERO, &links, &mut damages);
            check_end(stream, links.last(), head.seq, &head.hash, &mut damages);
        } else if let Some(link) = links.first() {
            damages.add(DamageKind::Unexpected, Some(stream), Some(link.seq), "an event of a pruned stream");
        }
    }
    let index = or_damage(source.index(), None, &mut damages)?;
    // What could not be read to its end has been noted; comparing with a part of it would only add noise.
    if let (Some(()), Some(heads), Some(index)) = (commits, heads, index) {
        compare(&folded.streams, &heads, index, &mut damages);
    }
    result.damages = damages.listed;
    result.unlisted = damages.unlisted;
    Ok(result)
}

fn compare(
    committed: &BTreeMap<StreamId, Change>,
    heads: &BTreeMap<StreamId, StreamHead>,
    index: Vec<RunEntry>,
    damages: &mut Damages,
) {
    for (stream, change) in committed.iter().filter(|(stream, _)| !heads.contains_key(stream)) {
        let first = (change.seq > 0).then_some(1);
        damages.add(DamageKind::Missing, Some(stream), first, "a whole stream is missing");
    }
    let mut listed: BTreeMap<_, _> = index.into_iter().map(|row| (row.stream, row.index)).collect();
    for (stream, change) in committed {
        if listed.remove(stream) != change.index {
            damages.add(DamageKind::Index, Some(stream), None, "the index of runs is not what was written");
        }
    }
    for stream in listed.keys() {
        damages.add(DamageKind::Index, Some(stream), None, "the index has a run that no commit names");
    }
}
