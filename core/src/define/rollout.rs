//! How a service is shipped, as a Rust user says it.

use serde::{Deserialize, Serialize};

use crate::analysis::JudgeSpec;
use crate::health::CheckSpec;
use crate::rollout::{PromoteSpec, RolloutSpec, StrategySpec};
use crate::service::ServeSpec;
use crate::time::SpanText;

/// What a rollout step returns when its version was promoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promoted {
    /// `promoted`.
    pub outcome: String,
    /// The version that is stable now.
    pub version: Option<String>,
    /// Why, in one sentence.
    pub reason: String,
}

/// How a service is shipped: in which moves a new version takes over, behind which address, and who judges it.
///
/// ```
/// use tidegate::{Judge, Rollout};
/// let rollout = Rollout::canary("shop", [5.0, 25.0, 50.0], "2m")
///     .listen("127.0.0.1:8080")
///     .replicas(4)
///     .judge(Judge::errors().alpha(0.01));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout(RolloutSpec);

impl Rollout {
    /// Traffic goes over in steps of rising percent, each watched for `bake`; then to all. Where a step is judged, the bake is at
    /// least the judge's warm-up and one of its windows: 20 seconds, unless it is told other ones.
    pub fn canary(
        service: impl Into<String>,
        steps: impl IntoIterator<Item = f64>,
        bake: impl Into<SpanText>,
    ) -> Rollout {
        Rollout::new(service, StrategySpec::Canary { steps: steps.into_iter().collect(), bake: bake.into() })
    }

    /// The new version comes up in full beside the old one and gets all traffic at once.
    pub fn blue_green(service: impl Into<String>) -> Rollout {
        Rollout::new(service, StrategySpec::BlueGreen { bake: None })
    }

    fn new(service: impl Into<String>, strategy: StrategySpec) -> Rollout {
        let serve = ServeSpec {
            listen: "127.0.0.1:0".to_owned(),
            replicas: 1,
            ready: None,
            drain: None,
            grace: None,
            request_timeout: None,
            max_body_bytes: None,
        };
        Rollout(RolloutSpec {
            service: service.into(),
            strategy,
            serve,
            judge: None,
            progress_deadline: None,
            promote: None,
            keep_old: None,
            keep_versions: None,
            restart_limit: None,
        })
    }

    fn set(mut self, change: impl FnOnce(&mut RolloutSpec)) -> Rollout {
        change(&mut self.0);
        self
    }

    /// Where the embedded proxy listens.
    #[must_use]
    pub fn listen(self, address: impl Into<String>) -> Rollout {
        self.set(|spec| spec.serve.listen = address.into())
    }

    /// How many processes serve in full size; 1 by default.
    #[must_use]
    pub fn replicas(self, replicas: u32) -> Rollout {
        self.set(|spec| spec.serve.replicas = replicas)
    }

    /// When an instance is ready for traffic; by default when the process that was started listens on its port.
    #[must_use]
    pub fn ready(self, check: CheckSpec) -> Rollout {
        self.set(|spec| spec.serve.ready = Some(check))
    }

    /// How long requests under way may take to end before an instance is stopped; `30s` by default.
    #[must_use]
    pub fn drain(self, drain: impl Into<SpanText>) -> Rollout {
        self.set(|spec| spec.serve.drain = Some(drain.into()))
    }

    /// How long after SIGTERM an instance is killed; `10s` by default.
    #[must_use]
    pub fn grace(self, grace: impl Into<SpanText>) -> Rollout {
        self.set(|spec| spec.serve.grace = Some(grace.into()))
    }

    /// How long a request may take until the first byte of its answer; `60s` by default.
    #[must_use]
    pub fn request_timeout(self, timeout: impl Into<SpanText>) -> Rollout {
        self.set(|spec| spec.serve.request_timeout = Some(timeout.into()))
    }

    /// How long a blue-green's new version is watched, with the old one warm, before it is promoted.
    #[must_use]
    pub fn bake(self, span: impl Into<SpanText>) -> Rollout {
        self.set(|spec| match &mut spec.strategy {
            StrategySpec::Canary { bake, .. } => *bake = span.into(),
            StrategySpec::BlueGreen { bake } => *bake = Some(span.into()),
        })
    }

    /// Who decides whether the new version is worse. Without a judge only readiness and crashes turn it back.
    #[must_use]
    pub fn judge(self, judge: impl Into<JudgeSpec>) -> Rollout {
        self.set(|spec| spec.judge = Some(judge.into()))
    }

    /// How long a move may take before the rollout turns back; `10m` by default.
    #[must_use]
    pub fn progress_deadline(self, deadline: impl Into<SpanText>) -> Rollout {
        self.set(|spec| spec.progress_deadline = Some(deadline.into()))
    }

    /// All traffic goes over only when somebody says `promote`.
    #[must_use]
    pub fn promote_by_hand(self) -> Rollout {
        self.set(|spec| spec.promote = Some(PromoteSpec::Manual))
    }

    /// How long the old version is kept running after promotion; `30s` by default. Until then a new version that
    /// crashes again and again, or that the blackout guard finds dead, still goes back by itself.
    #[must_use]
    pub fn keep_old(self, span: impl Into<SpanText>) -> Rollout {
        self.set(|spec| spec.keep_old = Some(span.into()))
    }

    /// How many former versions can be reverted to; 2 by default.
    #[must_use]
    pub fn keep_versions(self, versions: u32) -> Rollout {
        self.set(|spec| spec.keep_versions = Some(versions))
    }

    /// How many crashes of the new version's processes turn it back when passed; 3 by default.
    #[must_use]
    pub fn restart_limit(self, crashes: u32) -> Rollout {
        self.set(|spec| spec.restart_limit = Some(crashes))
    }
}

impl From<Rollout> for RolloutSpec {
    fn from(rollout: Rollout) -> RolloutSpec {
        rollout.0
    }
}

/// The sequential judge. What it rests on, and how it decides, says [`analysis`](crate::analysis).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Judge(JudgeSpec);

impl Judge {
    /// Compares the new version's error rate with the old one's, window by window.
    pub fn errors() -> Judge {
        Judge::default()
    }

    fn set(mut self, change: impl FnOnce(&mut JudgeSpec)) -> Judge {
        change(&mut self.0);
        self
    }

    /// The chance of ever condemning a release that is no worse; 0.01 by default.
    #[must_use]
    pub fn alpha(self, alpha: f64) -> Judge {
        self.set(|spec| spec.alpha = Some(alpha))
    }

    /// What is compared, and how errors may cling together; windows by default.
    #[must_use]
    pub fn form(self, form: crate::analysis::Form) -> Judge {
        self.set(|spec| spec.form = Some(form))
    }

    /// How many times the old rate is still fine; 1 by default.
    #[must_use]
    pub fn tolerate(self, ratio: f64) -> Judge {
        self.set(|spec| spec.tolerate = Some(ratio))
    }

    /// Lets a step end before its bake when the rate is proved to be under this many times the old one.
    #[must_use]
    pub fn safe(self, ratio: f64) -> Judge {
        self.set(|spec| spec.safe = Some(ratio))
    }

    /// How many times the old rate must have been findable for a bake to pass; 3 by default.
    #[must_use]
    pub fn detect(self, ratio: f64) -> Judge {
        self.set(|spec| spec.detect = Some(ratio))
    }

    /// The error rate that `detect` multiplies when the old version shows a lower one; 0.001 by default.
    #[must_use]
    pub fn base_rate(self, rate: f64) -> Judge {
        self.set(|spec| spec.base_rate = Some(rate))
    }

    /// How long a window is, and how long errors may cling together within it; both `10s` by default.
    #[must_use]
    pub fn windows(self, window: impl Into<SpanText>, burst: impl Into<SpanText>) -> Judge {
        self.set(|spec| (spec.window, spec.burst) = (Some(window.into()), Some(burst.into())))
    }

    /// How long after it is ready an instance's requests don't count; `10s` by default.
    #[must_use]
    pub fn warmup(self, warmup: impl Into<SpanText>) -> Judge {
        self.set(|spec| spec.warmup = Some(warmup.into()))
    }

    /// What follows when a bake ends and too little was seen; a pause by default.
    #[must_use]
    pub fn inconclusive(self, then: crate::analysis::OnInconclusive) -> Judge {
        self.set(|spec| spec.inconclusive = Some(then))
    }
}

impl From<Judge> for JudgeSpec {
    fn from(judge: Judge) -> JudgeSpec {
        judge.0
    }
}
