//! What readers of a partition see, against a list of records that knows how each transaction ended.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::kafka::batch::HEADER_BYTES;
use crate::kafka::batch::records::Records;
use crate::kafka::batch::testing::{NewBatch, batch};

const RETENTION: Retention =
    Retention { segment_bytes: 170, segment_ms: None, retention_bytes: None, retention_ms: None };

const PRODUCERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// A producer sends so many records in its transaction.
    Transact(usize, usize),
    /// Records outside of transactions.
    Send(usize),
    End(usize, bool),
    /// The last batch of a producer comes again.
    Again(usize),
    Reopen,
    DeleteHalf,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..PRODUCERS, 1..4_usize).prop_map(|(producer, records)| Step::Transact(producer, records)),
        2 => (1..4_usize).prop_map(Step::Send),
        4 => (0..PRODUCERS, any::<bool>()).prop_map(|(producer, commit)| Step::End(producer, commit)),
        1 => (0..PRODUCERS).prop_map(Step::Again),
        1 => Just(Step::Reopen),
        1 => Just(Step::DeleteHalf),
    ];
    prop::collection::vec(step, 1..40)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Outside of transactions, or in a committed one.
    Seen,
    Open(usize),
    Aborted,
    Marker,
}

#[derive(Default)]
struct Model {
    /// By offset.
    records: Vec<Kind>,
    start: usize,
    /// For each producer: the next sequence number, and its last batch with its offset.
    producers: [(i32, Option<(NewBatch, i64)>); PRODUCERS],
}

impl Model {
    fn stable(&self) -> i64 {
        let open = self.records.iter().position(|kind| matches!(kind, Kind::Open(_)));
        open.unwrap_or(self.records.len()) as i64
    }

    fn committed(&self, from: i64) -> Vec<i64> {
        (from..self.stable()).filter(|&offset| self.records[offset as usize] == Kind::Seen).collect()
    }

    fn all(&self, from: i64) -> Vec<i64> {
        let end = self.records.len() as i64;
        (from..end).filter(|&offset| self.records[offset as usize] != Kind::Marker).collect()
    }

    fn end(&mut self, producer: usize, commit: bool) {
        let of_it = |kind: &&mut Kind| **kind == Kind::Open(producer);
        let mut open = 0;
        for kind in self.records.iter_mut().filter(of_it) {
            (*kind, open) = (if commit { Kind::Seen } else { Kind::Aborted }, open + 1);
        }
        if open > 0 {
            self.records.push(Kind::Marker);
        }
    }
}

fn new(records: usize) -> NewBatch {
    batch(&vec![("key", Some("value")); records])
}

fn send(partition: &Partition, new: &NewBatch) -> i64 {
    let bytes = new.bytes();
    let header = BatchHeader::check(&bytes).unwrap();
    partition.produce(&header, &bytes, &RETENTION, 0, || Ok(())).unwrap().0
}

fn take(partition: &mut Partition, dir: &Path, model: &mut Model, step: &Step) {
    match *step {
        Step::Transact(producer, records) => {
            let (next, last) = &mut model.producers[producer];
            let batch = new(records).in_transaction(producer as i64, 0, *next);
            let offset = send(partition, &batch);
            assert_eq!(offset, model.records.len() as i64);
            (*next, *last) = (*next + records as i32, Some((batch, offset)));
            model.records.extend(vec![Kind::Open(producer); records]);
        }
        Step::Send(records) => {
            send(partition, &new(records));
            model.records.extend(vec![Kind::Seen; records]);
        }
        Step::End(producer, commit) => {
            let outcome = if commit { Outcome::Commit } else { Outcome::Abort };
            partition.end_transaction((producer as i64, 0), outcome, &RETENTION, 0).unwrap();
            model.end(producer, commit);
        }
        Step::Again(producer) => {
            // What was deleted is not known to be there.
            if let (_, Some((batch, offset))) = &model.producers[producer]
                && *offset >= model.start as i64
            {
                assert_eq!(send(partition, batch), *offset);
            }
        }
        Step::Reopen => *partition = Partition::open(dir, ScanDepth::Whole, 0).unwrap(),
        Step::DeleteHalf => {
            let offset = (model.start as i64 + model.stable()) / 2;
            assert_eq!(partition.delete_before(offset), Ok(offset));
            partition.apply_retention(&RETENTION, 0, 0);
            model.start = offset as usize;
        }
    }
}

/// Reads as clients do: a producer's batches are left out from where its aborted transaction begins to
/// its marker.
pub fn read_all(partition: &Partition, from: i64, committed_only: bool, bytes_max: usize) -> Vec<i64> {
    let (mut next, mut seen) = (from, Vec::new());
    loop {
        let read = Read { from: next, committed_only, bytes_max, at_least_one: true };
        let portion = partition.read(&read).unwrap();
        if portion.batches.is_empty() {
            let until = if committed_only { portion.offsets.stable } else { portion.offsets.end };
            assert!(next >= until, "nothing at {next} before {until}");
            return seen;
        }
        let (mut rest, mut aborting) = (&portion.batches[..], HashSet::new());
        while let Ok(header) = BatchHeader::check(rest) {
            let begun = portion.aborted.iter().filter(|it| it.first_offset <= header.last_offset());
            let open = begun.filter(|it| it.last_offset >= header.base_offset);
            aborting.extend(open.map(|it| it.producer_id));
            let body = &rest[HEADER_BYTES..header.size];
            if header.is_control() {
                aborting.remove(&header.producer_id);
            } else if !(header.is_transactional() && aborting.contains(&header.producer_id)) {
                let offsets = Records::new(body).map(|it| i64::from(it.unwrap().offset_delta));
                seen.extend(offsets.map(|delta| header.base_offset + delta).filter(|&it| it >= from));
            }
            (next, rest) = (header.next_offset(), &rest[header.size..]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn readers_see_what_was_committed_and_no_more(
        steps in steps(),
        bytes_max in prop_oneof![Just(1_usize), Just(300), Just(1 << 20)],
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut partition = Partition::open(dir.path(), ScanDepth::Whole, 0).unwrap();
        let mut model = Model::default();
        for step in &steps {
            take(&mut partition, dir.path(), &mut model, step);
            let (start, end) = (model.start as i64, model.records.len() as i64);
            prop_assert_eq!(partition.offsets(), Offsets { start, stable: model.stable(), end });
        }
        for from in model.start as i64..=model.records.len() as i64 {
            prop_assert_eq!(read_all(&partition, from, true, bytes_max), model.committed(from));
            prop_assert_eq!(read_all(&partition, from, false, bytes_max), model.all(from));
        }
    }
}
