//! Captured output, one file for each attempt, beside the journal.

use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tokio::fs::{DirBuilder, File, OpenOptions};
use tokio::io::{AsyncWriteExt, BufWriter};

use crate::error::{Error, Kind, Result, counted};

/// The most bytes kept of one attempt's output; what is over is counted.
const MOST_BYTES: u64 = 64 << 20;

/// The folder of the logs of all runs of a journal.
pub(crate) fn folder_of(journal: &Path) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(".logs");
    name.into()
}

/// The file with what one attempt of a run's step wrote.
pub(crate) fn log_file(journal: &Path, run: &str, step: &str, attempt: u32) -> PathBuf {
    folder_of(journal).join(run).join(attempt_file(step, attempt))
}

fn attempt_file(step: &str, attempt: u32) -> String {
    format!("{}.{attempt}.log", file_name(step))
}

/// The end of a log, at most `most` bytes of it from the beginning of a line on, and how many bytes come before; nothing
/// when there is no log.
pub(crate) fn log_end(path: &Path, most: u64) -> Result<Option<(String, u64)>> {
    let unread = |error| Error::new(Kind::Io, "can't read a step's log").with("path", path.display()).because(error);
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unread(error)),
    };
    let size = file.metadata().map_err(unread)?.len();
    let mut from = size.saturating_sub(most);
    file.seek(SeekFrom::Start(from)).map_err(unread)?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(unread)?;
    if from > 0 {
        let whole = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
        bytes.drain(..whole);
        from += whole as u64;
    }
    Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), from)))
}

/// Removes the logs of a run, if there are any.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::new(Kind::Io, "can't remove the run's logs").with("path", folder.display()).because(error))
        }
        _ => Ok(()),
    }
}

/// The file that an attempt's output goes to. What can't be written is told once and does not stop the step.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: Option<PathBuf>,
    file: Option<BufWriter<File>>,
    bytes: u64,
    left_out: u64,
}

impl LogFile {
    pub(crate) fn new(folder: Option<&Path>, run: &str, step: &str, attempt: u32) -> LogFile {
        let path = folder.map(|folder| folder.join(run).join(attempt_file(step, attempt)));
        LogFile { path, file: None, bytes: 0, left_out: 0 }
    }

    pub(crate) async fn line(&mut self, line: &str) {
        if self.path.is_none() {
            return;
        }
        if self.bytes + line.len() as u64 > MOST_BYTES {
            self.left_out += 1;
            return;
        }
        self.bytes += line.len() as u64 + 1;
        if let Err(error) = self.write(line).await {
            tracing::warn!(path = ?self.path, %error, "a step's output can't be kept");
            self.path = None;
        }
    }

    async fn write(&mut self, line: &str) -> std::io::Result<()> {
        if let (None, Some(path)) = (&self.file, &self.path) {
            // As private as the journal: output may hold what nobody named a secret.
            if let Some(folder) = path.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(folder).await?;
            }
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).await?;
            self.file = Some(BufWriter::new(file));
        }
        if let Some(file) = &mut self.file {
            file.write_all(line.as_bytes()).await?;
            file.write_all(b"\n").await?;
        }
        Ok(())
    }

    /// Lets others read what was written so far.
    pub(crate) async fn flush(&mut self) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.flush().await
        {
            tracing::warn!(path = ?self.path, %error, "a step's output can't be kept");
            (self.path, self.file) = (None, None);
        }
    }

    pub(crate) async fn close(mut self) {
        if self.left_out > 0 {
            self.bytes = 0;
            let left_out = counted(self.left_out, "more line is", "more lines are");
            let note = format!("... {left_out} left out: the log has reached its limit");
            self.line(&note).await;
        }
        self.flush().await;
    }
}

/// A step's name as a file name: what is no letter, digit, dash, dot or underscore becomes `%` and its code.
fn file_name(step: &str) -> String {
    let mut name = String::new();
    for byte in step.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && !name.is_empty()) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_can_t_be_kept_is_given_up_at_the_first_flush() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LogFile::new(Some(dir.path()), "run", "step", 1);
        std::fs::create_dir(dir.path().join("run")).unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join("run/step.1.log")).unwrap();
        file.line("one").await;
        assert!(file.path.is_some(), "nothing was written yet");
        file.flush().await;
        assert!(file.path.is_none() && file.file.is_none());
        file.line("two").await;
        file.close().await;
    }
}
