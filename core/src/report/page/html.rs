//! Text that is safe within HTML, and figures as people read them.

pub(super) use crate::report::figures::took;
use crate::report::terminal::without_sequences;
use crate::time::Time;

/// Text within an element or a quoted attribute. What a terminal would obey is left out.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in without_sequences(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            _ if c.is_control() => escaped.push('\u{fffd}'),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// The beginning of a name that is too long for its place.
pub(super) fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A time without its milliseconds: `2026-01-31 12:00:00 UTC`.
pub(super) fn moment(time: Time) -> String {
    let text = time.to_string();
    text.split_once('.').map_or(text.clone(), |(whole, _)| format!("{} UTC", whole.replace('T', " ")))
}

/// A figure to three digits.
pub(super) fn figure(number: f64) -> String {
    let size = number.abs();
    if size >= 1e6 || (size < 1e-3 && size > 0.0) {
        return format!("{number:.1e}");
    }
    let digits = if size >= 100.0 {
        0
    } else if size >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{number:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_step_wrote_is_markup_or_obeyed() {
        assert_eq!(escape("<script>&\"'"), "&lt;script&gt;&amp;&quot;&#39;");
        assert_eq!(escape("a\u{1b}[31;1mred\u{1b}[0m\r\u{7}\tb\n"), "ared\u{fffd}\u{fffd}\tb\n");
        assert_eq!(escape("\u{1b}[31"), "");
    }

    #[test]
    fn figures_are_short() {
        let shown: Vec<String> = [0.0, 0.5, 12.345, 123.4, 2e7, 1e-5, 3.0].map(figure).into();
        assert_eq!(shown, ["0", "0.5", "12.3", "123", "2.0e7", "1.0e-5", "3"]);
        assert_eq!((short("abcdef", 4), short("abcd", 4)), ("abc…".to_owned(), "abcd".to_owned()));
    }
}
