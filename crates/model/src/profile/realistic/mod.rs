//! The realistic profile: a country of people who live, move, call and use data as people do.
//!
//! Nothing is simulated: who calls whom, when and where, is a function of the record's number and of
//! the people's. So any part can be had alone, as with every profile.

mod calibrate;
mod calls;
mod chain;
mod days;
mod law;
mod math;
mod memo;
mod pair;
mod people;
mod sessions;
mod ties;
mod towers;
mod wards;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use self::calls::Calls;
use self::days::Days;
pub(crate) use self::law::Durations;
use self::law::Quantiles;
pub(crate) use self::math::normal;
use self::memo::Memo;
use self::sessions::Sessions;
pub(crate) use self::sessions::laws as session_laws;
use self::towers::Towers;
use self::wards::{Person, Wards};
use super::Bases;
use super::daily::{Cell, Daily, Moment};
use crate::field::Records;
use crate::part::Part;
use crate::record::{DataRecord, VoiceRecord};
use crate::scenario::Scenario;
use crate::service::CallType;
use crate::stream::{PerStream, Stream};

/// Of 2^16 calls, so many carry pictures.
const VIDEO: u64 = 1_311;

/// What records are made from.
#[derive(Clone, Debug)]
pub(crate) struct Realistic(Arc<World>);

#[derive(Debug)]
struct World {
    daily: Daily,
    calls: Calls,
    sessions: Sessions,
    days: Days,
    /// For each thread that is at work, what it has looked at last.
    memos: Mutex<PerStream<Vec<Memo>>>,
}

impl Realistic {
    pub fn new(scenario: &Scenario, daily: &Daily) -> Realistic {
        let rate = daily.rate();
        let wards = Wards::new(scenario, rate);
        let per_day = rate * 86_400.0 / f64::from(wards.members());
        let normal = Arc::new(Quantiles::normal(65_536.0));
        let towers = Towers::new(scenario.seed, scenario.towers, &normal);
        Realistic(Arc::new(World {
            calls: Calls::new(scenario, daily, &wards, per_day),
            sessions: Sessions::new(scenario, daily, &wards, &normal, per_day),
            days: Days::new(&wards, towers, scenario.towers),
            daily: daily.clone(),
            memos: Mutex::default(),
        }))
    }

    /// Where towers stand, in metres, from the first.
    pub fn towers(&self) -> Vec<[i32; 2]> {
        self.0.days.towers().points().iter().map(|point| [point.x, point.y]).collect()
    }

    /// Where somebody lives and works; nothing, for those who make no records.
    pub fn bases(&self, subscriber: u32) -> Option<Bases> {
        let is_member = subscriber < self.0.calls.members();
        is_member.then(|| self.0.days.bases(self.0.calls.person(subscriber)))
    }

    /// Makes the records of a part whose indices are in `range`.
    pub fn each(&self, stream: Stream, part: &Part, range: Range<u32>, records: &mut impl Records) {
        let world = &*self.0;
        match stream {
            Stream::Data => world.numbers(stream, part, range, |memo, cell, number| {
                records.take(&world.data(memo, cell, number));
            }),
            Stream::Voice => world.numbers(stream, part, range, |memo, cell, number| {
                records.take(&world.voice(memo, cell, number));
            }),
            #[cfg(feature = "test-additions")]
            Stream::Signal => world.numbers(stream, part, range, |memo, cell, number| {
                let session = world.sessions.session(memo, cell, number);
                records.take(&crate::additions::SignalRecord {
                    subscriber: session.person.subscriber,
                    signal_dbm: session.up_bytes % 100,
                    time: world.daily.utc(session.time),
                });
            }),
        }
    }
}

impl World {
    /// Hands over the numbers of a part's records, each with its cell.
    fn numbers(
        &self,
        stream: Stream,
        part: &Part,
        range: Range<u32>,
        mut each: impl FnMut(&mut Memo, &Cell, i64),
    ) {
        let first = self.daily.first(stream, part.index);
        let end = range.end.min(self.daily.count(stream, part.index));
        if range.start >= end {
            return;
        }
        let (mut number, end) = (first + i64::from(range.start), first + i64::from(end));
        let mut memo = self.memo(stream);
        let mut cell = self.daily.first_cell(stream, part.index);
        while number < end {
            self.daily.go_to(stream, number, &mut cell);
            let last = end.min(cell.first + i64::from(cell.count));
            while number < last {
                each(&mut memo, &cell, number);
                number += 1;
            }
        }
        self.memos.lock().unwrap_or_else(PoisonError::into_inner)[stream].push(memo);
    }

    fn data(&self, memo: &mut Memo, cell: &Cell, number: i64) -> DataRecord {
        let session = self.sessions.session(memo, cell, number);
        DataRecord {
            subscriber: session.person.subscriber,
            tower: self.tower(session.person, cell.moment(session.time)),
            up_bytes: session.up_bytes,
            down_bytes: session.down_bytes,
            data_type: session.data_type,
            ip_address: session.address,
            site: session.site,
            event_time: self.daily.utc(session.time),
        }
    }

    fn voice(&self, memo: &mut Memo, cell: &Cell, number: i64) -> VoiceRecord {
        let call = self.calls.call(memo, cell, number);
        let person = self.calls.person(call.pair.caller);
        VoiceRecord {
            subscriber: call.pair.caller,
            tower: self.tower(person, cell.moment(call.time)),
            call_type: if call.bits & 0xFFFF < VIDEO { CallType::Video } else { CallType::Voice },
            called: call.pair.called(),
            duration_s: call.seconds as u16,
            start_time: self.daily.utc(call.time),
        }
    }

    fn tower(&self, person: Person, now: Moment) -> u16 {
        (self.days.tower(person, now) + 1) as u16
    }

    fn memo(&self, stream: Stream) -> Memo {
        let known = self.memos.lock().unwrap_or_else(PoisonError::into_inner)[stream].pop();
        let wards = if stream == Stream::Voice { self.calls.wards() } else { 0 };
        known.unwrap_or_else(|| Memo::new(wards, &self.daily))
    }
}
