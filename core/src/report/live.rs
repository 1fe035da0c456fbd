//! A run on a terminal: lines that stay, and below them what goes on now.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::pipeline::{Phase, RunState};
use crate::report::Narrator;
use crate::report::terminal::without_sequences;
use crate::rollout::{RolloutState, doing, percent};
use crate::time::{Span, Time};

/// How wide a rollout's bar of evidence is at most.
const BAR: usize = 24;

/// What a run looks like while it goes on. It is fed the texts that [`Events`](crate::Events) gives, and asked for a
/// frame as often as one likes.
#[derive(Debug, Default)]
pub struct Live {
    narrator: Narrator,
    /// When the attempt that runs began, by step.
    began: BTreeMap<String, Time>,
    /// The last line that each running step wrote.
    wrote: BTreeMap<String, String>,
}

impl Live {
    /// Before the first event.
    pub fn new() -> Live {
        Live::default()
    }

    /// The lines for one event, which stay; see [`Narrator::lines`]. Neither output is among them nor a rollout's
    /// single windows: the frame has each step's last line and the windows' sum.
    pub fn lines(&mut self, event: &str) -> Vec<String> {
        let value = serde_json::from_str::<Value>(event).unwrap_or_default();
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        match text("kind") {
            "output" => {
                self.wrote(text("step"), text("line"));
                return Vec::new();
            }
            "step_started" => {
                self.wrote.remove(text("step"));
                self.began.insert(text("step").to_owned(), text("at").parse().unwrap_or_default());
            }
            _ => {}
        }
        let lines = self.narrator.lines(event);
        // A rollout's windows come by the hundred, and their sum is in the frame.
        if value["event"]["kind"] == "window_judged" { Vec::new() } else { lines }
    }

    /// What a running step wrote last.
    pub fn wrote(&mut self, step: &str, line: &str) {
        if !line.trim().is_empty() {
            self.wrote.insert(step.to_owned(), line.to_owned());
        }
    }

    /// The steps that run now, in the order of the definition.
    pub fn running(&self) -> Vec<&str> {
        let run = self.state().run();
        let steps = run.into_iter().flat_map(|run| run.steps());
        steps.filter(|(_, step)| matches!(step.phase(), Phase::Running)).map(|(name, _)| name).collect()
    }

    /// What goes on at `now`: at most `height` lines of at most `width` characters, without line feeds. Empty when
    /// nothing does.
    pub fn frame(&self, now: Time, width: usize, height: usize) -> Vec<String> {
        let Some(run) = self.state().run().filter(|run| run.outcome().is_none()) else { return Vec::new() };
        let running = self.running();
        let done = run.steps().filter(|(_, step)| is_over(step.phase())).count();
        let all = run.pipeline().graph().len();
        let mut blocks: Vec<Vec<String>> = Vec::new();
        let longest = running.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(24);
        for name in &running {
            let spent = self.began.get(*name).map(|began| elapsed(now.since(*began))).unwrap_or_default();
            let head = format!("{:<longest$}  {spent:>7}", plain(name));
            match run.rollout(name) {
                Some(rollout) => blocks.push(rollout_lines(&head, rollout, longest)),
                None => {
                    let wrote = self.wrote.get(*name).map(|line| format!("  {}", plain(line))).unwrap_or_default();
                    blocks.push(vec![format!("{head}{wrote}")]);
                }
            }
        }
        let mut lines = vec![format!("{done} of {all} done, {} running", running.len())];
        let mut left = blocks.len();
        for block in blocks {
            // Room for saying that there are more.
            let more = usize::from(left > 1);
            if lines.len() + block.len() + more > height {
                lines.push(format!("... and {left} more"));
                break;
            }
            lines.extend(block);
            left -= 1;
        }
        lines.truncate(height);
        lines.into_iter().map(|line| cut(&line, width)).collect()
    }

    fn state(&self) -> &RunState {
        self.narrator.state()
    }
}

fn rollout_lines(head: &str, rollout: &RolloutState, indent: usize) -> Vec<String> {
    let doing = rollout.step().map(doing).unwrap_or_default();
    let mut lines = vec![format!("{head}  {} at {}, {doing}", rollout.version(), percent(rollout.share()))];
    if let (Some(seen), Some(former)) = (rollout.explanation(), rollout.former()) {
        let pad = " ".repeat(indent + 11);
        let side = |name: &str, counts: &crate::analysis::SideCounts| {
            let rate = if counts.requests == 0 { 0.0 } else { counts.bad() as f64 / counts.requests as f64 * 100.0 };
            format!("{name} {} of {} bad ({rate:.2} %)", counts.bad(), counts.requests)
        };
        lines.push(format!("{pad}{}, {}", side(rollout.version(), &seen.canary), side(former, &seen.stable)));
        lines.push(format!(
            "{pad}evidence {:.1} of {:.0} {}",
            seen.evidence,
            seen.bound,
            bar(seen.evidence, seen.bound)
        ));
    }
    lines
}

/// How far the evidence is on its way from 1 to its bound, each tenfold as long as the next.
fn bar(evidence: f64, bound: f64) -> String {
    let part = libm::log(evidence.max(1.0)) / libm::log(bound.max(1.0 + f64::EPSILON));
    let full = (part.clamp(0.0, 1.0) * BAR as f64) as usize;
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full))
}

fn is_over(phase: &Phase) -> bool {
    !matches!(phase, Phase::Waiting | Phase::Running | Phase::BackingOff { .. } | Phase::Asking { .. })
}

fn elapsed(span: Span) -> String {
    if span < Span::seconds(60) {
        return format!("{}.{} s", span.0 / 1_000, span.0 % 1_000 / 100);
    }
    let (hours, minutes, seconds) = (span.0 / 3_600_000, span.0 / 60_000 % 60, span.0 / 1_000 % 60);
    if hours > 0 { format!("{hours}h{minutes:02}m") } else { format!("{minutes}m{seconds:02}s") }
}

/// Text of which a terminal obeys nothing, on one line.
fn plain(text: &str) -> String {
    without_sequences(text).replace('\t', "    ").chars().filter(|c| !c.is_control()).collect()
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).take(width).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live(steps: usize) -> Live {
        let command = json!({ "kind": "command", "argv": ["true"] });
        let steps_of = |i| json!({ "name": format!("step{i}"), "action": command });
        let spec = json!({ "name": "p", "steps": (0..steps).map(steps_of).collect::<Vec<_>>() });
        let mut live = Live::new();
        let event = |at: i64, fact: Value| {
            let mut event = fact;
            event["at"] = json!(Time(at).to_string());
            event.to_string()
        };
        let began = json!({
            "kind": "run_started", "run": "r", "key": "k", "definition": spec, "definition_hash": "", "params": null,
            "params_hash": "", "seed": 1, "max_parallel": 99, "epoch": 1, "flags": []
        });
        assert_eq!(live.lines(&event(0, began)), ["p (k): run r starts"]);
        for i in 0..steps {
            let fact = json!({ "kind": "step_started", "step": format!("step{i}"), "attempt": 1, "token": i + 1 });
            assert_eq!(live.lines(&event(1_000, fact)), [format!("step{i}: started")]);
        }
        live
    }

    #[test]
    fn a_step_has_its_time_and_its_last_line() {
        let mut live = live(2);
        live.wrote("step0", "\u{1b}[31mcompiling\u{1b}[0m\tfoo\r");
        live.wrote("step0", "   ");
        let lines = live.frame(Time(66_500), 80, 24);
        assert_eq!(lines, ["0 of 2 done, 2 running", "step0    1m05s  compiling    foo", "step1    1m05s"]);
    }

    #[test]
    fn it_fits_any_terminal() {
        let mut live = live(30);
        live.wrote("step3", &"x".repeat(500));
        for (width, height) in [(80, 24), (20, 5), (1, 1), (0, 0), (200, 100)] {
            let lines = live.frame(Time(2_000), width, height);
            assert!(
                lines.len() <= height && lines.iter().all(|line| line.chars().count() <= width),
                "{width} {height}"
            );
        }
        let lines = live.frame(Time(2_000), 80, 5);
        assert_eq!(lines.last().unwrap(), "... and 27 more");
    }

    #[test]
    fn the_bar_is_full_at_the_bound() {
        assert_eq!(bar(111.0, 111.0), format!("[{}]", "#".repeat(BAR)));
        assert_eq!(bar(0.2, 111.0), format!("[{}]", ".".repeat(BAR)));
        assert_eq!(bar(10.0, 100.0), format!("[{}{}]", "#".repeat(BAR / 2), ".".repeat(BAR / 2)));
    }
}
