//! A record as one line of text, written in pieces of fixed size.
//!
//! Copies whose length the compiler knows become one or two instructions; what they write beyond
//! the text is overwritten by the next piece. That is what makes encoding fast without `unsafe`.

use std::net::Ipv4Addr;
use std::ops::Range;

use super::Message;
use crate::field::{Field, Fields, Record, Records};
use crate::generate::Generator;
use crate::part::Part;
use crate::population::Population;
use crate::stream::Stream;
use crate::text::{FixedText, ten_digits};
use crate::time::{Clock, Micros};

/// Room for the longest line (some 300 bytes) and one piece more.
const LINE_ROOM: usize = 512;

/// The decimal texts of 0 to 255.
static OCTETS: [([u8; 4], u8); 256] = {
    let mut octets = [([0; 4], 0); 256];
    let mut n = 0;
    while n < 256 {
        let digits = [b'0' + (n / 100) as u8, b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8];
        octets[n] = match n {
            0..10 => ([digits[2], 0, 0, 0], 1),
            10..100 => ([digits[1], digits[2], 0, 0], 2),
            _ => ([digits[0], digits[1], digits[2], 0], 3),
        };
        n += 1;
    }
    octets
};

/// What stands around the values of a line.
pub(super) trait Layout {
    /// Stands between date and time.
    const TIME_SEPARATOR: u8;

    /// Writes what stands before a field's value.
    fn lead(&self, field: &'static Field, line: &mut Line);

    /// Writes what stands behind the last value.
    fn end(&self, line: &mut Line);
}

/// Hands over the lines of the records whose indices are in `range`, in time order, as messages.
pub(super) fn encode<L: Layout>(
    layout: L,
    generator: &Generator,
    stream: Stream,
    part: &Part,
    range: Range<u32>,
    each: impl FnMut(Message<'_>),
) {
    let line = Line { bytes: [0; LINE_ROOM], len: 0 };
    let text = Text { clock: Clock::new(L::TIME_SEPARATOR), layout, line };
    let population = generator.population();
    generator.each(stream, part, range, &mut Lines { population, text, each });
}

/// Makes a line of each record that it takes.
struct Lines<'a, L, F> {
    population: &'a Population,
    text: Text<L>,
    each: F,
}

impl<L: Layout, F: FnMut(Message<'_>)> Records for Lines<'_, L, F> {
    #[inline(always)]
    fn take<R: Record>(&mut self, record: &R) {
        let key = self.population.subscriber(record.subscriber());
        let text = &mut self.text;
        text.line.len = 0;
        record.visit(&key, self.population, text);
        text.layout.end(&mut text.line);
        let value = &text.line.bytes[..text.line.len];
        (self.each)(Message { key: &key, value, time: record.time() });
    }
}

/// A line under construction in a layout.
struct Text<L> {
    layout: L,
    line: Line,
    clock: Clock,
}

impl<L: Layout> Fields for Text<L> {
    #[inline(always)]
    fn text<const ROOM: usize>(&mut self, field: &'static Field, value: &FixedText<ROOM>) {
        self.layout.lead(field, &mut self.line);
        self.line.text(value);
    }

    #[inline(always)]
    fn integer(&mut self, field: &'static Field, value: u32) {
        self.layout.lead(field, &mut self.line);
        let (text, digits) = (ten_digits(value), value.checked_ilog10().unwrap_or(0) as usize + 1);
        let Line { bytes, len } = &mut self.line;
        bytes[*len..*len + 10].copy_from_slice(&text[10 - digits..20 - digits]);
        *len += digits;
    }

    #[inline(always)]
    fn ipv4(&mut self, field: &'static Field, value: Ipv4Addr) {
        self.layout.lead(field, &mut self.line);
        for (i, octet) in value.octets().into_iter().enumerate() {
            if i > 0 {
                self.line.byte(b'.');
            }
            let (text, len) = &OCTETS[usize::from(octet)];
            self.line.piece(text, usize::from(*len));
        }
    }

    #[inline(always)]
    fn time(&mut self, field: &'static Field, value: Micros) {
        self.layout.lead(field, &mut self.line);
        let text = self.clock.text(value);
        self.line.piece(text, text.len());
    }
}

/// The bytes of a line, of which `len` count.
pub(super) struct Line {
    bytes: [u8; LINE_ROOM],
    len: usize,
}

impl Line {
    /// Writes a whole piece, of which the first `len` bytes count.
    #[inline(always)]
    pub fn piece<const N: usize>(&mut self, piece: &[u8; N], len: usize) {
        self.bytes[self.len..self.len + N].copy_from_slice(piece);
        self.len += len;
    }

    #[inline(always)]
    pub fn text<const ROOM: usize>(&mut self, text: &FixedText<ROOM>) {
        self.piece(&text.bytes, text.len.into());
    }

    #[inline(always)]
    pub fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }
}
