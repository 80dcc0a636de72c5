//! Reads compressed records, within a bound. Only compaction and the search by time look inside
//! batches; producing and fetching pass them on as they are.
//!
//! The decoders are written in Rust: a client library in the same process may bring its own copies
//! of the C libraries.

use std::borrow::Cow;
use std::io::{self, Read};

use super::{BatchHeader, HEADER_BYTES};

/// Records of one batch may take this much memory; larger ones are not looked into.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// Why the records of a batch cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("its compression {0} is not known")]
    Unknown(i16),
    #[error("it decompresses to more than {DECOMPRESSED_BYTES_MAX} bytes")]
    TooLarge,
    #[error("it does not decompress: {0}")]
    Malformed(String),
}

/// The records of a batch, uncompressed.
///
/// # Errors
/// When they cannot be decompressed within [`DECOMPRESSED_BYTES_MAX`].
pub fn records_of<'a>(header: &BatchHeader, batch: &'a [u8]) -> Result<Cow<'a, [u8]>, Unreadable> {
    let stored = batch.get(HEADER_BYTES..).unwrap_or_default();
    match header.compression() {
        0 => Ok(Cow::Borrowed(stored)),
        1 => read(flate2::read::MultiGzDecoder::new(stored)),
        2 => snappy(stored).map(Cow::Owned),
        3 => read(lz4_flex::frame::FrameDecoder::new(stored)),
        4 => match ruzstd::decoding::StreamingDecoder::new(stored) {
            Ok(decoder) => read(decoder),
            Err(error) => Err(Unreadable::Malformed(error.to_string())),
        },
        other => Err(Unreadable::Unknown(other)),
    }
}

fn read<'a>(decoder: impl Read) -> Result<Cow<'a, [u8]>, Unreadable> {
    let mut records = Vec::new();
    let malformed = |error: io::Error| Unreadable::Malformed(error.to_string());
    decoder.take(DECOMPRESSED_BYTES_MAX as u64 + 1).read_to_end(&mut records).map_err(malformed)?;
    if records.len() > DECOMPRESSED_BYTES_MAX {
        return Err(Unreadable::TooLarge);
    }
    Ok(Cow::Owned(records))
}

/// The frame of the Java library "snappy-java", which most clients use: this magic, two versions of
/// four bytes each, and then blocks, each behind its length.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;

fn snappy(stored: &[u8]) -> Result<Vec<u8>, Unreadable> {
    if !stored.starts_with(XERIAL_MAGIC) {
        return snappy_block(stored, 0);
    }
    let mut records = Vec::new();
    let mut rest = stored.get(XERIAL_HEADER_BYTES..).unwrap_or_default();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((block, behind)) = behind.split_at_checked(length) else {
            return Err(Unreadable::Malformed("a block is cut off".to_owned()));
        };
        records.extend(snappy_block(block, records.len())?);
        rest = behind;
    }
    Ok(records)
}

fn snappy_block(block: &[u8], before: usize) -> Result<Vec<u8>, Unreadable> {
    let malformed = |error: snap::Error| Unreadable::Malformed(error.to_string());
    if before + snap::raw::decompress_len(block).map_err(malformed)? > DECOMPRESSED_BYTES_MAX {
        return Err(Unreadable::TooLarge);
    }
    snap::raw::Decoder::new().decompress_vec(block).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kafka::batch::testing::{batch, compress};

    fn check(compression: i16, stored: &[u8], expected: &[u8]) {
        let plain = batch(&[("a", None)]).bytes();
        let header = BatchHeader { attributes: compression, ..BatchHeader::parse(&plain).unwrap() };
        let bytes = [&plain[..HEADER_BYTES], stored].concat();
        assert_eq!(&*records_of(&header, &bytes).unwrap(), expected, "compression {compression}");
    }

    #[test]
    fn each_compression_is_read() {
        let records = b"some records ".repeat(1_000);
        let block = compress(&records, 2);
        let xerial =
            [XERIAL_MAGIC, &[0, 0, 0, 1, 0, 0, 0, 1], &(block.len() as u32).to_be_bytes(), &block]
                .concat();
        check(0, &records, &records);
        check(2, &xerial, &records);
        for compression in 1..=4 {
            check(compression, &compress(&records, compression), &records);
        }
    }

    #[test]
    fn a_small_batch_that_grows_beyond_the_bound_is_not_read() {
        let zeros = vec![0; DECOMPRESSED_BYTES_MAX + 1];
        let plain = batch(&[("a", None)]).bytes();
        let header = BatchHeader { attributes: 1, ..BatchHeader::parse(&plain).unwrap() };
        let bytes = [&plain[..HEADER_BYTES], &compress(&zeros, 1)[..]].concat();
        assert!(matches!(records_of(&header, &bytes), Err(Unreadable::TooLarge)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_panic(
            compression in 1..6i16,
            stored in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let plain = batch(&[("a", None)]).bytes();
            let header = BatchHeader { attributes: compression, ..BatchHeader::parse(&plain).unwrap() };
            let bytes = [&plain[..HEADER_BYTES], &stored[..]].concat();
            drop(records_of(&header, &bytes));
        }
    }
}
