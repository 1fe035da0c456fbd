//! Free ports of the loopback address for instances.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::error::{Error, Kind, Result};

/// How often the system is asked for a port that is not promised to another instance.
const ATTEMPTS: u32 = 64;

/// The ports that instances of ours were told to listen on.
#[derive(Debug, Clone, Default)]
pub(super) struct Ports(Arc<Mutex<BTreeSet<u16>>>);

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
        let failed =
            |error| Error::new(Kind::Io, "can't find a free port for an instance").because(error).retry_later();
        for _ in 0..ATTEMPTS {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
            let number = listener.local_addr().map_err(failed)?.port();
            if self.lock().insert(number) {
                return Ok(Port { number, ports: self.clone() });
            }
        }
        Err(failed(std::io::Error::other("all that the system offered are taken")))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Port {
    pub(super) fn number(&self) -> u16 {
        self.number
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.ports.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_no_port_twice() {
        let ports = Ports::default();
        let taken: Vec<Port> = (0..50).map(|_| ports.take().unwrap()).collect();
        let numbers: BTreeSet<u16> = taken.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), 50);
        drop(taken);
        assert!(ports.lock().is_empty());
    }
}
