//! What a step may return and a run may be given: JSON that every language reads back as it was.

use serde_json::Value;

use crate::error::{Error, Kind, Result, pointer_part};

/// The most bytes that a value may have as JSON.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// How deep a value may be nested; readers of JSON give up not far above.
const MAX_DEPTH: usize = 100;

/// The largest integer that a double holds together with both its neighbours: 2^53 − 1.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Whether a value reads back the same in every language: at most [`MAX_VALUE_BYTES`] of JSON, at most 100 levels deep,
/// no integer beyond 2^53 − 1 on either side.
///
/// # Errors
/// [`Kind::Failed`] with the JSON pointer of what is wrong.
pub fn check_value(value: &Value) -> Result<()> {
    walk(value, &mut String::new(), 0)?;
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value)
        .map_err(|error| Error::new(Kind::Failed, "the value can't be written as JSON").because(error))?;
    if counter.0 > MAX_VALUE_BYTES {
        return Err(Error::new(Kind::Failed, format!("the value is too large: {} bytes of JSON", counter.0))
            .with("limit", MAX_VALUE_BYTES)
            .help("write it to a file and return its path"));
    }
    Ok(())
}

/// Where a JSON text has an integer beyond 64 bits: the line and the column. Readers make a float of such a one, which
/// [`check_value`] can't tell from one that was meant, and digits are lost.
pub(crate) fn lossy_integer(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let from = at;
        at += 1;
        match byte {
            b'"' => {
                while let Some(byte) = bytes.get(at)
                    && *byte != b'"'
                {
                    at += if *byte == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let token = bytes.get(from..).unwrap_or_default();
                let number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                at = from + token.iter().take_while(|byte| number(byte)).count();
                let token = text.get(from..at).unwrap_or_default();
                let float = token.contains(['.', 'e', 'E']);
                if !float && token.parse::<i64>().is_err() && token.parse::<u64>().is_err() {
                    let before = text.get(..from).unwrap_or_default();
                    let line = before.rsplit('\n').next().unwrap_or_default();
                    return Some((before.matches('\n').count() + 1, line.len() + 1));
                }
            }
            _ => {}
        }
    }
    None
}

fn walk(value: &Value, path: &mut String, depth: usize) -> Result<()> {
    let refuse = |what: String, path: &str| Error::new(Kind::Failed, what).with("at", path.to_owned());
    if depth > MAX_DEPTH {
        return Err(refuse(format!("the value is nested more than {MAX_DEPTH} levels deep"), path));
    }
    match value {
        Value::Number(number) => {
            let size = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if size.is_some_and(|size| size > MAX_INTEGER) {
                return Err(refuse(format!("the integer is beyond 2^53 − 1: {number}"), path)
                    .help("return it as a string, since not every language can read it back as a number"));
            }
            if size.is_none() && !number.as_f64().is_some_and(f64::is_finite) {
                return Err(refuse(format!("the number is not finite: {number}"), path));
            }
            Ok(())
        }
        Value::Array(items) => items.iter().enumerate().try_for_each(|(i, item)| {
            let length = path.len();
            path.push_str(&format!("/{i}"));
            let result = walk(item, path, depth + 1);
            path.truncate(length);
            result
        }),
        Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            let length = path.len();
            path.push('/');
            path.push_str(&pointer_part(name));
            let result = walk(field, path, depth + 1);
            path.truncate(length);
            result
        }),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn takes_what_every_language_reads_back() {
        for value in [json!(null), json!(9_007_199_254_740_991_u64), json!(-9_007_199_254_740_991_i64), json!(1e300)] {
            check_value(&value).unwrap();
        }
        check_value(&json!("x".repeat(MAX_VALUE_BYTES - 2))).unwrap();
    }

    #[test]
    fn says_where_it_is_wrong() {
        let error = check_value(&json!({"a": [1, {"b/c": 9_007_199_254_740_992_u64}]})).unwrap_err();
        assert_eq!(error.context(), [("at", "/a/1/b~1c".to_owned())]);
        assert!(check_value(&json!(i64::MIN)).is_err());
        assert!(check_value(&json!("x".repeat(MAX_VALUE_BYTES - 1))).is_err());
    }

    #[test]
    fn finds_integers_that_would_lose_digits() {
        for text in [
            "18446744073709551615",
            "-9223372036854775808",
            "1e400",
            "-0",
            "0.123456789012345678901",
            "1E+30",
            r#"{"123456789012345678901": "\"123456789012345678901"}"#,
            r#"["\\", 1]"#,
        ] {
            assert_eq!(lossy_integer(text), None, "{text}");
        }
        assert_eq!(lossy_integer("18446744073709551616"), Some((1, 1)));
        assert_eq!(lossy_integer("{\"a\": [1,\n  -9223372036854775809]}"), Some((2, 3)));
        assert_eq!(lossy_integer(r#"["\\", "\"", 123456789012345678901]"#), Some((1, 14)));
    }

    #[test]
    fn refuses_depth_before_it_can_hurt() {
        let mut value = json!(1);
        for _ in 0..101 {
            value = json!([value]);
        }
        assert!(check_value(&value).unwrap_err().message().contains("nested"));
    }
}
