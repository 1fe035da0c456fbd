//! A value that is used and never written.

use std::fmt;

use crate::error::{Error, Kind, Result};

/// The shortest secret in bytes. Masking a shorter one would make output unreadable and give the secret away.
pub(super) const MIN_BYTES: usize = 4;

/// The longest secret in bytes: what must be held back of a stream grows with it.
pub(super) const MAX_BYTES: usize = 64 * 1024;

/// A text that is never shown or written: it has no `Serialize`, and `Debug` and `Display` give `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret. One line end at its end is dropped, as files and commands add one.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it is shorter than 4 bytes or longer than 64 KiB.
    pub fn new(text: impl Into<String>) -> Result<Secret> {
        let mut text: String = text.into();
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        // Neither message says more of the secret than that.
        if text.len() < MIN_BYTES {
            return Err(Error::new(Kind::Invalid, format!("a secret is shorter than {MIN_BYTES} bytes"))
                .help("so short a text occurs by chance, and can't be masked in output; use a longer secret"));
        }
        if text.len() > MAX_BYTES {
            return Err(Error::new(Kind::Invalid, format!("a secret is longer than {MAX_BYTES} bytes"))
                .help("keep it in a file and pass the file's path"));
        }
        Ok(Secret(text))
    }

    /// The text itself, to hand it to what needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
