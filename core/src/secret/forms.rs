//! What a secret looks like after it went through other programs.

use std::collections::BTreeSet;

use crate::secret::value::MIN_BYTES;

/// Adds every form of a text that is long enough to be told from chance.
pub(super) fn forms(text: &str, patterns: &mut BTreeSet<Vec<u8>>) {
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
pub(super) fn base64_core(bytes: &[u8], offset: usize) -> Vec<u8> {
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
