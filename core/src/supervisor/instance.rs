//! One instance: a process that is started, watched, started again when it ends, and stopped when told.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::error::{Result, panic_text};
use crate::health::Check;
use crate::process::{Command, Event, Exit, Mark, sweep};
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
/// How often it is told what an instance that is not ready waits for and wrote last, if that changed: a twentieth of
/// its age, within these bounds. Each time may become an event of a rollout.
const TELL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

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
    Started { again: bool, pid: u32 },
    /// It may get traffic here.
    Ready(SocketAddr),
    /// It runs and is not ready: why, and what it wrote last. May come again with other words.
    Waiting(Trouble),
    /// It may get no traffic any more, perhaps for a reason that people should see.
    NotReady(Option<Trouble>),
    /// The process ended by itself.
    Ended(Trouble),
    /// No process could be started; `again` after the first try.
    NotStarted { again: bool, trouble: Trouble },
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
            let mut started = false;
            let life = AssertUnwindSafe(self.live(again, &mut started, &mut orders, &reports)).catch_unwind().await;
            let (trouble, ready_for) = match life {
                Ok(Ok(ended)) => ended,
                Ok(Err(error)) => (without_lines(format!("could not be started: {}", error.sentence())), Span::ZERO),
                Err(panic) => {
                    let what = format!("was ended, since its supervision panicked: {}", panic_text(panic.as_ref()));
                    self.clean_up(&reports).await;
                    (without_lines(what), Span::ZERO)
                }
            };
            let report = if started { Report::Ended(trouble) } else { Report::NotStarted { again, trouble } };
            again = true;
            if *orders.borrow() != Order::Run || self.tell(&reports, report).await.is_err() {
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

    /// Ends what is left of a life that panicked, whose group was killed when it was dropped.
    async fn clean_up(&self, reports: &mpsc::Sender<(u64, Report)>) {
        // Heard as well by the next report, if there is somebody to hear it.
        let _ = self.tell(reports, Report::NotReady(None)).await;
        let mark = self.mark.clone();
        sweep(move |found| *found == mark, self.grace).await;
    }

    /// One life, from start to end: why it ended, and how long it was ready.
    ///
    /// # Errors
    /// Nothing could be started.
    async fn live(
        &self,
        again: bool,
        started: &mut bool,
        orders: &mut watch::Receiver<Order>,
        reports: &mpsc::Sender<(u64, Report)>,
    ) -> Result<(Trouble, Span)> {
        let port = self.ports.take()?;
        let command = self.command(port.number());
        let began = Instant::now();
        let mut running = command.spawn()?;
        let mut readiness =
            Readiness::new(self.check.as_ref(), running.pid(), &command, port.number(), self.clock.clone())?;
        *started = true;
        if self.tell(reports, Report::Started { again, pid: running.pid() }).await.is_err() {
            return Ok((without_lines("the service is gone".to_owned()), Span::ZERO));
        }
        let mut lines = VecDeque::new();
        let mut ended: Option<(Exit, Instant)> = None;
        let mut stolen = None;
        let (mut ready_since, mut was_ready) = (None::<Instant>, false);
        let mut look = began + TELL.0;
        let mut told = None;
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
                () = sleep_until(look), if ended.is_none() && stolen.is_none() && ready_since.is_none() && order == Order::Run => {
                    look = Instant::now() + (began.elapsed() / 20).clamp(TELL.0, TELL.1);
                    let when = if was_ready { "any more" } else { "yet" };
                    let now = Some(trouble(format!("is not ready {when}: {}", readiness.why()), &lines));
                    let news = now.clone().filter(|_| now != told);
                    told = now;
                    news.map(Report::Waiting)
                }
                change = readiness.next(), if ended.is_none() && stolen.is_none() && !matches!(order, Order::Stop(_)) => match change {
                    Change::Ready => {
                        (ready_since, was_ready, told) = (Some(Instant::now()), true, None);
                        Some(Report::Ready(SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()))))
                    }
                    Change::NotReady(why) => {
                        ready_since = None;
                        Some(Report::NotReady(Some(trouble(format!("is not ready any more: {why}"), &lines))))
                    }
                    Change::Stolen => {
                        let why = stolen.insert(readiness.why());
                        ready_since = None;
                        running.terminate(self.grace);
                        Some(Report::NotReady(Some(trouble(why.clone(), &lines))))
                    }
                },
                // The last, since one that writes without end always has something here.
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
                        // It carries the mark, too, by which what is left is looked for next.
                        readiness.end();
                        Some(Report::NotReady(None))
                    }
                    None => break,
                },
            };
            if let Some(report) = report
                && self.tell(reports, report).await.is_err()
            {
                break;
            }
        }
        let (exit, at) = ended.unwrap_or((Exit::Lost, Instant::now()));
        let what = stolen
            .unwrap_or_else(|| format!("{exit}, {:.1} s after its start", at.duration_since(began).as_secs_f64()));
        let ready_for = ready_since.map_or(Span::ZERO, |since| Span::from(at.saturating_duration_since(since)));
        Ok((trouble(what, &lines), ready_for))
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

    async fn tell(&self, reports: &mpsc::Sender<(u64, Report)>, report: Report) -> std::result::Result<(), ()> {
        reports.send((self.number, report)).await.map_err(drop)
    }
}

fn without_lines(what: String) -> Trouble {
    Trouble { what, last_lines: Vec::new() }
}

fn trouble(what: String, lines: &VecDeque<String>) -> Trouble {
    Trouble { what, last_lines: lines.iter().cloned().collect() }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::health::{CheckSpec, ProbeSpec};
    use crate::process::Identity;
    use crate::time::{SystemClock, Time};

    /// Stands for any fault of ours: panics once, when the file has so many lines.
    #[derive(Debug)]
    struct Faulty {
        clock: SystemClock,
        file: PathBuf,
        lines: usize,
        done: AtomicBool,
    }

    impl Clock for Faulty {
        fn now(&self) -> Time {
            let due = pids(&self.file).len() >= self.lines;
            assert!(!due || self.done.swap(true, Ordering::Relaxed), "a fault of ours");
            self.clock.now()
        }
    }

    fn pids(file: &Path) -> Vec<u32> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// The panic comes when so many processes run.
    async fn outlives_a_panic(lines: usize) {
        let file = std::env::temp_dir().join(format!("tidegate-instance-{}-{lines}", std::process::id()));
        let runs = lines > 0;
        // One process in the group and one that left it, both deaf to SIGTERM.
        let script = format!(
            "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ >> {0}; sleep 600' & echo $$ >> {0}; sleep 600",
            file.display()
        );
        let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let check = CheckSpec::new(ProbeSpec::tcp("{host}:{port}")).validate().unwrap();
        let instance = Instance {
            number: 7,
            slot: 0,
            release: Release { version: "v1".to_owned(), command, env: Default::default(), dir: None },
            check: Some(check),
            grace: Span::millis(100),
            service: "shop".to_owned(),
            mark: Mark::new(["test", &file.display().to_string()]),
            ports: Ports::default(),
            clock: Arc::new(Faulty {
                clock: SystemClock::new(Time::default()),
                file: file.clone(),
                lines,
                done: AtomicBool::new(false),
            }),
        };
        let (orders, ordered) = watch::channel(Order::Run);
        let (reports, mut reported) = mpsc::channel(64);
        let task = tokio::spawn(instance.run(ordered, reports));
        let mut heard = Vec::new();
        while !matches!(heard.last(), Some(Report::Started { again: true, .. })) {
            heard.push(reported.recv().await.unwrap().1);
        }
        let trouble = heard.iter().find_map(|report| match report {
            Report::Ended(trouble) if runs => Some(&trouble.what),
            Report::NotStarted { trouble, .. } if !runs => Some(&trouble.what),
            _ => None,
        });
        assert!(trouble.is_some_and(|what| what.ends_with("panicked: a fault of ours")), "{heard:?}");
        assert!(heard.contains(&Report::NotReady(None)), "{heard:?}");

        // What came before is gone by the time that it is started again; what runs now ends when it is told.
        let now = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                let alive: Vec<u32> = pids(&file).into_iter().filter(|pid| Identity::of(*pid).is_some()).collect();
                if alive.len() >= 2 {
                    break alive;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert_eq!(now.await.unwrap().len(), 2, "only those that were started again");
        orders.send_replace(Order::Stop(Span::millis(100)));
        while reported.recv().await.is_some() {}
        task.await.unwrap();
        assert!(pids(&file).into_iter().all(|pid| Identity::of(pid).is_none()), "none is left");
        std::fs::remove_file(file).unwrap();
    }

    #[tokio::test]
    async fn a_panic_before_it_runs_ends_it_and_it_is_started_again() {
        outlives_a_panic(0).await;
    }

    #[tokio::test]
    async fn a_panic_while_it_runs_ends_it_and_it_is_started_again() {
        outlives_a_panic(2).await;
    }
}
