//! A run as it happens: line by line, and on a terminal with what goes on now below.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use rustix::termios::tcgetwinsize;

use crate::engine::{Follow, Status, log_end, log_file};
use crate::error::Result;
use crate::journal::{Reader, RunEntry};
use crate::report::{Live, Narrator};
use crate::time::{Clock, SystemClock, Time};

use super::find;
use super::output::Output;

const LOOK: Duration = Duration::from_millis(200);
/// How many events are told at once.
const BATCH: usize = 256;
/// How far back the last line of a log is looked for, in bytes.
const LINE: u64 = 4 << 10;

/// Tells a run until it ends or stops to ask; returns the exit code that says which.
pub(super) async fn watch(reader: &mut Reader, journal: &Path, run: &RunEntry, output: &mut Output<'_>) -> Result<u8> {
    let mut follow = reader.follow(run.stream.name(), 0)?;
    if !output.json && std::io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb") {
        on_terminal(reader, &find::full(journal)?, &mut follow, output).await?;
    } else {
        as_lines(reader, &mut follow, output).await?;
    }
    Ok(match follow.outcome().map(|outcome| outcome.status) {
        Some(Status::Succeeded) | None => 0,
        Some(Status::Failed) => 3,
        Some(Status::Cancelled) => 4,
        Some(Status::Asking) => 5,
    })
}

async fn as_lines(reader: &mut Reader, follow: &mut Follow, output: &mut Output<'_>) -> Result<()> {
    let mut narrator = Narrator::new();
    loop {
        match follow.look(reader, BATCH)? {
            None => {
                output.flush()?;
                tokio::time::sleep(LOOK).await;
            }
            Some(events) if events.is_empty() => return Ok(()),
            Some(events) => {
                for event in &events {
                    if output.json {
                        output.line(event)?;
                    } else {
                        narrator.lines(event).iter().try_for_each(|line| output.line(line))?;
                    }
                }
            }
        }
    }
}

async fn on_terminal(reader: &mut Reader, journal: &Path, follow: &mut Follow, output: &mut Output<'_>) -> Result<()> {
    let clock = SystemClock::new(Time::default());
    let (mut live, mut screen) = (Live::new(), Screen::new());
    loop {
        let news = follow.look(reader, BATCH)?;
        let ended = news.as_ref().is_some_and(|events| events.is_empty());
        let lines: Vec<String> = news.iter().flatten().flat_map(|event| live.lines(event)).collect();
        // While there is more to be told at once, what goes on now is not known.
        let frame = if ended || news.is_some() {
            Vec::new()
        } else {
            last_lines(journal, follow, &mut live)?;
            let (width, height) = size();
            live.frame(clock.now(), width, height)
        };
        screen.draw(&lines, &frame, output)?;
        if ended {
            return Ok(());
        }
        if news.is_none() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Looks for what each running step wrote last.
fn last_lines(journal: &Path, follow: &Follow, live: &mut Live) -> Result<()> {
    let Some(run) = follow.state().run() else { return Ok(()) };
    let running: Vec<String> = live.running().into_iter().map(str::to_owned).collect();
    for name in running {
        let attempt = run.step(&name).map_or(1, |step| step.attempt());
        if let Some((text, _)) = log_end(&log_file(journal, run.id(), &name, attempt), LINE)?
            && let Some(line) = text.lines().rfind(|line| !line.trim().is_empty())
        {
            live.wrote(&name, line);
        }
    }
    Ok(())
}

/// The terminal's width and height for a frame: one less each, so that nothing scrolls or breaks.
fn size() -> (usize, usize) {
    let size = tcgetwinsize(std::io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or((79, 23), |size| (usize::from(size.ws_col) - 1, usize::from(size.ws_row) - 1))
}

/// What stands below the lines that stay, to be drawn over.
struct Screen {
    /// How many characters each of its lines has.
    drawn: Vec<usize>,
    bold: bool,
}

impl Screen {
    fn new() -> Screen {
        // <https://no-color.org>
        let bold = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen { drawn: Vec::new(), bold }
    }

    /// In one piece, with the sequences of ECMA-48: up over the last frame, erase to the end, and, as terminals break
    /// lines that are wider than they became, without that (DECAWM).
    fn draw(&mut self, lines: &[String], frame: &[String], output: &mut Output<'_>) -> Result<()> {
        if lines.is_empty() && frame.is_empty() && self.drawn.is_empty() {
            return Ok(());
        }
        let width = size().0 + 1;
        let up: usize = self.drawn.iter().map(|length| length.div_ceil(width).max(1)).sum();
        let mut text = String::new();
        if up > 0 {
            text.push_str(&format!("\r\u{1b}[{up}A\u{1b}[J"));
        }
        for line in lines {
            text.push_str(&format!("{line}\n"));
        }
        if !frame.is_empty() {
            text.push_str("\u{1b}[?7l");
            for (i, line) in frame.iter().enumerate() {
                let bold = self.bold && i == 0;
                text.push_str(&if bold { format!("\u{1b}[1m{line}\u{1b}[0m\n") } else { format!("{line}\n") });
            }
            text.push_str("\u{1b}[?7h");
        }
        self.drawn = frame.iter().map(|line| line.chars().count()).collect();
        output.bytes(text.as_bytes())?;
        output.flush()
    }
}
