//! Any split of the work over ranges, parts, streams and threads gives the same bytes.

use std::thread;

use cdr_model::{
    FileFormat, Generator, LineEnd, MessageFormat, Micros, NumberingPlan, Part, PartIndex, Plan,
    Scenario, Shard, Stream,
};
use proptest::prelude::*;

use crate::{Fixture, for_all, names};

/// A message that outlives its encoding: key, value, time.
type Sent = (Vec<u8>, Vec<u8>, Micros);

fn sent(generator: &Generator, stream: Stream, part: &Part, range: std::ops::Range<u32>) -> Vec<Sent> {
    let mut all = Vec::new();
    MessageFormat::Json.encode(generator, stream, part, range, |message| {
        all.push((message.key.as_bytes().to_vec(), message.value.to_vec(), message.time));
    });
    all
}

fn lines(
    generator: &Generator,
    stream: Stream,
    part: &Part,
    range: std::ops::Range<u32>,
    end: LineEnd,
) -> Vec<u8> {
    let mut text = Vec::new();
    FileFormat::Csv(end).body(generator, stream, part, range, &mut text);
    text
}

fn small_worlds() -> impl Strategy<Value = Scenario> {
    (any::<u64>(), 1..400u32, 1..100_000u64, 1..100_000u32).prop_map(
        |(seed, line_count, seconds_per_file, subscribers)| Scenario {
            seed,
            line_count,
            total_seconds: seconds_per_file * u64::from(line_count),
            subscribers,
            sites: 5,
            ..Scenario::default()
        },
    )
}

/// The ends of consecutive ranges that together make up `0..count`.
fn cuts(mut cuts: Vec<u32>, count: u32) -> Vec<std::ops::Range<u32>> {
    cuts.iter_mut().for_each(|cut| *cut %= count + 1);
    cuts.extend([0, count]);
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| ends[0]..ends[1]).collect()
}

#[test]
fn any_ranges_of_a_part_join_to_the_whole() {
    let values = (small_worlds(), 0..1_000_000_000u64, prop::collection::vec(any::<u32>(), 0..8));
    for_all(150, values, |(scenario, index, ends)| {
        let fixture = Fixture::new(scenario);
        let Fixture { plan, generator, .. } = &fixture;
        let part = plan.part(PartIndex(index));
        let count = fixture.plan.count_max();
        let (all, ranges) = (0..count, cuts(ends, count));
        for stream in plan.streams() {
            let split: Vec<Sent> =
                ranges.iter().flat_map(|range| sent(generator, stream, &part, range.clone())).collect();
            assert_eq!(split, sent(generator, stream, &part, all.clone()));
            for end in [LineEnd::Lf, LineEnd::CrLf] {
                let split: Vec<u8> = ranges
                    .iter()
                    .flat_map(|range| lines(generator, stream, &part, range.clone(), end))
                    .collect();
                assert_eq!(split, lines(generator, stream, &part, all.clone(), end));
            }
        }
        let data: Vec<_> = ranges.iter().flat_map(|range| fixture.data(&part, range.clone())).collect();
        assert_eq!(data, fixture.data(&part, all.clone()));
        let voice: Vec<_> =
            ranges.iter().flat_map(|range| fixture.voice(&part, range.clone())).collect();
        assert_eq!(voice, fixture.voice(&part, all));
    });
}

#[test]
fn a_file_is_its_header_and_its_lines() {
    let fixture = Fixture::new(Scenario::default());
    for stream in fixture.plan.streams() {
        for end in [LineEnd::Lf, LineEnd::CrLf] {
            let part = fixture.part(3);
            let text = match end {
                LineEnd::Lf => "\n",
                LineEnd::CrLf => "\r\n",
            };
            let header = names(stream).join(",") + text;
            let lines = lines(&fixture.generator, stream, &part, 0..1_000, end);
            assert_eq!(fixture.csv(stream, 3, end), [header.into_bytes(), lines].concat());
        }
    }
}

#[test]
fn output_is_appended_to_what_the_buffer_holds() {
    let fixture = Fixture::new(Scenario::default());
    let mut buffer = b"before".to_vec();
    FileFormat::default().file(&fixture.generator, Stream::Voice, &fixture.part(0), &mut buffer);
    assert_eq!(buffer, [&b"before"[..], &fixture.csv(Stream::Voice, 0, LineEnd::Lf)].concat());
}

/// The output of one part: both files and both streams of messages.
fn output(fixture: &Fixture, part: u64) -> Vec<Vec<u8>> {
    let files = fixture.plan.streams().map(|stream| fixture.csv(stream, part, LineEnd::Lf));
    files.chain(fixture.plan.streams().map(|stream| fixture.messages(stream, part))).collect()
}

const PARTS: u64 = 24;

fn in_order() -> Vec<Vec<Vec<u8>>> {
    let fixture = Fixture::new(Scenario::default());
    (0..PARTS).map(|part| output(&fixture, part)).collect()
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let expected = in_order();
    for threads in 1..=8 {
        let fixture = &Fixture::new(Scenario::default());
        let mut parts: Vec<(u64, Vec<Vec<u8>>)> = thread::scope(|scope| {
            let share =
                |first| (first..PARTS).step_by(threads).map(|part| (part, output(fixture, part)));
            let running: Vec<_> = (0..threads as u64)
                .map(|first| scope.spawn(move || share(first).collect::<Vec<_>>()))
                .collect();
            running.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
        });
        parts.sort_unstable_by_key(|&(part, _)| part);
        let actual: Vec<_> = parts.into_iter().map(|(_, output)| output).collect();
        assert_eq!(actual, expected, "{threads} threads");
    }
}

#[test]
fn any_number_of_threads_shares_one_part() {
    let fixture = &Fixture::new(Scenario { line_count: 5_000, ..Scenario::default() });
    let part = &fixture.part(2);
    for stream in fixture.plan.streams() {
        let expected = lines(&fixture.generator, stream, part, 0..5_000, LineEnd::Lf);
        for threads in 1..=8 {
            let ends = (0..=threads).map(|n| n * 5_000 / threads).collect();
            let text: Vec<u8> = thread::scope(|scope| {
                let running: Vec<_> = cuts(ends, 5_000)
                    .into_iter()
                    .map(|range| {
                        scope.spawn(|| lines(&fixture.generator, stream, part, range, LineEnd::Lf))
                    })
                    .collect();
                running.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
            });
            assert!(text == expected, "{stream}, {threads} threads");
        }
    }
}

#[test]
fn a_part_alone_is_the_same_as_after_any_others() {
    let expected = in_order();
    for (part, expected) in expected.iter().enumerate() {
        let fresh = Fixture::new(Scenario { sites: 2_000, ..Scenario::default() });
        assert_eq!(&output(&fresh, part as u64), expected, "part {part} alone");
    }
    let fixture = Fixture::new(Scenario::default());
    let backwards: Vec<_> = (0..PARTS).rev().map(|part| output(&fixture, part)).collect();
    assert!(backwards.iter().rev().eq(&expected));
}

#[test]
fn a_shard_has_the_bytes_of_the_whole_run() {
    let expected = in_order();
    for of in [2, 3, 8] {
        for number in 1..=of {
            let fixture = Fixture::new(Scenario::default());
            let shard = Shard::new(number, of).expect("a shard");
            let fixture =
                Fixture { plan: Plan::new(&fixture.scenario, shard).expect("a plan"), ..fixture };
            for part in (0..PARTS).filter(|&part| fixture.plan.owns(PartIndex(part))) {
                assert_eq!(
                    output(&fixture, part),
                    expected[part as usize],
                    "shard {shard}, part {part}"
                );
            }
        }
    }
}

#[test]
fn a_longer_run_begins_with_the_same_bytes() {
    let days =
        |days: u64| Fixture::new(Scenario { total_seconds: days * 86_000, ..Scenario::default() });
    let (one, ten) = (days(1), days(10));
    assert_eq!((one.plan.interval_s(), ten.plan.interval_s()), (1_000, 1_000));
    for part in 0..5 {
        assert_eq!(output(&one, part), output(&ten, part));
    }
}

#[test]
fn each_seed_and_each_stream_and_each_part_has_its_own_bytes() {
    let fixture = Fixture::new(Scenario::default());
    let other = Fixture::new(Scenario { seed: 418_002, ..Scenario::default() });
    for stream in fixture.plan.streams() {
        assert_ne!(fixture.messages(stream, 0), other.messages(stream, 0));
        assert_ne!(fixture.messages(stream, 0), fixture.messages(stream, 1));
    }
    let part = fixture.part(0);
    let subscribers = |stream| -> Vec<Vec<u8>> {
        sent(&fixture.generator, stream, &part, 0..1_000).into_iter().map(|(key, ..)| key).collect()
    };
    assert_ne!(subscribers(Stream::Data), subscribers(Stream::Voice));
}

#[test]
fn a_generator_of_an_equal_scenario_gives_equal_bytes() {
    let written_out = Scenario {
        numbering: NumberingPlan::new(27, None, None).expect("a known country"),
        ..Scenario::default()
    };
    assert_eq!(written_out, Scenario::default());
    assert_eq!(output(&Fixture::new(written_out), 5), in_order()[5]);
}
