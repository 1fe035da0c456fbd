//! A command that runs.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::error::{Error, Kind, Result};
use crate::time::Span;

use super::command::Command;
use super::exit::Exit;
use super::identity::Identity;
use super::mark::Mark;
use super::output::{Line, Output};
use super::reap::{self, Watch};
use super::sweep::sweep_since;
use super::table::{self, Since};

/// How long output is awaited after the leader's end while others hold its pipes.
const LINGER: Duration = Duration::from_millis(500);
/// After how many lines that come after the end the time for them is not extended any more: a pipe holds fewer.
const LATE_LINES: u32 = 1 << 20;
/// How often the group is looked at while it is ending.
const LOOK: Duration = Duration::from_millis(20);

/// What happened to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It wrote a line.
    Line(Line),
    /// The process that was started has ended. What it left behind is ended next; more lines may come.
    Exited(Exit),
}

/// How a command ended, after all that it started is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How the process that was started ended.
    pub exit: Exit,
    /// Whether that process still ran when it was asked to end, if it was: its exit may be the answer to that.
    pub interrupted: bool,
    /// Whether it had to be killed because it did not end within its grace.
    pub killed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The leader runs.
    Running,
    /// The leader has ended and is not reaped: its number, and so its group, is still ours.
    Leaderless,
    /// The leader is reaped; what left the group is found by its mark.
    Reaped,
    /// Nothing of it is left but, perhaps, open pipes.
    Draining,
    /// Nothing more happens.
    Done,
}

/// A command that runs: the process that was started (the leader), its group, and its output.
///
/// Nothing happens unless [`Running::next`] is awaited; lines that nobody asks for stay in the pipe and hold the
/// process back. Dropping it kills the group and reaps the leader; what left the group is found by its mark later.
#[derive(Debug)]
pub struct Running {
    leader: Pid,
    since: Since,
    identity: Option<Identity>,
    watch: Watch,
    output: Output,
    mark: Option<Mark>,
    grace: Duration,
    phase: Phase,
    exit: Option<Exit>,
    asked: bool,
    interrupted: bool,
    killed: bool,
    deadline: Option<Instant>,
    late_lines: u32,
}

impl Running {
    pub(super) fn adopt(
        mut child: std::process::Child,
        since: Instant,
        started: Option<table::Entry>,
        command: &Command,
    ) -> Result<Running> {
        let number = child.id();
        let leader = i32::try_from(number)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| Error::new(Kind::Internal, format!("a process has an impossible number: {number}")))?;
        let out = child.stdout.take().map(|pipe| Receiver::from_owned_fd(pipe.into())).transpose();
        let err = child.stderr.take().map(|pipe| Receiver::from_owned_fd(pipe.into())).transpose();
        let (out, err, trouble) = match (out, err) {
            (Ok(out), Ok(err)) => (out, err, None),
            (Err(error), _) | (_, Err(error)) => (None, None, Some(error)),
        };
        let running = Running {
            leader,
            since: Since::child(number, since.into_std()),
            // A process that has ended by now still has its start time.
            identity: Identity::of(number)
                .or_else(|| Some(Identity { pid: number, started: started?.started, boot: Identity::own()?.boot })),
            watch: Watch::new(leader),
            output: Output::new(out, err, command.line_limit),
            mark: command.mark.clone(),
            grace: command.grace.into(),
            phase: Phase::Running,
            exit: None,
            asked: false,
            interrupted: false,
            killed: false,
            deadline: None,
            late_lines: 0,
        };
        match trouble {
            None => Ok(running),
            // The guard ends what was started.
            Some(error) => Err(Error::new(Kind::Io, "can't read a command's output").because(error)),
        }
    }

    /// The leader's number, which is that of its group.
    pub fn pid(&self) -> u32 {
        self.leader.as_raw_nonzero().get().unsigned_abs()
    }

    /// The leader, as it can be known again; `None` when the system would not say.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// How the leader ended, once it has.
    pub fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Whether SIGKILL was needed.
    pub fn was_killed(&self) -> bool {
        self.killed
    }

    /// Asks it to end: SIGTERM to the group now, SIGKILL after `grace`. [`Running::next`] carries it out. Asking
    /// again can only make it sooner.
    pub fn terminate(&mut self, grace: Span) {
        if matches!(self.phase, Phase::Running | Phase::Leaderless) {
            let deadline = Instant::now() + Duration::from(grace).min(Duration::from_secs(86_400 * 365));
            let sooner = self.asked && self.deadline.is_some_and(|known| known < deadline);
            if !sooner {
                self.deadline = Some(deadline);
            }
            if !self.asked {
                self.asked = true;
                self.interrupted = self.exit.or_else(|| reap::peek(self.leader)).is_none();
                self.signal(Signal::TERM);
            }
        }
    }

    /// The next thing that happens; `None` once all of it is gone. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        self.advance(true).await
    }

    /// Hands every line to `lines`, which may hold the process back, until all of it is gone. When `stop` ends, the
    /// command is asked to end with that grace; lines go on. Receivers that are gone lose lines and stop nothing.
    pub async fn pipe(&mut self, lines: &tokio::sync::mpsc::Sender<Line>, stop: impl Future<Output = Span>) -> Ended {
        tokio::pin!(stop);
        let mut stopped = false;
        let mut waiting: Option<Line> = None;
        loop {
            let hold = waiting.is_some();
            let event = tokio::select! {
                grace = &mut stop, if !stopped => {
                    stopped = true;
                    self.terminate(grace);
                    continue;
                }
                permit = lines.reserve(), if hold => {
                    if let (Ok(permit), Some(line)) = (permit, waiting.take()) {
                        permit.send(line);
                    }
                    continue;
                }
                event = self.advance(!hold), if !hold || self.phase != Phase::Done => event,
            };
            match event {
                Some(Event::Line(line)) => waiting = Some(line),
                Some(Event::Exited(_)) => {}
                None if hold => {}
                None => return self.ended(),
            }
        }
    }

    /// Waits until all of it is gone, and throws its output away.
    pub async fn finish(&mut self) -> Ended {
        while self.next().await.is_some() {}
        self.ended()
    }

    /// Ends it: SIGTERM, `grace`, SIGKILL, to the whole group; then what carries its mark.
    pub async fn stop(&mut self, grace: Span) -> Ended {
        self.terminate(grace);
        self.finish().await
    }

    fn ended(&self) -> Ended {
        Ended { exit: self.exit.unwrap_or(Exit::Lost), interrupted: self.interrupted, killed: self.killed }
    }

    /// Goes on to the next event; without reading when the last line has not found its reader yet.
    async fn advance(&mut self, read: bool) -> Option<Event> {
        loop {
            if read && let Some(line) = self.output.buffered() {
                return Some(Event::Line(line));
            }
            let read = read && !self.output.ended();
            match self.phase {
                Phase::Running => {
                    tokio::select! {
                        biased;
                        exit = self.watch.ended() => {
                            self.exit = Some(exit);
                            self.phase = Phase::Leaderless;
                            if !self.asked {
                                self.deadline = Some(Instant::now() + LINGER);
                            }
                            return Some(Event::Exited(exit));
                        }
                        () = until(self.deadline) => {
                            self.killed = true;
                            self.deadline = None;
                            self.signal(Signal::KILL);
                        }
                        Some(line) = self.output.next(), if read => return Some(Event::Line(line)),
                    }
                }
                Phase::Leaderless => {
                    let late = self.deadline.is_none_or(|deadline| deadline <= Instant::now());
                    // Reaped by somebody else: the group's number may by now be a stranger's.
                    let lost = self.exit == Some(Exit::Lost);
                    // While the leader's number is held: most commands start nothing, and the table is long.
                    let alone = !lost && self.since.nothing();
                    let empty = lost || alone || self.group_is_empty();
                    if !empty && !late && (self.asked || !self.output.ended()) {
                        tokio::select! {
                            biased;
                            Some(line) = self.output.next(), if read => return Some(Event::Line(line)),
                            () = sleep(LOOK) => {}
                        }
                    } else if !empty && !self.asked {
                        self.terminate(Span::from(self.grace));
                    } else {
                        self.killed |= !empty;
                        self.signal(Signal::KILL);
                        reap::reap(self.leader);
                        self.phase = if alone { Phase::Draining } else { Phase::Reaped };
                    }
                }
                Phase::Reaped => {
                    if let Some(mark) = self.mark.clone() {
                        let grace = Span::from(self.grace);
                        let swept = sweep_since(self.since, move |found| *found == mark, grace).await;
                        self.killed |= swept.iter().any(|swept| swept.killed);
                    }
                    self.deadline = None;
                    self.phase = Phase::Draining;
                }
                Phase::Draining => {
                    if self.output.ended() {
                        self.phase = Phase::Done;
                        continue;
                    }
                    if !read {
                        // The reader is slow; what waits for it is not given up.
                        return std::future::pending().await;
                    }
                    let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + LINGER);
                    // At least one look at the pipes, however late it is.
                    let until = deadline.max(Instant::now() + LOOK);
                    match timeout_at(until, self.output.next()).await {
                        Ok(line) => {
                            self.late_lines += 1;
                            if self.late_lines <= LATE_LINES {
                                self.deadline = None;
                            }
                            if let Some(line) = line {
                                return Some(Event::Line(line));
                            }
                        }
                        Err(_) => self.output.close(),
                    }
                }
                Phase::Done => return None,
            }
        }
    }

    /// Whether no process of the group but the leader lives. Without a table of processes: when the leader is dead.
    fn group_is_empty(&self) -> bool {
        !cfg!(target_os = "linux") || !table::others_in_group(self.since)
    }

    /// Signals the group; only before the leader is reaped.
    fn signal(&self, signal: Signal) {
        if matches!(self.phase, Phase::Reaped | Phase::Draining | Phase::Done)
            || self.exit.or_else(|| reap::peek(self.leader)) == Some(Exit::Lost)
        {
            return;
        }
        // ESRCH and EPERM (a zombie's group on macOS) both mean that there is nobody to hear it.
        let _ = kill_process_group(self.leader, signal);
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.phase, Phase::Running | Phase::Leaderless) {
            self.signal(Signal::KILL);
            reap::reap_killed(self.leader);
        }
    }
}
