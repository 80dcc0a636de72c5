//! Records are a function of their numbers: however they are asked for, they are the same.

use std::sync::Arc;

use cdr_model::{PartIndex, Scenario, Stream};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::{Fixture, STREAMS, world};

/// Every seventh part, from behind and in pieces.
fn check_pieces(scenario: &Scenario) {
    let (one, other) = (Fixture::new(scenario), Fixture::new(scenario));
    for stream in STREAMS {
        let parts: Vec<_> = (0..one.plan.files()).map(|part| one.part(stream, part)).collect();
        for (part, expected) in parts.iter().enumerate().rev().step_by(7) {
            let count = other.plan.count(stream, PartIndex(part as u64));
            let cuts = [0, 1, count / 3, count / 2, count];
            let pieces =
                cuts.windows(2).rev().map(|cut| other.lines(stream, part as u64, cut[0]..cut[1]));
            let mut pieces: Vec<_> = pieces.collect();
            pieces.reverse();
            assert!(pieces.concat() == *expected, "{stream} {part}");
        }
    }
}

#[test]
fn any_range_of_any_part_in_any_order_gives_the_same_bytes() {
    check_pieces(&world());
}

/// There are so many wards that next to nothing is kept of each.
#[test]
fn what_is_kept_in_memory_changes_nothing_at_the_highest_rate() {
    check_pieces(&Scenario {
        lines_per_second: 5_000,
        subscribers: 100_000_000,
        line_count: 20_000,
        total_seconds: 100,
        ..world()
    });
}

#[test]
fn threads_that_share_a_generator_disturb_nobody() {
    let shared = Arc::new(Fixture::new(&world()));
    let alone = Fixture::new(&world());
    let threads: Vec<_> = (0..4)
        .map(|nth| {
            let shared = shared.clone();
            std::thread::spawn(move || {
                (0..20)
                    .map(|step| shared.part(Stream::Voice, (step * 13 + nth) % 86))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    for (nth, thread) in (0..).zip(threads) {
        for (step, lines) in (0..).zip(thread.join().unwrap()) {
            assert!(lines == alone.part(Stream::Voice, (step * 13 + nth) % 86), "{nth} {step}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Times lie in the part's window, in order, and are known without the records.
    #[test]
    fn times_lie_in_their_window(
        (lines_per_second, line_count, subscribers) in (1u32..200, 200u32..3_000, 1_200_000u32..90_000_000),
        part in 0u64..1_000_000,
    ) {
        let scenario = Scenario {
            lines_per_second,
            line_count,
            subscribers,
            total_seconds: 100_000_000,
            ..world()
        };
        let fixture = Fixture::new(&scenario);
        let part = fixture.plan.part(PartIndex(part % fixture.plan.files()));
        for stream in STREAMS {
            let mut before = part.start;
            let text = fixture.part(stream, part.index.0);
            let lines = std::str::from_utf8(&text).unwrap().lines();
            prop_assert_eq!(lines.clone().count() as u32, fixture.plan.count(stream, part.index));
            for (line, nth) in lines.zip(0..) {
                let time = fixture.generator.time(stream, &part, nth);
                prop_assert!(time >= before && time < part.end());
                prop_assert!(line.ends_with(&time.to_string()), "{line} {time}");
                before = time;
            }
        }
    }
}

/// Tables are built with floating-point numbers: these hashes are the same on every host, or a table is
/// not. They change with what the profile makes of a scenario, and then `REALISM` does, too.
#[test]
fn the_bytes_of_a_day_are_what_they_were() {
    let fixture = Fixture::new(&world());
    let hash = |stream| {
        let mut hash = Sha256::new();
        (0..fixture.plan.files()).for_each(|part| hash.update(fixture.part(stream, part)));
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!(STREAMS.map(hash), ["f0af6ff25c43e948", "be4fdd55454111a9"]);
}
