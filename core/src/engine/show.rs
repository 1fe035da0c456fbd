//! A run as it is shown on the program's standard error.

use std::io::{IsTerminal, stderr};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::termios::tcgetwinsize;
use tokio::time::{Instant, timeout, timeout_at};

use crate::engine::writer::Writer;
use crate::engine::{Events, Outcome, Run};
use crate::error::Result;
use crate::report::{Style, View};
use crate::time::Clock;

/// How often a terminal is drawn at most.
const FRAME: Duration = Duration::from_millis(100);
/// How many events are taken at once.
const BATCH: usize = 256;
/// How long the end waits for who reads while nothing is read.
const PATIENCE: Duration = Duration::from_secs(5);

impl Run {
    /// Shows the run on standard error until it has ended or stopped to ask, and gives the outcome as [`Run::outcome`]
    /// does. It shows from this call on; dropping the future ends that, and nothing else.
    ///
    /// On a terminal, lines stay for what happened, and below them stand each running step with its time and last line,
    /// and a rollout's traffic, errors and evidence. What this program prints meanwhile may be drawn over. With
    /// `NO_COLOR` there is no colour. In GitHub Actions and GitLab CI (`GITHUB_ACTIONS` or `GITLAB_CI` is `true`) what
    /// each step wrote is a group that can be folded, and failures are annotations. Elsewhere, and with `TERM=dumb`, it
    /// is lines as [`Run::lines`] gives them.
    ///
    /// The run never waits for who reads. If nobody reads any more, nothing more is shown; if 5 s pass after the end
    /// without anything being read, the rest is left out. No signal is listened to, and the terminal is left as it was
    /// whenever the program dies.
    ///
    /// # Errors
    /// As [`Run::outcome`]. That it can't be shown is no error.
    pub fn show(&self) -> impl Future<Output = Result<Outcome>> + Send + use<> {
        // Here and not later: who calls may guard its environment against changes meanwhile.
        let style = style(&stderr());
        let drawing = Drawing::start(style, self.clock());
        let (run, events) = (self.clone(), self.events());
        // Of its own, since it takes a clock that runs, which whoever awaits it may not have.
        // With the engine closed nothing happens any more.
        let shown = self.runtime().map(|runtime| {
            Ends(runtime.spawn(async move {
                if let Ok(drawing) = drawing {
                    let progress = drawing.out.progress();
                    let mut drawing = pin!(drawing.draw(events));
                    tokio::select! {
                        () = &mut drawing => {}
                        _ = run.outcome() => {
                            let mut before = progress();
                            while timeout(PATIENCE, &mut drawing).await.is_err() && before != progress() {
                                before = progress();
                            }
                        }
                    }
                }
            }))
        });
        let run = self.clone();
        async move {
            if let Ok(mut shown) = shown {
                // It ends early with its runtime, of which the outcome tells.
                let _ = (&mut shown.0).await;
            }
            run.outcome().await
        }
    }
}

/// What suits the terminal, file or pipe.
pub(crate) fn style(to: &impl IsTerminal) -> Style {
    let env = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    Style::of(to.is_terminal(), env)
}

/// A terminal's width and height as of now: it is asked each time, since to be told of changes is a signal.
pub(crate) fn size(of: impl AsFd) -> (usize, usize) {
    let size = tcgetwinsize(of).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
}

/// A task that ends with whoever awaits it.
struct Ends(tokio::task::JoinHandle<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is drawn, and where to.
struct Drawing {
    view: View,
    out: Writer,
    clock: Arc<dyn Clock>,
}

impl Drop for Drawing {
    /// Nothing of what goes on is left standing.
    fn drop(&mut self) {
        drop(self.out.begin(self.view.draw_lines(size(stderr()))));
    }
}

impl Drawing {
    fn start(style: Style, clock: Arc<dyn Clock>) -> Result<Drawing> {
        Ok(Drawing { view: View::new(style), out: Writer::start(stderr())?, clock })
    }

    /// Until the run has ended or stopped to ask, or nobody reads any more.
    async fn draw(mut self, mut events: Events) {
        loop {
            let ended = if self.view.is_live() {
                self.gather(&mut events).await
            } else {
                let batch = events.next_batch(BATCH).await;
                batch.iter().for_each(|event| self.view.take(event));
                batch.is_empty()
            };
            let size = size(stderr());
            let text = if ended { self.view.draw_lines(size) } else { self.view.draw(self.clock.now(), size) };
            if !self.out.write(text).await || ended {
                return;
            }
        }
    }

    /// Takes what comes until the next frame is due; whether it was the last.
    async fn gather(&mut self, events: &mut Events) -> bool {
        let due = Instant::now() + FRAME;
        while let Ok(batch) = timeout_at(due, events.next_batch(BATCH)).await {
            if batch.is_empty() {
                return true;
            }
            batch.iter().for_each(|event| self.view.take(event));
        }
        false
    }
}
