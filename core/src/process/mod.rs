//! Processes of the operating system: started in a group of their own, read line by line, stopped with all that they
//! started, and found again after a crash.
//!
//! Shared by command steps, command probes and the supervisor. Linux is complete; elsewhere (macOS) processes that
//! left their group can't be found by their mark, and ports can't be traced to a process.

mod command;
mod exit;
mod explain;
mod identity;
mod mark;
mod output;
mod port;
mod reap;
mod running;
mod signals;
mod sweep;
mod table;

#[cfg(test)]
mod tests;

pub use command::Command;
pub use exit::Exit;
pub use identity::Identity;
pub use mark::Mark;
pub use output::{Line, Stream};
pub(crate) use port::listener_on;
pub use port::{Listener, owns_port};
pub(crate) use reap::{Watch, peek, reap, reap_killed};
pub use running::{Ended, Event, Running};
pub(crate) use signals::Signals;
pub use sweep::{Swept, sweep};
