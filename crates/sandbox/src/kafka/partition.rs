//! A partition: its log, its producers, and the readers that wait for more.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::Notify;
use tracing::error;

use super::batch::{BatchHeader, Outcome, end_marker};
use super::error::Error;
use super::log::scan::ScanDepth;
use super::log::segment::ReadBounds;
use super::log::{self, Log, Retention};
use super::producers::{Aborted, ProducerInfo, Producers, Refused, Verdict};

/// A partition of a topic.
#[derive(Debug)]
pub struct Partition {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    log: Log,
    producers: Producers,
    waiting: Vec<Weak<Notify>>,
    /// The topic was deleted; who still holds the partition gets nothing more from it.
    deleted: bool,
}

/// Where a partition begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    pub start: i64,
    /// Behind it are open transactions.
    pub stable: i64,
    pub end: i64,
}

/// What a reader requests.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    pub from: i64,
    pub committed_only: bool,
    pub bytes_max: usize,
    pub at_least_one: bool,
}

/// What a reader gets.
#[derive(Debug)]
pub struct Portion {
    pub batches: Bytes,
    pub offsets: Offsets,
    /// Reported only to those who read committed records.
    pub aborted: Vec<Aborted>,
}

impl Partition {
    /// Opens the partition in a folder, or makes it.
    ///
    /// # Errors
    /// See [`Log::open`].
    pub fn open(dir: &Path, depth: ScanDepth, now_ms: i64) -> Result<Self, Error> {
        let mut producers = Producers::default();
        let log = Log::open(dir, depth, now_ms, &mut |found| producers.replay(found, now_ms))?;
        producers.forget_before(log.start());
        let state = State { log, producers, waiting: Vec::new(), deleted: false };
        Ok(Partition { dir: dir.to_owned(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The log is changed last and at once, so a panic leaves nothing half-done that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a batch whose checksum was compared, and returns its first offset; a batch that is
    /// there already is not appended again. `verify` is called while nothing else can be written.
    ///
    /// # Errors
    /// When the producer is fenced, its batch out of order, or the log cannot be written.
    pub fn produce(
        &self,
        header: &BatchHeader,
        batch: &[u8],
        retention: &Retention,
        now_ms: i64,
        verify: impl FnOnce() -> Result<(), ResponseError>,
    ) -> Result<(i64, Offsets), ResponseError> {
        let mut state = self.live()?;
        // Under the lock: an end of the transaction that is decided after this has its marker
        // written after this batch.
        verify()?;
        match state.producers.check(header) {
            Ok(Verdict::Append) => {}
            Ok(Verdict::Duplicate(offset)) => return Ok((offset, state.offsets())),
            Err(Refused::Fenced) => return Err(ResponseError::InvalidProducerEpoch),
            Err(Refused::OutOfOrder) => return Err(ResponseError::OutOfOrderSequenceNumber),
        }
        let offset = state
            .log
            .append(header, batch, retention, now_ms)
            .map_err(|e| self.failed("append to", &e))?;
        state.producers.appended(&BatchHeader { base_offset: offset, ..*header }, now_ms);
        state.wake();
        Ok((offset, state.offsets()))
    }

    /// Ends a producer's transaction, if one is open here.
    ///
    /// # Errors
    /// When the marker cannot be written.
    pub fn end_transaction(
        &self,
        producer: (i64, i16),
        outcome: Outcome,
        retention: &Retention,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        let mut state = self.live()?;
        if !state.producers.has_open(producer.0) {
            return Ok(());
        }
        let marker = end_marker(producer.0, producer.1, outcome, state.log.end(), now_ms);
        let header = BatchHeader::parse(&marker).map_err(|_| ResponseError::UnknownServerError)?;
        state
            .log
            .append(&header, &marker, retention, now_ms)
            .map_err(|e| self.failed("append to", &e))?;
        state.producers.ended(&header, outcome, now_ms);
        state.wake();
        Ok(())
    }

    /// Batches from an offset on.
    ///
    /// # Errors
    /// When the offset is not in the log, or the log cannot be read.
    pub fn read(&self, read: &Read) -> Result<Portion, ResponseError> {
        let state = self.live()?;
        let offsets = state.offsets();
        if read.from < offsets.start || read.from > offsets.end {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let before = if read.committed_only { offsets.stable } else { offsets.end };
        if read.from >= before || read.bytes_max == 0 {
            return Ok(Portion { batches: Bytes::new(), offsets, aborted: Vec::new() });
        }
        let ranges = state.log.ranges(read.from);
        let aborted = match read.committed_only {
            true => state.producers.aborted_in(read.from, before),
            false => Vec::new(),
        };
        // What is in the files up to here does not change, so others may go on.
        drop(state);
        let Read { from, bytes_max, at_least_one, .. } = *read;
        let bounds = ReadBounds { from, before, bytes_max, at_least_one };
        for range in ranges {
            let batches = range.read(&bounds).map_err(|error| self.failed("read", &error))?;
            if !batches.is_empty() {
                let aborted = within(&batches, aborted);
                return Ok(Portion { batches, offsets, aborted });
            }
        }
        Ok(Portion { batches: Bytes::new(), offsets, aborted: Vec::new() })
    }

    pub fn offsets(&self) -> Offsets {
        self.state().offsets()
    }

    /// Bytes on disk.
    pub fn size(&self) -> u64 {
        self.state().log.size()
    }

    /// Timestamp and offset of the first record that is not older than `timestamp`, or of the one
    /// with the largest timestamp for `None`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn find_time(&self, timestamp: Option<i64>) -> Result<Option<(i64, i64)>, ResponseError> {
        let state = self.live()?;
        let found = match timestamp {
            Some(timestamp) => state.log.find_time(timestamp),
            None => state.log.newest(),
        };
        found.map_err(|error| self.failed("read", &error))
    }

    /// Deletes the records before an offset, and returns where the log begins then; -1 stands for
    /// what can be read now.
    ///
    /// # Errors
    /// When the offset is behind what is stable, or that cannot be noted.
    pub fn delete_before(&self, offset: i64) -> Result<i64, ResponseError> {
        let mut state = self.live()?;
        let offsets = state.offsets();
        let offset = if offset == -1 { offsets.stable } else { offset };
        if offset < 0 || offset > offsets.stable {
            return Err(ResponseError::OffsetOutOfRange);
        }
        state.log.delete_before(offset).map_err(|error| self.failed("delete from", &error))?;
        let start = state.log.start();
        state.producers.forget_before(start);
        Ok(start)
    }

    /// Deletes files whose retention is over, and expires silent producers.
    pub fn apply_retention(&self, retention: &Retention, silent_since_ms: i64, now_ms: i64) {
        let mut state = self.state();
        if state.deleted {
            return;
        }
        let stable = state.offsets().stable;
        if let Err(error) = state.log.apply_retention(retention, stable, now_ms) {
            self.failed("remove files from", &error);
        }
        let start = state.log.start();
        state.producers.forget_before(start);
        state.producers.expire(silent_since_ms);
    }

    /// Makes what was acknowledged so far survive the loss of power.
    pub fn sync(&self) {
        let unsynced = match &mut *self.state() {
            State { deleted: true, .. } => return,
            state => state.log.take_unsynced(),
        };
        if let Err(error) = log::sync(&unsynced, &self.dir) {
            self.failed("sync", &error);
        }
    }

    pub fn producers(&self) -> Vec<ProducerInfo> {
        self.state().producers.describe()
    }

    /// Wakes `notify` at the next change.
    pub fn watch(&self, notify: &Arc<Notify>) {
        let mut state = self.state();
        if state.waiting.len() == state.waiting.capacity() {
            // Readers that gave up waiting leave their entries behind.
            state.waiting.retain(|waiting| waiting.strong_count() > 0);
        }
        state.waiting.push(Arc::downgrade(notify));
    }

    /// Ends all use of the partition, before its files are removed.
    pub fn delete(&self) {
        let mut state = self.state();
        state.deleted = true;
        state.wake();
    }

    fn live(&self) -> Result<MutexGuard<'_, State>, ResponseError> {
        let state = self.state();
        if state.deleted { Err(ResponseError::UnknownTopicOrPartition) } else { Ok(state) }
    }

    fn failed(&self, action: &str, error: &io::Error) -> ResponseError {
        error!("cannot {action} {}: {error}", self.dir.display());
        ResponseError::KafkaStorageError
    }
}

impl State {
    fn offsets(&self) -> Offsets {
        let end = self.log.end();
        Offsets { start: self.log.start(), stable: self.producers.stable(end), end }
    }

    fn wake(&mut self) {
        for waiting in self.waiting.drain(..) {
            if let Some(notify) = waiting.upgrade() {
                notify.notify_one();
            }
        }
    }
}

/// The aborted transactions that begin before the batches end.
fn within(batches: &[u8], mut aborted: Vec<Aborted>) -> Vec<Aborted> {
    if aborted.is_empty() {
        return aborted;
    }
    let (mut at, mut next) = (0, 0);
    while let Ok(header) = BatchHeader::parse(batches.get(at..).unwrap_or_default()) {
        (at, next) = (at + header.size, header.next_offset());
    }
    aborted.retain(|aborted| aborted.first_offset < next);
    aborted
}

#[cfg(test)]
pub mod model_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::batch::testing::{NewBatch, batch};

    const RETENTION: Retention =
        Retention { segment_bytes: 1_000, segment_ms: None, retention_bytes: None, retention_ms: None };

    fn open(dir: &Path) -> Partition {
        Partition::open(dir, ScanDepth::Whole, 0).unwrap()
    }

    fn send(partition: &Partition, batch: &NewBatch) -> Result<i64, ResponseError> {
        let bytes = batch.bytes();
        let header = BatchHeader::check(&bytes).unwrap();
        partition.produce(&header, &bytes, &RETENTION, 0, || Ok(())).map(|(offset, _)| offset)
    }

    fn two() -> NewBatch {
        batch(&[("a", Some("1")), ("b", Some("2"))])
    }

    fn read(partition: &Partition, from: i64, committed_only: bool) -> Portion {
        let read = Read { from, committed_only, bytes_max: 1 << 20, at_least_one: true };
        partition.read(&read).unwrap()
    }

    fn first_offsets(mut batches: &[u8]) -> Vec<i64> {
        let mut offsets = Vec::new();
        while let Ok(header) = BatchHeader::check(batches) {
            offsets.push(header.base_offset);
            batches = &batches[header.size..];
        }
        offsets
    }

    #[test]
    fn readers_of_committed_records_stop_at_open_transactions_and_learn_of_aborted_ones() {
        let dir = tempfile::tempdir().unwrap();
        let partition = open(dir.path());
        send(&partition, &two().in_transaction(1, 0, 0)).unwrap();
        send(&partition, &two()).unwrap();
        let portion = read(&partition, 0, true);
        assert!(portion.batches.is_empty());
        assert_eq!(portion.offsets, Offsets { start: 0, stable: 0, end: 4 });
        assert_eq!(first_offsets(&read(&partition, 0, false).batches), [0, 2]);

        partition.end_transaction((1, 0), Outcome::Abort, &RETENTION, 0).unwrap();
        let portion = read(&partition, 0, true);
        assert_eq!(first_offsets(&portion.batches), [0, 2, 4]);
        assert_eq!(portion.aborted, [Aborted { producer_id: 1, first_offset: 0, last_offset: 4 }]);
        assert!(read(&partition, 0, false).aborted.is_empty());
    }

    #[test]
    fn all_that_matters_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let partition = open(dir.path());
        send(&partition, &two().in_transaction(1, 0, 0)).unwrap();
        partition.end_transaction((1, 0), Outcome::Abort, &RETENTION, 0).unwrap();
        send(&partition, &two().in_transaction(1, 0, 2)).unwrap();
        let (before, offsets) = (read(&partition, 0, true), partition.offsets());
        drop(partition);

        let partition = open(dir.path());
        assert_eq!(partition.offsets(), offsets);
        let after = read(&partition, 0, true);
        assert_eq!((after.batches, after.aborted), (before.batches, before.aborted));
        assert_eq!(send(&partition, &two().in_transaction(1, 0, 2)), Ok(3), "a duplicate");
        assert_eq!(
            send(&partition, &two().in_transaction(1, 0, 9)),
            Err(ResponseError::OutOfOrderSequenceNumber)
        );
    }

    #[test]
    fn a_transaction_that_is_not_open_here_leaves_no_marker() {
        let dir = tempfile::tempdir().unwrap();
        let partition = open(dir.path());
        partition.end_transaction((1, 0), Outcome::Commit, &RETENTION, 0).unwrap();
        assert_eq!(partition.offsets().end, 0);
    }

    #[test]
    fn a_batch_that_is_not_verified_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let partition = open(dir.path());
        let bytes = two().in_transaction(1, 0, 0).bytes();
        let header = BatchHeader::check(&bytes).unwrap();
        let refuse = || Err(ResponseError::InvalidTxnState);
        let refused = partition.produce(&header, &bytes, &RETENTION, 0, refuse);
        assert_eq!(refused, Err(ResponseError::InvalidTxnState));
        assert_eq!(partition.offsets().end, 0);
    }

    #[test]
    fn offsets_outside_the_log_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let partition = open(dir.path());
        send(&partition, &two()).unwrap();
        assert_eq!(partition.delete_before(1), Ok(1));
        for from in [-1, 0, 3] {
            let read = Read { from, committed_only: false, bytes_max: 100, at_least_one: true };
            assert_eq!(partition.read(&read).unwrap_err(), ResponseError::OffsetOutOfRange, "{from}");
        }
        assert_eq!(partition.delete_before(3), Err(ResponseError::OffsetOutOfRange));
    }

    #[test]
    fn any_offset_is_found_over_many_files() {
        let dir = tempfile::tempdir().unwrap();
        let partition = open(dir.path());
        for _ in 0..100 {
            send(&partition, &two()).unwrap();
        }
        assert!(std::fs::read_dir(dir.path()).unwrap().count() > 5);
        for partition in [&partition, &open(dir.path())] {
            for from in 0..200 {
                assert_eq!(first_offsets(&read(partition, from, false).batches)[0], from / 2 * 2);
            }
        }
    }

    #[test]
    fn a_batch_larger_than_wanted_comes_only_where_one_has_to_come() {
        let dir = tempfile::tempdir().unwrap();
        let partition = open(dir.path());
        send(&partition, &two()).unwrap();
        send(&partition, &two()).unwrap();
        let read = |at_least_one| {
            let read = Read { from: 2, committed_only: false, bytes_max: 10, at_least_one };
            first_offsets(&partition.read(&read).unwrap().batches)
        };
        assert_eq!(read(true), [2]);
        assert!(read(false).is_empty());
    }

    #[test]
    fn a_change_wakes_those_who_wait_and_so_does_deletion() {
        let dir = tempfile::tempdir().unwrap();
        let partition = open(dir.path());
        let notify = Arc::new(Notify::new());
        partition.watch(&notify);
        send(&partition, &two()).unwrap();
        assert!(partition.state().waiting.is_empty());
        partition.watch(&notify);
        partition.delete();
        assert_eq!(send(&partition, &two()), Err(ResponseError::UnknownTopicOrPartition));
    }
}
