//! What is written to a terminal so that lines stay, and what goes on now stands below them.

use serde_json::Value;

/// Shown in green, in red, and in yellow.
const GOOD: [&str; 2] = ["succeeded", "promoted"];
const BAD: [&str; 3] = ["failed", "rolled back", "stuck"];
const AMID: [&str; 4] = ["cancelled", "asks", "aborted", "reverted"];

/// What stands below the lines that stay, to be drawn over. The cursor stays below it and visible, so that a program that
/// dies leaves a terminal in order.
#[derive(Debug)]
pub(super) struct Screen {
    /// How many characters each of its lines has.
    drawn: Vec<usize>,
    colour: bool,
}

impl Screen {
    pub(super) fn new(colour: bool) -> Screen {
        Screen { drawn: Vec::new(), colour }
    }

    /// What to write, in one piece, with the sequences of ECMA-48: up over the last frame, erase to the end, and, as
    /// terminals break lines that are wider than they became, without that (DECAWM). `width` is the terminal's, now.
    pub(super) fn draw(&mut self, lines: &[String], frame: &[String], width: usize) -> String {
        let mut text = String::new();
        if lines.is_empty() && frame.is_empty() && self.drawn.is_empty() {
            return text;
        }
        let up: usize = self.drawn.iter().map(|length| length.div_ceil(width.max(1)).max(1)).sum();
        if up > 0 {
            text.push_str(&format!("\r\u{1b}[{up}A\u{1b}[J"));
        }
        for line in lines {
            text.push_str(&format!("{line}\n"));
        }
        if !frame.is_empty() {
            text.push_str("\u{1b}[?7l");
            for (i, line) in frame.iter().enumerate() {
                text.push_str(&if self.colour && i == 0 {
                    format!("\u{1b}[1m{line}\u{1b}[0m\n")
                } else {
                    format!("{line}\n")
                });
            }
            text.push_str("\u{1b}[?7h");
        }
        self.drawn = frame.iter().map(|line| line.chars().count()).collect();
        text
    }

    /// The line for an event, with the word for how something ended in its colour.
    pub(super) fn coloured(&self, line: &str, event: &Value) -> String {
        let ends = match event["kind"].as_str() {
            Some("step_finished" | "step_retrying" | "step_asks" | "run_finished") => true,
            Some("rollout") => event["event"]["kind"] == "finished",
            _ => false,
        };
        if !self.colour || !ends {
            return line.to_owned();
        }
        // A step's name may hold such a word.
        let from = event["step"].as_str().map_or(0, |step| step.len()).min(line.len());
        let words = [(GOOD.as_slice(), 32), (&BAD, 31), (&AMID, 33)].into_iter();
        let found = words.flat_map(|(words, colour)| words.iter().map(move |word| (word, colour)));
        let first = found.filter_map(|(word, colour)| Some((line.get(from..)?.find(word)? + from, word, colour))).min();
        let Some((at, word, colour)) = first else { return line.to_owned() };
        format!("{}\u{1b}[{colour}m{word}\u{1b}[0m{}", &line[..at], &line[at + word.len()..])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn a_frame_is_drawn_over_as_high_as_it_is_by_now() {
        let mut screen = Screen::new(false);
        assert_eq!(screen.draw(&[], &[], 80), "");
        let first = screen.draw(&texts(&["a"]), &texts(&["0123456789", ""]), 80);
        assert_eq!(first, "a\n\u{1b}[?7l0123456789\n\n\u{1b}[?7h");
        // The terminal is 4 wide by now: it has broken the ten characters into three lines.
        assert_eq!(screen.draw(&texts(&["b"]), &[], 4), "\r\u{1b}[4A\u{1b}[Jb\n");
        assert_eq!(screen.draw(&[], &[], 0), "");
    }

    #[test]
    fn only_the_word_for_the_end_has_a_colour() {
        let failed = json!({ "kind": "step_finished", "step": "failed tests" });
        let line = "failed tests: failed after 1.0 s: the login failed";
        let shown = Screen::new(true).coloured(line, &failed);
        assert_eq!(shown, "failed tests: \u{1b}[31mfailed\u{1b}[0m after 1.0 s: the login failed");
        assert_eq!(Screen::new(false).coloured(line, &failed), line);
        let rollout = json!({ "kind": "rollout", "step": "ship", "event": { "kind": "finished" } });
        let shown = Screen::new(true).coloured("ship: v3 rolled back after it failed", &rollout);
        assert_eq!(shown, "ship: v3 \u{1b}[31mrolled back\u{1b}[0m after it failed");
        let started = json!({ "kind": "step_started", "step": "é" });
        assert_eq!(Screen::new(true).coloured("é: started, failed", &started), "é: started, failed");
    }
}
