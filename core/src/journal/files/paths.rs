//! Where a journal's files lie, and what kind of disk they lie on.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// The files of one journal.
#[derive(Debug, Clone)]
pub(in crate::journal) struct Paths {
    pub(in crate::journal) db: PathBuf,
    pub(in crate::journal) dir: PathBuf,
}

impl Paths {
    /// The files of the journal at `path`. Two names of one file give equal paths, so that they share one lock.
    pub(in crate::journal) fn of(path: &Path) -> Result<Paths> {
        let at = |e: io::Error| {
            Error::new(Kind::Io, "can't find the journal's folder").with("path", path.display()).because(e)
        };
        let db = match fs::canonicalize(path) {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let name = path.file_name().ok_or_else(|| at(e))?;
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                fs::canonicalize(parent).map_err(at)?.join(name)
            }
            Err(e) => return Err(at(e)),
        };
        let dir = db
            .parent()
            .map(Path::to_owned)
            .ok_or_else(|| Error::new(Kind::Invalid, "not the path of a file").with("path", path.display()))?;
        Ok(Paths { db, dir })
    }

    /// The file beside the database with something added to its name, such as `.lock`.
    pub(in crate::journal) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.db.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    }
}

/// Makes names in a folder durable.
pub(in crate::journal) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|e| Error::new(Kind::Io, "can't sync a folder").with("path", dir.display()).because(e))
}

/// What tells one start of the machine from another; empty where it is not known.
pub(in crate::journal) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Refuses a folder on a network file system: its locks are no locks, and SQLite's WAL needs shared memory.
/// The numbers are from statfs(2) and the kernel's `magic.h`.
pub(in crate::journal) fn refuse_network(dir: &Path) -> Result<()> {
    let stat = rustix::fs::statfs(dir)
        .map_err(|e| Error::new(Kind::Io, "can't ask for the file system").with("path", dir.display()).because(e))?;
    match network_name(&stat) {
        None => Ok(()),
        Some(name) => Err(Error::new(Kind::Unsupported, "the journal lies on a file system that may not lock or sync")
            .with("path", dir.display())
            .with("file system", name)
            .help(
                "keep it on a local disk; if this one is local and locks files, \
                 open with OpenOptions::accept_file_system",
            )),
    }
}

#[cfg(target_os = "linux")]
fn network_name(stat: &rustix::fs::StatFs) -> Option<&'static str> {
    magic_name(u32::try_from(u64::try_from(stat.f_type).unwrap_or(0) & 0xFFFF_FFFF).unwrap_or(0))
}

#[cfg(target_os = "linux")]
fn magic_name(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("nfs"),
        0x517B => Some("smb"),
        0xFF53_4D42 => Some("cifs"),
        0xFE53_4D42 => Some("smb2"),
        0x0102_1997 => Some("9p"),
        0x6573_5546 => Some("fuse"),
        0x00C3_6400 => Some("ceph"),
        0x5346_414F | 0x6B41_4653 => Some("afs"),
        0x7375_7245 => Some("coda"),
        0x0116_1970 => Some("gfs2"),
        0x7461_636F => Some("ocfs2"),
        0x0BD0_0BD0 => Some("lustre"),
        0x4750_4653 => Some("gpfs"),
        0x786F_4256 => Some("vboxsf"),
        0x0118_7066 => Some("hgfs"),
        _ => None,
    }
}

/// `MNT_LOCAL` of statfs(2).
#[cfg(not(target_os = "linux"))]
fn network_name(stat: &rustix::fs::StatFs) -> Option<&'static str> {
    (stat.f_flags & 0x1000 == 0).then_some("not local")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_and_local_ones_pass() {
        for (magic, name) in [(0x6969, "nfs"), (0xFF53_4D42, "cifs"), (0x6573_5546, "fuse"), (0x0102_1997, "9p")] {
            assert_eq!(magic_name(magic), Some(name));
        }
        // ext4, btrfs, xfs, tmpfs, overlayfs, zfs.
        for magic in [0xEF53, 0x9123_683E, 0x5846_5342, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1] {
            assert_eq!(magic_name(magic), None);
        }
        // procfs is local as far as statfs says, and so is wherever tests run.
        assert!(refuse_network(Path::new("/proc")).is_ok());
        assert_eq!(refuse_network(Path::new("/no/such/folder")).unwrap_err().kind(), Kind::Io);
    }

    #[test]
    fn one_file_has_one_lock_by_whatever_name() {
        let dir = crate::journal::tests::Dir::new("paths");
        fs::write(dir.0.join("a.db"), b"").unwrap();
        std::os::unix::fs::symlink(dir.0.join("a.db"), dir.0.join("b.db")).unwrap();
        let [a, b] = ["a.db", "b.db"].map(|name| Paths::of(&dir.0.join(name)).unwrap());
        assert_eq!(a.beside(".lock"), b.beside(".lock"));
        let absent = Paths::of(&dir.0.join("../").join(dir.0.file_name().unwrap()).join("c.db")).unwrap();
        assert_eq!(absent.db, fs::canonicalize(&dir.0).unwrap().join("c.db"));
    }
}
