//! Writing to whoever looks at a program, without waiting for them.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, write};
use tokio::sync::oneshot;

use crate::error::{Error, Kind, Result};

/// As much as goes into a pipe at once that has room at all (`PIPE_BUF`).
const PIECE: usize = 4_096;
/// How often it is looked whether anybody still wants it written.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A text, and who waits until it is written; told whether it could be.
type Job = (String, oneshot::Sender<bool>);

/// Writes texts on a thread of its own: a full pipe and a terminal that was stopped hold up nobody else. What is waited
/// for is at most the write of one piece.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Nobody waits any more: what can't be written at once is not.
    is_left: AtomicBool,
    written: AtomicU64,
}

impl Writer {
    /// Starts the thread, which ends when this is dropped.
    pub(super) fn start(to: impl AsFd + Send + 'static) -> Result<Writer> {
        let ((jobs, waiting), shared) = (channel(), Arc::new(Shared::default()));
        let known = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("tidegate-show".to_owned())
            .spawn(move || run(&to, &waiting, &known))
            .map_err(|error| Error::new(Kind::Io, "can't start a thread").because(error))?;
        Ok(Writer { jobs, shared })
    }

    /// Writes a text, and tells whether it could be: once it can't, nobody reads any more.
    pub(super) async fn write(&self, text: String) -> bool {
        if text.is_empty() {
            return true;
        }
        self.begin(text).await.unwrap_or(false)
    }

    /// Writes a text if there is room for it, whoever waits.
    pub(super) fn begin(&self, text: String) -> oneshot::Receiver<bool> {
        let (done, written) = oneshot::channel();
        // The thread ends only with this.
        let _ = self.jobs.send((text, done));
        written
    }

    /// What tells how many bytes were written so far.
    pub(super) fn progress(&self) -> impl Fn() -> u64 + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.written.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.is_left.store(true, Ordering::SeqCst);
    }
}

fn run(to: &impl AsFd, waiting: &Receiver<Job>, shared: &Shared) {
    for (text, done) in waiting {
        let written = write_all(to, text.as_bytes(), shared).is_ok();
        // Whoever waited may have gone.
        let _ = done.send(written);
        if !written {
            return;
        }
    }
}

fn write_all(to: &impl AsFd, mut text: &[u8], shared: &Shared) -> io::Result<()> {
    while !text.is_empty() {
        match poll(&mut [PollFd::new(to, PollFlags::OUT)], Some(&LOOK)) {
            Ok(0) if shared.is_left.load(Ordering::SeqCst) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match write(to, &text[..text.len().min(PIECE)]) {
            Ok(count) => {
                text = &text[count..];
                shared.written.fetch_add(count as u64, Ordering::Relaxed);
            }
            // Another program may have made it one that does not wait.
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_full_pipe_holds_up_nobody_and_what_is_taken_comes_in_order() {
        let (mut reader, to) = std::io::pipe().unwrap();
        let writer = Writer::start(to).unwrap();
        let progress = writer.progress();
        let text = "0123456789abcde\n".repeat(64 << 10);
        let mut written = Box::pin(writer.write(text.clone()));
        assert!(tokio::time::timeout(Duration::from_millis(300), &mut written).await.is_err());
        let before = progress();
        assert!(before > 0 && before < text.len() as u64);
        let read = std::thread::spawn(move || {
            let mut got = vec![0; 1 << 20];
            reader.read_exact(&mut got).map(|()| got)
        });
        assert!(written.await);
        assert_eq!(read.join().unwrap().unwrap(), text.as_bytes());
    }

    #[tokio::test]
    async fn nobody_who_reads_is_told_and_is_no_fault() {
        let (reader, to) = std::io::pipe().unwrap();
        drop(reader);
        let writer = Writer::start(to).unwrap();
        assert!(!writer.write("a".to_owned()).await);
        assert!(!writer.write("b".to_owned()).await);
    }

    /// The thread ends, which the pipe's end shows: it held the other one.
    #[tokio::test]
    async fn who_leaves_a_full_pipe_leaves_no_thread() {
        let (mut reader, to) = std::io::pipe().unwrap();
        let writer = Writer::start(to).unwrap();
        let full = writer.begin("x".repeat(1 << 20));
        drop(writer);
        assert!(!full.await.unwrap());
        let mut rest = Vec::new();
        let gone = tokio::task::spawn_blocking(move || reader.read_to_end(&mut rest));
        assert!(tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap().unwrap().unwrap() < 1 << 20);
    }
}
