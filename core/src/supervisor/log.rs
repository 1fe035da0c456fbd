//! What the supervisor did, in a file beside its socket; nobody else tells after the program has ended.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::time::{Clock, SystemClock, Time};

use super::folder::append;

/// The file is put aside at this size; one older one is kept.
pub(super) const LIMIT: u64 = 1 << 20;

/// A log of bounded size. Never holds output or environment of services.
#[derive(Debug, Clone)]
pub(super) struct Log {
    path: Arc<PathBuf>,
    clock: Arc<SystemClock>,
    file: Arc<Mutex<Option<(File, u64)>>>,
}

impl Log {
    /// A log at this path.
    pub(super) fn new(path: PathBuf) -> Log {
        let clock = Arc::new(SystemClock::new(Time::default()));
        Log { path: Arc::new(path), clock, file: Arc::default() }
    }

    /// Writes one line. A log that can't be written must not keep services from being served: it is left out.
    pub(super) fn note(&self, text: impl std::fmt::Display) {
        let line = format!("{} {}\n", self.clock.now(), text.to_string().replace('\n', " | "));
        let mut held = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if held.as_ref().is_none_or(|(_, size)| *size > LIMIT) {
            if held.is_some() {
                let _ = std::fs::rename(&*self.path, self.path.with_extension("old"));
            }
            *held = append(&self.path).ok().map(|file| {
                let size = file.metadata().map_or(0, |meta| meta.len());
                (file, size)
            });
        }
        if let Some((file, size)) = held.as_mut() {
            *size += line.len() as u64;
            let _ = file.write_all(line.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_size() {
        let folder = std::env::temp_dir().join(format!("tidegate-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let log = Log::new(folder.join("log"));
        let text = "x".repeat(100_000);
        for _ in 0..50 {
            log.note(&text);
        }
        let sizes: Vec<u64> =
            std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|size| *size <= LIMIT + 200_000), "{sizes:?}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
