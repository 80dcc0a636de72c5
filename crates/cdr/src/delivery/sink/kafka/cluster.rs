//! What the sink asks of the cluster before it sends: topics, offsets, the last progress record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cdr_model::Stream;
use cdr_model::progress::{ByPartition, Progress};
use cdr_model::resume::{Conflict, Destination, EndOffsets};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Message, Offset, TopicPartitionList};
use tracing::{debug, info, warn};

use super::RunId;
use super::config::{KafkaConfig, Timestamps};
use super::error::{Failure, KafkaSinkError, Remedy, remedy};
use super::health::{Health, Patience, Watch, pause};
use super::native;
use super::rights::Right;
use super::session::failure;
use crate::delivery::board::Board;

/// How long one call may block before we look at the time and at the wish to stop.
const CALL: Duration = Duration::from_secs(2);

/// Events of a client that are looked at after a failure; there are a few for each broker.
const HEARD_AT_ONCE: usize = 32;

/// Longer than a transaction of a run at work is open, and than its records take to become visible.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// Progress records that are read first; more only if the run's own is not among them.
const TAIL_RECORDS: i64 = 500;

/// What brokers refuse when they tell no ids.
const TELL_IDS: &str = "to tell the ids of topics";

fn describe(topics: &[&str]) -> Right {
    Right::on_topics("Describe", topics.iter().map(|&topic| topic.to_owned()).collect())
}

/// A connection for questions.
pub struct Cluster {
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

    /// Partitions of a topic; `None` if it does not exist.
    ///
    /// Asks for it by its name, since a list of all topics leaves out those that the login may not
    /// see.
    fn partitions(&mut self, topic: &str) -> Result<Option<usize>, KafkaSinkError> {
        let action = format!("to describe topic {topic}");
        self.ask(&action, Right::on_topic("Describe", topic), |cluster, longest| {
            let metadata = cluster.everything.fetch_metadata(Some(topic), longest)?;
            let Some(found) = metadata.topics().first() else { return Ok(None) };
            match found.error().map(Code::from) {
                None => Ok(Some(found.partitions().len()).filter(|&partitions| partitions > 0)),
                Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(None),
                Some(code) => Err(KafkaError::MetadataFetch(code)),
            }
        })
    }

    /// Those of some topics that do not exist.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn missing<'a>(&mut self, topics: &[&'a str]) -> Result<Vec<&'a str>, KafkaSinkError> {
        let mut missing = Vec::new();
        for topic in topics {
            if self.partitions(topic)?.is_none() {
                missing.push(*topic);
            }
        }
        Ok(missing)
    }

    fn brokers(&mut self) -> Result<usize, KafkaSinkError> {
        self.ask("to list the brokers", Right::on_cluster("Describe"), |cluster, longest| {
            Ok(cluster.everything.fetch_metadata(None, longest)?.brokers().len())
        })
    }

    /// The end offsets of a topic's partitions; `None` if it does not exist.
    pub fn end_offsets(&mut self, topic: &str) -> Result<Option<ByPartition>, KafkaSinkError> {
        let watermarks = self.watermarks(topic, |cluster| &cluster.everything)?;
        Ok(watermarks.map(|partitions| partitions.into_iter().map(|(_, end)| end).collect()))
    }

    /// Where a reader of committed records finds the first and the last of each partition; `None` if
    /// the topic does not exist.
    ///
    /// A commit is answered a moment before its records are visible. So it waits until all are that
    /// stand there now, but not for long: a transaction may be open whose producer is gone.
    pub fn committed_range(&mut self, topic: &str) -> Result<Option<Vec<(i64, i64)>>, KafkaSinkError> {
        let (begun, ends) = (Instant::now(), self.end_offsets(topic)?);
        loop {
            let range = self.watermarks(topic, |cluster| &cluster.committed)?;
            let visible = range.iter().flatten().map(|&(_, end)| end);
            let all = ends.iter().flatten().zip(visible).all(|(&end, visible)| visible >= end);
            if all || begun.elapsed() >= SETTLED_AFTER {
                return Ok(range);
            }
            pause(Duration::from_millis(20));
        }
    }

    fn watermarks(
        &mut self,
        topic: &str,
        consumer: impl Fn(&Cluster) -> &BaseConsumer<Watch>,
    ) -> Result<Option<Vec<(i64, i64)>>, KafkaSinkError> {
        let Some(partitions) = self.partitions(topic)? else { return Ok(None) };
        let watermarks = (0..partitions as i32).map(|partition| {
            self.ask(
                &format!("to tell where topic {topic} ends"),
                Right::on_topic("Describe", topic),
                |cluster, longest| consumer(cluster).fetch_watermarks(topic, partition, longest),
            )
        });
        watermarks.collect::<Result<_, _>>().map(Some)
    }

    /// Returns as soon as brokers answer.
    pub fn reach(&mut self) -> Result<(), KafkaSinkError> {
        let topic = self.config.topic_progress.clone();
        self.partitions(&topic).map(drop)
    }

    /// Creates the topics of a run that do not exist; returns the partitions of the data and voice
    /// topics.
    pub fn ensure_topics(&mut self) -> Result<[usize; 2], KafkaSinkError> {
        let config = self.config.clone();
        if self.partitions(&config.topic_progress)?.is_some() {
            self.check_policy();
        }
        let names = [&*config.topic_data, &*config.topic_voice, &*config.topic_progress];
        let partitions = self.ensure(&names)?;
        Ok([partitions[0], partitions[1]])
    }

    /// Creates topics that do not exist; returns the partitions of each.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn ensure(&mut self, names: &[&str]) -> Result<Vec<usize>, KafkaSinkError> {
        let config = self.config.clone();
        let (begun, mut waited) = (Instant::now(), 0);
        let mut what = format!("new topics to be known to all of Kafka brokers {}", config.brokers);
        loop {
            let found: Vec<Option<usize>> =
                names.iter().map(|name| self.partitions(name)).collect::<Result<_, _>>()?;
            if found.iter().all(Option::is_some) {
                return Ok(found.into_iter().flatten().collect());
            }
            // A topic that was just made takes a moment to reach every broker.
            if waited % 20 == 0 {
                let missing = names.iter().zip(&found).filter(|(_, partitions)| partitions.is_none());
                let missing: Vec<&str> = missing.map(|(name, _)| *name).collect();
                if let Some(unseen) = self.create(&missing)?.first()
                    && waited > 0
                {
                    what = format!(
                        "Kafka brokers {} to show topic {unseen}, which they say exists (may the login Describe it?)",
                        config.brokers
                    );
                }
            }
            self.patience.waiting(begun, &what)?;
            pause(Duration::from_millis(50 * waited.min(10)));
            waited += 1;
        }
    }

    /// The cluster's own name; `None` where brokers do not tell.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn id(&mut self) -> Result<Option<String>, KafkaSinkError> {
        self.ask("to tell the cluster's id", Right::on_cluster("Describe"), |cluster, longest| {
            // The client knows it when it has heard of the brokers.
            cluster.everything.fetch_metadata(None, longest)?;
            Ok(cluster.everything.client().fetch_cluster_id(longest))
        })
    }

    /// The ids of topics, each of which a topic that is deleted and made anew has not again. Those
    /// that do not exist are left out, and so are all where brokers give no ids.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn topic_ids(&mut self, topics: &[&str]) -> Result<BTreeMap<String, String>, KafkaSinkError> {
        self.ask(TELL_IDS, describe(topics), |cluster, longest| cluster.ids(topics, longest))
    }

    /// The same at one try: `None` where brokers do not answer now.
    ///
    /// # Errors
    /// Brokers that refuse.
    pub fn topic_ids_if_any_answer(
        &mut self,
        topics: &[&str],
    ) -> Result<Option<BTreeMap<String, String>>, KafkaSinkError> {
        match self.ids(topics, CALL) {
            Ok(ids) => Ok(Some(ids)),
            Err(error) if remedy(failure(&error)) == Remedy::Retry => Ok(None),
            Err(error) => Err(self.refused(TELL_IDS, describe(topics), &error)),
        }
    }

    fn ids(&self, topics: &[&str], longest: Duration) -> Result<BTreeMap<String, String>, KafkaError> {
        // The controller tells them, and the client hears who that is by asking any broker.
        self.everything.fetch_metadata(topics.first().copied(), longest)?;
        native::topic_ids(self.everything.client(), topics, longest).map_err(KafkaError::MetadataFetch)
    }

    /// Creates topics; returns those that exist already.
    fn create(&mut self, topics: &[&str]) -> Result<Vec<String>, KafkaSinkError> {
        let config = self.config.clone();
        let replicas = match config.replication {
            Some(replicas) => replicas as usize,
            None => self.brokers()?.min(3),
        };
        let new: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|&name| new_topic(&config, name, TopicReplication::Fixed(replicas as i32)))
            .collect();
        let begun = Instant::now();
        let options = self.admin_options();
        // The answer comes only while the client is there.
        let admin = self.admin()?;
        let created = admin.create_topics(&new, &options);
        let right = |topics: &[&str]| {
            Right::on_topics("Create", topics.iter().map(|&topic| topic.to_owned()).collect())
        };
        let results = match tokio::runtime::Handle::current().block_on(created) {
            Ok(results) => results,
            // The topics are asked for again, and created again if they are still missing.
            Err(error) if remedy(failure(&error)) == Remedy::Retry => {
                self.patience.failure(begun, &error.to_string())?;
                return Ok(Vec::new());
            }
            Err(error) => return Err(self.refused("to create topics", right(topics), &error)),
        };
        let mut existing = Vec::new();
        for result in results {
            match result {
                Ok(name) => info!("Created topic {name} (replication {replicas})"),
                // Another shard of the run may have been faster.
                Err((name, Code::TopicAlreadyExists)) => existing.push(name),
                Err((_, code)) if remedy(Failure::plain(code)) == Remedy::Retry => {
                    self.patience.failure(begun, &code.to_string())?;
                }
                Err((name, code)) => {
                    let (action, right) = (format!("to create topic {name}"), right(&[&name]));
                    return Err(self.refused_as(&action, right, code, code.to_string()));
                }
            }
        }
        Ok(existing)
    }

    /// Warns if the brokers delete old records of the progress topic, which somebody else has made.
    fn check_policy(&self) {
        let topic = &self.config.topic_progress;
        match self.cleanup_policy() {
            Ok(policy) if !policy.split(',').any(|part| part.trim() == "delete") => {}
            Ok(policy) => warn!(
                "Topic {topic} has cleanup.policy={policy}: the brokers delete its records after the retention time, \
                 and a run whose progress is gone begins anew. Keep them, with: rpk topic alter-config {topic} --set \
                 cleanup.policy=compact"
            ),
            // Looking takes a right that delivering does not.
            Err(why) => debug!("the cleanup policy of topic {topic} is not known: {why}"),
        }
    }

    fn cleanup_policy(&self) -> Result<String, String> {
        let resource = ResourceSpecifier::Topic(&self.config.topic_progress);
        let admin = self.admin().map_err(|error| error.to_string())?;
        let asked = admin.describe_configs([&resource], &self.admin_options());
        let asked = tokio::runtime::Handle::current().block_on(asked);
        let described = asked.map_err(|error| error.to_string())?.into_iter().next();
        let described = described.ok_or("no answer")?.map_err(|code| code.to_string())?;
        let policy = described.get("cleanup.policy").and_then(|entry| entry.value.clone());
        policy.ok_or_else(|| "the answer does not tell".to_owned())
    }

    fn admin(&self) -> Result<AdminClient<Watch>, KafkaSinkError> {
        let created = self.config.client(&[]).create_with_context(Watch(self.health.clone()));
        created.map_err(|error: KafkaError| KafkaSinkError::Property(error.to_string()))
    }

    fn admin_options(&self) -> AdminOptions {
        let longest = Some(self.patience.longest(CALL * 5));
        AdminOptions::new().operation_timeout(Some(CALL)).request_timeout(longest)
    }

    /// What is known of a run and shard: its last committed progress record, and where the record
    /// topics end.
    pub(super) fn destination(
        &mut self,
        id: &RunId,
        undecided: Undecided,
    ) -> Result<Destination, KafkaSinkError> {
        let Recorded { progress, unreadable, other_split, settled } =
            self.last_progress(id, undecided)?;
        let end_offsets = self.record_ends()?;
        Ok(Destination { progress, unreadable, other_split, end_offsets, settled })
    }

    /// Where the record topics end.
    pub fn record_ends(&mut self) -> Result<Vec<EndOffsets>, KafkaSinkError> {
        let config = self.config.clone();
        let end = |stream| {
            let topic = config.topic(stream).to_owned();
            self.end_offsets(&topic).map(|ends| (topic, ends))
        };
        Stream::ALL.into_iter().map(end).collect()
    }

    /// The last committed progress record of a run and shard.
    pub(super) fn last_progress(
        &mut self,
        id: &RunId,
        undecided: Undecided,
    ) -> Result<Recorded, KafkaSinkError> {
        let topic = self.config.topic_progress.clone();
        if self.partitions(&topic)?.is_none() {
            return Ok(Recorded { settled: true, ..Recorded::default() });
        }
        let (low, end, settled) = self.progress_range(&topic, undecided)?;
        let found = self.last_records(&topic, low, end, id)?;
        let own = found.own.map(|(offset, value)| parse(&topic, offset, &value));
        let recorded = Recorded { settled, ..Recorded::default() };
        Ok(match own {
            None => Recorded { other_split: found.other_split, ..recorded },
            Some(Ok(progress)) => Recorded { progress: Some(progress), ..recorded },
            Some(Err(why)) => Recorded { unreadable: Some(why), ..recorded },
        })
    }

    /// Where the progress topic begins and ends, and whether everything before that end is decided.
    ///
    /// Records of ours may lie behind another shard's open transaction, where a reader of committed
    /// records cannot see them yet. Such a transaction ends within its timeout.
    fn progress_range(
        &mut self,
        topic: &str,
        undecided: Undecided,
    ) -> Result<(i64, i64, bool), KafkaSinkError> {
        let (action, right) =
            (format!("to tell where topic {topic} ends"), || Right::on_topic("Describe", topic));
        let (low, end) = self.ask(&action, right(), |cluster, longest| {
            cluster.everything.fetch_watermarks(topic, 0, longest)
        })?;
        let begun = Instant::now();
        loop {
            let (_, stable) = self.ask(&action, right(), |cluster, longest| {
                cluster.committed.fetch_watermarks(topic, 0, longest)
            })?;
            if stable >= end || undecided == Undecided::Leave {
                return Ok((low, end, stable >= end));
            }
            let what = format!(
                "another process's transaction in topic {topic} to end; if that process is gone, the brokers abort \
                 the transaction when its timeout is over"
            );
            self.patience.waiting(begun, &what)?;
            pause(Duration::from_millis(50));
        }
    }

    /// The last records of a run, looked for from the end of the topic on.
    fn last_records(
        &mut self,
        topic: &str,
        low: i64,
        end: i64,
        id: &RunId,
    ) -> Result<Found, KafkaSinkError> {
        let (key, mut tail) = (id.progress_key(), TAIL_RECORDS);
        loop {
            let begin = low.max(end - tail);
            let mut found = Found::default();
            self.read_progress(topic, begin, end, |found_key, offset, value| {
                if found_key == key.as_bytes() {
                    found.own = Some((offset, value.to_vec()));
                } else if let Some(split) = id.other_split(found_key) {
                    found.other_split = Some(split);
                }
            })?;
            if found.own.is_some() || begin <= low {
                return Ok(found);
            }
            tail *= 8;
        }
    }

    /// The last committed progress records of all shards of a run, of any split.
    pub fn progress_of_run(&mut self, run: &str) -> Result<Vec<Progress>, KafkaSinkError> {
        let topic = self.config.topic_progress.clone();
        let Some(partitions) = self.committed_range(&topic)? else { return Ok(Vec::new()) };
        let Some(&(low, end)) = partitions.first() else { return Ok(Vec::new()) };
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
        let action = format!("to read topic {topic}");
        let right = || Right::on_topic("Read", topic);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(begin))
            .and_then(|()| self.committed.assign(&list))
            .map_err(|error| self.refused(&action, right(), &error))?;
        loop {
            let asked = Instant::now();
            match self.committed.poll(self.patience.longest(CALL)) {
                Some(Ok(message)) => each(
                    message.key().unwrap_or_default(),
                    message.offset(),
                    message.payload().unwrap_or_default(),
                ),
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) if is_of_the_group(&error) => debug!("{error}: no group is used"),
                Some(Err(error)) if remedy(failure(&error)) != Remedy::Retry => {
                    return Err(self.refused(&action, right(), &error));
                }
                Some(Err(error)) => self.patience.failure(asked, &error.to_string())?,
                None => self.patience.failure(asked, "the progress record is not delivered")?,
            }
        }
        self.patience.success();
        // Unassigning cannot fail in a way that matters: the next reading assigns again.
        drop(self.committed.unassign());
        debug!("read progress records {begin} to {end} of {topic}");
        Ok(())
    }

    /// Asks until there is an answer, as long as waiting makes sense; `right` is what the answer takes.
    fn ask<T>(
        &mut self,
        action: &str,
        right: Right,
        call: impl Fn(&Cluster, Duration) -> Result<T, KafkaError>,
    ) -> Result<T, KafkaSinkError> {
        loop {
            let begun = Instant::now();
            match call(self, self.patience.longest(CALL)) {
                Ok(answer) => {
                    self.patience.success();
                    return Ok(answer);
                }
                Err(error) if remedy(failure(&error)) == Remedy::Retry => {
                    self.hear();
                    self.patience.failure(begun, &error.to_string())?;
                    pause(Duration::from_millis(100));
                }
                Err(error) => return Err(self.refused(action, right, &error)),
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

    fn refused(&self, action: &str, right: Right, error: &KafkaError) -> KafkaSinkError {
        self.refused_as(action, right, failure(error).code, error.to_string())
    }

    fn refused_as(&self, action: &str, right: Right, code: Code, reason: String) -> KafkaSinkError {
        let (brokers, action) = (self.config.brokers.clone(), action.to_owned());
        match remedy(Failure::plain(code)) {
            Remedy::Unauthorized => KafkaSinkError::Unauthorized { brokers, action, right, reason },
            _ => KafkaSinkError::Rejected { brokers, action, code, reason },
        }
    }
}

/// Whether an error is about the consumer's group. It joins none; the client only wants a name for
/// one, and asks who coordinates it.
fn is_of_the_group(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(Code::GroupAuthorizationFailed)
}

/// What to do about transactions that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undecided {
    /// Wait for their ends, which may bring records of ours to light.
    Wait,
    /// Look past them.
    Leave,
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
    /// Whether no open transaction could hide a later record.
    pub settled: bool,
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
