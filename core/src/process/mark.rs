//! The mark that every process of ours carries in its environment from before it starts.

use std::fmt;

/// Marks of programs around ours that are kept, innermost last.
const NESTED: usize = 8;

/// Who started a process, from the general to the particular: the journal's random id, then for a step its run, name
/// and attempt. Written with `/` between the parts, which are escaped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(Vec<String>);

impl Mark {
    /// The variable that carries the mark.
    pub const VARIABLE: &str = "TIDEGATE_MARK";

    /// A mark of these parts.
    pub fn new<S: Into<String>>(parts: impl IntoIterator<Item = S>) -> Mark {
        Mark(parts.into_iter().map(Into::into).collect())
    }

    /// The mark of one attempt of a step.
    pub fn step(journal: &str, run: &str, step: &str, attempt: u32) -> Mark {
        Mark::new([journal, run, step, &attempt.to_string()])
    }

    /// The parts, unescaped.
    pub fn parts(&self) -> &[String] {
        &self.0
    }

    /// Whether this is `outer` or lies within it: a step's mark lies within its run's and its journal's.
    pub fn is_within(&self, outer: &Mark) -> bool {
        self.0.starts_with(&outer.0)
    }

    /// Reads one mark as [`Mark`]'s `Display` writes it; `None` when it is none.
    pub fn parse(text: &str) -> Option<Mark> {
        text.split('/').map(unescape).collect::<Option<Vec<_>>>().map(Mark)
    }

    /// All marks in a variable's value: programs that run inside of steps hand on those of the programs around them.
    pub(super) fn parse_all(value: &[u8]) -> Vec<Mark> {
        String::from_utf8_lossy(value).split(' ').filter(|part| !part.is_empty()).filter_map(Mark::parse).collect()
    }

    /// The variable's value for a child of a program that itself carries `around`.
    pub(super) fn nested(&self, around: Option<&str>) -> String {
        let around: Vec<&str> = around.unwrap_or("").split(' ').filter(|part| !part.is_empty()).collect();
        let kept = around.get(around.len().saturating_sub(NESTED)..).unwrap_or_default();
        kept.iter().map(|mark| format!("{mark} ")).collect::<String>() + &self.to_string()
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            for byte in part.bytes() {
                match byte {
                    b'!'..=b'~' if byte != b'/' && byte != b'%' => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "%{byte:02X}")?,
                }
            }
        }
        Ok(())
    }
}

fn unescape(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_back_whatever_its_parts_are(parts in prop::collection::vec(".*", 1..5)) {
            let mark = Mark::new(parts);
            prop_assert_eq!(Mark::parse(&mark.to_string()), Some(mark.clone()));
            prop_assert!(!mark.to_string().contains([' ', '\0', '\n']));
            let inner = Mark::new(["inner"]);
            let value = inner.nested(Some(&mark.to_string()));
            prop_assert_eq!(Mark::parse_all(value.as_bytes()).pop(), Some(inner));
        }

        #[test]
        fn reads_hostile_values_without_failing(value in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Mark::parse_all(&value);
        }
    }

    #[test]
    fn lies_within_its_run_and_not_within_a_namesake() {
        let mark = Mark::step("j", "run", "build", 2);
        assert_eq!(mark.to_string(), "j/run/build/2");
        assert!(mark.is_within(&Mark::new(["j", "run"])));
        assert!(!mark.is_within(&Mark::new(["j", "ru"])));
        assert!(!Mark::new(["j"]).is_within(&mark));
    }
}
