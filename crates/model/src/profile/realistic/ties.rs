//! Who knows whom.
//!
//! A person's contacts have ranks, the closest first, and each rank is an involution on the people: if
//! one's third is the other, the other's third is the one. So ties are mutual and need no memory. The
//! first two and the fourth are of the family; the third is a bridge to a neighbouring ward, anywhere in
//! the country; the others form circles of eight within the community.

use super::law::Choice;
use super::math::pow;
use super::wards::{COMMUNITY, FAMILY, Member, Wards};
use crate::random::{GOLDEN_GAMMA, below_wide, key, mix, more};

/// Contacts of a person, at most.
pub const RANKS: u32 = 10;

/// The rank that leads to another ward.
pub const BRIDGE: u32 = 3;

/// Of 256 ties: those on which both often call each other here; and with them, those on which one of the
/// two does so more seldom. On the rest, one of them hardly ever does. Ties of families come first; those
/// of circles second, in which lopsided ties are common (Kovanen and others, "Reciprocity of mobile phone
/// calls", 2010); bridges third, which last.
const KEEN_BOTH: [u32; 3] = [192, 86, 238];
const KEEN_MORE: [u32; 3] = [237, 136, 254];

/// Of 256: how often a call on a tie stays in the network, by how keen the caller is.
const KEEN: u32 = 236;
const LESS: u32 = 100;
const HARDLY: u32 = 3;

/// By rank: the bits in which the places of both differ; and whether those are places of the community's
/// order, as a mask of its key.
const STEPS: [(u32, u64); RANKS as usize + 1] = [
    (0, 0),
    (1, 0),
    (2, 0),
    (0, 0),
    (3, 0),
    (1, u64::MAX),
    (2, u64::MAX),
    (3, u64::MAX),
    (4, u64::MAX),
    (5, u64::MAX),
    (6, u64::MAX),
];

#[derive(Clone, Debug)]
pub struct Ties {
    salt: u64,
    wards: Wards,
    /// By rank, from 1: sums of three draws below this mean that the tie exists.
    thresholds: [u64; RANKS as usize + 1],
    /// Of 2^32 bridges that there could be, so many exist.
    bridges: u32,
    /// Which rank a call goes to, from 0.
    ranks: Choice,
}

impl Ties {
    pub fn new(seed: u64, wards: &Wards) -> Ties {
        let mut thresholds = [0; RANKS as usize + 1];
        for rank in 1..=RANKS {
            thresholds[rank as usize] = (quantile_of_three(share_with(rank)) * 4_294_967_296.0) as u64;
        }
        // Weights fall with the square of the rank (Saramaki and others, PNAS 111, 2014, have persistent
        // signatures of this form).
        let weight = |rank: u32| {
            let step = f64::from(rank) + 3.2;
            1.0 / (step * step)
        };
        Ties {
            salt: mix(seed ^ 0x7469_6573),
            wards: wards.clone(),
            thresholds,
            bridges: (share_with(BRIDGE) * 4_294_967_296.0) as u32,
            ranks: Choice::new((1..=RANKS).map(weight)),
        }
    }

    /// The rank of the contact that a call goes to.
    #[inline]
    pub fn rank(&self, draw: u32) -> u32 {
        1 + self.ranks.of(draw)
    }

    /// The contact of a rank, if there is one.
    #[inline]
    pub fn contact(&self, subscriber: u32, rank: u32) -> Option<u32> {
        if rank == BRIDGE {
            return self.bridge(subscriber);
        }
        let other = self.nearby(subscriber, rank);
        self.exists(subscriber, other, rank).then_some(other)
    }

    /// The contact in another ward. Whether there is one, does not depend on how many others somebody knows:
    /// it is looked for with every call.
    #[inline]
    fn bridge(&self, subscriber: u32) -> Option<u32> {
        let (other, draws) = self.beyond(self.wards.member(subscriber));
        ((draws as u32) < self.bridges).then_some(other)
    }

    /// The ward beside one's own in whose records a subscriber can occur.
    #[inline]
    pub fn second_ward(&self, subscriber: u32) -> Option<u32> {
        let other = self.bridge(subscriber)?;
        Some(self.wards.ward(other)).filter(|&ward| ward != self.wards.ward(subscriber))
    }

    /// Of 256: how many of a subscriber's calls on a tie reach the other one.
    #[inline]
    pub fn keenness(&self, from: u32, to: u32) -> u32 {
        let hash = self.pair(from, to);
        let is_bridge = from / COMMUNITY != to / COMMUNITY;
        let tie = usize::from(from / FAMILY != to / FAMILY) + usize::from(is_bridge);
        let kind = (hash >> 56) as u32;
        // Which of the two is the less keen one.
        let is_less = (hash >> 55) & 1 == u64::from(from > to);
        match kind {
            _ if kind < KEEN_BOTH[tie] || !is_less => KEEN,
            _ if kind < KEEN_MORE[tie] => LESS,
            _ => HARDLY,
        }
    }

    fn exists(&self, one: u32, other: u32, rank: u32) -> bool {
        let spread = |who: u32| u64::from(who).wrapping_mul(GOLDEN_GAMMA);
        let person = |who: u32| mix(self.salt ^ spread(who)) >> 32;
        let tie = self.pair(one, other) & 0xFFFF_FFFF;
        person(one) + person(other) + tie < self.thresholds[rank as usize]
    }

    /// The same for both directions.
    #[inline]
    fn pair(&self, one: u32, other: u32) -> u64 {
        let (low, high) = if one < other { (one, other) } else { (other, one) };
        mix(self.salt.wrapping_add(u64::from(low) << 32 | u64::from(high)))
    }

    /// The other end of a bridge: of those in even positions, in the next ward; of the others, in the
    /// one before. And what is drawn for the two.
    #[inline]
    fn beyond(&self, of: Member) -> (u32, u64) {
        let (count, communities) = (self.wards.count(), self.wards.communities());
        let is_odd = of.position as usize & 1;
        let ward = of.ward + [1, count - 1][is_odd];
        let ward = if ward < count { ward } else { ward - count };
        // Both ends have the same key.
        let lower = [of.ward, ward][is_odd];
        let pairs = u64::from(lower << 7 | of.position >> 1);
        let draws = more(self.salt ^ pairs.wrapping_mul(GOLDEN_GAMMA), key(2));
        let sum = below_wide(draws, communities.into()) as u32 + communities - of.community;
        let community = if sum < communities { sum } else { sum - communities };
        (self.wards.subscriber(Member { ward, community, position: of.position ^ 1 }), draws)
    }

    /// The one whose place differs in some bits alone: that in the family, or in an order of the
    /// community's own. Both are one formula, since a branch would be guessed wrong as often as right.
    #[inline]
    fn nearby(&self, subscriber: u32, rank: u32) -> u32 {
        let position = subscriber % COMMUNITY;
        let community = u64::from(subscriber / COMMUNITY);
        let draws = more(self.salt ^ community.wrapping_mul(GOLDEN_GAMMA), key(3));
        let (step, of_circle) = STEPS[rank as usize];
        let order = Order::new(draws & of_circle);
        subscriber - position + order.back(order.of(position) ^ step)
    }
}

/// A permutation of the positions of a community.
#[derive(Clone, Copy)]
pub struct Order {
    factor: u32,
    shift: u32,
}

impl Order {
    pub fn new(key: u64) -> Order {
        Order { factor: key as u32 | 1, shift: (key >> 32) as u32 }
    }

    #[inline]
    pub fn of(self, position: u32) -> u32 {
        position.wrapping_mul(self.factor).wrapping_add(self.shift) % COMMUNITY
    }

    #[inline]
    pub fn back(self, place: u32) -> u32 {
        // Newton's method doubles the bits that are right; an odd number is right in three.
        let factor = self.factor;
        let inverse = factor.wrapping_mul(2u32.wrapping_sub(factor.wrapping_mul(factor)));
        let inverse = inverse.wrapping_mul(2u32.wrapping_sub(factor.wrapping_mul(inverse)));
        place.wrapping_sub(self.shift).wrapping_mul(inverse) % COMMUNITY
    }
}

/// How many people have at least so many contacts: the degrees that Onnela and others found among
/// mobile users (New Journal of Physics 9, 2007).
fn share_with(rank: u32) -> f64 {
    // More have a bridge than would have a third contact: else there would be islands.
    let shift = if rank == BRIDGE { 0.78 } else { 0.55 };
    pow((f64::from(rank) - shift + 10.9) / 11.9, -7.4).min(1.0)
}

/// The value below which the sum of three even draws from 0 to 1 lies with a probability.
fn quantile_of_three(probability: f64) -> f64 {
    let cube = |x: f64| if x > 0.0 { x * x * x } else { 0.0 };
    let below = |x: f64| (cube(x) - 3.0 * cube(x - 1.0) + 3.0 * cube(x - 2.0) - cube(x - 3.0)) / 6.0;
    let (mut low, mut high) = (0.0, 3.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if below(middle) < probability { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn world(subscribers: u32, rate: f64) -> (Wards, Ties) {
        let wards = Wards::new(&Scenario { subscribers, ..Scenario::default() }, rate);
        let ties = Ties::new(1, &wards);
        (wards, ties)
    }

    #[test]
    fn ties_are_mutual_and_stay_near_but_for_bridges() {
        for (subscribers, rate) in
            [(1_024, 0.02), (1_024, 1.0), (2_000, 3.0), (20_000, 1.0), (600_000, 70.0)]
        {
            let (wards, ties) = world(subscribers, rate);
            for one in 0..wards.members().min(20_000) {
                for rank in 1..=RANKS {
                    let at = |one| match rank {
                        BRIDGE => ties.beyond(wards.member(one)).0,
                        _ => ties.nearby(one, rank),
                    };
                    let other = at(one);
                    assert!(other != one && other < wards.members(), "{one} {rank} {other}");
                    assert_eq!(at(other), one, "{one} {rank} {other}");
                    assert_eq!(ties.contact(one, rank).is_some(), ties.contact(other, rank).is_some());
                    assert!(rank == BRIDGE || one / COMMUNITY == other / COMMUNITY, "{one} {rank}");
                }
            }
        }
    }

    /// Onnela and others found a mean of 2.86 among mobile users.
    #[test]
    fn people_have_as_many_ties_as_they_should() {
        let (wards, ties) = world(20_000, 1.0);
        let count = |one| (1..=RANKS).filter(|&rank| ties.contact(one, rank).is_some()).count();
        let mean = (0..wards.members()).map(count).sum::<usize>() as f64 / f64::from(wards.members());
        assert!((2.76..=2.96).contains(&mean), "{mean}");
    }

    #[test]
    fn an_order_of_positions_can_be_undone() {
        for key in [0, 1, 0x1234_5678_9ABC_DEF0, u64::MAX] {
            let order = Order::new(key);
            for position in 0..COMMUNITY {
                assert!(order.of(position) < COMMUNITY);
                assert_eq!(order.back(order.of(position)), position, "{key}");
            }
        }
    }
}
