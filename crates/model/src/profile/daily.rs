//! The rhythm of days and weeks: how many records each time brings.
//!
//! The records of a stream are numbered along the whole run. How many lie before a time is a closed
//! formula, and so is its inverse: the integral of a rate that depends on the local time of day, in
//! bins of ten minutes, and on the kind of day. The bounds of parts cut bins into [cells](Cell), in
//! which records lie evenly: so each part has a whole number of records, and all parts together have
//! exactly as many as there should be.

use std::sync::Arc;

use chrono::Datelike;

use super::hours::{BIN, BINS, Rates};
use crate::habits::{DayKind, RhythmKind};
use crate::part::{Part, PartIndex};
use crate::random::{GOLDEN_GAMMA, mix};
use crate::scenario::Scenario;
use crate::stream::{PerStream, Stream};
use crate::time::{Micros, YEAR_10000};

const DAY: i64 = 86_400;

/// Days after which the calendar repeats itself, weekdays included.
const DAYS_OF_400_YEARS: i64 = 146_097;

/// Binary digits of a scale behind its point.
const POINT: u32 = 56;

/// How many records each part has, and where in its window they lie.
///
/// Times are local inside, in seconds since 1970-01-01.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Daily {
    start: i64,
    interval: i64,
    /// 2^63 divided by the interval.
    reciprocal: i64,
    /// What local time is ahead of UTC, in seconds.
    ahead: i64,
    files: i64,
    /// No part begins behind the calendar's four digits for the year.
    last: i64,
    /// Makes the streams' draws differ.
    keys: PerStream<u64>,
    kinds: Arc<Kinds>,
    curves: Arc<PerStream<Curve>>,
}

/// The kinds of all days after which the calendar repeats itself, from 1970-01-01.
#[derive(Debug, PartialEq, Eq)]
struct Kinds {
    is_weekly: bool,
    of: Vec<DayKind>,
}

/// The rate of one stream, and its integral.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Curve {
    rates: Rates,
    /// The integral from a day's beginning to that of each bin, by kind of day.
    bins: [[i64; BINS + 1]; DayKind::COUNT],
    /// The integral from the beginning of the calendar's period to that of each of its days.
    days: Vec<i64>,
    /// The integral up to the beginning of the first part.
    origin: i64,
    /// Records for each unit of the integral.
    scale: u64,
}

/// A piece of time in which records lie evenly: each in a narrow interval of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Number of the first record.
    pub first: i64,
    /// Microseconds, local.
    begin: i64,
    pub count: u32,
    width: u32,
    /// Records of a second, in the curve's own unit.
    pub rate: u32,
    /// Microseconds of each record's interval, in 2^32ths.
    step: u64,
    /// Records of a microsecond, in 2^34ths.
    density: u64,
    /// The local day, counted from 1970-01-01, and its kind.
    day: i32,
    kind: DayKind,
    /// The second of the day at which it begins.
    of_day: u32,
}

/// A local time, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Counted from 1970-01-01.
    pub day: i64,
    pub kind: DayKind,
    /// Seconds of the day.
    pub of_day: i64,
}

impl Moment {
    /// Seconds since 1970-01-01.
    pub fn second(self) -> i64 {
        self.day * DAY + self.of_day
    }
}

/// Binary digits of a cell's density behind its point: a cell has less than 2^30 microseconds.
const DENSITY_POINT: u32 = 34;

impl Cell {
    /// A cell in which nothing lies.
    pub const NONE: Cell = Cell {
        first: 0,
        begin: 0,
        count: 0,
        width: 0,
        rate: 0,
        step: 0,
        density: 0,
        day: 0,
        kind: DayKind::Workday,
        of_day: 0,
    };

    fn new(first: i64, count: u32, [from, to]: [i64; 2], rate: u32, kind: DayKind) -> Cell {
        let (day, of_day) = (from.div_euclid(DAY) as i32, from.rem_euclid(DAY) as u32);
        let (begin, width) = (from * 1_000_000, ((to - from) * 1_000_000) as u32);
        // What takes a division is done once.
        let step = (u64::from(width) << 32) / u64::from(count.max(1));
        let density = (u64::from(count) << DENSITY_POINT) / u64::from(width.max(1));
        Cell { first, begin, count, width, rate, step, density, day, kind, of_day }
    }

    /// Whether a local second lies in the cell.
    #[inline]
    pub fn covers(&self, second: i64) -> bool {
        ((second * 1_000_000 - self.begin) as u64) < self.width.into()
    }

    pub fn end(&self) -> i64 {
        self.begin + i64::from(self.width)
    }

    #[inline]
    pub fn contains(&self, record: i64) -> bool {
        ((record - self.first) as u64) < self.count.into()
    }

    /// When a record of the cell happens; the draw places it within its interval.
    #[inline]
    pub fn time(&self, record: i64, draw: u32) -> i64 {
        let nth = (record - self.first) as u64;
        let within = (u128::from(self.step) * u128::from(draw)) >> 32;
        self.begin + ((nth * self.step + within as u64) >> 32) as i64
    }

    /// A time of the cell, in microseconds, taken apart: a cell is of one day.
    #[inline]
    pub fn moment(&self, time: i64) -> Moment {
        let within = (time - self.begin) as u32 / 1_000_000;
        Moment { day: self.day.into(), kind: self.kind, of_day: (self.of_day + within).into() }
    }

    /// The record in whose interval a time of the cell lies.
    #[inline]
    pub fn record_at(&self, time: i64) -> i64 {
        let behind = (time - self.begin) as u64;
        self.first + ((behind * self.density) >> DENSITY_POINT) as i64
    }
}

impl Curve {
    fn new(stream: Stream, rhythm: RhythmKind, kinds: &[DayKind]) -> Curve {
        let rates = Rates::of(stream, rhythm);
        let mut bins = [[0; BINS + 1]; DayKind::COUNT];
        for kind in DayKind::ALL {
            let bins = &mut bins[kind as usize];
            for bin in 0..BINS {
                bins[bin + 1] = bins[bin] + i64::from(rates.of_bin(kind, bin)) * BIN;
            }
        }
        let mut days = vec![0];
        days.extend(kinds.iter().scan(0, |sum, kind| {
            *sum += bins[*kind as usize][BINS];
            Some(*sum)
        }));
        Curve { rates, bins, days, origin: 0, scale: 0 }
    }

    /// The integral up to a second, and the rate and the kind of day then.
    #[inline]
    fn integral(&self, kinds: &Kinds, second: i64) -> (i64, u32, DayKind) {
        let (day, of_day) = (second.div_euclid(DAY), second.rem_euclid(DAY));
        let (periods, day) = kinds.period(day);
        let (kind, bin) = (kinds.of[day], (of_day / BIN) as usize);
        let rate = self.rates.of_bin(kind, bin);
        let within = i64::from(rate) * (of_day % BIN);
        let before = periods * self.days[kinds.of.len()] + self.days[day];
        (before + self.bins[kind as usize][bin] + within, rate, kind)
    }

    /// How many records lie before a second; below 0 before the first part.
    #[inline]
    fn before(&self, kinds: &Kinds, second: i64) -> i64 {
        self.records(self.integral(kinds, second).0)
    }

    /// The records that lie before the time up to which the integral is this.
    #[inline]
    fn records(&self, integral: i64) -> i64 {
        ((i128::from(integral - self.origin) * i128::from(self.scale)) >> POINT) as i64
    }
}

impl Daily {
    /// `start` is the beginning of the first part, UTC.
    pub fn new(scenario: &Scenario, start: Micros, interval: u64, files: u64) -> Daily {
        let ahead = i64::from(scenario.habits.utc_offset.0) * 60;
        let kinds = Kinds::new(scenario);
        let (start, interval) = (start.0.div_euclid(1_000_000) + ahead, interval as i64);
        let records = u128::from(files) * u128::from(scenario.line_count);
        let curves = PerStream::from_fn(|stream| {
            let mut curve = Curve::new(stream, scenario.habits.rhythm, &kinds.of);
            curve.origin = curve.integral(&kinds, start).0;
            let whole = curve.integral(&kinds, start + interval * files as i64).0 - curve.origin;
            // Rounded up: what that is too much for the whole run is less than one record.
            curve.scale = (records << POINT).div_ceil(whole as u128) as u64;
            curve
        });
        let keys = PerStream::from_fn(|stream| mix(scenario.seed ^ stream.salt()));
        let files = files as i64;
        let reciprocal = i64::MAX / interval;
        let (kinds, curves) = (Arc::new(kinds), Arc::new(curves));
        let last = (YEAR_10000.0 / 1_000_000 - start) / interval;
        Daily { start, interval, reciprocal, ahead, files, last, keys, kinds, curves }
    }

    /// Random bits of a record. The lower half places it in time.
    #[inline]
    pub fn bits(&self, stream: Stream, record: i64) -> u64 {
        mix(self.keys[stream] ^ (record as u64).wrapping_mul(GOLDEN_GAMMA))
    }

    /// Records of a stream in a second, on average.
    pub fn rate(&self) -> f64 {
        let seconds = self.files * self.interval;
        self.before(Stream::Data, self.begin(self.files)) as f64 / seconds as f64
    }

    /// Records of the run's first week; the first of them has the number 0.
    pub fn first_week(&self, stream: Stream) -> i64 {
        self.before(stream, self.start + (self.files * self.interval).min(7 * DAY))
    }

    /// No cell is longer, in seconds, and few are shorter.
    pub fn cell_seconds(&self) -> i64 {
        self.interval.min(BIN)
    }

    /// The cell at the beginning of a part.
    pub fn first_cell(&self, stream: Stream, part: PartIndex) -> Cell {
        self.cell_at(stream, self.begin(index(part)))
    }

    /// The local second at which a part begins.
    pub fn begin(&self, part: i64) -> i64 {
        self.start + part.min(self.last) * self.interval
    }

    fn before(&self, stream: Stream, second: i64) -> i64 {
        self.curves[stream].before(&self.kinds, second)
    }

    /// Number of the first record of a part.
    pub fn first(&self, stream: Stream, part: PartIndex) -> i64 {
        self.before(stream, self.begin(index(part)))
    }

    /// Records of a stream in a part.
    pub fn count(&self, stream: Stream, part: PartIndex) -> u32 {
        let next = PartIndex(part.0.saturating_add(1));
        (self.first(stream, next) - self.first(stream, part)) as u32
    }

    /// No part has more records of any stream.
    pub fn count_max(&self) -> u32 {
        let max = |curve: &Curve| {
            let most = i128::from(curve.rates.max()) * i128::from(self.interval);
            ((most * i128::from(curve.scale)) >> POINT) as u32 + 1
        };
        self.curves.values().map(max).max().unwrap_or(0)
    }

    /// The number of the part in whose window a second would lie, also before the first one.
    #[inline]
    fn part_of(&self, second: i64) -> i64 {
        let behind = second - self.start;
        // Times the reciprocal, which is one too few or too many at times.
        let part = ((i128::from(behind) * i128::from(self.reciprocal)) >> 63) as i64;
        match behind - part * self.interval {
            ..0 => part - 1,
            rest if rest >= self.interval => part + 1,
            _ => part,
        }
    }

    /// The cell in which a local second lies.
    pub fn cell_at(&self, stream: Stream, second: i64) -> Cell {
        let part = self.part_of(second);
        let bin = second - second.rem_euclid(BIN);
        let from = bin.max(self.begin(part));
        let to = (bin + BIN).min(self.begin(part + 1));
        let curve = &self.curves[stream];
        let (integral, rate, kind) = curve.integral(&self.kinds, from);
        let first = curve.records(integral);
        let end = curve.records(integral + i64::from(rate) * (to - from));
        Cell::new(first, (end - first) as u32, [from, to], rate, kind)
    }

    /// Goes from a cell to the one that has a record.
    #[inline]
    pub fn go_to(&self, stream: Stream, record: i64, cell: &mut Cell) {
        if !cell.contains(record) {
            *cell = self.seek(stream, record, *cell);
        }
    }

    /// Mostly it is beside the other one; else interpolates and halves in turns, between bounds.
    #[cold]
    fn seek(&self, stream: Stream, record: i64, near: Cell) -> Cell {
        let beside = if record < near.first { near.begin - 1 } else { near.end() };
        let cell = self.cell_at(stream, beside.div_euclid(1_000_000));
        if cell.contains(record) {
            return cell;
        }
        let (mut low, mut high) = self.bounds(stream, record, near);
        let mut halves = false;
        loop {
            let (from, to) = (self.before(stream, low), self.before(stream, high));
            let wide = i128::from(high - low);
            let part = i128::from(record - from) * wide / i128::from((to - from).max(1));
            let step = if halves { wide / 2 } else { part.min(wide - 1) };
            let cell = self.cell_at(stream, low + step as i64);
            if cell.contains(record) {
                return cell;
            }
            match record < cell.first {
                true => high = cell.begin.div_euclid(1_000_000),
                false => low = cell.end().div_euclid(1_000_000),
            }
            halves = !halves;
        }
    }

    /// Seconds before and behind a record: not many, when it is near.
    fn bounds(&self, stream: Stream, record: i64, near: Cell) -> (i64, i64) {
        let begin = near.begin.div_euclid(1_000_000);
        let (mut low, mut high) = (begin, begin + 1);
        let mut step = BIN;
        while self.before(stream, high) <= record {
            (low, high) = (high, high + step);
            step *= 2;
        }
        while self.before(stream, low) > record {
            (low, high) = (low - step, low);
            step *= 2;
        }
        (low, high)
    }

    /// The time of one record, without generating the rest of it.
    pub fn time(&self, stream: Stream, part: &Part, index: u32) -> Micros {
        if index >= self.count(stream, part.index) {
            return part.start;
        }
        let record = self.first(stream, part.index) + i64::from(index);
        let mut cell = self.first_cell(stream, part.index);
        self.go_to(stream, record, &mut cell);
        self.utc(cell.time(record, self.bits(stream, record) as u32))
    }

    /// A local time, in microseconds, in UTC.
    pub fn utc(&self, local: i64) -> Micros {
        Micros(local - self.ahead * 1_000_000)
    }
}

/// As a signed number; there are not so many parts that some have none.
fn index(part: PartIndex) -> i64 {
    i64::try_from(part.0).unwrap_or(i64::MAX)
}

impl Kinds {
    fn new(scenario: &Scenario) -> Kinds {
        let is_weekly = scenario.habits.holidays.is_empty();
        let days = if is_weekly { 7 } else { DAYS_OF_400_YEARS };
        Kinds { is_weekly, of: (0..days).map(|day| kind(scenario, day)).collect() }
    }

    /// The period in which a day lies, and its place there.
    #[inline]
    fn period(&self, day: i64) -> (i64, usize) {
        // Division by a number that the compiler knows takes a fraction of the time.
        match self.is_weekly {
            true => (day.div_euclid(7), day.rem_euclid(7) as usize),
            false => (day.div_euclid(DAYS_OF_400_YEARS), day.rem_euclid(DAYS_OF_400_YEARS) as usize),
        }
    }
}

fn kind(scenario: &Scenario, day: i64) -> DayKind {
    let date = Micros(day * DAY * 1_000_000).to_civil().unwrap_or_default();
    let is_today = |month: u8, day: u8| (date.month(), date.day()) == (month.into(), day.into());
    let holidays = &scenario.habits.holidays;
    if let Some(holiday) = holidays.iter().find(|holiday| is_today(holiday.month, holiday.day)) {
        return holiday.kind;
    }
    DayKind::of_weekday(date.weekday().num_days_from_monday())
}
