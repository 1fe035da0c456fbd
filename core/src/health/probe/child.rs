//! A child that leads a process group, all of which is ended with it.
//!
//! A group is signalled before its leader is reaped, never after: until then the kernel keeps the leader's id, and
//! with it the group's, from being given to somebody else. So an exit is first seen without reaping.

use std::io;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::process::{Exit, Watch, peek, reap, reap_killed};

/// A running group; dropping it kills the group.
#[derive(Debug)]
pub(super) struct Group {
    /// The leader's id.
    leader: Pid,
    watch: Watch,
    /// How the leader ended, once it is reaped or found to be reaped by somebody else.
    exit: Option<Exit>,
}

impl Group {
    /// Starts a command that is to lead a group of its own; inside a runtime.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Group> {
        let child = command.spawn()?;
        let leader = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let leader = leader.ok_or_else(|| io::Error::other("a process has an impossible number"))?;
        Ok(Group { leader, watch: Watch::new(leader), exit: None })
    }

    /// Waits until the leader has ended, ends what is left of its group, and says how the leader ended.
    pub(super) async fn wait(&mut self) -> Exit {
        if let Some(exit) = self.exit {
            return exit;
        }
        let exit = self.watch.ended().await;
        if exit != Exit::Lost {
            self.kill();
            reap(self.leader);
        }
        self.exit = Some(exit);
        exit
    }

    /// Kills every process of the group. Safe to repeat.
    pub(super) fn kill(&self) {
        if self.exit.is_none() && peek(self.leader) != Some(Exit::Lost) {
            // The leader is not reaped, so the group exists: the one error left is that none of it may be signalled
            // (it changed its user), and then nothing can be done here.
            let _ = kill_process_group(self.leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.exit.is_none() {
            self.kill();
            reap_killed(self.leader);
        }
    }
}
