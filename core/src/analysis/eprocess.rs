//! E-processes: evidence against a null that may be looked at whenever one likes.
//!
//! An e-process E has E[E at any stopping time] ≤ 1 under the null, so P(ever E ≥ 1/α) ≤ α (Ville 1939). Products over
//! windows of factors with conditional mean ≤ 1 are e-processes, and so are their weighted averages (Ramdas, Grünwald,
//! Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid inference", 2023).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::analysis::WindowCounts;
use crate::analysis::scaled::{Scaled, ScaledMany};
use crate::error::{Error, Fault, Result};

/// What large evidence speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The canary is worse than the null allows.
    #[default]
    Harm,
    /// The canary is better than the null says.
    Safe,
}

/// The odds shift θ(r) = ρr / (ρr + 1 − ρ): the canary's share of the bad events when its rate is `ratio` times that
/// of the stable side and it gets the share ρ of the requests.
pub fn odds_shift(share: f64, ratio: f64) -> f64 {
    let odds = share * ratio;
    odds / (odds + (1.0 - share))
}

/// How one window's counts become a factor of E, at one point (a bet, a ratio or a rate) of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Law {
    /// Window form. Points: bets f in (0, 1). With X = k_c / (k_c + k_s) and θ = θ(margin), harm: 1 + f(X − θ)/θ,
    /// safe: 1 − f(X − θ)/(1 − θ). Valid however errors cling together within a window.
    Betting {
        /// What large evidence speaks for; harm by default.
        #[serde(default)]
        side: Side,
        /// The ratio of rates at the edge of the null; 1 by default.
        #[serde(default = "no_margin")]
        margin: f64,
    },
    /// Event form. Points: ratios r above 1. With θ₁ = θ(margin·r) for harm, θ(margin/r) for safe:
    /// (θ₁/θ)^k_c ((1 − θ₁)/(1 − θ))^k_s. Valid only when errors are independent of each other.
    Events {
        /// What large evidence speaks for; harm by default.
        #[serde(default)]
        side: Side,
        /// The ratio of rates at the edge of the null; 1 by default.
        #[serde(default = "no_margin")]
        margin: f64,
    },
    /// Absolute form in windows, of the canary alone. Points: bets f in (0, 1). Harm: 1 + f(k/n − p0)/p0, safe:
    /// 1 − f(k/n − p0)/(1 − p0).
    AbsoluteBetting {
        /// What large evidence speaks for; harm by default.
        #[serde(default)]
        side: Side,
        /// The rate p0 at the edge of the null.
        null: f64,
    },
    /// Absolute form by events, of the canary alone. Points: rates q in (0, 1), above p0 for harm and below it for
    /// safety: (q/p0)^k ((1 − q)/(1 − p0))^(n−k). Valid only when errors are independent of each other.
    AbsoluteEvents {
        /// The rate p0 at the edge of the null.
        null: f64,
    },
}

fn no_margin() -> f64 {
    1.0
}

impl Law {
    /// ln of the factor of a window at `point`, with the canary's assigned `share` from 0 to 1. Total: what says
    /// nothing (no requests on a side, no errors, parameters out of their range) gives 0, and it is always finite.
    pub fn log_factor(&self, point: f64, counts: &WindowCounts, share: f64) -> f64 {
        let (canary, stable) = (counts.canary, counts.stable);
        let log = match *self {
            Law::Betting { .. } | Law::AbsoluteBetting { .. } => libm::log1p(self.gain(point, counts, share)),
            Law::Events { side, margin } => {
                let (null, other) = event_shares(side, margin, point, share);
                if canary.requests == 0 || stable.requests == 0 || !inside(null) || !inside(other) {
                    return 0.0;
                }
                power_log(canary.bad(), other, null) + power_log(stable.bad(), 1.0 - other, 1.0 - null)
            }
            Law::AbsoluteEvents { null } => {
                if canary.requests == 0 || !inside(null) || !inside(point) {
                    return 0.0;
                }
                let good = canary.requests - canary.bad();
                power_log(canary.bad(), point, null) + power_log(good, 1.0 - point, 1.0 - null)
            }
        };
        if log.is_finite() { log } else { 0.0 }
    }

    /// The factor less 1; for the laws that bet it is exact and needs no logarithm.
    pub(super) fn gain(&self, point: f64, counts: &WindowCounts, share: f64) -> f64 {
        match self.gain_per_bet(counts, share) {
            Some(gain) => point * gain,
            None => libm::expm1(self.log_factor(point, counts, share)),
        }
    }

    /// For the laws that bet, what a bet of 1 gains: the factor of a bet f is 1 + f times that. `None` for the others.
    fn gain_per_bet(&self, counts: &WindowCounts, share: f64) -> Option<f64> {
        let edge = self.edge(share)?;
        Some(self.seen(counts).map_or(0.0, |seen| edge.gain(seen)))
    }

    /// What laws that bet hold a window's figure against; `None` for the others.
    fn edge(&self, share: f64) -> Option<Edge> {
        let (side, null) = match *self {
            Law::Betting { side, margin } => (side, odds_shift(share, margin)),
            Law::AbsoluteBetting { side, null } => (side, null),
            Law::Events { .. } | Law::AbsoluteEvents { .. } => return None,
        };
        let per = match side {
            _ if !inside(null) => 0.0,
            Side::Harm => 1.0 / null,
            Side::Safe => -1.0 / (1.0 - null),
        };
        Some(Edge { share, null, per })
    }

    /// A window's figure for laws that bet: the canary's part of the bad events, or its rate; `None` when it has none.
    fn seen(&self, counts: &WindowCounts) -> Option<f64> {
        let (canary, stable) = (counts.canary, counts.stable);
        match self {
            Law::Betting { .. } | Law::Events { .. } => {
                let bad = canary.bad() as f64 + stable.bad() as f64;
                let silent = canary.requests == 0 || stable.requests == 0 || bad == 0.0;
                (!silent).then(|| canary.bad() as f64 / bad)
            }
            Law::AbsoluteBetting { .. } | Law::AbsoluteEvents { .. } => canary.rate(),
        }
    }

    fn fault(&self, point: f64) -> Option<&'static str> {
        match self {
            Law::Betting { .. } | Law::AbsoluteBetting { .. } => {
                (!inside(point)).then_some("a bet lies between 0 and 1")
            }
            Law::Events { .. } => (!(point > 1.0 && point.is_finite())).then_some("a ratio of the grid is above 1"),
            Law::AbsoluteEvents { .. } => (!inside(point)).then_some("a rate lies between 0 and 1"),
        }
    }

    fn margin_fault(&self) -> Option<Fault> {
        match *self {
            Law::Betting { margin, .. } | Law::Events { margin, .. } => (!(margin > 0.0 && margin.is_finite()))
                .then(|| Fault::new("/law/margin", format!("a ratio of rates is above 0: {margin}"))),
            Law::AbsoluteBetting { null, .. } | Law::AbsoluteEvents { null } => {
                (!inside(null)).then(|| Fault::new("/law/null", format!("a rate lies between 0 and 1: {null}")))
            }
        }
    }
}

/// The edge of the null at a share, and what each unit beyond it gains a bet of 1.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Edge {
    share: f64,
    null: f64,
    per: f64,
}

impl Edge {
    fn gain(&self, seen: f64) -> f64 {
        (seen - self.null) * self.per
    }
}

/// The canary's share of bad events at the edge of the null, and at the alternative.
fn event_shares(side: Side, margin: f64, ratio: f64, share: f64) -> (f64, f64) {
    let other = match side {
        Side::Harm => margin * ratio,
        Side::Safe => margin / ratio,
    };
    (odds_shift(share, margin), odds_shift(share, other))
}

fn inside(x: f64) -> bool {
    x > 0.0 && x < 1.0
}

/// ln (a/b)^k, without 0 · ∞.
fn power_log(k: u64, a: f64, b: f64) -> f64 {
    if k == 0 { 0.0 } else { k as f64 * (libm::log(a) - libm::log(b)) }
}

/// A weighted average of products of factors, one product for each point of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct EProcess {
    law: Law,
    /// At the last window's share; `None` for laws that don't bet.
    edge: Option<Edge>,
    points: Vec<f64>,
    /// The products, each times its weight.
    values: ScaledMany,
    /// Their sum at the start, where E is 1.
    start: Scaled,
    /// Their largest sum so far.
    peak: Scaled,
}

impl EProcess {
    /// A process at E = 1 with equal weights.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when there is no point, or one (or the null) is out of its range.
    pub fn new(law: Law, points: &[f64]) -> Result<EProcess> {
        EProcess::weighted(law, points, &vec![1.0; points.len()])
    }

    /// A process at E = 1 whose products have the given weights; they are scaled to add up to 1.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] as for [`EProcess::new`], and when the weights are not one positive number for
    /// each point.
    pub fn weighted(law: Law, points: &[f64], weights: &[f64]) -> Result<EProcess> {
        let mut faults = Vec::new();
        if points.is_empty() {
            faults.push(Fault::new("/points", "expected at least one point"));
        }
        faults.extend(law.margin_fault());
        for (i, &point) in points.iter().enumerate() {
            faults.extend(law.fault(point).map(|what| Fault::new(format!("/points/{i}"), format!("{what}: {point}"))));
        }
        if weights.len() != points.len() || !weights.iter().all(|w| *w > 0.0 && w.is_finite()) {
            faults.push(Fault::new("/weights", "expected one positive number for each point"));
        }
        if !faults.is_empty() {
            return Err(Error::invalid("e-process", faults));
        }
        // By the largest, so that their sum stays in range.
        let most = weights.iter().copied().fold(0.0, f64::max);
        let values = ScaledMany::new(weights.iter().map(|weight| (weight / most).max(f64::MIN_POSITIVE)));
        Ok(EProcess::at_start(law, points.to_vec(), values))
    }

    /// For grids that were checked before: never fails, and bad points are left out.
    pub(super) fn checked(law: Law, mut points: Vec<f64>) -> EProcess {
        points.retain(|point| law.fault(*point).is_none());
        let values = ScaledMany::new(points.iter().map(|_| 1.0));
        EProcess::at_start(law, points, values)
    }

    fn at_start(law: Law, points: Vec<f64>, values: ScaledMany) -> EProcess {
        let start = values.sum();
        EProcess { law, edge: law.edge(0.5), points, values, start, peak: start }
    }

    /// Multiplies a closed window in.
    pub fn fold(&mut self, counts: &WindowCounts) {
        self.fold_at(counts, counts.share());
    }

    /// Multiplies a closed window in, with a share from 0 to 1 that need not be whole hundredths of a percent.
    pub fn fold_at(&mut self, counts: &WindowCounts, share: f64) {
        if self.edge.is_some_and(|edge| edge.share != share) {
            self.edge = self.law.edge(share);
        }
        let sum = match self.edge {
            Some(edge) => match self.law.seen(counts) {
                Some(seen) => self.values.bet(&self.points, edge.gain(seen)),
                None => return,
            },
            None => self.values.grow(&self.points, |point| self.law.log_factor(point, counts, share)),
        };
        if sum > self.peak {
            self.peak = sum;
        }
    }

    /// ln E now.
    pub fn log_e(&self) -> f64 {
        if self.points.is_empty() { 0.0 } else { self.values.sum().log_over(self.start) }
    }

    /// The largest ln E so far, at least 0. The p-value that holds at any time is exp(−peak).
    pub fn peak(&self) -> f64 {
        if self.points.is_empty() { 0.0 } else { self.peak.log_over(self.start) }
    }
}
