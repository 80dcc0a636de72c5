//! Hours of the day and days of the week.

use super::fit::farthest;
use super::{Curve, Finding, HOUR, Histogram, Known};
use crate::fact::Fact;
use crate::habits::DayKind;
use crate::profile::hours::Rates;
use crate::stream::Stream;

const HOURS: usize = 24;

/// Records by weekday, from Monday, and hour.
#[derive(Clone, Debug, Default)]
struct Rhythm {
    counts: [[u64; HOURS]; 7],
}

/// Of both streams.
#[derive(Clone, Debug, Default)]
pub struct Rhythms {
    data: Rhythm,
    voice: Rhythm,
}

impl Rhythms {
    pub fn take(&mut self, fact: &Fact, known: &Known) {
        let (rhythm, time) = match fact {
            Fact::Call { time, .. } => (&mut self.voice, time),
            Fact::Session { time, .. } => (&mut self.data, time),
        };
        let (weekday, hour) = weekday((time.0 + known.ahead).div_euclid(HOUR));
        rhythm.counts[weekday][hour] += 1;
    }

    /// Records by hour of the day.
    pub fn histograms(&self) -> [Histogram; 2] {
        [("data records by hour", &self.data), ("calls by hour", &self.voice)].map(|(what, rhythm)| {
            let sum = |hour: usize| rhythm.counts.iter().map(|hours| hours[hour]).sum();
            Histogram { what, bars: (0..HOURS).map(|hour| (format!("{hour:02}"), sum(hour))).collect() }
        })
    }

    /// Shares of working days' hours.
    pub fn curves(&self, known: &Known) -> [Curve; 2] {
        let all = [
            ("data records of working days", Stream::Data, &self.data),
            ("calls of working days", Stream::Voice, &self.voice),
        ];
        all.map(|(what, stream, rhythm)| {
            let [found, target] = rhythm.shares(stream, known).map(|shares| {
                shares.iter().zip(0..).map(|(share, hour)| [f64::from(hour), 100.0 * share]).collect()
            });
            let axes = ["hour of the day", "% of the day"];
            Curve { what, axes, logarithmic: [false; 2], found, target }
        })
    }

    pub fn findings(&self, known: &Known) -> Vec<Finding> {
        let (milan, ours) = ("Barlacchi 2015 (Milan)", "default");
        let finding = |law, found, limit: f64, source| Finding::new(law, found, [-limit, limit], source);
        vec![
            finding(
                "hours of working days, data: worst share, in points",
                self.data.worst_hour(Stream::Data, known),
                0.3,
                milan,
            ),
            finding(
                "hours of working days, voice: worst share, in points",
                self.voice.worst_hour(Stream::Voice, known),
                0.3,
                milan,
            ),
            finding(
                "Saturdays and Sundays, data: worst sum, in per cent",
                self.data.worst_weekend(Stream::Data, known),
                1.0,
                milan,
            ),
            finding(
                "Saturdays and Sundays, voice: worst sum, in per cent",
                self.voice.worst_weekend(Stream::Voice, known),
                1.0,
                ours,
            ),
        ]
    }
}

impl Rhythm {
    /// By how much the hour's share of a day differs most, from Monday to Thursday, in percentage points.
    fn worst_hour(&self, stream: Stream, known: &Known) -> f64 {
        let [found, wanted] = self.shares(stream, known);
        farthest((0..HOURS).map(|hour| 100.0 * (found[hour] - wanted[hour])))
    }

    /// What share of the records from Monday to Thursday each hour has, and should have.
    fn shares(&self, stream: Stream, known: &Known) -> [[f64; HOURS]; 2] {
        let sum = |hour: usize| self.counts[..4].iter().map(|hours| hours[hour]).sum::<u64>() as f64;
        let wanted = wanted(stream, known);
        let wanted = |hour: usize| wanted[..4].iter().map(|hours| hours[hour]).sum::<f64>();
        let (all, whole) = ((0..HOURS).map(sum).sum::<f64>(), (0..HOURS).map(wanted).sum::<f64>());
        [std::array::from_fn(|hour| sum(hour) / all), std::array::from_fn(|hour| wanted(hour) / whole)]
    }

    /// By how much a weekend day's sum against a working day's differs most, in per cent.
    fn worst_weekend(&self, stream: Stream, known: &Known) -> f64 {
        let wanted = wanted(stream, known).map(|hours| hours.iter().sum::<f64>());
        let found = |weekday: usize| self.counts[weekday].iter().sum::<u64>() as f64;
        let unit = (1..4).map(found).sum::<f64>() / wanted[1..4].iter().sum::<f64>();
        let off = |weekday: usize| 100.0 * (found(weekday) / wanted[weekday] / unit - 1.0);
        farthest([off(5), off(6)])
    }
}

/// What is wanted of the hours that there were, in the unit of the rates, by weekday.
fn wanted(stream: Stream, known: &Known) -> [[f64; HOURS]; 7] {
    let rates = Rates::of(stream, known.rhythm);
    let [begin, end] = known.window.map(|time| time.0 + known.ahead);
    let mut wanted = [[0.0; HOURS]; 7];
    for hour in begin.div_euclid(HOUR)..=end.div_euclid(HOUR) {
        let within = (end.min((hour + 1) * HOUR) - begin.max(hour * HOUR)) as f64 / HOUR as f64;
        let (weekday, hour) = weekday(hour);
        wanted[weekday][hour] += within * rates.of_hour(DayKind::of_weekday(weekday as u32), hour);
    }
    wanted
}

/// The days since Monday, and the hour of the day, of an hour that is counted from 1970-01-01.
fn weekday(hour: i64) -> (usize, usize) {
    // That was a Thursday.
    ((hour.div_euclid(24) + 3).rem_euclid(7) as usize, hour.rem_euclid(24) as usize)
}
