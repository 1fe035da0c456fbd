//! The hash chain of a stream, over the bytes as stored.
//!
//! An event's hash covers the hash before it, so that a head vouches for all that leads to it (as in Haber and
//! Stornetta, "How to time-stamp a digital document", 1991). All lengths are part of what is hashed, so that no two
//! different events have the same input.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::error::{Error, Kind, Result};
use crate::journal::StreamId;
use crate::journal::verify::{DamageKind, Damages};
use crate::time::Time;

/// A SHA-256 hash, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// What stands before the first event of a stream and before the first commit.
    pub(super) const ZERO: Digest = Digest([0; 32]);

    /// The hash of some bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// A hash as it is stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Digest> {
        let nibble = |b: u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'a'..=b'f' => Some(b - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let parsed = pairs.len() == 32
            && rest.is_empty()
            && pairs.iter().zip(&mut bytes).all(|(&[high, low], byte)| match (nibble(high), nibble(low)) {
                (Some(high), Some(low)) => {
                    *byte = high << 4 | low;
                    true
                }
                _ => false,
            });
        if parsed {
            Ok(Digest(bytes))
        } else {
            Err(Error::new(Kind::Invalid, "not a digest: expected 64 lower-case hexadecimal digits"))
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Digest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// SHA-256 over bytes that come in pieces.
#[derive(Debug, Clone, Default)]
pub struct Hasher(sha2::Sha256);

impl Hasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }

    /// Adds bytes and, before them, how many they are.
    pub(super) fn field(&mut self, bytes: &[u8]) {
        self.update(&(bytes.len() as u64).to_be_bytes());
        self.update(bytes);
    }
}

/// One event with its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) at: Time,
    pub(super) body: Vec<u8>,
    pub(super) hash: Digest,
}

/// The hash of an event that follows the one with the hash `previous`.
pub(super) fn event_hash(previous: &Digest, stream: &StreamId, seq: u64, at: Time, body: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(b"tidegate event 1\n");
    hasher.update(previous.as_bytes());
    hasher.field(stream.as_str().as_bytes());
    hasher.update(&seq.to_be_bytes());
    hasher.update(&at.0.to_be_bytes());
    hasher.field(body);
    hasher.finish()
}

/// Checks links in order of `seq` that follow the event `after` (0: the beginning) with the hash `previous`. Each wrong
/// one is a damage of its own; what follows a wrong one is checked against what is stored.
pub(super) fn check_links(stream: &StreamId, after: u64, previous: Digest, links: &[Link], damages: &mut Damages) {
    let mut expected = after.saturating_add(1);
    // After a wrong event either its stored or its computed hash may be what the next one was built on.
    let mut before = vec![previous];
    for link in links {
        if link.seq > expected {
            let last = link.seq - 1;
            let detail = if last == expected { "missing".to_owned() } else { format!("missing, as all up to {last}") };
            damages.add(DamageKind::Missing, Some(stream), Some(expected), detail);
            before.clear();
        } else if link.seq < expected {
            damages.add(DamageKind::Unexpected, Some(stream), Some(link.seq), "stored out of order");
            continue;
        }
        let hash = |previous: &Digest, link: &Link| event_hash(previous, stream, expected, link.at, &link.body);
        let good = before.is_empty() || before.iter().any(|previous| hash(previous, link) == link.hash);
        if link.seq != expected || good {
            before = vec![link.hash];
        } else {
            let moved = links.iter().find(|other| before.iter().any(|previous| hash(previous, other) == other.hash));
            match moved {
                Some(other) => {
                    let detail = format!("what belongs here is stored as {}", other.seq);
                    damages.add(DamageKind::Reordered, Some(stream), Some(expected), detail);
                }
                None => damages.add(DamageKind::Changed, Some(stream), Some(expected), "not what was written"),
            }
            let computed = before.first().map(|previous| hash(previous, link));
            before = moved.map(|other| other.hash).into_iter().chain([link.hash]).chain(computed).collect();
        }
        expected = link.seq.saturating_add(1);
    }
}

/// Checks that the last link is what the stream's head says.
pub(super) fn check_end(stream: &StreamId, last: Option<&Link>, seq: u64, head: &Digest, damages: &mut Damages) {
    let found = last.map_or(0, |link| link.seq);
    if found < seq {
        let detail = format!("missing: the stream's head says {seq} events");
        damages.add(DamageKind::Missing, Some(stream), Some(found.saturating_add(1)), detail);
    } else if found > seq {
        damages.add(DamageKind::Unexpected, Some(stream), Some(seq.saturating_add(1)), "beyond the stream's head");
    } else if last.is_some_and(|link| link.hash != *head) {
        damages.add(DamageKind::Head, Some(stream), Some(seq), "the stream's head names another event");
    }
}
