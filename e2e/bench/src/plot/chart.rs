//! Line charts as SVG, readable on light and dark pages: a pure function from numbers to text.
//!
//! A chart library would bring rasterisers and fonts for what is a dozen elements here, and none of them follows the
//! reader's colour scheme.

use std::fmt::Write as _;

use super::axis::Axis;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 724.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 336.0;

/// Colours follow the page's scheme; each series has a marker of its own, so that colour is not needed to tell them apart.
const STYLE: &str = "\
    .back { fill: #ffffff } .text { fill: #24292f; font: 13px system-ui, sans-serif } .title { font-weight: 600; font-size: 15px }\n\
    .grid { stroke: #d0d7de; stroke-width: 1 } .line { fill: none; stroke-width: 2.2; stroke-linejoin: round }\n\
    .s0 { stroke: #0550ae } .s1 { stroke: #bc4c00 } .s2 { stroke: #116329 } .m { fill: #ffffff; stroke-width: 2.2 }\n\
    .mark { stroke: #57606a; stroke-dasharray: 5 4; stroke-width: 1.4 }\n\
    @media (prefers-color-scheme: dark) {\n\
    .back { fill: #0d1117 } .text { fill: #e6edf3 } .grid { stroke: #30363d } .m { fill: #0d1117 }\n\
    .s0 { stroke: #79c0ff } .s1 { stroke: #ffa657 } .s2 { stroke: #7ee787 } .mark { stroke: #8b949e } }";

/// A chart.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    /// What it shows, in a sentence without a full stop.
    pub(super) title: &'static str,
    /// Below.
    pub(super) x: Axis,
    /// On the left.
    pub(super) y: Axis,
    /// At most three lines.
    pub(super) series: Vec<Series>,
    /// Heights that mean something, as a goal does, with what they mean.
    pub(super) marks: Vec<(f64, String)>,
}

/// A line through points.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// What it is.
    pub(super) name: &'static str,
    /// In order of x.
    pub(super) points: Vec<(f64, f64)>,
    /// Whether each point gets a marker; a distribution has too many.
    pub(super) markers: Markers,
}

/// Whether points are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Markers {
    /// Each.
    Each,
    /// None.
    None,
}

/// The chart as an SVG document.
pub(super) fn svg(chart: &Chart) -> String {
    let all = || chart.series.iter().flat_map(|series| &series.points);
    let marks = chart.marks.iter().map(|(y, _)| *y);
    let x = chart.x.range(all().map(|point| point.0));
    let y = chart.y.range(all().map(|point| point.1).chain(marks));
    let place = |(px, py): (f64, f64)| {
        (
            LEFT + (RIGHT - LEFT) * x.share(px),
            BOTTOM - (BOTTOM - TOP) * y.share(py),
        )
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n\
         <style>\n{STYLE}\n</style>\n<rect class=\"back\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>\n",
        escaped(chart.title)
    );
    text(&mut out, (LEFT, 26.0), "start", "text title", chart.title);
    for tick in x.ticks() {
        let (at, _) = place((tick.value, 0.0));
        line(&mut out, "grid", (at, TOP), (at, BOTTOM));
        text(&mut out, (at, BOTTOM + 20.0), "middle", "text", &tick.label);
    }
    for tick in y.ticks() {
        let (_, at) = place((0.0, tick.value));
        line(&mut out, "grid", (LEFT, at), (RIGHT, at));
        text(&mut out, (LEFT - 8.0, at + 4.0), "end", "text", &tick.label);
    }
    text(
        &mut out,
        (f64::midpoint(LEFT, RIGHT), HEIGHT - 16.0),
        "middle",
        "text",
        chart.x.label,
    );
    text(&mut out, (LEFT - 68.0, TOP - 14.0), "start", "text", chart.y.label);
    for (height, meaning) in &chart.marks {
        let (_, at) = place((0.0, *height));
        line(&mut out, "mark", (LEFT, at), (RIGHT, at));
        text(&mut out, (RIGHT - 6.0, at - 6.0), "end", "text", meaning);
    }
    let mut legend = f64::midpoint(LEFT, RIGHT) - 110.0;
    for (number, series) in chart.series.iter().enumerate() {
        let points: Vec<(f64, f64)> = series.points.iter().map(|point| place(*point)).collect();
        draw(&mut out, number, &points, series.markers);
        if chart.series.len() > 1 {
            draw(
                &mut out,
                number,
                &[(legend, TOP - 18.0), (legend + 26.0, TOP - 18.0)],
                Markers::None,
            );
            marker(&mut out, number, (legend + 13.0, TOP - 18.0));
            text(&mut out, (legend + 34.0, TOP - 14.0), "start", "text", series.name);
            legend += 52.0 + 7.0 * length(series.name);
        }
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, number: usize, points: &[(f64, f64)], markers: Markers) {
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    push(
        out,
        &format!("<polyline class=\"line s{number}\" points=\"{}\"/>", path.join(" ")),
    );
    if markers == Markers::Each {
        for point in points {
            marker(out, number, *point);
        }
    }
}

/// A circle, a square or a diamond.
fn marker(out: &mut String, number: usize, (x, y): (f64, f64)) {
    let shape = match number {
        0 => format!("<circle class=\"m s0\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"),
        1 => format!(
            "<rect class=\"m s1\" x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\"/>",
            x - 4.0,
            y - 4.0
        ),
        _ => format!(
            "<path class=\"m s2\" d=\"M{x:.1} {:.1} l5 5 l-5 5 l-5 -5 z\"/>",
            y - 5.0
        ),
    };
    push(out, &shape);
}

fn line(out: &mut String, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    push(
        out,
        &format!("<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"),
    );
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, class: &str, words: &str) {
    let words = escaped(words);
    push(
        out,
        &format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"),
    );
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[expect(clippy::cast_precision_loss, reason = "names are short")]
fn length(words: &str) -> f64 {
    words.chars().count() as f64
}

fn push(out: &mut String, element: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "{element}");
}

#[cfg(test)]
mod tests {
    use super::super::axis::Scale;
    use super::*;

    #[test]
    fn a_chart_names_what_it_shows_and_places_its_points() {
        let chart = Chart {
            title: "Cost & growth",
            x: Axis::new("realms", Scale::Logarithmic),
            y: Axis::new("requests per second", Scale::FromZero),
            series: vec![
                Series {
                    name: "by realms",
                    points: vec![(1.0, 100.0), (100.0, 50.0)],
                    markers: Markers::Each,
                },
                Series {
                    name: "by clients",
                    points: vec![(1.0, 0.0), (100.0, 0.0)],
                    markers: Markers::None,
                },
            ],
            marks: vec![(90.0, "the goal".to_owned())],
        };
        let svg = svg(&chart);
        for part in [
            "Cost &amp; growth",
            "realms",
            "requests per second",
            "by clients",
            "the goal",
            "dark",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        // The first point is on the left at the top, the second on the right half-way down.
        assert!(svg.contains("points=\"84.0,76.0 724.0,206.0\""), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 3, "two points and the legend");
    }
}
