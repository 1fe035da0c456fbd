//! What every journal does.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::journal::{Append, InboxItem, RunEntry, Stored, StreamId, Verified};
use crate::time::Time;

/// What an acknowledged append survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Loss of power.
    #[default]
    Full,
    /// A crash of the process; loss of power may take the latest events, never part of a commit.
    Relaxed,
    /// Nothing: for tests and for scripts that want none.
    Memory,
}

/// How many runs are listed when nobody says how many.
pub const RUNS_LISTED: usize = 100;

/// A durable log of events, driven by one owner on one thread.
///
/// All calls block. Errors common to all: [`Kind::Busy`](crate::error::Kind::Busy) when a later driver has fenced this
/// one off or the journal is used in a forked child, [`Kind::Corrupt`](crate::error::Kind::Corrupt) when what is stored
/// is not what was written, [`Kind::Io`](crate::error::Kind::Io) when the operating system refuses.
pub trait Journal: Send + Debug {
    /// Writes everything in one transaction, durable when it returns, and removes the commands `took` from the inbox.
    /// An error means that nothing is known to be written: usually nothing is, but a fault of the disk can hide that
    /// it is. The caller reads the streams again before it goes on.
    ///
    /// # Errors
    /// [`Kind::Conflict`](crate::error::Kind::Conflict) when a stream is not at `expect`, a key belongs to another
    /// run, the stream was pruned, or a command no longer waits; [`Kind::Invalid`](crate::error::Kind::Invalid) when a
    /// body is no JSON, too long, or before the stream's last event. Nothing is written then.
    fn append(&mut self, appends: Vec<Append>, took: &[u64]) -> Result<()>;

    /// All events of a stream, checked against its chain and head; empty when there is no such stream.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::error::Kind::NotFound) when its events were pruned.
    fn read(&mut self, stream: &StreamId) -> Result<Vec<Stored>>;

    /// The sequence number of a stream's last event; 0 when there is no such stream.
    fn head(&self, stream: &StreamId) -> Result<u64>;

    /// The run of a pipeline with a key.
    fn find_run(&self, pipeline: &str, key: &str) -> Result<Option<StreamId>>;

    /// The latest runs, newest first, at most `limit`; see [`RUNS_LISTED`].
    fn runs(&self, limit: usize) -> Result<Vec<RunEntry>>;

    /// The runs that are not finished, oldest first: what a driver takes up again.
    fn unfinished(&self) -> Result<Vec<RunEntry>>;

    /// All streams of services, by name.
    fn services(&self) -> Result<Vec<StreamId>>;

    /// The commands that wait, oldest first. Cheap enough to be asked every 100 ms.
    fn inbox(&mut self) -> Result<Vec<InboxItem>>;

    /// The numbers of commands that wait and are not what was sent, with what is wrong: `inbox` fails for each of them, and
    /// goes on once they were taken.
    fn damaged_inbox(&mut self) -> Result<Vec<(u64, Error)>>;

    /// This driver's fencing epoch; it rises with every opening.
    fn epoch(&self) -> u64;

    /// The latest time of any event; the clock must not start before it.
    fn last_time(&self) -> Time;

    /// Makes sure that there is room for an append marked `way_back` on a full disk; called before a rollout's first
    /// move.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::error::Kind::Io) when there is no room.
    fn reserve(&mut self) -> Result<()>;

    /// Removes the events of a finished run. Its last sequence number and hash stay, and what remains verifies.
    ///
    /// # Errors
    /// [`Kind::Conflict`](crate::error::Kind::Conflict) when it is no run or not finished,
    /// [`Kind::NotFound`](crate::error::Kind::NotFound) when there is no such stream. Pruning twice is pruning once.
    fn prune(&mut self, stream: &StreamId) -> Result<()>;

    /// Checks everything. Damage is a result, not an error.
    fn verify(&mut self) -> Result<Verified>;

    /// Leaves everything tidy for the next opening. Not needed for durability.
    fn close(self: Box<Self>) -> Result<()>;
}
