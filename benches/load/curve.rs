//! The latency curve as a picture: the offered load to the right, the latency upwards on a scale of powers of ten.
//!
//! Owns the SVG. Invariant: it is one file without a script, a font or an address of another one.

use super::engine::{Pace, Step};
use super::report::{Report, machine};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 100.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 52.0;
/// Marks of the axis of loads.
const MARKS: usize = 5;
/// The curves, with a colour that also differs in lightness.
const CURVES: [(&str, f64, &str); 3] =
    [("p50", 0.5, "#1b7837"), ("p99", 0.99, "#2166ac"), ("p99.9", 0.999, "#b2182b")];

/// `None` without two steps of an open loop.
pub fn draw(report: &Report) -> Option<String> {
    let steps: Vec<(f64, &Step)> = report
        .steps
        .iter()
        .filter_map(|step| match step.pace {
            Pace::Open(rate) if step.answered() > 0 => Some((rate, step)),
            _ => None,
        })
        .collect();
    if steps.len() < 2 {
        return None;
    }
    let value = |step: &Step, part: f64| {
        // Of a mix, the worst kind.
        let of = step.kinds.iter().map(|kind| kind.latency.quantile_ms(part));
        of.fold(0.0, f64::max).max(0.001)
    };
    let most_load = steps.iter().map(|(rate, _)| *rate).fold(0.0, f64::max);
    let values = || steps.iter().flat_map(|(_, step)| CURVES.iter().map(|(_, part, _)| value(step, *part)));
    let low = values().fold(f64::MAX, f64::min).log10().floor();
    let high = values().fold(f64::MIN, f64::max).log10().ceil().max(low + 1.0);
    let x = |rate: f64| LEFT + rate / most_load * (WIDTH - LEFT - RIGHT);
    let y = |ms: f64| HEIGHT - BOTTOM - (ms.log10() - low) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{}: latency against the offered load</text>\n\
         <text x=\"{LEFT}\" y=\"37\" fill=\"#555\">{} clients; {}</text>\n",
        escape(report.scenario),
        report.clients,
        escape(&machine()),
    );
    for power in low as i32..=high as i32 {
        let (ms, at) = (10_f64.powi(power), y(10_f64.powi(power)));
        svg.push_str(&format!(
            "<path d=\"M{LEFT} {at:.1}H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{ms} ms</text>\n",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0
        ));
    }
    for mark in 0..=MARKS {
        let rate = most_load * mark as f64 / MARKS as f64;
        svg.push_str(&format!(
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{rate:.0}</text>\n",
            x(rate),
            HEIGHT - BOTTOM + 18.0
        ));
    }
    svg.push_str(&format!(
        "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">requests a second</text>\n",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 12.0
    ));
    for (name, part, colour) in CURVES {
        let points: Vec<(f64, f64)> =
            steps.iter().map(|(rate, step)| (x(*rate), y(value(step, part)))).collect();
        let line: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        svg.push_str(&format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
            line.join(" ")
        ));
        for (x, y) in &points {
            svg.push_str(&format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\n"));
        }
        let (last_x, last_y) = points[points.len() - 1];
        svg.push_str(&format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>\n",
            last_x + 8.0,
            last_y + 4.0
        ));
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
