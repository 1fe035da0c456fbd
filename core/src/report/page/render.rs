//! The page as a whole.

use super::html::{escape, moment, took};
use super::story::Story;
use super::{details, graph, rollout, timeline};

const STYLE: &str = include_str!("page.css");

/// What one attempt of a step wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepLog {
    /// The step.
    pub step: String,
    /// The attempt's number.
    pub attempt: u32,
    /// Its lines, or the last of them.
    pub text: String,
    /// How many bytes come before that.
    pub left_out: u64,
}

/// The page of a run as one HTML file that needs nothing beside it: graph, timeline with what the run waited for, each
/// rollout's weights, traffic, errors, latencies and evidence over time, and every step with its attempts and logs. It
/// is fed the texts that [`Events`](crate::Events) gives, from the first; what it can't read it passes over. Without logs it
/// stays under 300 KB, however long the run: of many steps it shows those that matter and says of how many.
///
/// Nothing in it is executed: there is no script, and what steps wrote is text.
pub fn page<T: AsRef<str>>(events: impl IntoIterator<Item = T>, logs: &[StepLog]) -> String {
    let mut story = Story::default();
    events.into_iter().for_each(|event| story.take(event.as_ref()));
    let Some(run) = story.state.run() else {
        return document("tidegate", "<main><p>The run has not begun.</p></main>");
    };
    let (name, word) = (escape(&run.pipeline().spec().name), story.status());
    let key = run.key().map(|key| format!(" <small>{}</small>", escape(key))).unwrap_or_default();
    let mut html = format!("<header><h1>{name}{key} <span class=\"badge {word}\">{word}</span></h1>\n");
    let sentence = story.sentence();
    if !sentence.is_empty() {
        html.push_str(&format!("<p class=\"why\">{}</p>\n", escape(&sentence)));
    }
    let (began, length) = (story.began(), took(story.last.since(story.began())));
    let steps = run.pipeline().graph().len();
    html.push_str(&format!(
        "<p class=\"note\">Run {}, begun {}, {length}, {steps} {}</p></header>\n<main>\n",
        escape(run.id()),
        moment(began),
        if steps == 1 { "step" } else { "steps" }
    ));
    let critical = timeline::critical_path(&story, run);
    for (step, told) in &story.rollouts {
        if let Some(state) = run.rollout(step) {
            html.push_str(&rollout::rollout(step, state, told, &sentence, story.last));
        }
    }
    html.push_str(&timeline::timeline(&story, run, &critical));
    html.push_str(&graph::graph(run, &critical));
    html.push_str(&details::details(&story, run, logs));
    html.push_str("</main>\n");
    document(&format!("{name}: {word}"), &html)
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{title}</title>\n<style>\n{STYLE}</style></head>\n<body>\n{body}</body></html>\n"
    )
}
