//! Every field of every record lies in the domain that the data contract gives it.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use cdr_model::{Micros, Part, Scenario, Stream};

use crate::{Fixture, destination, prod};

/// Special-purpose ranges, from IANA's registry: network and length of its prefix.
const SPECIAL_PURPOSE: [([u8; 4], u32); 19] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([192, 175, 48, 0], 24),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
    ([255, 255, 255, 255], 32),
];

fn is_in(address: Ipv4Addr, &(network, length): &([u8; 4], u32)) -> bool {
    address.to_bits() & u32::MAX << (32 - length) == Ipv4Addr::from(network).to_bits()
}

fn is_special_purpose(address: Ipv4Addr) -> bool {
    SPECIAL_PURPOSE.iter().any(|range| is_in(address, range))
}

/// The standard library's own idea of an address that is not public.
fn is_special_by_method(ip: Ipv4Addr) -> bool {
    ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast()
        || ip.is_broadcast()
        || ip.is_unspecified()
}

/// Times lie in the part's window, in order, and can be had without the rest of the record.
fn check_times(fixture: &Fixture, stream: Stream, part: &Part, times: &[Micros]) {
    assert_eq!(times.len(), fixture.count(stream, part) as usize);
    assert!(times.is_sorted());
    assert!(times.iter().all(|time| (part.start..part.end()).contains(time)));
    for (index, &time) in times.iter().enumerate() {
        assert_eq!(fixture.generator.time(stream, part, index as u32), time, "{stream} {index}");
    }
}

fn check_data(fixture: &Fixture, part: u64) {
    let part = fixture.part(part);
    let records = fixture.data(&part, 0..1_000);
    for record in &records {
        assert!(record.subscriber < fixture.scenario.subscribers);
        assert!((1..=fixture.scenario.towers).contains(&record.tower));
        assert!((100_000..=1_000_000).contains(&record.up_bytes));
        assert!((100_000..=1_000_000).contains(&record.down_bytes));
        assert!(record.site < fixture.scenario.sites);
        assert!(!is_special_purpose(record.ip_address), "{}", record.ip_address);
        assert!(!is_special_by_method(record.ip_address), "{}", record.ip_address);
    }
    let times: Vec<Micros> = records.iter().map(|record| record.event_time).collect();
    check_times(fixture, Stream::Data, &part, &times);
}

fn check_voice(fixture: &Fixture, part: u64) {
    let part = fixture.part(part);
    let records = fixture.voice(&part, 0..1_000);
    for record in &records {
        assert!(record.subscriber < fixture.scenario.subscribers);
        assert!(destination(record) < fixture.scenario.destinations);
        assert!((1..=fixture.scenario.towers).contains(&record.tower));
        assert!((1..=1_800).contains(&record.duration_s));
    }
    let times: Vec<Micros> = records.iter().map(|record| record.start_time).collect();
    check_times(fixture, Stream::Voice, &part, &times);
}

#[test]
fn every_data_record_of_the_development_run_is_in_its_domain() {
    let fixture = Fixture::new(Scenario::default());
    (0..86).for_each(|part| check_data(&fixture, part));
}

#[test]
fn every_voice_record_of_the_development_run_is_in_its_domain() {
    let fixture = Fixture::new(Scenario::default());
    (0..86).for_each(|part| check_voice(&fixture, part));
}

#[test]
fn records_of_the_production_run_are_in_their_domains() {
    let fixture = Fixture::new(prod());
    for part in (0..864).step_by(27) {
        check_data(&fixture, part);
        check_voice(&fixture, part);
    }
}

#[test]
fn both_ends_of_each_domain_occur() {
    let fixture = Fixture::new(Scenario { subscribers: 100, destinations: 100, ..Scenario::default() });
    let parts = || (0..300).map(|index| fixture.part(index));
    let data: Vec<_> = parts().flat_map(|part| fixture.data(&part, 0..1_000)).collect();
    let voice: Vec<_> = parts().flat_map(|part| fixture.voice(&part, 0..1_000)).collect();
    check_ends("subscriber", data.iter().map(|record| record.subscriber), 0, 99);
    check_ends("tower", data.iter().map(|record| record.tower.into()), 1, 2_000);
    check_ends("site", data.iter().map(|record| record.site.into()), 0, 1_999);
    check_ends("octet", data.iter().map(|record| record.ip_address.octets()[0].into()), 1, 223);
    check_ends("last octet", data.iter().map(|record| record.ip_address.octets()[3].into()), 0, 255);
    // The 900,001 volumes are too many for both ends to occur: what does is within 1 %.
    check_ends("up_bytes", data.iter().map(|record| record.up_bytes / 9_000), 11, 111);
    check_ends("down_bytes", data.iter().map(|record| record.down_bytes / 9_000), 11, 111);
    check_ends("subscriber", voice.iter().map(|record| record.subscriber), 0, 99);
    check_ends("destination", voice.iter().map(destination), 0, 99);
    check_ends("tower", voice.iter().map(|record| record.tower.into()), 1, 2_000);
    check_ends("duration", voice.iter().map(|record| record.duration_s.into()), 1, 1_800);
    let data_types: HashSet<_> = data.iter().map(|record| record.data_type.name()).collect();
    assert_eq!(data_types, HashSet::from(["video", "audio", "image", "text", "application"]));
    let call_types: HashSet<_> = voice.iter().map(|record| record.call_type.name()).collect();
    assert_eq!(call_types, HashSet::from(["voice", "video"]));
}

fn check_ends(name: &str, values: impl Iterator<Item = u32> + Clone, min: u32, max: u32) {
    assert_eq!((values.clone().min(), values.max()), (Some(min), Some(max)), "{name}");
}

#[test]
fn addresses_come_from_public_neighbours_of_special_ranges_too() {
    let fixture = Fixture::new(Scenario::default());
    let parts = (0..300).map(|index| fixture.part(index));
    let seen: HashSet<[u8; 2]> = parts
        .flat_map(|part| fixture.data(&part, 0..1_000))
        .map(|record| [record.ip_address.octets()[0], record.ip_address.octets()[1]])
        .collect();
    for neighbour in
        [[100, 63], [100, 128], [172, 15], [172, 32], [198, 17], [198, 20], [203, 0], [192, 167]]
    {
        assert!(seen.contains(&neighbour), "{neighbour:?}");
    }
}

/// Data records of the default seed whose first draw is an address of a special range: part, index, address.
/// Such draws are too rare to be met by chance.
const SPECIAL_DRAWS: [(u64, u32, Ipv4Addr); 26] = [
    (0, 340, Ipv4Addr::new(100, 120, 150, 11)),
    (0, 932, Ipv4Addr::new(100, 64, 118, 41)),
    (176, 314, Ipv4Addr::new(169, 254, 120, 37)),
    (80, 178, Ipv4Addr::new(169, 254, 195, 166)),
    (3, 191, Ipv4Addr::new(172, 16, 242, 224)),
    (6, 929, Ipv4Addr::new(172, 20, 113, 64)),
    (7728, 990, Ipv4Addr::new(192, 0, 0, 157)),
    (21841, 405, Ipv4Addr::new(192, 0, 0, 9)),
    (51752, 315, Ipv4Addr::new(192, 0, 2, 178)),
    (847, 12, Ipv4Addr::new(192, 0, 2, 77)),
    (20, 384, Ipv4Addr::new(192, 168, 105, 57)),
    (13, 727, Ipv4Addr::new(192, 168, 248, 174)),
    (22796, 494, Ipv4Addr::new(192, 175, 48, 130)),
    (19934, 988, Ipv4Addr::new(192, 175, 48, 9)),
    (40922, 578, Ipv4Addr::new(192, 31, 196, 135)),
    (33159, 678, Ipv4Addr::new(192, 31, 196, 64)),
    (18410, 865, Ipv4Addr::new(192, 52, 193, 193)),
    (23517, 818, Ipv4Addr::new(192, 52, 193, 221)),
    (32356, 778, Ipv4Addr::new(192, 88, 99, 114)),
    (20531, 794, Ipv4Addr::new(192, 88, 99, 178)),
    (26, 668, Ipv4Addr::new(198, 18, 185, 180)),
    (49, 396, Ipv4Addr::new(198, 18, 93, 189)),
    (11589, 7, Ipv4Addr::new(198, 51, 100, 161)),
    (17934, 942, Ipv4Addr::new(198, 51, 100, 46)),
    (52416, 457, Ipv4Addr::new(203, 0, 113, 149)),
    (28573, 457, Ipv4Addr::new(203, 0, 113, 92)),
];

/// The address that the generator draws first, by the definition of its random numbers.
fn first_draw(seed: u64, part: u64, index: u32) -> Ipv4Addr {
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |z: u64| {
        let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    };
    let at = |key: u64, index: u64| mix(key.wrapping_add(index.wrapping_mul(STEP)));
    let key = at(mix(seed.wrapping_add(STEP) ^ u64::from_be_bytes(*b"cdr_data")), part);
    let scaled = (at(key, u64::from(index) * 4 + 2) >> 32) * 221;
    let octet = (1..=223).filter(|octet| ![10, 127].contains(octet)).nth((scaled >> 32) as usize);
    Ipv4Addr::from_bits(octet.expect("an octet") << 24 | (scaled as u32) >> 8)
}

#[test]
fn an_address_that_is_public_is_the_first_draw() {
    let fixture = Fixture::new(Scenario::default());
    for part in [0, 85, 1_000_000] {
        let records = fixture.data(&fixture.part(part), 0..1_000);
        let first = (0..1_000).map(|index| first_draw(fixture.scenario.seed, part, index));
        for (record, first) in
            records.into_iter().zip(first).filter(|(_, first)| !is_special_purpose(*first))
        {
            assert_eq!(record.ip_address, first);
        }
    }
}

#[test]
fn an_address_of_a_special_range_is_drawn_again() {
    let fixture = Fixture::new(Scenario::default());
    let mut ranges: HashSet<&([u8; 4], u32)> = HashSet::new();
    for (part, index, special) in SPECIAL_DRAWS {
        assert_eq!(first_draw(fixture.scenario.seed, part, index), special);
        ranges.extend(SPECIAL_PURPOSE.iter().filter(|range| is_in(special, range)));
        for record in fixture.data(&fixture.part(part), index..index + 1) {
            assert!(!is_special_purpose(record.ip_address), "{}", record.ip_address);
        }
    }
    // All but those that hold whole first octets, which are never drawn.
    assert_eq!(ranges.len(), SPECIAL_PURPOSE.len() - 6);
}

#[test]
fn a_range_beyond_the_part_ends_with_the_part() {
    let fixture = Fixture::new(Scenario { line_count: 10, ..Scenario::default() });
    let part = fixture.part(0);
    assert_eq!(fixture.data(&part, 8..u32::MAX).len(), 2);
    assert_eq!(fixture.voice(&part, 10..u32::MAX).len(), 0);
    assert_eq!(fixture.voice(&part, u32::MAX..u32::MAX).len(), 0);
}

/// What `http(s)://…/` stands for: a scheme, a host name of letters, digits, `-` and `.`, a slash.
fn check_site(url: &str) {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).expect(url);
    let host = rest.strip_suffix('/').expect(url);
    let labels: Vec<&str> = host.split('.').collect();
    assert!(labels.len() >= 2, "{url}");
    for label in labels {
        assert!((1..=63).contains(&label.len()), "{url}");
        assert!(!label.starts_with('-') && !label.ends_with('-'), "{url}");
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(label.bytes().all(allowed), "{url}");
    }
}

#[test]
fn websites_are_different_urls_of_a_scheme_and_a_host() {
    for (seed, sites) in [(418_001, 2_000), (0, 2_000), (7, 65_535), (u64::MAX, 1)] {
        let fixture = Fixture::new(Scenario { seed, sites, ..Scenario::default() });
        let urls: HashSet<&str> =
            (0..sites).map(|index| fixture.generator.population().site(index)).collect();
        assert_eq!(urls.len(), usize::from(sites), "seed {seed}");
        urls.into_iter().for_each(check_site);
    }
}

#[test]
fn another_seed_has_other_websites() {
    let of = |seed| Fixture::new(Scenario { seed, ..Scenario::default() }).generator;
    let (one, other) = (of(418_001), of(418_002));
    let same =
        (0..2_000).filter(|&index| one.population().site(index) == other.population().site(index));
    assert!(same.count() <= 2);
}
