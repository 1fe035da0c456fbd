//! Bulk beside the journal: logs, artifacts, samples, each under the hash of its bytes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Kind, Result};
use crate::journal::files::sync_dir;
use crate::journal::{Digest, Durability, Hasher};

/// Counts writers of this process, so that their files have names of their own.
static WRITERS: AtomicU64 = AtomicU64::new(0);

/// A folder of files that are named by the SHA-256 of what is in them: `ab/cdef…`. What has its name is whole.
#[derive(Debug, Clone)]
pub struct Blobs {
    dir: PathBuf,
    durability: Durability,
}

impl Blobs {
    /// The blobs of the journal at `journal`: the folder `<journal>.blobs`, made when it is not there.
    ///
    /// # Errors
    /// [`Kind::Io`] when the folder can't be made.
    pub fn beside(journal: &Path, durability: Durability) -> Result<Blobs> {
        let mut name = journal.as_os_str().to_owned();
        name.push(".blobs");
        let blobs = Blobs { dir: PathBuf::from(name), durability };
        blobs.make(&blobs.dir.join("tmp"))?;
        Ok(blobs)
    }

    /// Keeps some bytes.
    ///
    /// # Errors
    /// [`Kind::Io`] when they can't be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let mut writer = self.writer()?;
        writer.write_all(bytes).map_err(|e| failed("can't write a blob", &writer.path, e))?;
        writer.finish()
    }

    /// A writer for bytes that come in pieces. Dropped without [`BlobWriter::finish`], it leaves nothing.
    ///
    /// # Errors
    /// [`Kind::Io`] when its file can't be made.
    pub fn writer(&self) -> Result<BlobWriter> {
        let name = format!("{}-{}", std::process::id(), WRITERS.fetch_add(1, Ordering::Relaxed));
        let path = self.dir.join("tmp").join(name);
        // Whoever had this pid before is dead, and so is what it left.
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = file.map_err(|e| failed("can't make a blob", &path, e))?;
        Ok(BlobWriter { blobs: self.clone(), file, path, hasher: Hasher::default(), length: 0, done: false })
    }

    /// The bytes, checked against their name. Longer ones than `limit` are refused.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such blob, [`Kind::Corrupt`] when it is not what was put,
    /// [`Kind::Invalid`] when it is longer than `limit`.
    pub fn get(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(digest)?
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|e| failed("can't read a blob", &self.path(digest), e))?;
        if bytes.len() as u64 > limit {
            return Err(Error::new(Kind::Invalid, "a blob is longer than asked for")
                .with("digest", digest)
                .with("limit", limit)
                .help("read it piece by piece with open"));
        }
        if Digest::of(&bytes) != *digest {
            return Err(
                Error::new(Kind::Corrupt, "a blob is not what was written").with("path", self.path(digest).display())
            );
        }
        Ok(bytes)
    }

    /// The blob's file, to be read piece by piece; the bytes are not checked.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such blob.
    pub fn open(&self, digest: &Digest) -> Result<File> {
        let path = self.path(digest);
        File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::new(Kind::NotFound, "there is no such blob").with("digest", digest),
            _ => failed("can't open a blob", &path, e),
        })
    }

    /// Whether there is such a blob.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// Removes what writers left that were cut off. Only for who holds the journal's lock, before its first writer.
    /// Returns how many.
    ///
    /// # Errors
    /// [`Kind::Io`] when the folder can't be read or a file not removed.
    pub fn sweep(&self) -> Result<usize> {
        let tmp = self.dir.join("tmp");
        let io = |e| failed("can't sweep unfinished blobs", &tmp, e);
        let mut removed = 0;
        for entry in fs::read_dir(&tmp).map_err(io)? {
            fs::remove_file(entry.map_err(io)?.path()).map_err(io)?;
            removed += 1;
        }
        Ok(removed)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        let (first, rest) = name.split_at(2);
        self.dir.join(first).join(rest)
    }

    fn make(&self, dir: &Path) -> Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| failed("can't make a folder for blobs", dir, e))?;
        if self.durability == Durability::Full {
            // The new folder's name stands in its parent, and the parent may be new as well.
            for parent in dir.ancestors().skip(1).take(2).filter(|parent| !parent.as_os_str().is_empty()) {
                sync_dir(parent)?;
            }
        }
        Ok(())
    }
}

/// Writes one blob.
#[derive(Debug)]
pub struct BlobWriter {
    blobs: Blobs,
    file: File,
    path: PathBuf,
    hasher: Hasher,
    length: u64,
    done: bool,
}

impl BlobWriter {
    /// How many bytes were written so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Gives the blob its name. With [`Durability::Full`] it survives a loss of power when this returns.
    ///
    /// # Errors
    /// [`Kind::Io`] when it can't be synced or named.
    pub fn finish(mut self) -> Result<Digest> {
        let digest = std::mem::take(&mut self.hasher).finish();
        let path = self.blobs.path(&digest);
        let full = self.blobs.durability == Durability::Full;
        if full {
            self.file.sync_all().map_err(|e| failed("can't sync a blob", &self.path, e))?;
        }
        let dir = path.parent().unwrap_or(&self.blobs.dir);
        self.blobs.make(dir)?;
        fs::rename(&self.path, &path).map_err(|e| failed("can't name a blob", &path, e))?;
        self.done = true;
        if full {
            sync_dir(dir)?;
        }
        Ok(digest)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or(bytes));
        self.length = self.length.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if !self.done
            && let Err(e) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), error = %e, "can't remove an unfinished blob");
        }
    }
}

fn failed(what: &str, path: &Path, e: io::Error) -> Error {
    Error::new(Kind::Io, what).with("path", path.display()).because(e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_bytes_under_their_hash_and_checks_them() {
        let dir = crate::journal::tests::Dir::new("blobs");
        let blobs = Blobs::beside(&dir.0.join("x.db"), Durability::Full).unwrap();
        let digest = blobs.put(b"abc").unwrap();
        // FIPS 180-2, appendix B.1.
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(blobs.put(b"abc").unwrap(), digest);
        assert_eq!(blobs.get(&digest, 3).unwrap(), b"abc");
        assert_eq!(blobs.get(&digest, 2).unwrap_err().kind(), Kind::Invalid);
        let mut writer = blobs.writer().unwrap();
        writer.write_all(b"a").unwrap();
        writer.write_all(b"bc").unwrap();
        assert_eq!(writer.length(), 3);
        assert_eq!(writer.finish().unwrap(), digest);
        assert_eq!(blobs.get(&Digest::of(b"x"), 9).unwrap_err().kind(), Kind::NotFound);
        fs::write(blobs.path(&digest), b"abd").unwrap();
        assert_eq!(blobs.get(&digest, 9).unwrap_err().kind(), Kind::Corrupt);
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let dir = crate::journal::tests::Dir::new("blobs-cut");
        let blobs = Blobs::beside(&dir.0.join("x.db"), Durability::Relaxed).unwrap();
        let mut writer = blobs.writer().unwrap();
        writer.write_all(b"abc").unwrap();
        drop(writer);
        assert_eq!(blobs.sweep().unwrap(), 0);
        let mut killed = blobs.writer().unwrap();
        killed.write_all(b"abc").unwrap();
        std::mem::forget(killed);
        assert_eq!(blobs.sweep().unwrap(), 1);
        assert!(!blobs.contains(&Digest::of(b"abc")));
    }
}
