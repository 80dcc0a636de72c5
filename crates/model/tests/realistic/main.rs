//! The realistic profile: its laws, and that its records are a function of their numbers alone.

mod bases;
mod gates;
mod records;
mod rhythm;

use cdr_model::{
    FileFormat, Generator, Habits, PartIndex, Plan, Profile, RhythmKind, Scenario, Shard, Stream,
};

/// A day of the world in which the laws are tested.
fn world() -> Scenario {
    Scenario { profile: Profile::Realistic, subscribers: 20_000, ..Scenario::default() }
}

fn flat(scenario: Scenario) -> Scenario {
    Scenario { habits: Habits { rhythm: RhythmKind::Flat, ..Habits::default() }, ..scenario }
}

struct Fixture {
    plan: Plan,
    generator: Generator,
}

impl Fixture {
    fn new(scenario: &Scenario) -> Fixture {
        let plan = Plan::new(scenario, Shard::WHOLE).expect("a plan");
        Fixture { plan, generator: Generator::new(scenario).expect("a generator") }
    }

    /// The records of a part whose indices are in a range, as lines.
    fn lines(&self, stream: Stream, part: u64, range: std::ops::Range<u32>) -> Vec<u8> {
        let (mut lines, part) = (Vec::new(), self.plan.part(PartIndex(part)));
        FileFormat::default().body(&self.generator, stream, &part, range, &mut lines);
        lines
    }

    fn part(&self, stream: Stream, part: u64) -> Vec<u8> {
        self.lines(stream, part, 0..u32::MAX)
    }
}

const STREAMS: [Stream; 2] = [Stream::Data, Stream::Voice];
