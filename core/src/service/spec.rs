//! What a user says about a service: what a release is, and how it is served.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Fault, pointer_part};
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
    /// The working directory, or one below that of the program that ships it; by default the latter itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
}

/// The most processes of one version.
pub(crate) const MAX_REPLICAS: u32 = 1_000;

/// The longest name of a version in bytes.
const MAX_NAME: usize = 200;

impl Release {
    /// Adds what is wrong with it to `faults`; `pointer` is where it stands.
    pub(crate) fn check(&self, pointer: &str, faults: &mut Vec<Fault>) {
        let mut fault = |field: &str, message: String| faults.push(Fault::new(format!("{pointer}/{field}"), message));
        let version = &self.version;
        if version.trim().is_empty() {
            fault("version", "must not be empty".into());
        } else if version.len() > MAX_NAME || version.chars().any(char::is_control) || version.trim() != version {
            let message = format!("at most {MAX_NAME} bytes, no control characters, and no blanks at its ends");
            fault("version", message);
        }
        if self.command.first().is_none_or(String::is_empty) {
            fault("command", "expected a program and its arguments".into());
        }
        if self.command.iter().any(|argument| argument.contains('\0')) {
            fault("command", "a program's arguments can't hold NUL characters".into());
        }
        if self.dir.as_ref().is_some_and(|dir| dir.is_empty() || dir.contains('\0')) {
            fault("dir", "expected a directory".into());
        }
        for (name, value) in &self.env {
            let field = format!("env/{}", pointer_part(name));
            if name.is_empty() || name.contains(['=', '\0']) {
                fault(&field, format!("not a variable's name: {name:?}"));
            } else if name.starts_with("TIDEGATE_") || name == "PORT" || name == "HOST" {
                fault(&field, format!("{name} is given by tidegate to each process"));
            }
            if value.contains('\0') {
                fault(&field, "a variable can't hold NUL characters".into());
            }
        }
    }
}

/// How a service is run and served: supervised local processes behind the embedded proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServeSpec {
    /// Where the embedded proxy listens, such as `127.0.0.1:8080`.
    pub listen: String,
    /// How many processes serve in full size: 1 to 1,000.
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
