//! The durable event log: streams of events in hash chains, runs found by key, an inbox for commands from elsewhere.
//!
//! [`Journal`] is what an engine needs; [`MemoryJournal`] and [`SqliteJournal`] keep it with the same chain code.
//! [`Reader`] is for other processes.

mod chain;
mod commit;
mod contract;
mod event;
mod files;
mod memory;
mod sqlite;
mod stream;
mod verify;

#[cfg(test)]
mod tests;

pub(crate) use event::MAX_BATCH_EVENTS;

pub use chain::{Digest, Hasher};
pub use contract::{Durability, Journal, RUNS_LISTED};
pub use event::{
    Append, InboxItem, MAX_BATCH_BYTES, MAX_BODY, MAX_COMMAND, MAX_WAITING, Record, RunEntry, RunIndex, Stored,
};
pub use files::Holder;
pub use memory::{MemoryJournal, Mishap};
pub use sqlite::{LostTail, OpenOptions, Reader, SqliteJournal};
pub use stream::StreamId;
pub use verify::{Damage, DamageKind, MAX_DAMAGES, Verified};
