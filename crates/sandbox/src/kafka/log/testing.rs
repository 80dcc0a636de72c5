//! Batches for tests, made by the message library.

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchEncoder, RecordEncodeOptions,
    TimestampType,
};

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
    pub fn of_producer(self, id: i64, epoch: i16, sequence: i32) -> Self {
        NewBatch { producer: (id, epoch, sequence), ..self }
    }

    pub fn in_transaction(self, id: i64, epoch: i16, sequence: i32) -> Self {
        NewBatch { transactional: true, ..self.of_producer(id, epoch, sequence) }
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
