//! What a user says about how a release is judged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::analysis::{BlackoutRule, Judge};
use crate::error::Fault;
use crate::time::{Span, SpanText};

/// The sequential judge of error rates. Everything has a default: `{}` is a judge.
///
/// With several metrics, give each its part of alpha: the chance of a false alarm on any is at most their sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct JudgeSpec {
    /// What is compared, and how errors may cling together; in windows by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// The chance that a release which is no worse is ever condemned; 0.01 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// The chance that a release which is `safe` times as bad or worse is ever found safe; 0.05 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// How many times the stable side's rate of errors (or the objective) is tolerated; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerate: Option<f64>,
    /// A release proven to stay below this many times the stable side's rate (or the objective) may go on before the
    /// bake is over. Without it nothing ends a bake early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safe: Option<f64>,
    /// To pass, as many canary requests must have been seen as find this ratio of rates with a power of 80 %; 3 by
    /// default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detect: Option<f64>,
    /// The rate of errors, as a share of requests, for which `detect` is asked when the stable side shows fewer; 0.001
    /// by default. (Three times no errors could never be found.) The absolute form asks for its objective instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_rate: Option<f64>,
    /// The length of a window; `10s` by default, and never under `burst`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<SpanText>,
    /// How long errors cling together; `10s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<SpanText>,
    /// Requests don't count while any instance became ready less than this ago; `10s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<SpanText>,
    /// The guard against a release that fails altogether; on by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blackout: Option<BlackoutSpec>,
    /// What follows when the bake is over and too little was seen to tell; `pause` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inconclusive: Option<OnInconclusive>,
}

/// What is compared, and how errors may cling together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Form {
    /// New against old, one step for each window: errors may come in bursts of any size within a window.
    Window {},
    /// New against old, one step for each error: faster, and right only when errors are independent of each other (in
    /// bursts of five, three of ten good releases are condemned).
    Event {},
    /// New against a stated objective, with no stable side. A bad day for everything then condemns the release.
    Absolute {
        /// The rate of errors, as a share of requests, that is still fine: 0.001 for 99.9 % of good ones.
        objective: f64,
        /// Whether errors are independent of each other. Unless they are, windows are judged.
        #[serde(default)]
        independent: bool,
    },
}

impl Default for Form {
    fn default() -> Form {
        Form::Window {}
    }
}

/// The guard that turns a release back at once when it fails altogether: it needs no statistics, and stands outside
/// alpha.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum BlackoutSpec {
    /// No such guard.
    Off {},
    /// Enough bad readings running, while the stable side is well.
    On {
        /// How many canary requests make a reading; 20 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requests: Option<u64>,
        /// The share of bad ones, 0 to 1, from which a reading is bad; 0.5 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bad: Option<f64>,
        /// How many bad readings running it takes; 2 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        readings: Option<u32>,
        /// The stable side is well while its share of bad ones, 0 to 1, is under this; 0.05 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stable: Option<f64>,
    },
}

/// What follows when the bake is over, nothing condemns the release, and too little was seen to say that it is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "snake_case")]
pub enum OnInconclusive {
    /// Wait where it is and ask a human, as Argo Rollouts does: missing data is not good news.
    #[default]
    Pause,
    /// Back to the old version.
    RollBack,
    /// Go on: nothing condemned it.
    Pass,
}

impl JudgeSpec {
    /// The judge of this spec. Every fault is added with its JSON pointer below `pointer`; where there are any, the
    /// judge returned has defaults in their place and is not for use.
    pub fn check(&self, pointer: &str, faults: &mut Vec<Fault>) -> Judge {
        let mut at = Checker { pointer, faults };
        let form = self.form.unwrap_or_default();
        let absolute = matches!(form, Form::Absolute { .. });
        let alpha = at.number("alpha", self.alpha, 0.01, SMALLEST_ALPHA..=0.5, "a chance from 0.000001 to 0.5");
        let beta = at.number("beta", self.beta, 0.05, SMALLEST_ALPHA..=0.5, "a chance from 0.000001 to 0.5");
        let tolerate = at.number("tolerate", self.tolerate, 1.0, 1.0..=100.0, "a ratio from 1 to 100");
        let safe = self.safe.map(|safe| at.number("safe", Some(safe), 2.0, 1.0..=100.0, "a ratio from 1 to 100"));
        let detect = at.number("detect", self.detect, 3.0, 1.2..=100.0, "a ratio from 1.2 to 100");
        let base_rate =
            at.number("base_rate", self.base_rate, 0.001, 0.000_001..=0.5, "a share of requests from 0.000001 to 0.5");
        if detect <= tolerate {
            at.fault("detect", format!("{detect} must be above what is tolerated: {tolerate}"));
        }
        if let Some(safe) = safe
            && (safe < tolerate || (safe <= 1.0 && !absolute))
        {
            let least = if absolute { "at least" } else { "above 1, and at least" };
            at.fault("safe", format!("{safe} must be {least} what is tolerated: {tolerate}"));
        }
        let form = match form {
            Form::Absolute { objective, independent } => {
                let what = "a share of bad requests from 0.000001 to 0.5 (0.001 for 99.9 % of good ones)";
                let objective = at.number("form/objective", Some(objective), 0.001, 0.000_001..=0.5, what);
                if objective * tolerate.max(detect).max(safe.unwrap_or(1.0)) >= 1.0 {
                    let what = format!("{objective} times the largest of tolerate, safe and detect must be under 1");
                    at.fault("form/objective", what);
                }
                Form::Absolute { objective, independent }
            }
            form => form,
        };
        let before = at.faults.len();
        let window = at.span("window", self.window.as_ref(), Span::seconds(10));
        let readable = at.faults.len() == before;
        let burst = at.span("burst", self.burst.as_ref(), Span::seconds(10));
        let warmup = at.span("warmup", self.warmup.as_ref(), Span::seconds(10));
        if !readable {
            // Nothing more can be said of it.
        } else if window == Span::ZERO {
            at.fault("window", "must be longer than nothing".to_owned());
        } else if window < burst {
            at.fault("window", format!("{window} must not be under burst, {burst}: a burst would count twice"));
        }
        let blackout = self.blackout.unwrap_or(BlackoutSpec::ON).check(&mut at);
        Judge {
            form,
            alpha,
            beta,
            tolerate,
            safe,
            detect,
            base_rate,
            window,
            burst,
            warmup,
            blackout,
            inconclusive: self.inconclusive.unwrap_or_default(),
            ..Judge::default()
        }
    }
}

/// Below this no release was ever condemned in time.
const SMALLEST_ALPHA: f64 = 0.000_001;

impl BlackoutSpec {
    /// The guard with all its defaults.
    pub const ON: BlackoutSpec = BlackoutSpec::On { requests: None, bad: None, readings: None, stable: None };

    fn check(self, at: &mut Checker<'_>) -> Option<BlackoutRule> {
        let BlackoutSpec::On { requests, bad, readings, stable } = self else { return None };
        let default = BlackoutRule::default();
        let requests = requests.unwrap_or(default.requests);
        let readings = readings.unwrap_or(default.readings);
        if requests == 0 {
            at.fault("blackout/requests", "expected at least 1".to_owned());
        }
        if readings == 0 {
            at.fault("blackout/readings", "expected at least 1".to_owned());
        }
        let bad = at.number("blackout/bad", bad, default.bad, 0.01..=1.0, "a share from 0.01 to 1");
        let stable =
            at.number("blackout/stable", stable, default.stable, 0.000_001..=1.0, "a share from 0.000001 to 1");
        if stable > bad {
            at.fault("blackout/stable", format!("{stable} must not be above bad, {bad}"));
        }
        Some(BlackoutRule { requests, bad, readings, stable })
    }
}

struct Checker<'a> {
    pointer: &'a str,
    faults: &'a mut Vec<Fault>,
}

impl Checker<'_> {
    fn fault(&mut self, field: &str, message: String) {
        self.faults.push(Fault::new(format!("{}/{field}", self.pointer), message));
    }

    /// The number in its range, to 9 decimals: so it comes back from JSON as it was written, to the last bit.
    fn number(
        &mut self,
        field: &str,
        value: Option<f64>,
        default: f64,
        range: std::ops::RangeInclusive<f64>,
        expected: &str,
    ) -> f64 {
        match value {
            None => default,
            Some(value) if range.contains(&value) => libm::round(value * 1e9) / 1e9,
            Some(value) => {
                self.fault(field, format!("{value} is not {expected}"));
                default
            }
        }
    }

    fn span(&mut self, field: &str, text: Option<&SpanText>, default: Span) -> Span {
        text.map_or(default, |text| text.check(format!("{}/{field}", self.pointer), self.faults))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(json: &str) -> Vec<String> {
        let spec: JudgeSpec = serde_json::from_str(json).unwrap();
        let mut faults = Vec::new();
        spec.check("/judge", &mut faults);
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn an_empty_spec_is_a_judge() {
        let mut faults = Vec::new();
        let judge = JudgeSpec::default().check("", &mut faults);
        assert_eq!((faults, judge), (Vec::new(), Judge::default()));
        assert_eq!(serde_json::to_string(&JudgeSpec::default()).unwrap(), "{}");
    }

    #[test]
    fn gathers_every_fault_with_its_place() {
        let all = r#"{"alpha": 0, "beta": 1, "tolerate": 0.5, "safe": 0, "detect": 1, "base_rate": 99.9,
            "form": {"kind": "absolute", "objective": 0.999}, "window": "5s", "burst": "ten", "warmup": "1",
            "blackout": {"kind": "on", "requests": 0, "bad": 50, "readings": 0, "stable": -1}}"#;
        let places = [
            "alpha",
            "beta",
            "tolerate",
            "safe",
            "detect",
            "base_rate",
            "form/objective",
            "burst",
            "warmup",
            "blackout/requests",
            "blackout/readings",
            "blackout/bad",
            "blackout/stable",
        ];
        assert_eq!(faults_of(all), places.map(|place| format!("/judge/{place}")));
        for (json, place) in [
            (r#"{"window": "5s"}"#, "window"),
            (r#"{"window": "0s", "burst": "0s"}"#, "window"),
            (r#"{"tolerate": 3}"#, "detect"),
            (r#"{"tolerate": 2, "safe": 1.5}"#, "safe"),
            (r#"{"safe": 1}"#, "safe"),
            (r#"{"form": {"kind": "absolute", "objective": 0.4}}"#, "form/objective"),
            (r#"{"blackout": {"kind": "on", "bad": 0.02}}"#, "blackout/stable"),
        ] {
            assert_eq!(faults_of(json), [format!("/judge/{place}")], "{json}");
        }
        for json in [
            r#"{"form": {"kind": "absolute", "objective": 0.01}, "safe": 1}"#,
            r#"{"form": {"kind": "event"}, "blackout": {"kind": "off"}, "inconclusive": "roll_back"}"#,
            r#"{"form": {"kind": "window"}, "window": "1m", "burst": "30s"}"#,
        ] {
            assert_eq!(faults_of(json), Vec::<String>::new(), "{json}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_faults() {
        let spec = JudgeSpec { alpha: Some(f64::NAN), detect: Some(f64::INFINITY), ..JudgeSpec::default() };
        let mut faults = Vec::new();
        spec.check("", &mut faults);
        let places: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(places, ["/alpha", "/detect"]);
    }

    #[test]
    fn unknown_words_are_refused() {
        for json in [
            r#"{"alhpa": 0.1}"#,
            r#"{"form": {"kind": "window", "size": 1}}"#,
            r#"{"form": {"kind": "bayes"}}"#,
            r#"{"blackout": {"kind": "off", "bad": 0.5}}"#,
        ] {
            assert!(serde_json::from_str::<JudgeSpec>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_judge_comes_back_from_json_to_the_last_bit() {
        let spec = JudgeSpec {
            alpha: Some(0.1 + 0.2),
            tolerate: Some(4.0 / 3.0),
            safe: Some(20.0 / 7.0),
            base_rate: Some(1.0 / 700.0),
            ..JudgeSpec::default()
        };
        let judge = spec.check("", &mut Vec::new());
        let text = serde_json::to_string(&judge).unwrap();
        assert_eq!(serde_json::from_str::<Judge>(&text).unwrap(), judge, "{text}");
    }
}
