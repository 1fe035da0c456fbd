//! The judge: parameters that stand in a rollout's start event, and what follows from evidence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::analysis::evidence::{Account, Processes};
use crate::analysis::{
    BlackoutRule, EProcess, Evidence, Form, Law, Metric, OnInconclusive, Side, WindowCounts, odds_shift,
};
use crate::error::{Error, Kind, Result};
use crate::service::Measure;
use crate::time::Span;

/// A checked judge. It stands in the start event as it is, so that a later version with other grids folds the
/// evidence of a running rollout as it was begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "JudgeTerms")]
pub struct Judge {
    /// The version of the judge's rules.
    pub version: u32,
    /// What is compared.
    pub form: Form,
    /// The chance that a release which is no worse is ever condemned.
    pub alpha: f64,
    /// The chance that a release which is `safe` times as bad or worse is ever found safe.
    pub beta: f64,
    /// The tolerated ratio of rates.
    pub tolerate: f64,
    /// The ratio of rates below which a release is safe; `None`: nothing ends a bake early.
    pub safe: Option<f64>,
    /// The ratio that must have been findable with a power of 80 %.
    pub detect: f64,
    /// The rate at which it must have been findable when the stable side shows fewer errors.
    pub base_rate: f64,
    /// The length of a window.
    pub window: Span,
    /// How long errors cling together.
    pub burst: Span,
    /// Requests don't count while any instance that can be drawn became ready less than this ago.
    pub warmup: Span,
    /// The guard against total failure; `None`: off.
    pub blackout: Option<BlackoutRule>,
    /// What follows when too little was seen.
    pub inconclusive: OnInconclusive,
    /// The bets f of the window form.
    pub bets: Vec<f64>,
    /// The ratios r of the event form.
    pub grid: Vec<f64>,
    /// The ratios that are tried for the interval.
    pub limits: Vec<f64>,
    /// How requests that clients left are judged.
    pub abandoned: AbandonedRule,
}

/// How requests that clients left before an answer are judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AbandonedRule {
    /// Their part of alpha, 0 to 1; the errors have the rest.
    pub part: f64,
    /// In the absolute form, the share of them that is fine where the objective is lower: some clients leave any
    /// service, and there is no other side to say how many.
    pub objective: f64,
}

impl Default for AbandonedRule {
    /// A tenth of alpha makes the errors' bound 111 instead of 100 at 1 %, which is 2.3 % more evidence in ln E.
    fn default() -> AbandonedRule {
        AbandonedRule { part: 0.1, objective: 0.05 }
    }
}

/// The rules of this judge; counted up when a change of them gives other verdicts.
const VERSION: u32 = 1;

impl Default for Judge {
    /// The judge of an empty spec.
    fn default() -> Judge {
        Judge {
            version: VERSION,
            form: Form::default(),
            alpha: 0.01,
            beta: 0.05,
            tolerate: 1.0,
            safe: None,
            detect: 3.0,
            base_rate: 0.001,
            window: Span::seconds(10),
            burst: Span::seconds(10),
            warmup: Span::seconds(10),
            blackout: Some(BlackoutRule::default()),
            inconclusive: OnInconclusive::default(),
            bets: vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
            grid: vec![1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0],
            limits: vec![
                0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 1.0, 1.1, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 20.0,
                30.0, 50.0, 100.0,
            ],
            abandoned: AbandonedRule::default(),
        }
    }
}

/// What the evidence says so far. `log_e` is ln E, `log_bound` the ln of what it must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// The release is worse than tolerated: back. Once given it stays.
    Harm {
        /// The largest ln E for harm so far.
        log_e: f64,
        /// What it must reach.
        log_bound: f64,
    },
    /// The release is proven to be below `safe` times the other side: it may go on before the bake is over.
    Safe {
        /// ln E for safety now.
        log_e: f64,
        /// ln(1/beta).
        log_bound: f64,
    },
    /// Neither.
    Undecided {
        /// ln E for harm now.
        log_e: f64,
        /// ln(1/alpha).
        log_bound: f64,
    },
}

/// What follows at the end of the bake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Not condemned, and enough was seen to say so (or it is proven safe).
    Pass,
    /// Condemned.
    Harm,
    /// Not condemned, but a release `detect` times as bad could have gone unseen.
    Inconclusive {
        /// How many canary requests find it with a power of 80 %; `None` when no number is known: nothing was seen
        /// that could be compared, or the ratio is too near to what is tolerated.
        need: Option<u64>,
        /// How many were seen in judged windows.
        seen: u64,
    },
}

impl Judge {
    /// Whether this version of tidegate knows the rules of a judge that comes from a journal.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] when a later version began the rollout.
    pub fn supported(&self) -> Result<()> {
        if self.version <= VERSION {
            return Ok(());
        }
        Err(Error::new(Kind::Unsupported, "the rollout is judged by rules of a later version")
            .with("judge", self.version)
            .with("known", VERSION)
            .help("go on with the version of tidegate that began the rollout, or a later one"))
    }

    /// How requests are to be counted for this judge.
    pub fn measure(&self) -> Measure {
        Measure { window: self.window, warmup: self.warmup }
    }

    /// Multiplies a closed window in. Every window of the rollout goes in once, in their order, each with the share
    /// that was in force in it. A window without requests on a side, or whose counts can't be,
    /// leaves the evidence as it was.
    pub fn fold(&self, evidence: &mut Evidence, counts: WindowCounts) {
        self.fold_at(evidence, counts, counts.share());
    }

    /// The same with a share from 0 to 1 that need not be whole hundredths of a percent.
    pub(super) fn fold_at(&self, evidence: &mut Evidence, counts: WindowCounts, share: f64) {
        // What can't be says nothing, as no requests do.
        let nothing = WindowCounts { share: counts.share, ..WindowCounts::default() };
        let counts = if counts.is_possible() { counts } else { nothing };
        self.fold_metric(Metric::Errors, &mut evidence.errors, &counts, share);
        self.fold_metric(Metric::Abandoned, &mut evidence.abandoned, &counts.left(), share);
    }

    fn fold_metric(&self, metric: Metric, account: &mut Account, counts: &WindowCounts, share: f64) {
        let comparing = self.is_comparing();
        let judged = if comparing { counts.is_comparable() } else { counts.canary.requests > 0 };
        account.totals.add(counts, judged);
        // A comparison in which nobody left has the factor 1: most services need no second set of processes.
        let silent = comparing && counts.canary.bad() == 0 && counts.stable.bad() == 0;
        if silent && metric == Metric::Abandoned {
            return;
        }
        let processes = account.processes.get_or_insert_with(|| Box::new(self.begin(metric)));
        if judged {
            processes.fold(counts, share);
        }
    }

    /// Whether the new version is held against the old one, not against an objective.
    fn is_comparing(&self) -> bool {
        matches!(self.form, Form::Window {} | Form::Event {})
    }

    /// The verdict on the windows folded in. Harm goes before safety.
    pub fn verdict(&self, evidence: &Evidence) -> Verdict {
        if let Some(metric) = self.condemns(evidence) {
            return Verdict::Harm { log_e: evidence.of(metric).peak_harm(), log_bound: self.log_bound_of(metric) };
        }
        let safe_bound = -libm::log(self.beta);
        match evidence.log_safe() {
            // The evidence of now, not of its peak: a release that got worse since must not go on early.
            Some(log_e) if log_e >= safe_bound && self.is_left_alone(evidence, safe_bound) => {
                Verdict::Safe { log_e, log_bound: safe_bound }
            }
            _ => Verdict::Undecided { log_e: evidence.log_harm(), log_bound: self.log_bound() },
        }
    }

    /// The metric by which the release is worse than tolerated, if any: the errors first.
    pub fn condemns(&self, evidence: &Evidence) -> Option<Metric> {
        Metric::ALL.into_iter().find(|metric| evidence.of(*metric).peak_harm() >= self.log_bound_of(*metric))
    }

    /// Whether abandoned requests stand in the way of "safe": they must be proven to be no more too, unless the canary
    /// has none. (Where nobody leaves either side there is nothing to compare, and no proof would ever come.)
    fn is_left_alone(&self, evidence: &Evidence, safe_bound: f64) -> bool {
        let proven = evidence.abandoned.log_safe().is_some_and(|log_e| log_e >= safe_bound);
        proven || evidence.abandoned.totals.canary.bad() == 0
    }

    /// The verdict with the counts of a window that is still open. Only the event form may look inside a window, and
    /// the absolute one when errors are independent; the others give the verdict on the closed windows.
    pub fn verdict_within(&self, evidence: &Evidence, open: WindowCounts) -> Verdict {
        if !matches!(self.form, Form::Event {} | Form::Absolute { independent: true, .. }) {
            return self.verdict(evidence);
        }
        let mut looked = evidence.clone();
        self.fold(&mut looked, open);
        self.verdict(&looked)
    }

    /// What follows at the end of the bake: pass when not condemned and as many canary requests were seen as find
    /// the ratio `detect` with a power of 80 %, or when proven safe.
    pub fn at_end(&self, evidence: &Evidence) -> Ending {
        match self.verdict(evidence) {
            Verdict::Harm { .. } => Ending::Harm,
            Verdict::Safe { .. } => Ending::Pass,
            Verdict::Undecided { .. } => {
                let seen = evidence.totals().canary.requests;
                match self.need(evidence) {
                    Some(need) if seen >= need => Ending::Pass,
                    need => Ending::Inconclusive { need, seen },
                }
            }
        }
    }

    /// What ln E of the errors must reach for harm: ln(1/alpha), with their part of alpha.
    pub fn log_bound(&self) -> f64 {
        self.log_bound_of(Metric::Errors)
    }

    pub(super) fn log_bound_of(&self, metric: Metric) -> f64 {
        -libm::log(self.alpha * self.part(metric))
    }

    /// A metric's part of alpha. The parts add up to 1, so that a false alarm on any has at most the chance alpha.
    pub(super) fn part(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Errors => 1.0 - self.abandoned.part,
            Metric::Abandoned => self.abandoned.part,
        }
    }

    /// The rate that is fine in the absolute form.
    pub(super) fn objective(&self, metric: Metric) -> Option<f64> {
        let Form::Absolute { objective, .. } = self.form else { return None };
        Some(match metric {
            Metric::Errors => objective,
            Metric::Abandoned => objective.max(self.abandoned.objective),
        })
    }

    /// The law for the null that the rate is `ratio` times the other side's (or the objective), with its points.
    pub(super) fn law(&self, metric: Metric, side: Side, ratio: f64) -> (Law, Vec<f64>) {
        let null = self.objective(metric).unwrap_or_default() * ratio;
        match self.form {
            Form::Window {} => (Law::Betting { side, margin: ratio }, self.bets.clone()),
            Form::Event {} => (Law::Events { side, margin: ratio }, self.grid.clone()),
            Form::Absolute { independent: false, .. } => (Law::AbsoluteBetting { side, null }, self.bets.clone()),
            Form::Absolute { independent: true, .. } => {
                let rate = |r: &f64| odds_shift(null, if side == Side::Harm { *r } else { 1.0 / *r });
                (Law::AbsoluteEvents { null }, self.grid.iter().map(rate).collect())
            }
        }
    }

    fn begin(&self, metric: Metric) -> Processes {
        let process = |side, ratio| {
            let (law, points) = self.law(metric, side, ratio);
            EProcess::checked(law, points)
        };
        Processes {
            harm: process(Side::Harm, self.tolerate),
            safe: self.safe.map(|ratio| process(Side::Safe, ratio)),
            limits: self
                .limits
                .iter()
                .map(|&ratio| (ratio, process(Side::Harm, ratio), process(Side::Safe, ratio)))
                .collect(),
        }
    }
}
