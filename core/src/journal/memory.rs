//! A journal in memory: for `Durability::Memory`, and for simulation, where it crashes and fails on demand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Kind, Result};
use crate::journal::chain::{Digest, Link, check_end, check_links};
use crate::journal::commit::{Lookup, Prepared, StreamHead, Tip, prepare, prepare_opening, prepare_prune};
use crate::journal::event::check_body;
use crate::journal::verify::{Damages, Source, verify};
use crate::journal::{
    Append, InboxItem, Journal, MAX_COMMAND, MAX_WAITING, RunEntry, RunIndex, Stored, StreamId, Verified,
};
use crate::time::Time;

/// How a coming append of a [`MemoryJournal`] goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// It fails and nothing is written.
    Lost,
    /// It is written, and reported as failed.
    Unacknowledged,
    /// The disk is full: it fails and nothing is written, unless it is marked `way_back` and there is a reserve.
    Full,
}

/// What is durable, if memory were.
#[derive(Debug, Clone)]
struct Store {
    epoch: u64,
    tip: Tip,
    commits: Vec<(Arc<Vec<u8>>, Digest)>,
    streams: BTreeMap<StreamId, (StreamHead, Vec<Arc<Link>>)>,
    index: BTreeMap<StreamId, RunIndex>,
    keys: BTreeMap<(String, String), StreamId>,
    inbox: BTreeMap<u64, InboxItem>,
    last_command: u64,
    /// The disk is full; whether a way back still finds its reserve.
    full: Option<bool>,
}

/// A journal in memory, with the same chains and checks as one on disk.
#[derive(Debug)]
pub struct MemoryJournal {
    store: Arc<Mutex<Store>>,
    epoch: u64,
    mishaps: VecDeque<Option<Mishap>>,
    reserved: bool,
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> MemoryJournal {
        let store = Store {
            epoch: 0,
            tip: Tip::NONE,
            commits: Vec::new(),
            streams: BTreeMap::new(),
            index: BTreeMap::new(),
            keys: BTreeMap::new(),
            inbox: BTreeMap::new(),
            last_command: 0,
            full: None,
        };
        MemoryJournal::over(Arc::new(Mutex::new(store)))
    }

    /// Opens a store as a new epoch.
    fn over(store: Arc<Mutex<Store>>) -> MemoryJournal {
        let epoch = {
            let mut store = lock(&store);
            store.epoch = store.epoch.saturating_add(1);
            // An opening carries nothing that could fail to be written as JSON.
            if let Ok(prepared) = prepare_opening(&store.tip, store.epoch) {
                store.write(prepared);
            }
            store.epoch
        };
        MemoryJournal { store, epoch, mishaps: VecDeque::new(), reserved: false }
    }

    /// Another driver over the same store, as a new epoch: this one is fenced off from now on. What was planned to go
    /// wrong is forgotten, as is the reserve.
    #[must_use]
    pub fn reopen(&self) -> MemoryJournal {
        MemoryJournal::over(Arc::clone(&self.store))
    }

    /// A driver, as a new epoch, over a copy of what is durable now. This one goes on as before.
    #[must_use]
    pub fn snapshot(&self) -> MemoryJournal {
        let copy = lock(&self.store).clone();
        MemoryJournal::over(Arc::new(Mutex::new(copy)))
    }

    /// Plans how a coming append goes wrong; planned mishaps come one for each append, in order.
    pub fn fail_next(&mut self, mishap: Mishap) {
        self.mishaps.push_back(Some(mishap));
    }

    /// Plans that so many coming appends go well, before what is planned next.
    pub fn spare_next(&mut self, appends: u64) {
        self.mishaps.extend((0..appends).map(|_| None));
    }

    /// Fills the disk of this store, for every driver, or makes room again. `Some(true)`: a way back still finds the
    /// room that its driver had reserved.
    pub fn fill(&self, full: Option<bool>) {
        lock(&self.store).full = full;
    }

    /// Puts a command into the inbox, as another process would. Returns its number.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when it is no JSON or too long; [`Kind::Busy`] when too many wait.
    pub fn send(&self, stream: &StreamId, at: Time, body: &[u8]) -> Result<u64> {
        check_body(body, MAX_COMMAND)?;
        let mut store = lock(&self.store);
        if store.inbox.len() >= MAX_WAITING {
            return Err(Error::new(Kind::Busy, "too many commands wait in the inbox").retry_later());
        }
        let id = store.last_command.saturating_add(1);
        store.last_command = id;
        store.inbox.insert(id, InboxItem { id, stream: stream.clone(), at, body: body.to_vec() });
        Ok(id)
    }

    fn fence(&self, store: &Store) -> Result<()> {
        if store.epoch == self.epoch { Ok(()) } else { Err(fenced(self.epoch, store.epoch)) }
    }
}

impl Default for MemoryJournal {
    fn default() -> MemoryJournal {
        MemoryJournal::new()
    }
}

/// The error of a driver that a later one has fenced off.
pub(super) fn fenced(mine: u64, theirs: u64) -> Error {
    Error::new(Kind::Busy, format!("fenced off by epoch {theirs}"))
        .with("epoch", mine)
        .help("another driver has opened the journal since; this one must stop")
}

/// A store is changed in one step that can't panic half way, so that a poisoned lock guards nothing broken.
fn lock(store: &Arc<Mutex<Store>>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    fn write(&mut self, prepared: Prepared) {
        for (stream, head) in prepared.heads {
            let (known, links) = self.streams.entry(stream).or_insert_with(|| (StreamHead::NONE, Vec::new()));
            *known = head;
            if head.pruned {
                links.clear();
            }
        }
        for (stream, link) in prepared.links {
            if let Some((_, links)) = self.streams.get_mut(&stream) {
                links.push(Arc::new(link));
            }
        }
        for (stream, index) in prepared.indexes {
            self.keys.insert((index.pipeline.clone(), index.key.clone()), stream.clone());
            self.index.insert(stream, index);
        }
        for id in prepared.took {
            self.inbox.remove(&id);
        }
        self.commits.push((Arc::new(prepared.body), prepared.tip.hash));
        self.tip = prepared.tip;
    }

    fn rows(&self) -> Vec<RunEntry> {
        self.index.iter().map(|(stream, index)| RunEntry { stream: stream.clone(), index: index.clone() }).collect()
    }
}

impl Lookup for Store {
    fn stream(&self, stream: &StreamId) -> Result<Option<StreamHead>> {
        Ok(self.streams.get(stream).map(|(head, _)| *head))
    }

    fn index(&self, stream: &StreamId) -> Result<Option<RunIndex>> {
        Ok(self.index.get(stream).cloned())
    }

    fn run_by_key(&self, pipeline: &str, key: &str) -> Result<Option<StreamId>> {
        Ok(self.keys.get(&(pipeline.to_owned(), key.to_owned())).cloned())
    }

    fn waits(&self, id: u64) -> Result<bool> {
        Ok(self.inbox.contains_key(&id))
    }
}

impl Source for Store {
    fn commits(&mut self, each: &mut dyn FnMut(u64, &[u8], Digest)) -> Result<()> {
        (1..).zip(&self.commits).for_each(|(no, (body, hash))| each(no, body, *hash));
        Ok(())
    }

    fn streams(&mut self) -> Result<BTreeMap<StreamId, StreamHead>> {
        Ok(self.streams.iter().map(|(stream, (head, _))| (stream.clone(), *head)).collect())
    }

    fn links(&mut self, stream: &StreamId) -> Result<Vec<Link>> {
        Ok(self
            .streams
            .get(stream)
            .map(|(_, links)| links.iter().map(|link| (**link).clone()).collect())
            .unwrap_or_default())
    }

    fn index(&mut self) -> Result<Vec<RunEntry>> {
        Ok(self.rows())
    }

    fn own(&mut self, _damages: &mut Damages) -> Result<()> {
        Ok(())
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, appends: Vec<Append>, took: &[u64]) -> Result<()> {
        let mut store = lock(&self.store);
        self.fence(&store)?;
        let way_back = appends.iter().any(|append| append.way_back);
        let prepared = prepare(&store.tip, self.epoch, appends, took, &*store)?;
        let mishap = self.mishaps.pop_front().flatten();
        if store.full.is_some_and(|reserve| !(reserve && way_back && self.reserved)) {
            return Err(Error::new(Kind::Io, "the disk is full, as was planned"));
        }
        match mishap {
            None => {}
            Some(Mishap::Lost) => return Err(Error::new(Kind::Io, "the append failed, as was planned")),
            Some(Mishap::Full) if way_back && self.reserved => self.reserved = false,
            Some(Mishap::Full) => return Err(Error::new(Kind::Io, "the disk is full, as was planned")),
            Some(Mishap::Unacknowledged) => {}
        }
        store.write(prepared);
        match mishap {
            Some(Mishap::Unacknowledged) => {
                Err(Error::new(Kind::Io, "the append was written and reported as failed, as was planned"))
            }
            _ => Ok(()),
        }
    }

    fn read(&mut self, stream: &StreamId) -> Result<Vec<Stored>> {
        let mut store = lock(&self.store);
        let Some(head) = Lookup::stream(&*store, stream)? else { return Ok(Vec::new()) };
        if head.pruned {
            return Err(pruned(stream, head.seq));
        }
        let links = store.links(stream)?;
        let mut damages = Damages::default();
        check_links(stream, 0, Digest::ZERO, &links, &mut damages);
        check_end(stream, links.last(), head.seq, &head.hash, &mut damages);
        damages.check()?;
        Ok(links.into_iter().map(|link| Stored { seq: link.seq, at: link.at, body: link.body }).collect())
    }

    fn head(&self, stream: &StreamId) -> Result<u64> {
        Ok(Lookup::stream(&*lock(&self.store), stream)?.map_or(0, |head| head.seq))
    }

    fn find_run(&self, pipeline: &str, key: &str) -> Result<Option<StreamId>> {
        lock(&self.store).run_by_key(pipeline, key)
    }

    fn runs(&self, limit: usize) -> Result<Vec<RunEntry>> {
        let mut rows = lock(&self.store).rows();
        rows.sort_by(|a, b| (b.index.started, &b.stream).cmp(&(a.index.started, &a.stream)));
        rows.truncate(limit);
        Ok(rows)
    }

    fn unfinished(&self) -> Result<Vec<RunEntry>> {
        let mut rows = lock(&self.store).rows();
        rows.retain(|row| !row.index.finished);
        rows.sort_by(|a, b| (a.index.started, &a.stream).cmp(&(b.index.started, &b.stream)));
        Ok(rows)
    }

    fn services(&self) -> Result<Vec<StreamId>> {
        Ok(lock(&self.store).streams.keys().filter(|stream| stream.is_service()).cloned().collect())
    }

    fn inbox(&mut self) -> Result<Vec<InboxItem>> {
        Ok(lock(&self.store).inbox.values().cloned().collect())
    }

    fn damaged_inbox(&mut self) -> Result<Vec<(u64, Error)>> {
        Ok(Vec::new())
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn last_time(&self) -> Time {
        lock(&self.store).tip.at
    }

    fn reserve(&mut self) -> Result<()> {
        self.reserved = true;
        Ok(())
    }

    fn prune(&mut self, stream: &StreamId) -> Result<()> {
        let mut store = lock(&self.store);
        self.fence(&store)?;
        if let Some(prepared) = prepare_prune(&store.tip, self.epoch, stream, &*store)? {
            store.write(prepared);
        }
        Ok(())
    }

    fn verify(&mut self) -> Result<Verified> {
        verify(&mut *lock(&self.store))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// The error of reading a stream whose events were pruned.
pub(super) fn pruned(stream: &StreamId, seq: u64) -> Error {
    Error::new(Kind::NotFound, "the run's events were pruned").with("stream", stream).with("events", seq)
}
