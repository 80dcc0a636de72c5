//! Records of an uncompressed batch, read in place.

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// All its bytes, with the length in front.
    pub bytes: &'a [u8],
    /// Milliseconds behind the batch's base timestamp.
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

/// A record's lengths do not fit the bytes that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record is malformed")]
pub struct Malformed;

/// Reads one record after the other; behind a malformed one it ends.
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Records { rest: bytes }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = read(&mut self.rest);
        if record.is_none() {
            self.rest = &[];
        }
        Some(record.ok_or(Malformed))
    }
}

fn read<'a>(rest: &mut &'a [u8]) -> Option<RecordView<'a>> {
    let all = *rest;
    let length = varint(rest)?;
    let mut body = take(rest, usize::try_from(length).ok()?)?;
    let bytes = all.get(..all.len() - rest.len())?;
    take(&mut body, 1)?;
    let timestamp_delta = varint(&mut body)?;
    let offset_delta = i32::try_from(varint(&mut body)?).ok()?;
    let key = nullable(&mut body)?;
    let value = nullable(&mut body)?;
    Some(RecordView { bytes, timestamp_delta, offset_delta, key, value })
}

/// Bytes behind their length, where -1 stands for null.
fn nullable<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match varint(rest)? {
        -1 => Some(None),
        length => take(rest, usize::try_from(length).ok()?).map(Some),
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(count)?;
    *rest = behind;
    Some(taken)
}

/// A zigzag-encoded number of up to ten bytes.
fn varint(rest: &mut &[u8]) -> Option<i64> {
    let mut value: u64 = 0;
    for shift in (0..70).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kafka::batch::HEADER_BYTES;
    use crate::kafka::batch::testing::batch;

    #[test]
    fn keys_and_values_are_where_the_message_library_puts_them() {
        let bytes = batch(&[("key", Some("value")), ("gone", None)]).bytes();
        let records: Vec<_> = Records::new(&bytes[HEADER_BYTES..]).map(Result::unwrap).collect();
        assert_eq!(records.len(), 2);
        assert_eq!((records[0].key, records[0].value), (Some(&b"key"[..]), Some(&b"value"[..])));
        assert_eq!((records[1].offset_delta, records[1].value), (1, None));
        let together: Vec<u8> = records.iter().flat_map(|record| record.bytes).copied().collect();
        assert_eq!(together, &bytes[HEADER_BYTES..]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let read: usize = Records::new(&bytes).flatten().map(|record| record.bytes.len()).sum();
            prop_assert!(read <= bytes.len());
        }
    }
}
