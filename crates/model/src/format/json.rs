//! JSON messages, one compact object each, as the data contract has them.

use std::ops::Range;

use crate::format::line::{FixedText, Line};
use crate::generate::Generator;
use crate::plan::Part;
use crate::population::Msisdn;
use crate::record::{CallType, DataType, Stream};
use crate::time::{Clock, Micros};

/// A record as a topic message: the key, the JSON object, the time of the event.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The subscriber's number, so that a subscriber stays in one partition.
    pub key: &'a Msisdn,
    pub value: &'a [u8],
    pub time: Micros,
}

impl Generator {
    /// Hands over the messages of the records whose indices are in `range`, in time order.
    pub fn messages(
        &self,
        stream: Stream,
        part: &Part,
        range: Range<u32>,
        each: impl FnMut(Message<'_>),
    ) {
        match stream {
            Stream::Data => self.data_messages(part, range, each),
            Stream::Voice => self.voice_messages(part, range, each),
        }
    }

    fn data_messages(&self, part: &Part, range: Range<u32>, mut each: impl FnMut(Message<'_>)) {
        let types = DataType::ALL.map(|kind| FixedText::<16>::new(kind.name()));
        let (mut line, mut clock) = (Line::new(), Clock::new(b'T'));
        for record in self.data(part, range) {
            let key = self.population().subscriber(record.subscriber);
            line.clear();
            line.text(b"{\"msisdn\":\"");
            line.msisdn(&key);
            line.text(b"\",\"tower_id\":");
            line.number(record.tower.into());
            line.text(b",\"up_bytes\":");
            line.number(record.up_bytes);
            line.text(b",\"down_bytes\":");
            line.number(record.down_bytes);
            line.text(b",\"data_type\":\"");
            line.name(&types[record.data_type as usize]);
            line.text(b"\",\"ip_address\":\"");
            line.ipv4(record.ip_address.octets());
            line.text(b"\",\"website_url\":\"");
            line.name(self.population().site_text(record.site));
            line.text(b"\",\"event_datetime\":\"");
            line.text(clock.text(record.event_time));
            line.text(b"\"}");
            each(Message { key: &key, value: line.as_bytes(), time: record.event_time });
        }
    }

    fn voice_messages(&self, part: &Part, range: Range<u32>, mut each: impl FnMut(Message<'_>)) {
        let types = CallType::ALL.map(|kind| FixedText::<8>::new(kind.name()));
        let (mut line, mut clock) = (Line::new(), Clock::new(b'T'));
        for record in self.voice(part, range) {
            let key = self.population().subscriber(record.subscriber);
            line.clear();
            line.text(b"{\"msisdn\":\"");
            line.msisdn(&key);
            line.text(b"\",\"tower_id\":");
            line.number(record.tower.into());
            line.text(b",\"call_type\":\"");
            line.name(&types[record.call_type as usize]);
            line.text(b"\",\"dest_nr\":\"");
            line.msisdn(&self.population().destination(record.destination));
            line.text(b"\",\"call_duration_sec\":");
            line.number(record.duration_s.into());
            line.text(b",\"start_time\":\"");
            line.text(clock.text(record.start_time));
            line.text(b"\"}");
            each(Message { key: &key, value: line.as_bytes(), time: record.start_time });
        }
    }
}
