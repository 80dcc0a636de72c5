//! JSON messages, one compact object each, as the data contract has them.

use std::net::Ipv4Addr;
use std::ops::Range;

use super::Message;
use crate::field::{Field, Fields, Record, Records};
use crate::format::line::Line;
use crate::generate::Generator;
use crate::part::Part;
use crate::population::{Msisdn, Population, URL_ROOM};
use crate::stream::Stream;
use crate::text::{FixedText, WORD_ROOM};
use crate::time::{Clock, Micros, TIME_TEXT_LEN};

/// Hands over the messages of the records whose indices are in `range`, in time order.
pub(super) fn encode(
    generator: &Generator,
    stream: Stream,
    part: &Part,
    range: Range<u32>,
    each: impl FnMut(Message<'_>),
) {
    let object = Object { line: Line::new(), clock: Clock::new(b'T') };
    let population = generator.population();
    generator.each(stream, part, range, &mut Messages { population, object, each });
}

/// The time of the event, which every record has as its last field: `…"2024-01-01T01:01:15.291148"}`.
pub(super) fn time_of(value: &[u8]) -> Option<Micros> {
    let time = value.strip_suffix(b"\"}")?;
    Micros::parse(time.get(time.len().checked_sub(TIME_TEXT_LEN)?..)?)
}

/// Makes a message of each record that it takes.
struct Messages<'a, F> {
    population: &'a Population,
    object: Object,
    each: F,
}

impl<F: FnMut(Message<'_>)> Records for Messages<'_, F> {
    #[inline(always)]
    fn take<R: Record>(&mut self, record: &R) {
        let key = self.population.subscriber(record.subscriber());
        self.object.line.clear();
        record.visit(&key, self.population, &mut self.object);
        let line = &mut self.object.line;
        // The last field is a time, which is text.
        line.text(b"\"}");
        (self.each)(Message { key: &key, value: line.as_bytes(), time: record.time() });
    }
}

/// The object under construction, up to the last value.
struct Object {
    line: Line,
    clock: Clock,
}

impl Fields for Object {
    #[inline(always)]
    fn msisdn(&mut self, field: &'static Field, value: &Msisdn) {
        self.line.name(field.json_lead());
        self.line.msisdn(value);
    }

    #[inline(always)]
    fn integer(&mut self, field: &'static Field, value: u32) {
        self.line.name(field.json_lead());
        self.line.number(value);
    }

    #[inline(always)]
    fn word(&mut self, field: &'static Field, value: &FixedText<WORD_ROOM>) {
        self.line.name(field.json_lead());
        self.line.name(value);
    }

    #[inline(always)]
    fn url(&mut self, field: &'static Field, value: &FixedText<URL_ROOM>) {
        self.line.name(field.json_lead());
        self.line.name(value);
    }

    #[inline(always)]
    fn ipv4(&mut self, field: &'static Field, value: Ipv4Addr) {
        self.line.name(field.json_lead());
        self.line.ipv4(value.octets());
    }

    #[inline(always)]
    fn time(&mut self, field: &'static Field, value: Micros) {
        self.line.name(field.json_lead());
        self.line.text(self.clock.text(value));
    }
}
