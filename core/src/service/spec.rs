//! What a user says about a service: what a release is, and how it is served.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::health::CheckSpec;
use crate::time::SpanText;

/// One version of a service, ready to be started: what a build step returns and a rollout takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The version's name, such as `v1.4.2`; unique within the service.
    pub version: String,
    /// The program and its arguments. The port to listen on comes in the environment variable `PORT`, the address
    /// in `HOST`.
    pub command: Vec<String>,
    /// Variables for its environment, besides those of the supervisor. Not for secrets: releases are recorded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The working directory; by default that of the program that ships it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
}

/// How a service is run and served: supervised local processes behind the embedded proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServeSpec {
    /// Where the embedded proxy listens, such as `127.0.0.1:8080`.
    pub listen: String,
    /// How many processes serve in full size.
    pub replicas: u32,
    /// When an instance is ready for traffic. By default: when the process that was started listens on its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<CheckSpec>,
    /// How long requests under way may take to end before an instance is stopped; `30s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<SpanText>,
    /// How long after SIGTERM an instance is killed; `10s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<SpanText>,
    /// How long a request may take until the first byte of its answer; `60s` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<SpanText>,
    /// The largest request body in bytes; 64 MiB by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<u64>,
}
