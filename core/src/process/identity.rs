//! Which process it is: numbers alone are used again.

#[cfg(target_os = "linux")]
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// A process as it can be known again after a crash of ours, and after a reboot as not being it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// When it started: clock ticks since boot (field 22 of `/proc/<pid>/stat`). Elsewhere a hash of what `ps` says.
    pub started: u64,
    /// The boot during which it ran (`/proc/sys/kernel/random/boot_id`; elsewhere the boot's time).
    pub boot: String,
}

impl Identity {
    /// The process that now has this number; `None` when there is none, or it has ended.
    pub fn of(pid: u32) -> Option<Identity> {
        Some(Identity { pid, started: started(pid)?, boot: boot()? })
    }

    /// This process.
    pub fn own() -> Option<Identity> {
        Identity::of(std::process::id())
    }

    /// Whether just this process still runs. A zombie does not.
    pub fn is_alive(&self) -> bool {
        Identity::of(self.pid).as_ref() == Some(self)
    }
}

#[cfg(target_os = "linux")]
fn started(pid: u32) -> Option<u64> {
    super::table::entry(pid).filter(super::table::Entry::lives).map(|entry| entry.started)
}

#[cfg(target_os = "linux")]
fn boot() -> Option<String> {
    // It stays as long as we do.
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(known) = BOOT.get() {
        return Some(known.clone());
    }
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(BOOT.get_or_init(|| id.trim().to_owned()).clone())
}

#[cfg(not(target_os = "linux"))]
fn started(pid: u32) -> Option<u64> {
    let said = says("ps", &["-o", "stat=,lstart=", "-p", &pid.to_string()])?;
    let (state, since) = said.split_once(' ')?;
    // FNV-1a (draft-eastlake-fnv): the text of the start time as one number.
    let hash =
        since.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
    (!state.starts_with('Z')).then_some(hash)
}

#[cfg(not(target_os = "linux"))]
fn boot() -> Option<String> {
    says("sysctl", &["-n", "kern.boottime"])
}

#[cfg(not(target_os = "linux"))]
fn says(program: &str, arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new(program).args(arguments).env("LC_ALL", "C").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
