//! What a user says about a check.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Fault, Kind, Result};
use crate::health::placeholder;
use crate::health::probe::HttpTarget;
use crate::health::{Check, Intervals, Rules, State, StatusSet, Verdict};
use crate::time::{Span, SpanText};

/// A check: a probe, how often it runs, and how its results count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckSpec {
    /// What is probed.
    pub probe: ProbeSpec,
    /// The time from one probe's start to the next one's; `5s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<SpanText>,
    /// The interval in the start period, before the first pass; `100ms` by default, and never more than `interval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<SpanText>,
    /// The interval while it is failing; `interval` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_interval: Option<SpanText>,
    /// The interval while passes are counted that are not enough yet; `interval` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rising_interval: Option<SpanText>,
    /// The interval while failures are counted that are not enough yet; `interval` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub falling_interval: Option<SpanText>,
    /// A random part of up to this many percent is added to each interval; 10 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<u32>,
    /// How long a probe may take; `1s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<SpanText>,
    /// Passes in a row that make it passing; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rise: Option<u32>,
    /// Failures in a row that make it failing; 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fall: Option<u32>,
    /// Failures in a row that make it degraded; by default none do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degrade: Option<u32>,
    /// The state before anything is concluded; `starting` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<State>,
    /// The first result that counts is enough by itself, whatever `rise` and `fall`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first_result_applies: bool,
    /// Unknown results in a row that make it unknown; 3 by default, 0 for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_after: Option<u32>,
    /// States (of `passing`, `degraded`, `failing`) that end the probing until a restart, once a result led to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hold: Vec<State>,
    /// How long after the start the first probe runs; at once by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<SpanText>,
    /// How long after the start failures don't count, until the first pass; `30s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<SpanText>,
    /// With no pass or failure for this long, the state becomes `stale`; by default results don't age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<SpanText>,
    /// `unknown` (the default) or `failing`: the state when results are older than `max_age`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<State>,
}

/// What is probed. Where a check belongs to an instance of a service, `{host}` and `{port}` stand for its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ProbeSpec {
    /// An HTTP GET over a new connection. Redirects are answers like any other and are not followed.
    Http {
        /// The URL, such as `http://{host}:{port}/healthz`.
        url: String,
        /// Statuses that pass, as codes and ranges; `["200-399"]` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pass: Option<Vec<String>>,
        /// Statuses that pass with a warning, whatever else they are.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warn: Vec<String>,
        /// Of the statuses that don't pass: those that make it failing at once, whatever the threshold.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        fail_now: Vec<String>,
    },
    /// A TCP connection that passes when it is accepted.
    Tcp {
        /// The address, such as `{host}:{port}`.
        address: String,
    },
    /// A command that passes with exit code 0. It runs in a process group of its own, all of which is gone
    /// afterwards. One that can't be started is unknown, not failed.
    Command {
        /// The program and its arguments; no shell.
        argv: Vec<String>,
        /// Exit codes that pass with a warning (1 for monitoring plugins).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warn: Vec<i32>,
        /// Exit codes that say nothing (3 for monitoring plugins).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unknown: Vec<i32>,
    },
}

impl CheckSpec {
    /// A check with every default.
    pub fn new(probe: ProbeSpec) -> CheckSpec {
        CheckSpec {
            probe,
            interval: None,
            start_interval: None,
            failing_interval: None,
            rising_interval: None,
            falling_interval: None,
            jitter: None,
            timeout: None,
            rise: None,
            fall: None,
            degrade: None,
            initial: None,
            first_result_applies: false,
            unknown_after: None,
            hold: Vec::new(),
            initial_delay: None,
            start_period: None,
            max_age: None,
            stale: None,
        }
    }

    /// The check that it means. Errors: [`Kind::Invalid`] with every fault.
    pub fn validate(&self) -> Result<Check> {
        let mut faults = Vec::new();
        let check = self.check("", &mut faults);
        if faults.is_empty() { Ok(check) } else { Err(Error::invalid("check", faults)) }
    }

    /// The check that it means, for a spec that holds this one at `pointer`. What comes back is good only if no
    /// fault was added.
    pub fn check(&self, pointer: &str, faults: &mut Vec<Fault>) -> Check {
        let found = faults;
        let mut faults = Faults { pointer, found };
        let normal = faults.interval("interval", &self.interval, Span::seconds(5));
        let check = Check {
            probe: self.probe.clone(),
            timeout: faults.interval("timeout", &self.timeout, Span::seconds(1)),
            rules: Rules {
                rise: faults.count("rise", self.rise, 1),
                fall: faults.count("fall", self.fall, 3),
                degrade: self.degrade.map(|n| faults.count("degrade", Some(n), 1)),
                initial: self.initial.unwrap_or(State::Starting),
                first_result_applies: self.first_result_applies,
                unknown_after: Some(self.unknown_after.unwrap_or(3)).filter(|n| *n > 0),
                hold: self.hold.iter().copied().collect(),
                initial_delay: faults.span("initial_delay", &self.initial_delay, Span::ZERO),
                start_period: faults.span("start_period", &self.start_period, Span::seconds(30)),
                every: Intervals {
                    normal,
                    starting: faults.interval("start_interval", &self.start_interval, Span(100)).min(normal),
                    failing: faults.interval("failing_interval", &self.failing_interval, normal),
                    rising: faults.interval("rising_interval", &self.rising_interval, normal),
                    falling: faults.interval("falling_interval", &self.falling_interval, normal),
                    jitter_percent: self.jitter.unwrap_or(10),
                },
                max_age: self.max_age.as_ref().map(|_| faults.interval("max_age", &self.max_age, Span::ZERO)),
                stale: self.stale.unwrap_or(State::Unknown),
            },
        };
        self.check_together(&check.rules, &mut faults);
        self.probe.check(&format!("{pointer}/probe"), faults.found);
        check
    }

    /// What can only be seen of several fields together, or of a value's range.
    fn check_together(&self, rules: &Rules, faults: &mut Faults<'_>) {
        if rules.degrade.is_some_and(|degrade| degrade > rules.fall) {
            faults.add("degrade", format!("can't be reached: it is more than fall: {}", rules.fall));
        }
        if rules.every.jitter_percent > 100 {
            faults.add("jitter", format!("expected 0 to 100 percent: {}", rules.every.jitter_percent));
        }
        for (i, state) in self.hold.iter().enumerate() {
            if matches!(state, State::Starting | State::Unknown) {
                let message = format!("expected passing, degraded or failing: {}", state.as_str());
                faults.add(&format!("hold/{i}"), message);
            }
        }
        match self.stale {
            Some(State::Failing | State::Unknown) if self.max_age.is_none() => {
                faults.add("stale", "has no effect without max_age".to_owned());
            }
            Some(State::Failing | State::Unknown) | None => {}
            Some(state) => faults.add("stale", format!("expected unknown or failing: {}", state.as_str())),
        }
    }
}

struct Faults<'a> {
    pointer: &'a str,
    found: &'a mut Vec<Fault>,
}

impl Faults<'_> {
    fn add(&mut self, field: &str, message: String) {
        self.found.push(Fault::new(format!("{}/{field}", self.pointer), message));
    }

    fn span(&mut self, field: &str, text: &Option<SpanText>, default: Span) -> Span {
        text.as_ref().map_or(default, |text| text.check(format!("{}/{field}", self.pointer), self.found))
    }

    /// A span that must not be zero.
    fn interval(&mut self, field: &str, text: &Option<SpanText>, default: Span) -> Span {
        let before = self.found.len();
        let span = self.span(field, text, default);
        if span == Span::ZERO && text.is_some() && self.found.len() == before {
            self.add(field, "must be more than 0s".to_owned());
        }
        span
    }

    fn count(&mut self, field: &str, given: Option<u32>, default: u32) -> u32 {
        if given == Some(0) {
            self.add(field, "must be at least 1".to_owned());
        }
        given.unwrap_or(default)
    }
}

impl ProbeSpec {
    /// An HTTP GET that passes on a status of 200 to 399.
    pub fn http(url: impl Into<String>) -> ProbeSpec {
        ProbeSpec::Http { url: url.into(), pass: None, warn: Vec::new(), fail_now: Vec::new() }
    }

    /// A TCP connection.
    pub fn tcp(address: impl Into<String>) -> ProbeSpec {
        ProbeSpec::Tcp { address: address.into() }
    }

    /// A command that passes with exit code 0 and else fails.
    pub fn command<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> ProbeSpec {
        let argv = argv.into_iter().map(Into::into).collect();
        ProbeSpec::Command { argv, warn: Vec::new(), unknown: Vec::new() }
    }

    /// The probe of one instance: `{host}` and `{port}` are put in (an IPv6 host in brackets, save in arguments of a
    /// command).
    pub fn resolve(&self, host: &str, port: u16) -> ProbeSpec {
        let mut spec = self.clone();
        match &mut spec {
            ProbeSpec::Http { url: text, .. } | ProbeSpec::Tcp { address: text } => {
                *text = placeholder::fill(text, &placeholder::bracketed(host), port);
            }
            ProbeSpec::Command { argv, .. } => {
                for text in argv {
                    *text = placeholder::fill(text, host, port);
                }
            }
        }
        spec
    }

    /// Whether `{host}` or `{port}` are still to be put in.
    pub fn has_placeholders(&self) -> bool {
        match self {
            ProbeSpec::Http { url: text, .. } | ProbeSpec::Tcp { address: text } => placeholder::is_open(text),
            ProbeSpec::Command { argv, .. } => argv.iter().any(|text| placeholder::is_open(text)),
        }
    }

    /// Adds every fault of the probe, which the definition holds at `pointer`.
    pub fn check(&self, pointer: &str, faults: &mut Vec<Fault>) {
        // To see whether the text around the placeholders is right: what a long port fits into, a short one does.
        match self.resolve("127.0.0.1", u16::MAX) {
            ProbeSpec::Http { url, pass, warn, fail_now } => {
                if let Err(message) = HttpTarget::parse(&url) {
                    faults.push(Fault::new(format!("{pointer}/url"), message));
                }
                StatusSet::check(pass.as_deref().unwrap_or_default(), &format!("{pointer}/pass"), faults);
                StatusSet::check(&warn, &format!("{pointer}/warn"), faults);
                StatusSet::check(&fail_now, &format!("{pointer}/fail_now"), faults);
            }
            ProbeSpec::Tcp { address } => {
                if let Err(message) = super::probe::split_address(&address) {
                    faults.push(Fault::new(format!("{pointer}/address"), message));
                }
            }
            ProbeSpec::Command { argv, .. } => {
                if argv.first().is_none_or(String::is_empty) {
                    faults.push(Fault::new(format!("{pointer}/argv"), "expected a program and its arguments"));
                }
                for (i, text) in argv.iter().enumerate() {
                    if text.contains('\0') {
                        faults.push(Fault::new(format!("{pointer}/argv/{i}"), "must not contain a NUL byte"));
                    }
                }
            }
        }
    }

    /// What an HTTP status means to this probe. Errors: [`Kind::Invalid`] when the sets of statuses can't be read or
    /// this is no HTTP probe.
    pub fn verdict_of_status(&self, status: u16) -> Result<Verdict> {
        let ProbeSpec::Http { pass, warn, fail_now, .. } = self else {
            return Err(Error::new(Kind::Invalid, "only an HTTP probe judges statuses"));
        };
        let mut faults = Vec::new();
        let pass = pass.as_ref().map_or(StatusSet::range(200, 399), |p| StatusSet::check(p, "/pass", &mut faults));
        let warn = StatusSet::check(warn, "/warn", &mut faults);
        let fail_now = StatusSet::check(fail_now, "/fail_now", &mut faults);
        if !faults.is_empty() {
            return Err(Error::invalid("probe", faults));
        }
        Ok(if warn.contains(status) {
            Verdict::Warn
        } else if pass.contains(status) {
            Verdict::Pass
        } else if fail_now.contains(status) {
            Verdict::FailNow
        } else {
            Verdict::Fail
        })
    }

    /// What an exit code means to this probe. Errors: [`Kind::Invalid`] when this is no command.
    pub fn verdict_of_exit(&self, code: i32) -> Result<Verdict> {
        let ProbeSpec::Command { warn, unknown, .. } = self else {
            return Err(Error::new(Kind::Invalid, "only a command judges exit codes"));
        };
        Ok(if warn.contains(&code) {
            Verdict::Warn
        } else if unknown.contains(&code) {
            Verdict::Unknown
        } else if code == 0 {
            Verdict::Pass
        } else {
            Verdict::Fail
        })
    }
}
