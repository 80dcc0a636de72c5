//! CSV files (RFC 4180), as the data contract has them.
//!
//! No value of any field can hold a comma, a quote or a line end: numbers, times, addresses, URLs
//! of letters, digits and `:/.-`, and the closed sets of words. So nothing ever needs quoting.

use std::fmt;

use super::line::{Layout, Line};
use crate::field::Field;
use crate::stream::Stream;
use crate::text::FixedText;

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

    const fn text(self) -> &'static str {
        match self {
            LineEnd::Lf => "\n",
            LineEnd::CrLf => "\r\n",
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
    out.extend_from_slice(line_end.text().as_bytes());
}

/// Nothing stands behind the last line.
pub(super) fn footer(_: Stream, _: &mut Vec<u8>) {}

/// Commas between the values, and a line end.
pub(super) struct Row {
    end: FixedText<2>,
}

impl Row {
    pub fn new(line_end: LineEnd) -> Self {
        Row { end: FixedText::new(&[line_end.text()]) }
    }
}

impl Layout for Row {
    const TIME_SEPARATOR: u8 = b' ';

    #[inline(always)]
    fn lead(&self, field: &'static Field, line: &mut Line) {
        if !field.is_first {
            line.byte(b',');
        }
    }

    #[inline(always)]
    fn end(&self, line: &mut Line) {
        line.text(&self.end);
    }
}
