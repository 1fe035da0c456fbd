//! The placeholders `{host}` and `{port}`.

use std::borrow::Cow;

/// Puts in host and port, in one pass: what is put in is not looked at again.
pub(super) fn fill(text: &str, host: &str, port: u16) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, tail) = rest.split_at(at);
        filled.push_str(before);
        if let Some(tail) = tail.strip_prefix("{host}") {
            filled.push_str(host);
            rest = tail;
        } else if let Some(tail) = tail.strip_prefix("{port}") {
            filled.push_str(&port.to_string());
            rest = tail;
        } else {
            filled.push('{');
            rest = tail.strip_prefix('{').unwrap_or(tail);
        }
    }
    filled.push_str(rest);
    filled
}

/// Whether there is something to put in.
pub(super) fn is_open(text: &str) -> bool {
    text.contains("{host}") || text.contains("{port}")
}

/// A host as URLs and addresses want it: IPv6 in brackets.
pub(super) fn bracketed(host: &str) -> Cow<'_, str> {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]").into() } else { host.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_once() {
        assert_eq!(fill("http://{host}:{port}/{x}{", "h", 80), "http://h:80/{x}{");
        assert_eq!(fill("{{host}}", "{port}", 1), "{{port}}");
        assert_eq!(bracketed("::1"), "[::1]");
        assert_eq!(bracketed("[::1]"), "[::1]");
        assert_eq!(bracketed("127.0.0.1"), "127.0.0.1");
    }
}
