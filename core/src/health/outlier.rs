//! Outliers among the members of a group, by what their real requests do: passive checking beside the probes.
//!
//! The rules are Envoy's outlier detection by success rate (`outlier_detection.proto`): a member whose rate lies far
//! below the group's mean is set aside, longer each time, and never too many at once. No clock is read here.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Fault, Result};
use crate::time::{Span, SpanText};

/// What a user says about outliers. Everything has a default, and the defaults are Envoy's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct OutlierSpec {
    /// Fewer members than this with enough requests are not compared; 5 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_members: Option<u32>,
    /// Members with fewer requests than this are neither compared nor set aside; 100 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_requests: Option<u64>,
    /// How many standard deviations below the mean the limit lies, to thousandths; 1.9 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deviations: Option<f64>,
    /// How many percent of the members may be set aside at once, one always; 10 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_percent: Option<u32>,
    /// How long a member is set aside the first time, and n times as long the n-th time; `30s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<SpanText>,
    /// The longest that a member is set aside, never less than `base`; `5m` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<SpanText>,
}

impl OutlierSpec {
    /// The rules that it means.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] with every fault.
    pub fn validate(&self) -> Result<OutlierRules> {
        let mut faults = Vec::new();
        let default = OutlierRules::default();
        let deviations = self.deviations.unwrap_or(f64::from(default.stdev_thousandths) / 1_000.0);
        if !(0.0..=100.0).contains(&deviations) {
            faults.push(Fault::new("/deviations", format!("expected 0 to 100: {deviations}")));
        }
        let max_percent = self.max_percent.unwrap_or(default.max_percent);
        if max_percent > 100 {
            faults.push(Fault::new("/max_percent", format!("expected 0 to 100 percent: {max_percent}")));
        }
        let mut span = |field: &str, text: &Option<SpanText>, default| {
            text.as_ref().map_or(default, |text| text.check(format!("/{field}"), &mut faults))
        };
        let rules = OutlierRules {
            min_members: self.min_members.unwrap_or(default.min_members),
            min_requests: self.min_requests.unwrap_or(default.min_requests),
            // In range, once there is no fault.
            stdev_thousandths: libm::round(deviations * 1_000.0) as u32,
            max_percent,
            base: span("base", &self.base, default.base),
            max: span("max", &self.max, default.max),
        };
        if faults.is_empty() { Ok(rules) } else { Err(Error::invalid("outliers", faults)) }
    }
}

/// When a member counts as an outlier, and what happens to it then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlierRules {
    /// Fewer members than this with enough requests are not compared.
    pub min_members: u32,
    /// Members with fewer requests than this are neither compared nor set aside.
    pub min_requests: u64,
    /// How many standard deviations below the mean the limit lies, in thousandths.
    pub stdev_thousandths: u32,
    /// How many percent of the members may be set aside at once; one always may.
    pub max_percent: u32,
    /// How long a member is set aside the first time; n times as long the n-th time.
    pub base: Span,
    /// The longest that a member is set aside; never less than `base`.
    pub max: Span,
}

impl Default for OutlierRules {
    /// Envoy's defaults.
    fn default() -> OutlierRules {
        OutlierRules {
            min_members: 5,
            min_requests: 100,
            stdev_thousandths: 1_900,
            max_percent: 10,
            base: Span::seconds(30),
            max: Span::seconds(300),
        }
    }
}

/// What a member's requests came to within one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Requests that ended.
    pub requests: u64,
    /// Of these the good ones.
    pub successes: u64,
}

impl Tally {
    /// The success rate in percent; `None` without requests.
    pub fn percent(self) -> Option<f64> {
        (self.requests > 0).then(|| 100.0 * self.successes.min(self.requests) as f64 / self.requests as f64)
    }
}

/// The group's success rates, in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The mean of the members' rates, each member alike.
    pub mean: f64,
    /// Their standard deviation, over the members as the whole population.
    pub stdev: f64,
    /// A rate below this is an outlier's.
    pub limit: f64,
    /// The outliers, worst first; equal ones by name.
    pub outliers: Vec<String>,
}

impl OutlierRules {
    /// Compares the members, by name. `None` when too few had enough requests: nothing is known then, and nobody is
    /// an outlier.
    pub fn compare(&self, members: &BTreeMap<String, Tally>) -> Option<Comparison> {
        let mut rates: Vec<(&String, f64)> = members
            .iter()
            .filter(|(_, tally)| tally.requests >= self.min_requests)
            .filter_map(|(name, tally)| Some((name, tally.percent()?)))
            .collect();
        if rates.is_empty() || rates.len() < usize::try_from(self.min_members).unwrap_or(usize::MAX) {
            return None;
        }
        let n = rates.len() as f64;
        let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / n;
        let variance = rates.iter().map(|(_, rate)| (rate - mean) * (rate - mean)).sum::<f64>() / n;
        let stdev = variance.sqrt();
        let limit = mean - stdev * f64::from(self.stdev_thousandths) / 1_000.0;
        // Stable, and the map's order is by name.
        rates.sort_by(|a, b| a.1.total_cmp(&b.1));
        let outliers = rates.into_iter().filter(|(_, rate)| *rate < limit).map(|(name, _)| name.clone()).collect();
        Some(Comparison { mean, stdev, limit, outliers })
    }

    /// How many of `members` may be set aside at once.
    pub fn most(&self, members: u32) -> u32 {
        let share = u64::from(members) * u64::from(self.max_percent.min(100)) / 100;
        u32::try_from(share).unwrap_or(members).max(1).min(members)
    }

    /// How long a member is set aside the `times`-th time.
    pub fn aside_for(&self, times: u32) -> Span {
        Span(self.base.0.saturating_mul(u64::from(times))).min(self.max.max(self.base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(tallies: &[(u64, u64)]) -> BTreeMap<String, Tally> {
        let member = |(i, (requests, successes)): (usize, &(u64, u64))| {
            (format!("m{i}"), Tally { requests: *requests, successes: *successes })
        };
        tallies.iter().enumerate().map(member).collect()
    }

    #[test]
    fn too_little_is_not_compared() {
        let rules = OutlierRules::default();
        assert_eq!(rules.compare(&BTreeMap::new()), None);
        assert_eq!(rules.compare(&group(&[(200, 200), (200, 200), (200, 200), (200, 0)])), None);
        let quiet = group(&[(200, 200), (200, 200), (200, 200), (200, 200), (99, 0)]);
        assert_eq!(rules.compare(&quiet), None, "the fifth had too few requests");
        let rules = OutlierRules { min_members: 0, min_requests: 0, ..rules };
        assert_eq!(rules.compare(&group(&[(0, 0)])), None, "no request is no rate");
    }

    #[test]
    fn a_spec_gathers_every_fault() {
        assert_eq!(OutlierSpec::default().validate().unwrap(), OutlierRules::default());
        let spec = OutlierSpec {
            deviations: Some(f64::NAN),
            max_percent: Some(101),
            base: Some("soon".into()),
            max: Some("".into()),
            ..OutlierSpec::default()
        };
        let faults: Vec<String> = spec.validate().unwrap_err().faults().iter().map(|f| f.pointer.clone()).collect();
        assert_eq!(faults, ["/deviations", "/max_percent", "/base", "/max"]);
    }

    #[test]
    fn members_that_are_alike_have_no_outlier() {
        let comparison = OutlierRules::default().compare(&group(&[(100, 70); 6])).unwrap();
        assert_eq!((comparison.stdev, comparison.outliers), (0.0, vec![]));
    }

    #[test]
    fn bounds_hold_at_the_ends() {
        let rules = OutlierRules::default();
        assert_eq!((rules.most(0), rules.most(1), rules.most(u32::MAX)), (0, 1, u32::MAX / 10));
        assert_eq!((rules.aside_for(0), rules.aside_for(u32::MAX)), (Span::ZERO, Span::seconds(300)));
    }
}
