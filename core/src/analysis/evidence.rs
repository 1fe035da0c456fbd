//! Evidence: what a judge has folded from the windows of a rollout.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::analysis::{EProcess, SideCounts, WindowCounts};
use crate::time::Span;

/// What is held against a release: each metric has evidence of its own, and its part of alpha.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Of the requests with an answer, or that failed, the bad ones.
    #[default]
    Errors,
    /// Of all requests, those that the client left before the first byte of an answer. A release that hangs shows no
    /// errors as long as clients have less patience than the proxy.
    Abandoned,
}

impl Metric {
    pub(super) const ALL: [Metric; 2] = [Metric::Errors, Metric::Abandoned];
}

/// All evidence of one rollout, over all its steps and resumes. It is not stored: it is folded again from the judged
/// windows' counts, in their order. `Evidence::default()` has seen nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    pub(super) errors: Account,
    pub(super) abandoned: Account,
}

/// The evidence on one metric.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Account {
    pub(super) totals: Totals,
    pub(super) processes: Option<Box<Processes>>,
}

/// Sums over the windows that were judged; they stop growing at the end of their range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Windows folded in, with errors or without.
    pub windows: u64,
    /// Windows that said nothing: a side without requests.
    pub left_out: u64,
    /// The canary's counts, without the windows left out.
    pub canary: SideCounts,
    /// The stable side's counts, without the windows left out.
    pub stable: SideCounts,
    /// Requests of both sides times the canary's share in hundredths of a percent, summed: for the mean share.
    pub(super) shares: u128,
}

impl Totals {
    pub(super) fn add(&mut self, counts: &WindowCounts, judged: bool) {
        self.windows = self.windows.saturating_add(1);
        if !judged {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        self.canary.add(counts.canary);
        self.stable.add(counts.stable);
        let requests = u128::from(counts.canary.requests) + u128::from(counts.stable.requests);
        let share = u128::from(counts.share.min(super::counts::WHOLE));
        self.shares = self.shares.saturating_add(requests * share);
    }

    /// Requests of both sides.
    pub(super) fn requests(&self) -> u128 {
        u128::from(self.canary.requests) + u128::from(self.stable.requests)
    }

    /// The canary's mean assigned share in hundredths of a percent, each window weighing by its requests.
    pub(super) fn share(&self) -> u32 {
        let share = self.shares.checked_div(self.requests()).unwrap_or(0);
        u32::try_from(share).unwrap_or(super::counts::WHOLE).min(super::counts::WHOLE)
    }

    /// Windows that were judged.
    pub(super) fn judged(&self) -> u64 {
        self.windows.saturating_sub(self.left_out)
    }

    /// How long was judged, in seconds, with windows of full length.
    pub(super) fn seconds(&self, window: Span) -> f64 {
        self.judged() as f64 * window.0 as f64 / 1_000.0
    }
}

/// The processes that are folded side by side.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Processes {
    /// Against the null that the release is no worse than tolerated.
    pub(super) harm: EProcess,
    /// Against the null that it is `safe` times as bad or worse.
    pub(super) safe: Option<EProcess>,
    /// For each ratio of the interval's grid: against "at most so many times", and against "at least so many times".
    pub(super) limits: Vec<(f64, EProcess, EProcess)>,
}

impl Processes {
    pub(super) fn fold(&mut self, counts: &WindowCounts, share: f64) {
        self.harm.fold_at(counts, share);
        if let Some(safe) = &mut self.safe {
            safe.fold_at(counts, share);
        }
        for (_, below, above) in &mut self.limits {
            below.fold_at(counts, share);
            above.fold_at(counts, share);
        }
    }
}

impl Account {
    pub(super) fn log_harm(&self) -> f64 {
        self.processes.as_ref().map_or(0.0, |processes| processes.harm.log_e())
    }

    pub(super) fn peak_harm(&self) -> f64 {
        self.processes.as_ref().map_or(0.0, |processes| processes.harm.peak())
    }

    pub(super) fn log_safe(&self) -> Option<f64> {
        self.processes.as_ref().and_then(|processes| processes.safe.as_ref()).map(EProcess::log_e)
    }

    pub(super) fn p(&self) -> f64 {
        libm::exp(-self.peak_harm())
    }
}

impl Evidence {
    pub(super) fn of(&self, metric: Metric) -> &Account {
        match metric {
            Metric::Errors => &self.errors,
            Metric::Abandoned => &self.abandoned,
        }
    }

    /// Sums over the windows folded in.
    pub fn totals(&self) -> &Totals {
        &self.errors.totals
    }

    /// ln E for harm by errors now; 0 before the first window.
    pub fn log_harm(&self) -> f64 {
        self.errors.log_harm()
    }

    /// The largest ln E for harm by errors so far, at least 0: what the verdict and the p-value go by.
    pub fn peak_harm(&self) -> f64 {
        self.errors.peak_harm()
    }

    /// ln E for safety from errors now; `None` when the judge looks for none.
    pub fn log_safe(&self) -> Option<f64> {
        self.errors.log_safe()
    }

    /// The p-value on errors that holds at any time: the smallest 1/E so far.
    pub fn p(&self) -> f64 {
        self.errors.p()
    }
}
