//! A run in the log of a CI service: what a step wrote is a group that can be folded, in one piece once it has ended, as
//! groups don't nest and steps run side by side.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::error::counted;
use crate::report::Narrator;
use crate::report::terminal::{plain, plain_lines};
use crate::time::Time;

/// How many bytes of one attempt's output are kept at most: its last ones.
pub(crate) const MOST_OF_ONE: u64 = 1 << 20;
/// And of all that run at the same time.
const MOST: u64 = 16 << 20;

/// Whose log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    /// GitHub Actions: workflow commands
    /// (<https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>).
    GitHub,
    /// GitLab CI: sections (<https://docs.gitlab.com/ci/jobs/job_logs/#create-custom-collapsible-sections>).
    GitLab,
}

/// Makes the log.
#[derive(Debug)]
pub(super) struct Fold {
    host: Host,
    narrator: Narrator,
    kept: BTreeMap<String, Kept>,
    bytes: u64,
}

/// What a running attempt wrote.
#[derive(Debug, Default)]
struct Kept {
    began: Time,
    lines: VecDeque<String>,
    bytes: u64,
    left_out: u64,
}

impl Fold {
    pub(super) fn new(host: Host) -> Fold {
        Fold { host, narrator: Narrator::new(), kept: BTreeMap::new(), bytes: 0 }
    }

    #[cfg(feature = "cli")]
    pub(super) fn narrator(&self) -> &Narrator {
        &self.narrator
    }

    /// The lines for an event, to be written as they are.
    pub(super) fn lines(&mut self, text: &str, event: &Value) -> Vec<String> {
        let field = |name: &str| event[name].as_str().unwrap_or_default();
        let (kind, step) = (field("kind"), field("step"));
        if kind == "output" {
            self.wrote(step, field("line"));
            return Vec::new();
        }
        let told = self.narrator.lines(text);
        let at = field("at").parse::<Time>().unwrap_or_default();
        match kind {
            "step_started" => self.kept.entry(step.to_owned()).or_default().began = at,
            // Those of a rollout come by the hundred.
            "rollout" if event["event"]["kind"] == "window_judged" => {
                told.iter().for_each(|line| self.wrote(step, line));
                return Vec::new();
            }
            "step_finished" | "step_retrying" | "step_cut_off" => {
                let kept = self.kept.remove(step).unwrap_or_default();
                self.bytes -= kept.bytes;
                return self.group(step, &told.join("\n"), kept, at, event);
            }
            _ => {}
        }
        self.quoted(told.iter().flat_map(|line| plain_lines(line)).collect())
    }

    /// A line that a running step wrote.
    pub(super) fn wrote(&mut self, step: &str, line: &str) {
        let line = plain(line);
        let kept = self.kept.entry(step.to_owned()).or_default();
        let bytes = line.len() as u64 + 1;
        kept.lines.push_back(line);
        kept.bytes += bytes;
        self.bytes += bytes;
        while kept.bytes > MOST_OF_ONE || (self.bytes > MOST && kept.lines.len() > 1) {
            let Some(line) = kept.lines.pop_front() else { break };
            let bytes = line.len() as u64 + 1;
            kept.bytes -= bytes;
            self.bytes -= bytes;
            kept.left_out += 1;
        }
    }

    /// What an attempt wrote, below how it ended, which is in sight when it is folded.
    fn group(&self, step: &str, told: &str, kept: Kept, at: Time, event: &Value) -> Vec<String> {
        let error = &event["result"]["error"];
        let detail = error["detail"].as_str().map(plain_lines).unwrap_or_default();
        let failed = event["kind"] == "step_finished" && !error.is_null();
        let mut lines = Vec::new();
        if kept.left_out > 0 {
            let left_out = counted(kept.left_out, "earlier line is", "earlier lines are");
            lines.push(format!("... {left_out} in the step's log"));
        }
        lines.extend(kept.lines.into_iter().chain(detail));
        let told = plain_lines(told);
        let (head, rest) = told.split_first().map_or((step, [].as_slice()), |(head, rest)| (head, rest));
        let mut log = Vec::new();
        if lines.is_empty() {
            log = self.quoted(told.clone());
        } else {
            lines.splice(0..0, rest.iter().cloned());
            match self.host {
                Host::GitHub => {
                    log.push(format!("::group::{}", data(head)));
                    log.extend(self.quoted(lines));
                    log.push("::endgroup::".to_owned());
                }
                Host::GitLab => {
                    let name = section(step);
                    // What failed is for reading.
                    let folded = if failed { "" } else { "[collapsed=true]" };
                    let began = kept.began.0.div_euclid(1_000);
                    log.push(format!("\u{1b}[0Ksection_start:{began}:{name}{folded}\r\u{1b}[0K{head}"));
                    log.extend(lines);
                    log.push(format!("\u{1b}[0Ksection_end:{}:{name}\r\u{1b}[0K", at.0.div_euclid(1_000)));
                }
            }
        }
        if failed && self.host == Host::GitHub {
            let message = plain_lines(error["message"].as_str().unwrap_or_default()).join("\n");
            log.push(format!("::error title={}::{}", property(step), data(&message)));
        }
        log
    }

    /// Lines of others, of which none is obeyed as a command.
    fn quoted(&self, lines: Vec<String>) -> Vec<String> {
        if self.host == Host::GitLab || !lines.iter().any(|line| may_be_command(line)) {
            return lines;
        }
        // Commands are stopped until a word comes that is not among the lines.
        let within = lines.join("\n").to_ascii_lowercase();
        let mut number = 1_u64;
        while within.contains(&format!("tidegate-goes-on-{number}")) {
            number += 1;
        }
        let (stop, resume) =
            (format!("::stop-commands::tidegate-goes-on-{number}"), format!("::tidegate-goes-on-{number}::"));
        [stop].into_iter().chain(lines).chain([resume]).collect()
    }
}

/// Whether a runner of GitHub could take the line for a command: `::name::` at its begin, or `##[name]` anywhere
/// (`ActionCommand.cs` of actions/runner).
fn may_be_command(line: &str) -> bool {
    line.trim_start().starts_with("::") || line.contains("##[")
}

/// What follows a command of GitHub.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a command of GitHub.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A name as GitLab allows: letters, digits, `_`, `.` and `-`.
fn section(step: &str) -> String {
    step.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pipeline::PipelineSpec;

    struct Log {
        fold: Fold,
        lines: Vec<String>,
    }

    impl Log {
        fn of(host: Host, steps: &[&str]) -> Log {
            let command = json!({ "kind": "command", "argv": ["true"] });
            let steps: Vec<Value> = steps.iter().map(|name| json!({ "name": name, "action": command })).collect();
            let spec: PipelineSpec = serde_json::from_value(json!({ "name": "p", "steps": steps })).unwrap();
            let mut log = Log { fold: Fold::new(host), lines: Vec::new() };
            log.take(
                0,
                json!({
                    "kind": "run_started", "run": "r", "key": null, "definition": spec, "definition_hash": "",
                    "params": null, "params_hash": "", "seed": 1, "max_parallel": 99, "epoch": 1, "flags": []
                }),
            );
            for (token, step) in spec.steps.iter().enumerate() {
                let token = token + 1;
                log.take(1_000, json!({ "kind": "step_started", "step": step.name, "attempt": 1, "token": token }));
            }
            log.lines.clear();
            log
        }

        fn take(&mut self, at: i64, mut event: Value) {
            event["at"] = json!(Time(at).to_string());
            let text = event.to_string();
            self.lines.extend(self.fold.lines(&text, &event));
        }

        fn output(&mut self, step: &str, line: &str) {
            self.take(1_500, json!({ "kind": "output", "step": step, "attempt": 1, "stream": "stdout", "line": line }));
        }

        fn succeeds(&mut self, step: &str) {
            let result = json!({ "kind": "succeeded", "value": null });
            self.take(
                3_000,
                json!({ "kind": "step_finished", "step": step, "attempt": 1, "token": 1, "result": result }),
            );
        }

        fn fails(&mut self, step: &str, message: &str, detail: Value) {
            let error = json!({ "message": message, "cause": { "kind": "exit_code", "code": 1 }, "detail": detail });
            let result = json!({ "kind": "failed", "error": error });
            self.take(
                4_000,
                json!({ "kind": "step_finished", "step": step, "attempt": 1, "token": 1, "result": result }),
            );
        }
    }

    #[test]
    fn steps_side_by_side_are_groups_one_after_the_other() {
        let mut log = Log::of(Host::GitHub, &["a", "b"]);
        log.output("a", "one");
        log.output("b", "\u{1b}[31mtwo\u{1b}[0m\r");
        log.output("a", "three");
        assert_eq!(log.lines, Vec::<String>::new());
        log.succeeds("b");
        log.succeeds("a");
        let groups = [
            "::group::b: succeeded after 2.0 s",
            "two",
            "::endgroup::",
            "::group::a: succeeded after 2.0 s",
            "one",
            "three",
            "::endgroup::",
        ];
        assert_eq!(log.lines, groups);
        assert_eq!(log.fold.bytes, 0);
    }

    #[test]
    fn a_step_that_wrote_nothing_is_a_line() {
        let mut log = Log::of(Host::GitLab, &["a"]);
        log.succeeds("a");
        assert_eq!(log.lines, ["a: succeeded after 2.0 s"]);
    }

    #[test]
    fn a_failure_is_an_annotation_that_nothing_breaks_out_of() {
        let mut log = Log::of(Host::GitHub, &["a,b: 100%"]);
        log.fails("a,b: 100%", "50 % of\r\n::set-env::x", json!("Traceback\n  line 1"));
        assert_eq!(
            log.lines,
            [
                "::group::a,b: 100%25: failed after 3.0 s: 50 %25 of",
                "::stop-commands::tidegate-goes-on-1",
                "::set-env::x",
                "Traceback",
                "  line 1",
                "::tidegate-goes-on-1::",
                "::endgroup::",
                "::error title=a%2Cb%3A 100%25::50 %25 of%0A::set-env::x",
            ]
        );
    }

    #[test]
    fn what_a_step_wrote_is_no_command() {
        let mut log = Log::of(Host::GitHub, &["a"]);
        for line in ["  ::add-mask::x", "see ##[error]x", "::TIDEGATE-goes-on-1::", "::endgroup::"] {
            log.output("a", line);
        }
        log.succeeds("a");
        let (first, last) = (&log.lines[1], &log.lines[6]);
        assert_eq!((first.as_str(), last.as_str()), ("::stop-commands::tidegate-goes-on-2", "::tidegate-goes-on-2::"));
        assert_eq!(log.lines[2..6], ["  ::add-mask::x", "see ##[error]x", "::TIDEGATE-goes-on-1::", "::endgroup::"]);
        assert_eq!(log.lines[7..], ["::endgroup::"]);
    }

    #[test]
    fn gitlab_has_sections_with_the_times_of_the_step_and_shows_what_failed() {
        let mut log = Log::of(Host::GitLab, &["build it/ä", "b"]);
        log.output("build it/ä", "\u{1b}[0Ksection_end:1:x\r\u{1b}[0K::group::");
        log.output("b", "no such file");
        log.succeeds("build it/ä");
        log.fails("b", "exited with code 1", Value::Null);
        assert_eq!(
            log.lines,
            [
                "\u{1b}[0Ksection_start:1:build_it__[collapsed=true]\r\u{1b}[0Kbuild it/ä: succeeded after 2.0 s",
                "section_end:1:x::group::",
                "\u{1b}[0Ksection_end:3:build_it__\r\u{1b}[0K",
                "\u{1b}[0Ksection_start:1:b\r\u{1b}[0Kb: failed after 3.0 s: exited with code 1",
                "no such file",
                "\u{1b}[0Ksection_end:4:b\r\u{1b}[0K",
            ]
        );
    }

    #[test]
    fn only_so_much_is_kept_and_it_says_so() {
        let mut log = Log::of(Host::GitHub, &["a"]);
        for i in 0..2_000 {
            log.output("a", &format!("{i:01023}"));
        }
        assert_eq!(log.fold.bytes, MOST_OF_ONE);
        log.succeeds("a");
        assert_eq!(log.lines[1], "... 976 earlier lines are in the step's log");
        assert_eq!((log.lines.len(), log.lines[1_025].trim_start_matches('0')), (1_027, "1999"));
    }
}
