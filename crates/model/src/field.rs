//! What a record's fields are: names, types, units and meanings, declared once.
//!
//! A record lists its fields and hands their values, in order, to whoever implements [`Fields`]. So
//! an encoding is one implementation of that trait, whatever records there are, and a schema is made
//! from the list alone.

use std::net::Ipv4Addr;

use crate::fact::Fact;
use crate::population::{Msisdn, Population};
use crate::text::FixedText;
use crate::time::Micros;
use crate::usage::Used;

/// Room for a field's name and what stands around it in JSON.
const LEAD_ROOM: usize = 32;

/// A field of a record.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// As in the CSV header and in JSON.
    pub name: &'static str,
    pub kind: FieldKind,
    /// What the number counts; empty for all that is no number.
    pub unit: &'static str,
    /// One sentence for a data dictionary.
    pub meaning: &'static str,
    /// What JSON has between the value before and this one: `","NAME":"` between two texts.
    pub(crate) json_lead: FixedText<LEAD_ROOM>,
    pub(crate) is_first: bool,
}

/// What values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// E.164 digits without `+`: text, since a number of 15 digits is none to calculate with.
    Msisdn,
    /// A whole number in these bounds, which hold for every profile.
    Integer { min: u32, max: u32 },
    /// One of these words.
    Word(&'static [&'static str]),
    /// A URL, `http(s)://…/`.
    Url,
    /// An IPv4 address in dotted form.
    Ipv4,
    /// Microseconds, no zone, UTC.
    Time,
}

impl Field {
    pub(crate) const fn new(name: &'static str, kind: FieldKind, meaning: &'static str) -> Field {
        Field { name, kind, unit: "", meaning, json_lead: FixedText::new(&[]), is_first: false }
    }

    /// A whole number of something.
    pub(crate) const fn count(
        name: &'static str,
        [min, max]: [u32; 2],
        unit: &'static str,
        meaning: &'static str,
    ) -> Field {
        Field { unit, ..Field::new(name, FieldKind::Integer { min, max }, meaning) }
    }

    /// The fields of a record in their order, which decides what encodings have between their values.
    pub(crate) const fn list<const N: usize>(mut fields: [Field; N]) -> [Field; N] {
        let mut nth = 0;
        let mut before = "{\"";
        assert!(matches!(fields[N - 1].kind, FieldKind::Time), "a record's last field is its time");
        while nth < N {
            assert!(fields[nth].name.len() + "\",\"\":\"".len() <= LEAD_ROOM, "the name is too long");
            // Numbers stand without quotes.
            let is_number = matches!(fields[nth].kind, FieldKind::Integer { .. });
            let after = if is_number { "\":" } else { "\":\"" };
            fields[nth].is_first = nth == 0;
            fields[nth].json_lead = FixedText::new(&[before, fields[nth].name, after]);
            before = if is_number { ",\"" } else { "\",\"" };
            nth += 1;
        }
        fields
    }
}

/// Takes a record's values, field by field, in order.
pub trait Fields {
    /// A text of characters that no encoding needs to escape: digits, a word, a URL.
    fn text<const ROOM: usize>(&mut self, field: &'static Field, value: &FixedText<ROOM>);
    fn integer(&mut self, field: &'static Field, value: u32);
    fn ipv4(&mut self, field: &'static Field, value: Ipv4Addr);
    fn time(&mut self, field: &'static Field, value: Micros);
}

/// A record of one stream.
pub trait Record: Copy + 'static {
    /// Its fields, in the order in which every encoding carries them.
    const FIELDS: &'static [Field];

    /// Hands over the value of each field, in their order; `number` is the subscriber's number.
    fn visit(&self, number: &Msisdn, population: &Population, fields: &mut impl Fields);

    /// Index of the subscriber whose record it is: its number is the message's key.
    fn subscriber(&self) -> u32;

    /// When it happened.
    fn time(&self) -> Micros;

    /// What it says, for statistics, if any are kept of its kind.
    fn fact(&self, population: &Population) -> Option<Fact>;

    /// The tower and the usage that it reports, if any.
    fn usage(&self) -> Option<(u16, Used)>;
}

/// Takes records of any stream, one by one.
pub trait Records {
    fn take<R: Record>(&mut self, record: &R);
}
