use super::*;
use crate::kafka::config::Config;

const MINUTE: i32 = 60_000;

struct Fixture {
    transactions: Transactions,
    dir: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    Fixture { transactions: open(dir.path()), dir }
}

fn open(dir: &Path) -> Transactions {
    Transactions::open(&dir.join("journal"), Config::new("").limits).unwrap()
}

impl Fixture {
    /// A crash, and a start.
    fn restart(&mut self) {
        self.transactions = open(self.dir.path());
    }

    fn ready(&mut self, id: &str) -> (i64, i16) {
        self.ready_as(id, None).unwrap()
    }

    /// Announces a producer; what it has to wait for is carried out.
    fn ready_as(&mut self, id: &str, expected: Option<(i64, i16)>) -> Result<(i64, i16), ResponseError> {
        loop {
            match self.transactions.init(id, MINUTE, expected, 0)? {
                Init::Ready { producer_id, epoch } => return Ok((producer_id, epoch)),
                Init::AbortFirst(ending) => self.transactions.ended(&ending, true).unwrap(),
            }
        }
    }

    fn add(&mut self, id: &str, producer: (i64, i16), topic: &str) -> Result<(), ResponseError> {
        self.transactions.add(id, producer, [(topic.to_owned(), 0)], [], 0)
    }

    fn end(
        &mut self,
        id: &str,
        producer: (i64, i16),
        outcome: Outcome,
    ) -> Result<Option<Ending>, ResponseError> {
        self.transactions.end(id, producer, outcome, 0)
    }

    fn phase(&self, id: &str) -> Phase {
        self.transactions.get(id).unwrap().phase
    }
}

#[test]
fn a_transaction_ends_in_three_steps() {
    let mut fixture = fixture();
    let producer = fixture.ready("a");
    fixture.add("a", producer, "t").unwrap();
    assert_eq!(fixture.transactions.verify(producer, "t", 0), Ok(()));
    assert_eq!(fixture.transactions.verify(producer, "t", 1), Err(ResponseError::InvalidTxnState));
    let ending = fixture.end("a", producer, Outcome::Commit).unwrap().unwrap();
    assert_eq!((ending.producer, ending.partitions.len()), (producer, 1));
    assert_eq!(fixture.phase("a"), Phase::PrepareCommit);
    assert_eq!(fixture.transactions.verify(producer, "t", 0), Err(ResponseError::InvalidTxnState));
    assert_eq!(fixture.add("a", producer, "t"), Err(ResponseError::ConcurrentTransactions));
    assert_eq!(fixture.end("a", producer, Outcome::Commit), Err(ResponseError::ConcurrentTransactions));
    fixture.transactions.ended(&ending, true).unwrap();
    assert_eq!(fixture.phase("a"), Phase::CompleteCommit);
    // The answer was lost, and the request comes again.
    assert_eq!(fixture.end("a", producer, Outcome::Commit), Ok(None));
    assert_eq!(fixture.end("a", producer, Outcome::Abort), Err(ResponseError::InvalidTxnState));
}

#[test]
fn a_decision_survives_a_crash_and_is_carried_out() {
    let mut fixture = fixture();
    let producer = fixture.ready("a");
    fixture.add("a", producer, "t").unwrap();
    fixture.transactions.add("a", producer, [], ["g".to_owned()], 0).unwrap();
    let decided = fixture.end("a", producer, Outcome::Commit).unwrap().unwrap();
    assert!(fixture.transactions.due(0).is_empty(), "somebody is at it");
    fixture.restart();
    assert_eq!(fixture.transactions.due(0), std::slice::from_ref(&decided));
    // It could not be carried out, and is due again.
    fixture.transactions.ended(&decided, false).unwrap();
    assert_eq!(fixture.transactions.due(0), std::slice::from_ref(&decided));
    fixture.transactions.ended(&decided, true).unwrap();
    assert!(fixture.transactions.due(0).is_empty());
    fixture.restart();
    assert_eq!(fixture.phase("a"), Phase::CompleteCommit);
    assert_eq!(fixture.end("a", producer, Outcome::Commit), Ok(None));
}

#[test]
fn an_open_transaction_survives_a_crash() {
    let mut fixture = fixture();
    let producer = fixture.ready("a");
    fixture.add("a", producer, "t").unwrap();
    fixture.restart();
    assert_eq!(fixture.transactions.verify(producer, "t", 0), Ok(()));
    assert!(fixture.end("a", producer, Outcome::Commit).unwrap().is_some());
}

#[test]
fn a_second_producer_fences_the_first_and_aborts_what_it_left_open() {
    let mut fixture = fixture();
    let first = fixture.ready("a");
    fixture.add("a", first, "t").unwrap();
    let Ok(Init::AbortFirst(ending)) = fixture.transactions.init("a", MINUTE, None, 0) else { panic!() };
    assert_eq!(ending.outcome, Outcome::Abort);
    assert_eq!(ending.producer, (first.0, first.1 + 1), "the marker fences, too");
    assert_eq!(
        fixture.transactions.init("a", MINUTE, None, 0),
        Err(ResponseError::ConcurrentTransactions)
    );
    fixture.transactions.ended(&ending, true).unwrap();
    let second = fixture.ready("a");
    assert!(second.0 == first.0 && second.1 > ending.producer.1);
    assert_eq!(fixture.transactions.verify(first, "t", 0), Err(ResponseError::InvalidProducerEpoch));
    assert_eq!(fixture.add("a", first, "t"), Err(ResponseError::ProducerFenced));
    assert_eq!(fixture.end("a", first, Outcome::Commit), Err(ResponseError::ProducerFenced));
    assert_eq!(fixture.ready_as("a", Some(first)), Err(ResponseError::ProducerFenced));
    fixture.add("a", second, "t").unwrap();
}

#[test]
fn a_producer_that_goes_on_after_an_error_gets_the_next_epoch_once() {
    let mut fixture = fixture();
    let first = fixture.ready("a");
    let second = fixture.ready_as("a", Some(first)).unwrap();
    assert_eq!(second, (first.0, first.1 + 1));
    assert_eq!(fixture.ready_as("a", Some(first)), Ok(second), "the request comes again");
    fixture.add("a", second, "t").unwrap();
    // With an open transaction, that is aborted on the way.
    let third = fixture.ready_as("a", Some(second)).unwrap();
    assert_eq!(third, (second.0, second.1 + 1));
    assert_eq!(fixture.ready_as("a", Some((first.0 + 1, 0))), Err(ResponseError::ProducerFenced));
}

#[test]
fn a_transaction_that_is_open_too_long_is_aborted_and_its_producer_fenced() {
    let mut fixture = fixture();
    let producer = fixture.ready("a");
    fixture.transactions.add("a", producer, [("t".to_owned(), 0)], [], 1_000).unwrap();
    // Further partitions do not make it younger.
    fixture.transactions.add("a", producer, [("t".to_owned(), 1)], [], 50_000).unwrap();
    assert!(fixture.transactions.due(1_000 + i64::from(MINUTE)).is_empty());
    let due = fixture.transactions.due(1_001 + i64::from(MINUTE));
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].outcome, due[0].partitions.len()), (Outcome::Abort, 2));
    assert_eq!(due[0].producer, (producer.0, producer.1 + 1));
    assert!(fixture.transactions.due(i64::MAX / 2).is_empty(), "somebody is at it");
    fixture.transactions.ended(&due[0], true).unwrap();
    assert_eq!(fixture.end("a", producer, Outcome::Commit), Err(ResponseError::ProducerFenced));
}

#[test]
fn epochs_that_are_used_up_go_on_with_another_producer_id() {
    let mut fixture = fixture();
    let first = fixture.ready("a");
    let mut last = first;
    while last.0 == first.0 {
        assert!(last.1 >= 0 && last.1 < i16::MAX - 1);
        let next = fixture.ready("a");
        assert!(next.0 != last.0 || next.1 == last.1 + 1);
        last = next;
    }
    assert_eq!(last.1, 0);
    fixture.add("a", last, "t").unwrap();
    assert_eq!(fixture.add("a", first, "t"), Err(ResponseError::InvalidProducerIdMapping));
    assert_eq!(fixture.transactions.verify(first, "t", 0), Err(ResponseError::InvalidProducerIdMapping));
}

/// Each fencing takes an epoch, too, and a producer may go on from there.
#[test]
fn epochs_do_not_run_out_by_fencing() {
    let mut fixture = fixture();
    let first = fixture.ready("a");
    let mut last = first;
    while last.0 == first.0 {
        assert!(last.1 < i16::MAX, "{last:?}");
        fixture.add("a", last, "t").unwrap();
        last = fixture.ready_as("a", Some(last)).unwrap();
    }
    assert_eq!(last.1, 0);
    fixture.add("a", last, "t").unwrap();
}

#[test]
fn producer_ids_are_never_given_twice() {
    let mut fixture = fixture();
    let mut given = BTreeSet::new();
    for round in 0..5 {
        for _ in 0..700 {
            assert!(given.insert(fixture.transactions.new_producer_id().unwrap()), "round {round}");
        }
        fixture.restart();
    }
}

#[test]
fn an_unknown_id_and_a_senseless_timeout_are_refused() {
    let mut fixture = fixture();
    assert_eq!(fixture.add("a", (0, 0), "t"), Err(ResponseError::InvalidProducerIdMapping));
    for timeout_ms in [-1, 0, TIMEOUT_MS_MAX + 1] {
        let refused = fixture.transactions.init("a", timeout_ms, None, 0);
        assert_eq!(refused, Err(ResponseError::InvalidTransactionTimeout));
    }
}

#[test]
fn ending_what_was_not_begun_is_refused() {
    let mut fixture = fixture();
    let producer = fixture.ready("a");
    assert_eq!(fixture.end("a", producer, Outcome::Commit), Err(ResponseError::InvalidTxnState));
}

#[test]
fn too_many_ids_push_out_the_one_that_was_idle_longest() {
    let mut fixture = fixture();
    fixture.transactions.limits.transactional_ids = 3;
    for (at, id) in ["open", "old", "new"].into_iter().enumerate() {
        drop(fixture.transactions.init(id, MINUTE, None, at as i64).unwrap());
    }
    let open = (fixture.transactions.get("open").unwrap().producer_id, 0);
    fixture.add("open", open, "t").unwrap();
    fixture.ready("further");
    let known: Vec<&String> = fixture.transactions.all().map(|(id, _)| id).collect();
    assert_eq!(known, ["further", "new", "open"]);
}
