//! One driver: a lock of the operating system on a file of its own, which a killed process gives back at once.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::journal::chain::Digest;
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
        let pid = std::process::id();
        Holder { pid, host: host(), start: start_time(pid).unwrap_or(0), since }
    }

    /// Whether it is known to have ended: no process of this host is the one that it names, or it is this process and
    /// has let go of the lock.
    fn is_gone(&self, path: &Path) -> bool {
        if self.start == 0 || self.host != host() {
            return false;
        }
        start_time(self.pid) != Some(self.start) || (self.pid == std::process::id() && !held().contains(path))
    }

    /// Who wrote itself into the lock file last, and did not close. It may be dead: only the lock tells.
    pub(in crate::journal) fn read(path: &Path) -> Option<Holder> {
        let text = fs::read_to_string(path).ok()?;
        let (holder, sum) = text.split_once('\n')?;
        if Digest::of(holder.as_bytes()).to_string() != sum.trim_end() {
            return None;
        }
        serde_json::from_str(holder).ok()
    }

    /// What is written: itself and the sum of that, so that a damaged file names nobody rather than somebody else.
    fn text(&self) -> Result<Vec<u8>> {
        let holder =
            serde_json::to_string(self).map_err(|e| Error::new(Kind::Internal, "can't write who drives").because(e))?;
        let mut text = format!("{holder}\n{}", Digest::of(holder.as_bytes())).into_bytes();
        text.resize(text.len().max(LENGTH), b' ');
        Ok(text)
    }
}

/// The file has this many bytes at least, and is written in place, so that a full disk keeps nobody from driving.
const LENGTH: usize = 512;

/// How long a lock that no living process claims is waited for. The kernel gives a lock back only when each child that
/// its holder was just starting has become another program, which takes its time on a busy machine.
const UNCLAIMED: Duration = Duration::from_secs(2);

/// The locks that this process holds.
fn held() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    static HELD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// When a living process was started: field 22 of proc_pid_stat(5), counted after the name, which may hold anything.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The held lock. It ends with the process or when the file is closed.
#[derive(Debug)]
pub(in crate::journal) struct Lock {
    file: File,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        held().remove(&self.path);
    }
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(in crate::journal) fn acquire(path: &Path, since: Time) -> Result<Lock> {
        let io =
            |e: std::io::Error| Error::new(Kind::Io, "can't lock the journal").with("path", path.display()).because(e);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(io)?;
        let asked = Instant::now();
        while let Err(error) = file.try_lock() {
            let holder = match error {
                TryLockError::WouldBlock => Holder::read(path),
                TryLockError::Error(e) => return Err(io(e)),
            };
            // Without a name, its holder takes it or gives it back at this moment.
            if asked.elapsed() >= UNCLAIMED || holder.as_ref().is_some_and(|holder| !holder.is_gone(path)) {
                return Err(busy(path, holder));
            }
            #[allow(clippy::disallowed_methods, reason = "an opening blocks its thread for the disk as well")]
            std::thread::sleep(Duration::from_millis(10));
        }
        held().insert(path.to_owned());
        let lock = Lock { file, path: path.to_owned() };
        let text = Holder::this(since).text()?;
        lock.file.write_all_at(&text, 0).and_then(|()| lock.file.set_len(text.len() as u64)).map_err(io)?;
        Ok(lock)
    }

    /// Gives the lock back and says that nobody drives. (The file stays: removing it could remove another's lock.)
    pub(in crate::journal) fn release(self) -> Result<()> {
        self.file
            .write_all_at(&[b' '; LENGTH], 0)
            .map_err(|e| Error::new(Kind::Io, "can't clear the lock file").because(e))
    }
}

fn busy(path: &Path, holder: Option<Holder>) -> Error {
    let error = Error::new(Kind::Busy, "the journal is driven by another opening").with("path", path.display());
    let gone = holder.as_ref().is_some_and(|holder| holder.is_gone(path));
    let error = match holder {
        Some(holder) => error.with("pid", holder.pid).with("host", holder.host).with("since", holder.since),
        None => error,
    };
    error.retry_later().help(if gone {
        "that process has ended, and one that it forked still holds the lock: end that one"
    } else {
        "wait until it ends or end it; other processes use a Reader, which needs no lock"
    })
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
        assert_eq!(Holder::read(&path).unwrap().start, start_time(std::process::id()).unwrap());
        lock.release().unwrap();
        assert_eq!(Holder::read(&path), None);
        drop(Lock::acquire(&path, Time(3_000)).unwrap());
        Lock::acquire(&path, Time(4_000)).unwrap();
    }

    #[test]
    fn a_flipped_byte_of_the_lock_file_names_nobody_else() {
        let dir = crate::journal::tests::Dir::new("lock-flip");
        let path = dir.0.join("x.lock");
        let _lock = Lock::acquire(&path, Time(1_000)).unwrap();
        let (whole, holder) = (fs::read(&path).unwrap(), Holder::read(&path).unwrap());
        let mut unnamed = 0;
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                // A copy: closing the locked file would let go of the lock.
                let copy = dir.0.join("copy");
                fs::write(&copy, bytes).unwrap();
                match Holder::read(&copy) {
                    Some(found) => assert_eq!(found, holder, "byte {at}"),
                    None => unnamed += 1,
                }
            }
        }
        assert!(unnamed > 8 * 100, "{unnamed}");
    }

    /// Holds the lock as a child does that a killed driver was just starting.
    fn held_for_a_dead_process(path: &Path) -> File {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        file.lock().unwrap();
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let holder = Holder { pid: ended.id(), start: start_time(ended.id()).unwrap_or(1), ..Holder::this(Time(5)) };
        ended.wait().unwrap();
        file.write_all_at(&holder.text().unwrap(), 0).unwrap();
        file
    }

    #[test]
    fn a_dead_process_s_lock_is_waited_for() {
        let dir = crate::journal::tests::Dir::new("lock-dead");
        let path = dir.0.join("x.lock");
        let held = held_for_a_dead_process(&path);
        let taker = std::thread::spawn({
            let path = path.clone();
            move || Lock::acquire(&path, Time(6))
        });
        #[allow(clippy::disallowed_methods, reason = "a test that lets another thread get on")]
        std::thread::sleep(Duration::from_millis(100));
        assert!(!taker.is_finished());
        drop(held);
        taker.join().unwrap().unwrap();
    }

    #[test]
    fn what_this_process_let_go_of_is_waited_for() {
        let dir = crate::journal::tests::Dir::new("lock-own");
        let path = dir.0.join("x.lock");
        let lock = Lock::acquire(&path, Time(5)).unwrap();
        // As a child has it between fork and exec.
        let copy = lock.file.try_clone().unwrap();
        drop(lock);
        let taker = std::thread::spawn({
            let path = path.clone();
            move || Lock::acquire(&path, Time(6))
        });
        #[allow(clippy::disallowed_methods, reason = "a test that lets another thread get on")]
        std::thread::sleep(Duration::from_millis(100));
        assert!(!taker.is_finished());
        drop(copy);
        let taken = taker.join().unwrap().unwrap();
        assert_eq!(Lock::acquire(&path, Time(7)).unwrap_err().kind(), Kind::Busy);
        drop(taken);
    }

    #[test]
    fn a_lock_that_a_fork_keeps_is_told_from_a_living_driver_s() {
        let dir = crate::journal::tests::Dir::new("lock-fork");
        let path = dir.0.join("x.lock");
        let _held = held_for_a_dead_process(&path);
        let error = Lock::acquire(&path, Time(6)).unwrap_err();
        assert_eq!(error.kind(), Kind::Busy);
        assert!(error.to_string().contains("has ended"), "{error}");
    }
}
