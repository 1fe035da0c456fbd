//! Power: how much must be seen to find what the user wants found, and how long that takes.

use serde::{Deserialize, Serialize};

use crate::analysis::draw::Binomial;
use crate::analysis::{Evidence, Form, Judge, Law, Metric, Side, SideCounts, WindowCounts, odds_shift};
use crate::time::{Chance, Span};

/// The traffic of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests in a window, both sides together.
    pub requests: u64,
    /// The canary's share of them in hundredths of a percent.
    pub share: u32,
    /// The stable side's rate of errors as a share of requests. The absolute form goes by its objective instead.
    pub rate: f64,
}

/// How much is needed to find a ratio of rates with a power of 80 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Power {
    /// Windows, the 80 % quantile of the delay until the judge condemns.
    pub windows: u64,
    /// Canary requests in so many windows.
    pub canary_requests: u64,
    /// The time that so many windows take.
    pub time: Span,
}

const RUNS: usize = 200;
/// Runs that must have been condemned: 80 %.
const FOUND: usize = RUNS * 4 / 5;
/// Windows with errors in one run after which it counts as not found: hours of windows, and what bounds the work.
const STEPS: usize = 1_000;
/// Expected errors in a window from which more make no difference to the number of windows.
const MANY: f64 = 5_000.0;
/// The source of chance where none is given, so that equal evidence ends in equal verdicts.
const SEED: Chance = Chance(0x7469_6465_6761_7465);

impl Judge {
    /// What it takes to find a release with `ratio` times the rate of errors, by simulating this judge in the given
    /// traffic (independent errors). `None` when fewer than 80 % of the runs are condemned within 1,000 windows with
    /// errors: then this judge can't find that ratio in this traffic within any sensible time. Takes some
    /// milliseconds.
    pub fn power(&self, traffic: &Traffic, ratio: f64, chance: Chance) -> Option<Power> {
        let windows = Simulation::new(self, traffic, ratio)?.quantile(chance)?;
        let share = f64::from(traffic.share.min(super::counts::WHOLE)) / f64::from(super::counts::WHOLE);
        // The casts saturate, as they should here.
        let canary_requests = libm::ceil(windows as f64 * traffic.requests as f64 * share) as u64;
        Some(Power { windows, canary_requests, time: Span(self.window.0.saturating_mul(windows)) })
    }

    /// The traffic that the evidence was folded from, as a plan; `None` before a window was judged. The rate is the
    /// stable side's, or `base_rate` where that is higher.
    pub fn traffic(&self, evidence: &Evidence) -> Option<Traffic> {
        let totals = evidence.totals();
        let judged = u128::from(totals.judged());
        let rate = totals.stable.rate().unwrap_or(0.0).max(self.base_rate);
        let (requests, share) = match self.form {
            Form::Absolute { .. } => (u128::from(totals.canary.requests), super::counts::WHOLE),
            Form::Window {} | Form::Event {} => (totals.requests(), totals.share()),
        };
        let requests = (requests + judged / 2).checked_div(judged)?;
        Some(Traffic { requests: u64::try_from(requests).unwrap_or(u64::MAX), share, rate })
    }

    /// How many canary requests find the ratio `detect` in traffic as it was seen.
    pub(super) fn need(&self, evidence: &Evidence) -> Option<u64> {
        let traffic = self.traffic(evidence)?;
        self.power(&traffic, self.detect, SEED).map(|power| power.canary_requests)
    }

    /// The time left until the judge condemns the release, when errors go on as they were seen:
    /// (ln(1/α) − ln E) / (KL · events a second), with KL from the canary's share of all bad events to its share
    /// under the null (in the absolute form from its rate to the objective, by requests). `None` when they don't
    /// speak against the release. In whole seconds, and a lower bound: the judges reach about half of this speed.
    /// By whichever metric comes first.
    pub fn time_left(&self, evidence: &Evidence) -> Option<Span> {
        Metric::ALL.into_iter().filter_map(|metric| self.time_left_by(metric, evidence)).min()
    }

    fn time_left_by(&self, metric: Metric, evidence: &Evidence) -> Option<Span> {
        let account = evidence.of(metric);
        let totals = &account.totals;
        let (canary, stable) = (totals.canary.bad() as f64, totals.stable.bad() as f64);
        let (seen, null, events) = match self.form {
            Form::Window {} | Form::Event {} => {
                let share = f64::from(totals.share()) / f64::from(super::counts::WHOLE);
                (canary / (canary + stable), odds_shift(share, self.tolerate), canary + stable)
            }
            Form::Absolute { .. } => {
                (totals.canary.rate()?, self.objective(metric)? * self.tolerate, totals.canary.requests as f64)
            }
        };
        let seconds = totals.seconds(self.window);
        if !(seen > null && null > 0.0 && null < 1.0 && seconds > 0.0) {
            return None;
        }
        let rest = if seen < 1.0 { (1.0 - seen) * libm::log((1.0 - seen) / (1.0 - null)) } else { 0.0 };
        let divergence = seen * libm::log(seen / null) + rest;
        let left = (self.log_bound_of(metric) - account.log_harm()).max(0.0) / (divergence * events / seconds);
        left.is_finite().then(|| super::explain::whole_seconds(left))
    }
}

/// The judge at work on a release that is `ratio` times as bad.
struct Simulation {
    factors: Factors,
    /// ln(1/alpha).
    bound: f64,
    canary: Binomial,
    stable: Binomial,
    /// The chance that a window without errors on a side has no requests there: it says nothing.
    no_canary: f64,
    no_stable: f64,
}

/// E in the representation in which a window costs least.
enum Factors {
    /// 1 + f · gain: products of plain numbers.
    Bets { law: Law, bets: Vec<f64>, share: f64, sides: (u64, u64) },
    /// k_c·a + k_s·b + c: sums of logarithms.
    Events { per_window: Vec<(f64, f64, f64)> },
}

impl Simulation {
    fn new(judge: &Judge, traffic: &Traffic, ratio: f64) -> Option<Simulation> {
        let (law, points) = judge.law(Metric::Errors, Side::Harm, judge.tolerate);
        let share = f64::from(traffic.share.min(super::counts::WHOLE)) / f64::from(super::counts::WHOLE);
        let (share, rate, comparing) = match judge.form {
            Form::Absolute { objective, .. } => (share, objective, false),
            Form::Window {} | Form::Event {} => (share, traffic.rate, true),
        };
        let are_numbers = rate.is_finite() && ratio.is_finite();
        if !(are_numbers && share > 0.0 && rate > 0.0 && ratio > 0.0) || (comparing && share >= 1.0) {
            return None;
        }
        let canary_rate = (rate * ratio).min(1.0);
        let (bad_canary, bad_stable) =
            if comparing { (share * canary_rate, (1.0 - share) * rate.min(1.0)) } else { (canary_rate, 0.0) };
        let all = traffic.requests as f64 * if comparing { 1.0 } else { share };
        let scale = (MANY / (all * bad_canary.max(bad_stable))).min(1.0);
        let requests = libm::round(all * scale);
        let (canary, stable) = (Binomial::new(requests as u64, bad_canary), Binomial::new(requests as u64, bad_stable));
        let (no_canary, no_stable) = if comparing {
            let none = |a: f64, b: f64| libm::exp(requests * (libm::log(a) - libm::log1p(-b)));
            (none(1.0 - share, bad_canary), none(share, bad_stable))
        } else {
            (0.0, 0.0)
        };
        let factors = match law {
            Law::Betting { .. } | Law::AbsoluteBetting { .. } => {
                Factors::Bets { law, bets: points, share, sides: (requests as u64, u64::from(comparing)) }
            }
            Law::Events { .. } | Law::AbsoluteEvents { .. } => {
                let unit = |canary, stable| {
                    let stable = SideCounts::new(1, stable);
                    let counts = WindowCounts { canary: SideCounts::new(1, canary), stable, share: traffic.share };
                    move |point: f64| law.log_factor(point, &counts, share)
                };
                let (canary, stable, none) = (unit(1, 0), unit(0, 1), unit(0, 0));
                let each = |&point: &f64| match comparing {
                    true => (canary(point), stable(point), 0.0),
                    // A good request counts too: ln of the factor is n·good + k·(bad − good).
                    false => (canary(point) - none(point), 0.0, requests * none(point)),
                };
                Factors::Events { per_window: points.iter().map(each).collect() }
            }
        };
        Some(Simulation { factors, bound: judge.log_bound(), canary, stable, no_canary, no_stable })
    }

    /// The 80 % quantile of the delay in windows.
    fn quantile(&self, mut chance: Chance) -> Option<u64> {
        let mut delays = Vec::with_capacity(RUNS);
        for run in 0..RUNS {
            delays.extend(self.delay(&mut chance));
            if run + 1 - delays.len() > RUNS - FOUND {
                return None;
            }
        }
        delays.sort_unstable();
        delays.get(FOUND - 1).copied()
    }

    /// How many windows it takes until the judge condemns in one run.
    fn delay(&self, chance: &mut Chance) -> Option<u64> {
        let (quiet_canary, quiet_stable) = (self.canary.zero(), self.stable.zero());
        let quiet = quiet_canary * quiet_stable;
        let any = 1.0 - quiet;
        if any <= 0.0 {
            return None;
        }
        let mut state = self.factors.begin();
        let mut windows: u64 = 0;
        for _ in 0..STEPS {
            // Windows without errors up to the next with some: geometric.
            let skipped =
                if quiet > 0.0 { libm::floor(libm::log(1.0 - chance.unit()) / libm::log(quiet)) as u64 } else { 0 };
            windows = windows.saturating_add(skipped).saturating_add(1);
            self.factors.skip(&mut state, skipped);
            let (canary, stable) = if chance.unit() * any < 1.0 - quiet_canary {
                (self.canary.draw_positive(chance.unit()), self.stable.draw(chance.unit()))
            } else {
                (0, self.stable.draw_positive(chance.unit()))
            };
            if (canary == 0 && self.no_canary > 0.0 && chance.unit() < self.no_canary)
                || (stable == 0 && self.no_stable > 0.0 && chance.unit() < self.no_stable)
            {
                continue;
            }
            if self.factors.fold(&mut state, canary, stable, self.bound) {
                return Some(windows);
            }
        }
        None
    }
}

impl Factors {
    fn begin(&self) -> Vec<f64> {
        match self {
            Factors::Bets { bets, .. } => vec![1.0; bets.len()],
            Factors::Events { per_window } => vec![0.0; per_window.len()],
        }
    }

    fn gain(law: &Law, share: f64, sides: (u64, u64), canary: u64, stable: u64) -> f64 {
        let stable = SideCounts::new(sides.1.saturating_mul(sides.0), stable);
        let counts = WindowCounts { canary: SideCounts::new(sides.0, canary), stable, share: 0 };
        // The gain is linear in the bet.
        law.gain(1.0, &counts, share)
    }

    /// `windows` windows without errors.
    fn skip(&self, state: &mut [f64], windows: u64) {
        if windows == 0 {
            return;
        }
        match self {
            Factors::Bets { law, bets, share, sides } => {
                let gain = Factors::gain(law, *share, *sides, 0, 0);
                if gain != 0.0 {
                    for (value, bet) in state.iter_mut().zip(bets) {
                        *value *= libm::pow(1.0 + bet * gain, windows as f64);
                    }
                }
            }
            Factors::Events { per_window } => {
                for (value, (_, _, none)) in state.iter_mut().zip(per_window) {
                    *value += windows as f64 * none;
                }
            }
        }
    }

    /// One window with errors; whether E has reached the bound.
    fn fold(&self, state: &mut [f64], canary: u64, stable: u64, bound: f64) -> bool {
        let n = state.len().max(1) as f64;
        match self {
            Factors::Bets { law, bets, share, sides } => {
                let gain = Factors::gain(law, *share, *sides, canary, stable);
                let mut sum = 0.0;
                for (value, bet) in state.iter_mut().zip(bets) {
                    *value *= 1.0 + bet * gain;
                    sum += *value;
                }
                sum / n >= libm::exp(bound)
            }
            Factors::Events { per_window } => {
                let mut top = f64::NEG_INFINITY;
                for (value, (a, b, none)) in state.iter_mut().zip(per_window) {
                    *value += canary as f64 * a + stable as f64 * b + none;
                    top = top.max(*value);
                }
                // The mean of n lies between the largest and its n-th part.
                top >= bound && {
                    let sum: f64 = state.iter().map(|value| libm::exp(value - top)).sum();
                    top + libm::log(sum / n) >= bound
                }
            }
        }
    }
}
