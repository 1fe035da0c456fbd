//! Free ports of the loopback address for instances, and who holds one that is not free.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::error::{Error, Kind, Result};
use crate::process::listener_on;

/// How many ports are used at most: those just below the ones that the system gives to outgoing connections, the
/// proxy's to its instances among them, as one of these could be taken before the instance listens.
const SPAN: u16 = 4_096;
/// The lowest port that is used.
const LOWEST: u16 = 10_000;
/// Where the ports of outgoing connections begin when the system does not say.
const OUTGOING: u16 = 32_768;

/// The ports that instances of ours were told to listen on.
#[derive(Debug, Clone, Default)]
pub(super) struct Ports(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    numbers: BTreeSet<u16>,
    /// Where the search goes on, so that a restarted instance doesn't meet the connections of its last life.
    next: u16,
}

/// A port that is promised to one instance while this lives. Another program may still take it before the instance
/// listens; whose the listener is gets looked up before it is called ready.
#[derive(Debug)]
pub(super) struct Port {
    number: u16,
    ports: Ports,
}

impl Ports {
    /// A port on which nobody listens now.
    pub(super) fn take(&self) -> Result<Port> {
        let range = range();
        let size = range.end.saturating_sub(range.start).max(1);
        let mut taken = self.lock();
        if taken.next == 0 {
            // Supervisors of other folders begin elsewhere.
            taken.next = u16::try_from(std::process::id() % u32::from(size)).unwrap_or(0);
        }
        for _ in 0..size {
            let number = range.start + taken.next % size;
            taken.next = (taken.next + 1) % size;
            if !taken.numbers.contains(&number) && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                taken.numbers.insert(number);
                return Ok(Port { number, ports: self.clone() });
            }
        }
        Err(Error::new(Kind::Io, "no port is free for an instance")
            .with("from", range.start)
            .with("to", range.end.saturating_sub(1))
            .retry_later())
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The ports that are used, by `net.ipv4.ip_local_port_range` (ip(7)).
fn range() -> Range<u16> {
    let told = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    let outgoing = told.and_then(|text| text.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(OUTGOING);
    below(outgoing)
}

/// Where there is no room below, the usual place is used: a port may then be taken just before an instance listens, and
/// the instance is started again on another.
fn below(outgoing: u16) -> Range<u16> {
    let end = if outgoing < LOWEST + SPAN { OUTGOING } else { outgoing };
    end - SPAN..end
}

impl Port {
    pub(super) fn number(&self) -> u16 {
        self.number
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.ports.lock().numbers.remove(&self.number);
    }
}

/// The error of an address that can't be listened on, with the process that does, where it can be told.
pub(super) async fn held(listen: &str, error: Error) -> Error {
    let Ok(address) = listen.parse::<SocketAddr>() else { return error };
    if !(address.ip().is_loopback() || address.ip().is_unspecified()) {
        return error;
    }
    match tokio::task::spawn_blocking(move || listener_on(address.port())).await {
        Ok(Some(pid)) => error.with("held by pid", pid),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_no_port_twice_and_none_that_is_listened_on() {
        let ports = Ports::default();
        let first = ports.take().unwrap();
        let other = Ports::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, first.number())).unwrap();
        let taken: Vec<Port> = (0..50).map(|_| other.take().unwrap()).collect();
        let numbers: BTreeSet<u16> = taken.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), 50);
        assert!(!numbers.contains(&first.number()));
        assert!(numbers.iter().all(|number| range().contains(number)));
        drop((taken, listener));
        assert!(other.lock().numbers.is_empty());
    }

    #[test]
    fn stays_below_outgoing_connections_where_there_is_room() {
        assert_eq!(below(32_768), 28_672..32_768);
        assert_eq!(below(1_024), 28_672..32_768);
        assert_eq!(below(60_000), 55_904..60_000);
        assert_eq!(below(u16::MAX), 61_439..65_535);
    }
}
