//! Lines over time, as SVG.

use super::html::{escape, figure, took};
use crate::time::Span;

/// How wide a chart is that shares a row with another one, and one that shares it with two: so their texts are as large
/// once they fill their places.
pub(super) const HALF: f64 = 340.0;
pub(super) const THIRD: f64 = 250.0;
const HEIGHT: f64 = 170.0;
/// Room for the labels: left, top, right, bottom.
const ROOM: [f64; 4] = [52.0, 8.0, 10.0, 20.0];
/// So many points are drawn at most; of more, two stand for several.
const MOST: usize = 400;

/// What a chart shows.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) width: f64,
    pub(super) lines: Vec<Line>,
    /// A level to be compared with, and its name.
    pub(super) bound: Option<(f64, &'a str)>,
    /// Whether each tenfold is as high as the next.
    pub(super) logarithmic: bool,
    /// What a figure is of, such as ` %`.
    pub(super) unit: &'a str,
    /// Seconds that the whole width is.
    pub(super) seconds: f64,
}

/// One line: its name, its looks (`new`, `old` or `other`), and points in seconds from the left.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) class: &'static str,
    pub(super) points: Vec<(f64, f64)>,
    /// Whether a value holds until the next one.
    pub(super) steps: bool,
}

impl Chart<'_> {
    pub(super) fn svg(&self) -> String {
        let values = || self.lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y).filter(|y| y.is_finite());
        let bound = self.bound.map(|(bound, _)| bound);
        let top = values().chain(bound).fold(0.0, f64::max);
        let (low, high) = if self.logarithmic {
            let least = values().filter(|y| *y > 0.0).fold(1.0, f64::min).max(1e-4);
            (libm::floor(libm::log10(least)), libm::ceil(libm::log10(top.max(10.0))))
        } else {
            (0.0, nice(if top > 0.0 { top } else { 1.0 }))
        };
        let (right, width) = (self.seconds.max(1e-3), self.width);
        let x = |seconds: f64| ROOM[0] + (seconds / right).clamp(0.0, 1.0) * (width - ROOM[0] - ROOM[2]);
        let y = |value: f64| {
            let value = if self.logarithmic { libm::log10(value.max(1e-12)) } else { value };
            let part = ((value - low) / (high - low)).clamp(0.0, 1.0);
            HEIGHT - ROOM[3] - part * (HEIGHT - ROOM[1] - ROOM[3])
        };
        let mut svg = format!("<figure><figcaption>{}", escape(self.title));
        for line in &self.lines {
            svg.push_str(&format!(" <span class=\"key {}\">{}</span>", line.class, escape(&line.name)));
        }
        if let Some((_, name)) = self.bound {
            svg.push_str(&format!(" <span class=\"key bound\">{}</span>", escape(name)));
        }
        let label = escape(self.title);
        svg.push_str(&format!(
            "</figcaption><svg class=\"chart\" viewBox=\"0 0 {width} {HEIGHT}\" role=\"img\" aria-label=\"{label}\">\n"
        ));
        for level in self.levels(low, high) {
            let at = y(level);
            svg.push_str(&format!(
                "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"y\" x=\"{}\" y=\"{:.1}\">{}{}</text>\n",
                ROOM[0], width - ROOM[2], ROOM[0] - 5.0, at + 3.5, figure(level), self.unit
            ));
        }
        for part in [0.0, 0.5, 1.0] {
            let class = if part == 0.0 {
                "x0"
            } else if part == 1.0 {
                "x1"
            } else {
                "x"
            };
            let (at, seconds) = (x(part * right), part * right);
            // Of a long time, minutes and hours.
            let shown = if right < 120.0 || part == 0.0 {
                format!("{} s", figure(seconds))
            } else {
                took(Span((seconds * 1e3) as u64))
            };
            svg.push_str(&format!("<text class=\"{class}\" x=\"{at:.1}\" y=\"{}\">{shown}</text>\n", HEIGHT - 5.0));
        }
        if let Some(bound) = bound {
            let at = y(bound);
            svg.push_str(&format!(
                "<line class=\"bound\" x1=\"{}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\n",
                ROOM[0],
                width - ROOM[2]
            ));
        }
        for line in &self.lines {
            svg.push_str(&format!("<path class=\"{}\" d=\"{}\"/>\n", line.class, drawn(line, x, y)));
        }
        svg.push_str("</svg></figure>\n");
        svg
    }

    /// Where the lines of the grid are.
    fn levels(&self, low: f64, high: f64) -> Vec<f64> {
        if !self.logarithmic {
            return [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| low + part * (high - low)).into();
        }
        let tens = (high - low).max(1.0);
        let every = libm::ceil(tens / 5.0);
        let count = libm::floor(tens / every) as u32;
        (0..=count).map(|i| libm::pow(10.0, low + f64::from(i) * every)).collect()
    }
}

/// A line's path; it breaks where there is no value.
fn drawn(line: &Line, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let points = if line.steps { line.points.clone() } else { thinned(&line.points) };
    let (mut path, mut before) = (String::new(), None::<f64>);
    for (seconds, value) in points {
        if !value.is_finite() {
            before = None;
            continue;
        }
        let (at, level) = (x(seconds), y(value));
        match before {
            None => path.push_str(&format!("M{at:.1} {level:.1}")),
            Some(before) if line.steps => path.push_str(&format!("L{at:.1} {before:.1}L{at:.1} {level:.1}")),
            Some(_) => path.push_str(&format!("L{at:.1} {level:.1}")),
        }
        before = Some(level);
    }
    path
}

/// Of many points the lowest and the highest of each few, in their order: no peak and no gap in a peak is lost.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MOST {
        return points.to_vec();
    }
    let few = points.chunks(points.len().div_ceil(MOST / 2));
    let ends = few.flat_map(|few| {
        let known = || few.iter().enumerate().filter(|(_, (_, value))| value.is_finite());
        let by_value = |a: &(usize, &(f64, f64)), b: &(usize, &(f64, f64))| a.1.1.total_cmp(&b.1.1);
        match (known().min_by(by_value), known().max_by(by_value)) {
            (Some(low), Some(high)) => {
                let (first, second) = if low.0 <= high.0 { (low, high) } else { (high, low) };
                vec![*first.1, *second.1]
            }
            _ => few.first().copied().into_iter().collect(),
        }
    });
    ends.collect()
}

/// The next of 1, 2, 5, 10, 20 … that is not below.
fn nice(value: f64) -> f64 {
    let ten = libm::pow(10.0, libm::floor(libm::log10(value)));
    [1.0, 2.0, 5.0, 10.0].map(|step| step * ten).into_iter().find(|nice| *nice >= value * 0.999_999).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_points_few_are_drawn_and_no_peak_is_lost() {
        let flat = |n: usize| (0..n).map(|i| (i as f64, 5.0)).collect::<Vec<_>>();
        assert_eq!(thinned(&flat(400)), flat(400));
        let mut points = flat(86_400);
        (points[777].1, points[778].1, points[50_000].1) = (0.0, 90.0, f64::NAN);
        points[60_000..61_000].iter_mut().for_each(|point| point.1 = f64::NAN);
        let drawn = thinned(&points);
        assert!(drawn.len() <= MOST && drawn.is_sorted_by(|a, b| a.0 <= b.0), "{}", drawn.len());
        assert!(drawn.contains(&(777.0, 0.0)) && drawn.contains(&(778.0, 90.0)));
        assert!(drawn.iter().any(|point| point.1.is_nan()), "a gap stays one");
        assert_eq!(drawn.iter().filter(|point| point.1 == 5.0).count(), drawn.iter().filter(|p| p.1 > 0.0).count() - 1);
    }
}
