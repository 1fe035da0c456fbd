//! An instance as its service sees it.

use tokio::sync::watch;

use crate::service::{DesiredVersion, Release, Trouble};
use crate::time::Span;

use super::instance::Order;
use super::stats::InstanceState;

/// An instance as the service sees it.
#[derive(Debug)]
pub(super) struct Slot {
    /// What it runs.
    pub(super) release: Release,
    /// Its place within its version.
    pub(super) place: u32,
    /// Where it is told what to do.
    pub(super) orders: watch::Sender<Order>,
    /// Its process, if it has one.
    pub(super) pid: Option<u32>,
    /// Whether it gets traffic.
    pub(super) ready: bool,
    /// What it waits for while it runs and is not ready.
    pub(super) waiting: Option<Trouble>,
    /// Whether it ended, or could not be started, and was neither ready nor waiting since.
    pub(super) failed: bool,
    /// Whether it is surplus.
    pub(super) leaving: bool,
    /// It leaves with the proxy, which waits for what is under way at it.
    pub(super) closing: bool,
    /// How long what is under way at it may take to end.
    pub(super) drain: Span,
    /// How long after SIGTERM it is killed.
    pub(super) grace: Span,
}

impl Slot {
    /// One whose instance has just been told to run.
    pub(super) fn new(version: &DesiredVersion, place: u32, orders: watch::Sender<Order>) -> Slot {
        Slot {
            release: version.release.clone(),
            place,
            orders,
            pid: None,
            ready: false,
            waiting: None,
            failed: false,
            leaving: false,
            closing: false,
            drain: version.drain,
            grace: version.grace,
        }
    }

    /// What it is about.
    pub(super) fn state(&self) -> InstanceState {
        match self.pid {
            None => InstanceState::Down,
            Some(_) if self.leaving => InstanceState::Draining,
            Some(_) if self.ready => InstanceState::Ready,
            Some(_) => InstanceState::Starting,
        }
    }

    /// Whether the desired versions, as they now are, have no place for it.
    pub(super) fn is_surplus(&self, version: Option<&DesiredVersion>) -> bool {
        version.is_none_or(|version| version.release != self.release || self.place >= version.replicas)
    }
}
