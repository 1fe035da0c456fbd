//! The TCP probe: a connection that is accepted.

use std::time::Duration;

use async_trait::async_trait;

use crate::health::probe::Probe;
use crate::health::probe::connect::{Phase, connect};
use crate::health::probe::stopwatch::Stopwatch;
use crate::health::{Outcome, Verdict};
use crate::time::Span;

/// Connects, and closes again without a word.
#[derive(Debug)]
pub struct TcpProbe {
    host: String,
    port: u16,
    timeout: Span,
}

impl TcpProbe {
    /// A probe of an address; an IPv6 host comes without brackets.
    pub fn new(host: String, port: u16, timeout: Span) -> TcpProbe {
        TcpProbe { host, port, timeout }
    }
}

#[async_trait]
impl Probe for TcpProbe {
    async fn run(&self) -> Outcome {
        let begin = Stopwatch::start();
        let phase = Phase::new("");
        let mut seen = Vec::new();
        let connecting = connect(&self.host, self.port, &phase, &mut seen);
        let mut outcome = match tokio::time::timeout(Duration::from(self.timeout), connecting).await {
            Ok(Ok(_)) => Outcome::new(Verdict::Pass, "connected"),
            Ok(Err(outcome)) => outcome,
            Err(_) => timed_out(self.timeout, &phase),
        };
        outcome.detail.extend(seen.into_iter().map(|(name, value)| (name.to_owned(), value)));
        outcome.took_us = begin.us();
        outcome
    }
}

/// The outcome of a probe whose time is over.
pub(super) fn timed_out(timeout: Span, phase: &Phase) -> Outcome {
    let phase = *phase.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    Outcome::new(Verdict::Fail, format!("timed out after {timeout} while {phase}"))
}
