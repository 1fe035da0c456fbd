//! What goes into a journal and what comes out: the envelope of events, the index of runs, commands in the inbox.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Fault, Kind, Result};
use crate::journal::StreamId;
use crate::time::Time;

/// The longest body of an event, in bytes: a definition of as many steps as there may be fits. A step's value is at most
/// 1 MiB.
pub const MAX_BODY: usize = 32 << 20;
/// The most bytes of bodies that one append may carry.
pub const MAX_BATCH_BYTES: usize = 64 << 20;
/// The most events and streams that one append may carry.
pub(crate) const MAX_BATCH_EVENTS: usize = 100_000;
/// The longest command in the inbox, in bytes.
pub const MAX_COMMAND: usize = 64 << 10;
/// The most commands that may wait in the inbox; a sender is asked to try later.
pub const MAX_WAITING: usize = 1_000;
/// The longest pipeline name, key or status of a run, in bytes.
const MAX_LABEL: usize = 1_024;

/// Events for one stream, to be written in one transaction with all else of the same call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Where to.
    pub stream: StreamId,
    /// The sequence number of the stream's last event; 0 when it has none. Anything else is refused.
    pub expect: u64,
    /// What to write, oldest first; may be empty when only the index changes.
    pub events: Vec<Record>,
    /// The run's new row in the index; only for streams of runs.
    pub index: Option<RunIndex>,
    /// Whether it may use the reserve when the disk is full: the way back of a rollout. It holds for the whole call.
    pub way_back: bool,
}

impl Append {
    /// Events for a stream, without a change of the index.
    pub fn new(stream: StreamId, expect: u64, events: Vec<Record>) -> Append {
        Append { stream, expect, events, index: None, way_back: false }
    }
}

/// One event to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it happened; not before the stream's last event.
    pub at: Time,
    /// JSON text of at most [`MAX_BODY`] bytes, kept byte for byte.
    pub body: Vec<u8>,
}

impl Record {
    /// An event as JSON.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when it can't be written as JSON.
    pub fn json(at: Time, event: &impl Serialize) -> Result<Record> {
        let body = serde_json::to_vec(event)
            .map_err(|e| Error::new(Kind::Invalid, "an event can't be written as JSON").because(e))?;
        Ok(Record { at, body })
    }
}

/// One event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Counts from 1 within the stream.
    pub seq: u64,
    /// When it happened.
    pub at: Time,
    /// The JSON text, byte for byte as it was handed over.
    pub body: Vec<u8>,
}

impl Stored {
    /// The event itself.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] when it is none that this version knows: the bytes are as they were written, so it comes
    /// from another version.
    pub fn decode<E: DeserializeOwned>(&self) -> Result<E> {
        serde_json::from_slice(&self.body).map_err(|e| {
            Error::new(Kind::Unsupported, "an event is of a kind that this version does not know")
                .with("seq", self.seq)
                .because(e)
                .help("use the version of tidegate that wrote it, or a later one")
        })
    }
}

/// How a run is found and listed. Its pipeline, key and start never change; its status is kept up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIndex {
    /// The pipeline's name.
    pub pipeline: String,
    /// The run's key, unique within the pipeline.
    pub key: String,
    /// When the run was started.
    pub started: Time,
    /// Its status for people, such as `running`.
    pub status: String,
    /// Whether nothing more will happen. Opening folds and checks what is not finished; only finished runs are pruned.
    pub finished: bool,
}

impl RunIndex {
    pub(super) fn check(&self, stream: &StreamId) -> Result<()> {
        let faults: Vec<Fault> = [("/pipeline", &self.pipeline), ("/key", &self.key), ("/status", &self.status)]
            .into_iter()
            .filter(|(_, text)| text.len() > MAX_LABEL || text.contains('\0'))
            .map(|(pointer, text)| {
                let expected = format!("expected at most {MAX_LABEL} bytes without NUL, got {} bytes", text.len());
                Fault::new(pointer, expected)
            })
            .collect();
        if faults.is_empty() { Ok(()) } else { Err(Error::invalid(format_args!("the index of {stream}"), faults)) }
    }
}

/// A run in the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEntry {
    /// The run's stream.
    pub stream: StreamId,
    /// What is known of it.
    pub index: RunIndex,
}

/// A command from elsewhere that waits for the driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxItem {
    /// Its number, never used twice; handed to `append` with the events that the command became.
    pub id: u64,
    /// Whom it is for. The stream need not exist.
    pub stream: StreamId,
    /// When it was sent, by the sender's clock.
    pub at: Time,
    /// JSON text of at most [`MAX_COMMAND`] bytes.
    pub body: Vec<u8>,
}

/// Checks that a body is JSON text of a bearable length.
pub(super) fn check_body(body: &[u8], limit: usize) -> Result<()> {
    if body.len() > limit {
        return Err(Error::new(Kind::Invalid, "a body is too long")
            .with("bytes", body.len())
            .with("limit", limit)
            .help("put bulk into a blob and refer to it by its digest"));
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(body)
        .map(drop)
        .map_err(|e| Error::new(Kind::Invalid, "a body is not JSON text").because(e))
}
