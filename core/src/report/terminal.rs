//! What terminals obey, in what programs wrote for one.

/// Text without control sequences, such as those of colours (ECMA-48, 5.4): from escape and `[` to the final byte.
pub(super) fn without_sequences(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            plain.push(c);
        } else if rest.clone().next() == Some('[') {
            let _ = rest.by_ref().skip(1).find(|c| matches!(c, '\u{40}'..='\u{7e}'));
        }
    }
    plain
}

/// Text of which neither a terminal nor what reads a log obeys a character, on one line.
pub(super) fn plain(text: &str) -> String {
    without_sequences(text).replace('\t', "    ").chars().filter(|c| !c.is_control()).collect()
}

/// The same for a text of several lines.
pub(super) fn plain_lines(text: &str) -> Vec<String> {
    text.lines().map(plain).collect()
}
