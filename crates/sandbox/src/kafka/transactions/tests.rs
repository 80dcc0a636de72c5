use std::path::Path;

use super::*;
use crate::kafka::config::Config;

const TIMEOUT_MS: i32 = 1_000;

fn open(folder: &Path) -> Transactions {
    let limits = Config::new(folder).limits;
    Transactions::open(&folder.join("transactions.journal"), limits).unwrap()
}

/// A producer that has announced itself.
fn ready(transactions: &mut Transactions, id: &str) -> (i64, i16) {
    match transactions.init(id, TIMEOUT_MS, None, 0).unwrap() {
        Init::Ready { producer_id, epoch } => (producer_id, epoch),
        Init::AbortFirst(ending) => panic!("{ending:?}"),
    }
}

fn begun(transactions: &mut Transactions, producer: (i64, i16)) {
    transactions.add("id", producer, [("topic".to_owned(), 2)], [], 0).unwrap();
}

#[test]
fn a_transaction_is_decided_and_then_complete() {
    let folder = tempfile::tempdir().unwrap();
    let mut transactions = open(folder.path());
    let producer = ready(&mut transactions, "id");
    assert_eq!(transactions.verify(producer, "topic", 2), Err(ResponseError::InvalidTxnState));
    begun(&mut transactions, producer);
    assert_eq!(transactions.verify(producer, "topic", 2), Ok(()));
    assert_eq!(transactions.verify(producer, "topic", 1), Err(ResponseError::InvalidTxnState));
    let ending = transactions.end("id", producer, Outcome::Commit, 1).unwrap().unwrap();
    assert_eq!(ending.partitions, BTreeSet::from([("topic".to_owned(), 2)]));
    // Until the markers are written, neither more records nor another end.
    let again = transactions.add("id", producer, [("topic".to_owned(), 0)], [], 1);
    assert_eq!(again, Err(ResponseError::ConcurrentTransactions));
    let again = transactions.end("id", producer, Outcome::Commit, 1);
    assert_eq!(again, Err(ResponseError::ConcurrentTransactions));
    transactions.ended(&ending, true).unwrap();
    assert_eq!(transactions.end("id", producer, Outcome::Commit, 2), Ok(None), "a lost answer");
    let other = transactions.end("id", producer, Outcome::Abort, 2);
    assert_eq!(other, Err(ResponseError::InvalidTxnState));
}

#[test]
fn a_later_producer_fences_the_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut transactions = open(folder.path());
    let first = ready(&mut transactions, "id");
    let second = ready(&mut transactions, "id");
    assert_eq!((first.0, first.1 + 1), second);
    let refused = transactions.add("id", first, [("topic".to_owned(), 0)], [], 0);
    assert_eq!(refused, Err(ResponseError::ProducerFenced));
    let refused = transactions.end("id", first, Outcome::Commit, 0);
    assert_eq!(refused, Err(ResponseError::ProducerFenced));
}

#[test]
fn what_the_earlier_producer_left_open_is_aborted_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut transactions = open(folder.path());
    let first = ready(&mut transactions, "id");
    begun(&mut transactions, first);
    let Init::AbortFirst(ending) = transactions.init("id", TIMEOUT_MS, None, 1).unwrap() else {
        panic!("its transaction is open");
    };
    assert_eq!(ending.outcome, Outcome::Abort);
    assert!(ending.producer > first, "the markers fence it");
    assert_eq!(transactions.verify(first, "topic", 2), Err(ResponseError::InvalidProducerEpoch));
    let busy = transactions.init("id", TIMEOUT_MS, None, 1);
    assert_eq!(busy, Err(ResponseError::ConcurrentTransactions));
    transactions.ended(&ending, true).unwrap();
    let second = ready(&mut transactions, "id");
    begun(&mut transactions, second);
    assert_eq!(transactions.verify(second, "topic", 2), Ok(()));
}

#[test]
fn a_transaction_that_is_open_too_long_is_aborted_and_its_producer_fenced() {
    let folder = tempfile::tempdir().unwrap();
    let mut transactions = open(folder.path());
    let producer = ready(&mut transactions, "id");
    begun(&mut transactions, producer);
    assert_eq!(transactions.due(i64::from(TIMEOUT_MS)), []);
    let [ending] = &transactions.due(i64::from(TIMEOUT_MS) + 1)[..] else { panic!("it is late") };
    assert_eq!((ending.outcome, ending.producer.1), (Outcome::Abort, producer.1 + 1));
    assert_eq!(transactions.due(i64::from(TIMEOUT_MS) + 2), [], "somebody is carrying it out");
    let late = transactions.end("id", producer, Outcome::Commit, 2_000);
    assert_eq!(late, Err(ResponseError::ProducerFenced));
}

#[test]
fn an_end_that_was_decided_is_carried_out_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = open(folder.path());
    let producer = ready(&mut before, "id");
    begun(&mut before, producer);
    let decided = before.end("id", producer, Outcome::Commit, 1).unwrap().unwrap();
    drop(before);
    let mut after = open(folder.path());
    assert_eq!(after.due(1), std::slice::from_ref(&decided), "and it is a commit, however late");
    after.ended(&decided, true).unwrap();
    drop(after);
    assert_eq!(open(folder.path()).due(i64::MAX), []);
}

#[test]
fn markers_that_could_not_be_written_are_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut transactions = open(folder.path());
    let producer = ready(&mut transactions, "id");
    begun(&mut transactions, producer);
    let ending = transactions.end("id", producer, Outcome::Abort, 1).unwrap().unwrap();
    transactions.ended(&ending, false).unwrap();
    assert_eq!(transactions.due(1), [ending]);
}

#[test]
fn no_producer_id_is_given_out_twice_over_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = BTreeSet::new();
    for round in 0..3 {
        let mut transactions = open(folder.path());
        for number in 0..5 {
            let (id, _) = ready(&mut transactions, &format!("{round}-{number}"));
            assert!(seen.insert(id), "{id} again");
            assert!(seen.insert(transactions.new_producer_id().unwrap()));
        }
    }
}
