//! One error for the whole crate.
//!
//! Callers branch on [`Kind`]; people read the message, the context and the help.

use std::any::Any;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with a value that is no text")
}

/// A name as a part of a JSON pointer (RFC 6901).
pub(crate) fn pointer_part(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A number with its noun, and with its verb where there is one: `1 line is`, `3 lines are`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// What a caller can do about an [`Error`]. A new kind needs a caller that would branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// What was asked for can't be: mend the definition. [`Error::faults`] lists every fault found.
    Invalid,
    /// There is no such run, step, service or file.
    NotFound,
    /// It contradicts what is recorded: another definition, other params, another rollout of the service.
    Conflict,
    /// Somebody else holds it: the journal is driven by another process.
    Busy,
    /// The journal is damaged or was changed from outside.
    Corrupt,
    /// The operating system refused.
    Io,
    /// A step, rollout or callback of the user failed.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// The run stopped and asks: see `resolve`.
    NeedsAnswer,
    /// Not on this platform, or not by this version.
    Unsupported,
    /// A fault of tidegate itself.
    Internal,
}

impl Kind {
    /// The kind's name in every language and in JSON, such as `needs_answer`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Invalid => "invalid",
            Kind::NotFound => "not_found",
            Kind::Conflict => "conflict",
            Kind::Busy => "busy",
            Kind::Corrupt => "corrupt",
            Kind::Io => "io",
            Kind::Failed => "failed",
            Kind::Cancelled => "cancelled",
            Kind::NeedsAnswer => "needs_answer",
            Kind::Unsupported => "unsupported",
            Kind::Internal => "internal",
        }
    }
}

/// One thing that is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// JSON pointer into the definition, such as `/steps/2/after/0`.
    pub pointer: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Fault {
    /// A fault at a JSON pointer.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Fault {
        Fault { pointer: pointer.into(), message: message.into() }
    }
}

/// Reads the JSON text of a list. Every item is looked at, so that all that is wrong is reported together.
///
/// # Errors
/// [`Kind::Invalid`] when it is no list, or with a fault for each item that can't be read, such as `/windows/3` where
/// `name` is `windows`.
pub fn read_list<T: serde::de::DeserializeOwned>(text: &str, name: &str) -> Result<Vec<T>> {
    let items: Vec<serde_json::Value> = serde_json::from_str(text)
        .map_err(|error| Error::new(Kind::Invalid, format!("can't read the {name}")).because(error))?;
    let mut faults = Vec::new();
    let mut read = Vec::with_capacity(items.len());
    for (i, item) in items.into_iter().enumerate() {
        match serde_json::from_value(item) {
            Ok(item) => read.push(item),
            Err(error) => faults.push(Fault::new(format!("/{name}/{i}"), error.to_string())),
        }
    }
    if faults.is_empty() { Ok(read) } else { Err(Error::invalid(format_args!("the list of {name}"), faults)) }
}

/// What happened, where, and what to do about it.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    context: Vec<(&'static str, String)>,
    help: Option<String>,
    retryable: bool,
    faults: Vec<Fault>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of a kind, with what happened in one sentence (no full stop; the value after a colon).
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            context: Vec::new(),
            help: None,
            retryable: false,
            faults: Vec::new(),
            source: None,
        }))
    }

    /// [`Kind::Invalid`] with all that is wrong. `what` names the thing: `pipeline "release"`.
    pub fn invalid(what: impl fmt::Display, faults: Vec<Fault>) -> Error {
        let n = faults.len();
        let mut error = Error::new(Kind::Invalid, format!("{what} has {n} fault{}", if n == 1 { "" } else { "s" }));
        error.0.faults = faults;
        error
    }

    /// Adds where it happened: `("step", "build")`.
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Error {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Adds what the reader can do.
    pub fn help(mut self, help: impl Into<String>) -> Error {
        self.0.help = Some(help.into());
        self
    }

    /// Adds the error that caused this one.
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// Says that the same call may go through later.
    pub fn retry_later(mut self) -> Error {
        self.0.retryable = true;
        self
    }

    /// The same error for another reader; causes come along as text.
    pub(crate) fn again(&self) -> Error {
        let mut error = Error::new(self.0.kind, self.0.message.clone());
        error.0.context.clone_from(&self.0.context);
        error.0.help.clone_from(&self.0.help);
        error.0.retryable = self.0.retryable;
        error.0.faults.clone_from(&self.0.faults);
        match std::error::Error::source(self) {
            Some(source) => error.because(source.to_string()),
            None => error,
        }
    }

    /// What a caller branches on.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What happened, without context, cause and help.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it happened, in the order in which it was added.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// What the reader can do, if anything is known.
    pub fn help_text(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// Whether the same call may go through later.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Every fault of a definition, for [`Kind::Invalid`].
    pub fn faults(&self) -> &[Fault] {
        &self.0.faults
    }

    /// The error as one JSON object, as the bindings hand it over.
    pub fn to_json(&self) -> serde_json::Value {
        let context: serde_json::Map<String, serde_json::Value> =
            self.0.context.iter().map(|(k, v)| ((*k).to_owned(), v.clone().into())).collect();
        serde_json::json!({
            "kind": self.0.kind,
            "message": self.to_string(),
            "context": context,
            "help": self.0.help,
            "retryable": self.0.retryable,
            "faults": self.0.faults,
        })
    }

    /// The error in one line: without its faults and its help, each of which is a line of its own.
    pub(crate) fn sentence(&self) -> String {
        self.to_string().lines().next().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if !self.0.context.is_empty() {
            f.write_str(" (")?;
            for (i, (key, value)) in self.0.context.iter().enumerate() {
                write!(f, "{}{key}: {value}", if i == 0 { "" } else { ", " })?;
            }
            f.write_str(")")?;
        }
        for fault in &self.0.faults {
            write!(f, "\n  {}: {}", fault.pointer, fault.message)?;
        }
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        if let Some(help) = &self.0.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_what_where_why_and_what_to_do() {
        let error = Error::new(Kind::Io, "can't open the journal")
            .with("path", "release.db")
            .because(std::io::Error::other("disk on fire"))
            .help("put it out");
        assert_eq!(error.to_string(), "can't open the journal (path: release.db): disk on fire\n  help: put it out");
        assert_eq!(error.to_json()["kind"], "io");
    }

    #[test]
    fn reports_faults_together() {
        let error = Error::invalid("pipeline \"p\"", vec![Fault::new("/steps/0", "a"), Fault::new("/steps/1", "b")]);
        assert_eq!(error.to_string(), "pipeline \"p\" has 2 faults\n  /steps/0: a\n  /steps/1: b");
    }

    #[test]
    fn a_list_is_read_to_its_end() {
        assert_eq!(read_list::<u8>("[1, 2]", "parts").unwrap(), [1, 2]);
        let error = read_list::<u8>(r#"[-1, 2, "3", 256]"#, "parts").unwrap_err();
        let places: Vec<&str> = error.faults().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(places, ["/parts/0", "/parts/2", "/parts/3"]);
        assert_eq!(read_list::<u8>("{}", "parts").unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn is_one_pointer_wide_and_crosses_threads() {
        fn sends<T: Send + Sync + 'static>() {}
        sends::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
