//! One instance: a process that is started, watched, started again when it ends, and stopped when told.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::health::Check;
use crate::process::{Command, Event, Exit, Mark};
use crate::service::{Release, Trouble};
use crate::time::{Clock, Span};

use super::backoff::Backoff;
use super::launcher::VARIABLES;
use super::ports::Ports;
use super::readiness::{Change, Readiness};

/// How many of the last lines are kept.
const LINES: usize = 20;
/// The longest line that is kept, in characters.
const LINE: usize = 500;
/// After how long an instance that was never ready is reported as trouble. It goes on.
const SLOW: Duration = Duration::from_secs(10);

/// What an instance is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Run, and run again.
    Run,
    /// It is surplus: it serves what is under way, and its end is none to be mended.
    Leave,
    /// End within this grace.
    Stop(Span),
}

/// What an instance reports, by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// A process was started; `again` after the first.
    Started { again: bool },
    /// It may get traffic here.
    Ready(SocketAddr),
    /// It may get no traffic any more, perhaps for a reason that people should see.
    NotReady(Option<Trouble>),
    /// The process ended by itself, or could not be started.
    Ended(Trouble),
    /// Nothing more will come: it was told to end and has.
    Gone,
}

/// What an instance is.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    /// Its number within the service.
    pub(super) number: u64,
    /// Its place within its version, kept over restarts.
    pub(super) slot: u32,
    /// What it runs.
    pub(super) release: Release,
    /// When it is ready.
    pub(super) check: Option<Check>,
    /// How long what it leaves behind may take to end.
    pub(super) grace: Span,
    /// The service's name.
    pub(super) service: String,
    /// Its mark, which no other instance has.
    pub(super) mark: Mark,
    /// Where ports come from.
    pub(super) ports: Ports,
    /// Where time comes from.
    pub(super) clock: Arc<dyn Clock>,
}

impl Instance {
    /// Runs until told to stop and ended. Dropping the future kills the process and its group.
    pub(super) async fn run(self, mut orders: watch::Receiver<Order>, reports: mpsc::Sender<(u64, Report)>) {
        let mut backoff = Backoff::default();
        let mut again = false;
        loop {
            let (trouble, ready_for) = self.live(again, &mut orders, &reports).await;
            again = true;
            if *orders.borrow() != Order::Run || self.tell(&reports, Report::Ended(trouble)).await.is_err() {
                break;
            }
            let until = Instant::now() + Duration::from(backoff.after(ready_for));
            tokio::select! {
                () = sleep_until(until) => {}
                changed = orders.wait_for(|order| *order != Order::Run) => drop(changed),
            }
            if *orders.borrow() != Order::Run || orders.has_changed().is_err() {
                break;
            }
        }
        // The service is gone too if nobody hears it.
        let _ = self.tell(&reports, Report::Gone).await;
    }

    /// One life, from start to end: why it ended, and how long it was ready.
    async fn live(
        &self,
        again: bool,
        orders: &mut watch::Receiver<Order>,
        reports: &mpsc::Sender<(u64, Report)>,
    ) -> (Trouble, Span) {
        let without_lines = |what: String| (Trouble { what, last_lines: Vec::new() }, Span::ZERO);
        let port = match self.ports.take() {
            Ok(port) => port,
            Err(error) => return without_lines(error.to_string()),
        };
        let command = self.command(port.number());
        let began = Instant::now();
        let mut running = match command.spawn() {
            Ok(running) => running,
            Err(error) => return without_lines(error.to_string()),
        };
        let mark = self.mark.clone();
        let watched = Readiness::new(self.check.as_ref(), running.pid(), mark, port.number(), self.clock.clone());
        let mut readiness = match watched {
            Ok(readiness) => readiness,
            Err(error) => return without_lines(error.to_string()),
        };
        if self.tell(reports, Report::Started { again }).await.is_err() {
            return without_lines("the service is gone".to_owned());
        }
        let mut lines = VecDeque::new();
        let mut ended: Option<(Exit, Instant)> = None;
        let mut stolen = false;
        let (mut ready_since, mut was_ready) = (None::<Instant>, false);
        let mut slow = Some(began + SLOW);
        let mut order = *orders.borrow_and_update();
        if let Order::Stop(grace) = order {
            running.terminate(grace);
        }
        let mut heard = true;
        loop {
            let report = tokio::select! {
                biased;
                changed = orders.changed(), if heard => {
                    heard = changed.is_ok();
                    order = if heard { *orders.borrow_and_update() } else { Order::Stop(self.grace) };
                    if let Order::Stop(grace) = order {
                        running.terminate(grace);
                    }
                    None
                }
                event = running.next() => match event {
                    Some(Event::Line(line)) => {
                        if lines.len() == LINES {
                            lines.pop_front();
                        }
                        lines.push_back(line.text().chars().take(LINE).collect::<String>());
                        None
                    }
                    Some(Event::Exited(exit)) => {
                        ended = Some((exit, Instant::now()));
                        Some(Report::NotReady(None))
                    }
                    None => break,
                },
                change = readiness.next(), if ended.is_none() && !matches!(order, Order::Stop(_)) => match change {
                    Change::Ready => {
                        (ready_since, was_ready) = (Some(Instant::now()), true);
                        Some(Report::Ready(SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()))))
                    }
                    Change::NotReady(why) => {
                        ready_since = None;
                        Some(Report::NotReady(Some(trouble(format!("not ready any more: {why}"), &lines))))
                    }
                    Change::Stolen => {
                        stolen = true;
                        ready_since = None;
                        running.terminate(self.grace);
                        Some(Report::NotReady(Some(trouble(readiness.why(), &lines))))
                    }
                },
                () = until(slow), if ended.is_none() => {
                    slow = None;
                    (!was_ready).then(|| {
                        let what = format!("not ready {} after its start: {}", Span::from(SLOW), readiness.why());
                        Report::NotReady(Some(trouble(what, &lines)))
                    })
                }
            };
            if let Some(report) = report
                && self.tell(reports, report).await.is_err()
            {
                break;
            }
        }
        let (exit, at) = ended.unwrap_or((Exit::Lost, Instant::now()));
        let what = if stolen {
            readiness.why()
        } else {
            format!("{exit}, {:.1} s after its start", at.duration_since(began).as_secs_f64())
        };
        let ready_for = ready_since.map_or(Span::ZERO, |since| Span::from(at.saturating_duration_since(since)));
        (trouble(what, &lines), ready_for)
    }

    fn command(&self, port: u16) -> Command {
        let mut command = Command::new(self.release.command.iter().cloned());
        command.env = self.release.env.clone();
        command.dir = self.release.dir.as_ref().map(Into::into);
        command.grace = self.grace;
        command.unset.extend(VARIABLES.map(str::to_owned));
        command
            .env("PORT", port.to_string())
            .env("HOST", Ipv4Addr::LOCALHOST.to_string())
            .env("TIDEGATE_SERVICE", &self.service)
            .env("TIDEGATE_VERSION", &self.release.version)
            .env("TIDEGATE_SLOT", self.slot.to_string())
            .mark(self.mark.clone())
    }

    async fn tell(&self, reports: &mpsc::Sender<(u64, Report)>, report: Report) -> Result<(), ()> {
        reports.send((self.number, report)).await.map_err(drop)
    }
}

fn trouble(what: String, lines: &VecDeque<String>) -> Trouble {
    Trouble { what, last_lines: lines.iter().cloned().collect() }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
