//! The stream processor: topics → usage per subscriber and load per tower, exactly once.
//!
//! ```text
//! topics → member → message → keeper → store (sums and positions in one transaction)
//! ```

pub mod api;
mod http;
mod keeper;
pub mod message;
pub mod metrics;
mod patience;
mod python;
pub mod statement;
pub mod store;
pub mod tariff;
pub mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use self::keeper::{Flushed, Keeper};
use self::store::{Store, StoreConfig, StoreError};
use self::watch::Watcher;
use crate::delivery::board::Board;
use crate::delivery::sink::kafka::{
    Cluster, Heard, KafkaConfig, KafkaSinkError, Letters, Member, TopicPartition,
};

/// How long to wait for a message before the time and the wish to stop are looked at.
const WAIT: Duration = Duration::from_millis(50);

/// How long after its first message a batch is stored although more may come, when all that there
/// was is read.
const LULL: Duration = Duration::from_millis(100);

/// How often the ends of partitions that are read up to there are noted.
const SETTLE_EVERY: Duration = Duration::from_secs(30);

/// How often the ends of the topics are asked for, once all seems to be read.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What a processor needs to know.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    pub kafka: Arc<KafkaConfig>,
    pub group: String,
    pub topic_dead_letter: String,
    /// Messages in a batch, at most.
    pub batch_records: usize,
    /// How long the first message of a batch waits, at most.
    pub batch_open: Duration,
    /// Begin with the first message that is still there, where the next one is not.
    pub accept_loss: bool,
    /// End when all that there is has been read, rather than wait for more.
    pub until_end: bool,
}

/// Why a processor cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error(transparent)]
    Kafka(#[from] KafkaSinkError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "the usage store has read topic {topic}, partition {partition}, up to offset {next}, but the topic ends at {end}: \
         it was deleted and made anew, or emptied. Count anew with cdr process --restart, or into another store with \
         STORE_PATH or STORE_URL"
    )]
    Shrunk { topic: String, partition: i32, next: i64, end: i64 },
    #[error(
        "topic {topic}, partition {partition}, has lost the messages from offset {next} to before {first} to its \
         retention before they were counted. Go on without them with cdr process --accept-loss, or count anew what \
         is there with cdr process --restart"
    )]
    Lost { topic: String, partition: i32, next: i64, first: i64 },
}

/// Consumes the topics into a store until the board says stop, or with `until_end` until all is
/// read. Blocks; must be called in a thread of the runtime that may.
///
/// # Errors
/// Brokers or a store that are away for too long or refuse, and topics that are not those that the
/// store was filled from.
pub fn process(
    config: &ProcessConfig,
    store: Store,
    board: &Arc<Board>,
    watcher: &Arc<dyn Watcher>,
) -> Result<(), ProcessError> {
    let kafka = &config.kafka;
    let names = kafka.record_topics();
    let mut cluster = Cluster::new(kafka, board)?;
    // The others are made by who writes to them, with the settings that they need.
    cluster.ensure(&[&config.topic_dead_letter])?;
    let letters = Letters::new(kafka, &config.topic_dead_letter, board)?;
    let mut keeper = Keeper::new(
        store,
        letters,
        names.map(str::to_owned),
        board.clone(),
        watcher.clone(),
        kafka.give_up_after,
    );
    if let Some(id) = cluster.id()? {
        keeper.bind(&id)?;
    }
    for topic in cluster.missing(&names)? {
        warn!(
            "Topic {topic} does not exist; it is counted as soon as it does. cdr run makes it; TOPIC_DATA and \
             TOPIC_VOICE name it"
        );
    }
    keeper.bind_topics(&cluster.topic_ids(&names)?)?;
    let keeper = Arc::new(Mutex::new(keeper));
    let member = Member::join(kafka, &config.group, &names, board, keeper.clone())?;
    let now = Instant::now();
    let (told, settled, looked) = (now, now, now);
    let mut processor =
        Processor { config, cluster, member, keeper, board, watcher, told, settled, looked };
    let outcome = processor.run();
    processor.member.leave();
    outcome
}

/// Opens the store that is set, empties it on demand, and waits for one that is away.
///
/// # Errors
/// One that is away for too long, cannot be used, or was made by a newer version.
pub fn open(
    store: &StoreConfig,
    restart: bool,
    kafka: &KafkaConfig,
    board: &Board,
    watcher: &dyn Watcher,
) -> Result<Store, StoreError> {
    patience::persist(board, watcher, kafka.give_up_after, || {
        let mut store = Store::open(store)?;
        if restart {
            store.clear()?;
        }
        Ok(store)
    })
}

struct Processor<'a> {
    config: &'a ProcessConfig,
    cluster: Cluster,
    member: Member<Keeper>,
    keeper: Arc<Mutex<Keeper>>,
    board: &'a Board,
    watcher: &'a Arc<dyn Watcher>,
    /// When the lags were told.
    told: Instant,
    /// When the ends of partitions were noted.
    settled: Instant,
    /// When it was last looked whether all is read.
    looked: Instant,
}

impl Processor<'_> {
    fn run(&mut self) -> Result<(), ProcessError> {
        while !self.board.is_stopping() {
            let keeper = self.keeper.clone();
            let heard = self.member.hear(WAIT, |delivered| lock(&keeper).take(delivered))?;
            if lock(&self.keeper).was_assigned() {
                self.look_at_topics()?;
            }
            if lock(&self.keeper).is_off_course() {
                self.flush()?;
            }
            match heard {
                Heard::OutOfRange => self.out_of_range()?,
                Heard::Damaged(time, most) => {
                    warn!("Records came damaged; reading them again ({time} of {most})");
                    self.read_again()?;
                }
                Heard::Record if !self.is_due(false) => {}
                Heard::Record | Heard::Nothing => {
                    if self.is_due(matches!(heard, Heard::Nothing)) {
                        self.flush()?;
                    }
                    self.tell()?;
                    if self.config.until_end && self.is_at_end()? {
                        return Ok(());
                    }
                }
            }
        }
        self.flush()?;
        lock(&self.keeper).settle(&self.member.lags())
    }

    /// Whether the open batch is full, or has waited long enough.
    fn is_due(&self, nothing_came: bool) -> bool {
        let keeper = lock(&self.keeper);
        let (messages, since) = keeper.waiting();
        let longest = if nothing_came { LULL } else { self.config.batch_open };
        messages >= self.config.batch_records
            || keeper.is_heavy()
            || since.is_some_and(|since| since.elapsed() >= longest)
    }

    fn flush(&mut self) -> Result<(), ProcessError> {
        let mut keeper = lock(&self.keeper);
        if keeper.flush()? == Flushed::Overtaken {
            warn!("Another processor has counted these messages already; going on behind them");
        }
        let anew = keeper.positions_anew()?;
        let known = keeper.known();
        drop(keeper);
        if let Some(places) = anew {
            self.member.go_on_at(&places)?;
        }
        let read: Vec<_> = known.into_iter().filter(|(_, next)| next.is_some()).collect();
        if self.member.is_connected() {
            self.member.note(&read);
        }
        Ok(())
    }

    fn tell(&mut self) -> Result<(), ProcessError> {
        if self.told.elapsed() >= LULL {
            self.watcher.brokers_answer(self.member.is_connected());
            self.watcher.lags(&lock(&self.keeper).behind(self.member.lags()));
            self.told = Instant::now();
        }
        if self.settled.elapsed() >= SETTLE_EVERY {
            self.settled = Instant::now();
            lock(&self.keeper).settle(&self.member.lags())?;
            self.look_at_topics()?;
        }
        Ok(())
    }

    /// Fails when a topic is not the one that the store has read, though it may be as long. A topic
    /// that is deleted and made anew comes as new partitions, before any of its messages is stored,
    /// unless that goes faster than the client looks.
    fn check_topics(&mut self) -> Result<(), ProcessError> {
        let ids = self.cluster.topic_ids(&self.config.kafka.record_topics())?;
        lock(&self.keeper).bind_topics(&ids)
    }

    /// The same, unless brokers do not answer now: others may give records all the same.
    fn look_at_topics(&mut self) -> Result<(), ProcessError> {
        match self.cluster.topic_ids_if_any_answer(&self.config.kafka.record_topics())? {
            Some(ids) => lock(&self.keeper).bind_topics(&ids),
            None => Ok(()),
        }
    }

    /// Whether all that there is in both topics has been read, by whomever, and is stored.
    fn is_at_end(&mut self) -> Result<bool, ProcessError> {
        let (assigned, lags) = (self.member.assigned(), self.member.lags());
        let read = |partition: &TopicPartition| lags.get(partition).is_some_and(|lag| lag.end.is_some());
        if lock(&self.keeper).waiting().0 > 0 || !assigned.iter().all(read) {
            return Ok(false);
        }
        if self.looked.elapsed() < LOOK_EVERY {
            return Ok(false);
        }
        self.looked = Instant::now();
        lock(&self.keeper).settle(&lags)?;
        let positions = lock(&self.keeper).all_positions()?;
        for topic in self.config.kafka.record_topics() {
            // A topic that does not exist holds nothing.
            let ranges = self.cluster.committed_range(topic)?.unwrap_or_default();
            for ((first, end), partition) in ranges.iter().copied().zip(0..) {
                let next = positions.get(&(topic.to_owned(), partition)).copied().unwrap_or(first);
                if next < end {
                    return Ok(false);
                }
            }
            let end = |partition: i32| ranges.get(partition as usize).map_or(0, |&(_, end)| end);
            let of_topic = positions.iter().filter(|((of, _), _)| of == topic);
            for ((_, partition), &next) in of_topic {
                let (topic, partition, end) = (topic.to_owned(), *partition, end(*partition));
                if next > end {
                    self.check_topics()?;
                    return Err(ProcessError::Shrunk { topic, partition, next, end });
                }
            }
        }
        self.check_topics()?;
        Ok(true)
    }

    /// Goes back to the stored positions, since the client passes over what is damaged.
    fn read_again(&mut self) -> Result<(), ProcessError> {
        self.flush()?;
        let known = lock(&self.keeper).known();
        Ok(self.member.go_on_at(&known)?)
    }

    /// Finds the partition that has not, or no longer, what comes next.
    fn out_of_range(&mut self) -> Result<(), ProcessError> {
        self.flush()?;
        let known = lock(&self.keeper).known();
        let (mut places, mut found) = (Vec::new(), false);
        for (partition, next) in known {
            let Some(next) = next else {
                places.push((partition, None));
                continue;
            };
            let (first, end) = self.member.range(&partition)?;
            let (topic, partition) = partition;
            if next > end || next < first {
                found = true;
                self.check_topics()?;
            }
            if next > end {
                return Err(ProcessError::Shrunk { topic, partition, next, end });
            }
            if next < first && !self.config.accept_loss {
                return Err(ProcessError::Lost { topic, partition, next, first });
            }
            if next < first {
                let lost = first - next;
                warn!(
                    "Topic {topic}, partition {partition}: {lost} offsets are lost to retention; going on behind them"
                );
            }
            places.push(((topic, partition), Some(next.max(first))));
        }
        if !found {
            warn!("The brokers say that an offset is out of range, and then that it is not");
            self.member.out_of_range()?;
        }
        // The client reads on only where it is told to.
        Ok(self.member.go_on_at(&places)?)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
