//! Replay: recorded windows through an e-process or a whole judge, by the code that runs live.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::analysis::counts::WHOLE;
use crate::analysis::{
    EProcess, Ending, Evidence, Explanation, Judge, JudgeSpec, Law, Metric, OnInconclusive, SideCounts, Sides,
    WindowCounts,
};
use crate::error::{Error, Fault, Result, counted};
use crate::time::Span;

/// One recorded window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowRecord {
    /// The release that is judged.
    pub canary: SideCounts,
    /// What it is compared with; nothing for the absolute forms.
    #[serde(default)]
    pub stable: SideCounts,
    /// The canary's assigned share of the requests of both, 0 to 1; by default the share that it got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
}

impl WindowRecord {
    /// A window in which the canary got the share that was assigned to it.
    pub const fn new(canary: SideCounts, stable: SideCounts) -> WindowRecord {
        WindowRecord { canary, stable, share: None }
    }

    /// The counts, and the share as it is meant: in the counts it is rounded up to hundredths of a percent.
    fn counts(&self) -> (WindowCounts, f64) {
        let (canary, stable) = (self.canary.routed() as f64, self.stable.routed() as f64);
        let seen = if canary > 0.0 { canary / (canary + stable) } else { 0.0 };
        let share = self.share.unwrap_or(seen);
        let whole = f64::from(WHOLE);
        // A share that is neither nothing nor all must not become so.
        let rounded = libm::ceil(share * whole - 1e-9).clamp(1.0, whole - 1.0);
        let rounded = if share <= 0.0 || share >= 1.0 { share * whole } else { rounded };
        (WindowCounts { canary: self.canary, stable: self.stable, share: rounded as u32 }, share)
    }

    fn check(&self, pointer: &str, faults: &mut Vec<Fault>) {
        for (side, counts) in [("canary", self.canary), ("stable", self.stable)] {
            if counts.errors > counts.requests {
                let errors = counted(counts.errors, "error is", "errors are");
                let message = format!("{errors} more than {}", counted(counts.requests, "request", "requests"));
                faults.push(Fault::new(format!("{pointer}/{side}/errors"), message));
            }
        }
        if let Some(share) = self.share.filter(|share| !(0.0..=1.0).contains(share)) {
            faults.push(Fault::new(format!("{pointer}/share"), format!("{share} is not a share from 0 to 1")));
        }
    }
}

fn check(windows: &[WindowRecord], faults: &mut Vec<Fault>) {
    for (i, window) in windows.iter().enumerate() {
        window.check(&format!("/windows/{i}"), faults);
    }
}

/// An e-process as data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EProcessSpec {
    /// How a window's counts become a factor.
    pub law: Law,
    /// The grid: bets, ratios or rates, as the law has them.
    pub points: Vec<f64>,
    /// One positive number for each point, scaled to add up to 1; equal ones by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<f64>>,
}

impl EProcessSpec {
    /// The process that it means, at E = 1.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] with every fault.
    pub fn process(&self) -> Result<EProcess> {
        match &self.weights {
            Some(weights) => EProcess::weighted(self.law, &self.points, weights),
            None => EProcess::new(self.law, &self.points),
        }
    }

    /// ln E of errors after each window.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] with every fault of the process and of the windows.
    pub fn replay(&self, windows: &[WindowRecord]) -> Result<Vec<f64>> {
        let process = self.process();
        let mut faults = process.as_ref().err().map_or(Vec::new(), |error| error.faults().to_vec());
        check(windows, &mut faults);
        if !faults.is_empty() {
            return Err(Error::invalid("replay", faults));
        }
        let mut process = process?;
        let after = |window: &WindowRecord| {
            let (counts, share) = window.counts();
            process.fold_at(&counts, share);
            process.log_e()
        };
        Ok(windows.iter().map(after).collect())
    }
}

/// The evidence on one metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricEvidence {
    /// ln E for harm now.
    pub log_harm: f64,
    /// The largest so far, by which the verdict goes.
    pub peak_harm: f64,
    /// What it must reach, with the metric's part of alpha.
    pub harm_bound: f64,
    /// ln E for safety now; `None` when the judge looks for none.
    pub log_safe: Option<f64>,
}

impl MetricEvidence {
    fn of(judge: &Judge, evidence: &Evidence, metric: Metric) -> MetricEvidence {
        let account = evidence.of(metric);
        MetricEvidence {
            log_harm: account.log_harm(),
            peak_harm: account.peak_harm(),
            harm_bound: judge.log_bound_of(metric),
            log_safe: judge.safe.map(|_| account.log_safe().unwrap_or(0.0)),
        }
    }
}

/// What a judge says after a window, and would say if the bake ended there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// How long was judged by then, with windows of full length.
    pub after: Span,
    /// Whether the window was left out, because the canary got more of the requests than the draw can explain.
    pub left_out: bool,
    /// The evidence on errors.
    pub errors: MetricEvidence,
    /// The evidence on requests that clients left before an answer. Either condemns the release.
    pub abandoned: MetricEvidence,
    /// What ln E for safety must reach; `None` when the judge looks for none.
    pub safe_bound: Option<f64>,
    /// The verdict so far: `harm`, at which a rollout turns back, `safe`, at which it may go on, or `undecided`.
    pub so_far: Explanation,
    /// The verdict if the bake ended here: `harm`, `pass` or `inconclusive`.
    pub at_end: Explanation,
    /// What would follow then.
    pub follows: OnInconclusive,
}

impl JudgeSpec {
    /// What this judge says after each of the windows, by the code that judges a rollout. A rollout ends with the first
    /// verdict of harm; a replay goes on to the last window. The blackout guard looks at readings of about a second
    /// and not at windows: it has no part in this.
    ///
    /// Takes some milliseconds for each window, most of them for the end of the bake.
    ///
    /// ```
    /// use tidegate::analysis::{JudgeSpec, SideCounts, Sides, WindowRecord};
    ///
    /// let judge = JudgeSpec { alpha: Some(0.01), ..JudgeSpec::default() };
    /// let window = WindowRecord::new(SideCounts::new(100, 3), SideCounts::new(900, 0));
    /// let sides = Sides { canary: "v2", stable: "v1", canary_replicas: None };
    /// let judged = judge.replay(&[window; 4], &sides)?;
    /// let harm = judged.iter().find(|judged| judged.so_far.verdict == "harm").expect("it is bad");
    /// assert_eq!(harm.after.to_string(), "30s");
    /// # Ok::<(), tidegate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] with every fault of the judge and of the windows.
    pub fn replay(&self, windows: &[WindowRecord], sides: &Sides<'_>) -> Result<Vec<Judged>> {
        let mut faults = Vec::new();
        let judge = self.check("", &mut faults);
        check(windows, &mut faults);
        if !faults.is_empty() {
            return Err(Error::invalid("replay", faults));
        }
        let mut evidence = Evidence::default();
        let mut after = Span::ZERO;
        let judged = |window: &WindowRecord| {
            let (counts, share) = window.counts();
            let left_out = counts.is_lopsided();
            after = Span(after.0.saturating_add(judge.window.0));
            if !left_out {
                judge.fold_at(&mut evidence, counts, share);
            }
            let ending = judge.at_end(&evidence);
            Judged {
                after,
                left_out,
                errors: MetricEvidence::of(&judge, &evidence, Metric::Errors),
                abandoned: MetricEvidence::of(&judge, &evidence, Metric::Abandoned),
                safe_bound: judge.safe.map(|_| -libm::log(judge.beta)),
                so_far: judge.explain(&evidence, sides),
                at_end: judge.explain_end(&evidence, &ending, sides),
                follows: match ending {
                    Ending::Pass => OnInconclusive::Pass,
                    Ending::Harm => OnInconclusive::RollBack,
                    Ending::Inconclusive { .. } => judge.inconclusive,
                },
            }
        };
        Ok(windows.iter().map(judged).collect())
    }
}
