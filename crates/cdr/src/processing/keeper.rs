//! Collects what messages tell, and stores it in batches together with how far they were read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cdr_model::Stream;
use tracing::debug;

use super::store::{Advance, Batch, Outcome, Partition, Store, StoreError};
use super::watch::Watcher;
use super::{message, patience};
use crate::delivery::board::Board;
use crate::delivery::sink::kafka::{Delivered, Duties, Lags, Letter, Letters, Place, TopicPartition};
use crate::processing::ProcessError;

/// Keys and values that wait to be sent to the dead letter topic, before they are.
const LETTER_BYTES_MAX: usize = 8 << 20;

/// A partition of a stream's topic.
type Slot = (Stream, i32);

/// Where batches go, and what is known of the positions there.
pub struct Keeper {
    store: Store,
    letters: Letters,
    topics: [String; 2],
    /// The stored positions of the partitions that are ours.
    known: BTreeMap<Slot, Option<i64>>,
    open: Open,
    board: Arc<Board>,
    watcher: Arc<dyn Watcher>,
    give_up_after: Duration,
    /// Why it cannot go on; found where it could not be told.
    failed: Option<ProcessError>,
    /// Whether positions have to be looked up anew.
    lost: bool,
    /// Whether partitions came since it was last asked.
    assigned: bool,
}

/// The batch that is being collected.
#[derive(Default)]
struct Open {
    batch: Batch,
    steps: BTreeMap<Slot, Step>,
    letters: Vec<Letter>,
    /// Of each letter: its stream, and a word for the reason.
    reasons: Vec<(Stream, &'static str)>,
    letter_bytes: usize,
    messages: usize,
    since: Option<Instant>,
}

#[derive(Clone, Copy, Default)]
struct Step {
    to: i64,
    counted: u64,
    dead: u64,
}

/// What became of an open batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// There was none, or it is stored.
    Stored,
    /// Somebody else has read these messages; the positions have to be looked up.
    Overtaken,
}

impl Keeper {
    pub fn new(
        store: Store,
        letters: Letters,
        topics: [String; 2],
        board: Arc<Board>,
        watcher: Arc<dyn Watcher>,
        give_up_after: Duration,
    ) -> Keeper {
        Keeper {
            store,
            letters,
            topics,
            known: BTreeMap::new(),
            open: Open::default(),
            board,
            watcher,
            give_up_after,
            failed: None,
            lost: false,
            assigned: false,
        }
    }

    /// Notes which cluster the store's positions belong to.
    ///
    /// # Errors
    /// A store that was filled from another one, is away for too long, or refuses.
    pub fn bind(&mut self, cluster: &str) -> Result<(), ProcessError> {
        self.persist(|store| store.bind(cluster))
    }

    /// Notes which topics the store's positions belong to, by their ids.
    ///
    /// # Errors
    /// A store that was filled from topics that are no more, is away for too long, or refuses.
    pub fn bind_topics(&mut self, topics: &BTreeMap<String, String>) -> Result<(), ProcessError> {
        self.persist(|store| store.bind_topics(topics))
    }

    /// Adds a message to the open batch.
    pub fn take(&mut self, delivered: Delivered<'_>) {
        if self.lost {
            // What comes now lies behind messages that have to be read again.
            return;
        }
        let Some(stream) = self.stream(delivered.topic) else { return };
        let slot = (stream, delivered.partition);
        // Messages that were on their way when the partition went to somebody else, or was read
        // again from another place.
        let Some(&stored) = self.known.get(&slot) else { return };
        let next = self.open.steps.get(&slot).map(|step| step.to).or(stored);
        if next.is_some_and(|next| delivered.offset < next) {
            return;
        }
        let step = self.open.steps.entry(slot).or_default();
        step.to = delivered.offset + 1;
        match message::read(stream, delivered.value) {
            Ok(interaction) => {
                step.counted += 1;
                self.open.batch.interactions.push(interaction);
            }
            Err(reason) => {
                step.dead += 1;
                self.open.reasons.push((stream, reason.kind()));
                self.open.letter_bytes += delivered.value.len() + delivered.key.map_or(0, <[u8]>::len);
                self.open.letters.push(letter(delivered, &reason));
            }
        }
        self.open.messages += 1;
        self.open.since.get_or_insert_with(Instant::now);
    }

    fn stream(&self, topic: &str) -> Option<Stream> {
        let known = self.topics.iter().zip(Stream::ALL).find(|(name, _)| *name == topic);
        known.map(|(_, stream)| stream)
    }

    /// Whether it has to be asked at once for positions, or why it cannot go on.
    pub fn is_off_course(&self) -> bool {
        self.lost || self.failed.is_some()
    }

    /// Whether partitions came since the last call.
    pub fn was_assigned(&mut self) -> bool {
        std::mem::take(&mut self.assigned)
    }

    /// How many messages wait, and since when.
    pub fn waiting(&self) -> (usize, Option<Instant>) {
        (self.open.messages, self.open.since)
    }

    /// Whether what waits takes so much memory that it has to be stored.
    pub fn is_heavy(&self) -> bool {
        self.open.letter_bytes >= LETTER_BYTES_MAX
    }

    /// Stores the open batch, and waits for a store that is away.
    ///
    /// # Errors
    /// A store or brokers that are away for too long, or that refuse. What was not stored has to be
    /// read again.
    pub fn flush(&mut self) -> Result<Flushed, ProcessError> {
        if let Some(error) = self.failed.take() {
            self.lost = true;
            return Err(error);
        }
        if self.open.steps.is_empty() {
            return Ok(Flushed::Stored);
        }
        let open = std::mem::take(&mut self.open);
        let flushed = self.store_batch(open);
        self.lost |= !matches!(flushed, Ok(Flushed::Stored));
        flushed
    }

    fn store_batch(&mut self, mut open: Open) -> Result<Flushed, ProcessError> {
        // Before the position passes them: a crash in between sends them again, and their headers
        // say that they are the same.
        self.letters.send(std::mem::take(&mut open.letters))?;
        let begun = Instant::now();
        if self.add(&mut open)? == Outcome::Overtaken {
            return Ok(Flushed::Overtaken);
        }
        let took = begun.elapsed();
        let counted = |stream| {
            let steps = open.steps.iter().filter(|((of, _), _)| *of == stream);
            steps.map(|(_, step)| step.counted).sum()
        };
        let whole = open.since.map_or(took, |since| since.elapsed());
        self.watcher.stored(Stream::ALL.map(counted), whole, took);
        open.reasons.iter().for_each(|(stream, reason)| self.watcher.dead(*stream, reason));
        Ok(Flushed::Stored)
    }

    /// With nothing open: notes that partitions are read up to their ends, behind the marks of
    /// transactions that follow the last records. Otherwise retention, which removes the marks too,
    /// would look as if it had removed records.
    ///
    /// # Errors
    /// As `flush`.
    pub fn settle(&mut self, lags: &Lags) -> Result<(), ProcessError> {
        if self.lost || self.failed.is_some() || !self.open.steps.is_empty() {
            return Ok(());
        }
        let mut open = Open::default();
        for ((topic, number), lag) in lags {
            let (Some(end), Some(stream)) = (lag.end, self.stream(topic)) else { continue };
            let slot = (stream, *number);
            if self.known.get(&slot).is_some_and(|known| known.unwrap_or(0) < end) {
                open.steps.insert(slot, Step { to: end, ..Step::default() });
            }
        }
        if open.steps.is_empty() {
            return Ok(());
        }
        self.lost |= self.add(&mut open)? == Outcome::Overtaken;
        Ok(())
    }

    /// Adds what is open to the store, and knows its positions then.
    fn add(&mut self, open: &mut Open) -> Result<Outcome, ProcessError> {
        open.batch.advances = self.advances(open);
        let mut in_doubt = false;
        let mut outcome = self.persist(|store| {
            let outcome = store.add(&mut open.batch);
            in_doubt |= outcome.is_err();
            outcome
        })?;
        if outcome == Outcome::Overtaken && in_doubt && self.is_stored(&open.batch.advances)? {
            // By the try before, whose answer was lost.
            outcome = Outcome::Stored;
        }
        if outcome == Outcome::Stored {
            self.known.extend(open.steps.iter().map(|(slot, step)| (*slot, Some(step.to))));
        }
        Ok(outcome)
    }

    /// Whether the stored positions are those behind a batch.
    fn is_stored(&mut self, advances: &[Advance]) -> Result<bool, ProcessError> {
        let positions = self.persist(Store::positions)?;
        Ok(advances.iter().all(|advance| {
            let at = positions.iter().find(|(partition, _)| *partition == advance.partition);
            at.is_some_and(|(_, position)| position.next == advance.to)
        }))
    }

    /// How far behind the store is: messages that wait here are not in it.
    pub fn behind(&self, mut lags: Lags) -> Lags {
        for ((stream, number), step) in &self.open.steps {
            if let Some(lag) = lags.get_mut(&(self.topics[*stream as usize].clone(), *number)) {
                lag.behind += i64::try_from(step.counted + step.dead).unwrap_or(i64::MAX);
            }
        }
        lags
    }

    /// The stored positions of all partitions, also of those that others read.
    ///
    /// # Errors
    /// A store that is away for too long, or refuses.
    pub fn all_positions(&mut self) -> Result<BTreeMap<TopicPartition, i64>, ProcessError> {
        let positions = self.persist(Store::positions)?;
        Ok(positions.into_iter().map(|(at, position)| ((at.topic, at.number), position.next)).collect())
    }

    fn advances(&self, open: &Open) -> Vec<Advance> {
        let steps = open.steps.iter().map(|(slot, step)| Advance {
            partition: Partition { topic: self.topics[slot.0 as usize].clone(), number: slot.1 },
            from: self.known.get(slot).copied().flatten(),
            to: step.to,
            counted: step.counted,
            dead: step.dead,
        });
        steps.collect()
    }

    /// Tries until the store is there again.
    fn persist<T>(
        &mut self,
        mut act: impl FnMut(&mut Store) -> Result<T, StoreError>,
    ) -> Result<T, ProcessError> {
        let Keeper { store, board, watcher, give_up_after, .. } = self;
        Ok(patience::persist(board, &**watcher, *give_up_after, || act(store))?)
    }

    /// The positions at which to go on, if some have turned out to be others.
    ///
    /// # Errors
    /// A store that is away for too long, or refuses.
    pub fn positions_anew(&mut self) -> Result<Option<Vec<Place>>, ProcessError> {
        if !std::mem::take(&mut self.lost) {
            return Ok(None);
        }
        let ours: Vec<_> = self.known.keys().copied().collect();
        self.look_up(&ours)?;
        Ok(Some(self.known()))
    }

    /// What is stored of our partitions.
    pub fn known(&self) -> Vec<Place> {
        let place = |(&(stream, partition), &next): (&Slot, &Option<i64>)| {
            ((self.topics[stream as usize].clone(), partition), next)
        };
        self.known.iter().map(place).collect()
    }

    /// Notes what is stored of these.
    fn look_up(&mut self, slots: &[Slot]) -> Result<(), ProcessError> {
        let positions = self.persist(Store::positions)?;
        for slot in slots {
            let topic = &self.topics[slot.0 as usize];
            let stored = positions.iter().find(|(at, _)| at.topic == *topic && at.number == slot.1);
            self.known.insert(*slot, stored.map(|(_, position)| position.next));
        }
        Ok(())
    }

    fn slots(&self, partitions: &[TopicPartition]) -> Vec<Slot> {
        let slot = |(topic, number): &TopicPartition| self.stream(topic).map(|stream| (stream, *number));
        partitions.iter().filter_map(slot).collect()
    }
}

impl Duties for Keeper {
    fn assigned(&mut self, partitions: &[TopicPartition]) -> Vec<Option<i64>> {
        let slots = self.slots(partitions);
        self.assigned = true;
        match self.look_up(&slots) {
            Ok(()) => self.watcher.assigned(),
            // It ends the processor; until then nothing is taken of partitions that are not known.
            Err(error) => self.failed = Some(error),
        }
        slots.iter().map(|slot| self.known.get(slot).copied().flatten()).collect()
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) {
        // Whoever reads them next begins where this batch ends, if it is stored in time; otherwise
        // one of the two is overtaken by the other, and nothing is counted twice.
        match self.flush() {
            Ok(Flushed::Stored) => {}
            Ok(Flushed::Overtaken) => debug!("others were faster with the partitions that go"),
            Err(error) => self.failed = Some(error),
        }
        for slot in self.slots(partitions) {
            self.known.remove(&slot);
        }
        partitions.iter().for_each(|partition| self.watcher.gone(partition));
    }
}

/// The message, with its origin and what is wrong with it.
fn letter(delivered: Delivered<'_>, reason: &message::Unusable) -> Letter {
    Letter {
        key: delivered.key.map(<[u8]>::to_vec),
        value: delivered.value.to_vec(),
        headers: vec![
            ("topic", delivered.topic.to_owned()),
            ("partition", delivered.partition.to_string()),
            ("offset", delivered.offset.to_string()),
            ("reason", reason.to_string()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::delivery::sink::kafka::{KafkaConfig, Lag, Timestamps};
    use crate::processing::store::StoreConfig;

    struct Nobody;

    impl Watcher for Nobody {
        fn stored(&self, _: [u64; 2], _: Duration, _: Duration) {}
        fn dead(&self, _: Stream, _: &'static str) {}
        fn lags(&self, _: &Lags) {}
        fn assigned(&self) {}
        fn store_answers(&self, _: bool) {}
        fn brokers_answer(&self, _: bool) {}
        fn gone(&self, _: &TopicPartition) {}
    }

    const VALUE: &[u8] = br#"{"msisdn":"27711903591","tower_id":1,"up_bytes":1,"down_bytes":1,"data_type":"text","event_datetime":"2024-01-01T00:03:20.170110"}"#;

    fn config() -> KafkaConfig {
        let second = Duration::from_secs(1);
        KafkaConfig {
            brokers: "127.0.0.1:9".to_owned(),
            topic_data: "d".to_owned(),
            topic_voice: "v".to_owned(),
            topic_progress: "p".to_owned(),
            partitions: 1,
            replication: None,
            compression: "none".to_owned(),
            timestamps: Timestamps::Send,
            transaction_records: 1,
            transaction_bytes: 1,
            transaction_open: second,
            transaction_timeout: second,
            give_up_after: second,
            properties: BTreeMap::new(),
        }
    }

    /// A keeper, and another connection to its store.
    fn keeper(folder: &tempfile::TempDir) -> (Keeper, Store) {
        let open = || Store::open(&StoreConfig::File(folder.path().join("usage.db"))).unwrap();
        let board = Arc::new(Board::default());
        let letters = Letters::new(&Arc::new(config()), "dead", &board).unwrap();
        let topics = ["d".to_owned(), "v".to_owned()];
        let give_up_after = Duration::from_secs(1);
        (Keeper::new(open(), letters, topics, board, Arc::new(Nobody), give_up_after), open())
    }

    fn take(keeper: &mut Keeper, partition: i32, offsets: std::ops::Range<i64>) {
        for offset in offsets {
            keeper.take(Delivered { topic: "d", partition, offset, key: None, value: VALUE });
        }
    }

    fn partition(number: i32) -> TopicPartition {
        ("d".to_owned(), number)
    }

    fn positions(store: &mut Store) -> Vec<(i64, u64)> {
        store
            .positions()
            .unwrap()
            .into_iter()
            .map(|(_, position)| (position.next, position.counted))
            .collect()
    }

    /// Somebody else counts messages of a partition.
    fn advance(store: &mut Store, number: i32, to: i64) {
        let partition = Partition { topic: "d".to_owned(), number };
        let advance = Advance { partition, from: None, to, counted: to as u64, dead: 0 };
        let mut batch = Batch { advances: vec![advance], interactions: Vec::new() };
        assert_eq!(store.add(&mut batch).unwrap(), Outcome::Stored);
    }

    #[test]
    fn messages_are_taken_from_the_stored_positions_on() {
        let folder = tempfile::tempdir().unwrap();
        let (mut keeper, mut store) = keeper(&folder);
        advance(&mut store, 1, 3);
        assert_eq!(keeper.assigned(&[partition(0), partition(1)]), [None, Some(3)]);
        take(&mut keeper, 0, 0..2);
        take(&mut keeper, 1, 0..5);
        take(&mut keeper, 2, 0..5);
        assert_eq!(keeper.waiting().0, 4, "those before the position, and of others, are passed over");
        assert_eq!(keeper.flush().unwrap(), Flushed::Stored);
        take(&mut keeper, 0, 1..3);
        assert_eq!(keeper.flush().unwrap(), Flushed::Stored);
        assert_eq!(positions(&mut store), [(3, 3), (5, 5)]);
    }

    #[test]
    fn a_batch_that_was_overtaken_in_one_partition_is_read_again_in_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let (mut keeper, mut store) = keeper(&folder);
        keeper.assigned(&[partition(0), partition(1)]);
        take(&mut keeper, 0, 0..5);
        take(&mut keeper, 1, 0..5);
        advance(&mut store, 0, 7);
        keeper.revoked(&[partition(0)]);
        assert!(keeper.is_off_course());
        take(&mut keeper, 1, 5..9);
        assert_eq!(keeper.flush().unwrap(), Flushed::Stored);
        assert_eq!(positions(&mut store), [(7, 7)], "what lies behind a gap is not counted");
        assert_eq!(keeper.positions_anew().unwrap(), Some(vec![(partition(1), None)]));
        assert!(!keeper.is_off_course());
        take(&mut keeper, 1, 0..9);
        assert_eq!(keeper.flush().unwrap(), Flushed::Stored);
        assert_eq!(positions(&mut store), [(7, 7), (9, 9)]);
    }

    #[test]
    fn a_batch_whose_commit_was_not_answered_is_not_counted_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut keeper, mut store) = keeper(&folder);
        keeper.assigned(&[partition(0)]);
        take(&mut keeper, 0, 0..5);
        // As its own first try, of which it heard no end.
        advance(&mut store, 0, 5);
        assert_eq!(keeper.flush().unwrap(), Flushed::Overtaken);
        assert_eq!(keeper.positions_anew().unwrap(), Some(vec![(partition(0), Some(5))]));
        take(&mut keeper, 0, 4..6);
        assert_eq!(keeper.flush().unwrap(), Flushed::Stored);
        assert_eq!(positions(&mut store), [(6, 6)]);
    }

    #[test]
    fn what_is_read_to_its_end_is_noted_behind_the_marks_of_transactions() {
        let folder = tempfile::tempdir().unwrap();
        let (mut keeper, mut store) = keeper(&folder);
        keeper.assigned(&[partition(0), partition(1)]);
        take(&mut keeper, 0, 0..5);
        let lags =
            |end| Lags::from([0, 1, 2].map(|at| (partition(at), Lag { behind: 0, end: Some(end) })));
        keeper.settle(&lags(6)).unwrap();
        assert_eq!(positions(&mut store), [], "not while something is open");
        assert_eq!(keeper.flush().unwrap(), Flushed::Stored);
        keeper.settle(&lags(6)).unwrap();
        keeper.settle(&lags(4)).unwrap();
        assert_eq!(positions(&mut store), [(6, 5), (6, 0)], "ours, and never back");
        take(&mut keeper, 0, 5..8);
        assert_eq!(keeper.flush().unwrap(), Flushed::Stored);
        assert_eq!(positions(&mut store), [(8, 7), (6, 0)]);
    }
}
