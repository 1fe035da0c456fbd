//! Secrets: values that are used and never written.

use std::collections::BTreeSet;
use std::fmt;

use crate::error::{Error, Kind, Result};

/// The shortest secret in bytes. Masking a shorter one would make output unreadable and give the secret away.
const MIN_BYTES: usize = 4;

/// The longest secret in bytes: what must be held back of a stream grows with it.
const MAX_BYTES: usize = 64 * 1024;

/// The most secrets that one masker looks for.
const MAX_SECRETS: usize = 1_000;

/// What is written in place of a secret.
const MASK: &[u8] = b"***";

/// A text that is never shown or written: it has no `Serialize`, and `Debug` and `Display` give `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret. One line end at its end is dropped, as files and commands add one.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it is shorter than 4 bytes or longer than 64 KiB.
    pub fn new(text: impl Into<String>) -> Result<Secret> {
        let mut text: String = text.into();
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        // Neither message says more of the secret than that.
        if text.len() < MIN_BYTES {
            return Err(Error::new(Kind::Invalid, format!("a secret is shorter than {MIN_BYTES} bytes"))
                .help("so short a text occurs by chance, and can't be masked in output; use a longer secret"));
        }
        if text.len() > MAX_BYTES {
            return Err(Error::new(Kind::Invalid, format!("a secret is longer than {MAX_BYTES} bytes"))
                .help("keep it in a file and pass the file's path"));
        }
        Ok(Secret(text))
    }

    /// The text itself, to hand it to what needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a set of secrets looks like in output: as they are, in base64 (at each of the three alignments, both alphabets),
/// URL-encoded and JSON-escaped, and each of their lines so. Base64 that is wrapped into lines, hexadecimal and
/// compressed forms are not recognised.
#[derive(Clone, Default)]
pub struct Masker {
    patterns: Vec<Vec<u8>>,
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
    held: Vec<u8>,
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

/// Adds every form of a text that is long enough to be told from chance.
fn forms(text: &str, patterns: &mut BTreeSet<Vec<u8>>) {
    if text.len() < MIN_BYTES {
        return;
    }
    let mut add = |form: Vec<u8>| {
        if form.len() >= MIN_BYTES {
            patterns.insert(form);
        }
    };
    add(text.as_bytes().to_vec());
    add(text.replace('\n', "\r\n").into_bytes());
    for offset in 0..3 {
        let form = base64_core(text.as_bytes(), offset);
        add(form
            .iter()
            .map(|c| match c {
                b'+' => b'-',
                b'/' => b'_',
                c => *c,
            })
            .collect());
        add(form);
    }
    for (upper, plus) in [(true, false), (false, false), (true, true), (false, true)] {
        add(url_encoded(text, upper, plus));
    }
    for ascii in [false, true] {
        let form = json_escaped(text, ascii);
        // Inside a JSON text that is itself a string of a JSON text.
        add(json_escaped(&form, ascii).into_bytes());
        add(form.into_bytes());
    }
}

/// The characters of base64 that depend on nothing but `bytes`, when `offset` bytes stand before them in their group of
/// three (RFC 4648).
fn base64_core(bytes: &[u8], offset: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut padded = vec![0; offset];
    padded.extend_from_slice(bytes);
    let bit = |at: usize| padded.get(at / 8).map_or(0, |byte| (byte >> (7 - at % 8)) & 1);
    let (first, end) = ((offset * 8).div_ceil(6), padded.len() * 8 / 6);
    (first..end)
        .map(|i| (0..6).fold(0_u8, |index, j| (index << 1) | bit(i * 6 + j)))
        .filter_map(|index| ALPHABET.get(usize::from(index)).copied())
        .collect()
}

/// Percent-encoding of all but the unreserved characters (RFC 3986), with a plus sign for a blank if `plus`.
fn url_encoded(text: &str, upper: bool, plus: bool) -> Vec<u8> {
    let mut form = Vec::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => form.push(byte),
            b' ' if plus => form.push(b'+'),
            _ if upper => form.extend(format!("%{byte:02X}").into_bytes()),
            _ => form.extend(format!("%{byte:02x}").into_bytes()),
        }
    }
    form
}

/// The inside of a JSON string (RFC 8259); everything beyond ASCII as `\u` escapes if `ascii`, as Python writes it.
fn json_escaped(text: &str, ascii: bool) -> String {
    let mut form = String::new();
    for c in text.chars() {
        match c {
            '"' => form.push_str("\\\""),
            '\\' => form.push_str("\\\\"),
            '\n' => form.push_str("\\n"),
            '\r' => form.push_str("\\r"),
            '\t' => form.push_str("\\t"),
            '\u{8}' => form.push_str("\\b"),
            '\u{c}' => form.push_str("\\f"),
            c if c < ' ' || (ascii && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    form.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => form.push(c),
        }
    }
    form
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masker(secrets: &[&str]) -> Masker {
        let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(*text).unwrap()).collect();
        Masker::new(&secrets).unwrap()
    }

    #[test]
    fn is_never_shown() {
        let secret = Secret::new("hunter22\n").unwrap();
        assert_eq!(format!("{secret} {secret:?}"), "*** Secret(***)");
        assert_eq!(secret.expose(), "hunter22");
        assert_eq!(format!("{:?}", masker(&["hunter22"])).matches("hunter").count(), 0);
        let error = Secret::new("abc").unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(!error.to_string().contains("abc"));
        assert!(Secret::new("x".repeat(MAX_BYTES + 1)).is_err());
    }

    #[test]
    fn masks_every_form() {
        let text = "p/ss w\"rd+ü\\";
        let masker = masker(&[text]);
        // From `printf`, `base64`, Python's `urllib.parse.quote`, `quote_plus` and `json.dumps`.
        for form in [
            text,
            "cC9zcyB3InJkK8O8XA",
            "p%2Fss%20w%22rd%2B%C3%BC%5C",
            "p%2fss%20w%22rd%2b%c3%bc%5c",
            "p%2Fss+w%22rd%2B%C3%BC%5C",
            "p/ss w\\\"rd+ü\\\\",
            "p/ss w\\\"rd+\\u00fc\\\\",
        ] {
            let masked = masker.mask(&format!("<{form}>"));
            let inside = masked.trim_start_matches('<').trim_end_matches('>');
            assert!(inside == "***" || inside == "***A" || inside == "***XA", "{form} gives {masked}");
        }
        assert_eq!(masker.mask("nothing to hide"), "nothing to hide");
        let value = serde_json::json!({"a": [text, 1], "b": null});
        assert_eq!(masker.mask_json(&value), serde_json::json!({"a": ["***", 1], "b": null}));
    }

    #[test]
    fn masks_every_line_of_a_secret() {
        let masker = masker(&["-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0B\n-----END KEY-----"]);
        assert_eq!(masker.mask("x MIIEvQIBADANBg y\r\nkqhkiG9w0B"), "x *** y\r\n***");
    }

    #[test]
    fn hides_secrets_that_overlap_or_begin_alike() {
        assert_eq!(masker(&["abcdef", "defghi"]).mask("-abcdefghi-"), "-***-");
        assert_eq!(masker(&["token", "token-long"]).mask("token-long token-lo token"), "*** ***-lo ***");
        assert_eq!(masker(&["aaaa"]).mask("aaaaaaaaa b aaa"), "*** b aaa");
    }

    #[test]
    fn holds_back_only_what_could_be_a_secret() {
        let masker = masker(&["secret-one"]);
        let mut stream = masker.stream();
        assert_eq!(stream.feed(b"a line\n"), b"a line\n");
        assert_eq!(stream.feed(b"sec"), b"");
        assert_eq!(stream.feed(b"ond\n"), b"second\n");
        assert_eq!(stream.feed(b"secret-"), b"");
        assert_eq!(stream.feed(b"one"), b"***");
        assert_eq!(stream.feed(b" secret-on"), b" ");
        assert_eq!(stream.finish(), b"secret-on");
    }

    proptest! {
        /// However a text is cut into chunks, it is masked as in one piece, and no secret is left in it.
        #[test]
        fn chunks_make_no_difference(
            parts in prop::collection::vec(prop_oneof!["[ab]{0,3}", Just("abba-abba".to_owned()), Just("bbab".to_owned())], 0..8),
            cuts in prop::collection::vec(1..7_usize, 0..40),
        ) {
            let masker = masker(&["abba-abba", "bbab"]);
            let text = parts.concat();
            let mut stream = masker.stream();
            let (mut masked, mut rest, mut most) = (Vec::new(), text.as_bytes(), 0);
            for cut in cuts {
                let (chunk, after) = rest.split_at(cut.min(rest.len()));
                masked.extend(stream.feed(chunk));
                most = most.max(stream.held.len());
                rest = after;
            }
            masked.extend(stream.feed(rest));
            masked.extend(stream.finish());
            let masked = String::from_utf8(masked).unwrap();
            prop_assert_eq!(&masked, &masker.mask(&text));
            prop_assert!(!masked.contains("abba-abba") && !masked.contains("bbab"), "{}", masked);
            prop_assert!(most <= masker.patterns.iter().map(Vec::len).max().unwrap_or(0));
        }

        /// Base64 of anything that holds the secret shows at most the two characters at its edges.
        #[test]
        fn base64_is_found_at_every_alignment(before in "[a-z]{0,5}", after in "[a-z]{0,5}") {
            let secret = "S3cr3t!S3cr3t!";
            let encoded = base64_core(format!("{before}{secret}{after}").as_bytes(), 0);
            let masked = masker(&[secret]).mask(std::str::from_utf8(&encoded).unwrap());
            prop_assert!(masked.contains("***"));
            let left = masked.replace("***", "").len();
            prop_assert!(left <= (before.len() * 8).div_ceil(6) + (after.len() * 8).div_ceil(6) + 1, "{}", masked);
        }
    }
}
