//! Record batches as bytes. Here is their fixed part, read and written in place.
//!
//! The layout is that of the magic byte 2 ("Record Batch" in Kafka's protocol documentation). The
//! offset and the leader's epoch come before what the checksum covers, so that a broker can fill
//! them in without touching the rest.

pub mod compression;
pub mod records;
#[cfg(test)]
pub mod testing;

use bytes::{Buf, BufMut};

use self::records::Records;

/// Bytes before the first record.
pub const HEADER_BYTES: usize = 61;

/// Bytes of the offset and the length, which the length does not count.
pub const PREFIX_BYTES: usize = 12;

/// Where the part begins that the checksum covers.
const CHECKED_FROM: usize = 21;

const COMPRESSION: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// A batch's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes of the whole batch.
    pub size: usize,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    /// Milliseconds since 1970.
    pub base_timestamp: i64,
    /// Milliseconds since 1970.
    pub max_timestamp: i64,
    /// -1 for a producer that is not idempotent.
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub records: i32,
}

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("it is cut off")]
    Incomplete,
    #[error("its magic byte is {0} instead of 2")]
    Magic(i8),
    #[error("its checksum does not match")]
    Checksum,
    #[error("its counts of bytes, records and offsets do not fit together")]
    Inconsistent,
}

impl BatchHeader {
    /// Reads the header at the beginning of `bytes`; what follows need not be there.
    ///
    /// # Errors
    /// When too little is there, or it is not the header of a batch.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        // The magic byte has the same place in all formats, so that an old one is named as such.
        let magic = bytes.get(16).ok_or(BatchError::Incomplete)?;
        if *magic != 2 {
            return Err(BatchError::Magic(*magic as i8));
        }
        if bytes.len() < HEADER_BYTES {
            return Err(BatchError::Incomplete);
        }
        // 61 bytes are there, and exactly so many are read.
        let mut rest = bytes;
        let base_offset = rest.get_i64();
        let length = rest.get_i32();
        let leader_epoch = rest.get_i32();
        rest.advance(1);
        let header = BatchHeader {
            base_offset,
            size: usize::try_from(length).map_or(0, |length| length + PREFIX_BYTES),
            leader_epoch,
            crc: rest.get_u32(),
            attributes: rest.get_i16(),
            last_offset_delta: rest.get_i32(),
            base_timestamp: rest.get_i64(),
            max_timestamp: rest.get_i64(),
            producer_id: rest.get_i64(),
            producer_epoch: rest.get_i16(),
            base_sequence: rest.get_i32(),
            records: rest.get_i32(),
        };
        let plausible = header.size >= HEADER_BYTES
            && header.last_offset_delta >= 0
            && header.records >= 0
            && i64::from(header.records) <= i64::from(header.last_offset_delta) + 1
            && header.base_offset >= 0
            && header.base_offset.checked_add(i64::from(header.last_offset_delta) + 1).is_some();
        if plausible { Ok(header) } else { Err(BatchError::Inconsistent) }
    }

    /// Reads a batch that `bytes` begin with, and compares its checksum.
    ///
    /// # Errors
    /// As [`Self::parse`], and when the batch is not all there or was changed on its way.
    pub fn check(bytes: &[u8]) -> Result<Self, BatchError> {
        let header = Self::parse(bytes)?;
        let covered = bytes.get(CHECKED_FROM..header.size).ok_or(BatchError::Incomplete)?;
        if crc32c::crc32c(covered) == header.crc { Ok(header) } else { Err(BatchError::Checksum) }
    }

    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    pub fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    /// The sequence number of the last record; they begin again at 0 behind `i32::MAX`.
    pub fn last_sequence(&self) -> i32 {
        let last = (i64::from(self.base_sequence) + i64::from(self.last_offset_delta)) % (1 << 31);
        last as i32
    }

    /// Whether this broker has stored it.
    pub fn is_ours(&self) -> bool {
        self.leader_epoch == LEADER_EPOCH
    }

    pub fn is_idempotent(&self) -> bool {
        self.producer_id >= 0
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// The code of the compression: 0 none, 1 gzip, 2 Snappy, 3 LZ4, 4 Zstandard.
    pub fn compression(&self) -> i16 {
        self.attributes & COMPRESSION
    }

    /// What is stored in front of the part that the checksum covers.
    pub fn placed_at(&self, offset: i64) -> [u8; CHECKED_FROM] {
        let mut front = [0; CHECKED_FROM];
        let mut buffer = &mut front[..];
        buffer.put_i64(offset);
        buffer.put_i32((self.size - PREFIX_BYTES) as i32);
        buffer.put_i32(LEADER_EPOCH);
        buffer.put_i8(2);
        buffer.put_u32(self.crc);
        front
    }

    /// A batch of this header with other, uncompressed records; counts and checksum are made to fit.
    pub fn with_records(&self, records: &[u8], count: i32) -> Vec<u8> {
        let size = HEADER_BYTES + records.len();
        let mut covered = Vec::with_capacity(size - CHECKED_FROM);
        covered.put_i16(self.attributes & !COMPRESSION);
        covered.put_i32(self.last_offset_delta);
        covered.put_i64(self.base_timestamp);
        covered.put_i64(self.max_timestamp);
        covered.put_i64(self.producer_id);
        covered.put_i16(self.producer_epoch);
        covered.put_i32(self.base_sequence);
        covered.put_i32(count);
        covered.put_slice(records);
        let header = BatchHeader { size, crc: crc32c::crc32c(&covered), ..*self };
        [&header.placed_at(self.base_offset)[..], &covered[..]].concat()
    }
}

/// The part of a stored batch that stays as the producer sent it.
pub fn unchanged(batch: &[u8]) -> &[u8] {
    batch.get(CHECKED_FROM..).unwrap_or_default()
}

/// The only epoch that the only node ever leads with.
pub const LEADER_EPOCH: i32 = 0;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Abort,
    Commit,
}

/// The control batch that ends a producer's transaction in a partition.
pub fn end_marker(
    producer_id: i64,
    producer_epoch: i16,
    outcome: Outcome,
    offset: i64,
    now_ms: i64,
) -> Vec<u8> {
    let kind = match outcome {
        Outcome::Abort => 0,
        Outcome::Commit => 1,
    };
    let mut body = Vec::new();
    // Attributes, the deltas of time and offset, and then "EndTxnMarker": version and type as key,
    // version and the coordinator's epoch as value; no headers. Lengths are zigzag-encoded.
    body.put_slice(&[0, 0, 0, 4 << 1]);
    body.put_i16(0);
    body.put_i16(kind);
    body.put_u8(6 << 1);
    body.put_i16(0);
    body.put_i32(0);
    body.put_u8(0);
    let mut record = vec![(body.len() as u8) << 1];
    record.extend_from_slice(&body);
    let header = BatchHeader {
        base_offset: offset,
        size: 0,
        leader_epoch: LEADER_EPOCH,
        crc: 0,
        attributes: TRANSACTIONAL | CONTROL,
        last_offset_delta: 0,
        base_timestamp: now_ms,
        max_timestamp: now_ms,
        producer_id,
        producer_epoch,
        base_sequence: -1,
        records: 1,
    };
    header.with_records(&record, 1)
}

/// Whose records these are, by the control batch; `None` if it is of another kind.
pub fn outcome_of(records: &[u8]) -> Option<Outcome> {
    let record = Records::new(records).next()?.ok()?;
    match record.key? {
        [_, _, 0, 0] => Some(Outcome::Abort),
        [_, _, 0, 1] => Some(Outcome::Commit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::batch::testing::batch;

    #[test]
    fn a_batch_of_the_message_library_is_read_as_it_was_written() {
        let bytes = batch(&[("a", Some("1")), ("b", None)]).by_producer(7, 3, 40).bytes();
        let header = BatchHeader::check(&bytes).unwrap();
        assert_eq!((header.size, header.records), (bytes.len(), 2));
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 3, 40));
        assert_eq!(header.last_sequence(), 41);
        assert!(!header.is_transactional() && !header.is_control());
    }

    #[test]
    fn offsets_are_filled_in_without_touching_the_checksum() {
        let bytes = batch(&[("a", Some("1"))]).bytes();
        let header = BatchHeader::check(&bytes).unwrap();
        let stored = [&header.placed_at(1_000)[..], unchanged(&bytes)].concat();
        let stored = BatchHeader::check(&stored).unwrap();
        assert_eq!((stored.base_offset, stored.leader_epoch), (1_000, LEADER_EPOCH));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let bytes = batch(&[("a", Some("1"))]).bytes();
        for at in 16..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(BatchHeader::check(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn sequences_begin_again_behind_the_largest() {
        let bytes = batch(&[("a", None), ("b", None)]).by_producer(7, 3, i32::MAX).bytes();
        assert_eq!(BatchHeader::parse(&bytes).unwrap().last_sequence(), 0);
    }

    #[test]
    fn markers_say_how_a_transaction_ended() {
        for outcome in [Outcome::Abort, Outcome::Commit] {
            let bytes = end_marker(5, 2, outcome, 77, 123);
            let header = BatchHeader::check(&bytes).unwrap();
            assert!(header.is_control() && header.is_transactional());
            assert_eq!((header.base_offset, header.producer_id, header.producer_epoch), (77, 5, 2));
            assert_eq!(outcome_of(&bytes[HEADER_BYTES..]), Some(outcome));
        }
    }
}
