//! A stream, an encoding and a profile that only tests know: they show what it takes to add one.
//!
//! ARCHITECTURE.md lists under "How to add" which files each of these touches; those are the files that
//! name the feature `test-additions`, which a test counts.

use std::net::Ipv4Addr;
use std::ops::Range;

use crate::fact::Fact;
use crate::field::{Field, FieldKind, Fields, Record, Records};
use crate::format::Message;
use crate::generate::Generator;
use crate::part::{Part, PartIndex};
use crate::population::{Msisdn, Population};
use crate::profile::Uniform;
use crate::scenario::Scenario;
use crate::stream::Stream;
use crate::text::FixedText;
use crate::time::Micros;
use crate::usage::Used;

/// A measurement of the radio signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalRecord {
    pub subscriber: u32,
    /// Below 0 dBm, without the sign.
    pub signal_dbm: u32,
    pub time: Micros,
}

const SIGNAL_FIELDS: &[Field; 3] = &Field::list([
    Field::new("msisdn", FieldKind::Msisdn, "The subscriber's number."),
    Field::count("signal", [0, 99], "-dBm", "How much was received."),
    Field::new("measured_at", FieldKind::Time, "When it was measured, UTC."),
]);

impl Record for SignalRecord {
    const FIELDS: &'static [Field] = SIGNAL_FIELDS;

    fn visit(&self, number: &Msisdn, _: &Population, fields: &mut impl Fields) {
        let [msisdn, signal, time] = SIGNAL_FIELDS;
        fields.text(msisdn, number);
        fields.integer(signal, self.signal_dbm);
        fields.time(time, self.time);
    }

    fn subscriber(&self) -> u32 {
        self.subscriber
    }

    fn time(&self) -> Micros {
        self.time
    }

    fn fact(&self, _: &Population) -> Option<Fact> {
        None
    }

    fn usage(&self) -> Option<(u16, Used)> {
        None
    }
}

/// The uniform profile, with half as many records in every second part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uneven([Uniform; 2]);

impl Uneven {
    pub fn new(scenario: &Scenario) -> Self {
        let half = Scenario { line_count: scenario.line_count / 2, ..scenario.clone() };
        Uneven([Uniform::new(scenario), Uniform::new(&half)])
    }

    /// The profile of a part.
    pub fn of(&self, part: PartIndex) -> &Uniform {
        &self.0[(part.0 % 2) as usize]
    }

    pub fn count_max(&self) -> u32 {
        self.0[0].rhythm().count(PartIndex(0))
    }
}

/// `name=value` pairs with a bar behind each.
struct Pairs(Vec<u8>);

impl Pairs {
    fn pair(&mut self, field: &Field, value: &[u8]) {
        for piece in [field.name.as_bytes(), b"=", value, b"|"] {
            self.0.extend_from_slice(piece);
        }
    }
}

impl Fields for Pairs {
    fn text<const ROOM: usize>(&mut self, field: &'static Field, value: &FixedText<ROOM>) {
        self.pair(field, value.as_bytes());
    }

    fn integer(&mut self, field: &'static Field, value: u32) {
        self.pair(field, value.to_string().as_bytes());
    }

    fn ipv4(&mut self, field: &'static Field, value: Ipv4Addr) {
        self.pair(field, value.to_string().as_bytes());
    }

    fn time(&mut self, field: &'static Field, value: Micros) {
        self.pair(field, value.to_string().as_bytes());
    }
}

struct Encoding<'a, F> {
    population: &'a Population,
    pairs: Pairs,
    each: F,
}

impl<F: FnMut(Message<'_>)> Records for Encoding<'_, F> {
    fn take<R: Record>(&mut self, record: &R) {
        self.pairs.0.clear();
        let key = self.population.subscriber(record.subscriber());
        record.visit(&key, self.population, &mut self.pairs);
        (self.each)(Message { key: &key, value: &self.pairs.0, time: record.time() });
    }
}

/// As any format's; a message is a record's pairs.
pub(crate) fn encode(
    generator: &Generator,
    stream: Stream,
    part: &Part,
    range: Range<u32>,
    each: impl FnMut(Message<'_>),
) {
    let encoding = &mut Encoding { population: generator.population(), pairs: Pairs(Vec::new()), each };
    generator.each(stream, part, range, encoding);
}

/// The time is the last pair's.
pub(crate) fn time_of(value: &[u8]) -> Option<Micros> {
    let text = std::str::from_utf8(value).ok()?.strip_suffix('|')?;
    Micros::parse(text.rsplit_once('=')?.1.as_bytes())
}

/// A file's first line.
pub(crate) fn header(stream: Stream, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("<{stream}>\n").as_bytes());
}

/// A line for each record.
pub(crate) fn body(
    generator: &Generator,
    stream: Stream,
    part: &Part,
    range: Range<u32>,
    out: &mut Vec<u8>,
) {
    encode(generator, stream, part, range, |message| {
        out.extend_from_slice(message.value);
        out.push(b'\n');
    });
}

/// A file's last line.
pub(crate) fn footer(stream: Stream, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("</{stream}>\n").as_bytes());
}
