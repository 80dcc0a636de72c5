//! Calls: who calls whom, and for how long.

use super::chain::{Chain, LENGTH_MAX, SECOND};
use super::law::{Choice, Durations};
use super::memo::{Entry, Memo, Next};
use super::pair::Pair;
use super::people::People;
use super::ties::Ties;
use super::wards::{Dealt, Person, Wards};
use crate::population::Called;
use crate::profile::daily::{Cell, Daily};
use crate::random::{GOLDEN_GAMMA, below, key, mix, more};
use crate::scenario::Scenario;
use crate::stream::Stream;

/// What somebody has to pause between two calls, in seconds.
const PAUSE: i64 = 2;

/// Of 256 calls that follow another one: those between the same two, and those that call back; the
/// others are the same caller's to somebody else.
const SAME: u32 = 96;
const BACK: u32 = 134;

/// Of 256 calls that leave the network: to numbers that were never called before, and to service lines.
const NEW_NUMBERS: u32 = 31;
const SERVICE: u32 = 57;

/// Service lines, at most.
const LINES_MAX: u32 = 1_000;

/// The calls of a run.
#[derive(Clone, Debug)]
pub struct Calls {
    pub(super) chain: Chain,
    people: People,
    ties: Ties,
    /// The law of calls that nothing cuts short.
    pub(super) law: Durations,
    /// Such that all calls obey the law, those included that had to end early.
    pub(super) calibrated: Durations,
    lines: Choice,
    outside: Outside,
}

/// Numbers that are no subscribers'.
#[derive(Clone, Copy, Debug)]
struct Outside {
    /// Those of people whom subscribers know.
    known: u32,
    /// All others of the numbering plan.
    others: u32,
}

/// A call, but for where it begins.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Local, in microseconds.
    pub time: i64,
    pub pair: Pair,
    /// 0: the line was busy.
    pub seconds: u32,
    /// For what is drawn besides.
    pub bits: u64,
}

impl Outside {
    fn new(scenario: &Scenario) -> Outside {
        let used = u64::from(scenario.subscribers) + u64::from(scenario.destinations);
        let others = scenario.numbering.capacity().saturating_sub(used);
        Outside {
            known: scenario.destinations,
            others: u32::try_from(others).unwrap_or(u32::MAX).min(u32::MAX - scenario.destinations),
        }
    }

    fn known(self, bits: u64) -> Called {
        Called::Destination(below(bits as u32, self.known))
    }

    fn new_number(self, bits: u64) -> Called {
        match self.others {
            0 => self.known(bits),
            others => Called::Destination(self.known + below(bits as u32, others)),
        }
    }
}

impl Calls {
    pub fn new(scenario: &Scenario, daily: &Daily, wards: &Wards, per_day: f64) -> Calls {
        let habits = &scenario.habits;
        let share = f64::from(habits.bursts) / 100.0;
        let law = Durations::log_logistic(habits.call_median.into(), 1.5);
        let sigma = f64::from(habits.voice_sigma) / 1_000.0;
        let lines = wards.dormant().min(LINES_MAX);
        let mut calls = Calls {
            chain: Chain::new(daily, wards, Stream::Voice, share, 0.75, 20.0),
            people: People::of_calls(scenario.seed, wards, sigma, per_day),
            ties: Ties::new(scenario.seed, wards),
            calibrated: law.clone(),
            law,
            lines: Choice::new((1..=lines).map(|nth| 1.0 / f64::from(nth))),
            outside: Outside::new(scenario),
        };
        calls.calibrate();
        calls
    }

    /// How many wards the callers live in.
    pub fn wards(&self) -> u32 {
        self.chain.wards.count()
    }

    /// Subscribers below this make records.
    pub fn members(&self) -> u32 {
        self.chain.wards.members()
    }

    /// Who a subscriber is.
    #[inline]
    pub fn person(&self, subscriber: u32) -> Person {
        self.chain.wards.person(self.chain.wards.member(subscriber))
    }

    /// A call by its number.
    #[inline]
    pub fn call(&self, memo: &mut Memo, cell: &Cell, record: i64) -> Call {
        let (ward, dealt) = self.chain.wards.ward_of(record);
        let Entry { time, pair } = self.entry(memo, ward, dealt, cell);
        let draw = self.length_draw(record);
        let wanted = self.calibrated.of(draw);
        let room = self.room(memo, dealt, time, pair, wanted, cell);
        let bits = self.chain.bits(record);
        let seconds = match room {
            room if wanted <= room => wanted,
            0 => 0,
            room => self.calibrated.within(more(bits, key(1)) as u32, room),
        };
        Call { time, pair, seconds, bits: more(bits, key(2)) }
    }

    /// What the length of a call is drawn from.
    #[inline]
    pub(super) fn length_draw(&self, record: i64) -> u32 {
        (self.chain.daily.bits(Stream::Voice, record) >> 32) as u32
    }

    /// The time and the parties of a record. The cell may be any; one that is close takes least.
    #[inline]
    pub(super) fn entry(&self, memo: &mut Memo, ward: u32, of: Dealt, near: &Cell) -> Entry {
        match memo.get(ward, of.turn) {
            Some(known) => known,
            None => self.look(memo, ward, of, &mut near.clone()),
        }
    }

    fn look(&self, memo: &mut Memo, ward: u32, of: Dealt, cell: &mut Cell) -> Entry {
        let time = self.chain.time(of.record, cell);
        let pair = self.pair(memo, (ward, of.record), time, cell, 0);
        let entry = Entry { time, pair };
        memo.put(ward, of.turn, entry);
        entry
    }

    /// Who calls whom. The cell is the record's.
    fn pair(
        &self,
        memo: &mut Memo,
        (ward, record): (u32, i64),
        time: i64,
        cell: &Cell,
        length: u32,
    ) -> Pair {
        let bits = self.chain.bits(record);
        if length < LENGTH_MAX && self.chain.follows(bits) {
            let mut cell = *cell;
            let took = |record: i64| self.law.of(self.length_draw(record));
            let earlier = self.chain.before(memo, (ward, record), time, &mut cell, bits, took);
            if let Some((earlier, time)) = earlier {
                let pair = match memo.get(ward, earlier.turn) {
                    Some(entry) => entry.pair,
                    None => self.pair(memo, (ward, earlier.record), time, &cell, length + 1),
                };
                return self.next(pair, ward, more(bits, key(3)));
            }
        }
        let caller = self.caller(ward, bits, self.length_draw(record));
        Pair::new(caller, self.contact(caller, more(bits, key(4))))
    }

    /// Who calls. Of two who would, the one whose calls are more often of such a length.
    fn caller(&self, ward: u32, bits: u64, length: u32) -> u32 {
        let class = self.people.class((bits >> 32) as u32);
        let draws = more(bits, key(5));
        let [one, other] = [draws >> 32, draws & 0xFFFF_FFFF];
        let [one, other] = [one, other]
            .map(|draw| self.chain.wards.subscriber(self.people.somebody(ward, class, draw as u32)));
        let distance = |who: u32| {
            let level = (mix(u64::from(who).wrapping_mul(GOLDEN_GAMMA)) >> 32) as u32;
            level.abs_diff(length)
        };
        if distance(other) < distance(one) { other } else { one }
    }

    /// Who calls whom, behind a call of a pair.
    fn next(&self, pair: Pair, ward: u32, draws: u64) -> Pair {
        let kind = (draws & 0xFF) as u32;
        if kind < SAME {
            return pair;
        }
        let [caller, called] = pair.parties(self.members());
        let would_call_back = || (draws >> 8 & 0xFF) < u64::from(self.ties.keenness(called, caller));
        if kind < BACK && called != caller && would_call_back() {
            return Pair::new(called, Called::Subscriber(caller));
        }
        // Others that somebody of another ward knows cannot be in this ward's records.
        match self.chain.wards.ward(caller) == ward {
            true => Pair::new(caller, self.contact(caller, more(draws, key(8)))),
            false => pair,
        }
    }

    /// Whom somebody calls.
    fn contact(&self, caller: u32, draws: u64) -> Called {
        let rank = self.ties.rank((draws >> 32) as u32);
        if let Some(other) = self.ties.contact(caller, rank)
            && (draws & 0xFF) < u64::from(self.ties.keenness(caller, other))
        {
            return Called::Subscriber(other);
        }
        let kind = (draws >> 8 & 0xFF) as u32;
        if kind < NEW_NUMBERS {
            self.outside.new_number(more(draws, key(6)))
        } else if kind < SERVICE {
            Called::Subscriber(self.members() + self.lines.of(more(draws, key(7)) as u32))
        } else {
            self.outside.known(mix(u64::from(caller) << 8 | u64::from(rank)))
        }
    }

    /// Seconds until one of the two is in another call, which is at most of interest up to `wanted`.
    pub(super) fn room(
        &self,
        memo: &mut Memo,
        of: Dealt,
        time: i64,
        pair: Pair,
        wanted: u32,
        cell: &Cell,
    ) -> u32 {
        let parties = pair.parties(self.members());
        let (wards, count) = self.wards_of(parties);
        let mut room = wanted;
        for &ward in &wards[..count] {
            room = self.room_in(memo, ward, of, (time, parties), room, cell);
        }
        room
    }

    /// The wards in whose records the parties of a call can occur, and how many they are.
    #[inline(always)]
    fn wards_of(&self, [caller, called]: [u32; 2]) -> ([u32; 4], usize) {
        let own = self.chain.wards.ward(caller);
        let (mut wards, mut count) = ([own; 4], 1);
        let mut add = |ward: u32| {
            if !wards[..count].contains(&ward) {
                wards[count] = ward;
                count += 1;
            }
        };
        self.ties.second_ward(caller).map(&mut add);
        if called != caller {
            add(self.chain.wards.ward(called));
            self.ties.second_ward(called).map(&mut add);
        }
        (wards, count)
    }

    fn room_in(
        &self,
        memo: &mut Memo,
        ward: u32,
        of: Dealt,
        (time, parties): (i64, [u32; 2]),
        wanted: u32,
        cell: &Cell,
    ) -> u32 {
        let until = time + (i64::from(wanted) + PAUSE) * SECOND;
        let (mut turn, mut latest) = (of.turn, None);
        if self.chain.wards.dealt(ward, turn).record <= of.record {
            turn += 1;
        }
        loop {
            match memo.next_with(ward, &mut turn, until, parties) {
                Next::At(begin) => {
                    let room = (begin - time).div_euclid(SECOND) - 1;
                    return (room.max(0) as u32).min(wanted);
                }
                Next::None => return wanted,
                Next::Unknown => {
                    let near = latest.get_or_insert(*cell);
                    for ahead in 0..memo.ahead(ward) as i64 {
                        self.look(memo, ward, self.chain.wards.dealt(ward, turn + ahead), near);
                    }
                }
            }
        }
    }
}
