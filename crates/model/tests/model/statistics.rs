//! The uniform profile is uniform, and its values do not depend on each other.
//!
//! The seeds are fixed, so that each test gives the same verdict every time. A statistic may lie
//! four standard deviations from its mean, which chance exceeds once in 16,000 tests.

use std::collections::{HashMap, HashSet};

use cdr_model::{DataRecord, Micros, Scenario, VoiceRecord};

use crate::{Fixture, destination};

const DEVIATIONS_MAX: f64 = 4.0;

const PARTS: u64 = 100;

/// A thousandth of the window of 1,005 seconds, in microseconds: the slot of one record's time.
const SLOT: u32 = 1_005_000;

/// The values of one field in many records, as numbers of `0..kinds`.
struct Column {
    name: &'static str,
    kinds: u32,
    values: Vec<u32>,
    /// Each value's distance from the mean, in standard deviations of the uniform distribution.
    standard: Vec<f64>,
    /// Which of `share_count` equal shares of `0..kinds` each value lies in.
    shares: Vec<u32>,
    share_count: u32,
}

impl Column {
    fn of<R>(name: &'static str, kinds: u32, records: &[R], value: impl Fn(&R) -> u32) -> Column {
        let values: Vec<u32> = records.iter().map(value).collect();
        let (count, share_count) = (f64::from(kinds), kinds.min(8));
        let (mean, deviation) = ((count - 1.0) / 2.0, ((count * count - 1.0) / 12.0).sqrt());
        let standard = values.iter().map(|&value| (f64::from(value) - mean) / deviation).collect();
        let shares = values.iter().map(|&value| share(value, kinds, share_count)).collect();
        Column { name, kinds, values, standard, shares, share_count }
    }

    /// Each value, each share of the values, and the values' last bits are equally frequent.
    fn check_uniform(&self) {
        check_even(self.name, &histogram(self.shares.iter().copied(), self.share_count));
        let bins = self.kinds.min(2_000);
        let fine = self.values.iter().map(|&value| share(value, self.kinds, bins));
        check_even(&format!("fine shares of {}", self.name), &histogram(fine, bins));
        if self.kinds > 10_000 {
            let last_bits = self.values.iter().map(|value| value % 16);
            check_even(&format!("last bits of {}", self.name), &histogram(last_bits, 16));
        }
    }
}

/// Which of `bins` equal shares of `0..kinds` a value lies in.
fn share(value: u32, kinds: u32, bins: u32) -> u32 {
    (u64::from(value) * u64::from(bins) / u64::from(kinds)) as u32
}

fn histogram(values: impl Iterator<Item = u32>, kinds: u32) -> Vec<u64> {
    values.fold(vec![0; kinds as usize], |mut counts, value| {
        counts[value as usize] += 1;
        counts
    })
}

/// How many standard deviations a chi-square statistic lies above its mean (Wilson and Hilferty).
fn deviations(observed: &[u64], expected: impl Fn(usize) -> f64) -> f64 {
    let terms =
        observed.iter().enumerate().map(|(i, &n)| (n as f64 - expected(i)).powi(2) / expected(i));
    let freedom = observed.len() as f64 - 1.0;
    let spread = 2.0 / (9.0 * freedom);
    ((terms.sum::<f64>() / freedom).cbrt() - (1.0 - spread)) / spread.sqrt()
}

fn check_even(name: &str, counts: &[u64]) {
    let mean = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    assert!(mean >= 5.0, "{name}: too few values for {} counts", counts.len());
    let deviations = deviations(counts, |_| mean);
    assert!(deviations.abs() < DEVIATIONS_MAX, "{name}: {deviations:.2} standard deviations");
}

/// The values of `x` and the values of `y` that stand `below` places further down do not depend on
/// each other: neither linearly nor by shares of their ranges.
fn check_independent(x: &Column, y: &Column, below: usize) {
    let name = format!("{} and {} {below} below", x.name, y.name);
    let products: f64 = x.standard.iter().zip(&y.standard[below..]).map(|(a, b)| a * b).sum();
    let deviations = products / ((x.values.len() - below) as f64).sqrt();
    assert!(deviations.abs() < DEVIATIONS_MAX, "{name}: {deviations:.2} standard deviations");
    let cells = x.shares.iter().zip(&y.shares[below..]).map(|(a, b)| a * y.share_count + b);
    check_even(&name, &histogram(cells, x.share_count * y.share_count));
}

fn in_slot(fixture: &Fixture, time: Micros) -> u32 {
    let since_start = time.0 - Micros::from_civil(fixture.scenario.start).0;
    since_start.rem_euclid(SLOT.into()) as u32
}

fn data(fixture: &Fixture) -> Vec<Column> {
    let parts = (0..PARTS).map(|index| fixture.part(index));
    let records: Vec<DataRecord> = parts.flat_map(|part| fixture.data(&part, 0..1_000)).collect();
    vec![
        Column::of("subscriber", 50_000, &records, |record| record.subscriber),
        Column::of("tower", 2_000, &records, |record| u32::from(record.tower) - 1),
        Column::of("up_bytes", 900_001, &records, |record| record.up_bytes - 100_000),
        Column::of("down_bytes", 900_001, &records, |record| record.down_bytes - 100_000),
        Column::of("data_type", 5, &records, |record| record.data_type as u32),
        Column::of("low half of address", 65_536, &records, |record| {
            record.ip_address.to_bits() & 0xFFFF
        }),
        Column::of("site", 2_000, &records, |record| record.site.into()),
        Column::of("time in slot", SLOT, &records, |record| in_slot(fixture, record.event_time)),
    ]
}

fn voice(fixture: &Fixture) -> Vec<Column> {
    let parts = (0..PARTS).map(|index| fixture.part(index));
    let records: Vec<VoiceRecord> = parts.flat_map(|part| fixture.voice(&part, 0..1_000)).collect();
    vec![
        Column::of("subscriber", 50_000, &records, |record| record.subscriber),
        Column::of("tower", 2_000, &records, |record| u32::from(record.tower) - 1),
        Column::of("call_type", 2, &records, |record| record.call_type as u32),
        Column::of("destination", 50_000, &records, destination),
        Column::of("duration", 1_800, &records, |record| u32::from(record.duration_s) - 1),
        Column::of("time in slot", SLOT, &records, |record| in_slot(fixture, record.start_time)),
    ]
}

fn fixture(seed: u64) -> Fixture {
    Fixture::new(Scenario { seed, ..Scenario::default() })
}

/// The default seed, its neighbour, and the extreme ones.
const SEEDS: [u64; 4] = [418_001, 418_002, 0, u64::MAX];

#[test]
fn every_value_of_a_field_is_equally_frequent() {
    for seed in SEEDS {
        data(&fixture(seed)).iter().for_each(Column::check_uniform);
        voice(&fixture(seed)).iter().for_each(Column::check_uniform);
    }
}

#[test]
fn addresses_are_spread_evenly_over_the_public_ones() {
    // Public addresses of each first octet, as a share of 2^24.
    let public = |octet: usize| match octet {
        0 | 10 | 127 | 224.. => 0.0,
        100 => 1.0 - 1.0 / 4.0,
        169 => 1.0 - 1.0 / 256.0,
        172 => 1.0 - 1.0 / 16.0,
        192 => 1.0 - 1.0 / 256.0 - 6.0 / 65_536.0,
        198 => 1.0 - 2.0 / 256.0 - 1.0 / 65_536.0,
        203 => 1.0 - 1.0 / 65_536.0,
        _ => 1.0,
    };
    let octets: Vec<usize> = (0..256).filter(|&octet| public(octet) > 0.0).collect();
    let total: f64 = octets.iter().map(|&octet| public(octet)).sum();
    for seed in SEEDS {
        let fixture = fixture(seed);
        let parts = (0..PARTS).map(|index| fixture.part(index));
        let firsts = parts
            .flat_map(|part| fixture.data(&part, 0..1_000))
            .map(|record| record.ip_address.octets()[0].into());
        let counts = histogram(firsts, 256);
        let records = counts.iter().sum::<u64>() as f64;
        let public_counts: Vec<u64> = octets.iter().map(|&octet| counts[octet]).collect();
        let deviations = deviations(&public_counts, |i| records * public(octets[i]) / total);
        assert!(deviations.abs() < DEVIATIONS_MAX, "first octet: {deviations:.2} standard deviations");
    }
}

/// No field depends on another, nor on any of the record before or of the part before.
fn check_fields_independent(columns: &[Column]) {
    for (i, column) in columns.iter().enumerate() {
        columns[i + 1..].iter().for_each(|other| check_independent(column, other, 0));
        for below in [1, 1_000] {
            columns.iter().for_each(|other| check_independent(column, other, below));
        }
    }
}

#[test]
fn no_field_depends_on_another_nor_on_the_record_or_part_before() {
    for seed in SEEDS {
        check_fields_independent(&data(&fixture(seed)));
        check_fields_independent(&voice(&fixture(seed)));
    }
}

fn check_each_independent(xs: &[Column], ys: &[Column]) {
    for (x, y) in xs.iter().flat_map(|x| ys.iter().map(move |y| (x, y))) {
        check_independent(x, y, 0);
    }
}

#[test]
fn no_stream_depends_on_the_other() {
    for seed in &SEEDS[..2] {
        check_each_independent(&data(&fixture(*seed)), &voice(&fixture(*seed)));
    }
}

#[test]
fn no_subscriber_and_tower_of_one_stream_come_again_in_the_other() {
    let fixture = fixture(418_001);
    let mut shared = 0;
    for part in (0..PARTS).map(|index| fixture.part(index)) {
        let data = fixture.data(&part, 0..1_000);
        let data: HashSet<(u32, u16)> =
            data.iter().map(|record| (record.subscriber, record.tower)).collect();
        let voice = fixture.voice(&part, 0..1_000);
        shared +=
            voice.iter().filter(|record| data.contains(&(record.subscriber, record.tower))).count();
    }
    // Chance alone makes it one of the 100,000.
    assert!(shared <= 5, "{shared} are shared");
}

#[test]
fn no_seed_depends_on_another_that_differs_in_one_bit() {
    for (seed, other) in [(418_001, 418_000), (0, 1), (0, 1 << 63), (418_001, 418_001 ^ 1 << 32)] {
        let (one, other) = (fixture(seed), fixture(other));
        for (x, y) in data(&one).iter().zip(&data(&other)) {
            check_independent(x, y, 0);
        }
        for (x, y) in voice(&one).iter().zip(&voice(&other)) {
            check_independent(x, y, 0);
        }
    }
}

#[test]
fn first_records_of_consecutive_seeds_are_uniform_too() {
    let mut subscribers = Vec::new();
    for seed in 0..4_000 {
        let fixture = Fixture::new(Scenario { seed, sites: 1, ..Scenario::default() });
        subscribers.extend(fixture.data(&fixture.part(0), 0..1).iter().map(|record| record.subscriber));
    }
    check_even("subscriber", &histogram(subscribers.iter().map(|subscriber| subscriber / 500), 100));
}

#[test]
fn every_digit_of_the_numbers_is_about_equally_frequent() {
    for seed in SEEDS {
        let fixture = Fixture::new(Scenario { seed, ..Scenario::default() });
        let mut counts = [[0u32; 10]; 11];
        for index in 0..50_000 {
            let number = fixture.generator.population().subscriber(index);
            for (place, digit) in number.as_bytes().iter().enumerate() {
                counts[place][usize::from(digit - b'0')] += 1;
            }
        }
        // The first four digits are those of the country and its prefixes.
        for (place, counts) in counts.iter().enumerate().skip(4) {
            assert!(counts.iter().all(|count| (4_500..=5_500).contains(count)), "{place}: {counts:?}");
        }
    }
}

fn check_prefixes(seed: u64) {
    let fixture = Fixture::new(Scenario { seed, sites: 1, ..Scenario::default() });
    let mut counts = HashMap::new();
    for index in 0..50_000 {
        let number = fixture.generator.population().subscriber(index);
        *counts.entry([2, 3].map(|place| number.as_bytes()[place])).or_insert(0u32) += 1;
    }
    assert_eq!(counts.len(), 18, "seed {seed}");
    assert!(counts.values().all(|count| (2_500..=3_056).contains(count)), "seed {seed}: {counts:?}");
}

#[test]
fn every_prefix_has_its_share_of_the_numbers_within_a_tenth() {
    SEEDS.into_iter().chain(0..200).for_each(check_prefixes);
}

#[test]
fn a_seed_whose_first_factor_crowds_the_numbers_spreads_them_all_the_same() {
    [2_407, 5_060, 12_357, 13_582, 13_824].into_iter().for_each(check_prefixes);
}
