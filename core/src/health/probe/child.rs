//! A child that leads a process group, all of which is ended with it.
//!
//! A group is signalled before its leader is reaped, never after: until then the kernel keeps the leader's id, and
//! with it the group's, from being given to somebody else. So an exit is first seen without reaping.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::process::{Child, Command};

/// A running group; dropping it kills the group.
#[derive(Debug)]
pub(super) struct Group {
    child: Child,
    /// The leader's id, until the leader is reaped or found to be reaped by somebody else.
    leader: Option<Pid>,
}

impl Group {
    /// Starts a command that is to lead a group of its own.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Group> {
        // Not `kill_on_drop`: that signals by the id even when somebody else has reaped it. Dropping this kills the
        // group, and dropping the child hands it to tokio, which reaps it.
        let child = command.spawn()?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Group { child, leader })
    }

    /// Waits until the leader has ended, ends what is left of its group, and gives the exit status. Error: the status
    /// was taken by somebody else in this process, who waits for every child.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(leader) = self.leader {
            ended(leader).await.inspect_err(|_| self.leader = None)?;
            self.kill();
        }
        let status = self.child.wait().await;
        self.leader = None;
        status
    }

    /// Kills every process of the group. Safe to repeat.
    pub(super) fn kill(&self) {
        if let Some(leader) = self.leader {
            // The leader is not reaped, so the group exists: the one error left is that none of it may be signalled
            // (it changed its user), and then nothing can be done here.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.leader.is_some_and(|leader| look(leader).is_ok()) {
            self.kill();
        }
    }
}

/// Whether the child has ended; it is not reaped. Error: it is not ours to wait for any more.
fn look(child: Pid) -> Result<bool, Errno> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    waitid(WaitId::Pid(child), options).map(|status| status.is_some())
}

/// Completes when the child has ended. It looks again and again: tokio's own `wait` would reap, and a descriptor of
/// the process (Linux only) can't be waited for without unsafe code.
async fn ended(child: Pid) -> io::Result<()> {
    let mut pause = Duration::from_millis(1);
    while !look(child)? {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(())
}
