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

use std::fmt::Debug;

use cdr_model::{Generator, LineEnd, Part, PartIndex, Plan, Scenario, Shard, Stream};
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
struct World {
    scenario: Scenario,
    plan: Plan,
    generator: Generator,
}

impl World {
    fn new(scenario: Scenario) -> World {
        let plan = Plan::new(&scenario, Shard::WHOLE).expect("a plan");
        let generator = Generator::new(&scenario).expect("a generator");
        World { scenario, plan, generator }
    }

    fn part(&self, index: u64) -> Part {
        self.plan.part(PartIndex(index))
    }

    fn csv(&self, stream: Stream, part: u64, line_end: LineEnd) -> Vec<u8> {
        let mut file = Vec::new();
        self.generator.csv_file(stream, &self.part(part), line_end, &mut file);
        file
    }

    /// The messages of a part as text, `key<TAB>value<LF>` each.
    fn messages(&self, stream: Stream, part: u64) -> Vec<u8> {
        let part = self.part(part);
        let mut text = Vec::new();
        self.generator.messages(stream, &part, 0..part.line_count, |message| {
            text.extend_from_slice(message.key.as_bytes());
            text.push(b'\t');
            text.extend_from_slice(message.value);
            text.push(b'\n');
        });
        text
    }
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
