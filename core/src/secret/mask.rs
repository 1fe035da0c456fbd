//! Masks secrets in texts, values and streams.

use std::collections::BTreeSet;
use std::fmt;

use crate::error::{Error, Kind, Result};
use crate::secret::forms::forms;
use crate::secret::value::Secret;

/// The most secrets that one masker looks for.
const MAX_SECRETS: usize = 1_000;

/// What is written in place of a secret.
const MASK: &[u8] = b"***";

/// What a set of secrets looks like in output: as they are, in base64 (at each of the three alignments, both alphabets),
/// URL-encoded and JSON-escaped, and each of their lines so. Base64 that is wrapped into lines, hexadecimal and
/// compressed forms are not recognised.
#[derive(Clone, Default)]
pub struct Masker {
    pub(super) patterns: Vec<Vec<u8>>,
    /// The patterns by their first byte; 256 entries, or none if there are no patterns.
    by_first: Vec<Vec<usize>>,
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masker({} patterns)", self.patterns.len())
    }
}

impl Masker {
    /// A masker for some secrets.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for more than 1,000 secrets.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Result<Masker> {
        let mut patterns = BTreeSet::new();
        for (i, secret) in secrets.into_iter().enumerate() {
            if i >= MAX_SECRETS {
                return Err(Error::new(Kind::Invalid, format!("more than {MAX_SECRETS} secrets")));
            }
            forms(secret.expose(), &mut patterns);
            for line in secret.expose().lines().map(str::trim) {
                forms(line, &mut patterns);
            }
        }
        let patterns: Vec<Vec<u8>> = patterns.into_iter().collect();
        let mut by_first = vec![Vec::new(); if patterns.is_empty() { 0 } else { 256 }];
        for (i, pattern) in patterns.iter().enumerate() {
            if let Some(list) = pattern.first().and_then(|first| by_first.get_mut(usize::from(*first))) {
                list.push(i);
            }
        }
        Ok(Masker { patterns, by_first })
    }

    /// The text with every secret in it masked.
    pub fn mask(&self, text: &str) -> String {
        let mut stream = self.stream();
        let mut masked = stream.feed(text.as_bytes());
        masked.extend(stream.finish());
        // Patterns are whole characters or ASCII, and so is the mask; what is left is as valid as it was.
        String::from_utf8_lossy(&masked).into_owned()
    }

    /// A JSON value with every secret in its strings and names masked.
    pub fn mask_json(&self, value: &serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::String(text) => Value::String(self.mask(text)),
            Value::Array(items) => items.iter().map(|item| self.mask_json(item)).collect(),
            Value::Object(fields) => {
                Value::Object(fields.iter().map(|(name, field)| (self.mask(name), self.mask_json(field))).collect())
            }
            // A secret of digits alone may have become a number.
            Value::Number(number) => {
                let text = number.to_string();
                let masked = self.mask(&text);
                if masked == text { value.clone() } else { Value::String(masked) }
            }
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }

    /// A masker of one stream of bytes that comes in chunks.
    pub fn stream(&self) -> MaskedStream<'_> {
        MaskedStream { masker: self, held: Vec::new(), hidden: 0 }
    }

    /// What comes before the first byte that a pattern begins with.
    fn plain<'b>(&self, rest: &'b [u8]) -> &'b [u8] {
        if self.patterns.is_empty() {
            return rest;
        }
        let begins = |byte: &u8| self.by_first.get(usize::from(*byte)).is_some_and(|list| !list.is_empty());
        rest.iter().position(begins).and_then(|at| rest.get(..at)).unwrap_or(rest)
    }

    /// The longest pattern that stands at the beginning of `rest`, and whether more bytes could make a longer one.
    fn look(&self, rest: &[u8]) -> (usize, bool) {
        let list = rest.first().and_then(|first| self.by_first.get(usize::from(*first)));
        let (mut longest, mut more) = (0, false);
        for pattern in list.into_iter().flatten().filter_map(|i| self.patterns.get(*i)) {
            if rest.starts_with(pattern) {
                longest = longest.max(pattern.len());
            } else if pattern.starts_with(rest) {
                more = true;
            }
        }
        (longest, more)
    }
}

/// Masks a stream across the borders of its chunks. It holds back only what could be the beginning of a secret: at most
/// as many bytes as the longest form of a secret has.
#[derive(Debug, Clone)]
pub struct MaskedStream<'a> {
    masker: &'a Masker,
    pub(super) held: Vec<u8>,
    /// How many of the held bytes, from the first, belong to a secret whose mask was written.
    hidden: usize,
}

impl MaskedStream<'_> {
    /// Takes a chunk and gives what can be shown by now.
    pub fn feed(&mut self, chunk: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(chunk);
        self.advance(false)
    }

    /// The stream has ended: gives what was held back, masked. The beginning of a secret is shown as it is.
    pub fn finish(&mut self) -> Vec<u8> {
        self.advance(true)
    }

    /// The stream goes on after a gap: what was held back may be the beginning of a secret whose rest is lost, and is
    /// masked.
    pub fn cut(&mut self) -> Vec<u8> {
        let open = self.held.len() > self.hidden;
        self.held.clear();
        self.hidden = 0;
        if open { MASK.to_vec() } else { Vec::new() }
    }

    fn advance(&mut self, last: bool) -> Vec<u8> {
        let mut shown = Vec::with_capacity(self.held.len());
        let mut done = 0;
        while let Some(rest) = self.held.get(done..).filter(|rest| !rest.is_empty()) {
            let plain = if self.hidden == 0 { self.masker.plain(rest) } else { &[] };
            if !plain.is_empty() {
                shown.extend_from_slice(plain);
                done += plain.len();
                continue;
            }
            let (longest, more) = self.masker.look(rest);
            if more && !last {
                break;
            }
            // Secrets may overlap: all bytes that belong to any of them are hidden, under one mask.
            if longest > 0 {
                if self.hidden == 0 {
                    shown.extend_from_slice(MASK);
                }
                self.hidden = self.hidden.max(longest);
            }
            if self.hidden > 0 {
                self.hidden -= 1;
            } else {
                shown.extend(rest.first());
            }
            done += 1;
        }
        self.held.drain(..done);
        shown
    }
}
