//! Transactions over several partitions and a group, across crashes between their steps.

use proptest::prelude::*;

use super::*;
use crate::kafka::batch::testing::batch;
use crate::kafka::batch::{BatchHeader, Outcome};
use crate::kafka::groups::Committed;
use crate::kafka::groups::group::Caller;
use crate::kafka::partition::model_tests::read_all;
use crate::kafka::topic_config::Overrides;
use crate::kafka::topics::NewTopic;
use crate::kafka::transactions::Init;

const TOPICS: [&str; 2] = ["a", "b"];

const TIMEOUT_MS: i32 = 60_000;

/// Where the broker ends without notice.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Crash {
    Never,
    /// The transaction is open.
    BeforeDecision,
    /// No marker is written yet.
    AfterDecision,
    /// One partition has its marker.
    BetweenMarkers,
    /// All markers are written, but not that they are.
    BeforeCompletion,
}

struct Fixture {
    dir: tempfile::TempDir,
    core: Option<Core>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let core = Core::open(Config::new(dir.path())).unwrap();
        for name in TOPICS {
            let new = NewTopic { name: name.to_owned(), partitions: 1, config: Overrides::new() };
            core.topics.create(new, 0).unwrap();
        }
        Fixture { dir, core: Some(core) }
    }

    fn core(&self) -> &Core {
        self.core.as_ref().unwrap()
    }

    fn crash(&mut self) {
        // The folder is free again before the next broker comes.
        self.core = None;
        self.core = Some(Core::open(Config::new(self.dir.path())).unwrap());
    }

    fn init(&self) -> (i64, i16) {
        loop {
            let init = self.core().transactions().init("id", TIMEOUT_MS, None, 0).unwrap();
            match init {
                Init::Ready { producer_id, epoch } => return (producer_id, epoch),
                Init::AbortFirst(ending) => self.core().carry_out(&ending).unwrap(),
            }
        }
    }

    /// Writes a record to each partition, and an offset of a group, in a transaction.
    fn write(&self, producer: (i64, i16), offset: i64) -> [i64; 2] {
        let core = self.core();
        let partitions = TOPICS.map(|name| (name.to_owned(), 0));
        core.transactions().add("id", producer, partitions, ["g".to_owned()], 0).unwrap();
        let nobody = Caller { member_id: "", instance_id: None, generation: -1 };
        let committed = Committed { offset, leader_epoch: 0, metadata: None };
        let offsets = vec![(("t".to_owned(), 0), committed)];
        let verify = || core.transactions().verify_group(producer, "g");
        core.groups().commit_in_transaction("g", nobody, producer.0, offsets, verify).unwrap();
        TOPICS.map(|name| {
            let (topic, partition) = core.topics.partition(name, 0).unwrap();
            let bytes =
                batch(&[("key", Some("value"))]).in_transaction(producer.0, producer.1, 0).bytes();
            let header = BatchHeader::check(&bytes).unwrap();
            let verify = || core.transactions().verify(producer, name, 0);
            partition.produce(&header, &bytes, &topic.effective().retention, 0, verify).unwrap().0
        })
    }

    fn end(&mut self, producer: (i64, i16), outcome: Outcome, crash: Crash) {
        if crash == Crash::BeforeDecision {
            return self.crash();
        }
        let ending = self.core().transactions().end("id", producer, outcome, 0).unwrap().unwrap();
        let marked = match crash {
            Crash::BetweenMarkers => 1,
            Crash::BeforeCompletion => 2,
            _ => 0,
        };
        for name in &TOPICS[..marked] {
            let (topic, partition) = self.core().topics.partition(name, 0).unwrap();
            let retention = topic.effective().retention;
            partition.end_transaction(ending.producer, ending.outcome, &retention, 0).unwrap();
        }
        match crash {
            Crash::Never => self.core().carry_out(&ending).unwrap(),
            _ => self.crash(),
        }
    }

    fn visible(&self, topic: &str) -> Vec<i64> {
        let (_, partition) = self.core().topics.partition(topic, 0).unwrap();
        read_all(&partition, 0, true, 1 << 20)
    }

    fn group_offset(&self) -> Option<i64> {
        let groups = self.core().groups();
        let (committed, pending) = groups.committed("g", &("t".to_owned(), 0));
        assert!(!pending);
        committed.map(|committed| committed.offset)
    }
}

fn crashes() -> impl Strategy<Value = Crash> {
    prop_oneof![
        Just(Crash::Never),
        Just(Crash::BeforeDecision),
        Just(Crash::AfterDecision),
        Just(Crash::BetweenMarkers),
        Just(Crash::BeforeCompletion),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_transaction_counts_everywhere_or_nowhere(
        transactions in prop::collection::vec((any::<bool>(), crashes()), 1..8),
    ) {
        let mut fixture = Fixture::new();
        let (mut expected, mut expected_group) = ([vec![], vec![]], None);
        for (number, &(commit, crash)) in transactions.iter().enumerate() {
            let producer = fixture.init();
            let offsets = fixture.write(producer, number as i64);
            let outcome = if commit { Outcome::Commit } else { Outcome::Abort };
            fixture.end(producer, outcome, crash);
            if commit && crash != Crash::BeforeDecision {
                expected_group = Some(number as i64);
                for (expected, offset) in expected.iter_mut().zip(offsets) {
                    expected.push(offset);
                }
            }
        }
        // What was left open is aborted.
        fixture.init();
        for (topic, expected) in TOPICS.iter().zip(expected) {
            prop_assert_eq!(fixture.visible(topic), expected);
            let offsets = fixture.core().topics.partition(topic, 0).unwrap().1.offsets();
            let end = 2 * transactions.len() as i64;
            prop_assert_eq!((offsets.stable, offsets.end), (end, end), "a record and one marker each");
        }
        prop_assert_eq!(fixture.group_offset(), expected_group);
    }
}

#[test]
fn a_producer_that_was_fenced_writes_nothing_more() {
    let fixture = Fixture::new();
    let old = fixture.init();
    fixture.write(old, 1);
    let new = fixture.init();
    assert_ne!(old, new);
    let core = fixture.core();
    let verify = core.transactions().verify(old, "a", 0);
    assert_eq!(verify, Err(ResponseError::InvalidProducerEpoch));
    let (topic, partition) = core.topics.partition("a", 0).unwrap();
    let bytes = batch(&[("key", None)]).in_transaction(old.0, old.1, 1).bytes();
    let header = BatchHeader::check(&bytes).unwrap();
    // Also where nobody queries the coordinator: the marker has fenced it.
    let late = partition.produce(&header, &bytes, &topic.effective().retention, 0, || Ok(()));
    assert_eq!(late, Err(ResponseError::InvalidProducerEpoch));
    assert!(fixture.visible("a").is_empty());
}

#[test]
fn after_an_end_in_good_order_checksums_are_not_compared_and_after_a_crash_they_are() {
    let mut fixture = Fixture::new();
    let producer = fixture.init();
    fixture.write(producer, 1);
    fixture.end(producer, Outcome::Commit, Crash::Never);
    let clean = fixture.dir.path().join(CLEAN_FILE);
    assert!(!clean.exists());
    fixture.core().close();
    fixture.core = None;
    assert!(clean.exists());
    fixture.crash();
    assert!(!clean.exists(), "it holds for one start");
    assert_eq!(fixture.visible("a"), [0]);
}

#[test]
fn a_topic_that_is_gone_does_not_hold_up_the_end_of_a_transaction() {
    let mut fixture = Fixture::new();
    let producer = fixture.init();
    fixture.write(producer, 1);
    fixture.core().topics.delete("a").unwrap();
    fixture.end(producer, Outcome::Commit, Crash::Never);
    assert_eq!(fixture.visible("b"), [0]);
    assert_eq!(fixture.group_offset(), Some(1));
}
