//! What the server asks of a service, and what all services share.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::Result;
use crate::process::Mark;
use crate::service::{Desired, Observed};
use crate::time::Clock;

use super::log::Log;
use super::ports::Ports;
use super::protocol::Report as Answer;
use super::stats::ServiceStats;

/// What a service is asked; the answer is sent back.
#[derive(Debug)]
pub(super) enum Ask {
    /// To be so, by the driver with this epoch.
    Apply(Box<Desired>, u64, oneshot::Sender<Result<()>>),
    /// How it is, and what was counted after these numbers. `true`: by the driver, whose numbers go on.
    Observe(u64, u64, bool, oneshot::Sender<Answer>),
    /// How it is.
    Look(oneshot::Sender<Observed>),
    /// How it is, and what its proxy has counted.
    Stats(oneshot::Sender<ServiceStats>),
    /// To end.
    Remove(oneshot::Sender<()>),
}

/// What all services of a supervisor share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    /// Of everything that this supervisor starts.
    pub(super) mark: Mark,
    pub(super) ports: Ports,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) log: Log,
}
