//! What a user says about a check.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::SpanText;

/// A check: a probe, how often it runs, and how its results count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckSpec {
    /// What is probed.
    pub probe: ProbeSpec,
    /// The time from one probe's start to the next one's; `5s` by default (`100ms` while an instance starts).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<SpanText>,
    /// How long a probe may take; `1s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<SpanText>,
    /// Passes in a row that make it passing; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rise: Option<u32>,
    /// Failures in a row that make it failing; 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fall: Option<u32>,
    /// How long after the start failures don't count, until the first pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<SpanText>,
}

/// What is probed. Where a check belongs to an instance of a service, `{host}` and `{port}` stand for its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ProbeSpec {
    /// An HTTP GET that passes on a status of 200 to 399.
    Http {
        /// The URL, such as `http://{host}:{port}/healthz`.
        url: String,
    },
    /// A TCP connection that passes when it is accepted.
    Tcp {
        /// The address, such as `{host}:{port}`.
        address: String,
    },
    /// A command that passes with exit code 0.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
    },
}
