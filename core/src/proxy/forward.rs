//! One request: checked, routed, sent (again, where that is safe), answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, Entry, HOST, HeaderValue, RETRY_AFTER, UPGRADE};
use hyper::http::{request, response};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use tokio::time::Instant;

use super::body::{Answer, Download, Flow, Progress, Upload};
use super::config::{Config, Reuse};
use super::headers;
use super::instance::{Lease, Sender, Unsent, Upstream};
use super::server::{Client, Shared, with_chance};
use super::table::Routed;
use super::ticket::Ticket;
use super::tunnel;

/// How many connections are tried for one request.
const TRIES: usize = 8;

/// A head that can be sent a second time.
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Head {
    fn of(parts: &request::Parts) -> Head {
        Head { method: parts.method.clone(), uri: parts.uri.clone(), headers: parts.headers.clone() }
    }

    fn again(&self) -> Request<Upload> {
        let mut request = Request::new(Upload::empty());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// What an attempt came to when there is no answer.
struct Failed {
    /// The request, when not a byte of it was written.
    request: Option<Request<Upload>>,
    /// There was no connection to be had.
    refused: bool,
    /// It went out on a connection that was used before.
    reused: bool,
    /// A part of an answer came.
    heard: bool,
    /// There was none for want of something on the proxy's side.
    ours: bool,
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unanswered {
    /// The instances are to blame, or the client's body.
    Failed,
    /// The proxy has no port or file handle left.
    Exhausted,
}

/// An answer of our own.
fn reply(status: StatusCode, text: impl Into<String>, close: bool) -> Response<Answer> {
    let mut text: String = text.into();
    text.push('\n');
    let mut response = Response::new(Answer::Text(Some(Bytes::from(text))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Answers one request.
pub(super) async fn answer(client: Arc<Client>, mut request: Request<Incoming>) -> Response<Answer> {
    let shared = &client.shared;
    let config = shared.config();
    let on_upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (mut parts, incoming) = request.into_parts();
    let refuse = |headers::Refusal(status, text): headers::Refusal| {
        shared.refused.fetch_add(1, Ordering::Relaxed);
        reply(status, text, true)
    };
    if let Err(refusal) = headers::check(&parts) {
        return refuse(refusal);
    }
    let has_body = !incoming.is_end_stream();
    if has_body && incoming.size_hint().lower() > config.max_body_bytes {
        return refuse(headers::Refusal(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is larger than allowed"));
    }
    let upgrade = if has_body { None } else { headers::upgrade(&parts) };
    let on_upgrade = on_upgrade.filter(|_| upgrade.is_some());
    if let Err(refusal) = headers::request(&mut parts, &client.peer, config.trust_forwarded, has_body, upgrade) {
        return refuse(refusal);
    }

    let Some(Routed { mut ticket, lease }) = shared.draw() else {
        shared.unrouted.fetch_add(1, Ordering::Relaxed);
        return reply(StatusCode::SERVICE_UNAVAILABLE, shared.why_not(), false);
    };
    // Clients of HTTP/1.0 need not say what host they mean, HTTP/1.1 must: then it is the instance's own.
    if let Entry::Vacant(host) = parts.headers.entry(HOST)
        && let Ok(address) = HeaderValue::from_str(&lease.upstream().instance.address.to_string())
    {
        host.insert(address);
    }
    let twice = matches!(
        parts.method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    ) && !has_body
        && on_upgrade.is_none();
    let progress = has_body.then(|| Arc::new(Progress::new()));
    let body = match &progress {
        Some(progress) => Upload::new(incoming, config.max_body_bytes, progress.clone()),
        None => Upload::empty(),
    };
    let head = twice.then(|| Head::of(&parts));
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = parts.method;
    *outgoing.uri_mut() = parts.uri;
    *outgoing.headers_mut() = parts.headers;

    let sending = send(shared, &config, outgoing, head, lease, &mut ticket);
    let outcome = in_time(sending, progress.as_deref(), &config).await;
    match (outcome, progress.as_deref().map(Progress::flow)) {
        (Some(Ok((response, sender, lease))), _) => {
            let (mut head, incoming) = response.into_parts();
            let tunnel = head.status == StatusCode::SWITCHING_PROTOCOLS;
            let protocol = head.headers.get(UPGRADE).cloned().filter(|_| tunnel);
            if !headers::response(&mut head.headers, protocol) || (tunnel && on_upgrade.is_none()) {
                ticket.failed();
                return reply(StatusCode::BAD_GATEWAY, "the instance's answer can't be passed on", false);
            }
            if let Some(on_client) = on_upgrade.filter(|_| tunnel) {
                ticket.answered(head.status.as_u16());
                return begin_tunnel(head, incoming, on_client, lease, sender, client.clone());
            }
            ticket.answered(head.status.as_u16());
            let download = Download {
                inner: incoming,
                ticket,
                lease,
                sender,
                progress,
                patience: config.stream_idle_timeout.into(),
                stall: None,
                idle_connections: config.upstream_idle_connections,
                over: false,
            };
            finish(head, Answer::From(download))
        }
        // What the client did wrong, or this side lacks, is not held against the version: its ticket is dropped unanswered.
        (Some(Err(Unanswered::Exhausted)), _) => {
            reply(StatusCode::SERVICE_UNAVAILABLE, "the proxy has no port or file handle left", true)
        }
        (Some(Err(_)), Some(Flow::TooLarge)) => {
            reply(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is larger than allowed", true)
        }
        (Some(Err(_)), Some(Flow::Broken)) => reply(StatusCode::BAD_REQUEST, "the request's body is broken", true),
        (None, Some(Flow::Awaited)) => {
            reply(StatusCode::REQUEST_TIMEOUT, "the request's body did not come in time", true)
        }
        (Some(Err(_)), _) => {
            ticket.failed();
            reply(StatusCode::BAD_GATEWAY, "the instance gave no answer", false)
        }
        (None, _) => {
            ticket.failed();
            reply(StatusCode::GATEWAY_TIMEOUT, format!("no answer within {}", config.request_timeout), false)
        }
    }
}

fn finish(head: response::Parts, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    // The reason phrase, where it is not the usual one.
    *response.extensions_mut() = head.extensions;
    response
}

/// Passes a change of protocols on; the request ends here, and the tunnel lives on its own.
fn begin_tunnel(
    mut head: response::Parts,
    incoming: Incoming,
    on_client: hyper::upgrade::OnUpgrade,
    lease: Lease,
    sender: Option<Sender>,
    client: Arc<Client>,
) -> Response<Answer> {
    let mut response = Response::from_parts(head.clone(), incoming);
    let on_instance = hyper::upgrade::on(&mut response);
    let upstream = lease.upstream().clone();
    if !upstream.tunnel(tunnel::run(on_client, on_instance, lease, sender, client)) {
        return reply(StatusCode::BAD_GATEWAY, "the instance is gone", true);
    }
    head.headers.remove(CONTENT_LENGTH);
    head.extensions.clear();
    finish(head, Answer::Text(None))
}

/// Waits for an answer; `None` when the time is over. Progress of the request's body gives it more time.
async fn in_time<T>(work: impl Future<Output = T>, progress: Option<&Progress>, config: &Config) -> Option<T> {
    let limit = config.request_timeout.into();
    tokio::pin!(work);
    let sleep = tokio::time::sleep(limit);
    tokio::pin!(sleep);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            () = &mut sleep => {
                let deadline = progress.map(|progress| progress.moved() + limit);
                match deadline {
                    #[allow(clippy::disallowed_methods, reason = "the time-out of a real request")]
                    Some(deadline) if deadline > Instant::now() => sleep.as_mut().reset(deadline),
                    _ => return None,
                }
            }
        }
    }
}

/// Sends a request until there is an answer, and again only where that is safe: when not a byte of it was written, or
/// when `head` says that doing it twice is the same as doing it once, and not a byte of an answer came.
async fn send(
    shared: &Shared,
    config: &Config,
    request: Request<Upload>,
    head: Option<Head>,
    mut lease: Lease,
    ticket: &mut Ticket,
) -> Result<(Response<Incoming>, Option<Sender>, Lease), Unanswered> {
    let mut reuse = head.is_some() || config.reuse == Reuse::Always;
    let mut tried: Vec<Arc<Upstream>> = Vec::new();
    let mut request = request;
    let mut left = config.retries;
    loop {
        let failed = match attempt(lease.upstream(), config, request, reuse).await {
            Ok((response, sender)) => return Ok((response, sender, lease)),
            Err(failed) => failed,
        };
        let Failed { request: unsent, refused, reused, heard, ours } = failed;
        if ours {
            return Err(Unanswered::Exhausted);
        }
        // What began to answer has acted on the request.
        if heard {
            return Err(Unanswered::Failed);
        }
        let written = unsent.is_none();
        request = match (unsent, &head) {
            (Some(unsent), _) => unsent,
            (None, Some(head)) => head.again(),
            (None, None) => return Err(Unanswered::Failed),
        };
        lease.upstream().suspect();
        // Of a reused connection nobody can tell (see `suspect`), and what was cut on this side is nobody's fault.
        if !reused && !lease.upstream().is_cut() {
            ticket.blame();
        }
        // Only what may have reached an instance uses up a repetition: the request itself may be what kills instances.
        if written {
            left = left.checked_sub(1).ok_or(Unanswered::Failed)?;
        }
        if tried.len() >= TRIES {
            return Err(Unanswered::Failed);
        }
        // A closed idle connection says nothing of the instance: it is asked again on a new one.
        reuse = false;
        if !reused {
            tried.push(lease.upstream().clone());
            let version = tried.first().map_or("", |first| first.instance.version.as_str());
            let again = shared.read(|table| table.again(version, &tried));
            lease = match again {
                Some(other) if !tried.iter().any(|tried| Arc::ptr_eq(tried, other.upstream())) => other,
                // No other one of this version: what was never sent may go to another version.
                _ if refused => shared
                    .read(|table| with_chance(|chance| table.elsewhere(version, chance)))
                    .ok_or(Unanswered::Failed)?,
                Some(same) => same,
                None => return Err(Unanswered::Failed),
            };
        }
        ticket.retried();
    }
}

/// One try on one instance.
async fn attempt(
    upstream: &Arc<Upstream>,
    config: &Config,
    mut request: Request<Upload>,
    reuse: bool,
) -> Result<(Response<Incoming>, Option<Sender>), Failed> {
    let mut pooled = reuse && !upstream.is_suspect();
    loop {
        while let Some(mut sender) = if pooled { upstream.take(config) } else { None } {
            // Ready means that the connection's task has seen the last answer's end and no end of the connection.
            if !sender.ready().await {
                continue;
            }
            match sender.send(request).await {
                Ok(answered) => return Ok(answered),
                Err(Unsent { request: Some(unsent), .. }) => request = unsent,
                Err(Unsent { request, heard }) => {
                    return Err(Failed { request, refused: false, reused: true, heard, ours: false });
                }
            }
        }
        let error = match upstream.connect(config).await {
            Ok(sender) => {
                return match sender.send(request).await {
                    Ok(answered) => Ok(answered),
                    Err(Unsent { request, heard }) => {
                        Err(Failed { request, refused: false, reused: false, heard, ours: false })
                    }
                };
            }
            Err(error) => error,
        };
        let ours = exhausted(&error);
        if !ours || pooled {
            return Err(Failed { request: Some(request), refused: true, reused: false, heard: false, ours });
        }
        // No port or file handle is left: a connection that was used before is better than none.
        pooled = true;
    }
}

/// Whether a connection failed for want of something on this side: local ports, file handles, memory.
fn exhausted(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let lacking = [Errno::ADDRNOTAVAIL, Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| lacking.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_on_this_side_is_told_from_a_refusal() {
        for (errno, ours) in [
            (rustix::io::Errno::ADDRNOTAVAIL, true),
            (rustix::io::Errno::MFILE, true),
            (rustix::io::Errno::CONNREFUSED, false),
            (rustix::io::Errno::HOSTUNREACH, false),
        ] {
            assert_eq!(exhausted(&errno.into()), ours, "{errno}");
        }
        assert!(!exhausted(&std::io::ErrorKind::TimedOut.into()));
    }
}
