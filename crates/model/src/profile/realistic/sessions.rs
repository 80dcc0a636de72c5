//! Data sessions: who uses what, and how much.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::chain::{Chain, LENGTH_MAX};
use super::law::{Choice, PowersOfTwo, Quantiles};
use super::memo::Memo;
use super::people::People;
use super::wards::{COMMUNITY, Person, Wards};
use crate::profile::daily::{Cell, Daily};
use crate::profile::uniform::public_network;
use crate::random::{GOLDEN_GAMMA, below, key, mix, more};
use crate::scenario::Scenario;
use crate::service::DataType;
use crate::stream::Stream;

/// Of sessions, so many follow another one of the same person, within a day at most.
const SHARE: f64 = 0.4;

/// Most bytes of a session.
const BYTES_MAX: u32 = 2_000_000_000;

/// Of 2^16: how much of a session's size is its own, and how much the person's. The squares add up to
/// one, so that the law is kept; sizes of one person's sessions have a correlation of 0.15.
const OWN: i64 = 60_421;
const OF_PERSON: i64 = 25_382;

/// Networks from which the operator gives addresses.
const POOLS: u32 = 8;

/// How long somebody keeps an address, in seconds.
const LEASE: i64 = 6 * 3_600;

/// Of 256 sessions: those with one of the person's favourite sites.
const FAVOURITE: u64 = 154;
const FAVOURITES: u32 = 4;

/// What sessions of a type are like: their share in thousandths; mean and standard deviation of the
/// decimal logarithm of their bytes; how much of those goes up. Derived from the traffic that IMC 2023
/// papers report by application.
struct Kind {
    data_type: DataType,
    share: f64,
    mean: f64,
    deviation: f64,
    up: f64,
}

const KINDS: [Kind; 5] = [
    Kind { data_type: DataType::Video, share: 171.0, mean: 6.08, deviation: 1.14, up: 0.03 },
    Kind { data_type: DataType::Audio, share: 23.0, mean: 5.62, deviation: 1.28, up: 0.03 },
    Kind { data_type: DataType::Image, share: 313.0, mean: 5.48, deviation: 0.99, up: 0.10 },
    Kind { data_type: DataType::Text, share: 38.0, mean: 5.17, deviation: 1.02, up: 0.35 },
    Kind { data_type: DataType::Application, share: 454.0, mean: 5.67, deviation: 1.03, up: 0.14 },
];

/// The data sessions of a run.
#[derive(Clone, Debug)]
pub struct Sessions {
    chain: Chain,
    people: People,
    kinds: Choice,
    /// Mean and standard deviation of the binary logarithm of the bytes, in fixed point, and the share
    /// that goes up, of 2^32.
    sizes: [(i64, i64, u32); KINDS.len()],
    normal: Arc<Quantiles>,
    powers: PowersOfTwo,
    /// Where the draws of a class's levels begin.
    levels: [u64; COMMUNITY as usize],
    sites: Choice,
    pools: [u32; POOLS as usize],
}

/// A session, but for where it happens.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// Local, in microseconds.
    pub time: i64,
    pub person: Person,
    pub data_type: DataType,
    pub up_bytes: u32,
    pub down_bytes: u32,
    pub address: Ipv4Addr,
    pub site: u16,
}

/// Whose session it is, and what for.
#[derive(Clone, Copy)]
struct Use {
    person: Person,
    class: u32,
    kind: u32,
    /// What the site is drawn from.
    site: u64,
}

impl Sessions {
    pub fn new(
        scenario: &Scenario,
        daily: &Daily,
        wards: &Wards,
        normal: &Arc<Quantiles>,
        per_day: f64,
    ) -> Sessions {
        let sigma = f64::from(scenario.habits.data_sigma) / 1_000.0;
        let point = f64::from(1u32 << PowersOfTwo::POINT);
        // From decimal to binary logarithms.
        let binary = std::f64::consts::LOG2_10 * point;
        let seed = mix(scenario.seed ^ 0x7365_7373);
        Sessions {
            levels: std::array::from_fn(|class| mix(seed ^ class as u64)),
            chain: Chain::new(daily, wards, Stream::Data, SHARE, 1.2, 2.0),
            people: People::of_sessions(scenario.seed, wards, sigma, per_day),
            kinds: Choice::new(KINDS.iter().map(|kind| kind.share)),
            sizes: KINDS.each_ref().map(|kind| {
                let (mean, deviation) = ((kind.mean * binary) as i64, (kind.deviation * binary) as i64);
                (mean, deviation, (kind.up * 4_294_967_296.0) as u32)
            }),
            normal: normal.clone(),
            powers: PowersOfTwo::new(),
            sites: Choice::new((1..=scenario.sites).map(|nth| 1.0 / f64::from(nth))),
            pools: std::array::from_fn(|nth| public_network(mix(seed ^ nth as u64) as u32)),
        }
    }

    /// A session by its number.
    #[inline]
    pub fn session(&self, memo: &mut Memo, cell: &Cell, record: i64) -> Session {
        let (ward, _) = self.chain.wards.ward_of(record);
        let time = self.chain.time_in(cell, record);
        let used = self.used(memo, ward, record, time, cell);
        let draws = more(self.chain.bits(record), key(1));
        let (up_bytes, down_bytes) = self.bytes(used, draws);
        Session {
            time,
            person: used.person,
            data_type: KINDS[used.kind as usize].data_type,
            up_bytes,
            down_bytes,
            address: self.address(used.person, cell.moment(time).second()),
            site: self.site(used),
        }
    }

    /// Goes back to the record in which the person was drawn.
    fn used(&self, memo: &mut Memo, ward: u32, mut record: i64, mut time: i64, near: &Cell) -> Use {
        let (mut bits, mut latest) = (self.chain.bits(record), None);
        if self.chain.follows(bits) {
            let mut cell = *near;
            for _ in 0..LENGTH_MAX {
                let earlier = self.chain.before(memo, (ward, record), time, &mut cell, bits, |_| 0);
                let Some((earlier, begin)) = earlier else { break };
                // Half of them go on with the same.
                if bits >> 63 == 1 && latest.is_none() {
                    latest = Some(more(bits, key(2)));
                }
                (record, time) = (earlier.record, begin);
                bits = self.chain.bits(record);
                if !self.chain.follows(bits) {
                    break;
                }
            }
        }
        let draws = more(bits, key(3));
        let class = self.people.class((bits >> 32) as u32);
        let person = self.chain.wards.person(self.people.somebody(ward, class, (draws >> 32) as u32));
        let draws = latest.unwrap_or(draws);
        let kind = self.kinds.of(more(draws, key(4)) as u32);
        Use { person, class, kind, site: more(draws, key(5)) }
    }

    /// Bytes up and down.
    #[inline]
    fn bytes(&self, used: Use, draws: u64) -> (u32, u32) {
        let (mean, deviation, up) = self.sizes[used.kind as usize];
        let own = self.normal.of((draws >> 32) as u32);
        let person = self.normal.of(self.level(used));
        // Two normal draws add up to one whose variance is 1 again.
        let level = (own * OWN + person * OF_PERSON) >> 16;
        let bytes = self.powers.of(mean + ((level * deviation) >> 16)).clamp(1, BYTES_MAX);
        // From half as much as usual to one and a half times as much.
        let share = up / 2 + below(draws as u32, up);
        let up = below(share, bytes);
        (up, bytes - up)
    }

    /// How large somebody's sessions are against those of others, as a draw. The levels of a class are
    /// spread evenly, so that the law of all sessions is kept.
    #[inline]
    fn level(&self, used: Use) -> u32 {
        let nth = self.chain.wards.community(used.person.of.ward, used.person.of.community);
        let first = self.levels[used.class as usize];
        (first.wrapping_add(nth.wrapping_mul(GOLDEN_GAMMA)) >> 32) as u32
    }

    /// From one of the operator's pools; kept for some hours.
    #[inline]
    fn address(&self, person: Person, second: i64) -> Ipv4Addr {
        let lease = (second + (person.bits >> 48) as i64).div_euclid(LEASE);
        let drawn = more(person.bits ^ (lease as u64).wrapping_mul(GOLDEN_GAMMA), key(6));
        let pool = self.pools[below((drawn >> 32) as u32, POOLS) as usize];
        Ipv4Addr::from_bits(pool | drawn as u32 & 0xFFFF)
    }

    #[inline]
    fn site(&self, used: Use) -> u16 {
        let draw = (used.site >> 32) as u32;
        // One of some that were drawn once.
        let nth = below(draw, FAVOURITES);
        let favourite = more(used.person.bits ^ u64::from(nth) << 60, key(7)) as u32;
        // Without a branch, which would be guessed wrong too often.
        self.sites.of([draw, favourite][usize::from(used.site & 0xFF < FAVOURITE)]) as u16
    }
}

/// Of each type: mean and standard deviation of the decimal logarithm of a session's bytes.
pub fn laws() -> [(DataType, f64, f64); KINDS.len()] {
    KINDS.map(|kind| (kind.data_type, kind.mean, kind.deviation))
}
