//! Collects what messages report, and stores it in batches together with the offsets behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cdr_model::{MessageFormat, PerStream, Stream};

use super::ProcessError;
use super::message::{self, Unusable};
use super::retry::StoreRetry;
use super::store::{Added, Batch, OffsetAdvance, Store, StoreError};
use crate::kafka::{
    DeadLetter, DeadLetters, Lags, Member, Rebalance, Received, StartOffset, TopicPartition,
};

/// Keys and values that wait to be sent to the dead letter topic, before they are.
const DEAD_LETTER_BYTES_MAX: usize = 8 << 20;

/// Where batches go, and the offsets that are committed there.
pub struct BatchWriter {
    store: Store,
    dead_letters: DeadLetters,
    topics: PerStream<String>,
    format: MessageFormat,
    /// The partitions that are ours, each with the offset that is committed in the store, if any is.
    assigned: BTreeMap<TopicPartition, Option<i64>>,
    open: OpenBatch,
    retry: StoreRetry,
    /// Those whose committed offsets have to be looked up, and read from.
    to_seek: BTreeSet<TopicPartition>,
}

/// The batch that is being collected.
#[derive(Default)]
struct OpenBatch {
    batch: Batch,
    counted: PerStream<u64>,
    dead_letters: Vec<DeadLetter>,
    /// Of each dead letter: its stream, and a word for the reason.
    reasons: Vec<(Stream, &'static str)>,
    dead_letter_bytes: usize,
    since: Option<Instant>,
}

impl BatchWriter {
    pub fn new(
        store: Store,
        dead_letters: DeadLetters,
        topics: PerStream<String>,
        format: MessageFormat,
        retry: StoreRetry,
    ) -> BatchWriter {
        BatchWriter {
            store,
            dead_letters,
            topics,
            format,
            assigned: BTreeMap::new(),
            open: OpenBatch::default(),
            retry,
            to_seek: BTreeSet::new(),
        }
    }

    /// Does something with the store, and waits for one that is away: until that is for too long.
    pub fn with_store<T>(
        &mut self,
        mut act: impl FnMut(&mut Store) -> Result<T, StoreError>,
    ) -> Result<T, ProcessError> {
        let mut tries = 0;
        let done = self.retry.run(|| {
            tries += 1;
            act(&mut self.store)
        });
        if tries > 1 {
            // Nothing is read since the first try.
            self.seek_all();
        }
        Ok(done?)
    }

    /// Keeps the member in its group while the store is away.
    pub fn keep(&mut self, member: &Member) {
        self.retry.standby = member.standby();
    }

    /// Adds messages to the open batch.
    pub fn take(&mut self, received: &[Received<'_>]) {
        let same = |one: &Received<'_>, next: &Received<'_>| {
            (one.partition, one.topic) == (next.partition, next.topic)
        };
        for of_partition in received.chunk_by(same) {
            self.take_of_partition(of_partition);
        }
    }

    fn take_of_partition(&mut self, received: &[Received<'_>]) {
        let Some(&Received { topic, partition, .. }) = received.first() else { return };
        let Some(stream) = self.stream(topic) else { return };
        let of = (topic.to_owned(), partition);
        let Some(&committed) = self.assigned.get(&of) else { return };
        // What comes before offsets are looked up lies behind messages that have to be read again.
        if self.to_seek.contains(&of) {
            return;
        }
        let mut advance = self.open.batch.advances.get(&of).copied();
        for record in received {
            let next = advance.map(|advance| advance.to).or(committed);
            if next.is_some_and(|next| record.offset < next) {
                continue;
            }
            let none = OffsetAdvance { from: committed, to: 0, counted: 0, dead: 0 };
            let advance = advance.get_or_insert(none);
            advance.to = record.offset + 1;
            match self.open.add(self.format, stream, record) {
                true => advance.counted += 1,
                false => advance.dead += 1,
            }
        }
        self.open.batch.advances.extend(advance.map(|advance| (of, advance)));
    }

    fn stream(&self, topic: &str) -> Option<Stream> {
        self.topics.iter().find(|(_, name)| *name == topic).map(|(stream, _)| stream)
    }

    /// Whether committed offsets have to be looked up before anything more is taken.
    pub fn must_seek(&self) -> bool {
        !self.to_seek.is_empty()
    }

    /// Goes over to the partitions that a rebalance has left or brought. What is open belongs to those
    /// of before: flush it first.
    pub fn reassign(&mut self, Rebalance { assigned, new }: Rebalance) {
        let observer = &self.retry.observer;
        self.assigned.retain(|of, _| {
            let stays = assigned.contains(of);
            if !stays {
                observer.revoked(of);
            }
            stays
        });
        self.to_seek.retain(|of| assigned.contains(of));
        self.assigned.extend(new.iter().map(|of| (of.clone(), None)));
        self.to_seek.extend(new);
        // Others may have all partitions.
        if self.to_seek.is_empty() {
            observer.assigned();
        }
    }

    /// Nothing that was read is sure to follow what is committed.
    fn seek_all(&mut self) {
        self.to_seek = self.assigned.keys().cloned().collect();
    }

    /// How many messages wait.
    pub fn waiting(&self) -> usize {
        self.open.batch.interactions.len() + self.open.dead_letters.len()
    }

    /// Whether as many wait as may, or so long, or such that they take much memory.
    pub fn is_due(&self, most: usize, longest: Duration) -> bool {
        self.waiting() >= most
            || self.open.dead_letter_bytes >= DEAD_LETTER_BYTES_MAX
            || self.open.since.is_some_and(|since| since.elapsed() >= longest)
    }

    /// Stores the open batch, and waits for a store that is away.
    ///
    /// # Errors
    /// A store or brokers that are away for too long, or that refuse. What was not stored has to be
    /// read again.
    pub fn flush(&mut self) -> Result<Added, ProcessError> {
        if self.open.batch.advances.is_empty() {
            return Ok(Added::Stored);
        }
        let open = std::mem::take(&mut self.open);
        let flushed = self.store_batch(open);
        if !matches!(flushed, Ok(Added::Stored)) {
            self.seek_all();
        }
        flushed
    }

    fn store_batch(&mut self, mut open: OpenBatch) -> Result<Added, ProcessError> {
        // Before the committed offset passes them: a crash in between sends them again, and their
        // headers show that they are the same.
        self.dead_letters.send(std::mem::take(&mut open.dead_letters))?;
        let begun = Instant::now();
        let added = self.add(&mut open.batch)?;
        if added == Added::Stored {
            self.report(&open, begun);
        }
        Ok(added)
    }

    fn report(&self, open: &OpenBatch, begun: Instant) {
        let store_time = begun.elapsed();
        let since_first = open.since.map_or(store_time, |since| since.elapsed());
        let observer = &self.retry.observer;
        observer.stored(&open.counted, since_first, store_time);
        open.reasons.iter().for_each(|(stream, reason)| observer.dead(*stream, reason));
    }

    /// With nothing open: commits the ends of partitions that are read up to there, behind the
    /// transaction markers that follow the last records. Otherwise retention, which removes the
    /// markers too, would look as if it had removed records.
    pub fn commit_ends(&mut self, lags: &Lags) -> Result<(), ProcessError> {
        if self.must_seek() || !self.open.batch.advances.is_empty() {
            return Ok(());
        }
        let mut ends = Batch::default();
        for (of, lag) in lags {
            let (Some(to), Some(&at)) = (lag.end, self.assigned.get(of)) else { continue };
            if at.unwrap_or(0) < to {
                let advance = OffsetAdvance { from: at, to, counted: 0, dead: 0 };
                ends.advances.insert(of.clone(), advance);
            }
        }
        if !ends.advances.is_empty() && self.add(&mut ends)? == Added::OffsetConflict {
            self.seek_all();
        }
        Ok(())
    }

    /// Adds a batch to the store, and knows its offsets then.
    fn add(&mut self, batch: &mut Batch) -> Result<Added, ProcessError> {
        let mut in_doubt = false;
        let mut added = self.with_store(|store| {
            let added = store.add(batch);
            in_doubt |= added.is_err();
            added
        })?;
        if added == Added::OffsetConflict && in_doubt && self.is_stored(batch)? {
            // By the try before, whose answer was lost.
            added = Added::Stored;
        }
        if added == Added::Stored {
            self.committed(batch);
        }
        Ok(added)
    }

    fn committed(&mut self, batch: &Batch) {
        for (of, advance) in &batch.advances {
            if let Some(assigned) = self.assigned.get_mut(of) {
                *assigned = Some(advance.to);
            }
        }
    }

    /// Whether the committed offsets are those behind a batch.
    fn is_stored(&mut self, batch: &Batch) -> Result<bool, ProcessError> {
        let committed = self.with_store(Store::committed)?;
        let is_there = |of, to| committed.get(of).is_some_and(|at| at.offset == to);
        Ok(batch.advances.iter().all(|(of, advance)| is_there(of, advance.to)))
    }

    /// How far behind the store is: messages that wait here are not in it.
    pub fn behind(&self, mut lags: Lags) -> Lags {
        for (of, advance) in &self.open.batch.advances {
            if let Some(lag) = lags.get_mut(of) {
                lag.behind += i64::try_from(advance.counted + advance.dead).unwrap_or(i64::MAX);
            }
        }
        lags
    }

    /// The offsets to seek, if what was read last is not what follows the committed ones.
    pub fn offsets_to_seek(&mut self) -> Result<Option<Vec<StartOffset>>, ProcessError> {
        if !self.must_seek() {
            return Ok(None);
        }
        let committed = self.with_store(Store::committed)?;
        let to_seek = std::mem::take(&mut self.to_seek);
        let offset = |of: TopicPartition| (committed.get(&of).map(|at| at.offset), of);
        let offsets: Vec<StartOffset> =
            to_seek.into_iter().map(offset).map(|(offset, of)| (of, offset)).collect();
        self.assigned.extend(offsets.iter().cloned());
        self.retry.observer.assigned();
        Ok(Some(offsets))
    }

    /// What is committed of our partitions.
    pub fn start_offsets(&self) -> Vec<StartOffset> {
        self.assigned.iter().map(|(of, committed)| (of.clone(), *committed)).collect()
    }
}

impl OpenBatch {
    /// Adds a message, and returns whether it can be counted.
    fn add(&mut self, format: MessageFormat, stream: Stream, record: &Received<'_>) -> bool {
        self.since.get_or_insert_with(Instant::now);
        match message::read(format, stream, record.value) {
            Ok(interaction) => {
                self.counted[stream] += 1;
                self.batch.interactions.push(interaction);
                true
            }
            Err(reason) => {
                self.reasons.push((stream, reason.kind()));
                self.dead_letter_bytes += record.value.len() + record.key.map_or(0, <[u8]>::len);
                self.dead_letters.push(dead_letter(record, &reason));
                false
            }
        }
    }
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
