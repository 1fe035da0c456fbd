//! Every step: its attempts, why it ended as it did, what it wrote.

use crate::pipeline::{Phase, Run};

use super::html::{escape, took};
use super::render::StepLog;
use super::story::Story;

/// How many steps are listed at most.
const MOST: usize = 500;

pub(super) fn details(story: &Story, run: &Run, logs: &[StepLog]) -> String {
    let mut html = String::from("<section><h2>Steps</h2>\n");
    let all = run.pipeline().graph().len();
    // What failed or asks comes first when not all have room.
    let mut order: Vec<usize> = (0..all).collect();
    if all > MOST {
        let quiet = |i: &usize| {
            let phase = run.step(run.pipeline().name(*i)).map(|step| step.phase());
            matches!(phase, Some(Phase::Succeeded { .. } | Phase::Waiting | Phase::Skipped { .. }) | None)
        };
        order.sort_by_key(quiet);
        order.truncate(MOST);
        html.push_str(&format!("<p class=\"note\">{MOST} of {all} steps; what failed comes first.</p>\n"));
    }
    for i in order {
        let name = run.pipeline().name(i);
        let Some(step) = run.step(name) else { continue };
        let word = step.phase().word();
        let open = if matches!(step.phase(), Phase::Failed { .. } | Phase::Asking { .. }) { " open" } else { "" };
        html.push_str(&format!(
            "<details{open}><summary><span class=\"badge {word}\">{word}</span> {}</summary>\n",
            escape(name)
        ));
        match step.phase() {
            Phase::Failed { error } => {
                html.push_str(&format!("<p>{}</p>\n", escape(&error.message)));
                let detail = error.detail.clone().unwrap_or_else(|| error.last_lines.join("\n"));
                if !detail.is_empty() {
                    html.push_str(&format!("<pre>{}</pre>\n", escape(&detail)));
                }
            }
            Phase::Asking { question } => html.push_str(&format!("<p>{}</p>\n", escape(&question.to_string()))),
            Phase::Skipped { reason } => html.push_str(&format!("<p>{}</p>\n", escape(&reason.to_string()))),
            Phase::Cancelled { why } => html.push_str(&format!("<p>{}</p>\n", escape(&why.to_string()))),
            _ => {}
        }
        for attempt in story.attempts.get(name).into_iter().flatten() {
            let how = attempt
                .ended
                .map_or("running".to_owned(), |(at, how)| format!("{how} after {}", took(at.since(attempt.began))));
            html.push_str(&format!("<p class=\"note\">Attempt {}: {how}</p>\n", attempt.number));
            for log in logs.iter().filter(|log| log.step == name && log.attempt == attempt.number) {
                html.push_str(&shown(log));
            }
        }
        html.push_str("</details>\n");
    }
    html + "</section>\n"
}

/// A log, or its end.
fn shown(log: &StepLog) -> String {
    let note = match log.left_out {
        0 => String::new(),
        bytes => format!("<p class=\"note\">The {bytes} bytes before are left out.</p>"),
    };
    if log.text.is_empty() { note } else { format!("{note}<pre>{}</pre>\n", escape(&log.text)) }
}
