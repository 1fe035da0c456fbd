//! Waiting for the end of our own children, seen before they are reaped.
//!
//! A leader's number stays reserved until it is reaped, so its group can be signalled without hitting a stranger: look
//! first (`waitid` with `WNOWAIT`), signal, then reap. Neither installs a handler for SIGCHLD.

use std::sync::Mutex;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::exit::Exit;

/// Children that were killed and had not died by the time their handle was dropped; reaped by the next call.
static STRAYS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// How often a platform without process descriptors is asked.
const POLL: Duration = Duration::from_millis(20);

/// How a child ended, if it has; it is not reaped.
pub(crate) fn peek(pid: Pid) -> Option<Exit> {
    look(pid, WaitIdOptions::NOWAIT)
}

/// Reaps a child that has ended. `false` when it still runs.
pub(crate) fn reap(pid: Pid) -> bool {
    look(pid, WaitIdOptions::empty()).is_some()
}

fn look(pid: Pid, how: WaitIdOptions) -> Option<Exit> {
    loop {
        return match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | how) {
            Ok(None) => None,
            Ok(Some(status)) => Some(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Code(code),
                (None, Some(signal)) => Exit::Signal(signal),
                (None, None) => Exit::Lost,
            }),
            Err(Errno::INTR) => continue,
            // ECHILD, and whatever else means that we shall never know.
            Err(_) => Some(Exit::Lost),
        };
    }
}

/// Reaps a child that was sent SIGKILL. Death takes microseconds unless the kernel holds it; then it is left to the
/// next call, so that no destructor blocks for long.
pub(crate) fn reap_killed(pid: Pid) {
    for _ in 0..20 {
        if reap(pid) {
            return;
        }
        #[allow(clippy::disallowed_methods, reason = "on a thread for blocking work, for a bounded time")]
        std::thread::sleep(Duration::from_millis(1));
    }
    STRAYS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(pid);
}

/// Reaps what earlier calls of [`reap_killed`] had to leave.
pub(super) fn reap_strays() {
    STRAYS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).retain(|pid| !reap(*pid));
}

/// A descriptor that becomes readable when the process ends.
#[cfg(target_os = "linux")]
// Its replacement is an unsafe function because `AsRawFd` promises too little; an `OwnedFd` keeps all of its promises.
#[allow(deprecated, reason = "sound for an OwnedFd, and the replacement needs unsafe code")]
fn descriptor(pid: Pid) -> Option<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>> {
    let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
    tokio::io::unix::AsyncFd::with_interest(fd, tokio::io::Interest::READABLE).ok()
}

/// Tells when a child ends.
#[derive(Debug)]
pub(crate) struct Watch {
    pid: Pid,
    #[cfg(target_os = "linux")]
    descriptor: Option<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>>,
}

impl Watch {
    /// Watches a child of ours; inside a runtime.
    pub(crate) fn new(pid: Pid) -> Watch {
        Watch {
            pid,
            // Linux before 5.3, or no descriptor left: ask every few milliseconds instead.
            #[cfg(target_os = "linux")]
            descriptor: descriptor(pid),
        }
    }

    /// Waits until the child has ended; it is not reaped. May be dropped and called again.
    pub(crate) async fn ended(&self) -> Exit {
        loop {
            if let Some(exit) = peek(self.pid) {
                return exit;
            }
            #[cfg(target_os = "linux")]
            if let Some(descriptor) = &self.descriptor {
                match descriptor.readable().await {
                    Ok(mut guard) => match peek(self.pid) {
                        Some(exit) => return exit,
                        None => guard.clear_ready(),
                    },
                    Err(_) => tokio::time::sleep(POLL).await,
                }
                continue;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
