//! Figures as people read them.

use crate::time::Span;

/// A span: to a tenth of a second under a minute, `12.3 s`, and in whole seconds from there on, `1m5s`.
pub(crate) fn took(span: Span) -> String {
    if span < Span::seconds(60) {
        format!("{}.{} s", span.0 / 1_000, span.0 % 1_000 / 100)
    } else {
        Span::seconds(span.0 / 1_000).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        let shown = [0, 1_250, 59_999, 60_000, 65_400, 3_725_000].map(|ms| took(Span(ms)));
        assert_eq!(shown, ["0.0 s", "1.2 s", "59.9 s", "1m", "1m5s", "1h2m5s"]);
    }
}
