//! What is kept of a command's output: masked lines for people, and the value.

use std::collections::VecDeque;

use serde_json::Value;

use crate::error::counted;
use crate::pipeline::machine::{Cause, StepError};
use crate::pipeline::spec::Output;
use crate::pipeline::value::{MAX_VALUE_BYTES, lossy_integer};
use crate::process::{Line, Stream};
use crate::secret::{MaskedStream, Masker};

/// The longest line that is shown, in bytes.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// How many lines an error holds, and how long each is at most, in bytes.
const LAST_LINES: usize = 20;
const MAX_LAST_LINE_BYTES: usize = 1_000;

/// How long a line must be read for a value to be whole; the usual length for no value.
pub(super) fn line_limit(output: Output) -> usize {
    if output == Output::None { MAX_LINE_BYTES } else { MAX_VALUE_BYTES + 1 }
}

/// What is wrong with a value that masking would change.
pub(crate) const VALUE_HOLDS_SECRET: &str = "holds a secret, and values are recorded";

/// The lines of one stream, masked as a whole: a secret may go over several lines.
struct Lines<'a> {
    masked: MaskedStream<'a>,
    rest: Vec<u8>,
}

impl Lines<'_> {
    fn push(&mut self, line: &Line, whole: &mut Vec<String>) {
        let shown = line.bytes.get(..MAX_LINE_BYTES).unwrap_or(&line.bytes);
        let cut = line.cut + (line.bytes.len() - shown.len()) as u64;
        self.rest.extend(self.masked.feed(shown));
        if cut > 0 {
            // What may be the beginning of a secret can't be told from one any more.
            self.rest.extend(self.masked.cut());
            self.rest.extend(format!(" [{}]", counted(cut, "more byte", "more bytes")).into_bytes());
        }
        self.rest.extend(self.masked.feed(b"\n"));
        self.split(whole);
    }

    fn finish(&mut self, whole: &mut Vec<String>) {
        self.rest.extend(self.masked.finish());
        self.split(whole);
        if !self.rest.is_empty() {
            whole.push(text(&self.rest));
            self.rest.clear();
        }
    }

    fn split(&mut self, whole: &mut Vec<String>) {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            whole.push(text(line.strip_suffix(b"\n").unwrap_or(&line)));
        }
    }
}

/// A line to be read by people.
fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}

/// Takes a command's lines: masks them, keeps the last ones, and gathers the value.
pub(super) struct Capture<'a> {
    masker: &'a Masker,
    output: Output,
    out: Lines<'a>,
    err: Lines<'a>,
    value: Vec<u8>,
    too_large: bool,
    last: VecDeque<String>,
}

impl<'a> Capture<'a> {
    pub(super) fn new(masker: &'a Masker, output: Output) -> Capture<'a> {
        let lines = || Lines { masked: masker.stream(), rest: Vec::new() };
        let (out, err) = (lines(), lines());
        Capture { masker, output, out, err, value: Vec::new(), too_large: false, last: VecDeque::new() }
    }

    /// Takes a line; gives those that can be shown by now.
    pub(super) fn push(&mut self, line: &Line) -> Vec<(Stream, String)> {
        if line.stream == Stream::Out {
            self.gather(line);
        }
        let mut whole = Vec::new();
        match line.stream {
            Stream::Out => self.out.push(line, &mut whole),
            Stream::Err => self.err.push(line, &mut whole),
        }
        self.keep(line.stream, whole)
    }

    /// The output has ended: gives the lines that were held back.
    pub(super) fn finish(&mut self) -> Vec<(Stream, String)> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        self.out.finish(&mut out);
        self.err.finish(&mut err);
        let mut lines = self.keep(Stream::Out, out);
        lines.extend(self.keep(Stream::Err, err));
        lines
    }

    fn keep(&mut self, stream: Stream, lines: Vec<String>) -> Vec<(Stream, String)> {
        for line in &lines {
            if self.last.len() >= LAST_LINES {
                self.last.pop_front();
            }
            let mut end = line.len().min(MAX_LAST_LINE_BYTES);
            while !line.is_char_boundary(end) {
                end -= 1;
            }
            self.last.push_back(line.get(..end).unwrap_or_default().to_owned());
        }
        lines.into_iter().map(|line| (stream, line)).collect()
    }

    fn gather(&mut self, line: &Line) {
        match self.output {
            Output::None => return,
            Output::LastLineJson if line.bytes.iter().all(u8::is_ascii_whitespace) && line.cut == 0 => return,
            Output::LastLineJson => {
                self.value.clear();
                self.too_large = false;
            }
            Output::Text | Output::Json => {}
        }
        if line.cut > 0 || self.value.len() + line.bytes.len() > MAX_VALUE_BYTES + 1 {
            self.too_large = true;
            self.value.clear();
        }
        if !self.too_large {
            self.value.extend_from_slice(&line.bytes);
            self.value.push(b'\n');
        }
    }

    /// The last lines that it wrote, masked.
    pub(super) fn last_lines(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }

    /// The value.
    pub(super) fn value(&self) -> Result<Value, StepError> {
        let bad = |message: String| {
            Err(StepError { last_lines: self.last_lines(), ..StepError::new(Cause::BadValue, message) })
        };
        if self.output == Output::None {
            return Ok(Value::Null);
        }
        if self.too_large {
            return bad(format!("its output is too large for a value: more than {MAX_VALUE_BYTES} bytes"));
        }
        let bytes = self.value.strip_suffix(b"\n").unwrap_or(&self.value);
        let Ok(text) = std::str::from_utf8(bytes) else {
            return bad("its output is not UTF-8, so it can't be a value".to_owned());
        };
        let value = match self.output {
            Output::None => Value::Null,
            Output::Text => Value::String(text.to_owned()),
            Output::Json | Output::LastLineJson => match serde_json::from_str(text) {
                Ok(value) => value,
                // The message of the parser names a place, not what stands there.
                Err(error) => {
                    return bad(format!("its output is not JSON: line {}, column {}", error.line(), error.column()));
                }
            },
        };
        if self.output != Output::Text
            && let Some((line, column)) = lossy_integer(text)
        {
            return bad(format!(
                "its output has an integer beyond 2^53 − 1: line {line}, column {column}; write it as a string"
            ));
        }
        // Values are recorded, and what is recorded can't be forgotten. Masked, it would be another value.
        if self.masker.mask(text) != text || self.masker.mask_json(&value) != value {
            return bad(format!("its output {VALUE_HOLDS_SECRET}"));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::secret::Secret;

    fn line() -> impl Strategy<Value = Vec<u8>> {
        let near = [
            "{\"a\":",
            "1}",
            "[0.1,",
            "2]",
            "1e999",
            "18446744073709551616",
            "\"hunter22\"",
            " ",
            "",
            "null",
            "\u{1b}[1m",
        ];
        prop_oneof![
            4 => proptest::sample::select(near.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>().prop_filter("no line end", |byte| *byte != b'\n'), 0..12),
        ]
    }

    proptest! {
        /// A value is what was written, or there is none; no line or value shows a secret.
        #[test]
        fn a_value_is_what_was_written(lines in prop::collection::vec(line(), 0..6)) {
            let secret = Secret::new("hunter22").unwrap();
            let masker = Masker::new([&secret]).unwrap();
            for output in [Output::None, Output::Text, Output::Json, Output::LastLineJson] {
                let mut capture = Capture::new(&masker, output);
                let each = |bytes: &Vec<u8>| Line { stream: Stream::Out, bytes: bytes.clone(), cut: 0 };
                let mut shown: Vec<String> =
                    lines.iter().flat_map(|bytes| capture.push(&each(bytes))).map(|(_, line)| line).collect();
                shown.extend(capture.finish().into_iter().map(|(_, line)| line));
                prop_assert!(!shown.concat().contains("hunter22"));
                let whole = match output {
                    Output::LastLineJson => {
                        let last = lines.iter().rev().find(|line| !line.iter().all(u8::is_ascii_whitespace));
                        last.cloned().unwrap_or_default()
                    }
                    _ => lines.join(&b'\n'),
                };
                let text = String::from_utf8(whole).ok().filter(|text| !text.contains("hunter22"));
                let expected = match output {
                    Output::None => Some(Value::Null),
                    Output::Text => text.map(Value::String),
                    _ => text.filter(|text| !text.contains("18446744073709551616")).and_then(|text| serde_json::from_str(&text).ok()),
                };
                prop_assert_eq!(capture.value().ok(), expected);
            }
        }
    }
}
