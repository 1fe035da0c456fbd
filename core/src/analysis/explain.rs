//! Why: one sentence for people, and the numbers behind it for everything else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::analysis::{Ending, Evidence, Form, Judge, Metric, SideCounts, Verdict};
use crate::time::Span;

/// Who is who, for the sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sides<'a> {
    /// The version that is judged.
    pub canary: &'a str,
    /// The version that it is compared with.
    pub stable: &'a str,
    /// How many instances the canary had, if known.
    pub canary_replicas: Option<u32>,
}

/// What a verdict holds under, to be told with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Assumption {
    /// The version is drawn at random for each request.
    RandomDraw,
    /// No cause that sits on one side outlasts its window.
    BurstsWithinWindow,
    /// Errors are independent of each other.
    IndependentErrors,
    /// Both sides are equally warm and alike.
    SidesAlike,
    /// One canary instance can't be told from a bad release.
    OneReplica,
    /// There is no comparison: a bad day for everything condemns the release.
    NoComparison,
}

impl Assumption {
    /// One sentence, without its full stop.
    pub fn sentence(self) -> &'static str {
        match self {
            Assumption::RandomDraw => "the version is drawn at random for each request",
            Assumption::BurstsWithinWindow => "no cause that sits on one side outlasts its window",
            Assumption::IndependentErrors => "errors are independent of each other",
            Assumption::SidesAlike => "both sides are equally warm and alike",
            Assumption::OneReplica => {
                "the canary has one instance: a fault of that instance can't be told from a bad release"
            }
            Assumption::NoComparison => {
                "the release is held against an objective alone: a bad day for everything condemns it"
            }
        }
    }
}

/// A verdict with its numbers, as it stands in an event. Figures that went through logarithms are rounded to 4 digits
/// and kept from 10^-15 to 10^15.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// `harm`, `safe`, `undecided`, `pass` or `inconclusive`.
    #[schemars(extend("enum" = ["harm", "safe", "undecided", "pass", "inconclusive"]))]
    pub verdict: String,
    /// What the figures are of. Those of abandoned requests are told when they condemn: then `errors` in the counts
    /// are the abandoned ones of all `requests`.
    #[serde(default)]
    pub metric: Metric,
    /// One sentence.
    pub sentence: String,
    /// Windows that were judged.
    pub windows: u64,
    /// The canary's counts in them.
    pub canary: SideCounts,
    /// The stable side's counts in them.
    pub stable: SideCounts,
    /// The evidence E for harm (for `safe`: for safety).
    pub evidence: f64,
    /// What it must reach.
    pub bound: f64,
    /// The p-value against "no worse than tolerated", valid at any time.
    pub p: f64,
    /// The chance of a false alarm that was chosen.
    pub alpha: f64,
    /// Smaller ratios of the canary's rate to the other side's (or the objective) are rejected at alpha; `None`: none.
    pub ratio_from: Option<f64>,
    /// Larger ratios are rejected at alpha; `None`: none.
    pub ratio_to: Option<f64>,
    /// Canary requests needed to find the ratio `detect`, when it was asked and is known.
    pub need: Option<u64>,
    /// How long it takes at least until the judge condemns when errors go on as they were seen; `None` when they don't
    /// speak against the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_left: Option<Span>,
    /// What the verdict holds under.
    pub assumptions: Vec<Assumption>,
}

impl Judge {
    /// The verdict so far, explained.
    pub fn explain(&self, evidence: &Evidence, sides: &Sides<'_>) -> Explanation {
        let metric = self.condemns(evidence).unwrap_or_default();
        let (verdict, log_e, log_bound) = match self.verdict(evidence) {
            Verdict::Harm { log_e, log_bound } => ("harm", log_e, log_bound),
            Verdict::Safe { log_e, log_bound } => ("safe", log_e, log_bound),
            Verdict::Undecided { log_e, log_bound } => ("undecided", log_e, log_bound),
        };
        let (e, bound) = (evidence_number(log_e), number(libm::exp(log_bound)));
        let alpha = match percent(self.part(metric)) {
            part if part == "100 %" => format!("alpha {}", percent(self.alpha)),
            part => format!("{part} of alpha {}", percent(self.alpha)),
        };
        let tail = match verdict {
            "harm" => format!("evidence {e} passed the bound of {bound} ({alpha})"),
            "safe" => format!(
                "evidence {e} for less than {} times passed the bound of {bound} (beta {})",
                number(self.safe.unwrap_or(1.0)),
                percent(self.beta)
            ),
            _ => format!("evidence {e} of {bound} ({alpha})"),
        };
        let tail = match metric {
            Metric::Errors => format!("{tail}{}", self.left(evidence, sides)),
            Metric::Abandoned => tail,
        };
        // Who reads that it is condemned must read what else it may be.
        let tail = match verdict {
            "harm" if sides.canary_replicas == Some(1) => format!("{tail}; {}", Assumption::OneReplica.sentence()),
            _ => tail,
        };
        self.explanation(evidence, sides, (metric, verdict), (log_e, log_bound), &tail)
    }

    /// What is to be said of clients that left, beside the errors; nothing when none left the canary.
    fn left(&self, evidence: &Evidence, sides: &Sides<'_>) -> String {
        let account = &evidence.abandoned;
        if account.totals.canary.bad() == 0 {
            return String::new();
        }
        format!(
            "; clients left before an answer: {} against {}, evidence {} of {}",
            counts_on(account.totals.canary, sides.canary),
            self.against(Metric::Abandoned, evidence, sides),
            evidence_number(account.log_harm()),
            number(libm::exp(self.log_bound_of(Metric::Abandoned)))
        )
    }

    /// What the canary's counts are held against.
    fn against(&self, metric: Metric, evidence: &Evidence, sides: &Sides<'_>) -> String {
        match self.objective(metric) {
            Some(objective) => format!("an objective of {}", percent(objective * self.tolerate)),
            None => counts_on(evidence.of(metric).totals.stable, sides.stable),
        }
    }

    /// The end of the bake, explained.
    pub fn explain_end(&self, evidence: &Evidence, ending: &Ending, sides: &Sides<'_>) -> Explanation {
        let so_far = self.explain(evidence, sides);
        let (verdict, more, need) = match *ending {
            Ending::Harm => return so_far,
            Ending::Pass => ("pass", String::new(), None),
            Ending::Inconclusive { need: Some(need), seen } => {
                let wait =
                    match evidence.totals().seconds(self.window) * (need.saturating_sub(seen) as f64 / seen as f64) {
                        seconds if seconds.is_finite() => format!(", {} more at this rate", whole_seconds(seconds)),
                        _ => String::new(),
                    };
                let more = format!(
                    "; {} canary requests would find {} times the errors with a power of 80 %, {} were seen{wait}",
                    thousands(need),
                    number(self.detect),
                    thousands(seen)
                );
                ("inconclusive", more, Some(need))
            }
            Ending::Inconclusive { need: None, seen: 0 } => {
                let what = match self.form {
                    Form::Absolute { .. } => "; no canary request was counted",
                    _ => "; in no window did both sides have requests",
                };
                ("inconclusive", what.to_owned(), None)
            }
            Ending::Inconclusive { need: None, .. } => {
                let ratio = number(self.detect);
                let more = format!("; {ratio} times the errors can't be found in such traffic within 1,000 windows");
                ("inconclusive", more, None)
            }
        };
        let sentence = format!("{}{more}", so_far.sentence);
        Explanation { verdict: verdict.to_owned(), sentence, need, ..so_far }
    }

    fn explanation(
        &self,
        evidence: &Evidence,
        sides: &Sides<'_>,
        (metric, verdict): (Metric, &str),
        (log_e, log_bound): (f64, f64),
        tail: &str,
    ) -> Explanation {
        let account = evidence.of(metric);
        let totals = &account.totals;
        let what = match metric {
            Metric::Errors => "errors",
            Metric::Abandoned => "requests that clients left before an answer",
        };
        let (canary, against) = (counts_on(totals.canary, sides.canary), self.against(metric, evidence, sides));
        let (ratio_from, ratio_to) = self.interval_of(metric, evidence);
        Explanation {
            verdict: verdict.to_owned(),
            metric,
            sentence: format!("{what}: {canary} against {against}; {tail}"),
            windows: totals.judged(),
            canary: totals.canary,
            stable: totals.stable,
            evidence: rounded(libm::exp(log_e.min(690.0))),
            bound: rounded(libm::exp(log_bound)),
            p: rounded(account.p()),
            alpha: self.alpha,
            ratio_from,
            ratio_to,
            need: None,
            time_left: if verdict == "harm" { None } else { self.time_left(evidence) },
            assumptions: self.assumptions(sides),
        }
    }

    /// The ratios of rates of errors (to the other side's, or to the objective) that are not rejected at alpha on
    /// either side, on the judge's grid: smaller than the first and larger than the second are rejected. `None`: no
    /// limit.
    pub fn interval(&self, evidence: &Evidence) -> (Option<f64>, Option<f64>) {
        self.interval_of(Metric::Errors, evidence)
    }

    fn interval_of(&self, metric: Metric, evidence: &Evidence) -> (Option<f64>, Option<f64>) {
        let Some(processes) = &evidence.of(metric).processes else { return (None, None) };
        let bound = self.log_bound_of(metric);
        let (mut from, mut to): (Option<f64>, Option<f64>) = (None, None);
        for (ratio, below, above) in &processes.limits {
            if below.peak() >= bound {
                from = Some(from.map_or(*ratio, |limit| limit.max(*ratio)));
            }
            if above.peak() >= bound {
                to = Some(to.map_or(*ratio, |limit| limit.min(*ratio)));
            }
        }
        (from, to)
    }

    fn assumptions(&self, sides: &Sides<'_>) -> Vec<Assumption> {
        let (cling, draw) = match self.form {
            Form::Window {} => (Assumption::BurstsWithinWindow, Assumption::RandomDraw),
            Form::Event {} => (Assumption::IndependentErrors, Assumption::RandomDraw),
            Form::Absolute { independent: false, .. } => (Assumption::BurstsWithinWindow, Assumption::NoComparison),
            Form::Absolute { independent: true, .. } => (Assumption::IndependentErrors, Assumption::NoComparison),
        };
        let mut all = vec![draw, cling];
        if draw == Assumption::RandomDraw {
            all.push(Assumption::SidesAlike);
        }
        if sides.canary_replicas == Some(1) {
            all.push(Assumption::OneReplica);
        }
        all
    }
}

/// E as a whole number, rounded down from 10 on, so that 99.7 does not read as if it had reached 100.
fn evidence_number(log_e: f64) -> String {
    let e = libm::exp(log_e.min(690.0));
    number(if e >= 10.0 { libm::floor(e) } else { e })
}

/// `14 of 480 on v3 (2.9 %)`.
pub(super) fn counts_on(counts: SideCounts, version: &str) -> String {
    let rate = counts.rate().map_or("no requests".to_owned(), percent);
    format!("{} of {} on {version} ({rate})", thousands(counts.bad()), thousands(counts.requests))
}

/// `2.9 %`: two digits, and all of a whole number.
fn percent(share: f64) -> String {
    format!("{} %", digits(share * 100.0))
}

/// `132`, `4,310`, `1.3`, `0.07`, `10^12`.
fn number(x: f64) -> String {
    if x >= 1e9 {
        return format!("10^{}", libm::floor(libm::log10(x)));
    }
    digits(x)
}

fn digits(x: f64) -> String {
    if x >= 9.95 {
        return thousands(libm::round(x) as u64);
    }
    if x.is_nan() || x <= 0.0 {
        return "0".to_owned();
    }
    // Two digits: the exponent of the first one says how many decimals that takes.
    let decimals = (1.0 - libm::floor(libm::log10(x))).clamp(0.0, 12.0) as usize;
    let text = format!("{x:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Rounded up; saturates at the longest time that there is.
pub(super) fn whole_seconds(seconds: f64) -> Span {
    Span((libm::ceil(seconds) as u64).saturating_mul(1_000))
}

/// `4,310`.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// To 4 digits and from 10^-15 to 10^15: no last bit of a logarithm is stored, and JSON gives it back to the last bit.
fn rounded(x: f64) -> f64 {
    let x = x.clamp(1e-15, 1e15);
    format!("{x:.3e}").parse().unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::WindowCounts;

    #[test]
    fn numbers_read_as_people_write_them() {
        let percents = [0.0, 1.0, 0.5, 14.0 / 480.0, 3.0 / 4_310.0, 0.001, 0.0999, 0.000_012_3, f64::NAN];
        let expected = ["0 %", "100 %", "50 %", "2.9 %", "0.07 %", "0.1 %", "10 %", "0.0012 %", "0 %"];
        assert_eq!(percents.map(percent), expected);
        assert_eq!(
            [1.0, 1.32, 132.4, 4_310.0, 2e12, f64::INFINITY].map(number)[..5],
            ["1", "1.3", "132", "4,310", "10^12"]
        );
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(whole_seconds(1.2), Span::seconds(2));
        assert_eq!(whole_seconds(1e300), Span(u64::MAX));
    }

    #[test]
    fn stored_figures_keep_4_digits_within_what_json_gives_back() {
        assert_eq!([132.456, 1.0, 0.012_345_6].map(rounded), [132.5, 1.0, 0.012_35]);
        assert_eq!([0.0, 1e-99, 1e99, f64::INFINITY].map(rounded), [1e-15, 1e-15, 1e15, 1e15]);
    }

    #[test]
    fn evidence_just_under_the_bound_does_not_read_as_the_bound() {
        // One window gives E = mean of (1 + f·x) = 1 + 0.4·x with x = (1 − ρ)/ρ: 100.6 at ρ = 0.4 %.
        let judge = Judge { alpha: 1.0 / 100.9 / 0.9, ..Judge::default() };
        let mut evidence = Evidence::default();
        let canary = SideCounts::new(40, 1);
        judge.fold(&mut evidence, WindowCounts { canary, stable: SideCounts::new(9_960, 0), share: 40 });
        let why = judge.explain(&evidence, &Sides { canary: "v2", stable: "v1", canary_replicas: None });
        assert_eq!((why.evidence, why.bound), (100.6, 100.9));
        assert!(why.sentence.contains("evidence 100 of 101 "), "{}", why.sentence);
    }
}
