//! What the sink asks of the cluster before it sends: topics, offsets, the last progress record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cdr_model::progress::{ByPartition, Progress};
use cdr_model::resume::Conflict;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Message, Offset, TopicPartitionList};
use tracing::{debug, info};

use super::RunId;
use super::config::{KafkaConfig, Timestamps};
use super::error::{Failure, KafkaSinkError, Remedy, remedy};
use super::health::{Health, Patience, Watch, pause};
use super::session::failure;
use crate::delivery::board::Board;

/// How long one call may block before we look at the time and at the wish to stop.
const CALL: Duration = Duration::from_secs(2);

/// Events of a client that are looked at after a failure; there are a few for each broker.
const HEARD_AT_ONCE: usize = 32;

/// Progress records that are read first; more only if the run's own is not among them.
const TAIL_RECORDS: i64 = 500;

/// A connection for questions.
pub(super) struct Cluster {
    config: Arc<KafkaConfig>,
    /// Sees what is committed; its "end offset" is the last stable one.
    committed: BaseConsumer<Watch>,
    /// Sees everything; its end offset is the real one.
    everything: BaseConsumer<Watch>,
    health: Arc<Health>,
    patience: Patience,
}

impl Cluster {
    pub fn new(config: &Arc<KafkaConfig>, board: &Arc<Board>) -> Result<Self, KafkaSinkError> {
        let health = Arc::new(Health::new(&config.brokers));
        let consumer = |isolation| {
            let created = config.consumer(isolation).create_with_context(Watch(health.clone()));
            created.map_err(|error| KafkaSinkError::Property(error.to_string()))
        };
        Ok(Cluster {
            committed: consumer("read_committed")?,
            everything: consumer("read_uncommitted")?,
            patience: Patience::new(health.clone(), board.clone(), config.give_up_after),
            health,
            config: config.clone(),
        })
    }

    /// Partitions of each topic, by name; `None` where the topic does not exist.
    fn partitions(&mut self, topics: &[&str]) -> Result<Vec<Option<usize>>, KafkaSinkError> {
        let metadata =
            self.ask("for the list of topics", |cluster| cluster.everything.fetch_metadata(None, CALL))?;
        let topic = |name: &&str| metadata.topics().iter().find(|topic| topic.name() == *name);
        let count = |name| topic(name).map(|topic| topic.partitions().len()).filter(|&n| n > 0);
        Ok(topics.iter().map(count).collect())
    }

    fn brokers(&mut self) -> Result<usize, KafkaSinkError> {
        let metadata = self
            .ask("for the list of brokers", |cluster| cluster.everything.fetch_metadata(None, CALL))?;
        Ok(metadata.brokers().len())
    }

    /// The end offsets of a topic's partitions; `None` if it does not exist.
    pub fn end_offsets(&mut self, topic: &str) -> Result<Option<ByPartition>, KafkaSinkError> {
        let watermarks = self.watermarks(topic, |cluster| &cluster.everything)?;
        Ok(watermarks.map(|partitions| partitions.into_iter().map(|(_, end)| end).collect()))
    }

    /// Where a reader of committed records finds the first and the last of each partition; `None` if
    /// the topic does not exist.
    pub fn committed_range(&mut self, topic: &str) -> Result<Option<Vec<(i64, i64)>>, KafkaSinkError> {
        self.watermarks(topic, |cluster| &cluster.committed)
    }

    fn watermarks(
        &mut self,
        topic: &str,
        consumer: impl Fn(&Cluster) -> &BaseConsumer<Watch>,
    ) -> Result<Option<Vec<(i64, i64)>>, KafkaSinkError> {
        let Some(partitions) = self.partitions(&[topic])?[0] else { return Ok(None) };
        let watermarks = (0..partitions as i32).map(|partition| {
            self.ask("for end offsets", |cluster| {
                consumer(cluster).fetch_watermarks(topic, partition, CALL)
            })
        });
        watermarks.collect::<Result<_, _>>().map(Some)
    }

    /// Returns as soon as brokers answer.
    pub fn reach(&mut self) -> Result<(), KafkaSinkError> {
        self.partitions(&[]).map(drop)
    }

    /// Creates the topics that do not exist; returns the partitions of the data and voice topics.
    pub fn ensure_topics(&mut self) -> Result<[usize; 2], KafkaSinkError> {
        let config = self.config.clone();
        let names = [&*config.topic_data, &*config.topic_voice, &*config.topic_progress];
        let mut waited = 0;
        loop {
            let found = self.partitions(&names)?;
            let missing: Vec<&str> =
                names.iter().zip(&found).filter(|(_, n)| n.is_none()).map(|(name, _)| *name).collect();
            match found[..] {
                [Some(data), Some(voice), Some(_)] => return Ok([data, voice]),
                // A topic that was just made takes a moment to reach every broker.
                _ if waited % 20 == 0 => self.create(&missing)?,
                _ => self.patience.failure("new topics are not known to all brokers yet")?,
            }
            pause(Duration::from_millis(50 * waited.min(10)));
            waited += 1;
        }
    }

    fn create(&mut self, topics: &[&str]) -> Result<(), KafkaSinkError> {
        let config = self.config.clone();
        let replicas = match config.replication {
            Some(replicas) => replicas as usize,
            None => self.brokers()?.min(3),
        };
        let new: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|&name| new_topic(&config, name, TopicReplication::Fixed(replicas as i32)))
            .collect();
        let admin: AdminClient<Watch> = config
            .client(&[])
            .create_with_context(Watch(self.health.clone()))
            .map_err(|error: KafkaError| KafkaSinkError::Property(error.to_string()))?;
        let options = AdminOptions::new().operation_timeout(Some(CALL)).request_timeout(Some(CALL * 5));
        let created = tokio::runtime::Handle::current().block_on(admin.create_topics(&new, &options));
        let results = match created {
            Ok(results) => results,
            // The topics are asked for again, and created again if they are still missing.
            Err(error) if remedy(failure(&error)) == Remedy::Retry => {
                return self.patience.failure(&error.to_string());
            }
            Err(error) => return Err(self.refused("to create topics", &error)),
        };
        for result in results {
            match result {
                Ok(name) => info!("Created topic {name} (replication {replicas})"),
                // Another shard of the run may have been faster.
                Err((_, Code::TopicAlreadyExists)) => {}
                Err((_, code)) if remedy(Failure::plain(code)) == Remedy::Retry => {
                    self.patience.failure(&code.to_string())?;
                }
                Err((name, code)) => {
                    let error = KafkaError::AdminOp(code);
                    return Err(self.refused(&format!("to create topic {name}"), &error));
                }
            }
        }
        Ok(())
    }

    /// The last committed progress record of a run and shard.
    pub fn last_progress(&mut self, id: &RunId) -> Result<Recorded, KafkaSinkError> {
        let topic = self.config.topic_progress.clone();
        if self.partitions(&[&topic])?[0].is_none() {
            return Ok(Recorded::default());
        }
        let watermarks = |of: &BaseConsumer<Watch>| of.fetch_watermarks(&topic, 0, CALL);
        let (low, end) = self.ask("for the progress", |cluster| watermarks(&cluster.everything))?;
        // Records of ours may lie behind another shard's open transaction, where a reader of
        // committed records cannot see them yet. Such a transaction ends within its timeout.
        while self.ask("for the progress", |cluster| watermarks(&cluster.committed))?.1 < end {
            self.patience.failure("another shard's transaction is open")?;
            pause(Duration::from_millis(50));
        }
        let (key, mut tail) = (id.progress_key(), TAIL_RECORDS);
        loop {
            let begin = low.max(end - tail);
            let mut found = Found::default();
            self.read_progress(&topic, begin, end, |found_key, offset, value| {
                if found_key == key.as_bytes() {
                    found.own = Some((offset, value.to_vec()));
                } else if let Some(split) = id.other_split(found_key) {
                    found.other_split = Some(split);
                }
            })?;
            if found.own.is_some() || begin <= low {
                let own = found.own.map(|(offset, value)| parse(&topic, offset, &value));
                let other_split = found.other_split;
                return Ok(match own {
                    None => Recorded { other_split, ..Recorded::default() },
                    Some(Ok(progress)) => Recorded { progress: Some(progress), ..Recorded::default() },
                    Some(Err(why)) => Recorded { unreadable: Some(why), ..Recorded::default() },
                });
            }
            tail *= 8;
        }
    }

    /// The last committed progress records of all shards of a run, of any split.
    pub fn progress_of_run(&mut self, run: &str) -> Result<Vec<Progress>, KafkaSinkError> {
        let topic = self.config.topic_progress.clone();
        if self.partitions(&[&topic])?[0].is_none() {
            return Ok(Vec::new());
        }
        let (low, end) =
            self.ask("for the progress", |cluster| cluster.committed.fetch_watermarks(&topic, 0, CALL))?;
        let mut found = BTreeMap::new();
        self.read_progress(&topic, low, end, |key, offset, value| {
            if RunId::run_of(key) == Some(run) {
                found.insert(key.to_vec(), (offset, value.to_vec()));
            }
        })?;
        let read = |(offset, value): (i64, Vec<u8>)| {
            parse(&topic, offset, &value).map_err(|why| Conflict::ProgressUnreadable(why).into())
        };
        found.into_values().map(read).collect()
    }

    fn read_progress(
        &mut self,
        topic: &str,
        begin: i64,
        end: i64,
        mut each: impl FnMut(&[u8], i64, &[u8]),
    ) -> Result<(), KafkaSinkError> {
        if begin >= end {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(begin))
            .and_then(|()| self.committed.assign(&list))
            .map_err(|error| self.refused("to read the progress", &error))?;
        loop {
            match self.committed.poll(CALL) {
                Some(Ok(message)) => each(
                    message.key().unwrap_or_default(),
                    message.offset(),
                    message.payload().unwrap_or_default(),
                ),
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) if remedy(failure(&error)) != Remedy::Retry => {
                    return Err(self.refused("to read the progress", &error));
                }
                Some(Err(error)) => self.patience.failure(&error.to_string())?,
                None => self.patience.failure("the progress record is not delivered")?,
            }
        }
        self.patience.success();
        // Unassigning cannot fail in a way that matters: the next reading assigns again.
        drop(self.committed.unassign());
        debug!("read progress records {begin} to {end} of {topic}");
        Ok(())
    }

    /// Asks until there is an answer, as long as waiting makes sense.
    fn ask<T>(
        &mut self,
        action: &str,
        call: impl Fn(&Cluster) -> Result<T, KafkaError>,
    ) -> Result<T, KafkaSinkError> {
        loop {
            match call(self) {
                Ok(answer) => {
                    self.patience.success();
                    return Ok(answer);
                }
                Err(error) if remedy(failure(&error)) == Remedy::Retry => {
                    self.hear();
                    self.patience.failure(&error.to_string())?;
                    pause(Duration::from_millis(100));
                }
                Err(error) => return Err(self.refused(action, &error)),
            }
        }
    }

    /// Lets the clients tell why: their reasons wait in a queue until somebody polls.
    fn hear(&self) {
        for client in [&self.everything, &self.committed] {
            for _ in 0..HEARD_AT_ONCE {
                drop(client.poll(Duration::ZERO));
            }
        }
    }

    fn refused(&self, action: &str, error: &KafkaError) -> KafkaSinkError {
        let (brokers, action) = (self.config.brokers.clone(), action.to_owned());
        let reason = error.to_string();
        match remedy(failure(error)) {
            Remedy::Unauthorized => KafkaSinkError::Unauthorized { brokers, action, reason },
            _ => KafkaSinkError::Rejected { brokers, action, reason },
        }
    }
}

/// What a reading of the progress topic found.
#[derive(Default)]
struct Found {
    /// Offset and value of the run's own latest record.
    own: Option<(i64, Vec<u8>)>,
    other_split: Option<String>,
}

/// What the progress topic records of a run and shard.
#[derive(Default)]
pub(super) struct Recorded {
    pub progress: Option<Progress>,
    /// Where and why the record cannot be read.
    pub unreadable: Option<String>,
    /// Without a record: another split under which the run has one.
    pub other_split: Option<String>,
}

fn parse(topic: &str, offset: i64, value: &[u8]) -> Result<Progress, String> {
    serde_json::from_slice(value).map_err(|error| format!("topic {topic}, offset {offset}: {error}"))
}

fn new_topic<'a>(
    config: &'a KafkaConfig,
    name: &'a str,
    replication: TopicReplication<'a>,
) -> NewTopic<'a> {
    if name == config.topic_progress {
        // An hour's segments keep the compacted topic, and so the start of a run, short.
        return NewTopic::new(name, 1, replication)
            .set("cleanup.policy", "compact")
            .set("segment.ms", "3600000");
    }
    let topic = NewTopic::new(name, config.partitions as i32, replication);
    match config.timestamps {
        // With event times of years ago as timestamps, retention by time would delete all at once.
        Timestamps::Event => topic.set("retention.ms", "-1"),
        Timestamps::Send => topic,
    }
}
