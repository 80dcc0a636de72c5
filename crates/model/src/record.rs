//! The kinds of call detail record, as small copies of indices and integers.
//!
//! A record names its subscriber, destination and site by index; [`Population`] turns an index into
//! text, so that generating costs no allocation and no look-up.

use std::net::Ipv4Addr;

use crate::fact::Fact;
use crate::field::{Field, FieldKind, Fields, Record};
use crate::population::{Called, Msisdn, Population};
use crate::service::{CallType, DataType};
use crate::stream::Stream;
use crate::time::Micros;
use crate::usage::Used;

impl Stream {
    /// The fields of its records, in the order in which every encoding carries them.
    pub const fn fields(self) -> &'static [Field] {
        match self {
            Stream::Data => DataRecord::FIELDS,
            Stream::Voice => VoiceRecord::FIELDS,
            #[cfg(feature = "test-additions")]
            Stream::Signal => crate::additions::SignalRecord::FIELDS,
        }
    }

    /// What one of its records stands for.
    pub const fn meaning(self) -> &'static str {
        match self {
            Stream::Data => "A data session of a subscriber.",
            Stream::Voice => "A voice or video call that a subscriber has made.",
            #[cfg(feature = "test-additions")]
            Stream::Signal => "A measurement that a subscriber's device has made.",
        }
    }
}

/// Mobile data usage: one record of the stream `cdr_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataRecord {
    /// Index of the subscriber, `0..subscribers`.
    pub subscriber: u32,
    /// Number of the tower, from 1.
    pub tower: u16,
    /// Bytes sent by the subscriber.
    pub up_bytes: u32,
    /// Bytes received by the subscriber.
    pub down_bytes: u32,
    pub data_type: DataType,
    /// A public IPv4 address.
    pub ip_address: Ipv4Addr,
    /// Index of the site, `0..sites`.
    pub site: u16,
    pub event_time: Micros,
}

const DATA_FIELDS: &[Field; 8] = &Field::list([
    Field::new("msisdn", FieldKind::Msisdn, "The subscriber's number."),
    Field::count("tower_id", TOWERS, "", "The tower that carried the session, from 1."),
    Field::count("up_bytes", BYTES, "bytes", "What the subscriber sent."),
    Field::count("down_bytes", BYTES, "bytes", "What the subscriber received."),
    Field::new("data_type", FieldKind::Word(DataType::NAMES), "What the session carried."),
    Field::new("ip_address", FieldKind::Ipv4, "The public address behind which the subscriber was."),
    Field::new("website_url", FieldKind::Url, "The site that was visited."),
    Field::new("event_datetime", FieldKind::Time, "When the session began, UTC."),
]);

impl Record for DataRecord {
    const FIELDS: &'static [Field] = DATA_FIELDS;

    #[inline(always)]
    fn visit(&self, number: &Msisdn, population: &Population, fields: &mut impl Fields) {
        let [msisdn, tower, up, down, data_type, ip_address, url, time] = DATA_FIELDS;
        fields.text(msisdn, number);
        fields.integer(tower, self.tower.into());
        fields.integer(up, self.up_bytes);
        fields.integer(down, self.down_bytes);
        fields.text(data_type, self.data_type.text());
        fields.ipv4(ip_address, self.ip_address);
        fields.text(url, &population.sites[usize::from(self.site)]);
        fields.time(time, self.event_time);
    }

    #[inline(always)]
    fn subscriber(&self) -> u32 {
        self.subscriber
    }

    #[inline(always)]
    fn time(&self) -> Micros {
        self.event_time
    }

    fn fact(&self, population: &Population) -> Option<Fact> {
        Some(Fact::Session {
            who: population.subscriber(self.subscriber).number(),
            tower: Some(self.tower.into()),
            time: self.event_time,
            data_type: Some(self.data_type),
            up: self.up_bytes.into(),
            down: self.down_bytes.into(),
        })
    }

    fn usage(&self) -> Option<(u16, Used)> {
        let (up_bytes, down_bytes) = (self.up_bytes.into(), self.down_bytes.into());
        Some((self.tower, Used::Data { data_type: self.data_type, up_bytes, down_bytes }))
    }
}

/// A voice or video call: one record of the stream `cdr_voice`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoiceRecord {
    /// Index of the calling subscriber, `0..subscribers`.
    pub subscriber: u32,
    /// Number of the tower, from 1.
    pub tower: u16,
    pub call_type: CallType,
    pub called: Called,
    /// Length of the call in seconds.
    pub duration_s: u16,
    pub start_time: Micros,
}

const VOICE_FIELDS: &[Field; 6] = &Field::list([
    Field::new("msisdn", FieldKind::Msisdn, "The number of the subscriber who called."),
    Field::count("tower_id", TOWERS, "", "The tower at which the call began, from 1."),
    Field::new("call_type", FieldKind::Word(CallType::NAMES), "Whether the call carried pictures, too."),
    Field::new("dest_nr", FieldKind::Msisdn, "The number that was called."),
    Field::count("call_duration_sec", [0, u16::MAX as u32], "seconds", "How long the call lasted."),
    Field::new("start_time", FieldKind::Time, "When the call began, UTC."),
]);

impl Record for VoiceRecord {
    const FIELDS: &'static [Field] = VOICE_FIELDS;

    #[inline(always)]
    fn visit(&self, number: &Msisdn, population: &Population, fields: &mut impl Fields) {
        let [msisdn, tower, call_type, dest_nr, duration, time] = VOICE_FIELDS;
        fields.text(msisdn, number);
        fields.integer(tower, self.tower.into());
        fields.text(call_type, self.call_type.text());
        fields.text(dest_nr, &population.called(self.called));
        fields.integer(duration, self.duration_s.into());
        fields.time(time, self.start_time);
    }

    #[inline(always)]
    fn subscriber(&self) -> u32 {
        self.subscriber
    }

    #[inline(always)]
    fn time(&self) -> Micros {
        self.start_time
    }

    fn fact(&self, population: &Population) -> Option<Fact> {
        Some(Fact::Call {
            caller: population.subscriber(self.subscriber).number(),
            called: Some(population.called(self.called).number()),
            tower: Some(self.tower.into()),
            time: self.start_time,
            seconds: self.duration_s.into(),
        })
    }

    fn usage(&self) -> Option<(u16, Used)> {
        let seconds = self.duration_s.into();
        Some((self.tower, Used::Call { call_type: self.call_type, seconds }))
    }
}

/// The bounds of a tower's number.
const TOWERS: [u32; 2] = [1, u16::MAX as u32];

/// The bounds of a session's bytes in one direction.
const BYTES: [u32; 2] = [0, u32::MAX];
