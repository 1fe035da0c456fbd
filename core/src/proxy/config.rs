//! What the proxy is told: limits, instances; and what a drain came to.

use std::net::SocketAddr;

use crate::time::{Span, Time};

/// Limits of a proxy. The default suits a service on the same machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How long a request may take until the first byte of its answer, counted from its routing or, while its body
    /// still flows, from the last progress of the body. Over: 504, or 408 when it was the client's body that stalled.
    pub request_timeout: Span,
    /// How long opening a connection to an instance may take.
    pub connect_timeout: Span,
    /// How long a client may take to send a request's head. It also bounds how long a kept connection may be idle.
    pub header_read_timeout: Span,
    /// How long an answer's body may stand still, on the instance's side or on the client's, before it is cut.
    pub stream_idle_timeout: Span,
    /// How long a connection to an instance is kept without a request. Should be less than what instances allow.
    pub upstream_idle_timeout: Span,
    /// How many idle connections are kept for each instance.
    pub upstream_idle_connections: usize,
    /// The largest request body in bytes; a larger one is answered with 413.
    pub max_body_bytes: u64,
    /// The largest head in bytes, of requests (431) and answers (502); also the size of read and write buffers.
    /// At least 8,192.
    pub max_head_bytes: usize,
    /// How many clients may be connected at a time, tunnels included; more wait in the listen queue. One that vanishes
    /// without closing gives its place back about two minutes after its last sign of life.
    pub max_connections: usize,
    /// How often a request of which something was written is sent again, where that is safe (see [`Reuse`]). Refused
    /// connections are not counted: for each request up to eight are tried.
    pub retries: u32,
    /// Which requests may go out on a connection that was used before.
    pub reuse: Reuse,
    /// Whether `X-Forwarded-Proto` and `X-Forwarded-Host` of the request are kept. By default they are overwritten, as
    /// anybody can send them. `X-Forwarded-For` and `Forwarded` are lists and always appended to: the last entry is the
    /// peer of this proxy, and the entries before it are worth what whoever sent them is worth.
    pub trust_forwarded: bool,
    /// How long after its end a window waits for answers whose bodies still flow. After that they count by what is
    /// known of them, so that one endless stream doesn't hold the counts back.
    pub settle: Span,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            request_timeout: Span::seconds(60),
            connect_timeout: Span::seconds(5),
            header_read_timeout: Span::seconds(60),
            stream_idle_timeout: Span::seconds(300),
            upstream_idle_timeout: Span::seconds(4),
            upstream_idle_connections: 256,
            max_body_bytes: 64 << 20,
            max_head_bytes: 64 << 10,
            max_connections: 8_192,
            retries: 2,
            reuse: Reuse::Safe,
            trust_forwarded: false,
            settle: Span::seconds(10),
        }
    }
}

/// Which requests may go out on a connection to an instance that was used before.
///
/// An instance may close an idle connection in the very moment in which a request is written to it. The request can
/// then be sent again only if doing it twice is the same as doing it once (RFC 9110, 9.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reuse {
    /// Only those that can be sent again: GET, HEAD, OPTIONS, PUT, DELETE and TRACE without a body. All others get a
    /// connection of their own, so that no closing of idle connections costs a request.
    #[default]
    Safe,
    /// All. Faster for many small POST requests; one whose connection is closed while it is being written is lost (502).
    Always,
}

/// One process of a version that requests can be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name, unique within the proxy.
    pub id: String,
    /// The version that it runs.
    pub version: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Since when it is ready; its warm-up counts from here.
    pub ready_at: Time,
}

/// What a drain came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// Requests that had not ended in time and were cut.
    pub requests_cut: u64,
    /// Upgraded connections (WebSockets) that were cut.
    pub tunnels_cut: u64,
}
