//! The contract of probes, and the probe that a spec means.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::health::probe::{CommandProbe, HttpProbe, HttpTarget, TcpProbe, split_address};
use crate::health::{Outcome, ProbeSpec};
use crate::process::Command;
use crate::time::Span;

/// Something that asks the world once. Adapters implement it; a watcher calls it, one call at a time.
#[async_trait]
pub trait Probe: Send + Sync + Debug {
    /// Asks once, within the probe's own timeout. Never fails: what goes wrong is the outcome. Dropping the future
    /// ends the probe and all that it started.
    async fn run(&self) -> Outcome;
}

/// The probe that a spec means. Errors: [`Kind::Invalid`] with every fault, also when a placeholder is left.
pub fn build(spec: &ProbeSpec, timeout: Span) -> Result<Arc<dyn Probe>> {
    build_beside(spec, timeout, &Command::new::<String>([]))
}

/// As [`build`], for a probe of what was started by this command: a command probe gets the command's environment,
/// directory and mark.
pub(crate) fn build_beside(spec: &ProbeSpec, timeout: Span, probed: &Command) -> Result<Arc<dyn Probe>> {
    let mut faults = Vec::new();
    spec.check("", &mut faults);
    if !faults.is_empty() {
        return Err(Error::invalid("probe", faults));
    }
    if spec.has_placeholders() {
        return Err(Error::new(Kind::Invalid, "the probe has no address: {host} or {port} is not put in")
            .help("write the address, or use the check for the instances of a service"));
    }
    Ok(match spec {
        ProbeSpec::Http { url, .. } => {
            let target = HttpTarget::parse(url).map_err(|message| Error::new(Kind::Invalid, message))?;
            Arc::new(HttpProbe::new(target, spec.clone(), timeout))
        }
        ProbeSpec::Tcp { address } => {
            let (host, port) = split_address(address).map_err(|message| Error::new(Kind::Invalid, message))?;
            Arc::new(TcpProbe::new(host, port, timeout))
        }
        ProbeSpec::Command { argv, .. } => {
            let command = Command { argv: argv.clone(), ..probed.clone() };
            Arc::new(CommandProbe::new(command, spec.clone(), timeout))
        }
    })
}
