//! Connecting, with the time each phase took, and whose fault it is when it goes wrong.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

use rustix::io::Errno;
use tokio::net::{TcpStream, lookup_host};

use crate::health::probe::stopwatch::Stopwatch;
use crate::health::{Outcome, Verdict};

/// The phase that a probe is in, so that a timeout can say where the time went.
pub(super) type Phase = std::sync::Mutex<&'static str>;

/// Notes the phase.
pub(super) fn enter(phase: &Phase, name: &'static str) {
    *phase.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = name;
}

/// Looks the name up and connects to the first of its addresses that answers. The outcome in hand gets `lookup_us`,
/// `connect_us` and `peer`; the error is the outcome of the probe.
pub(super) async fn connect(
    host: &str,
    port: u16,
    phase: &Phase,
    seen: &mut Vec<(&'static str, serde_json::Value)>,
) -> Result<TcpStream, Outcome> {
    enter(phase, "looking up the name");
    let begin = Stopwatch::start();
    let addresses: Vec<SocketAddr> =
        lookup_host((host, port)).await.map_err(|error| outcome_of(&error, "name lookup failed"))?.collect();
    seen.push(("lookup_us", begin.us().into()));
    enter(phase, "connecting");
    let begin = Stopwatch::start();
    let mut failure = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) if is_connected_to_itself(&stream) => {
                failure = Some(Outcome::new(Verdict::Fail, "can't connect: nobody listens"));
            }
            Ok(stream) => {
                seen.push(("connect_us", begin.us().into()));
                seen.push(("peer", address.to_string().into()));
                return Ok(stream);
            }
            Err(error) => failure = Some(outcome_of(&error, "can't connect")),
        }
    }
    Err(failure.unwrap_or_else(|| Outcome::new(Verdict::Fail, "the name has no address")))
}

/// Whether both ends are the same socket. A connection to a local port in the range of ephemeral ports on which
/// nobody listens can be given that very port as its own; TCP's simultaneous open then succeeds.
fn is_connected_to_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

/// An error while probing as an outcome: unknown when it is this side that lacks something, else a failure.
pub(super) fn outcome_of(error: &Error, what: &str) -> Outcome {
    let verdict = if is_ours(error) { Verdict::Unknown } else { Verdict::Fail };
    Outcome::new(verdict, format!("{what}: {error}"))
}

/// Whether the error says something of this side only: not permitted, out of descriptors, memory or ports.
fn is_ours(error: &Error) -> bool {
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::PERM, Errno::ACCESS];
    matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::OutOfMemory | ErrorKind::PermissionDenied)
        || Errno::from_io_error(error).is_some_and(|errno| lacking.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_side_lacks_is_unknown() {
        for (errno, verdict) in [
            (Errno::MFILE, Verdict::Unknown),
            (Errno::ACCESS, Verdict::Unknown),
            (Errno::PERM, Verdict::Unknown),
            (Errno::ADDRNOTAVAIL, Verdict::Unknown),
            (Errno::CONNREFUSED, Verdict::Fail),
            (Errno::HOSTUNREACH, Verdict::Fail),
            (Errno::CONNRESET, Verdict::Fail),
        ] {
            assert_eq!(outcome_of(&errno.into(), "x").verdict, verdict, "{errno:?}");
        }
    }
    #[tokio::test]
    async fn a_connection_to_itself_is_seen() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        assert!(is_connected_to_itself(&socket.connect(address).await.unwrap()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(!is_connected_to_itself(&stream));
    }
}
