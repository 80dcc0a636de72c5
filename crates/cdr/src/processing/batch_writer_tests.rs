use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::super::Observer;
use super::super::store::StoreConfig;
use super::*;
use crate::kafka::{KafkaConfig, Lag, Standby};

const VALUE: &[u8] = br#"{"msisdn":"27711903591","tower_id":1,"up_bytes":1,"down_bytes":1,"data_type":"text","event_datetime":"2024-01-01T00:03:20.170110"}"#;

struct Nobody;

impl Observer for Nobody {
    fn stored(&self, _: &PerStream<u64>, _: Duration, _: Duration) {}
    fn dead(&self, _: Stream, _: &'static str) {}
    fn lags(&self, _: &Lags) {}
    fn assigned(&self) {}
    fn store_answers(&self, _: bool) {}
    fn brokers_answer(&self, _: bool) {}
    fn revoked(&self, _: &TopicPartition) {}
}

/// A writer, and another connection to its store.
struct Scene {
    writer: BatchWriter,
    store: Store,
    folder: tempfile::TempDir,
}

fn open(folder: &Path) -> Store {
    Store::open(&StoreConfig::File(folder.join("usage.db"))).unwrap()
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let retry = StoreRetry {
            standby: Standby::default(),
            observer: Arc::new(Nobody),
            shutdown: CancellationToken::new(),
            give_up_after: Duration::from_secs(1),
        };
        let kafka = Arc::new(KafkaConfig::for_tests());
        let dead_letters = DeadLetters::new(&kafka, "dead", &retry.shutdown).unwrap();
        let topics = PerStream::from_fn(|stream| stream.short_name().to_owned());
        let writer =
            BatchWriter::new(open(folder.path()), dead_letters, topics, MessageFormat::Json, retry);
        Scene { writer, store: open(folder.path()), folder }
    }

    fn take(&mut self, partition: i32, offsets: Range<i64>) {
        let record = |offset| Received { topic: "data", partition, offset, key: None, value: VALUE };
        self.writer.take(&offsets.map(record).collect::<Vec<_>>());
    }

    /// A rebalance that leaves some partitions and brings some.
    fn rebalance(&mut self, kept: &[i32], new: &[i32]) {
        let partitions = |numbers: &[i32]| numbers.iter().copied().map(partition).collect::<Vec<_>>();
        let assigned = [partitions(kept), partitions(new)].concat();
        self.writer.reassign(Rebalance { assigned, new: partitions(new) });
    }

    /// A rebalance that brings all of these; gives the offsets at which they are read.
    fn assigned(&mut self, numbers: &[i32]) -> Vec<Option<i64>> {
        self.rebalance(&[], numbers);
        let offsets = self.writer.offsets_to_seek().unwrap().expect("a rebalance calls for a seek");
        offsets.into_iter().map(|(_, offset)| offset).collect()
    }

    /// Offset and counted messages of each partition that is known to the store.
    fn committed(&mut self) -> Vec<(i64, u64)> {
        let committed = self.store.committed().unwrap();
        committed.into_values().map(|at| (at.offset, at.counted)).collect()
    }

    /// Somebody else counts messages of a partition.
    fn advance(&mut self, number: i32, to: i64) {
        let advance = OffsetAdvance { from: None, to, counted: to as u64, dead: 0 };
        let advances = BTreeMap::from([(partition(number), advance)]);
        let mut batch = Batch { advances, interactions: Vec::new() };
        assert_eq!(self.store.add(&mut batch).unwrap(), Added::Stored);
    }

    /// Another connection that keeps everybody else from writing until it is dropped.
    fn writing(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.folder.path().join("usage.db")).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        connection
    }
}

fn partition(number: i32) -> TopicPartition {
    ("data".to_owned(), number)
}

#[test]
fn messages_are_taken_from_the_committed_offsets_on() {
    let mut scene = Scene::new();
    scene.advance(1, 3);
    assert_eq!(scene.assigned(&[0, 1]), [None, Some(3)]);
    scene.take(0, 0..2);
    scene.take(1, 0..5);
    scene.take(2, 0..5);
    assert_eq!(scene.writer.waiting(), 4, "those before the offset, and of others, are passed over");
    assert_eq!(scene.writer.flush().unwrap(), Added::Stored);
    scene.take(0, 1..3);
    assert_eq!(scene.writer.flush().unwrap(), Added::Stored);
    assert_eq!(scene.committed(), [(3, 3), (5, 5)]);
}

#[test]
fn messages_of_several_partitions_may_be_mixed() {
    let mut scene = Scene::new();
    scene.assigned(&[0, 1]);
    for offset in 0..5 {
        scene.take(0, offset..offset + 1);
        scene.take(1, 2 * offset..2 * offset + 2);
    }
    assert_eq!(scene.writer.flush().unwrap(), Added::Stored);
    assert_eq!(scene.committed(), [(5, 5), (10, 10)]);
}

#[test]
fn a_partition_that_comes_is_read_once_its_offset_is_looked_up_and_one_that_stays_is_read_on() {
    let mut scene = Scene::new();
    scene.assigned(&[0]);
    scene.take(0, 0..5);
    assert_eq!(scene.writer.flush().unwrap(), Added::Stored);
    scene.advance(1, 3);
    scene.rebalance(&[0], &[1]);
    assert!(scene.writer.must_seek());
    scene.take(1, 0..7);
    assert_eq!(scene.writer.waiting(), 0);
    scene.take(0, 5..7);
    assert_eq!(scene.writer.waiting(), 2);
    assert_eq!(scene.writer.offsets_to_seek().unwrap(), Some(vec![(partition(1), Some(3))]));
    scene.take(1, 3..4);
    assert_eq!(scene.writer.flush().unwrap(), Added::Stored);
    assert_eq!(scene.committed(), [(7, 7), (4, 4)]);
}

#[test]
fn a_partition_that_went_and_came_back_is_read_from_its_committed_offset() {
    let mut scene = Scene::new();
    scene.assigned(&[0]);
    scene.take(0, 0..5);
    assert_eq!(scene.writer.flush().unwrap(), Added::Stored);
    scene.rebalance(&[], &[]);
    assert!(!scene.writer.must_seek());
    scene.take(0, 5..9);
    assert_eq!(scene.writer.waiting(), 0, "it is somebody else's");
    // Meanwhile its next reader has gone on.
    let advance = OffsetAdvance { from: Some(5), to: 8, counted: 3, dead: 0 };
    let advances = BTreeMap::from([(partition(0), advance)]);
    let mut batch = Batch { advances, interactions: Vec::new() };
    assert_eq!(scene.store.add(&mut batch).unwrap(), Added::Stored);
    assert_eq!(scene.assigned(&[0]), [Some(8)]);
    scene.take(0, 5..9);
    assert_eq!(scene.writer.flush().unwrap(), Added::Stored);
    assert_eq!(scene.committed(), [(9, 9)]);
}

#[test]
fn a_batch_with_an_offset_conflict_in_one_partition_is_read_again_in_the_others() {
    let mut scene = Scene::new();
    scene.assigned(&[0, 1]);
    scene.take(0, 0..5);
    scene.take(1, 0..5);
    scene.advance(0, 7);
    assert_eq!(scene.writer.flush().unwrap(), Added::OffsetConflict);
    assert!(scene.writer.must_seek());
    scene.take(1, 5..9);
    assert_eq!(scene.writer.flush().unwrap(), Added::Stored);
    assert_eq!(scene.committed(), [(7, 7)], "what lies behind a gap is not counted");
    assert_eq!(scene.assigned(&[1]), [None]);
    assert!(!scene.writer.must_seek());
    scene.take(1, 0..9);
    assert_eq!(scene.writer.flush().unwrap(), Added::Stored);
    assert_eq!(scene.committed(), [(7, 7), (9, 9)]);
}

#[test]
fn a_batch_whose_commit_was_not_answered_is_not_counted_again() {
    let mut scene = Scene::new();
    scene.assigned(&[0]);
    scene.take(0, 0..5);
    // As its own first try, whose answer was lost.
    scene.advance(0, 5);
    assert_eq!(scene.writer.flush().unwrap(), Added::OffsetConflict);
    assert_eq!(scene.writer.offsets_to_seek().unwrap(), Some(vec![(partition(0), Some(5))]));
    scene.take(0, 4..6);
    assert_eq!(scene.writer.flush().unwrap(), Added::Stored);
    assert_eq!(scene.committed(), [(6, 6)]);
}

#[test]
fn what_is_read_to_its_end_is_committed_behind_the_transaction_markers() {
    let mut scene = Scene::new();
    scene.assigned(&[0, 1]);
    scene.take(0, 0..5);
    let lags = |end| Lags::from([0, 1, 2].map(|at| (partition(at), Lag { behind: 0, end: Some(end) })));
    scene.writer.commit_ends(&lags(6)).unwrap();
    assert_eq!(scene.committed(), [], "not while something is open");
    assert_eq!(scene.writer.flush().unwrap(), Added::Stored);
    scene.writer.commit_ends(&lags(6)).unwrap();
    scene.writer.commit_ends(&lags(4)).unwrap();
    assert_eq!(scene.committed(), [(6, 5), (6, 0)], "ours, and never back");
    scene.take(0, 5..8);
    assert_eq!(scene.writer.flush().unwrap(), Added::Stored);
    assert_eq!(scene.committed(), [(8, 7), (6, 0)]);
}

/// While another process writes, SQLite refuses after a time: a store that is away for some tries.
#[test]
fn what_is_not_stored_before_a_rebalance_is_read_again_by_whoever_reads_next() {
    let mut scene = Scene::new();
    scene.assigned(&[0, 1]);
    scene.take(0, 0..5);
    scene.take(1, 0..3);
    scene.writer.store.wait_for_others(Duration::from_millis(10));
    scene.writer.retry.give_up_after = Duration::ZERO;
    let other = scene.writing();
    scene.writer.flush().unwrap_err();
    drop(other);
    assert_eq!(scene.committed(), []);
    assert_eq!(scene.assigned(&[1]), [None]);
    scene.take(1, 0..3);
    assert_eq!(scene.writer.flush().unwrap(), Added::Stored);
    assert_eq!(scene.committed(), [(3, 3)]);
}

#[test]
fn partitions_whose_offsets_cannot_be_looked_up_are_not_read() {
    let mut scene = Scene::new();
    scene.advance(1, 3);
    // The table is away for a moment.
    let other = rusqlite::Connection::open(scene.folder.path().join("usage.db")).unwrap();
    other.execute_batch("ALTER TABLE position RENAME TO elsewhere").unwrap();
    scene.rebalance(&[], &[1]);
    assert!(scene.writer.offsets_to_seek().is_err(), "that it is gone ends the processor");
    scene.take(1, 3..5);
    assert_eq!(scene.writer.waiting(), 0, "nothing is read until its offset is known");
    other.execute_batch("ALTER TABLE elsewhere RENAME TO position").unwrap();
    assert_eq!(scene.writer.offsets_to_seek().unwrap(), Some(vec![(partition(1), Some(3))]));
    scene.take(1, 3..5);
    assert_eq!(scene.writer.flush().unwrap(), Added::Stored);
    assert_eq!(scene.committed(), [(5, 5)]);
}
