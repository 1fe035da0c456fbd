//! Names of streams.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// The longest name of a stream in bytes, without its `run/` or `service/`.
const MAX_NAME: usize = 200;

/// The name of a stream: `run/<id>` or `service/<name>`. Names are 1 to 200 ASCII letters, digits, `.`, `_` and `-`,
/// and begin with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamId(String);

impl StreamId {
    /// The stream of a run.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when the id is no valid name.
    pub fn run(id: &str) -> Result<StreamId> {
        StreamId::from_str(&format!("run/{id}"))
    }

    /// The stream of a service.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when the name is no valid name.
    pub fn service(name: &str) -> Result<StreamId> {
        StreamId::from_str(&format!("service/{name}"))
    }

    /// The whole name, such as `run/7f3a`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    /// Whether it is a run's stream.
    pub fn is_run(&self) -> bool {
        self.0.starts_with("run/")
    }

    /// Whether it is a service's stream.
    pub fn is_service(&self) -> bool {
        self.0.starts_with("service/")
    }
}

impl FromStr for StreamId {
    type Err = Error;

    fn from_str(text: &str) -> Result<StreamId> {
        let name = text.strip_prefix("run/").or_else(|| text.strip_prefix("service/"));
        let valid = name.is_some_and(|name| {
            (1..=MAX_NAME).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
                && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        });
        if valid {
            return Ok(StreamId(text.to_owned()));
        }
        // The text may be long and hostile: show its beginning only.
        let shown: String = text.chars().take(80).collect();
        Err(Error::new(Kind::Invalid, format!("not the name of a stream: {shown:?}")).help(
            "expected run/<id> or service/<name>, the name of 1 to 200 ASCII letters, digits, '.', '_' and '-', \
             beginning with a letter or digit",
        ))
    }
}

impl TryFrom<String> for StreamId {
    type Error = Error;

    fn try_from(text: String) -> Result<StreamId> {
        text.parse()
    }
}

impl From<StreamId> for String {
    fn from(id: StreamId) -> String {
        id.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let run = StreamId::run("7f3a").unwrap();
        assert_eq!((run.as_str(), run.name(), run.is_run(), run.is_service()), ("run/7f3a", "7f3a", true, false));
        assert!(StreamId::service("shop-eu.west_1").unwrap().is_service());
        for bad in ["", "run", "run/", "run/.x", "run/a/b", "run/a b", "runs/a", "service/é", "run/a\0", "RUN/a"] {
            assert_eq!(bad.parse::<StreamId>().unwrap_err().kind(), Kind::Invalid, "{bad:?}");
        }
        assert!(StreamId::run(&"x".repeat(200)).is_ok());
        assert!(StreamId::run(&"x".repeat(201)).is_err());
    }

    #[test]
    fn is_a_string_in_json_and_checked_on_the_way_in() {
        let id = StreamId::run("a").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"run/a\"");
        assert_eq!(serde_json::from_str::<StreamId>("\"run/a\"").unwrap(), id);
        assert!(serde_json::from_str::<StreamId>("\"run/a/../b\"").is_err());
    }
}
