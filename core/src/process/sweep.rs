//! Ends processes that a crash of ours left over: whoever carries the mark.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::time::Span;

use super::identity::Identity;
use super::mark::Mark;
use super::table::{self, Since};

/// Looks at the table in a row that find nobody before we believe it: a process that forks is in neither of two looks.
const LOOKS: u32 = 2;
/// The most rounds; what forks faster than it is killed is reported as surviving.
const ROUNDS: u32 = 50;

/// So many processes are looked at without a thread of its own.
const FEW: usize = 32;

/// A process that was ended, or would not end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Which.
    pub identity: Identity,
    /// Its short name.
    pub name: String,
    /// Its innermost mark.
    pub mark: Mark,
    /// Whether SIGKILL was needed.
    pub killed: bool,
    /// Whether it is still there, such as in a system call that can't be interrupted.
    pub survived: bool,
}

/// Ends every process of this user with a mark that is `wanted`: SIGTERM, `grace`, SIGKILL. Never ourselves nor the
/// processes above us. Finds nobody on platforms without `/proc`, nor who cleared its environment.
///
/// A process is signalled through a descriptor of its own, after its start time and its mark were read again through
/// it, so that a number that was used again hits nobody else.
pub async fn sweep(wanted: impl Fn(&Mark) -> bool + Send + 'static, grace: Span) -> Vec<Swept> {
    tokio::task::spawn_blocking(move || sweep_blocking(&table::pids, &wanted, grace.into())).await.unwrap_or_default()
}

/// The same among what can have been started since a child of ours. When that is few, it is looked at at once: a thread
/// for blocking work takes longer to wake than to look.
pub(super) async fn sweep_since(
    since: Since,
    wanted: impl Fn(&Mark) -> bool + Send + 'static,
    grace: Span,
) -> Vec<Swept> {
    let nobody = || {
        let pids = since.pids();
        pids.len() <= FEW && find(pids, &wanted, &[]).is_empty()
    };
    if (0..LOOKS).all(|_| nobody()) {
        return Vec::new();
    }
    let pids = move || since.pids();
    tokio::task::spawn_blocking(move || sweep_blocking(&pids, &wanted, grace.into())).await.unwrap_or_default()
}

fn sweep_blocking(pids: &dyn Fn() -> Vec<u32>, wanted: &dyn Fn(&Mark) -> bool, grace: Duration) -> Vec<Swept> {
    let spared = table::lineage();
    let mut all: Vec<Swept> = Vec::new();
    let (mut quiet, mut rounds) = (0, 0);
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let found = find(pids(), wanted, &spared);
        for swept in &mut all {
            swept.survived = found.iter().any(|(identity, ..)| *identity == swept.identity);
        }
        if found.is_empty() {
            quiet += 1;
            if quiet >= LOOKS {
                return all;
            }
            continue;
        }
        quiet = 0;
        let late = begun.elapsed() >= grace;
        if late {
            rounds += 1;
            if rounds > ROUNDS {
                return all;
            }
        }
        for (identity, name, mark) in found {
            let known = all.iter_mut().find(|swept| swept.identity == identity);
            let first = known.is_none();
            if (first || late) && signal(&identity, wanted, if late { Signal::KILL } else { Signal::TERM }) {
                match known {
                    Some(swept) => swept.killed |= late,
                    None => all.push(Swept { identity, name, mark, killed: late, survived: true }),
                }
            }
        }
        #[allow(clippy::disallowed_methods, reason = "on a thread for blocking work, for a bounded time")]
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The living processes of ours that carry a wanted mark.
fn find(pids: Vec<u32>, wanted: &dyn Fn(&Mark) -> bool, spared: &[u32]) -> Vec<(Identity, String, Mark)> {
    let mut found = Vec::new();
    for pid in pids.into_iter().filter(|pid| !spared.contains(pid) && is_ours(*pid)) {
        let marks = table::marks(pid);
        if let (true, Some(mark)) = (marks.iter().any(wanted), marks.last())
            && let (Some(identity), Some(entry)) = (Identity::of(pid), table::entry(pid))
        {
            found.push((identity, entry.name, mark.clone()));
        }
    }
    found
}

fn is_ours(pid: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let own = rustix::process::getuid().as_raw();
    std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|meta| meta.uid() == own)
}

/// Signals just this process; `false` when it is gone or another one by now.
#[cfg(target_os = "linux")]
fn signal(identity: &Identity, wanted: &dyn Fn(&Mark) -> bool, signal: Signal) -> bool {
    use rustix::process::{Pid, PidfdFlags, kill_process, pidfd_open, pidfd_send_signal};
    let Some(pid) = i32::try_from(identity.pid).ok().and_then(Pid::from_raw) else { return false };
    let descriptor = pidfd_open(pid, PidfdFlags::empty());
    // Read after the descriptor was opened: if it is the right one now, the descriptor holds the right one.
    if !identity.is_alive() || !table::marks(identity.pid).iter().any(wanted) {
        return false;
    }
    match descriptor {
        Ok(descriptor) => pidfd_send_signal(descriptor, signal).is_ok(),
        // Linux before 5.3: a window of microseconds remains.
        Err(rustix::io::Errno::NOSYS) => kill_process(pid, signal).is_ok(),
        Err(_) => false,
    }
}

#[cfg(not(target_os = "linux"))]
fn signal(_: &Identity, _: &dyn Fn(&Mark) -> bool, _: Signal) -> bool {
    false
}
