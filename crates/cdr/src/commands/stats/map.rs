//! Towers where they stand, by what they carried at a time of day.

use std::fmt::{self, Write as _};

use cdr_model::stats::TowerMap;

/// Side of a map.
const SIDE: f64 = 420.0;

/// Area of all towers together, of that of the map.
const INK: f64 = 0.1;

/// From fewer records than usual to more; between bounds.
const COLOURS: [&str; 5] = ["#3b6fb6", "#8fb3dd", "#a8a8a8", "#eaa58e", "#c8553d"];
const BOUNDS: [f64; 4] = [0.75, 0.92, 1.09, 1.33];

/// Draws a map.
pub fn map(html: &mut String, map: &TowerMap) -> fmt::Result {
    let ends = |axis: usize| {
        let values = map.towers.iter().map(|tower| f64::from(tower.at[axis]));
        (values.clone().fold(f64::MAX, f64::min), values.fold(f64::MIN, f64::max))
    };
    let ((left, right), (bottom, top)) = (ends(0), ends(1));
    let scale = (SIDE - 20.0) / (right - left).max(top - bottom).max(1.0);
    let what = &map.what;
    write!(
        html,
        "<figure><figcaption>{what}</figcaption>\
         <svg viewBox=\"0 0 {SIDE} {SIDE}\" role=\"img\" aria-label=\"{what}\">"
    )?;
    for (nth, colour) in COLOURS.iter().enumerate() {
        write!(html, "\n<g fill=\"{colour}\" fill-opacity=\".75\">")?;
        for tower in map.towers.iter().filter(|tower| shade(tower.against_day) == nth) {
            let [x, y] = [f64::from(tower.at[0]) - left, top - f64::from(tower.at[1])];
            let radius = (tower.share * INK * SIDE * SIDE / std::f64::consts::PI).sqrt();
            let [x, y] = [x, y].map(|metres| 10.0 + metres * scale);
            write!(html, "<circle cx=\"{x:.0}\" cy=\"{y:.0}\" r=\"{radius:.1}\"/>")?;
        }
        html.push_str("</g>");
    }
    html.push_str("</svg></figure>\n");
    Ok(())
}

/// The number of the colour.
fn shade(against_day: f64) -> usize {
    BOUNDS.iter().filter(|bound| against_day >= **bound).count()
}

#[cfg(test)]
mod tests {
    use cdr_model::stats::TowerShare;

    use super::*;

    #[test]
    fn a_tower_stands_where_it_stands_and_is_as_large_as_its_share() {
        let tower = |at, share, against_day| TowerShare { at, share, against_day };
        let towers = vec![tower([0, 0], 0.2, 0.5), tower([1_000, 1_000], 0.8, 2.0)];
        let mut html = String::new();
        map(&mut html, &TowerMap { what: "at night".to_owned(), towers }).unwrap();
        assert!(html.contains("<g fill=\"#3b6fb6\" fill-opacity=\".75\"><circle cx=\"10\" cy=\"410\""));
        assert!(html.contains("<g fill=\"#c8553d\" fill-opacity=\".75\"><circle cx=\"410\" cy=\"10\""));
        let radii: Vec<f64> =
            html.split("r=\"").filter_map(|rest| rest.split_once('\"')?.0.parse().ok()).collect();
        assert!((radii[1] / radii[0] - 2.0).abs() < 0.01, "{radii:?}");
    }
}
