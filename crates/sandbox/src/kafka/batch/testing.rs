//! Batches for tests, made by the message library.

use std::io::Write;

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchEncoder, RecordEncodeOptions,
    TimestampType,
};

use super::{HEADER_BYTES, PREFIX_BYTES};

/// A batch in the making.
#[derive(Clone, Debug)]
pub struct NewBatch {
    records: Vec<(String, Option<String>)>,
    pub producer: (i64, i16, i32),
    pub transactional: bool,
    pub timestamp: i64,
}

/// A batch of keys and values.
pub fn batch(records: &[(&str, Option<&str>)]) -> NewBatch {
    let owned = |(key, value): &(&str, Option<&str>)| ((*key).to_owned(), value.map(str::to_owned));
    NewBatch {
        records: records.iter().map(owned).collect(),
        producer: (-1, -1, -1),
        transactional: false,
        timestamp: 1_000,
    }
}

impl NewBatch {
    pub fn by_producer(self, id: i64, epoch: i16, sequence: i32) -> Self {
        NewBatch { producer: (id, epoch, sequence), ..self }
    }

    pub fn in_transaction(self, id: i64, epoch: i16, sequence: i32) -> Self {
        NewBatch { transactional: true, ..self.by_producer(id, epoch, sequence) }
    }

    /// The first record's time; each further one is a millisecond later.
    pub fn at(self, timestamp: i64) -> Self {
        NewBatch { timestamp, ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let (producer_id, producer_epoch, sequence) = self.producer;
        let record = |(at, (key, value)): (usize, &(String, Option<String>))| Record {
            transactional: self.transactional,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id,
            producer_epoch,
            timestamp_type: TimestampType::Creation,
            offset: at as i64,
            sequence: sequence.wrapping_add(at as i32),
            timestamp: self.timestamp + at as i64,
            key: Some(Bytes::from(key.clone())),
            value: value.clone().map(Bytes::from),
            headers: Default::default(),
        };
        let records: Vec<Record> = self.records.iter().enumerate().map(record).collect();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        let mut buffer = BytesMut::new();
        RecordBatchEncoder::encode(&mut buffer, &records, &options).unwrap();
        buffer.to_vec()
    }
}

/// The same batch with its records compressed: 1 gzip, 2 Snappy, 3 LZ4, 4 Zstandard.
pub fn compressed(batch: &[u8], compression: i16) -> Vec<u8> {
    let (header, records) = batch.split_at(HEADER_BYTES);
    let mut bytes = [header, &compress(records, compression)].concat();
    let length = (bytes.len() - PREFIX_BYTES) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[22] |= compression as u8;
    sealed(bytes)
}

/// A batch whose checksum is right, whatever was changed behind it.
pub fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
    batch
}

pub fn compress(records: &[u8], compression: i16) -> Vec<u8> {
    match compression {
        1 => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(records).unwrap();
            gzip.finish().unwrap()
        }
        2 => snap::raw::Encoder::new().compress_vec(records).unwrap(),
        3 => {
            let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
            lz4.write_all(records).unwrap();
            lz4.finish().unwrap()
        }
        4 => {
            let fastest = ruzstd::encoding::CompressionLevel::Fastest;
            ruzstd::encoding::compress_to_vec(records, fastest)
        }
        other => panic!("there is no compression {other}"),
    }
}
