//! Who can be in which record.
//!
//! Subscribers live in wards of some hundred. The records of a stream, by their numbers, are dealt to
//! the wards in turns: each turn has one for every ward, in an order of its own. A call's parties are
//! of the record's ward, or one of them is of a neighbouring ward with which it shares a tie. So all
//! records in which somebody can occur are those of one or two wards, and they can be looked through.

use crate::random::{GOLDEN_GAMMA, below_wide, key, mix, more};
use crate::scenario::Scenario;

/// People of a community, who know each other.
pub const COMMUNITY: u32 = 128;

/// Members of a family, who share a home.
pub const FAMILY: u32 = 4;

/// A ward has a record of a stream in about so many seconds.
const SECONDS_BETWEEN_RECORDS: f64 = 40.0;

/// One of so many subscribers is in no ward: service numbers.
const DORMANT_SHARE: u32 = 500;

#[derive(Clone, Debug)]
pub struct Wards {
    salt: u64,
    count: u32,
    /// People of a ward.
    size: u32,
    subscribers: u32,
    /// 2^64 divided by the size, rounded up: a product takes less time than a division.
    by_size: u64,
    /// 2^63 divided by the count, rounded down.
    by_count: u64,
}

/// A record of a ward: its number, and the turn in which it was dealt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dealt {
    pub record: i64,
    pub turn: i64,
}

/// A subscriber's place among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub ward: u32,
    /// Within the ward.
    pub community: u32,
    /// Within the community.
    pub position: u32,
}

/// A subscriber, and what is drawn once for them.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    pub subscriber: u32,
    pub of: Member,
    pub bits: u64,
}

impl Wards {
    /// `rate`: records of a stream in a second.
    pub fn new(scenario: &Scenario, rate: f64) -> Wards {
        let subscribers = scenario.subscribers;
        let wanted = f64::from(subscribers) / (SECONDS_BETWEEN_RECORDS * rate);
        let active = subscribers - (subscribers / DORMANT_SHARE).max(1);
        let most = active / COMMUNITY;
        let communities = ((wanted as u32) / COMMUNITY).clamp(2, most.max(2)).min(most);
        let size = communities * COMMUNITY;
        let count = active / size;
        Wards {
            salt: mix(scenario.seed ^ 0x7761_7264),
            count,
            size,
            subscribers,
            by_size: u64::MAX / u64::from(size) + 1,
            by_count: (1 << 63) / u64::from(count),
        }
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Communities of each ward.
    pub fn communities(&self) -> u32 {
        self.size / COMMUNITY
    }

    /// Subscribers below this are in a ward; the others make no records.
    pub fn members(&self) -> u32 {
        self.count * self.size
    }

    /// Subscribers that are in no ward.
    pub fn dormant(&self) -> u32 {
        self.subscribers - self.members()
    }

    /// By how much the order of a turn is shifted.
    #[inline]
    fn shift(&self, turn: i64) -> i64 {
        let draws = more(self.salt ^ (turn as u64).wrapping_mul(GOLDEN_GAMMA), key(1));
        below_wide(draws, self.count.into()) as i64
    }

    /// The ward to which a record was dealt, and when.
    #[inline]
    pub fn ward_of(&self, record: i64) -> (u32, Dealt) {
        let count = i64::from(self.count);
        let turn = self.turn_of(record);
        let shifted = record - turn * count + self.shift(turn);
        let ward = if shifted >= count { shifted - count } else { shifted };
        (ward as u32, Dealt { record, turn })
    }

    /// The record that a ward was dealt in a turn.
    #[inline]
    pub fn dealt(&self, ward: u32, turn: i64) -> Dealt {
        let count = i64::from(self.count);
        let place = i64::from(ward) - self.shift(turn);
        let place = if place < 0 { place + count } else { place };
        Dealt { record: turn * count + place, turn }
    }

    /// The turn in which a record is dealt, to whomever.
    #[inline]
    pub fn turn_of(&self, record: i64) -> i64 {
        // One too few or too many at times.
        let turn = ((i128::from(record) * i128::from(self.by_count)) >> 63) as i64;
        let rest = record - turn * i64::from(self.count);
        turn + i64::from(rest >= self.count.into()) - i64::from(rest < 0)
    }

    #[inline]
    pub fn member(&self, subscriber: u32) -> Member {
        let ward = self.ward(subscriber);
        let within = subscriber - ward * self.size;
        Member { ward, community: within / COMMUNITY, position: within % COMMUNITY }
    }

    #[inline]
    pub fn subscriber(&self, of: Member) -> u32 {
        of.ward * self.size + of.community * COMMUNITY + of.position
    }

    #[inline]
    pub fn person(&self, of: Member) -> Person {
        let subscriber = self.subscriber(of);
        let bits = mix(!self.salt ^ u64::from(subscriber).wrapping_mul(GOLDEN_GAMMA));
        Person { subscriber, of, bits }
    }

    /// The number of a community among those of all wards, one ward after the other.
    #[inline]
    pub fn community(&self, ward: u32, community: u32) -> u64 {
        u64::from(ward) * u64::from(self.communities()) + u64::from(community)
    }

    #[inline]
    pub fn ward(&self, subscriber: u32) -> u32 {
        // Exact for every subscriber, since both have 32 bits (Granlund and Montgomery, 1994).
        ((u128::from(subscriber) * u128::from(self.by_size)) >> 64) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wards(subscribers: u32, rate: f64) -> Wards {
        Wards::new(&Scenario { subscribers, ..Scenario::default() }, rate)
    }

    #[test]
    fn each_turn_deals_one_record_to_each_ward() {
        for (subscribers, rate) in [(1_024, 0.02), (1_024, 1.0), (50_000, 5.0), (10_000_000, 1_000.0)] {
            let wards = wards(subscribers, rate);
            for record in (-3 * i64::from(wards.count())..200).chain(1 << 40..(1 << 40) + 200) {
                let (ward, dealt) = wards.ward_of(record);
                assert!(ward < wards.count());
                assert_eq!(wards.dealt(ward, dealt.turn), dealt);
                assert_eq!(wards.turn_of(record), dealt.turn);
            }
        }
    }

    #[test]
    fn nearly_everybody_is_in_a_ward() {
        for subscribers in [1_024, 1_500, 20_000, 50_000, 100_000_000, u32::MAX] {
            for rate in [0.02, 1.0, 5.0, 5_000.0] {
                let wards = wards(subscribers, rate);
                assert!(wards.count() > 0 && wards.dormant() > 0, "{subscribers} {rate}");
                assert!(u64::from(wards.members()) * 2 > subscribers.into(), "{subscribers} {rate}");
            }
        }
        assert!(wards(50_000, 5.0).dormant() < 500);
    }

    #[test]
    fn members_are_numbered_by_ward_community_and_position() {
        let wards = wards(50_000, 1.0);
        for subscriber in 0..wards.members() {
            let member = wards.member(subscriber);
            assert_eq!(wards.subscriber(member), subscriber);
            assert_eq!(wards.ward(subscriber), member.ward);
            assert!(member.community < wards.communities() && member.position < COMMUNITY);
        }
    }
}
