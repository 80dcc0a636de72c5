//! What a partition knows of the producers that write to it: which sequence numbers it has seen, and
//! which transactions are open or were aborted.
//!
//! The rules are those of Kafka's `ProducerStateManager` (KIP-98, KIP-360). All of it follows from
//! the log, and is found again from it.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::batch::{BatchHeader, Outcome};
use super::log::scan::Found;

/// Batches of a producer that are recognised when they come again. Clients keep at most five in
/// flight.
const REMEMBERED_BATCHES: usize = 5;

/// Producers that a partition remembers; beyond it the one that was silent longest is forgotten.
pub const PRODUCERS_MAX: usize = 5_000;

/// A transaction that was aborted, as readers of committed records need to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted {
    pub producer_id: i64,
    pub first_offset: i64,
    /// The offset of the marker.
    pub last_offset: i64,
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Append,
    /// It is there already, from this offset on.
    Duplicate(i64),
}

/// Why a batch is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A younger producer with the same id has written.
    Fenced,
    /// Batches between the last one and this one are missing.
    OutOfOrder,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    first: i32,
    last: i32,
    offset: i64,
}

/// What is known of one producer.
#[derive(Clone, Debug)]
struct Producer {
    epoch: i16,
    /// The newest batches of this epoch, oldest first.
    seen: VecDeque<Seen>,
    /// Only markers of it are left in the log; it may go on with any sequence number.
    only_markers: bool,
    /// Where the open transaction begins.
    open_from: Option<i64>,
    /// In milliseconds since 1970.
    active_ms: i64,
}

/// A producer, for those who list what goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerInfo {
    pub producer_id: i64,
    pub epoch: i16,
    /// -1 if there is none.
    pub last_sequence: i32,
    pub active_ms: i64,
    /// -1 without an open transaction.
    pub open_from: i64,
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub struct Producers {
    by_id: HashMap<i64, Producer>,
    /// Open transactions: where they begin, and whose they are.
    open: BTreeSet<(i64, i64)>,
    /// In the order of their markers.
    aborted: Vec<Aborted>,
}

impl Producers {
    /// Whether a batch is the next of its producer.
    ///
    /// # Errors
    /// When it is not, nor one of the last.
    pub fn check(&self, header: &BatchHeader) -> Result<Verdict, Refused> {
        let Some(known) = self.by_id.get(&header.producer_id).filter(|_| header.is_idempotent()) else {
            // An unknown producer may have been forgotten, so any sequence number is right.
            return Ok(Verdict::Append);
        };
        if header.producer_epoch < known.epoch {
            return Err(Refused::Fenced);
        }
        let append_if = |is_next| if is_next { Ok(Verdict::Append) } else { Err(Refused::OutOfOrder) };
        if header.producer_epoch > known.epoch {
            return append_if(header.base_sequence == 0);
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        if let Some(seen) = known.seen.iter().find(|seen| (seen.first, seen.last) == (first, last)) {
            return Ok(Verdict::Duplicate(seen.offset));
        }
        if known.seen.is_empty() && known.only_markers {
            return Ok(Verdict::Append);
        }
        let next = known.seen.back().map_or(0, |seen| seen.last.checked_add(1).unwrap_or(0));
        append_if(first == next)
    }

    /// Follows the log as it is read at the start.
    pub fn replay(&mut self, found: &Found, now_ms: i64) {
        match (found.header.is_control(), found.outcome) {
            (false, _) => self.appended(&found.header, now_ms),
            (true, Some(outcome)) => self.ended(&found.header, outcome, now_ms),
            (true, None) => {}
        }
    }

    /// Notes a data batch that now is in the log.
    pub fn appended(&mut self, header: &BatchHeader, now_ms: i64) {
        if !header.is_idempotent() {
            return;
        }
        let producer = self.producer(header.producer_id, header.producer_epoch, now_ms);
        if producer.seen.len() == REMEMBERED_BATCHES {
            producer.seen.pop_front();
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        producer.seen.push_back(Seen { first, last, offset: header.base_offset });
        if header.is_transactional() && producer.open_from.is_none() {
            producer.open_from = Some(header.base_offset);
            self.open.insert((header.base_offset, header.producer_id));
        }
    }

    /// Notes a marker that now is in the log.
    pub fn ended(&mut self, header: &BatchHeader, outcome: Outcome, now_ms: i64) {
        let producer_id = header.producer_id;
        let unknown = !self.by_id.contains_key(&producer_id);
        let producer = self.producer(producer_id, header.producer_epoch, now_ms);
        producer.only_markers |= unknown;
        let Some(first_offset) = producer.open_from.take() else { return };
        self.open.remove(&(first_offset, producer_id));
        if outcome == Outcome::Abort {
            self.aborted.push(Aborted { producer_id, first_offset, last_offset: header.base_offset });
        }
    }

    /// A producer in at least this epoch; a new epoch begins with nothing seen.
    fn producer(&mut self, id: i64, epoch: i16, now_ms: i64) -> &mut Producer {
        if self.by_id.len() >= PRODUCERS_MAX && !self.by_id.contains_key(&id) {
            self.forget_one();
        }
        let fresh = || Producer {
            epoch,
            seen: VecDeque::new(),
            only_markers: false,
            open_from: None,
            active_ms: now_ms,
        };
        let producer = self.by_id.entry(id).or_insert_with(fresh);
        if epoch > producer.epoch {
            producer.epoch = epoch;
            producer.seen.clear();
            producer.only_markers = false;
        }
        producer.active_ms = now_ms;
        producer
    }

    fn forget_one(&mut self) {
        let idle = self.by_id.iter().filter(|(_, producer)| producer.open_from.is_none());
        if let Some((&id, _)) = idle.min_by_key(|(_, producer)| producer.active_ms) {
            self.by_id.remove(&id);
        }
    }

    /// The last stable offset: the first one of an open transaction, or the log's end.
    pub fn stable(&self, end: i64) -> i64 {
        self.open.first().map_or(end, |&(first, _)| first)
    }

    /// Whether a producer has written to a transaction that is open here.
    pub fn has_open(&self, producer_id: i64) -> bool {
        self.by_id.get(&producer_id).is_some_and(|producer| producer.open_from.is_some())
    }

    /// The aborted transactions that reach into a range of offsets.
    pub fn aborted_in(&self, from: i64, before: i64) -> Vec<Aborted> {
        let begin = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        let later = self.aborted.iter().skip(begin);
        later.filter(|aborted| aborted.first_offset < before).copied().collect()
    }

    /// Whether a record of a producer belongs to an aborted transaction.
    pub fn is_aborted(&self, producer_id: i64, offset: i64) -> bool {
        let begin = self.aborted.partition_point(|aborted| aborted.last_offset < offset);
        // The first marker of the producer behind a record is the one that ends it.
        let mut later = self.aborted.iter().skip(begin);
        later.any(|a| a.producer_id == producer_id && a.first_offset <= offset)
    }

    /// Forgets the aborted transactions that lie before the log's start.
    pub fn forget_before(&mut self, start: i64) {
        let gone = self.aborted.partition_point(|aborted| aborted.last_offset < start);
        self.aborted.drain(..gone);
    }

    /// Forgets producers that have been silent since a time.
    pub fn expire(&mut self, silent_since_ms: i64) {
        self.by_id
            .retain(|_, producer| producer.open_from.is_some() || producer.active_ms >= silent_since_ms);
    }

    pub fn describe(&self) -> Vec<ProducerInfo> {
        let info = |(&producer_id, producer): (&i64, &Producer)| ProducerInfo {
            producer_id,
            epoch: producer.epoch,
            last_sequence: producer.seen.back().map_or(-1, |seen| seen.last),
            active_ms: producer.active_ms,
            open_from: producer.open_from.unwrap_or(-1),
        };
        self.by_id.iter().map(info).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::batch::end_marker;
    use crate::kafka::batch::testing::batch;

    /// A log of which only the offsets are real.
    #[derive(Default)]
    struct FakeLog {
        producers: Producers,
        end: i64,
    }

    impl FakeLog {
        fn header(&self, id: i64, epoch: i16, sequence: i32, transactional: bool) -> BatchHeader {
            let mut new = batch(&[("a", None), ("b", None)]).by_producer(id, epoch, sequence);
            new.transactional = transactional;
            BatchHeader { base_offset: self.end, ..BatchHeader::parse(&new.bytes()).unwrap() }
        }

        /// Sends two records.
        fn send(&mut self, id: i64, epoch: i16, sequence: i32) -> Result<Verdict, Refused> {
            self.send_as(self.header(id, epoch, sequence, false))
        }

        fn send_as(&mut self, header: BatchHeader) -> Result<Verdict, Refused> {
            let verdict = self.producers.check(&header)?;
            if verdict == Verdict::Append {
                self.producers.appended(&header, 0);
                self.end = header.next_offset();
            }
            Ok(verdict)
        }

        fn transact(&mut self, id: i64, epoch: i16, sequence: i32) {
            assert_eq!(self.send_as(self.header(id, epoch, sequence, true)), Ok(Verdict::Append));
        }

        fn end(&mut self, id: i64, epoch: i16, outcome: Outcome) {
            let marker = end_marker(id, epoch, outcome, self.end, 0);
            self.producers.ended(&BatchHeader::parse(&marker).unwrap(), outcome, 0);
            self.end += 1;
        }

        fn stable(&self) -> i64 {
            self.producers.stable(self.end)
        }
    }

    #[test]
    fn batches_in_order_are_appended() {
        let mut log = FakeLog::default();
        for sequence in [0, 2, 4] {
            assert_eq!(log.send(1, 0, sequence), Ok(Verdict::Append));
        }
        assert_eq!(log.send(-1, -1, -1), Ok(Verdict::Append));
    }

    #[test]
    fn a_batch_that_comes_again_is_known_while_five_newer_ones_have_not_come() {
        let mut log = FakeLog::default();
        for batch in 0..5 {
            log.send(1, 0, batch * 2).unwrap();
        }
        for batch in 0..5 {
            assert_eq!(log.send(1, 0, batch * 2), Ok(Verdict::Duplicate(i64::from(batch) * 2)));
        }
        log.send(1, 0, 10).unwrap();
        assert_eq!(log.send(1, 0, 0), Err(Refused::OutOfOrder));
    }

    #[test]
    fn a_gap_is_refused() {
        let mut log = FakeLog::default();
        log.send(1, 0, 0).unwrap();
        assert_eq!(log.send(1, 0, 4), Err(Refused::OutOfOrder));
        assert_eq!(log.send(1, 0, 2), Ok(Verdict::Append));
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere() {
        assert_eq!(FakeLog::default().send(1, 0, 700), Ok(Verdict::Append));
    }

    #[test]
    fn sequences_go_on_at_zero_behind_the_largest() {
        let mut log = FakeLog::default();
        assert_eq!(log.send(1, 0, i32::MAX - 1), Ok(Verdict::Append));
        assert_eq!(log.send(1, 0, 0), Ok(Verdict::Append));
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_fences_the_old_one() {
        let mut log = FakeLog::default();
        log.send(1, 0, 0).unwrap();
        assert_eq!(log.send(1, 1, 2), Err(Refused::OutOfOrder));
        assert_eq!(log.send(1, 1, 0), Ok(Verdict::Append));
        assert_eq!(log.send(1, 0, 2), Err(Refused::Fenced));
    }

    #[test]
    fn a_marker_with_a_new_epoch_fences_too() {
        let mut log = FakeLog::default();
        log.transact(1, 0, 0);
        log.end(1, 1, Outcome::Abort);
        assert_eq!(log.send(1, 0, 2), Err(Refused::Fenced));
        assert_eq!(log.send(1, 1, 0), Ok(Verdict::Append));
    }

    #[test]
    fn what_is_stable_ends_at_the_first_open_transaction() {
        let mut log = FakeLog::default();
        log.send(9, 0, 0).unwrap();
        log.transact(1, 0, 0);
        log.transact(2, 0, 0);
        assert_eq!(log.stable(), 2);
        log.end(1, 0, Outcome::Commit);
        assert_eq!(log.stable(), 4);
        log.end(2, 0, Outcome::Commit);
        assert_eq!(log.stable(), log.end);
        assert!(log.producers.aborted_in(0, log.end).is_empty());
    }

    #[test]
    fn aborted_transactions_are_reported_to_those_who_read_in_their_range() {
        let mut log = FakeLog::default();
        log.transact(1, 0, 0); // 0, 1
        log.transact(2, 0, 0); // 2, 3
        log.end(2, 0, Outcome::Abort); // 4
        log.transact(1, 0, 2); // 5, 6
        log.end(1, 0, Outcome::Abort); // 7
        log.transact(1, 0, 4); // 8, 9
        log.end(1, 0, Outcome::Commit); // 10
        let of = |from, before| -> Vec<i64> {
            let aborted = log.producers.aborted_in(from, before);
            aborted.iter().map(|aborted| aborted.producer_id).collect()
        };
        assert_eq!(of(0, 11), [2, 1]);
        assert_eq!(of(5, 11), [1]);
        assert_eq!(of(0, 2), [1]);
        assert!(of(8, 11).is_empty());
        assert!(log.producers.is_aborted(1, 5) && log.producers.is_aborted(2, 3));
        assert!(!log.producers.is_aborted(1, 8));
    }

    /// Its batches were deleted, and the broker was restarted.
    #[test]
    fn a_producer_of_which_only_a_marker_is_left_goes_on_anywhere() {
        let mut log = FakeLog::default();
        log.end(1, 0, Outcome::Commit);
        assert_eq!(log.send(1, 0, 700), Ok(Verdict::Append));
        assert_eq!(log.send(1, 0, 706), Err(Refused::OutOfOrder));
        log.end(2, 3, Outcome::Abort);
        assert_eq!(log.send(2, 2, 0), Err(Refused::Fenced));
        assert_eq!(log.send(2, 4, 5), Err(Refused::OutOfOrder), "a new epoch begins at 0");
    }

    #[test]
    fn a_marker_without_a_transaction_changes_nothing_for_readers() {
        let mut log = FakeLog::default();
        log.end(1, 0, Outcome::Abort);
        assert!(log.producers.aborted_in(0, 100).is_empty());
        assert_eq!(log.stable(), 1);
    }

    #[test]
    fn too_many_producers_push_out_the_oldest_but_none_with_an_open_transaction() {
        let mut log = FakeLog::default();
        log.transact(0, 0, 0);
        for id in 1..=PRODUCERS_MAX as i64 {
            log.send(id, 0, 0).unwrap();
        }
        assert_eq!(log.producers.by_id.len(), PRODUCERS_MAX);
        assert!(log.producers.has_open(0));
    }
}
