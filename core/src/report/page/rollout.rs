//! How a rollout went: weights, traffic, errors and latencies of old and new, and the evidence against its bound.

use std::collections::BTreeSet;

use crate::rollout::RolloutState;
use crate::service::LatencyQuantiles;
use crate::time::Time;

use super::chart::{Chart, HALF, Line, THIRD};
use super::html::{escape, took};
use super::story::{RolloutStory, Window};

/// `said` stands above already.
pub(super) fn rollout(step: &str, state: &RolloutState, story: &RolloutStory, said: &str, last: Time) -> String {
    let (version, former) = (state.version(), state.former());
    let over = former.map(|former| format!(" over {}", escape(former))).unwrap_or_default();
    let mut html = format!("<section><h2>Rollout {}: {}{over}</h2>\n", escape(step), escape(version));
    if let Some((_, sentence)) = story.end.as_ref().filter(|(_, sentence)| !said.contains(sentence.as_str())) {
        html.push_str(&format!("<p class=\"why\">{}</p>\n", escape(sentence)));
    }
    let Some((from, _)) = story.weights.first() else { return html + "</section>\n" };
    let to = story.end.as_ref().map_or(last, |(at, _)| *at);
    let since = |at: Time| at.since(*from).0 as f64 / 1_000.0;
    let seconds = since(to);
    let class = |name: &str| match name {
        _ if name == version => "new",
        _ if Some(name) == former => "old",
        _ => "other",
    };
    let chart =
        |title, lines, unit| Chart { title, width: HALF, lines, bound: None, logarithmic: false, unit, seconds };
    html.push_str("<div class=\"charts\">\n");
    let versions: BTreeSet<&String> = story.weights.iter().flat_map(|(_, weights)| weights.keys()).collect();
    let weights = versions.into_iter().map(|name| {
        let share = |share: Option<&u32>| f64::from(share.copied().unwrap_or(0)) / 100.0;
        let mut points: Vec<(f64, f64)> =
            story.weights.iter().map(|(at, all)| (since(*at), share(all.get(name)))).collect();
        points.extend(points.last().map(|(_, share)| (seconds, *share)));
        Line { name: name.clone(), class: class(name), points, steps: true }
    });
    html.push_str(&chart("Weights", weights.collect(), " %").svg());
    if let (Some(former), false) = (former, story.windows.is_empty()) {
        let line = |name: &str, figure: &dyn Fn(&Window) -> f64| Line {
            name: name.to_owned(),
            class: class(name),
            points: story.windows.iter().map(|window| (since(window.at), figure(window))).collect(),
            steps: false,
        };
        let rate = |bad: u64, all: u64| if all == 0 { f64::NAN } else { bad as f64 / all as f64 * 100.0 };
        html.push_str(
            &chart(
                "Requests in a window",
                vec![
                    line(version, &|window| window.counts.canary.requests as f64),
                    line(former, &|window| window.counts.stable.requests as f64),
                ],
                "",
            )
            .svg(),
        );
        html.push_str(
            &chart(
                "Errors",
                vec![
                    line(version, &|window| rate(window.counts.canary.errors, window.counts.canary.requests)),
                    line(former, &|window| rate(window.counts.stable.errors, window.counts.stable.requests)),
                ],
                " %",
            )
            .svg(),
        );
        let bound = story.windows.last().map(|window| (window.bound, "bound"));
        let lines = vec![Line { name: "evidence".to_owned(), ..line(version, &|window| window.evidence) }];
        html.push_str(
            &Chart { bound, logarithmic: true, ..chart("Evidence that the new one is worse", lines, "") }.svg(),
        );
    }
    html.push_str("</div>\n");
    if let Some(former) = former.filter(|_| story.windows.iter().any(|window| !window.latency.is_unknown())) {
        html.push_str(&latencies(story, (version, former), since, seconds));
    }
    if !story.told.is_empty() {
        html.push_str("<ol class=\"told\">\n");
        for (at, sentence) in &story.told {
            html.push_str(&format!("<li><time>{}</time> {}</li>\n", took(at.since(*from)), escape(sentence)));
        }
        html.push_str("</ol>\n");
    }
    html + "</section>\n"
}

/// A chart for each quantile: in one of its own, the two lines of old and new are told apart.
fn latencies(
    story: &RolloutStory,
    (version, former): (&str, &str),
    since: impl Fn(Time) -> f64,
    seconds: f64,
) -> String {
    type Quantile = (&'static str, fn(&LatencyQuantiles) -> u64);
    let quantiles: [Quantile; 3] =
        [("Latency p50", |told| told.p50), ("Latency p95", |told| told.p95), ("Latency p99", |told| told.p99)];
    let mut html = String::from("<div class=\"charts thirds\">\n");
    for (title, quantile) in quantiles {
        let all = story.windows.iter().flat_map(|window| [window.latency.canary, window.latency.stable]).flatten();
        let longest = all.map(|told| quantile(&told)).max().unwrap_or(0);
        let (unit, micros) = if longest >= 10_000_000 { (" s", 1e6) } else { (" ms", 1e3) };
        let line = |name: &str, class, side: fn(&Window) -> Option<LatencyQuantiles>| {
            let figure = |window| side(window).map_or(f64::NAN, |told| quantile(&told) as f64 / micros);
            let points = story.windows.iter().map(|window| (since(window.at), figure(window))).collect();
            Line { name: name.to_owned(), class, points, steps: false }
        };
        let new = line(version, "new", |window| window.latency.canary);
        let old = line(former, "old", |window| window.latency.stable);
        let lines = vec![new, old];
        html.push_str(&Chart { title, width: THIRD, lines, bound: None, logarithmic: false, unit, seconds }.svg());
    }
    html + "</div>\n<p class=\"note\">Latency: from a request's routing to the first byte of its answer. Half of a \
            window's answers took no longer than p50, 95 of 100 than p95, 99 of 100 than p99; each at most 1 % too high.\
            </p>\n"
}
