//! Where people are, at any time: a function of the person and the time.

use super::law::Quantiles;
use super::towers::{Place, Point, Towers};
use super::wards::{COMMUNITY, FAMILY, Member, Person, Wards};
use crate::habits::DayKind;
use crate::profile::Bases;
use crate::profile::daily::Moment;
use crate::random::{GOLDEN_GAMMA, below, key, mix, more};

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;
const MINUTE: i64 = 60;

/// So long one of two towers near each other serves somebody.
const SLOT: i64 = 10 * MINUTE;

/// Every way takes so much.
const NEARBY: i64 = 2 * MINUTE;

/// When people who do not work go out.
const MORNING_FROM: i64 = 8 * HOUR;
const NOON_FROM: i64 = 13 * HOUR;
const LATE_FROM: i64 = 17 * HOUR + 40 * MINUTE;

/// Of 256.
const WORKERS: u32 = 151;
const LUNCH: u32 = 110;
const EVENING: u32 = 189;
const MORNING: u32 = 230;
const NOON: u32 = 225;
const LATE: u32 = 151;
const NEW_PLACE: u32 = 140;
const FAR: u32 = 31;
const NEIGHBOUR: u32 = 59;

/// Of 2^16: days on which somebody travels, at work and on other days.
const TRIP: u32 = 524;
const TRIP_ON_FREE_DAY: u32 = 3_277;

/// Places that somebody knows, at most.
const PLACES_MAX: i64 = 1_000;

/// Where people are.
#[derive(Clone, Debug)]
pub struct Days {
    /// How far one family lives from the next, in 2^16ths of a place.
    per_family: u64,
    wards: Wards,
    towers: Towers,
    near: Quantiles,
    far: Quantiles,
    ranks: Quantiles,
}

/// When somebody leaves a place, and is back at it: seconds of the day.
#[derive(Clone, Copy, Debug)]
struct Outing {
    leave: i64,
    back: i64,
}

/// Where an outing has somebody.
enum Stage {
    There,
    /// A part of the way from one tower to another one, of 2^16.
    Between(u32, u32, i64),
}

/// A person on a day.
#[derive(Clone, Copy)]
struct Who {
    bits: u64,
    today: u64,
    home: Place,
}

impl Days {
    pub fn new(wards: &Wards, towers: Towers, count: u16) -> Days {
        let whole = 4_294_967_296.0;
        let one = 1.0 / f64::from(count);
        Days {
            per_family: (1 << 48) / u64::from(wards.members() / FAMILY),
            wards: wards.clone(),
            towers,
            near: Quantiles::power(0.9, 0.5 * one * whole, (20.0 * one).clamp(0.01, 0.04) * whole),
            far: Quantiles::power(1.2, 0.02 * whole, 0.5 * whole),
            // Places of rank k are gone to with a frequency that falls with k.
            ranks: Quantiles::power(1.2, 1.0, PLACES_MAX as f64),
        }
    }

    pub fn towers(&self) -> &Towers {
        &self.towers
    }

    /// Where a member of a ward lives.
    #[inline]
    fn home(&self, of: Member) -> Place {
        let families = u64::from(COMMUNITY / FAMILY);
        // Communities of all wards take turns along the curve, so that each ward is everywhere.
        let community = u64::from(of.community) * u64::from(self.wards.count()) + u64::from(of.ward);
        let family = community * families + u64::from(of.position / FAMILY);
        ((family * self.per_family) >> 16) as u32
    }

    /// The towers of somebody's home and, for those who work, of their work; from 1.
    pub fn bases(&self, person: Person) -> Bases {
        let home = self.home(person.of);
        let tower = |place| self.towers.at(place) + 1;
        let work = works(person.bits).then(|| tower(self.work(home, person.bits)));
        Bases { home: tower(home), work }
    }

    /// Where those who work do so.
    fn work(&self, home: Place, bits: u64) -> Place {
        self.displaced(home, more(bits, key(2)))
    }

    /// The tower that serves somebody at a local time; from 0.
    pub fn tower(&self, person: Person, now: Moment) -> u32 {
        let bits = person.bits;
        let today = more(bits ^ (now.day as u64).wrapping_mul(GOLDEN_GAMMA), key(12));
        let who = Who { bits, today, home: self.home(person.of) };
        let tower = match self.stage(who, now.kind, now.of_day) {
            None => self.towers.at(who.home),
            Some((place, Stage::There)) => self.towers.at(place),
            Some((_, Stage::Between(from, to, part))) => {
                let (from, to) = (self.towers.point(from), self.towers.point(to));
                return self.towers.near(from.towards(to, part));
            }
        };
        self.or_neighbour(bits, tower, now)
    }

    /// Towers near each other share the load.
    #[inline]
    fn or_neighbour(&self, bits: u64, tower: u32, now: Moment) -> u32 {
        let slot = (now.day * (DAY / SLOT) + i64::from(now.of_day as u32 / SLOT as u32)) as u64;
        let draw = more(bits ^ u64::from(tower) << 40 ^ slot.wrapping_mul(GOLDEN_GAMMA), key(13));
        let neighbour = self.towers.neighbour(tower, (draw >> 8) as usize & 1);
        // Without a branch, which would be guessed wrong too often.
        [tower, neighbour][usize::from((draw as u32 & 0xFF) < NEIGHBOUR)]
    }

    /// The outing that somebody is on, if any.
    fn stage(&self, who: Who, kind: DayKind, now: i64) -> Option<(Place, Stage)> {
        let works = works(who.bits) && kind.is_for_work();
        let trips = if kind.is_for_work() { TRIP } else { TRIP_ON_FREE_DAY };
        if (who.today as u32 & 0xFFFF) < trips {
            return self.on_trip(who, now);
        }
        if !works {
            return self.at_leisure(who, now);
        }
        let commute = commute(who);
        match now {
            _ if now < commute.leave => None,
            _ if now < commute.back => self.at_work(who, commute, now),
            _ => self.out_in_the_evening(who, commute.back, now),
        }
    }

    /// Where an outing from one place to another one has somebody, if its ways leave time to be there.
    fn on(&self, outing: Outing, base: Place, there: Place, now: i64) -> Option<(Place, Stage)> {
        let (from, to) = (self.towers.at(base), self.towers.at(there));
        let way = self.way(from, to);
        if 2 * way + 10 * MINUTE > outing.back - outing.leave {
            return None;
        }
        let (gone, left) = (now - outing.leave, outing.back - now);
        let stage = match () {
            () if gone < way => Stage::Between(from, to, (gone << 16) / way),
            () if left < way => Stage::Between(from, to, (left << 16) / way),
            () => Stage::There,
        };
        Some((there, stage))
    }

    /// Seconds from one tower to another one.
    fn way(&self, from: u32, to: u32) -> i64 {
        if from == to { NEARBY } else { travel(self.towers.point(from), self.towers.point(to)) }
    }

    fn at_work(&self, who: Who, commute: Outing, now: i64) -> Option<(Place, Stage)> {
        let work = self.work(who.home, who.bits);
        if (12 * HOUR..15 * HOUR).contains(&now)
            && let Some(stage) = self.at_lunch(who, commute, work, now)
        {
            return Some(stage);
        }
        self.on(commute, who.home, work, now)
    }

    /// From work and back to it.
    fn at_lunch(&self, who: Who, commute: Outing, work: Place, now: i64) -> Option<(Place, Stage)> {
        let draws = more(who.today, key(3));
        if (draws as u32 & 0xFF) >= LUNCH {
            return None;
        }
        let leave = 12 * HOUR + i64::from(below((draws >> 32) as u32, HOUR as u32));
        let back = leave + 30 * MINUTE + i64::from(below((draws >> 16) as u32, 45 * MINUTE as u32));
        let way = self.way(self.towers.at(who.home), self.towers.at(work));
        let is_at_work = commute.leave + way < leave && back < commute.back - way;
        if !is_at_work || !(leave..back).contains(&now) {
            return None;
        }
        let there = displaced(&self.near, work, mix(who.bits ^ 4 ^ (draws >> 8 & 3)));
        self.on(Outing { leave, back }, work, there, now)
    }

    fn out_in_the_evening(&self, who: Who, free: i64, now: i64) -> Option<(Place, Stage)> {
        let draws = more(who.today, key(5));
        if (draws as u32 & 0xFF) >= EVENING {
            return None;
        }
        let leave = free.max(17 * HOUR) + i64::from(below((draws >> 32) as u32, 90 * MINUTE as u32));
        let back = leave + HOUR + i64::from(below((draws >> 16) as u32, 2 * HOUR as u32));
        if !(leave..back).contains(&now) || back >= DAY {
            return None;
        }
        self.on(Outing { leave, back }, who.home, self.somewhere(who, 5), now)
    }

    /// Those who do not work today go out up to three times.
    fn at_leisure(&self, who: Who, now: i64) -> Option<(Place, Stage)> {
        let (nth, share, from, spread, longest) = match now {
            ..MORNING_FROM => return None,
            MORNING_FROM..NOON_FROM => (6, MORNING, MORNING_FROM, 2 * HOUR, 3 * HOUR),
            NOON_FROM..LATE_FROM => (7, NOON, NOON_FROM, HOUR, 3 * HOUR),
            _ => (8, LATE, LATE_FROM, HOUR, 3 * HOUR + 20 * MINUTE),
        };
        let draws = more(who.today, key(nth));
        if (draws as u32 & 0xFF) >= share {
            return None;
        }
        let leave = from + i64::from(below((draws >> 32) as u32, spread as u32));
        let back = leave + HOUR + i64::from(below((draws >> 16) as u32, (longest - HOUR) as u32));
        if !(leave..back).contains(&now) {
            return None;
        }
        self.on(Outing { leave, back }, who.home, self.somewhere(who, nth), now)
    }

    /// Far away for the day.
    fn on_trip(&self, who: Who, now: i64) -> Option<(Place, Stage)> {
        let draws = more(who.today, key(9));
        let leave = 8 * HOUR + i64::from(below((draws >> 32) as u32, 2 * HOUR as u32));
        let back = 20 * HOUR + i64::from(below(draws as u32, 2 * HOUR as u32));
        if !(leave..back).contains(&now) {
            return None;
        }
        self.on(
            Outing { leave, back },
            who.home,
            displaced(&self.far, who.home, more(draws, key(10))),
            now,
        )
    }

    /// A new place, or one of those where somebody is at times.
    fn somewhere(&self, who: Who, nth: u64) -> Place {
        let draws = more(who.today, key(11 + nth));
        match (draws as u32 & 0xFF) < NEW_PLACE {
            true => self.displaced(who.home, more(draws, key(10))),
            false => {
                let rank = self.ranks.of((draws >> 32) as u32);
                self.displaced(who.home, mix(who.bits ^ 0x7261_6E6B ^ (rank as u64) << 8))
            }
        }
    }

    /// Mostly near a place.
    fn displaced(&self, from: Place, draws: u64) -> Place {
        let law = if (draws as u32 & 0xFF) < FAR { &self.far } else { &self.near };
        displaced(law, from, draws)
    }
}

fn works(bits: u64) -> bool {
    (bits as u32 & 0xFF) < WORKERS
}

/// When somebody is on the way to work, there, and on the way home.
fn commute(who: Who) -> Outing {
    let habit = more(who.bits, key(1));
    let today = |shift: u32| i64::from(below((who.today >> shift) as u32, 20 * MINUTE as u32));
    let go = 6 * HOUR + 30 * MINUTE + i64::from(below(habit as u32, 130 * MINUTE as u32));
    let end = 16 * HOUR + i64::from(below((habit >> 32) as u32, 160 * MINUTE as u32));
    Outing { leave: go + today(16), back: end + today(24) }
}

/// Along the curve, in either direction; its ends reflect.
fn displaced(law: &Quantiles, from: Place, draws: u64) -> Place {
    let delta = law.of((draws >> 32) as u32);
    let place = i64::from(from) + if draws & 0x100 == 0 { delta } else { -delta };
    let place = if place < 0 { -place } else { place };
    let last = i64::from(Place::MAX);
    (if place > last { 2 * last - place } else { place }).clamp(0, last) as Place
}

/// Seconds from one point to another: in and around the city, on the road, by air.
fn travel(from: Point, to: Point) -> i64 {
    let metres = i64::from(from.distance(to));
    let seconds = match metres {
        // At 50 km/h.
        ..50_000 => metres * 36 / 500,
        // Beyond these, at 110 km/h.
        50_000..400_000 => HOUR + (metres - 50_000) * 36 / 1_100,
        _ => 4 * HOUR + 12 * MINUTE,
    };
    seconds + NEARBY
}
