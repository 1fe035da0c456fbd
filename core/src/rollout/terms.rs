//! What a spec comes to once it is checked: no text left to parse, every default filled in.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plan::FULL;
use super::spec::{PromoteSpec, RevertSpec, RolloutSpec, StrategySpec};
use crate::analysis::{Form, Judge};
use crate::error::Fault;
use crate::health::CheckSpec;
use crate::service::{DesiredVersion, MAX_REPLICAS, Measure, Release, ServeSpec, Serving};
use crate::time::{Span, SpanText};

/// No plan has more steps than this.
const MAX_STEPS: usize = 1_000;

/// A checked rollout or revert, as the start event records it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RolloutTerms")]
pub struct Terms {
    /// The service.
    pub service: String,
    /// In which moves the new version takes over.
    pub strategy: Strategy,
    /// The new version's full size in processes.
    pub full: u32,
    /// How the service is served.
    pub serving: Serving,
    /// When an instance of the new version is ready.
    pub ready: Option<CheckSpec>,
    /// How long requests under way may take to end before an instance is stopped.
    pub drain: Span,
    /// How long after SIGTERM an instance is killed.
    pub grace: Span,
    /// The judge, with all its numbers.
    pub judge: Option<Judge>,
    /// How long a move may take, and how long what gets traffic may be unready.
    pub progress_deadline: Span,
    /// Whether somebody must promote.
    pub manual: bool,
    /// How long the old version is kept running after promotion.
    pub keep_old: Span,
    /// How many former versions can be reverted to.
    pub keep_versions: u32,
    /// How many crashes are too many when passed.
    pub restart_limit: u32,
}

/// A checked strategy; shares are in hundredths of a percent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(rename = "StrategyTerms")]
pub enum Strategy {
    /// Traffic goes over in steps.
    Canary {
        /// The new version's shares, rising.
        steps: Vec<u32>,
        /// How long each is watched.
        bake: Span,
    },
    /// All traffic goes over at once.
    BlueGreen {
        /// How long the new version is watched before promotion.
        bake: Span,
    },
    /// Back to a former version, at once.
    Revert,
}

impl RolloutSpec {
    /// Checks the whole spec; every fault goes to `faults` with its JSON pointer below `pointer`. What comes back is
    /// of use only when none was found.
    pub fn check(&self, pointer: &str, faults: &mut Vec<Fault>) -> Terms {
        check_name(&self.service, &format!("{pointer}/service"), faults);
        let strategy = self.strategy.check(&format!("{pointer}/strategy"), faults);
        let (serving, drain, grace) = check_serve(&self.serve, &format!("{pointer}/serve"), faults);
        let mut terms = Terms {
            service: self.service.clone(),
            strategy,
            full: self.serve.replicas,
            serving,
            ready: self.serve.ready.clone(),
            drain,
            grace,
            judge: None,
            progress_deadline: span(&self.progress_deadline, "10m", pointer, "progress_deadline", faults),
            manual: self.promote == Some(PromoteSpec::Manual),
            keep_old: span(&self.keep_old, "30s", pointer, "keep_old", faults),
            keep_versions: self.keep_versions.unwrap_or(2),
            restart_limit: self.restart_limit.unwrap_or(3),
        };
        if self.progress_deadline.is_some() && terms.progress_deadline == Span::ZERO {
            fault_once(format!("{pointer}/progress_deadline"), "must be longer than nothing", faults);
        }
        if let Some(judge) = &self.judge {
            let judge = judge.check(&format!("{pointer}/judge"), faults);
            terms.serving.measure = Measure { window: judge.window, warmup: judge.warmup };
            let least = Span(judge.warmup.0.saturating_add(judge.window.0));
            terms.judge = Some(judge);
            // Instances that have just come up are not judged, so that no window might have closed by then.
            if terms.judged_bake().is_some_and(|bake| bake < least) {
                let message = format!("must be at least the judge's warm-up and one of its windows: {least}");
                fault_once(format!("{pointer}/strategy/bake"), &message, faults);
            }
        }
        terms
    }
}

impl RevertSpec {
    /// Checks the spec against what is known of the version; faults as in [`RolloutSpec::check`].
    pub fn check(
        &self,
        pointer: &str,
        definition: &DesiredVersion,
        serving: &Serving,
        keep_versions: u32,
        faults: &mut Vec<Fault>,
    ) -> Terms {
        check_name(&self.service, &format!("{pointer}/service"), faults);
        Terms {
            service: self.service.clone(),
            strategy: Strategy::Revert,
            full: definition.replicas,
            serving: serving.clone(),
            ready: definition.ready.clone(),
            drain: definition.drain,
            grace: definition.grace,
            judge: None,
            progress_deadline: span(&self.progress_deadline, "10m", pointer, "progress_deadline", faults),
            manual: false,
            keep_old: span(&self.keep_old, "30s", pointer, "keep_old", faults),
            keep_versions,
            restart_limit: 3,
        }
    }
}

impl Terms {
    /// Whether the judge can say anything while the new version has this share of the traffic: all forms but the
    /// absolute one need requests on both sides.
    pub fn judges_at(&self, share: u32) -> bool {
        self.judge.as_ref().is_some_and(|judge| share < FULL || matches!(judge.form, Form::Absolute { .. }))
    }

    /// How long the judge has in each step that it judges; `None` where it judges none.
    fn judged_bake(&self) -> Option<Span> {
        match &self.strategy {
            Strategy::Canary { steps, bake } => steps.iter().any(|share| self.judges_at(*share)).then_some(*bake),
            Strategy::BlueGreen { bake } => self.judges_at(FULL).then_some(*bake),
            Strategy::Revert => None,
        }
    }

    /// What is needed to start the new version.
    pub fn definition(&self, release: &Release) -> DesiredVersion {
        DesiredVersion {
            release: release.clone(),
            replicas: self.full,
            ready: self.ready.clone(),
            drain: self.drain,
            grace: self.grace,
        }
    }
}

impl StrategySpec {
    fn check(&self, pointer: &str, faults: &mut Vec<Fault>) -> Strategy {
        match self {
            StrategySpec::Canary { steps, bake } => Strategy::Canary {
                steps: check_steps(steps, &format!("{pointer}/steps"), faults),
                bake: bake.check(format!("{pointer}/bake"), faults),
            },
            StrategySpec::BlueGreen { bake } => Strategy::BlueGreen { bake: span(bake, "0s", pointer, "bake", faults) },
        }
    }
}

fn check_steps(steps: &[f64], pointer: &str, faults: &mut Vec<Fault>) -> Vec<u32> {
    if steps.is_empty() {
        faults.push(Fault::new(pointer, "expected at least one step, such as [5, 25, 50]"));
    }
    if steps.len() > MAX_STEPS {
        faults.push(Fault::new(pointer, format!("at most {MAX_STEPS} steps: {}", steps.len())));
        return Vec::new();
    }
    let mut shares: Vec<u32> = Vec::with_capacity(steps.len());
    for (i, step) in steps.iter().enumerate() {
        let at = format!("{pointer}/{i}");
        let share = (step * 100.0).round();
        if !(*step > 0.0 && *step <= 100.0) {
            faults.push(Fault::new(at, format!("must be above 0 and at most 100 percent: {step}")));
        } else if (share - step * 100.0).abs() > 1e-6 {
            faults.push(Fault::new(at, format!("must be whole hundredths of a percent: {step}")));
        } else {
            let share = share as u32;
            if shares.last().is_some_and(|last| *last >= share) {
                faults.push(Fault::new(at, format!("must be above the step before it: {step}")));
            }
            shares.push(share);
        }
    }
    shares
}

fn check_serve(serve: &ServeSpec, pointer: &str, faults: &mut Vec<Fault>) -> (Serving, Span, Span) {
    if serve.listen.parse::<SocketAddr>().is_err() {
        faults.push(Fault::new(
            format!("{pointer}/listen"),
            format!("expected an address and a port, such as \"127.0.0.1:8080\": {:?}", serve.listen),
        ));
    }
    if !(1..=MAX_REPLICAS).contains(&serve.replicas) {
        let message = format!("expected 1 to {MAX_REPLICAS}: {}", serve.replicas);
        faults.push(Fault::new(format!("{pointer}/replicas"), message));
    }
    if let Some(ready) = &serve.ready {
        ready.check(&format!("{pointer}/ready"), faults);
    }
    let drain = span(&serve.drain, "30s", pointer, "drain", faults);
    let grace = span(&serve.grace, "10s", pointer, "grace", faults);
    let request_timeout = span(&serve.request_timeout, "60s", pointer, "request_timeout", faults);
    if request_timeout == Span::ZERO && serve.request_timeout.is_some() {
        fault_once(format!("{pointer}/request_timeout"), "must be longer than nothing", faults);
    }
    let measure = Measure { window: Span::seconds(10), warmup: Span::seconds(10) };
    let max_body_bytes = serve.max_body_bytes.unwrap_or(64 << 20);
    (Serving { listen: serve.listen.clone(), measure, request_timeout, max_body_bytes }, drain, grace)
}

fn check_name(name: &str, pointer: &str, faults: &mut Vec<Fault>) {
    if name.trim().is_empty() {
        faults.push(Fault::new(pointer, "must not be empty"));
    } else if name.len() > 200 || name.chars().any(char::is_control) {
        faults.push(Fault::new(pointer, "at most 200 bytes and no control characters"));
    }
}

fn span(text: &Option<SpanText>, default: &str, pointer: &str, field: &str, faults: &mut Vec<Fault>) -> Span {
    match text {
        Some(text) => text.check(format!("{pointer}/{field}"), faults),
        None => SpanText::from(default).check(format!("{pointer}/{field}"), faults),
    }
}

/// A duration that can't be read is already a fault; that it then counts as zero is no second one.
fn fault_once(pointer: String, message: &str, faults: &mut Vec<Fault>) {
    if !faults.iter().any(|fault| fault.pointer == pointer) {
        faults.push(Fault::new(pointer, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> (Terms, Vec<String>) {
        let spec: RolloutSpec = serde_json::from_str(json).unwrap();
        let mut faults = Vec::new();
        let terms = spec.check("", &mut faults);
        (terms, faults.into_iter().map(|fault| fault.pointer).collect())
    }

    #[test]
    fn defaults_are_filled_in() {
        let (terms, faults) = check(
            r#"{"service": "shop", "serve": {"listen": "127.0.0.1:8080", "replicas": 4},
                "strategy": {"kind": "canary", "steps": [0.5, 33.33, 100], "bake": "2m"}}"#,
        );
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(terms.strategy, Strategy::Canary { steps: vec![50, 3_333, 10_000], bake: Span::seconds(120) });
        assert_eq!((terms.progress_deadline, terms.keep_old), (Span::seconds(600), Span::seconds(30)));
        assert_eq!((terms.drain, terms.grace), (Span::seconds(30), Span::seconds(10)));
        assert_eq!((terms.keep_versions, terms.restart_limit, terms.manual), (2, 3, false));
        let stored = serde_json::to_string(&terms).unwrap();
        assert_eq!(serde_json::from_str::<Terms>(&stored).unwrap(), terms);
    }

    #[test]
    fn every_fault_is_found_at_its_place() {
        let (_, faults) = check(
            r#"{"service": " ", "serve": {"listen": "8080", "replicas": 0, "drain": "x", "grace": "1", "request_timeout": "0s",
                    "ready": {"probe": {"kind": "http", "url": "nowhere"}, "rise": 0}},
                "strategy": {"kind": "canary", "steps": [0, 10, 10, 5, 101, 0.001], "bake": "soon"},
                "judge": {"alpha": 2}, "progress_deadline": "0s", "keep_old": "-1s"}"#,
        );
        let expected = [
            "/service",
            "/strategy/steps/0",
            "/strategy/steps/2",
            "/strategy/steps/3",
            "/strategy/steps/4",
            "/strategy/steps/5",
            "/strategy/bake",
            "/serve/listen",
            "/serve/replicas",
            "/serve/ready/rise",
            "/serve/ready/probe/url",
            "/serve/drain",
            "/serve/grace",
            "/serve/request_timeout",
            "/keep_old",
            "/progress_deadline",
            "/judge/alpha",
        ];
        assert_eq!(faults, expected);
    }

    #[test]
    fn a_bake_that_no_window_fits_in_after_the_warm_up_is_a_fault_where_it_is_judged() {
        let faults = |judge: &str, strategy: &str| {
            let serve = r#"{"listen": "[::1]:0", "replicas": 1}"#;
            check(&format!(
                r#"{{"service": "shop", "serve": {serve}, "judge": {judge}, "strategy": {{"kind": {strategy}}}}}"#
            ))
            .1
        };
        let canary = |steps: &str, bake: &str| format!(r#""canary", "steps": {steps}, "bake": "{bake}""#);
        let bake = ["/strategy/bake"];
        assert_eq!(faults("{}", &canary("[5, 50]", "19s")), bake);
        assert!(faults("{}", &canary("[5, 50]", "20s")).is_empty());
        assert_eq!(faults(r#"{"warmup": "1m", "window": "20s"}"#, &canary("[50]", "79s")), bake);
        assert!(faults(r#"{"warmup": "0s"}"#, &canary("[50]", "10s")).is_empty());
        assert_eq!(faults("{}", &canary("[50]", "soon")), bake, "one fault, not two");
        // With all traffic on the new version there is nothing to compare with, and only a pause.
        assert!(faults("{}", &canary("[100]", "1s")).is_empty());
        assert!(faults("{}", r#""blue_green""#).is_empty());
        let absolute = r#"{"form": {"kind": "absolute", "objective": 0.01}}"#;
        assert_eq!(faults(absolute, &canary("[100]", "19s")), bake);
        assert_eq!(faults(absolute, r#""blue_green""#), bake);
        assert!(faults(absolute, r#""blue_green", "bake": "20s""#).is_empty());
    }

    #[test]
    fn unknown_fields_are_refused() {
        let text = r#"{"service": "shop", "serve": {"listen": "[::1]:0", "replicas": 1},
            "strategy": {"kind": "blue_green", "steps": [1]}}"#;
        assert!(serde_json::from_str::<RolloutSpec>(text).is_err());
    }
}
