//! Bytes → a scenario, and places in its run.

use std::ops::Range;

use cdr_model::{Generator, NumberingPlan, Part, PartIndex, Plan, Scenario, Shard, Stream};
use chrono::{NaiveDate, TimeDelta};

/// Sites are drawn one by one when a generator is made, so that many would take most of the time.
const SITES_MAX: u16 = 12;

/// Records that are generated of one input.
const RECORDS_MAX: u32 = 4;

/// Takes numbers from an input's front; from an empty one, zeros.
pub struct Numbers<'a>(pub &'a [u8]);

impl Numbers<'_> {
    /// A number of `count` bytes, little-endian, so that small changes in the first make small steps.
    fn bytes(&mut self, count: usize) -> u64 {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    pub fn byte(&mut self) -> u8 {
        self.bytes(1) as u8
    }

    pub fn u16(&mut self) -> u16 {
        self.bytes(2) as u16
    }

    pub fn u32(&mut self) -> u32 {
        self.bytes(4) as u32
    }

    pub fn u64(&mut self) -> u64 {
        self.bytes(8)
    }
}

/// A valid scenario, and some neighbouring records of one of its streams.
pub struct Fixture {
    pub generator: Generator,
    pub part: Part,
    pub stream: Stream,
    pub range: Range<u32>,
}

impl Fixture {
    /// The fixture that the numbers describe; `None` if there is no such run.
    pub fn new(numbers: &mut Numbers<'_>) -> Option<Fixture> {
        let scenario = scenario(numbers)?;
        let plan = Plan::new(&scenario, Shard::WHOLE).ok()?;
        let plan = if numbers.byte() & 1 == 0 { plan } else { plan.without_end() };
        // Numbers from the run's end on the other way round, so that both ends are near.
        let nth = numbers.u64();
        let index =
            if nth >> 63 == 0 { nth % plan.files() } else { plan.files() - 1 - !nth % plan.files() };
        let part = plan.part(PartIndex(index));
        let stream = [Stream::Data, Stream::Voice][usize::from(numbers.byte() & 1)];
        let count = plan.count(stream, part.index);
        let first = numbers.u32() % count;
        let range = first..count.min(first + 1 + numbers.u32() % RECORDS_MAX);
        let generator = Generator::new(&scenario).ok()?;
        Some(Fixture { generator, part, stream, range })
    }
}

fn scenario(numbers: &mut Numbers<'_>) -> Option<Scenario> {
    let seed = numbers.u64();
    let days = TimeDelta::days(i64::from(numbers.u32() % 3_700_000));
    let start = NaiveDate::from_ymd_opt(1, 1, 1)?.checked_add_signed(days)?;
    let start = start.and_hms_opt(0, 0, 0)? + TimeDelta::seconds(i64::from(numbers.u32() % 86_400));
    Some(Scenario {
        seed,
        start,
        total_seconds: numbers.u32().into(),
        line_count: numbers.u32(),
        lines_per_second: numbers.u32(),
        subscribers: numbers.u32(),
        destinations: numbers.u32(),
        towers: numbers.u16(),
        sites: numbers.u16() % SITES_MAX,
        numbering: numbering(numbers)?,
        ..Scenario::default()
    })
}

fn numbering(numbers: &mut Numbers<'_>) -> Option<NumberingPlan> {
    let country = numbers.u16();
    let prefixes = match numbers.byte() % 5 {
        0 => None,
        count => Some((0..count).map(|_| prefix(numbers)).collect()),
    };
    let digits = Some(numbers.byte()).filter(|&digits| digits > 0);
    NumberingPlan::new(country, prefixes, digits).ok()
}

/// Digits, zeros at the beginning included.
fn prefix(numbers: &mut Numbers<'_>) -> String {
    let (number, digits) = (numbers.u32() % 1_000_000, usize::from(numbers.byte() % 7));
    format!("{number:0digits$}")
}
