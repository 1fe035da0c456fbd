//! What a desired state must be, and what it means for the proxy.

use crate::error::{Error, Fault, Result, pointer_part};
use crate::health::Check;
use crate::proxy::Config;
use crate::service::{Desired, MAX_REPLICAS};

/// The proxy's limits.
pub(super) fn config(desired: &Desired) -> Config {
    Config { request_timeout: desired.request_timeout, max_body_bytes: desired.max_body_bytes, ..Config::default() }
}

/// What must hold before anything is done for it.
pub(super) fn check(desired: &Desired) -> Result<()> {
    let mut faults = Vec::new();
    if desired.service.is_empty() || desired.service.len() > 200 {
        faults.push(Fault::new("/service", "expected a name of 1 to 200 bytes"));
    }
    let total: u64 = desired.weights.values().map(|weight| u64::from(*weight)).sum();
    if !desired.weights.is_empty() && total != 10_000 {
        faults.push(Fault::new("/weights", format!("expected weights that add up to 10000 or none: {total}")));
    }
    for (name, version) in &desired.versions {
        let pointer = format!("/versions/{}", pointer_part(name));
        if version.release.version != *name {
            faults.push(Fault::new(format!("{pointer}/release/version"), "expected the name that it is listed under"));
        }
        version.release.check(&format!("{pointer}/release"), &mut faults);
        if version.replicas > MAX_REPLICAS {
            faults.push(Fault::new(format!("{pointer}/replicas"), format!("expected at most {MAX_REPLICAS}")));
        }
        if let Some(ready) = &version.ready {
            let _: Check = ready.check(&format!("{pointer}/ready"), &mut faults);
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::invalid("the desired state", faults)) }
}
