//! The two kinds of call detail record, as small copies of indices and integers.
//!
//! A record names its subscriber, destination and site by index; [`crate::Population`] turns an
//! index into text, so that generating costs no allocation and no look-up.

use std::fmt;
use std::net::Ipv4Addr;

use crate::time::Micros;

/// One of the two record streams; each has its own CSV files and its own topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Mobile data usage, `cdr_data`.
    Data,
    /// Voice and video calls, `cdr_voice`.
    Voice,
}

impl Stream {
    /// Both streams, in the order in which the product always names them.
    pub const ALL: [Stream; 2] = [Stream::Data, Stream::Voice];

    /// The stream's name, which begins its file names: `cdr_data` or `cdr_voice`.
    pub const fn name(self) -> &'static str {
        match self {
            Stream::Data => "cdr_data",
            Stream::Voice => "cdr_voice",
        }
    }

    /// The names of the fields, in the order in which CSV and JSON carry them.
    pub const fn fields(self) -> &'static [&'static str] {
        match self {
            Stream::Data => &[
                "msisdn",
                "tower_id",
                "up_bytes",
                "down_bytes",
                "data_type",
                "ip_address",
                "website_url",
                "event_datetime",
            ],
            Stream::Voice => {
                &["msisdn", "tower_id", "call_type", "dest_nr", "call_duration_sec", "start_time"]
            }
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a data session carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    Video,
    Audio,
    Image,
    Text,
    Application,
}

impl DataType {
    /// Every data type, in the order in which random draws select them.
    pub const ALL: [DataType; 5] =
        [DataType::Video, DataType::Audio, DataType::Image, DataType::Text, DataType::Application];

    /// The value of the field `data_type`.
    pub const fn name(self) -> &'static str {
        match self {
            DataType::Video => "video",
            DataType::Audio => "audio",
            DataType::Image => "image",
            DataType::Text => "text",
            DataType::Application => "application",
        }
    }

    /// The type that a field's value names.
    pub fn from_name(name: &str) -> Option<DataType> {
        DataType::ALL.into_iter().find(|data_type| data_type.name() == name)
    }
}

/// Whether a call carried only voice, or pictures too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallType {
    Voice,
    Video,
}

impl CallType {
    /// Every call type, in the order in which random draws select them.
    pub const ALL: [CallType; 2] = [CallType::Voice, CallType::Video];

    /// The value of the field `call_type`.
    pub const fn name(self) -> &'static str {
        match self {
            CallType::Voice => "voice",
            CallType::Video => "video",
        }
    }

    /// The type that a field's value names.
    pub fn from_name(name: &str) -> Option<CallType> {
        CallType::ALL.into_iter().find(|call_type| call_type.name() == name)
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

/// A voice or video call: one record of the stream `cdr_voice`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoiceRecord {
    /// Index of the calling subscriber, `0..subscribers`.
    pub subscriber: u32,
    /// Number of the tower, from 1.
    pub tower: u16,
    pub call_type: CallType,
    /// Index of the called number, `0..destinations`.
    pub destination: u32,
    /// Length of the call in seconds.
    pub duration_s: u16,
    pub start_time: Micros,
}
