//! When each step ran, and which of them the run waited for.

use std::collections::BTreeSet;

use crate::pipeline::{Phase, Run};
use crate::time::Time;

use super::html::{escape, took};
use super::story::{Attempt, Story};

/// How many steps are drawn at most.
const MOST: usize = 300;

/// The steps that a run would have been shorter without waiting for: from the one that ended last back over the need
/// that ended last.
pub(super) fn critical_path(story: &Story, run: &Run) -> BTreeSet<usize> {
    let pipeline = run.pipeline();
    let ended = |i: &usize| {
        let attempts = story.attempts.get(pipeline.name(*i))?;
        attempts.last()?.ended.map(|(at, _)| at)
    };
    let mut path = BTreeSet::new();
    let mut next = (0..pipeline.graph().len()).filter(|i| ended(i).is_some()).max_by_key(ended);
    while let Some(i) = next {
        path.insert(i);
        let needs = pipeline.graph().needs(i).iter().map(|need| need.step);
        // Cleanup that needs no step in particular waits for all that are no such cleanup.
        let last = pipeline.graph().last();
        let all = (0..pipeline.graph().len()).filter(|step| last.contains(&i) && !last.contains(step));
        next = needs.chain(all).filter(|need| ended(need).is_some() && !path.contains(need)).max_by_key(ended);
    }
    path
}

pub(super) fn timeline(story: &Story, run: &Run, critical: &BTreeSet<usize>) -> String {
    let (from, to) = (story.began(), story.last);
    let whole = to.since(from).0.max(1) as f64;
    let percent = |at: Time| at.since(from).0 as f64 / whole * 100.0;
    let pipeline = run.pipeline();
    let length = |i: &usize| -> u64 {
        let attempts = story.attempts.get(pipeline.name(*i)).into_iter().flatten();
        attempts.map(|attempt| attempt.ended.map_or(to, |(at, _)| at).since(attempt.began).0).sum()
    };
    let began = |i: &usize| {
        story.attempts.get(pipeline.name(*i)).and_then(|attempts| attempts.first()).map(|first| first.began)
    };
    let mut shown: Vec<usize> = (0..pipeline.graph().len()).filter(|i| began(i).is_some()).collect();
    let all = shown.len();
    // Of many, what matters: what failed, what the run waited for, what took longest.
    if all > MOST {
        let failed =
            |i: &usize| run.step(pipeline.name(*i)).is_some_and(|step| matches!(step.phase(), Phase::Failed { .. }));
        shown.sort_by_key(|i| std::cmp::Reverse((failed(i), critical.contains(i), length(i))));
        shown.truncate(MOST);
    }
    shown.sort_by_key(|i| (began(i), *i));
    let mut html = String::from("<section><h2>Timeline</h2>\n<div class=\"timeline\">\n");
    for i in shown {
        let name = pipeline.name(i);
        let phase = run.step(name).map(|step| step.phase().word()).unwrap_or_default();
        let path = if critical.contains(&i) { " critical" } else { "" };
        html.push_str(&format!(
            "<div class=\"row{path}\"><span class=\"name\" title=\"{0}\">{0}</span><span class=\"bars\">",
            escape(name)
        ));
        for attempt in story.attempts.get(name).into_iter().flatten() {
            html.push_str(&bar(attempt, phase, to, percent));
        }
        let span = took(crate::time::Span(length(&i)));
        html.push_str(&format!("</span><span class=\"took\">{span}</span></div>\n"));
    }
    html.push_str("</div>\n<p class=\"note\">");
    if all > MOST {
        html.push_str(&format!("{MOST} of {all} steps: what failed, what the run waited for, and what took longest. "));
    }
    html.push_str("Bold: what the run waited for, from its end back. Full width: ");
    html.push_str(&format!("{}.</p></section>\n", took(to.since(from))));
    html
}

fn bar(attempt: &Attempt, phase: &str, to: Time, percent: impl Fn(Time) -> f64) -> String {
    let (end, how) = attempt.ended.unwrap_or((to, phase));
    let (left, right) = (percent(attempt.began), percent(end));
    let class = how.replace(' ', "-");
    let title = format!("attempt {}: {how} after {}", attempt.number, took(end.since(attempt.began)));
    format!(
        "<i class=\"{class}\" style=\"left:{left:.2}%;width:{:.2}%\" title=\"{title}\"></i>",
        (right - left).max(0.0)
    )
}
