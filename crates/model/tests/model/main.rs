//! The specification of `cdr-model`, as tests: one module for each promise.

mod extremes;
mod formats;
mod golden;
mod numbering;
mod plan;
mod records;
mod split;
mod statistics;
mod times;

use std::any::Any;
use std::fmt::Debug;
use std::ops::Range;

use cdr_model::{
    Called, DataRecord, FileFormat, Generator, LineEnd, MessageFormat, Part, PartIndex, Plan, Record,
    Records, Scenario, Shard, Stream, VoiceRecord,
};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

/// The contract's production run; its development run is [`Scenario::default`].
fn prod() -> Scenario {
    Scenario { total_seconds: 172_800, lines_per_second: 5, ..Scenario::default() }
}

/// A run with as many files as seconds, each of one record: plans with any number of parts.
fn run_of(files: u64) -> Scenario {
    Scenario { total_seconds: files, line_count: 1, ..Scenario::default() }
}

/// A scenario with what is needed to generate its parts.
struct Fixture {
    scenario: Scenario,
    plan: Plan,
    generator: Generator,
}

impl Fixture {
    fn new(scenario: Scenario) -> Fixture {
        let plan = Plan::new(&scenario, Shard::WHOLE).expect("a plan");
        let generator = Generator::new(&scenario).expect("a generator");
        Fixture { scenario, plan, generator }
    }

    fn part(&self, index: u64) -> Part {
        self.plan.part(PartIndex(index))
    }

    fn csv(&self, stream: Stream, part: u64, line_end: LineEnd) -> Vec<u8> {
        let mut file = Vec::new();
        FileFormat::Csv(line_end).file(&self.generator, stream, &self.part(part), &mut file);
        file
    }

    fn count(&self, stream: Stream, part: &Part) -> u32 {
        self.generator.count(stream, part.index)
    }

    /// The records themselves, as far as they are of this kind.
    fn records<R: Record>(&self, stream: Stream, part: &Part, range: Range<u32>) -> Vec<R> {
        let mut collected = Collected(Vec::new());
        self.generator.each(stream, part, range, &mut collected);
        collected.0
    }

    fn data(&self, part: &Part, range: Range<u32>) -> Vec<DataRecord> {
        self.records(Stream::Data, part, range)
    }

    fn voice(&self, part: &Part, range: Range<u32>) -> Vec<VoiceRecord> {
        self.records(Stream::Voice, part, range)
    }

    /// The messages of a part as text, `key<TAB>value<LF>` each.
    fn messages(&self, stream: Stream, part: u64) -> Vec<u8> {
        let part = self.part(part);
        let mut text = Vec::new();
        let all = 0..self.count(stream, &part);
        MessageFormat::Json.encode(&self.generator, stream, &part, all, |message| {
            text.extend_from_slice(message.key.as_bytes());
            text.push(b'\t');
            text.extend_from_slice(message.value);
            text.push(b'\n');
        });
        text
    }
}

/// Keeps the records of one kind.
struct Collected<R>(Vec<R>);

impl<R: Record> Records for Collected<R> {
    fn take<Other: Record>(&mut self, record: &Other) {
        self.0.extend((record as &dyn Any).downcast_ref::<R>());
    }
}

/// The names of a stream's fields, in order.
fn names(stream: Stream) -> Vec<&'static str> {
    stream.fields().iter().map(|field| field.name).collect()
}

/// Checks a property, which panics where it does not hold, of values drawn the same way each time.
fn for_all<S>(cases: u32, values: S, property: impl Fn(S::Value))
where
    S: Strategy,
    S::Value: Debug,
{
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(418_001),
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&values, |value| {
        property(value);
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Abort(reason)) => panic!("no values to check: {reason}"),
        Err(TestError::Fail(reason, value)) => panic!("{reason}; smallest example: {value:#?}"),
    }
}

/// The index of the number that was called, which is no subscriber's in the uniform profile.
fn destination(record: &VoiceRecord) -> u32 {
    match record.called {
        Called::Destination(index) => index,
        Called::Subscriber(index) => panic!("subscriber {index} is called"),
    }
}
