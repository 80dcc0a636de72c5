//! The Kafka sink: records and the progress that counts them, in one transaction.

mod blocks;
mod cluster;
mod config;
mod deliver;
mod error;
mod health;
mod letters;
mod member;
mod native;
mod placement;
pub mod property;
mod reader;
mod retire;
mod rights;
mod session;
mod stride;

use std::sync::Arc;
use std::time::Duration;

use cdr_model::progress::{ByPartition, Cursors, Parameters, Places, Progress};
use cdr_model::resume::{Destination, topic_lost};
use cdr_model::{Shard, Stream};

pub use blocks::{Blocks, Limits, next_time};
pub use cluster::Cluster;
pub use config::{KafkaConfig, Timestamps};
pub use deliver::Delivery;
pub use error::KafkaSinkError;
pub use letters::{Letter, Letters};
pub use member::{Delivered, Duties, Heard, Lag, Lags, Member, Place, TopicPartition};
pub use native::Batch;
pub use placement::partition;
pub use reader::{Reader, Seen, Span};
pub use rights::Right;

use self::cluster::Undecided;
use self::session::{Session, Trouble};
use super::super::board::Board;

/// After which a new leader has heard from its followers.
const LEADER_SETTLES: Duration = Duration::from_secs(2);

/// Names a run and its shard, as its transactional id and as the key of its progress.
#[derive(Clone, Debug)]
pub struct RunId {
    pub name: String,
    pub shard: Shard,
}

impl RunId {
    /// Two processes with the same id fence each other: `cdr`, or `cdr-2-of-8` for a shard.
    pub fn transactional_id(&self) -> String {
        match self.shard.is_whole() {
            true => self.name.clone(),
            false => format!("{}-{}", self.name, self.shard.to_string().replace('/', "-of-")),
        }
    }

    /// The key of the progress record: `cdr/1-of-1`.
    pub fn progress_key(&self) -> String {
        format!("{}/{}", self.name, self.shard.to_string().replace('/', "-of-"))
    }

    /// The run that a progress record's key names.
    fn run_of(key: &[u8]) -> Option<&str> {
        std::str::from_utf8(key).ok()?.rsplit_once('/').map(|(name, _)| name)
    }

    /// The same run split otherwise, if the key is of one: its records would be doubled.
    fn other_split(&self, key: &[u8]) -> Option<String> {
        let key = std::str::from_utf8(key).ok()?;
        let (name, split) = key.rsplit_once('/')?;
        let shard: Shard = split.replace("-of-", "/").parse().ok()?;
        (name == self.name && shard.count() != self.shard.count()).then(|| shard.to_string())
    }
}

/// A connection that has only looked.
pub struct Lookout {
    config: Arc<KafkaConfig>,
    id: RunId,
    board: Arc<Board>,
    cluster: Cluster,
}

impl Lookout {
    /// Connects, and reads what the run has committed, while another process of it may be at work.
    ///
    /// Blocks, and must be called on a blocking thread of a tokio runtime.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn open(
        config: KafkaConfig,
        id: RunId,
        board: Arc<Board>,
    ) -> Result<(Lookout, Destination), KafkaSinkError> {
        let config = Arc::new(config);
        let mut cluster = Cluster::new(&config, &board)?;
        let destination = cluster.destination(&id, Undecided::Leave)?;
        Ok((Lookout { config, id, board, cluster }, destination))
    }

    /// Fences any older process of this run, and then reads what that had committed. Blocks, as
    /// `open` does.
    ///
    /// # Errors
    /// As `open`.
    pub fn claim(self) -> Result<(Claim, Destination), KafkaSinkError> {
        let Lookout { config, id, board, cluster } = self;
        let session = Session::open(&config, &id.transactional_id(), &board)?;
        let mut claim = Claim { config, id, board, cluster, session };
        let destination = claim.destination()?;
        Ok((claim, destination))
    }
}

/// A connection that holds the run's transactional id, and has changed nothing else yet.
pub struct Claim {
    config: Arc<KafkaConfig>,
    id: RunId,
    board: Arc<Board>,
    cluster: Cluster,
    session: Session,
}

impl Claim {
    fn destination(&mut self) -> Result<Destination, KafkaSinkError> {
        self.cluster.destination(&self.id, Undecided::Wait)
    }

    /// Creates the topics that are missing, so that the run can go on. Blocks, as all that connects.
    ///
    /// # Errors
    /// As [`Lookout::open`].
    pub fn prepare(mut self) -> Result<Connection, KafkaSinkError> {
        let partitions = self.cluster.ensure_topics()?;
        Ok(Connection { claim: self, partitions })
    }
}

/// A connection that records can be sent over.
pub struct Connection {
    claim: Claim,
    /// Partitions of the data topic and of the voice topic.
    partitions: [usize; 2],
}

impl Connection {
    /// The progress of a run that begins now, at these cursors, behind what the topics already hold.
    pub fn new_progress(
        &self,
        parameters: Parameters,
        places: Places,
        found: &Destination,
        cursors: Cursors,
        begun_ms: i64,
    ) -> Progress {
        let none = |stream: Stream| vec![0; self.partitions[stream as usize]];
        let by_topic = |of: &dyn Fn(Stream, &str) -> ByPartition| {
            let topic = |stream| (stream, self.claim.config.topic(stream));
            let topics = Stream::ALL.into_iter().map(topic);
            topics.map(|(stream, topic)| (topic.to_owned(), of(stream, topic))).collect()
        };
        // A topic that did not exist then has been made since, and begins with its first record.
        let ends = |stream, topic: &str| {
            let found = found.end_offsets.iter().find(|(name, _)| name == topic);
            found.and_then(|(_, ends)| ends.clone()).unwrap_or_else(|| none(stream))
        };
        Progress {
            version: cdr_model::progress::PROGRESS_VERSION,
            run: self.claim.id.name.clone(),
            shard: self.claim.id.shard.to_string(),
            begun_ms,
            parameters,
            places,
            cursors,
            begin: cursors.kafka.unwrap_or_default(),
            begin_offsets: by_topic(&ends),
            delivered: by_topic(&|stream, _| none(stream)),
            finished: false,
        }
    }

    /// The progress record as it stands in the topic.
    fn recorded(&mut self) -> Result<Option<Progress>, KafkaSinkError> {
        Ok(self.claim.cluster.last_progress(&self.claim.id, Undecided::Wait)?.progress)
    }

    /// Makes a new producer after the old one broke, and tells what is committed then.
    fn reopen(&mut self) -> Result<Destination, KafkaSinkError> {
        let Claim { config, id, board, .. } = &self.claim;
        let session = Session::open(config, &id.transactional_id(), board)?;
        std::mem::replace(&mut self.claim.session, session).retire();
        self.claim.destination()
    }

    /// Fails if a record topic does not hold any more what was delivered to it. The client does not
    /// notice when one is deleted and another made in its place.
    fn check_topics(&mut self, progress: &Progress) -> Result<(), KafkaSinkError> {
        if topic_lost(progress, &self.claim.cluster.record_ends()?).is_none() {
            return Ok(());
        }
        // A broker that has just become the leader may not know yet how far its partition goes.
        health::pause(LEADER_SETTLES);
        let lost = topic_lost(progress, &self.claim.cluster.record_ends()?);
        lost.map_or(Ok(()), |conflict| Err(conflict.into()))
    }

    /// Ends it.
    fn close(self) {
        self.claim.session.retire();
    }
}
