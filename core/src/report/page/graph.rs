//! Which step waits for which.

use std::collections::{BTreeMap, BTreeSet};

use crate::pipeline::Run;

use super::html::{escape, short};

/// A larger graph is a hairball, and no help.
const MOST: usize = 120;
const WIDTH: usize = 132;
const HEIGHT: usize = 30;
const GAP: (usize, usize) = (44, 14);

pub(super) fn graph(run: &Run, critical: &BTreeSet<usize>) -> String {
    let pipeline = run.pipeline();
    if pipeline.graph().len() > MOST {
        return String::new();
    }
    let levels = pipeline.graph().levels();
    let tallest = levels.iter().map(Vec::len).max().unwrap_or(0);
    let (wide, high) = (WIDTH + GAP.0, HEIGHT + GAP.1);
    let mut places: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (column, level) in levels.iter().enumerate() {
        let above = (tallest - level.len()) * high / 2;
        for (row, step) in level.iter().enumerate() {
            places.insert(*step, (column * wide + 2, above + row * high + 2));
        }
    }
    let size =
        (levels.len() * wide - GAP.0.min(levels.len() * wide) + 4, tallest * high - GAP.1.min(tallest * high) + 4);
    let mut html = format!(
        "<section><h2>Graph</h2>\n<div class=\"wide\"><svg class=\"graph\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" role=\"img\" aria-label=\"which step waits for which\">\n",
        size.0, size.1
    );
    for (step, (x, y)) in &places {
        for need in pipeline.graph().needs(*step) {
            let Some((from_x, from_y)) = places.get(&need.step) else { continue };
            let path =
                if critical.contains(step) && critical.contains(&need.step) { " class=\"critical\"" } else { "" };
            let (x1, y1, y2) = (from_x + WIDTH, from_y + HEIGHT / 2, y + HEIGHT / 2);
            let middle = (x1 + x) / 2;
            html.push_str(&format!("<path{path} d=\"M{x1} {y1}C{middle} {y1} {middle} {y2} {x} {y2}\"/>\n"));
        }
    }
    for (step, (x, y)) in &places {
        let name = pipeline.name(*step);
        let class = run.step(name).map(|step| step.phase().word()).unwrap_or_default();
        html.push_str(&format!(
            "<g class=\"{class}\"><title>{0}: {class}</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/><text x=\"{1}\" y=\"{2}\">{3}</text></g>\n",
            escape(name), x + WIDTH / 2, y + HEIGHT / 2 + 4, escape(&short(name, 18))
        ));
    }
    html.push_str("</svg></div></section>\n");
    html
}
