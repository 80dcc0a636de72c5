//! What was found, as lines and bars, and as JSON.

use std::fmt::Write as _;

use cdr_model::stats::{Finding, Histogram, Verdict};
use serde_json::{Value, json};

use super::measure::Measured;
use crate::telemetry::units;

/// What was found, for machines.
pub fn json(measured: &Measured, findings: &[Finding]) -> Value {
    let law = |finding: &Finding| {
        let bound = |bound: f64| bound.is_finite().then_some(bound);
        json!({
            "law": finding.law,
            "found": finding.found,
            "least": bound(finding.target[0]),
            "most": bound(finding.target[1]),
            "ok": match finding.verdict() {
                Verdict::Kept => Some(true),
                Verdict::Broken => Some(false),
                Verdict::TooFew => None,
            },
            "source": finding.source,
        })
    };
    let bars = |Histogram { what, bars }: Histogram| {
        let bars = bars.into_iter().map(|(of, records)| json!({ "of": of, "records": records }));
        json!({ "what": what, "bars": bars.collect::<Vec<_>>() })
    };
    let statistics = &measured.statistics;
    json!({
        "records": statistics.records(),
        "unreadable": measured.left_out.unreadable,
        "late": measured.left_out.late,
        "people_sampled_one_of": statistics.one_of(),
        "laws": findings.iter().map(law).collect::<Vec<_>>(),
        "histograms": statistics.histograms().into_iter().map(bars).collect::<Vec<_>>(),
    })
}

/// What was found, for people.
pub fn text(measured: &Measured, findings: &[Finding]) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "{}\n\n{}", extent(measured), Finding::heading())?;
    for finding in findings {
        writeln!(text, "{finding}")?;
    }
    writeln!(text, "\n{}", kept(findings))?;
    for histogram in measured.statistics.histograms() {
        bars(&mut text, &histogram)?;
    }
    Ok(text)
}

/// How much was looked at.
pub fn extent(measured: &Measured) -> String {
    let (statistics, left_out) = (&measured.statistics, &measured.left_out);
    let mut text = format!("{} records.", units::count(statistics.records()));
    let mut add = |number: u64, what: &str| {
        if number > 0 {
            text += &format!(" {} more {what}.", units::count(number));
        }
    };
    add(left_out.unreadable, "could not be read");
    add(left_out.late, "came too late to be put in order");
    if statistics.one_of() > 1 {
        text += &format!(" Of people, one of {} was looked at.", statistics.one_of());
    }
    text
}

/// How many laws are kept.
pub fn kept(findings: &[Finding]) -> String {
    let count = |of: Verdict| findings.iter().filter(|finding| finding.verdict() == of).count();
    let (met, few) = (count(Verdict::Kept), count(Verdict::TooFew));
    let kept = format!("{met} of {} laws are kept.", findings.len() - few);
    match few {
        0 => kept,
        few => format!(
            "{kept} For {few} there are too few records: they need weeks, or more of each person."
        ),
    }
}

/// Columns of the longest bar.
const WIDTH: u64 = 50;

/// Those of which there is none have no bars.
fn bars(text: &mut String, histogram: &Histogram) -> std::fmt::Result {
    let most = histogram.bars.iter().map(|(_, records)| *records).max().unwrap_or(0);
    if most == 0 {
        return Ok(());
    }
    let all: u64 = histogram.bars.iter().map(|(_, records)| *records).sum();
    writeln!(text, "\n{}", histogram.what)?;
    for (of, records) in &histogram.bars {
        let bar = "█".repeat((records * WIDTH).div_ceil(most) as usize);
        let share = *records as f64 / all as f64 * 100.0;
        writeln!(text, "  {of:>11} {share:>5.1} % {bar}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_there_are_records() {
        let mut text = String::new();
        let histogram = Histogram { what: "calls", bars: vec![("a".into(), 3), ("b".into(), 1)] };
        bars(&mut text, &histogram).unwrap();
        let lengths: Vec<_> = text.lines().map(|line| line.matches('█').count()).collect();
        assert_eq!(lengths, [0, 0, 50, 17]);
        assert!(text.contains("75.0 %"), "{text}");
    }
}
