//! Sets of HTTP status codes as users write them.

use crate::error::Fault;

/// A set of HTTP status codes: `["200-299", "404"]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusSet(Vec<(u16, u16)>);

impl StatusSet {
    /// Parses single codes and ranges (both ends included) of 100 to 999; adds a fault for each that is neither.
    pub fn check(texts: &[String], pointer: &str, faults: &mut Vec<Fault>) -> StatusSet {
        let mut ranges = Vec::with_capacity(texts.len());
        for (i, text) in texts.iter().enumerate() {
            match parse(text) {
                Some(range) => ranges.push(range),
                None => faults.push(Fault::new(
                    format!("{pointer}/{i}"),
                    format!(
                        "expected a status code or a range of 100 to 999, such as \"404\" or \"200-299\": {text:?}"
                    ),
                )),
            }
        }
        StatusSet(ranges)
    }

    /// All codes from `first` to `last`, both included.
    pub fn range(first: u16, last: u16) -> StatusSet {
        StatusSet(vec![(first, last)])
    }

    /// Whether a status is in the set.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }
}

fn parse(text: &str) -> Option<(u16, u16)> {
    let code = |text: &str| {
        let three_digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|code| three_digits && *code >= 100)
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (code(first)?, code(last)?),
        None => (code(text)?, code(text)?),
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_include_both_ends_and_nonsense_is_named() {
        let mut faults = Vec::new();
        let texts = ["200-299", "404"].map(String::from);
        let set = StatusSet::check(&texts, "/pass", &mut faults);
        assert!(faults.is_empty());
        for (status, inside) in [(199, false), (200, true), (299, true), (300, false), (404, true), (405, false)] {
            assert_eq!(set.contains(status), inside, "{status}");
        }
        let texts = ["", "2xx", "300-200", "99", "+20", "200-", "1000"].map(String::from);
        StatusSet::check(&texts, "/pass", &mut faults);
        let pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/pass/0", "/pass/1", "/pass/2", "/pass/3", "/pass/4", "/pass/5", "/pass/6"]);
    }
}
