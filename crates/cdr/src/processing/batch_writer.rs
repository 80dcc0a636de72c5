//! Collects what messages report, and stores it in batches together with the offsets behind them.

use std::collections::BTreeMap;
use std::time::Instant;

use cdr_model::{PerStream, Stream};
use tracing::debug;

use super::ProcessError;
use super::message::{self, Unusable};
use super::retry::StoreRetry;
use super::store::{Added, Batch, Committed, OffsetAdvance, Partition, Store, StoreError};
use crate::kafka::{
    DeadLetter, DeadLetters, Lags, RebalanceListener, Received, StartOffset, TopicPartition,
};

/// Keys and values that wait to be sent to the dead letter topic, before they are.
const DEAD_LETTER_BYTES_MAX: usize = 8 << 20;

/// A partition of a stream's topic.
type Slot = (Stream, i32);

/// Where batches go, and the offsets that are committed there.
pub struct BatchWriter {
    store: Store,
    dead_letters: DeadLetters,
    topics: PerStream<String>,
    /// The partitions that are ours.
    assigned: BTreeMap<Slot, Assigned>,
    open: OpenBatch,
    retry: StoreRetry,
    /// Why it cannot go on; found where it could not be reported.
    failed: Option<ProcessError>,
    /// Whether committed offsets have to be looked up, and read from.
    must_seek: bool,
    /// Whether partitions were assigned since the last query.
    has_new_partitions: bool,
}

#[derive(Clone, Copy)]
struct Assigned {
    /// Counts the rebalances before the partition came. What was polled before then was read from
    /// another offset.
    generation: u64,
    /// The offset that is committed in the store, if there is any.
    committed: Option<i64>,
}

/// The batch that is being collected.
#[derive(Default)]
struct OpenBatch {
    batch: Batch,
    advances: BTreeMap<Slot, Advance>,
    dead_letters: Vec<DeadLetter>,
    /// Of each dead letter: its stream, and a word for the reason.
    reasons: Vec<(Stream, &'static str)>,
    dead_letter_bytes: usize,
    messages: usize,
    since: Option<Instant>,
}

#[derive(Clone, Copy, Default)]
struct Advance {
    to: i64,
    counted: u64,
    dead: u64,
}

/// What became of an open batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// There was none, or it is stored.
    Stored,
    /// Somebody else has counted these messages; the committed offsets have to be looked up.
    OffsetConflict,
}

impl BatchWriter {
    pub fn new(
        store: Store,
        dead_letters: DeadLetters,
        topics: PerStream<String>,
        retry: StoreRetry,
    ) -> BatchWriter {
        BatchWriter {
            store,
            dead_letters,
            topics,
            assigned: BTreeMap::new(),
            open: OpenBatch::default(),
            retry,
            failed: None,
            must_seek: false,
            has_new_partitions: false,
        }
    }

    /// Notes which cluster the store's offsets belong to.
    ///
    /// # Errors
    /// A store that was filled from another one, is away for too long, or refuses.
    pub fn bind(&mut self, cluster: &str) -> Result<(), ProcessError> {
        self.with_store(|store| store.bind(cluster))
    }

    /// Notes which topics the store's offsets belong to, by their ids.
    ///
    /// # Errors
    /// A store that was filled from topics that are no more, is away for too long, or refuses.
    pub fn bind_topics(&mut self, topics: &BTreeMap<String, String>) -> Result<(), ProcessError> {
        self.with_store(|store| store.bind_topics(topics))
    }

    /// Adds messages to the open batch.
    pub fn take(&mut self, received: &[Received<'_>]) {
        // What comes before offsets are looked up lies behind messages that have to be read again.
        if self.must_seek {
            return;
        }
        let same = |one: &Received<'_>, next: &Received<'_>| {
            (one.partition, one.topic) == (next.partition, next.topic)
        };
        for of_partition in received.chunk_by(same) {
            self.take_of_partition(of_partition);
        }
    }

    fn take_of_partition(&mut self, received: &[Received<'_>]) {
        let Some(first) = received.first() else { return };
        let Some(stream) = self.stream(first.topic) else { return };
        let slot = (stream, first.partition);
        // Messages may have been on their way when the partition went to somebody else.
        let Some(&Assigned { generation, committed }) = self.assigned.get(&slot) else { return };
        let mut advance = self.open.advances.get(&slot).copied();
        for record in received {
            let next = advance.map(|advance| advance.to).or(committed);
            if record.generation < generation || next.is_some_and(|next| record.offset < next) {
                continue;
            }
            let advance = advance.get_or_insert_default();
            advance.to = record.offset + 1;
            match self.open.add(stream, record) {
                true => advance.counted += 1,
                false => advance.dead += 1,
            }
        }
        self.open.advances.extend(advance.map(|advance| (slot, advance)));
    }

    fn stream(&self, topic: &str) -> Option<Stream> {
        self.topics.iter().find(|(_, name)| *name == topic).map(|(stream, _)| stream)
    }

    /// Whether offsets have to be looked up at once, or it cannot go on.
    pub fn is_stuck(&self) -> bool {
        self.must_seek || self.failed.is_some()
    }

    /// Whether partitions came since the last call.
    pub fn take_new_partitions(&mut self) -> bool {
        std::mem::take(&mut self.has_new_partitions)
    }

    /// How many messages wait, and since when.
    pub fn waiting(&self) -> (usize, Option<Instant>) {
        (self.open.messages, self.open.since)
    }

    /// Whether what waits takes so much memory that it has to be stored.
    pub fn is_heavy(&self) -> bool {
        self.open.dead_letter_bytes >= DEAD_LETTER_BYTES_MAX
    }

    /// Stores the open batch, and waits for a store that is away.
    ///
    /// # Errors
    /// A store or brokers that are away for too long, or that refuse. What was not stored has to be
    /// read again.
    pub fn flush(&mut self) -> Result<Flushed, ProcessError> {
        if let Some(error) = self.failed.take() {
            self.must_seek = true;
            return Err(error);
        }
        if self.open.advances.is_empty() {
            return Ok(Flushed::Stored);
        }
        let open = std::mem::take(&mut self.open);
        let flushed = self.store_batch(open);
        self.must_seek |= !matches!(flushed, Ok(Flushed::Stored));
        flushed
    }

    fn store_batch(&mut self, mut open: OpenBatch) -> Result<Flushed, ProcessError> {
        // Before the committed offset passes them: a crash in between sends them again, and their
        // headers show that they are the same.
        self.dead_letters.send(std::mem::take(&mut open.dead_letters))?;
        let begun = Instant::now();
        if self.add(&mut open)? == Added::OffsetConflict {
            return Ok(Flushed::OffsetConflict);
        }
        self.stored(&open, begun);
        Ok(Flushed::Stored)
    }

    /// Stores the open batch at one try, or has it read again: the whole group waits.
    fn flush_once(&mut self) {
        let mut open = std::mem::take(&mut self.open);
        if open.advances.is_empty() {
            return;
        }
        if !open.dead_letters.is_empty() {
            debug!("messages that wait beside dead letters are read again");
            self.must_seek = true;
            return;
        }
        let begun = Instant::now();
        open.batch.advances = self.advances(&open);
        match self.store.add(&mut open.batch) {
            Ok(Added::Stored) => {
                self.committed(&open);
                self.stored(&open, begun);
            }
            Ok(Added::OffsetConflict) => {
                debug!("others were faster with the partitions that were revoked");
                self.must_seek = true;
            }
            Err(error) if error.is_passing() => {
                debug!(
                    "messages are read again, since in a rebalance nobody waits for a store: {error}"
                );
                self.must_seek = true;
            }
            Err(error) => self.failed = Some(error.into()),
        }
    }

    fn stored(&self, open: &OpenBatch, begun: Instant) {
        let store_time = begun.elapsed();
        let mut counted = PerStream::<u64>::default();
        for ((stream, _), advance) in &open.advances {
            counted[*stream] += advance.counted;
        }
        let since_first = open.since.map_or(store_time, |since| since.elapsed());
        let observer = &self.retry.observer;
        observer.stored(&counted, since_first, store_time);
        open.reasons.iter().for_each(|(stream, reason)| observer.dead(*stream, reason));
    }

    /// With nothing open: commits the ends of partitions that are read up to there, behind the
    /// transaction markers that follow the last records. Otherwise retention, which removes the
    /// markers too, would look as if it had removed records.
    ///
    /// # Errors
    /// As `flush`.
    pub fn commit_ends(&mut self, lags: &Lags) -> Result<(), ProcessError> {
        if self.is_stuck() || !self.open.advances.is_empty() {
            return Ok(());
        }
        let mut open = OpenBatch::default();
        for ((topic, number), lag) in lags {
            let (Some(end), Some(stream)) = (lag.end, self.stream(topic)) else { continue };
            let slot = (stream, *number);
            if self.assigned.get(&slot).is_some_and(|at| at.committed.unwrap_or(0) < end) {
                open.advances.insert(slot, Advance { to: end, ..Advance::default() });
            }
        }
        if open.advances.is_empty() {
            return Ok(());
        }
        self.must_seek |= self.add(&mut open)? == Added::OffsetConflict;
        Ok(())
    }

    /// Adds what is open to the store, and knows its offsets then.
    fn add(&mut self, open: &mut OpenBatch) -> Result<Added, ProcessError> {
        open.batch.advances = self.advances(open);
        let mut in_doubt = false;
        let mut added = self.with_store(|store| {
            let added = store.add(&mut open.batch);
            in_doubt |= added.is_err();
            added
        })?;
        if added == Added::OffsetConflict && in_doubt && self.is_stored(&open.batch.advances)? {
            // By the try before, whose answer was lost.
            added = Added::Stored;
        }
        if added == Added::Stored {
            self.committed(open);
        }
        Ok(added)
    }

    fn committed(&mut self, open: &OpenBatch) {
        for (slot, advance) in &open.advances {
            if let Some(assigned) = self.assigned.get_mut(slot) {
                assigned.committed = Some(advance.to);
            }
        }
    }

    /// Whether the committed offsets are those behind a batch.
    fn is_stored(&mut self, advances: &[OffsetAdvance]) -> Result<bool, ProcessError> {
        let committed = self.with_store(Store::committed)?;
        Ok(advances.iter().all(|advance| {
            let at = committed.iter().find(|(partition, _)| *partition == advance.partition);
            at.is_some_and(|(_, at)| at.offset == advance.to)
        }))
    }

    fn advances(&self, open: &OpenBatch) -> Vec<OffsetAdvance> {
        let advances = open.advances.iter().map(|(slot, advance)| OffsetAdvance {
            partition: Partition { topic: self.topics[slot.0].clone(), number: slot.1 },
            from: self.assigned.get(slot).and_then(|assigned| assigned.committed),
            to: advance.to,
            counted: advance.counted,
            dead: advance.dead,
        });
        advances.collect()
    }

    /// How far behind the store is: messages that wait here are not in it.
    pub fn behind(&self, mut lags: Lags) -> Lags {
        for ((stream, number), advance) in &self.open.advances {
            if let Some(lag) = lags.get_mut(&(self.topics[*stream].clone(), *number)) {
                lag.behind += i64::try_from(advance.counted + advance.dead).unwrap_or(i64::MAX);
            }
        }
        lags
    }

    /// The committed offsets of all partitions, also of those that others read.
    ///
    /// # Errors
    /// A store that is away for too long, or refuses.
    pub fn all_committed(&mut self) -> Result<BTreeMap<TopicPartition, i64>, ProcessError> {
        let committed = self.with_store(Store::committed)?;
        Ok(committed.into_iter().map(|(of, at)| ((of.topic, of.number), at.offset)).collect())
    }

    /// Tries until the store is there again.
    fn with_store<T>(
        &mut self,
        mut act: impl FnMut(&mut Store) -> Result<T, StoreError>,
    ) -> Result<T, ProcessError> {
        let BatchWriter { store, retry, .. } = self;
        Ok(retry.run(|| act(store))?)
    }

    /// The offsets to seek, if what was read last is not what follows the committed ones.
    ///
    /// # Errors
    /// A store that is away for too long, or refuses.
    pub fn offsets_to_seek(&mut self) -> Result<Option<Vec<StartOffset>>, ProcessError> {
        if !self.must_seek {
            return Ok(None);
        }
        let committed = self.with_store(Store::committed)?;
        for (slot, assigned) in &mut self.assigned {
            assigned.committed = offset_of(&committed, &self.topics[slot.0], slot.1);
        }
        self.must_seek = false;
        if !self.assigned.is_empty() {
            self.retry.observer.assigned();
        }
        Ok(Some(self.start_offsets()))
    }

    /// What is committed of our partitions.
    pub fn start_offsets(&self) -> Vec<StartOffset> {
        let offset = |(&(stream, partition), assigned): (&Slot, &Assigned)| {
            ((self.topics[stream].clone(), partition), assigned.committed)
        };
        self.assigned.iter().map(offset).collect()
    }

    fn slots(&self, partitions: &[TopicPartition]) -> Vec<Slot> {
        let slot = |(topic, number): &TopicPartition| self.stream(topic).map(|stream| (stream, *number));
        partitions.iter().filter_map(slot).collect()
    }
}

impl OpenBatch {
    /// Adds a message, and returns whether it can be counted.
    fn add(&mut self, stream: Stream, record: &Received<'_>) -> bool {
        self.messages += 1;
        self.since.get_or_insert_with(Instant::now);
        match message::read(stream, record.value) {
            Ok(interaction) => self.batch.interactions.push(interaction),
            Err(reason) => {
                self.reasons.push((stream, reason.kind()));
                self.dead_letter_bytes += record.value.len() + record.key.map_or(0, <[u8]>::len);
                self.dead_letters.push(dead_letter(record, &reason));
                return false;
            }
        }
        true
    }
}

impl RebalanceListener for BatchWriter {
    fn assigned(&mut self, partitions: &[TopicPartition], generation: u64) -> Option<Vec<Option<i64>>> {
        let slots = self.slots(partitions);
        self.has_new_partitions = true;
        let stored = match self.store.committed() {
            Ok(stored) => Some(stored),
            Err(error) if error.is_passing() => {
                debug!(
                    "offsets are looked up later, since in a rebalance nobody waits for a store: {error}"
                );
                self.must_seek = true;
                None
            }
            // It ends the processor.
            Err(error) => {
                self.failed = Some(error.into());
                None
            }
        };
        let offset = |(stream, number): &Slot| {
            offset_of(stored.as_deref().unwrap_or_default(), &self.topics[*stream], *number)
        };
        let committed: Vec<_> = slots.iter().map(offset).collect();
        let new = slots.iter().zip(&committed);
        self.assigned.extend(new.map(|(slot, &committed)| (*slot, Assigned { generation, committed })));
        stored?;
        self.retry.observer.assigned();
        Some(committed)
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) {
        // Whoever reads them next begins where this batch ends, if it is stored in time; otherwise
        // one of the two has an offset conflict, and nothing is counted twice.
        self.flush_once();
        for slot in self.slots(partitions) {
            self.assigned.remove(&slot);
        }
        partitions.iter().for_each(|partition| self.retry.observer.revoked(partition));
    }
}

/// The offset that is committed for a partition.
fn offset_of(committed: &[(Partition, Committed)], topic: &str, number: i32) -> Option<i64> {
    let found = committed.iter().find(|(of, _)| of.topic == topic && of.number == number);
    found.map(|(_, at)| at.offset)
}

/// The message, with its origin and what is wrong with it.
fn dead_letter(record: &Received<'_>, reason: &Unusable) -> DeadLetter {
    DeadLetter {
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.to_vec(),
        headers: vec![
            ("topic", record.topic.to_owned()),
            ("partition", record.partition.to_string()),
            ("offset", record.offset.to_string()),
            ("reason", reason.to_string()),
        ],
    }
}

#[cfg(test)]
#[path = "batch_writer_tests.rs"]
mod tests;
