//! Records → usage: who used how much, when, and at which tower.
//!
//! Sums do not depend on the order of records, nor on how they are cut into batches. So what a
//! stream processor keeps can be compared to the byte with what is computed here.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

use crate::service::{CallType, DataType};
use crate::time::Micros;

const MICROS_PER_HOUR: i64 = 3_600_000_000;
const MICROS_PER_QUARTER: i64 = MICROS_PER_HOUR / 4;

/// An hour of simulated time, counted from 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub i32);

impl Hour {
    /// The hour in which a time lies.
    pub fn of(time: Micros) -> Hour {
        Hour(whole(time, MICROS_PER_HOUR))
    }

    /// Its first moment.
    pub fn begin(self) -> Micros {
        Micros(i64::from(self.0) * MICROS_PER_HOUR)
    }

    /// The day in which it lies, counted from 1970-01-01.
    pub fn day(self) -> i32 {
        self.0.div_euclid(24)
    }
}

/// A quarter of an hour, counted from 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quarter(pub i32);

impl Quarter {
    /// The quarter in which a time lies.
    pub fn of(time: Micros) -> Quarter {
        Quarter(whole(time, MICROS_PER_QUARTER))
    }

    /// Its first moment.
    pub fn begin(self) -> Micros {
        Micros(i64::from(self.0) * MICROS_PER_QUARTER)
    }
}

/// So many whole units before a time; the nearest that there is, where it is far from this era.
fn whole(time: Micros, unit: i64) -> i32 {
    time.0.div_euclid(unit).clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

/// What was used: a type of data, or a type of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UsageType {
    Data(DataType),
    Call(CallType),
}

impl UsageType {
    /// Every type.
    pub fn all() -> impl Iterator<Item = UsageType> {
        let data = DataType::ALL.into_iter().map(UsageType::Data);
        data.chain(CallType::ALL.into_iter().map(UsageType::Call))
    }

    /// The number by which stores know the type. It stands in every store that there is, so it never
    /// changes, and a type that is added gets one that no other has had.
    pub const fn number(self) -> u8 {
        match self {
            UsageType::Data(DataType::Video) => 0,
            UsageType::Data(DataType::Audio) => 1,
            UsageType::Data(DataType::Image) => 2,
            UsageType::Data(DataType::Text) => 3,
            UsageType::Data(DataType::Application) => 4,
            UsageType::Call(CallType::Voice) => 5,
            UsageType::Call(CallType::Video) => 6,
        }
    }

    /// The type with a number.
    pub fn from_number(number: u8) -> Option<UsageType> {
        UsageType::all().find(|usage_type| usage_type.number() == number)
    }

    /// `data` or `call`.
    pub const fn category(self) -> &'static str {
        match self {
            UsageType::Data(_) => "data",
            UsageType::Call(_) => "call",
        }
    }

    /// The value of the record's field `data_type` or `call_type`.
    pub const fn name(self) -> &'static str {
        match self {
            UsageType::Data(data) => data.name(),
            UsageType::Call(call) => call.name(),
        }
    }

    /// What its usage is measured in: `bytes` or `seconds`.
    pub const fn measure(self) -> &'static str {
        match self {
            UsageType::Data(_) => "bytes",
            UsageType::Call(_) => "seconds",
        }
    }
}

impl fmt::Display for UsageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.category(), self.name())
    }
}

/// What one record reports of a subscriber's usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interaction {
    /// E.164 digits as a number, at most 15 of them.
    pub msisdn: u64,
    /// From 1.
    pub tower: u32,
    pub time: Micros,
    pub used: Used,
}

/// How much a record used of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    Data { data_type: DataType, up_bytes: u64, down_bytes: u64 },
    Call { call_type: CallType, seconds: u64 },
}

impl Used {
    pub const fn usage_type(self) -> UsageType {
        match self {
            Used::Data { data_type, .. } => UsageType::Data(data_type),
            Used::Call { call_type, .. } => UsageType::Call(call_type),
        }
    }
}

/// What usage is kept by: hours first, since records come in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UsageKey {
    pub hour: Hour,
    pub msisdn: u64,
    /// [`UsageType::number`].
    pub usage_type: u8,
}

impl Interaction {
    /// The usage that it belongs to.
    pub fn key(&self) -> UsageKey {
        let usage_type = self.used.usage_type().number();
        UsageKey { hour: Hour::of(self.time), msisdn: self.msisdn, usage_type }
    }

    /// The load that it belongs to.
    pub fn load_key(&self) -> (Quarter, u32) {
        (Quarter::of(self.time), self.tower)
    }
}

/// Sums over records of one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub records: u64,
    pub up_bytes: u64,
    pub down_bytes: u64,
    /// Of calls.
    pub seconds: u64,
}

impl Sums {
    /// Over these.
    pub fn of(interactions: &[Interaction]) -> Sums {
        let mut sums = Sums::default();
        interactions.iter().for_each(|one| sums += Sums::from(one.used));
        sums
    }

    /// Both directions.
    pub fn bytes(&self) -> u64 {
        self.up_bytes + self.down_bytes
    }
}

impl From<Used> for Sums {
    fn from(used: Used) -> Sums {
        match used {
            Used::Data { up_bytes, down_bytes, .. } => {
                Sums { records: 1, up_bytes, down_bytes, seconds: 0 }
            }
            Used::Call { seconds, .. } => Sums { records: 1, seconds, ..Sums::default() },
        }
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Sums) {
        self.records += other.records;
        self.up_bytes += other.up_bytes;
        self.down_bytes += other.down_bytes;
        self.seconds += other.seconds;
    }
}

/// What a tower carried in a quarter of an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Data sessions.
    pub sessions: u64,
    /// Both directions.
    pub bytes: u64,
    pub calls: u64,
    pub call_seconds: u64,
}

impl Load {
    /// Of these.
    pub fn of(interactions: &[Interaction]) -> Load {
        let mut load = Load::default();
        interactions.iter().for_each(|one| load += Load::from(one.used));
        load
    }
}

impl From<Used> for Load {
    fn from(used: Used) -> Load {
        match used {
            Used::Data { up_bytes, down_bytes, .. } => {
                Load { sessions: 1, bytes: up_bytes + down_bytes, ..Load::default() }
            }
            Used::Call { seconds, .. } => Load { calls: 1, call_seconds: seconds, ..Load::default() },
        }
    }
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Load) {
        self.sessions += other.sessions;
        self.bytes += other.bytes;
        self.calls += other.calls;
        self.call_seconds += other.call_seconds;
    }
}

/// A subscriber at a tower, at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    pub time: Micros,
    pub tower: u32,
}

/// More than two consecutive interactions of a subscriber with the same tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dwell {
    pub tower: u32,
    /// Time of the first interaction.
    pub start: Micros,
    /// Time of the last one.
    pub end: Micros,
    pub interactions: u64,
}

/// The dwells among a subscriber's sightings, which may come in any order.
pub fn dwells(sightings: &mut [Sighting]) -> Vec<Dwell> {
    sightings.sort_unstable();
    let runs = sightings.chunk_by(|one, next| one.tower == next.tower);
    let long = runs.filter(|run| run.len() > 2);
    long.map(|run| Dwell {
        tower: run[0].tower,
        start: run[0].time,
        end: run[run.len() - 1].time,
        interactions: run.len() as u64,
    })
    .collect()
}

/// All usage of a number of records: what a store that has read them must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub sums: BTreeMap<UsageKey, Sums>,
    pub loads: BTreeMap<(Quarter, u32), Load>,
}

impl Usage {
    /// Adds a record.
    pub fn add(&mut self, interaction: &Interaction) {
        *self.sums.entry(interaction.key()).or_default() += Sums::from(interaction.used);
        *self.loads.entry(interaction.load_key()).or_default() += Load::from(interaction.used);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Generator, PartIndex, Plan, Record, Records, Scenario, Shard};

    fn sighting(second: i64, tower: u32) -> Sighting {
        Sighting { time: Micros(second * 1_000_000), tower }
    }

    /// Stores hold these numbers: a change would give what they counted another type.
    #[test]
    fn the_numbers_of_types_never_change() {
        let numbers: Vec<_> = (0..=u8::MAX)
            .filter_map(|number| UsageType::from_number(number).map(|found| format!("{number} {found}")))
            .collect();
        assert_eq!(
            numbers,
            [
                "0 data video",
                "1 data audio",
                "2 data image",
                "3 data text",
                "4 data application",
                "5 call voice",
                "6 call video"
            ]
        );
        assert!(UsageType::all().all(|one| UsageType::from_number(one.number()) == Some(one)));
    }

    #[test]
    fn hours_and_quarters_begin_by_the_clock_also_before_1970() {
        let time = Micros::parse(b"2024-01-01 01:29:59.999999").unwrap();
        assert_eq!(Hour::of(time).begin().to_string(), "2024-01-01 01:00:00.000000");
        assert_eq!(Quarter::of(time).begin().to_string(), "2024-01-01 01:15:00.000000");
        assert_eq!(
            Hour::of(time).day(),
            Hour::of(Micros::parse(b"2024-01-01 23:59:59.999999").unwrap()).day()
        );
        assert_eq!((Hour::of(Micros(-1)), Hour(-1).day()), (Hour(-1), -1));
    }

    #[test]
    fn two_interactions_at_a_tower_are_no_dwell_and_three_are() {
        let mut sightings = [
            sighting(1, 7),
            sighting(2, 7),
            sighting(3, 8),
            sighting(4, 8),
            sighting(5, 8),
            sighting(6, 7),
        ];
        let (start, end) = (sightings[2].time, sightings[4].time);
        assert_eq!(dwells(&mut sightings), [Dwell { tower: 8, start, end, interactions: 3 }]);
    }

    #[test]
    fn a_late_interaction_elsewhere_ends_a_dwell() {
        let mut sightings =
            [sighting(1, 7), sighting(2, 7), sighting(4, 7), sighting(5, 7), sighting(3, 9)];
        assert_eq!(dwells(&mut sightings), []);
    }

    /// What records hold, by their own fields.
    #[derive(Default)]
    struct Truth {
        bytes: u64,
        seconds: u64,
    }

    impl Records for Truth {
        fn take<R: Record>(&mut self, record: &R) {
            let record: &dyn std::any::Any = record;
            if let Some(data) = record.downcast_ref::<crate::DataRecord>() {
                self.bytes += u64::from(data.up_bytes + data.down_bytes);
            }
            if let Some(call) = record.downcast_ref::<crate::VoiceRecord>() {
                self.seconds += u64::from(call.duration_s);
            }
        }
    }

    #[test]
    fn a_part_is_used_as_its_records_say() {
        let scenario = Scenario::default();
        let plan = Plan::new(&scenario, Shard::WHOLE).unwrap();
        let part = plan.part(PartIndex(3));
        let generator = Generator::new(&scenario).unwrap();
        let mut usage = Usage::default();
        for stream in plan.streams() {
            generator.interactions(stream, &part, |one| usage.add(&one));
        }
        let mut total = Sums::default();
        usage.sums.values().for_each(|&sums| total += sums);
        let mut truth = Truth::default();
        for stream in plan.streams() {
            generator.each(stream, &part, 0..1_000, &mut truth);
        }
        assert_eq!((total.bytes(), total.seconds), (truth.bytes, truth.seconds));
        assert_eq!(total.records, 2_000);
        let sessions: u64 = usage.loads.values().map(|load| load.sessions).sum();
        assert_eq!(sessions, 1_000);
    }

    prop_compose! {
        fn interaction()(
            msisdn in 1_u64..4, tower in 1_u32..4, time in 0_i64..4 * MICROS_PER_HOUR,
            number in 0_u8..7, amount in 0_u64..1_000_000, more in 0_u64..1_000,
        ) -> Interaction {
            let used = match UsageType::from_number(number).unwrap() {
                UsageType::Data(data_type) => Used::Data { data_type, up_bytes: amount, down_bytes: more },
                UsageType::Call(call_type) => Used::Call { call_type, seconds: amount },
            };
            Interaction { msisdn, tower, time: Micros(time), used }
        }
    }

    proptest! {
        /// Sorted and cut into groups, as a store takes batches, or one by one in any order.
        #[test]
        fn sums_do_not_depend_on_order_or_batches(
            all in proptest::collection::vec(interaction(), 0..60),
            cut in 0_usize..60,
        ) {
            let mut one_by_one = Usage::default();
            all.iter().rev().for_each(|one| one_by_one.add(one));
            let mut batched = Usage::default();
            for batch in [&all[..cut.min(all.len())], &all[cut.min(all.len())..]] {
                let mut batch = batch.to_vec();
                batch.sort_unstable_by_key(Interaction::key);
                for group in batch.chunk_by(|one, next| one.key() == next.key()) {
                    *batched.sums.entry(group[0].key()).or_default() += Sums::of(group);
                }
                batch.sort_unstable_by_key(Interaction::load_key);
                for group in batch.chunk_by(|one, next| one.load_key() == next.load_key()) {
                    *batched.loads.entry(group[0].load_key()).or_default() += Load::of(group);
                }
            }
            prop_assert_eq!(one_by_one, batched);
        }
    }
}
