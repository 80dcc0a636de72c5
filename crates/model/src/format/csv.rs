//! CSV files (RFC 4180), as the data contract has them.
//!
//! No value of any field can hold a comma, a quote or a line end: numbers, times, addresses, URLs
//! of letters, digits and `:/.-`, and the closed sets of words. So nothing ever needs quoting.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::Range;

use crate::field::{Field, Fields, Record, Records};
use crate::format::line::Line;
use crate::generate::Generator;
use crate::part::Part;
use crate::population::{Msisdn, Population, URL_ROOM};
use crate::stream::Stream;
use crate::text::{FixedText, WORD_ROOM};
use crate::time::{Clock, Micros};

/// What ends each line of a CSV file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnd {
    /// `\n`
    #[default]
    Lf,
    /// `\r\n`, as RFC 4180 has it.
    CrLf,
}

impl LineEnd {
    /// Both, in the order in which configuration lists them.
    pub const ALL: [LineEnd; 2] = [LineEnd::Lf, LineEnd::CrLf];

    /// The name by which configuration selects it.
    pub const fn name(self) -> &'static str {
        match self {
            LineEnd::Lf => "lf",
            LineEnd::CrLf => "crlf",
        }
    }

    const fn text(self) -> FixedText<2> {
        match self {
            LineEnd::Lf => FixedText::new("\n"),
            LineEnd::CrLf => FixedText::new("\r\n"),
        }
    }
}

impl fmt::Display for LineEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Appends the header line.
pub(super) fn header(stream: Stream, line_end: LineEnd, out: &mut Vec<u8>) {
    let names: Vec<_> = stream.fields().iter().map(|field| field.name).collect();
    out.extend_from_slice(names.join(",").as_bytes());
    out.extend_from_slice(line_end.text().as_str().as_bytes());
}

/// Appends the lines of the records whose indices are in `range`.
pub(super) fn body(
    generator: &Generator,
    stream: Stream,
    part: &Part,
    range: Range<u32>,
    line_end: LineEnd,
    out: &mut Vec<u8>,
) {
    let row = Row { line: Line::new(), clock: Clock::new(b' ') };
    let population = generator.population();
    generator.each(stream, part, range, &mut Lines { population, row, end: line_end.text(), out });
}

/// Nothing stands behind the last line.
pub(super) fn footer(_: Stream, _: &mut Vec<u8>) {}

/// Appends a line for each record that it takes.
struct Lines<'a> {
    population: &'a Population,
    row: Row,
    end: FixedText<2>,
    out: &'a mut Vec<u8>,
}

impl Records for Lines<'_> {
    #[inline(always)]
    fn take<R: Record>(&mut self, record: &R) {
        let number = self.population.subscriber(record.subscriber());
        self.row.line.clear();
        record.visit(&number, self.population, &mut self.row);
        self.row.line.name(&self.end);
        self.out.extend_from_slice(self.row.line.as_bytes());
    }
}

/// The line under construction.
struct Row {
    line: Line,
    clock: Clock,
}

impl Row {
    #[inline(always)]
    fn separate(&mut self, field: &Field) {
        if !field.is_first() {
            self.line.byte(b',');
        }
    }
}

impl Fields for Row {
    #[inline(always)]
    fn msisdn(&mut self, field: &'static Field, value: &Msisdn) {
        self.separate(field);
        self.line.msisdn(value);
    }

    #[inline(always)]
    fn integer(&mut self, field: &'static Field, value: u32) {
        self.separate(field);
        self.line.number(value);
    }

    #[inline(always)]
    fn word(&mut self, field: &'static Field, value: &FixedText<WORD_ROOM>) {
        self.separate(field);
        self.line.name(value);
    }

    #[inline(always)]
    fn url(&mut self, field: &'static Field, value: &FixedText<URL_ROOM>) {
        self.separate(field);
        self.line.name(value);
    }

    #[inline(always)]
    fn ipv4(&mut self, field: &'static Field, value: Ipv4Addr) {
        self.separate(field);
        self.line.ipv4(value.octets());
    }

    #[inline(always)]
    fn time(&mut self, field: &'static Field, value: Micros) {
        self.separate(field);
        self.line.text(self.clock.text(value));
    }
}
