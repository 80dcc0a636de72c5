//! Home and work, found from what the stream processor keeps, against the truth.

use std::collections::HashMap;

use cdr_model::usage::{Dwell, Sighting, dwells};
use cdr_model::{PartIndex, Scenario};

use crate::{Fixture, world};

const HOUR: i64 = 3_600_000_000;

/// All sightings of two weeks, by number.
fn sightings(fixture: &Fixture) -> HashMap<u64, Vec<Sighting>> {
    let mut all = HashMap::<u64, Vec<Sighting>>::new();
    for index in 0..fixture.plan.files() {
        for stream in fixture.plan.streams() {
            let part = fixture.plan.part(PartIndex(index));
            fixture.generator.interactions(stream, &part, |one| {
                let sighting = Sighting { time: one.time, tower: one.tower };
                all.entry(one.msisdn).or_default().push(sighting);
            });
        }
    }
    all
}

/// The tower with most interactions in those dwells; the lower one of two with as many.
fn busiest(dwells: &[Dwell], of: impl Fn(&Dwell) -> bool) -> Option<u32> {
    let mut towers = HashMap::<u32, u64>::new();
    for dwell in dwells.iter().filter(|dwell| of(dwell)) {
        *towers.entry(dwell.tower).or_default() += dwell.interactions;
    }
    towers.into_iter().max_by_key(|(tower, count)| (*count, u32::MAX - tower)).map(|(tower, _)| tower)
}

fn hour(dwell: &Dwell) -> i64 {
    dwell.start.0.div_euclid(HOUR).rem_euclid(24)
}

fn is_at_night(dwell: &Dwell) -> bool {
    !(7..21).contains(&hour(dwell))
}

/// From Monday to Friday; 1970-01-01 was a Thursday.
fn is_at_work(dwell: &Dwell) -> bool {
    (9..16).contains(&hour(dwell)) && (dwell.start.0.div_euclid(24 * HOUR) + 3).rem_euclid(7) < 5
}

#[derive(Default)]
struct Score {
    right: u32,
    all: u32,
}

impl Score {
    fn add(&mut self, found: Option<u32>, truth: Option<u32>) {
        if let (Some(found), Some(truth)) = (found, truth) {
            self.all += 1;
            self.right += u32::from(found == truth);
        }
    }

    fn share(&self) -> f64 {
        f64::from(self.right) / f64::from(self.all)
    }
}

/// The longest dwells of the night are at home, those of the day at work: as in what operators see.
#[test]
fn home_and_work_are_found_from_dwells() {
    let scenario = Scenario { total_seconds: 14 * 86_400, ..world() };
    let fixture = Fixture::new(&scenario);
    let mut sightings = sightings(&fixture);
    let (mut homes, mut works) = (Score::default(), Score::default());
    for subscriber in 0..scenario.subscribers {
        let number = fixture.generator.population().subscriber(subscriber).number();
        let Some(bases) = fixture.generator.bases(subscriber) else { continue };
        let dwells = sightings.get_mut(&number).map(|all| dwells(all)).unwrap_or_default();
        homes.add(busiest(&dwells, is_at_night), Some(bases.home));
        works.add(busiest(&dwells, is_at_work), bases.work);
    }
    for (what, score) in [("homes", &homes), ("places of work", &works)] {
        println!("{what}: {:.3} of {} are right", score.share(), score.all);
    }
    assert!(homes.all > 10_000 && homes.share() > 0.9, "{}", homes.share());
    assert!(works.all > 4_000 && works.share() > 0.7, "{}", works.share());
}

/// Without dwells of people there is nothing to find.
#[test]
fn service_lines_and_other_profiles_have_no_home() {
    let fixture = Fixture::new(&world());
    assert!(fixture.generator.bases(0).is_some());
    assert_eq!(fixture.generator.bases(world().subscribers - 1), None);
    let uniform = Scenario { profile: cdr_model::Profile::Uniform, ..world() };
    assert_eq!(Fixture::new(&uniform).generator.bases(0), None);
}
