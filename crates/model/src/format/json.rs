//! JSON messages, one compact object each, as the data contract has them.

use super::line::{Layout, Line};
use crate::field::Field;
use crate::time::{Micros, TIME_TEXT_LEN};

/// Braces around the values, and their fields' names before them.
pub(super) struct Object;

impl Layout for Object {
    const TIME_SEPARATOR: u8 = b'T';

    #[inline(always)]
    fn lead(&self, field: &'static Field, line: &mut Line) {
        line.text(&field.json_lead);
    }

    /// The last field is a time, which is text.
    #[inline(always)]
    fn end(&self, line: &mut Line) {
        line.piece(b"\"}", 2);
    }
}

/// The time of the event, which every record has as its last field: `…"2024-01-01T01:01:15.291148"}`.
pub(super) fn time_of(value: &[u8]) -> Option<Micros> {
    let time = value.strip_suffix(b"\"}")?;
    Micros::parse(time.get(time.len().checked_sub(TIME_TEXT_LEN)?..)?)
}
