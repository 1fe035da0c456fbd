//! What one append becomes, worked out before anything is written: links of chains, new heads, and the commit that
//! vouches for them. A commit is a checkpoint: it names the streams that it touched with their new heads, and its hash
//! covers the commit before it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::journal::chain::{Digest, Hasher, Link, event_hash};
use crate::journal::event::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_BODY, check_body};
use crate::journal::{Append, RunIndex, StreamId};
use crate::time::Time;

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamHead {
    pub(super) seq: u64,
    pub(super) hash: Digest,
    pub(super) at: Time,
    pub(super) pruned: bool,
}

impl StreamHead {
    pub(super) const NONE: StreamHead = StreamHead { seq: 0, hash: Digest::ZERO, at: Time(i64::MIN), pruned: false };
}

/// Where the chain of commits stands. `at` is the latest time of any event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) no: u64,
    pub(super) hash: Digest,
    pub(super) at: Time,
}

impl Tip {
    pub(super) const NONE: Tip = Tip { no: 0, hash: Digest::ZERO, at: Time(0) };
}

/// A commit as it is stored, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Body {
    pub(super) epoch: u64,
    /// The latest time of any event so far.
    pub(super) at: Time,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) changes: Vec<Change>,
    /// The commands that were taken from the inbox.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) took: Vec<u64>,
}

/// What a commit did to one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) stream: StreamId,
    pub(super) seq: u64,
    pub(super) head: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<RunIndex>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) pruned: bool,
}

/// The hash of a commit that follows the one with the hash `previous`.
pub(super) fn commit_hash(previous: &Digest, no: u64, body: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(b"tidegate commit 1\n");
    hasher.update(previous.as_bytes());
    hasher.update(&no.to_be_bytes());
    hasher.field(body);
    hasher.finish()
}

/// What working out a commit asks of what is stored.
pub(super) trait Lookup {
    fn stream(&self, stream: &StreamId) -> Result<Option<StreamHead>>;
    fn index(&self, stream: &StreamId) -> Result<Option<RunIndex>>;
    fn run_by_key(&self, pipeline: &str, key: &str) -> Result<Option<StreamId>>;
    fn waits(&self, id: u64) -> Result<bool>;
}

/// All that is to be written in one transaction.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) links: Vec<(StreamId, Link)>,
    pub(super) heads: BTreeMap<StreamId, StreamHead>,
    pub(super) indexes: BTreeMap<StreamId, RunIndex>,
    pub(super) took: Vec<u64>,
    pub(super) body: Vec<u8>,
    pub(super) tip: Tip,
    /// Roughly how many bytes will be written.
    pub(super) bytes: usize,
}

impl Prepared {
    /// A commit that follows `tip` with the given changes.
    fn seal(mut self, tip: &Tip, epoch: u64) -> Result<Prepared> {
        let at = self.heads.values().map(|head| head.at).fold(tip.at, Time::max);
        let change = |(stream, head): (&StreamId, &StreamHead)| Change {
            stream: stream.clone(),
            seq: head.seq,
            head: head.hash,
            index: self.indexes.get(stream).cloned(),
            pruned: head.pruned,
        };
        let body = Body { epoch, at, changes: self.heads.iter().map(change).collect(), took: self.took.clone() };
        self.body = serde_json::to_vec(&body)
            .map_err(|e| Error::new(Kind::Internal, "a commit can't be written as JSON").because(e))?;
        let no = tip.no.saturating_add(1);
        self.tip = Tip { no, hash: commit_hash(&tip.hash, no, &self.body), at };
        self.bytes = self.bytes.saturating_add(self.body.len());
        Ok(self)
    }

    fn empty() -> Prepared {
        Prepared {
            links: Vec::new(),
            heads: BTreeMap::new(),
            indexes: BTreeMap::new(),
            took: Vec::new(),
            body: Vec::new(),
            tip: Tip::NONE,
            bytes: 0,
        }
    }
}

/// Works out the commit of an opening: it changes no stream and raises the epoch.
pub(super) fn prepare_opening(tip: &Tip, epoch: u64) -> Result<Prepared> {
    Prepared::empty().seal(tip, epoch)
}

/// Works out the commit that removes a finished run's events; `None` when that was done before.
pub(super) fn prepare_prune(tip: &Tip, epoch: u64, stream: &StreamId, lookup: &dyn Lookup) -> Result<Option<Prepared>> {
    let Some(head) = lookup.stream(stream)? else {
        return Err(Error::new(Kind::NotFound, "there is no such stream").with("stream", stream));
    };
    if head.pruned {
        return Ok(None);
    }
    if !lookup.index(stream)?.is_some_and(|index| index.finished) {
        return Err(Error::new(Kind::Conflict, "only a finished run can be pruned").with("stream", stream));
    }
    let mut prepared = Prepared::empty();
    prepared.heads.insert(stream.clone(), StreamHead { pruned: true, ..head });
    prepared.seal(tip, epoch).map(Some)
}

/// Works out the commit of an append, or why it can't be.
pub(super) fn prepare(
    tip: &Tip,
    epoch: u64,
    appends: Vec<Append>,
    took: &[u64],
    lookup: &dyn Lookup,
) -> Result<Prepared> {
    check_size(&appends, took)?;
    let mut prepared = Prepared::empty();
    let mut keys: BTreeMap<(String, String), StreamId> = BTreeMap::new();
    for append in appends {
        let Append { stream, expect, events, index, .. } = append;
        let mut head = match prepared.heads.get(&stream) {
            Some(head) => *head,
            None => lookup.stream(&stream)?.unwrap_or(StreamHead::NONE),
        };
        if head.pruned {
            return Err(
                Error::new(Kind::Conflict, "the run is over and its events were pruned").with("stream", &stream)
            );
        }
        if head.seq != expect {
            return Err(Error::new(Kind::Conflict, "the stream is not where its writer thinks")
                .with("stream", &stream)
                .with("expected", expect)
                .with("found", head.seq)
                .help("read the stream again and decide anew"));
        }
        if let Some(index) = index {
            check_index(&stream, &index, &prepared, &keys, lookup)?;
            keys.insert((index.pipeline.clone(), index.key.clone()), stream.clone());
            prepared.indexes.insert(stream.clone(), index);
        }
        for event in events {
            let place = |e: Error| e.with("stream", &stream).with("seq", head.seq.saturating_add(1));
            check_body(&event.body, MAX_BODY).map_err(place)?;
            if event.at < head.at {
                return Err(place(Error::new(Kind::Invalid, "an event is before the one that it follows")));
            }
            let seq = head.seq.saturating_add(1);
            let hash = event_hash(&head.hash, &stream, seq, event.at, &event.body);
            head = StreamHead { seq, hash, at: event.at, pruned: false };
            prepared.bytes = prepared.bytes.saturating_add(event.body.len());
            prepared.links.push((stream.clone(), Link { seq, at: event.at, body: event.body, hash }));
        }
        prepared.heads.insert(stream, head);
    }
    for &id in took.iter().collect::<BTreeSet<_>>() {
        if !lookup.waits(id)? {
            return Err(Error::new(Kind::Conflict, "a command no longer waits in the inbox").with("id", id));
        }
        prepared.took.push(id);
    }
    prepared.seal(tip, epoch)
}

fn check_size(appends: &[Append], took: &[u64]) -> Result<()> {
    let events = appends.iter().map(|append| append.events.len()).sum::<usize>();
    let bytes = appends.iter().flat_map(|append| &append.events).map(|event| event.body.len()).sum::<usize>();
    if events + appends.len() + took.len() > MAX_BATCH_EVENTS || bytes > MAX_BATCH_BYTES {
        return Err(Error::new(Kind::Invalid, "too much for one append").with("events", events).with("bytes", bytes));
    }
    Ok(())
}

fn check_index(
    stream: &StreamId,
    index: &RunIndex,
    prepared: &Prepared,
    keys: &BTreeMap<(String, String), StreamId>,
    lookup: &dyn Lookup,
) -> Result<()> {
    if !stream.is_run() {
        return Err(Error::new(Kind::Invalid, "only runs are in the index").with("stream", stream));
    }
    index.check(stream)?;
    let known = match prepared.indexes.get(stream) {
        Some(known) => Some(known.clone()),
        None => lookup.index(stream)?,
    };
    let same =
        |known: &RunIndex| (&known.pipeline, &known.key, known.started) == (&index.pipeline, &index.key, index.started);
    if known.is_some_and(|known| !same(&known)) {
        return Err(Error::new(Kind::Conflict, "a run's pipeline, key and start never change").with("stream", stream));
    }
    let owner = match keys.get(&(index.pipeline.clone(), index.key.clone())) {
        Some(owner) => Some(owner.clone()),
        None => lookup.run_by_key(&index.pipeline, &index.key)?,
    };
    match owner {
        Some(owner) if owner != *stream => Err(Error::new(Kind::Conflict, "there is a run with this key already")
            .with("pipeline", &index.pipeline)
            .with("key", &index.key)
            .with("run", owner)),
        _ => Ok(()),
    }
}
