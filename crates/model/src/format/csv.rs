//! CSV files (RFC 4180), as the data contract has them.
//!
//! No value of any field can hold a comma, a quote or a line end: numbers, times, addresses, URLs
//! of letters, digits and `:/.-`, and the closed sets of types. So nothing ever needs quoting.

use std::fmt;
use std::ops::Range;

use crate::format::line::{FixedText, Line};
use crate::generate::Generator;
use crate::plan::Part;
use crate::record::{CallType, DataType, Stream};
use crate::time::Clock;

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
    /// The name by which configuration selects it.
    pub const fn name(self) -> &'static str {
        match self {
            LineEnd::Lf => "lf",
            LineEnd::CrLf => "crlf",
        }
    }

    fn text(self) -> FixedText<2> {
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

impl Generator {
    /// Appends the whole file of a part: the header line and `line_count` records.
    pub fn csv_file(&self, stream: Stream, part: &Part, line_end: LineEnd, out: &mut Vec<u8>) {
        Self::csv_header(stream, line_end, out);
        self.csv_lines(stream, part, 0..part.line_count, line_end, out);
    }

    /// Appends the header line.
    pub fn csv_header(stream: Stream, line_end: LineEnd, out: &mut Vec<u8>) {
        out.extend_from_slice(stream.fields().join(",").as_bytes());
        out.extend_from_slice(line_end.text().as_str().as_bytes());
    }

    /// Appends the lines of the records whose indices are in `range`, without a header.
    pub fn csv_lines(
        &self,
        stream: Stream,
        part: &Part,
        range: Range<u32>,
        line_end: LineEnd,
        out: &mut Vec<u8>,
    ) {
        match stream {
            Stream::Data => self.csv_data(part, range, line_end, out),
            Stream::Voice => self.csv_voice(part, range, line_end, out),
        }
    }

    fn csv_data(&self, part: &Part, range: Range<u32>, line_end: LineEnd, out: &mut Vec<u8>) {
        let types = DataType::ALL.map(|kind| FixedText::<16>::new(kind.name()));
        let (mut line, mut clock, end) = (Line::new(), Clock::new(b' '), line_end.text());
        for record in self.data(part, range) {
            line.clear();
            line.msisdn(&self.population().subscriber(record.subscriber));
            line.byte(b',');
            line.number(record.tower.into());
            line.byte(b',');
            line.number(record.up_bytes);
            line.byte(b',');
            line.number(record.down_bytes);
            line.byte(b',');
            line.name(&types[record.data_type as usize]);
            line.byte(b',');
            line.ipv4(record.ip_address.octets());
            line.byte(b',');
            line.name(self.population().site_text(record.site));
            line.byte(b',');
            line.text(clock.text(record.event_time));
            line.name(&end);
            out.extend_from_slice(line.as_bytes());
        }
    }

    fn csv_voice(&self, part: &Part, range: Range<u32>, line_end: LineEnd, out: &mut Vec<u8>) {
        let types = CallType::ALL.map(|kind| FixedText::<8>::new(kind.name()));
        let (mut line, mut clock, end) = (Line::new(), Clock::new(b' '), line_end.text());
        for record in self.voice(part, range) {
            line.clear();
            line.msisdn(&self.population().subscriber(record.subscriber));
            line.byte(b',');
            line.number(record.tower.into());
            line.byte(b',');
            line.name(&types[record.call_type as usize]);
            line.byte(b',');
            line.msisdn(&self.population().destination(record.destination));
            line.byte(b',');
            line.number(record.duration_s.into());
            line.byte(b',');
            line.text(clock.text(record.start_time));
            line.name(&end);
            out.extend_from_slice(line.as_bytes());
        }
    }
}
