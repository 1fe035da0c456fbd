//! What SQLite's errors mean for a journal.

use rusqlite::ErrorCode;
use rusqlite::ffi;

use crate::error::{Error, Kind, Result};

/// Turns SQLite's errors into ours.
pub(super) trait OrSql<T> {
    /// `doing` completes "can't …".
    fn or_sql(self, doing: &str) -> Result<T>;
}

impl<T> OrSql<T> for rusqlite::Result<T> {
    fn or_sql(self, doing: &str) -> Result<T> {
        self.map_err(|e| explain(e, doing))
    }
}

/// All statements are fixed and tested, and the layout is compared when a journal is opened. So what SQLite can't
/// make sense of, or finds against a constraint that was checked before, is damage.
fn explain(e: rusqlite::Error, doing: &str) -> Error {
    let code = e.sqlite_error().map(|e| (e.code, e.extended_code));
    let message = format!("can't {doing}");
    match code {
        Some((ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _)) => {
            Error::new(Kind::Busy, message).because(e).retry_later().help("another process holds the database for long")
        }
        Some((ErrorCode::DiskFull, _)) => Error::new(Kind::Io, message).because(e).help("make room on the disk"),
        Some((ErrorCode::SystemIoFailure, ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS)) => {
            corrupt(e, message)
        }
        Some((
            ErrorCode::SystemIoFailure
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted
            | ErrorCode::OperationAborted
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::NoLargeFileSupport,
            _,
        )) => Error::new(Kind::Io, message).because(e),
        Some((ErrorCode::ApiMisuse | ErrorCode::ParameterOutOfRange | ErrorCode::TooBig, _)) => {
            Error::new(Kind::Internal, message).because(e)
        }
        _ => corrupt(e, message),
    }
}

fn corrupt(e: rusqlite::Error, message: String) -> Error {
    Error::new(Kind::Corrupt, format!("the journal's database is damaged: {message}"))
        .because(e)
        .help("restore the journal with the files beside it from a backup")
}

/// SQLite's integers are signed; counters that don't fit are damage or absurd.
pub(super) fn int(n: u64) -> Result<i64> {
    i64::try_from(n)
        .map_err(|e| Error::new(Kind::Internal, "a number is too large for the journal").with("number", n).because(e))
}

/// A counter from the database.
pub(super) fn uint(n: i64) -> Result<u64> {
    u64::try_from(n).map_err(|e| {
        Error::new(Kind::Corrupt, "the journal's database is damaged: a counter is negative")
            .with("number", n)
            .because(e)
    })
}

/// Whether an error says that the disk has no room, or may mean it (a quota, a limit of the file's size).
pub(super) fn may_be_full(error: &Error) -> bool {
    let sqlite = std::error::Error::source(error).and_then(|source| source.downcast_ref::<rusqlite::Error>());
    sqlite
        .and_then(rusqlite::Error::sqlite_error)
        .is_some_and(|e| matches!(e.code, ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
}
