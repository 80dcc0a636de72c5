//! The laws, each against what was found in four weeks of 20,000 people.

use cdr_model::stats::{Finding, Known, Statistics, Verdict};
use cdr_model::{PartIndex, Scenario};

use crate::{Fixture, world};

fn findings(scenario: &Scenario) -> Vec<Finding> {
    statistics(scenario, usize::MAX).findings()
}

fn statistics(scenario: &Scenario, bytes_max: usize) -> Statistics {
    let Fixture { plan, generator } = Fixture::new(scenario);
    let window = [plan.part(PartIndex(0)).start, plan.history_end()];
    let known = Known::of(scenario, &generator, window);
    let mut statistics = Statistics::within(known, bytes_max);
    for index in 0..plan.files() {
        for stream in plan.streams() {
            generator.facts(stream, &plan.part(PartIndex(index)), |fact| statistics.take(&fact));
        }
    }
    statistics
}

/// A quarter of the people says much the same as all of them.
#[test]
fn a_sample_of_the_people_keeps_memory_within_its_bound() {
    let week = Scenario { total_seconds: 7 * 86_400, ..world() };
    let (all, sample) = (statistics(&week, usize::MAX), statistics(&week, 6_000_000));
    assert_eq!(all.one_of(), 1);
    assert_eq!(all.records(), sample.records());
    assert!((2..=8).contains(&sample.one_of()), "{}", sample.one_of());
    let (all, sample) = (all.findings(), sample.findings());
    assert!(sample.len() < all.len());
    for finding in &sample {
        let whole = all.iter().find(|one| one.law == finding.law).expect("the law");
        let near = (finding.found - whole.found).abs() <= 0.1 * whole.found.abs().max(0.5);
        assert!(near || finding.law.starts_with("fastest"), "{finding} but {whole}");
    }
}

#[test]
fn every_law_is_kept() {
    let findings = findings(&Scenario { total_seconds: 28 * 86_400, ..world() });
    for finding in &findings {
        println!("{finding}");
    }
    let off = findings.iter().filter(|finding| finding.verdict() != Verdict::Kept);
    let off: Vec<_> = off.map(|finding| finding.law).collect();
    assert!(off.is_empty(), "{off:?}");
}

/// The uniform profile keeps none of the laws that are about people: the gates can fail.
#[test]
fn the_uniform_profile_fails() {
    let uniform =
        Scenario { total_seconds: 28 * 86_400, profile: cdr_model::Profile::Uniform, ..world() };
    let off = findings(&uniform).iter().filter(|finding| finding.verdict() == Verdict::Broken).count();
    assert!(off > 20, "{off}");
}

/// What takes weeks to show is not held against a day, whichever it is.
#[test]
fn a_day_breaks_no_law() {
    for day in [0, 4, 5, 6] {
        let findings = findings(&Scenario {
            total_seconds: 86_400,
            subscribers: 100_000,
            start: Scenario::default().start + chrono::TimeDelta::days(day),
            profile: cdr_model::Profile::Realistic,
            ..Scenario::default()
        });
        let of = |verdict: Verdict| findings.iter().filter(move |one| one.verdict() == verdict);
        let broken: Vec<_> = of(Verdict::Broken).map(ToString::to_string).collect();
        assert!(broken.is_empty(), "day {day}: {broken:#?}");
        assert!(of(Verdict::Kept).count() > 8 && of(Verdict::TooFew).count() > 8, "day {day}");
    }
}

/// However busy people are, nobody is in two calls at once.
#[test]
fn nobody_is_in_two_calls_at_once() {
    for (lines_per_second, subscribers, line_count) in
        [(1, 1_024 * 6, 1_000), (5, 28_800, 1_000), (5, 1_000_000, 777), (100, 600_000, 20_000)]
    {
        let scenario = Scenario {
            lines_per_second,
            subscribers,
            line_count,
            total_seconds: 86_400 / u64::from(lines_per_second).max(1) * 2,
            start: Scenario::default().start + chrono::TimeDelta::hours(9),
            ..world()
        };
        let found = findings(&scenario);
        let overlaps = found.iter().find(|finding| finding.law.contains("two calls at once"));
        assert_eq!(overlaps.expect("the law").found, 0.0, "{lines_per_second} {subscribers}");
    }
}
