//! One driver: a lock of the operating system on a file of its own, which a killed process gives back at once.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::time::Time;

/// Who drives a journal, as it wrote itself into the lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// The host's name.
    pub host: String,
    /// When the process was started, in the kernel's ticks since the machine's start; with the pid it names a process.
    /// 0 where it is not known.
    pub start: u64,
    /// Since when it drives.
    pub since: Time,
}

impl Holder {
    /// This process.
    fn this(since: Time) -> Holder {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Holder { pid: std::process::id(), host, start: start_time().unwrap_or(0), since }
    }

    /// Who wrote itself into the lock file last, and did not close. It may be dead: only the lock tells.
    pub(in crate::journal) fn read(path: &Path) -> Option<Holder> {
        let text = fs::read(path).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// The file has this many bytes at least, and is written in place, so that a full disk keeps nobody from driving.
const LENGTH: usize = 512;

/// Field 22 of proc_pid_stat(5), counted after the name, which may hold anything.
fn start_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// The held lock. It ends with the process or when the file is closed.
#[derive(Debug)]
pub(in crate::journal) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(in crate::journal) fn acquire(path: &Path, since: Time) -> Result<Lock> {
        let io =
            |e: std::io::Error| Error::new(Kind::Io, "can't lock the journal").with("path", path.display()).because(e);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let error =
                    Error::new(Kind::Busy, "the journal is driven by another opening").with("path", path.display());
                let error = match Holder::read(path) {
                    Some(holder) => error.with("pid", holder.pid).with("host", holder.host).with("since", holder.since),
                    None => error,
                };
                return Err(error
                    .retry_later()
                    .help("wait until it ends or end it; other processes use a Reader, which needs no lock"));
            }
            Err(TryLockError::Error(e)) => return Err(io(e)),
        }
        let mut text = serde_json::to_vec(&Holder::this(since))
            .map_err(|e| Error::new(Kind::Internal, "can't write who drives").because(e))?;
        text.resize(text.len().max(LENGTH), b' ');
        file.write_all_at(&text, 0).and_then(|()| file.set_len(text.len() as u64)).map_err(io)?;
        Ok(Lock { file })
    }

    /// Gives the lock back and says that nobody drives. (The file stays: removing it could remove another's lock.)
    pub(in crate::journal) fn release(self) -> Result<()> {
        self.file
            .write_all_at(&[b' '; LENGTH], 0)
            .map_err(|e| Error::new(Kind::Io, "can't clear the lock file").because(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_has_it() {
        let dir = crate::journal::tests::Dir::new("lock");
        let path = dir.0.join("x.lock");
        let lock = Lock::acquire(&path, Time(1_000)).unwrap();
        let error = Lock::acquire(&path, Time(2_000)).unwrap_err();
        assert_eq!(error.kind(), Kind::Busy);
        assert!(error.is_retryable());
        let text = error.to_string();
        assert!(text.contains(&format!("pid: {}", std::process::id())), "{text}");
        assert!(text.contains("since: 1970-01-01T00:00:01.000Z"), "{text}");
        assert!(error.context().iter().any(|(key, host)| *key == "host" && !host.is_empty()));
        assert_eq!(Holder::read(&path).unwrap().start, start_time().unwrap());
        lock.release().unwrap();
        assert_eq!(Holder::read(&path), None);
        drop(Lock::acquire(&path, Time(3_000)).unwrap());
        Lock::acquire(&path, Time(4_000)).unwrap();
    }
}
