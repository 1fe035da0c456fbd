//! The HTTP probe: one GET over a connection of its own, HTTP/1.1, no proxy, no redirect followed (as a Kubernetes
//! `httpGet` probe with redirects taken for answers).

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::health::probe::connect::{Phase, connect, enter, outcome_of};
use crate::health::probe::stopwatch::Stopwatch;
use crate::health::probe::tcp::timed_out;
use crate::health::probe::{HttpTarget, Probe};
use crate::health::{Outcome, ProbeSpec, Verdict};
use crate::time::Span;

/// No more of an answer's head is read.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// No more of an answer's body is read; what comes after is not waited for.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// So much of the body is kept with the outcome.
const KEPT_BODY_BYTES: usize = 4 * 1024;

type Seen = Vec<(&'static str, serde_json::Value)>;

/// Asks with a GET and judges the status. An answer whose body is cut off fails.
#[derive(Debug)]
pub struct HttpProbe {
    target: HttpTarget,
    spec: ProbeSpec,
    timeout: Span,
}

impl HttpProbe {
    /// A probe of `target`, whose statuses mean what `spec` says.
    pub fn new(target: HttpTarget, spec: ProbeSpec, timeout: Span) -> HttpProbe {
        HttpProbe { target, spec, timeout }
    }

    async fn ask(&self, phase: &Phase, seen: &mut Seen) -> Result<Outcome, Outcome> {
        let stream = connect(&self.target.host, self.target.port, phase, seen).await?;
        // Without it the request could wait for the peer's acknowledgement. Failing to set it harms nothing.
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error, "can't speak HTTP"))?;
        let mut exchange = pin!(self.exchange(sender, phase, seen));
        // The connection is driven here and not in a task of its own, so that dropping the probe ends both. What
        // breaks it is reported to the exchange as well.
        tokio::select! {
            biased;
            outcome = &mut exchange => return outcome,
            _ = connection => {}
        }
        exchange.await
    }

    async fn exchange(
        &self,
        mut sender: SendRequest<Empty<Bytes>>,
        phase: &Phase,
        seen: &mut Seen,
    ) -> Result<Outcome, Outcome> {
        enter(phase, "waiting for the first byte of the answer");
        let begin = Stopwatch::start();
        let request = Request::get(&self.target.path)
            .header(HOST, &self.target.authority)
            .header(USER_AGENT, concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "*/*")
            .header(CONNECTION, "close")
            .body(Empty::new())
            .map_err(|error| Outcome::new(Verdict::Unknown, format!("can't make the request: {error}")))?;
        let response = sender.send_request(request).await.map_err(|error| broken(&error, "no answer"))?;
        seen.push(("first_byte_us", begin.us().into()));
        let status = response.status().as_u16();
        seen.push(("status", status.into()));
        enter(phase, "reading the body");
        self.read_body(response, seen).await?;
        let verdict = self
            .spec
            .verdict_of_status(status)
            .map_err(|error| Outcome::new(Verdict::Unknown, format!("can't judge the status: {error}")))?;
        Ok(Outcome::new(verdict, format!("status {status}")))
    }

    async fn read_body(&self, response: Response<Incoming>, seen: &mut Seen) -> Result<(), Outcome> {
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let mut kept = Vec::new();
        let mut read = 0_usize;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken(&error, &format!("status {status}, then cut off in the body")))?;
            let data = frame.data_ref().map_or(&[][..], |data| &data[..]);
            kept.extend(data.iter().take(KEPT_BODY_BYTES - kept.len()));
            // Frames without data count too, so that no peer can keep this loop going for nothing.
            read = read.saturating_add(data.len().max(1));
            if read >= MAX_BODY_BYTES {
                break;
            }
        }
        seen.push(("body", String::from_utf8_lossy(&kept).into_owned().into()));
        Ok(())
    }
}

#[async_trait]
impl Probe for HttpProbe {
    async fn run(&self) -> Outcome {
        let begin = Stopwatch::start();
        let phase = Phase::new("");
        let mut seen = Vec::new();
        let asking = self.ask(&phase, &mut seen);
        let mut outcome = match tokio::time::timeout(Duration::from(self.timeout), asking).await {
            Ok(Ok(outcome) | Err(outcome)) => outcome,
            Err(_) => timed_out(self.timeout, &phase),
        };
        outcome.detail.extend(seen.into_iter().map(|(name, value)| (name.to_owned(), value)));
        outcome.took_us = begin.us();
        outcome
    }
}

/// What broke, with the causes that hyper keeps to itself; an operating system's error is judged as such.
fn broken(error: &hyper::Error, what: &str) -> Outcome {
    let mut text = format!("{what}: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return outcome_of(error, what);
        }
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    Outcome::new(Verdict::Fail, text)
}
