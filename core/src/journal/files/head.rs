//! The outer head: the last commit, kept outside the database.
//!
//! A damaged tail of SQLite's write-ahead log reads as a tail that never was; only something outside can tell. There
//! are two slots, written in turn, so that a torn write leaves the other one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::journal::chain::Digest;
use crate::journal::{Durability, Hasher};

const MAGIC: &[u8; 8] = b"tidehead";
/// The version of the whole journal's format.
pub(in crate::journal) const FORMAT: u32 = 1;
/// Each slot has a page of its own, so that one write never touches both.
const STRIDE: u64 = 4_096;
/// magic 8, format 4, durability 1, length of the boot id 1, boot id 64, epoch 8, no 8, hash 32, checksum 32.
const LENGTH: usize = 158;
const SUMMED: usize = LENGTH - 32;

/// What one slot says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::journal) struct Slot {
    pub(in crate::journal) durability: Durability,
    /// Which start of the machine wrote it; at most 64 bytes, empty when not known.
    pub(in crate::journal) boot: String,
    pub(in crate::journal) epoch: u64,
    pub(in crate::journal) no: u64,
    pub(in crate::journal) hash: Digest,
}

impl Slot {
    fn encode(&self) -> [u8; LENGTH] {
        let boot = self.boot.as_bytes();
        let boot = boot.get(..64).unwrap_or(boot);
        let mut padded = [0; 64];
        padded.iter_mut().zip(boot).for_each(|(to, from)| *to = *from);
        let relaxed = u8::from(self.durability != Durability::Full);
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        bytes.extend_from_slice(&[relaxed, u8::try_from(boot.len()).unwrap_or(64)]);
        bytes.extend_from_slice(&padded);
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.no.to_be_bytes());
        bytes.extend_from_slice(self.hash.as_bytes());
        bytes.extend_from_slice(Digest::of(&bytes).as_bytes());
        let mut slot = [0; LENGTH];
        slot.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        slot
    }

    /// `None` when the bytes are no whole slot.
    fn decode(bytes: &[u8]) -> Option<(u32, Slot)> {
        let (summed, sum) = bytes.split_at_checked(SUMMED)?;
        let mut hasher = Hasher::default();
        hasher.update(summed);
        if hasher.finish().as_bytes() != sum {
            return None;
        }
        let rest = summed.strip_prefix(MAGIC)?;
        let (format, rest) = rest.split_first_chunk()?;
        let (&[relaxed, length], rest) = rest.split_first_chunk()?;
        let (boot, rest) = rest.split_first_chunk::<64>()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (no, rest) = rest.split_first_chunk()?;
        let (hash, _) = rest.split_first_chunk()?;
        let slot = Slot {
            durability: if relaxed == 0 { Durability::Full } else { Durability::Relaxed },
            boot: String::from_utf8(boot.get(..usize::from(length))?.to_vec()).ok()?,
            epoch: u64::from_be_bytes(*epoch),
            no: u64::from_be_bytes(*no),
            hash: Digest::from_bytes(*hash),
        };
        Some((u32::from_be_bytes(*format), slot))
    }
}

/// The open file.
#[derive(Debug)]
pub(in crate::journal) struct HeadFile {
    file: File,
    path: PathBuf,
}

impl HeadFile {
    /// What the file says last; `None` when there is no file.
    pub(in crate::journal) fn read(path: &Path) -> Result<Option<Slot>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed("can't read the journal's outer head", path, e)),
        };
        let stride = usize::try_from(STRIDE).unwrap_or(LENGTH);
        let at = |start: usize| bytes.get(start..start.saturating_add(LENGTH)).and_then(Slot::decode);
        let slots: Vec<_> = [at(0), at(stride)].into_iter().flatten().collect();
        if let Some((format, _)) = slots.iter().find(|(format, _)| *format != FORMAT) {
            return Err(Error::new(Kind::Unsupported, "the journal is of a format that this version does not know")
                .with("path", path.display())
                .with("format", format)
                .help("use a later version of tidegate"));
        }
        match slots.into_iter().map(|(_, slot)| slot).max_by_key(|slot| (slot.epoch, slot.no)) {
            Some(slot) => Ok(Some(slot)),
            None => Err(Error::new(Kind::Corrupt, "the journal's outer head is damaged").with("path", path.display()).help(
                "restore it from a backup; or, if you know that the journal is whole, remove this file and open once \
                 with OpenOptions::accept_missing_head",
            )),
        }
    }

    /// Opens the file, which is made with room for both slots when it is not there.
    pub(in crate::journal) fn open(path: &Path, first: &Slot) -> Result<HeadFile> {
        let io = |e| failed("can't open the journal's outer head", path, e);
        let open = || OpenOptions::new().write(true).open(path);
        let file = match open() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => make(path, first).and_then(|()| open()).map_err(io)?,
            opened => opened.map_err(io)?,
        };
        Ok(HeadFile { file, path: path.to_owned() })
    }

    /// Writes what was committed last.
    pub(in crate::journal) fn write(&self, slot: &Slot) -> Result<()> {
        let at = if slot.no.is_multiple_of(2) { 0 } else { STRIDE };
        self.file
            .write_all_at(&slot.encode(), at)
            .map_err(|e| failed("the events are written, but the journal's outer head is not", &self.path, e))
    }

    /// Makes what was written survive a loss of power.
    pub(in crate::journal) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| failed("can't sync the journal's outer head", &self.path, e))
    }
}

/// Makes the file whole or not at all: a creation that is cut off must not look like damage.
fn make(path: &Path, first: &Slot) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    // Both slots, so that later writes need no new blocks.
    file.write_all_at(&first.encode(), 0)?;
    file.write_all_at(&first.encode(), STRIDE)?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

fn failed(what: &str, path: &Path, e: io::Error) -> Error {
    Error::new(Kind::Io, what).with("path", path.display()).because(e)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot(epoch: u64, no: u64) -> Slot {
        Slot { durability: Durability::Relaxed, boot: "b".into(), epoch, no, hash: Digest::of(&no.to_be_bytes()) }
    }

    proptest! {
        #[test]
        fn reads_back_what_was_written_and_nothing_else(
            (epoch, no, boot) in (any::<u64>(), any::<u64>(), "[a-z0-9-]{0,64}"),
            (at, bits) in (0..LENGTH, 1_u8..),
            other in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let slot = Slot { boot, ..slot(epoch, no) };
            let mut bytes = slot.encode();
            prop_assert_eq!(Slot::decode(&bytes), Some((FORMAT, slot)));
            prop_assert_eq!(Slot::decode(&bytes[..at]), None);
            bytes[at] ^= bits;
            prop_assert_eq!(Slot::decode(&bytes), None);
            prop_assert_eq!(Slot::decode(&other), None);
        }

        /// Bytes whose sum is right and that are none of ours.
        #[test]
        fn whatever_has_a_right_sum_is_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), SUMMED), ours in any::<bool>()) {
            if ours {
                bytes[..MAGIC.len()].copy_from_slice(MAGIC);
            }
            let sum = Digest::of(&bytes);
            bytes.extend_from_slice(sum.as_bytes());
            let read = Slot::decode(&bytes);
            prop_assert!(ours || read.is_none());
        }
    }

    #[test]
    fn a_torn_write_leaves_the_other_slot() {
        let dir = crate::journal::tests::Dir::new("head");
        let path = dir.0.join("x.head");
        assert_eq!(HeadFile::read(&path).unwrap(), None);
        let head = HeadFile::open(&path, &slot(0, 0)).unwrap();
        assert_eq!(HeadFile::read(&path).unwrap(), Some(slot(0, 0)));
        for no in 1..5 {
            head.write(&slot(1, no)).unwrap();
            assert_eq!(HeadFile::read(&path).unwrap(), Some(slot(1, no)));
        }
        // A later epoch wins, with whatever number.
        head.write(&slot(2, 1)).unwrap();
        assert_eq!(HeadFile::read(&path).unwrap(), Some(slot(2, 1)));
        let whole = fs::read(&path).unwrap();
        for byte in 0..LENGTH {
            let mut torn = whole.clone();
            torn[4_096 + byte] ^= 1;
            fs::write(&path, &torn).unwrap();
            assert_eq!(HeadFile::read(&path).unwrap(), Some(slot(1, 4)));
            torn[byte] ^= 1;
            fs::write(&path, &torn).unwrap();
            assert_eq!(HeadFile::read(&path).unwrap_err().kind(), Kind::Corrupt);
        }
    }
}
