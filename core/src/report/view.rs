//! A run as it is shown to whoever looks at a program: on a terminal, in the log of a CI service, or as plain lines.

use serde_json::Value;

use crate::report::fold::{Fold, Host};
use crate::report::screen::Screen;
use crate::report::terminal::{plain, plain_lines};
use crate::report::{Live, Narrator};
use crate::time::Time;

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Lines that stay, and below them what goes on now.
    Terminal {
        /// Whether colours may be used.
        colour: bool,
    },
    /// Lines with groups of what each step wrote.
    Folded(Host),
    /// Lines.
    Lines,
}

impl Style {
    /// What suits a place that is a terminal or is not, in an environment. A CI service counts more than its terminal.
    /// Colours: <https://no-color.org>.
    pub(crate) fn of(is_terminal: bool, env: impl Fn(&str) -> Option<String>) -> Style {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let is_true = |name: &str| env(name).as_deref() == Some("true");
        if is_true("GITHUB_ACTIONS") {
            Style::Folded(Host::GitHub)
        } else if is_true("GITLAB_CI") {
            Style::Folded(Host::GitLab)
        } else if is_terminal && env("TERM").is_some_and(|term| term != "dumb") {
            Style::Terminal { colour: env("NO_COLOR").is_none() }
        } else {
            Style::Lines
        }
    }
}

/// Makes what is to be written of the events that it is fed; see [`Live::lines`].
#[derive(Debug)]
pub(crate) struct View {
    kind: Kind,
    /// Lines that are not written yet.
    lines: Vec<String>,
}

#[derive(Debug)]
enum Kind {
    Terminal(Box<Live>, Screen),
    Folded(Box<Fold>),
    Lines(Box<Narrator>),
}

impl View {
    pub(crate) fn new(style: Style) -> View {
        let kind = match style {
            Style::Terminal { colour } => Kind::Terminal(Box::default(), Screen::new(colour)),
            Style::Folded(host) => Kind::Folded(Box::new(Fold::new(host))),
            Style::Lines => Kind::Lines(Box::default()),
        };
        View { kind, lines: Vec::new() }
    }

    /// Whether it changes with time alone.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.kind, Kind::Terminal(..))
    }

    /// Takes the next event.
    pub(crate) fn take(&mut self, text: &str) {
        match &mut self.kind {
            Kind::Terminal(live, screen) => {
                let told = live.lines(text);
                if told.is_empty() {
                    return;
                }
                let event = serde_json::from_str::<Value>(text).unwrap_or_default();
                for line in told {
                    let lines = plain_lines(&line);
                    self.lines.extend(lines.iter().take(1).map(|line| screen.coloured(line, &event)));
                    self.lines.extend(lines.into_iter().skip(1));
                }
                self.lines.extend(last_words(&event));
            }
            Kind::Folded(fold) => {
                let event = serde_json::from_str::<Value>(text).unwrap_or_default();
                self.lines.extend(fold.lines(text, &event));
            }
            Kind::Lines(narrator) => self.lines.extend(narrator.lines(text)),
        }
    }

    /// Of which step and attempt the output must be told with [`View::wrote`] before this event is taken, where output is
    /// not among the events.
    #[cfg(feature = "cli")]
    pub(crate) fn wants(&self, text: &str) -> Option<(String, u32)> {
        let Kind::Folded(fold) = &self.kind else { return None };
        let event = serde_json::from_str::<Value>(text).ok()?;
        let ends = matches!(event["kind"].as_str()?, "step_finished" | "step_retrying" | "step_cut_off");
        let step = event["step"].as_str().filter(|_| ends)?;
        Some((step.to_owned(), fold.narrator().state().run()?.step(step)?.attempt()))
    }

    /// The running steps of which the last line must be told with [`View::wrote`], where output is not among the events.
    #[cfg(feature = "cli")]
    pub(crate) fn running(&self) -> Vec<(String, u32)> {
        let Kind::Terminal(live, _) = &self.kind else { return Vec::new() };
        live.running().map(|(name, attempt)| (name.to_owned(), attempt)).collect()
    }

    /// What a running step wrote.
    #[cfg(feature = "cli")]
    pub(crate) fn wrote(&mut self, step: &str, line: &str) {
        match &mut self.kind {
            Kind::Terminal(live, _) => live.wrote(step, line),
            Kind::Folded(fold) => fold.wrote(step, line),
            Kind::Lines(_) => {}
        }
    }

    /// What is to be written now, on a terminal of this width and height.
    pub(crate) fn draw(&mut self, now: Time, (width, height): (usize, usize)) -> String {
        let lines = std::mem::take(&mut self.lines);
        match &mut self.kind {
            Kind::Terminal(live, screen) => {
                // One less each, so that nothing scrolls or breaks.
                let frame = live.frame(now, width.saturating_sub(1), height.saturating_sub(1));
                screen.draw(&lines, &frame, width)
            }
            _ => whole(&lines),
        }
    }

    /// The same without what goes on: it ends, or it is not known.
    pub(crate) fn draw_lines(&mut self, (width, _): (usize, usize)) -> String {
        let lines = std::mem::take(&mut self.lines);
        match &mut self.kind {
            Kind::Terminal(_, screen) => screen.draw(&lines, &[], width),
            _ => whole(&lines),
        }
    }
}

fn whole(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// What a step that failed wrote last: where its output is not shown, that is what one looks for.
fn last_words(event: &Value) -> Vec<String> {
    if event["kind"] != "step_finished" {
        return Vec::new();
    }
    let error = &event["result"]["error"];
    let wrote = error["last_lines"].as_array().into_iter().flatten().filter_map(Value::as_str).map(plain);
    let detail = error["detail"].as_str().map(plain_lines).unwrap_or_default();
    wrote.chain(detail).map(|line| format!("  | {line}").trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_place_and_the_environment_say_how() {
        let style = |is_terminal, env: &[(&str, &str)]| {
            let of = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            Style::of(is_terminal, of)
        };
        let (xterm, colour) = (("TERM", "xterm"), Style::Terminal { colour: true });
        assert_eq!(style(true, &[xterm]), colour);
        assert_eq!(style(true, &[xterm, ("NO_COLOR", "")]), colour);
        assert_eq!(style(true, &[xterm, ("NO_COLOR", "0")]), Style::Terminal { colour: false });
        assert_eq!(style(true, &[xterm, ("GITHUB_ACTIONS", "false")]), colour);
        assert_eq!(style(true, &[xterm, ("GITHUB_ACTIONS", "true")]), Style::Folded(Host::GitHub));
        assert_eq!(style(false, &[("GITLAB_CI", "true")]), Style::Folded(Host::GitLab));
        for (is_terminal, env) in [(false, vec![xterm]), (true, vec![]), (true, vec![("TERM", "dumb")])] {
            assert_eq!(style(is_terminal, &env), Style::Lines, "{env:?}");
        }
    }

    #[test]
    fn a_failure_stays_on_a_terminal_with_its_last_lines() {
        let mut view = View::new(Style::Terminal { colour: false });
        let error = json!({
            "message": "exited with\u{1b}[2J code 1\nand more", "cause": { "kind": "exit_code", "code": 1 },
            "last_lines": ["\u{1b}]0;title\u{7}no such file"], "detail": "Traceback\n  line 1"
        });
        let result = json!({ "kind": "failed", "error": error });
        let at = Time(0).to_string();
        let event =
            json!({ "kind": "step_finished", "step": "a", "attempt": 1, "token": 1, "result": result, "at": at });
        view.take(&event.to_string());
        let shown = "a: failed: exited with code 1\nand more\n  | ]0;titleno such file\n  | Traceback\n  |   line 1\n";
        assert_eq!(view.draw(Time(0), (80, 24)), shown);
        assert_eq!(view.draw_lines((80, 24)), "");
    }
}
