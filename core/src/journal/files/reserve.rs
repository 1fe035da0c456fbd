//! Room on the disk that is kept for a rollout's way back.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use crate::error::{Error, Kind, Result};
use crate::journal::files::sync_dir;
use crate::time::Chance;

/// How much is kept, in bytes: a commit takes some 6 pages of 4 KiB besides its bodies, so that some 40 fit.
const SIZE: u64 = 1 << 20;

/// A file of real blocks that is removed when its room is needed.
#[derive(Debug)]
pub(in crate::journal) struct Reserve {
    path: PathBuf,
    dir: PathBuf,
}

impl Reserve {
    pub(in crate::journal) fn new(path: PathBuf, dir: PathBuf) -> Reserve {
        Reserve { path, dir }
    }

    /// Makes sure that the room is kept.
    pub(in crate::journal) fn ensure(&self) -> Result<()> {
        if fs::metadata(&self.path).is_ok_and(|found| found.len() == SIZE && found.blocks() * 512 >= SIZE) {
            return Ok(());
        }
        self.fill().map_err(|e| {
            // A part of it is of no use, and the disk may be full.
            let removed = fs::remove_file(&self.path);
            let error = Error::new(Kind::Io, "can't keep room on the disk for the way back")
                .with("path", self.path.display())
                .with("bytes", SIZE);
            match removed {
                Err(remove) if remove.kind() != io::ErrorKind::NotFound => error.with("not removed", remove),
                _ => error,
            }
            .because(e)
            .help("make room on the disk, then start the rollout again")
        })?;
        sync_dir(&self.dir)
    }

    /// Writes bytes that no file system can compress away.
    fn fill(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path)?;
        let mut chance = Chance(SIZE);
        let mut block = Vec::with_capacity(64 << 10);
        for _ in 0..SIZE / (64 << 10) {
            block.clear();
            block.extend((0..8 << 10).flat_map(|_| chance.draw().to_le_bytes()));
            file.write_all(&block)?;
        }
        file.sync_all()
    }

    /// Gives the room back to the disk; false when there was none.
    pub(in crate::journal) fn release(&self) -> Result<bool> {
        match fs::remove_file(&self.path) {
            // The removal must be durable for some file systems to give the blocks to others.
            Ok(()) => sync_dir(&self.dir).map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::new(Kind::Io, "can't free the reserve").with("path", self.path.display()).because(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_real_blocks_and_gives_them_back() {
        let dir = crate::journal::tests::Dir::new("reserve");
        let reserve = Reserve::new(dir.0.join("x.reserve"), dir.0.clone());
        assert!(!reserve.release().unwrap());
        // A sparse file of the right length is not enough.
        fs::File::create(dir.0.join("x.reserve")).unwrap().set_len(SIZE).unwrap();
        reserve.ensure().unwrap();
        let found = fs::metadata(dir.0.join("x.reserve")).unwrap();
        assert!(found.len() == SIZE && found.blocks() * 512 >= SIZE);
        assert_eq!(found.mode() & 0o077, 0);
        assert!(reserve.release().unwrap());
        assert!(!dir.0.join("x.reserve").exists());
    }
}
