//! When an instance is ready: its check passes, and the process that was started is the one that listens.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::error::Result;
use crate::health::probe::build_beside;
use crate::health::{Check, State, Watcher};
use crate::process::{Command, Listener, Mark, owns_port};
use crate::time::{Chance, Clock};

/// How often it is looked up whose the listener is, until it is the instance's.
const STARTING: Duration = Duration::from_millis(100);
/// And from then on.
const SETTLED: Duration = Duration::from_secs(5);
/// After how long with somebody else's listener on its port an instance is given another port.
const STOLEN: Duration = Duration::from_secs(2);

/// A change of readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// It may get traffic.
    Ready,
    /// It may not, and why.
    NotReady(String),
    /// Another process has its port and keeps it.
    Stolen,
}

/// Watches one life of an instance.
#[derive(Debug)]
pub(super) struct Readiness {
    group: u32,
    mark: Option<Mark>,
    port: u16,
    watcher: Option<Watcher>,
    /// What the check says; without a check always true.
    passing: bool,
    listener: Listener,
    others_since: Option<Instant>,
    ready: bool,
    look: Option<JoinHandle<Listener>>,
    next_look: Instant,
}

impl Readiness {
    /// A watch over what `command` started: the process that leads `group` and is to listen on `port`.
    pub(super) fn new(
        check: Option<&Check>,
        group: u32,
        command: &Command,
        port: u16,
        clock: Arc<dyn Clock>,
    ) -> Result<Readiness> {
        let watcher = match check {
            None => None,
            Some(check) => {
                let probe =
                    build_beside(&check.probe.resolve(&Ipv4Addr::LOCALHOST.to_string(), port), check.timeout, command)?;
                // Chance only spreads the probes of instances; the port differs between those that run.
                Some(Watcher::new(check, probe, clock, Chance(u64::from(port))))
            }
        };
        Ok(Readiness {
            group,
            mark: command.mark.clone(),
            port,
            passing: watcher.is_none(),
            watcher,
            listener: Listener::Nobody,
            others_since: None,
            ready: false,
            look: None,
            next_look: Instant::now(),
        })
    }

    /// Why it is not ready, for people.
    pub(super) fn why(&self) -> String {
        match self.listener {
            Listener::Nobody => format!("nobody listens on its port {}", self.port),
            Listener::Other => format!("another process listens on its port {}", self.port),
            Listener::Ours | Listener::Unknown => {
                let last = self.watcher.as_ref().and_then(Watcher::last);
                last.map_or_else(|| "its check has not passed yet".to_owned(), |last| last.reason.clone())
            }
        }
    }

    /// Ends the probe under way: nobody is left to be probed.
    pub(super) fn end(&mut self) {
        self.watcher = None;
    }

    /// The next change. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Change {
        loop {
            tokio::select! {
                state = passes(&mut self.watcher) => {
                    match state {
                        State::Passing | State::Degraded => {
                            self.passing = true;
                            // Looked up anew: the listener that answered may be somebody else's.
                            self.next_look = Instant::now();
                        }
                        State::Starting | State::Failing => self.passing = false,
                        // The prober's trouble says nothing about the instance.
                        State::Unknown => {}
                    }
                    if !self.passing && self.ready {
                        self.ready = false;
                        return Change::NotReady(self.why());
                    }
                }
                listener = looked(&mut self.look, self.next_look, self.group, self.mark.as_ref(), self.port) => {
                    self.look = None;
                    self.listener = listener;
                    self.next_look = Instant::now() + if self.is_up() { SETTLED } else { STARTING };
                    if self.listener != Listener::Other {
                        self.others_since = None;
                    } else if self.others_since.get_or_insert_with(Instant::now).elapsed() > STOLEN {
                        self.ready = false;
                        return Change::Stolen;
                    }
                    if !self.is_up() && self.ready {
                        self.ready = false;
                        return Change::NotReady(self.why());
                    }
                }
            }
            if self.is_up() && !self.ready && self.next_look > Instant::now() {
                self.ready = true;
                return Change::Ready;
            }
        }
    }

    fn is_up(&self) -> bool {
        self.passing && matches!(self.listener, Listener::Ours | Listener::Unknown)
    }
}

async fn passes(watcher: &mut Option<Watcher>) -> State {
    match watcher {
        Some(watcher) => watcher.next().await.to,
        None => std::future::pending().await,
    }
}

/// The answer of the look under way, which is begun at its time.
async fn looked(
    look: &mut Option<JoinHandle<Listener>>,
    at: Instant,
    group: u32,
    mark: Option<&Mark>,
    port: u16,
) -> Listener {
    if look.is_none() {
        sleep_until(at).await;
    }
    let look = look.get_or_insert_with(|| {
        let mark = mark.cloned();
        tokio::task::spawn_blocking(move || owns_port(group, mark.as_ref(), port))
    });
    // Only a look that was cancelled with its runtime has no answer.
    look.await.unwrap_or(Listener::Nobody)
}
