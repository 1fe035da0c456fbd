//! What a process writes, as lines, in bounded memory.

use std::borrow::Cow;
use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use crate::error::counted;

/// How much is read at once.
const CHUNK: usize = 8 * 1024;

/// Where a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Stream {
    /// Standard output.
    #[serde(rename = "stdout")]
    Out,
    /// Standard error.
    #[serde(rename = "stderr")]
    Err,
}

/// One line that a process wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where.
    pub stream: Stream,
    /// The bytes as written, without the line feed; not necessarily UTF-8.
    pub bytes: Vec<u8>,
    /// How many more bytes the line had.
    pub cut: u64,
}

impl Line {
    /// The line to be read by people: invalid UTF-8 replaced, a carriage return at the end left out, and a note when
    /// it was cut.
    pub fn text(&self) -> Cow<'_, str> {
        let text = String::from_utf8_lossy(self.bytes.strip_suffix(b"\r").unwrap_or(&self.bytes));
        if self.cut == 0 {
            return text;
        }
        Cow::Owned(format!("{text} [{}]", counted(self.cut, "more byte", "more bytes")))
    }
}

/// Splits bytes into lines of at most `limit` bytes.
#[derive(Debug)]
struct Splitter {
    stream: Stream,
    limit: usize,
    line: Vec<u8>,
    cut: u64,
}

impl Splitter {
    fn push(&mut self, bytes: &[u8], lines: &mut VecDeque<Line>) {
        let mut parts = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            let room = self.limit.saturating_sub(self.line.len()).min(part.len());
            let (kept, over) = part.split_at(room);
            self.line.extend_from_slice(kept);
            self.cut += over.len() as u64;
            if parts.peek().is_some() {
                self.emit(lines);
            }
        }
    }

    fn end(&mut self, lines: &mut VecDeque<Line>) {
        if !self.line.is_empty() || self.cut > 0 {
            self.emit(lines);
        }
    }

    fn emit(&mut self, lines: &mut VecDeque<Line>) {
        let bytes = std::mem::take(&mut self.line);
        lines.push_back(Line { stream: self.stream, bytes, cut: std::mem::take(&mut self.cut) });
    }
}

#[derive(Debug)]
struct Source {
    pipe: Option<Receiver>,
    splitter: Splitter,
}

impl Source {
    async fn read(&mut self, chunk: &mut [u8]) -> usize {
        let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
        // A pipe that can't be read any more has ended for us.
        pipe.read(chunk).await.unwrap_or(0)
    }

    fn take(&mut self, bytes: &[u8], lines: &mut VecDeque<Line>) {
        if bytes.is_empty() {
            self.pipe = None;
            self.splitter.end(lines);
        } else {
            self.splitter.push(bytes, lines);
        }
    }
}

/// Both pipes of a process. Read only when asked: a reader that is slow slows the process.
#[derive(Debug)]
pub(super) struct Output {
    out: Source,
    err: Source,
    lines: VecDeque<Line>,
}

impl Output {
    pub(super) fn new(out: Option<Receiver>, err: Option<Receiver>, limit: usize) -> Output {
        let splitter = |stream| Splitter { stream, limit, line: Vec::new(), cut: 0 };
        Output {
            out: Source { pipe: out, splitter: splitter(Stream::Out) },
            err: Source { pipe: err, splitter: splitter(Stream::Err) },
            lines: VecDeque::new(),
        }
    }

    /// Whether there is nothing more to come.
    pub(super) fn ended(&self) -> bool {
        self.lines.is_empty() && self.out.pipe.is_none() && self.err.pipe.is_none()
    }

    /// Gives up what is still held open by processes that we don't know.
    pub(super) fn close(&mut self) {
        self.out.take(&[], &mut self.lines);
        self.err.take(&[], &mut self.lines);
    }

    /// A line that is already there.
    pub(super) fn buffered(&mut self) -> Option<Line> {
        self.lines.pop_front()
    }

    /// The next line; `None` at the end. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.out.pipe.is_none() && self.err.pipe.is_none() {
                return None;
            }
            let (mut a, mut b) = ([0; CHUNK], [0; CHUNK]);
            tokio::select! {
                n = self.out.read(&mut a) => self.out.take(a.get(..n).unwrap_or_default(), &mut self.lines),
                n = self.err.read(&mut b) => self.err.take(b.get(..n).unwrap_or_default(), &mut self.lines),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[Vec<u8>], limit: usize) -> Vec<Line> {
        let mut splitter = Splitter { stream: Stream::Out, limit, line: Vec::new(), cut: 0 };
        let mut lines = VecDeque::new();
        for chunk in chunks {
            splitter.push(chunk, &mut lines);
        }
        splitter.end(&mut lines);
        lines.into()
    }

    proptest! {
        #[test]
        fn lines_don_t_depend_on_how_they_arrive(
            chunks in prop::collection::vec(prop::collection::vec(prop::sample::select(b"ab\n\r\xFF".to_vec()), 0..9), 0..9),
            limit in 0_usize..6,
        ) {
            let whole = chunks.concat();
            let lines = split(&chunks, limit);
            prop_assert_eq!(&lines, &split(std::slice::from_ref(&whole), limit));
            prop_assert!(lines.iter().all(|line| line.bytes.len() <= limit));
            let bytes: u64 = lines.iter().map(|line| line.bytes.len() as u64 + line.cut).sum();
            prop_assert_eq!(bytes, whole.iter().filter(|byte| **byte != b'\n').count() as u64);
            if limit == 5 && lines.iter().all(|line| line.cut == 0) {
                let joined = lines.iter().map(|line| line.bytes.clone()).collect::<Vec<_>>().join(&b'\n');
                prop_assert_eq!(joined.as_slice(), whole.strip_suffix(b"\n").unwrap_or(&whole));
            }
        }
    }

    #[test]
    fn says_what_was_cut() {
        let line = split(&[b"abcdef\r\n".to_vec()], 3).remove(0);
        assert_eq!(line.text(), "abc [4 more bytes]");
        assert_eq!(Line { cut: 1, ..line }.text(), "abc [1 more byte]");
        assert_eq!(split(&[b"ok\r\n".to_vec()], 9).remove(0).text(), "ok");
    }
}
