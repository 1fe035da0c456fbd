//! What client and supervisor say to each other: one request, one answer, in turn. The first request is a hello.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};
use crate::process::Identity;
use crate::service::{Desired, Observed, Window};
use crate::time::Time;

use super::stats::ServiceStats;

/// The version of this language; both ends must speak the same.
pub(super) const PROTOCOL: u32 = 1;
/// The longest request in bytes.
pub(super) const REQUEST_LIMIT: usize = 4 << 20;
/// The longest answer in bytes.
pub(super) const ANSWER_LIMIT: usize = 16 << 20;
/// The most windows, and the most readings, in one report.
pub(super) const WINDOWS: usize = 1_000;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Request {
    /// First of all. With an epoch: as the driver with that fencing token. Without: as somebody who looks or stops.
    Hello { protocol: u32, epoch: Option<u64> },
    /// The whole desired state of a service.
    Apply { desired: Box<Desired> },
    /// What is there of a service, and what was counted after these window numbers.
    Observe { service: String, after_window: u64, after_reading: u64 },
    /// What there is of a service, and what its proxy has counted.
    Stats { service: String },
    /// End a service.
    Remove { service: String },
    /// What is there of all services.
    List {},
    /// End all services, then the supervisor.
    Stop {},
}

/// What the supervisor answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Answer {
    /// To a hello.
    Welcome { protocol: u32, status: Box<Status> },
    /// It is taken up.
    Done {},
    /// To an observe.
    Report { report: Box<Report> },
    /// To a request for stats; nothing: there is no such service.
    Stats { stats: Option<Box<ServiceStats>> },
    /// To a list.
    Listed { status: Box<Status> },
    /// It is not done.
    Refused { refusal: Refusal },
}

/// What is there of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Report {
    /// Its processes and weights.
    pub observed: Observed,
    /// Where its proxy listens, if it does.
    pub address: Option<SocketAddr>,
    /// The windows that are complete, oldest first, at most 1,000.
    pub windows: Vec<Window>,
    /// All windows that ended before this time are complete; `None` where nothing is served, and from a supervisor of an
    /// earlier version.
    #[serde(default)]
    pub settled_to: Option<Time>,
    /// What ended in each second or so, oldest first, at most 1,000: for guards that can't wait for a window. Unlike
    /// windows they count requests by when these ended, and those of warming instances too.
    pub readings: Vec<Window>,
}

/// What a supervisor says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Status {
    /// Its process; `None` when the system would not say.
    pub identity: Option<Identity>,
    /// The fencing token of the last driver; 0 when none came yet.
    pub epoch: u64,
    /// What is there of each service, by name.
    pub services: BTreeMap<String, Observed>,
}

/// An error that crosses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Refusal {
    error: Kind,
    message: String,
    help: Option<String>,
    retryable: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let (help, retryable) = (error.help_text().map(str::to_owned), error.is_retryable());
        let shown = error.to_string();
        let message = match &help {
            Some(help) => shown.strip_suffix(&format!("\n  help: {help}")).unwrap_or(&shown).to_owned(),
            None => shown,
        };
        Refusal { error: error.kind(), message, help, retryable }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        let error = Error::new(refusal.error, refusal.message);
        let error = if refusal.retryable { error.retry_later() } else { error };
        match refusal.help {
            Some(help) => error.help(help),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_crosses_whole() {
        let error =
            Error::new(Kind::Busy, "no").with("a", 1).because(std::io::Error::other("b")).help("c").retry_later();
        let shown = error.to_string();
        let text = serde_json::to_string(&Answer::Refused { refusal: error.into() }).unwrap();
        let Answer::Refused { refusal } = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
        let back = Error::from(refusal);
        assert_eq!((back.kind(), back.is_retryable(), back.to_string()), (Kind::Busy, true, shown));
    }
}
