//! Encoded records of one partition, in the form in which the client takes them.

/// Keys and values back to back, and where each ends.
#[derive(Default)]
pub struct RecordBatch {
    bytes: Vec<u8>,
    ends: Vec<End>,
}

#[derive(Clone, Copy)]
struct End {
    key: u32,
    value: u32,
    timestamp_ms: i64,
}

/// A record of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    /// The time of the event, in milliseconds since the epoch.
    pub timestamp_ms: i64,
}

impl RecordBatch {
    /// Adds a copy of a record.
    #[inline]
    pub fn push(&mut self, record: Encoded<'_>) {
        self.bytes.extend_from_slice(record.key);
        let key = self.bytes.len() as u32;
        self.bytes.extend_from_slice(record.value);
        let value = self.bytes.len() as u32;
        self.ends.push(End { key, value, timestamp_ms: record.timestamp_ms });
    }

    /// Removes all records, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The records in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = Encoded<'_>> {
        let mut begin = 0;
        self.ends.iter().map(move |end| {
            let (key, value) = (end.key as usize, end.value as usize);
            let (key_bytes, value_bytes) = (&self.bytes[begin..key], &self.bytes[key..value]);
            begin = value;
            Encoded { key: key_bytes, value: value_bytes, timestamp_ms: end.timestamp_ms }
        })
    }
}
