//! A run on a terminal: lines that stay, and below them what goes on now.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::analysis::SideCounts;
use crate::pipeline::{Phase, RunState};
use crate::report::Narrator;
use crate::report::figures::took;
use crate::report::terminal::plain;
use crate::rollout::{FULL, RolloutState, doing, percent};
use crate::time::Time;

/// How wide a rollout's bar of evidence is.
const BAR: usize = 24;
/// How wide the names of steps and versions are at most, and the times of steps.
const NAME: usize = 24;
const TIME: usize = 7;
/// On a terminal that is no wider, what belongs to a step does not stand below its name's end.
const NARROW: usize = 60;

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

    /// The steps that run now and their attempts' numbers, in the order of the definition.
    pub(super) fn running(&self) -> impl Iterator<Item = (&str, u32)> {
        let steps = self.state().run().into_iter().flat_map(|run| run.steps());
        steps.filter(|(_, step)| matches!(step.phase(), Phase::Running)).map(|(name, step)| (name, step.attempt()))
    }

    /// What goes on at `now`: at most `height` lines of at most `width` characters, without line feeds. Empty when
    /// nothing does.
    pub fn frame(&self, now: Time, width: usize, height: usize) -> Vec<String> {
        let Some(run) = self.state().run().filter(|run| run.outcome().is_none()) else { return Vec::new() };
        let (mut all, mut done, mut shown) = (0, 0, Vec::new());
        for (name, step) in run.steps() {
            all += 1;
            done += usize::from(step.phase().ended().is_some());
            if matches!(step.phase(), Phase::Running | Phase::BackingOff { .. }) {
                shown.push((name, step));
            }
        }
        let longest = shown.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(NAME);
        let narrow = width < NARROW;
        let indent = if narrow { 2 } else { longest + TIME + 4 };
        let mut lines = vec![format!("{done} of {all} done, {} running", self.running().count())];
        let mut left = shown.len();
        for (name, step) in shown {
            let name_of = cut(&plain(name), longest);
            let block = match step.phase() {
                Phase::BackingOff { until } => {
                    vec![format!("{name_of:<longest$}  {:>TIME$}  until it is tried again", took(until.since(now)))]
                }
                _ => {
                    let spent = self.began.get(name).map(|began| took(now.since(*began))).unwrap_or_default();
                    let head = format!("{name_of:<longest$}  {spent:>TIME$}");
                    match run.rollout(name) {
                        Some(rollout) => rollout_lines(&head, rollout, indent, narrow),
                        None => {
                            let wrote = self.wrote.get(name).map(|line| format!("  {}", plain(line)));
                            vec![format!("{head}{}", wrote.unwrap_or_default())]
                        }
                    }
                }
            };
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

/// A rollout: what it does, then of each version its share of the traffic, what it answered and how much of it badly,
/// and the evidence against its bound. Below the end of the step's name, or without columns where it is `narrow`.
fn rollout_lines(head: &str, rollout: &RolloutState, indent: usize, narrow: bool) -> Vec<String> {
    let (version, former) = (rollout.version(), rollout.former());
    let over = former.map(|former| format!(" over {former}")).unwrap_or_default();
    let doing = rollout.step().map(doing).unwrap_or_default();
    let mut lines = vec![format!("{head}  {version}{over}: {doing}")];
    let (pad, share) = (" ".repeat(indent), rollout.share());
    let longest = version.chars().count().max(former.map_or(0, |former| former.chars().count())).min(NAME);
    let seen = rollout.explanation();
    let mut side = |name: &str, share: u32, counts: Option<&SideCounts>| {
        let (name, share) = (cut(&plain(name), longest), percent(share));
        let counts = counts.map(|counts| {
            let (requests, bad, rate) = (counts.requests, counts.bad(), counts.rate().unwrap_or(0.0) * 100.0);
            match narrow {
                true => format!(", {bad} of {requests} bad ({rate:.2} %)"),
                false => format!("  {requests:>7} requests  {bad:>5} bad ({rate:.2} %)"),
            }
        });
        let counts = counts.unwrap_or_default();
        lines.push(match narrow {
            true => format!("{pad}{name} {share}{counts}"),
            false => format!("{pad}{name:<longest$}  {share:>6}{counts}"),
        });
    };
    side(version, share, seen.as_ref().map(|seen| &seen.canary));
    if let Some(former) = former {
        side(former, FULL.saturating_sub(share), seen.as_ref().map(|seen| &seen.stable));
    }
    if let Some(seen) = seen {
        let bar = if narrow { String::new() } else { format!(" {}", bar(seen.evidence, seen.bound)) };
        lines.push(format!("{pad}evidence {:.1} of {:.0}{bar}", seen.evidence, seen.bound));
    }
    lines
}

/// How far the evidence is on its way from 1 to its bound, each tenfold as long as the next.
fn bar(evidence: f64, bound: f64) -> String {
    let part = libm::log(evidence.max(1.0)) / libm::log(bound.max(1.0 + f64::EPSILON));
    let full = (part.clamp(0.0, 1.0) * BAR as f64) as usize;
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full))
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
        assert_eq!(lines, ["0 of 2 done, 2 running", "step0     1m5s  compiling    foo", "step1     1m5s"]);
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

    /// The events of a run that shipped v3, up to its fifth window.
    const ROLLOUT: &str = include_str!("rollout.jsonl");

    #[test]
    fn a_rollout_has_its_traffic_errors_and_evidence() {
        let mut live = Live::new();
        let mut last = Time(0);
        for event in ROLLOUT.lines() {
            let value: Value = serde_json::from_str(event).unwrap();
            last = value["at"].as_str().unwrap().parse().unwrap();
            live.lines(event);
        }
        let wide = [
            "3 of 4 done, 1 running",
            "ship    7.0 s  v3 over v2: analysing for 12s",
            "               v3    20 %      251 requests      9 bad (3.59 %)",
            "               v2    80 %      854 requests      0 bad (0.00 %)",
            "               evidence 72.4 of 111 [#####################...]",
        ];
        assert_eq!(live.frame(last, 99, 99), wide);
        let narrow = [
            "3 of 4 done, 1 running",
            "ship    7.0 s  v3 over v2: analysing for…",
            "  v3 20 %, 9 of 251 bad (3.59 %)",
            "  v2 80 %, 0 of 854 bad (0.00 %)",
            "  evidence 72.4 of 111",
        ];
        assert_eq!(live.frame(last, 41, 99), narrow);
    }

    #[test]
    fn the_bar_is_full_at_the_bound() {
        assert_eq!(bar(111.0, 111.0), format!("[{}]", "#".repeat(BAR)));
        assert_eq!(bar(0.2, 111.0), format!("[{}]", ".".repeat(BAR)));
        assert_eq!(bar(10.0, 100.0), format!("[{}{}]", "#".repeat(BAR / 2), ".".repeat(BAR / 2)));
    }
}
