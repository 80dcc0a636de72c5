//! What was found beside what should be, as lines.

use std::fmt::{self, Write as _};

use cdr_model::stats::Curve;

/// Width and height of a plot, and what is left free for its axes.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 52.0;
const BELOW: f64 = 36.0;
const MARGIN: f64 = 10.0;

/// One axis: from values to the plane.
struct Scale {
    least: f64,
    most: f64,
    is_logarithmic: bool,
    /// Where the least and the most value lie.
    ends: [f64; 2],
}

impl Scale {
    fn new(values: impl Iterator<Item = f64>, is_logarithmic: bool, ends: [f64; 2]) -> Scale {
        let values: Vec<f64> = values.filter(|&value| !is_logarithmic || value > 0.0).collect();
        let most = values.iter().copied().fold(f64::MIN, f64::max);
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        let least = if is_logarithmic { least } else { least.min(0.0) };
        Scale { least, most, is_logarithmic, ends }
    }

    fn at(&self, value: f64) -> f64 {
        let map = |value: f64| if self.is_logarithmic { value.max(self.least).ln() } else { value };
        let share = (map(value) - map(self.least)) / (map(self.most) - map(self.least)).max(1e-9);
        self.ends[0] + share * (self.ends[1] - self.ends[0])
    }

    /// Values to label: powers of ten, or some even steps.
    fn ticks(&self) -> Vec<f64> {
        if self.is_logarithmic {
            let [from, to] = [self.least, self.most].map(|value| value.log10().floor() as i32);
            let decades = to - from;
            let step = (decades / 6 + 1) as usize;
            let times: &[f64] = if decades < 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let powers = (from..=to).step_by(step).map(|power| 10f64.powi(power));
            let ticks = powers.flat_map(|power| times.iter().map(move |times| times * power));
            return ticks.filter(|tick| (self.least..=self.most).contains(tick)).collect();
        }
        let rough = (self.most - self.least) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        (0..=6).map(|nth| self.least + f64::from(nth) * step).filter(|tick| *tick <= self.most).collect()
    }
}

/// Draws a curve.
pub fn plot(html: &mut String, curve: &Curve) -> fmt::Result {
    let points = || curve.found.iter().chain(&curve.target);
    let (left, right, above, below) = (LEFT, WIDTH - MARGIN, MARGIN, HEIGHT - BELOW);
    let x = Scale::new(points().map(|point| point[0]), curve.logarithmic[0], [left, right]);
    let y = Scale::new(points().map(|point| point[1]), curve.logarithmic[1], [below, above]);
    let what = curve.what;
    writeln!(
        html,
        "<figure><figcaption>{what}</figcaption>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{what}\">"
    )?;
    for tick in x.ticks() {
        let at = x.at(tick);
        grid_line(html, [at, above], [at, below])?;
        text(html, [at, below + 14.0], "middle", &label(tick))?;
    }
    for tick in y.ticks() {
        let at = y.at(tick);
        grid_line(html, [left, at], [right, at])?;
        text(html, [left - 5.0, at + 4.0], "end", &label(tick))?;
    }
    text(html, [(left + right) / 2.0, HEIGHT - 5.0], "middle", curve.axes[0])?;
    // Where the line is not.
    let is_falling = curve.found.first().map(|first| first[1]) > curve.found.last().map(|last| last[1]);
    let (at, anchor) = if is_falling { (right - 5.0, "end") } else { (left + 5.0, "start") };
    text(html, [at, above + 12.0], anchor, curve.axes[1])?;
    for (class, points) in [("found", &curve.found), ("target", &curve.target)] {
        write!(html, "\n<polyline class=\"{class}\" points=\"")?;
        for [right, up] in points {
            write!(html, "{:.1},{:.1} ", x.at(*right), y.at(*up))?;
        }
        html.push_str("\"/>");
    }
    html.push_str("</svg></figure>\n");
    Ok(())
}

fn grid_line(html: &mut String, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) -> fmt::Result {
    write!(html, "<line class=\"axis\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>")
}

fn text(html: &mut String, [x, y]: [f64; 2], anchor: &str, text: &str) -> fmt::Result {
    write!(html, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>")
}

/// A value of an axis, in few characters.
fn label(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        1e9.. => format!("{}G", value / 1e9),
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        0.01.. => format!("{}", (value * 1e3).round() / 1e3),
        _ => format!("{value:.0e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_map_their_ends_and_label_within() {
        for is_logarithmic in [false, true] {
            let scale = Scale::new([1.0, 5_000.0].into_iter(), is_logarithmic, [10.0, 110.0]);
            assert!((scale.at(5_000.0) - 110.0).abs() < 1e-9);
            assert!((scale.at(scale.least) - 10.0).abs() < 1e-9);
            let ticks = scale.ticks();
            assert!((3..=7).contains(&ticks.len()), "{ticks:?}");
            assert!(ticks.iter().all(|tick| (scale.least..=scale.most).contains(tick)), "{ticks:?}");
        }
    }

    #[test]
    fn a_narrow_axis_has_labels_between_powers_of_ten() {
        let scale = Scale::new([2.5, 51.5].into_iter(), true, [0.0, 1.0]);
        assert_eq!(scale.ticks(), [5.0, 10.0, 20.0, 50.0]);
    }

    #[test]
    fn labels_are_short() {
        let labels = [0.0, 0.0001, 0.05, 7.0, 20_000.0, 3e6, 1e9].map(label);
        assert_eq!(labels, ["0", "1e-4", "0.05", "7", "20k", "3M", "1G"]);
    }
}
