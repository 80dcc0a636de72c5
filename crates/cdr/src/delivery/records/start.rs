//! From a probe that disturbs nobody to a producer that records can be sent with.

use std::sync::Arc;
use std::time::Duration;

use cdr_model::progress::{Cursors, PROGRESS_VERSION, Parameters, Progress, SinkTargets};
use cdr_model::resume::{EndOffsets, KafkaState, topic_lost};
use cdr_model::{PerStream, Plan, Stream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::config::RecordsConfig;
use super::progress_topic::{OpenTransactions, ProgressTopic, Recorded, RunId};
use crate::delivery::DeliveryError;
use crate::kafka::{Cluster, KafkaConfig, KafkaError, NewTopic, Producer, RecordTimestamp};
use crate::pause::pause;

/// After which a new leader knows how far its followers are.
const LEADER_SETTLES: Duration = Duration::from_secs(2);

/// What identifies a run at the brokers, and how they are reached.
#[derive(Clone)]
pub struct RunAtKafka {
    pub kafka: Arc<KafkaConfig>,
    pub records: Arc<RecordsConfig>,
    pub id: RunId,
    pub shutdown: CancellationToken,
}

/// A connection that has only read.
pub struct Probe {
    run: RunAtKafka,
    cluster: Cluster,
}

impl Probe {
    /// Connects, and reads what the run has committed, while another process of it may be at work.
    ///
    /// Blocks, and must be called on a blocking thread of a tokio runtime.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn open(run: RunAtKafka) -> Result<(Probe, KafkaState), KafkaError> {
        let mut cluster = Cluster::new(&run.kafka, &run.shutdown)?;
        let state = state(&run, &mut cluster, OpenTransactions::Ignore)?;
        Ok((Probe { run, cluster }, state))
    }

    /// Fences any older process of this run, and then reads what that had committed. Blocks, as
    /// `open` does.
    ///
    /// # Errors
    /// As `open`.
    pub fn fence(self) -> Result<(FencedProducer, KafkaState), KafkaError> {
        let Probe { run, mut cluster } = self;
        let producer = Producer::open(&run.kafka, &run.id.transactional_id(), &run.shutdown)?;
        let state = state(&run, &mut cluster, OpenTransactions::Wait)?;
        Ok((FencedProducer { run, cluster, producer }, state))
    }
}

fn state(
    run: &RunAtKafka,
    cluster: &mut Cluster,
    open: OpenTransactions,
) -> Result<KafkaState, KafkaError> {
    let recorded = ProgressTopic::new(cluster, &run.records.topic_progress).last(&run.id, open)?;
    let Recorded { progress, unreadable, other_split, begun_with, settled } = recorded;
    let end_offsets = end_offsets(run, cluster)?;
    Ok(KafkaState { progress, unreadable, other_split, begun_with, end_offsets, settled })
}

/// Where the record topics end.
fn end_offsets(run: &RunAtKafka, cluster: &mut Cluster) -> Result<EndOffsets, KafkaError> {
    let mut ends = PerStream::default();
    for (stream, topic) in run.records.topics.iter() {
        ends[stream] = cluster.end_offsets(topic)?;
    }
    Ok(ends)
}

/// A producer that has fenced all others of its run, and has changed nothing else yet.
pub struct FencedProducer {
    run: RunAtKafka,
    cluster: Cluster,
    producer: Producer,
}

impl FencedProducer {
    /// Creates the topics of the plan's streams that are missing, so that the run can go on. Blocks.
    ///
    /// # Errors
    /// As [`Probe::open`].
    pub fn prepare(mut self, plan: &Plan) -> Result<ReadyProducer, KafkaError> {
        let RunAtKafka { kafka, records, .. } = &self.run;
        if self.cluster.partitions(&records.topic_progress)?.is_some() {
            warn_of_retention(&self.cluster, &records.topic_progress);
        }
        // With event times of years ago as timestamps, retention by time would delete all at once.
        let settings: &[(&str, &str)] = match kafka.timestamp {
            RecordTimestamp::Event => &[("retention.ms", "-1")],
            RecordTimestamp::Send => &[],
        };
        let of_stream = |stream: Stream| NewTopic {
            name: &records.topics[stream],
            partitions: kafka.partitions,
            settings,
        };
        let mut topics: Vec<NewTopic<'_>> = plan.streams().map(of_stream).collect();
        topics.push(NewTopic {
            name: &records.topic_progress,
            partitions: 1,
            // An hour's segments keep the compacted topic, and so the start of a run, short.
            settings: &[("cleanup.policy", "compact"), ("segment.ms", "3600000")],
        });
        let found = self.cluster.ensure(&topics)?;
        let mut partitions = PerStream::default();
        for (stream, count) in plan.streams().zip(found) {
            partitions[stream] = count;
        }
        Ok(ReadyProducer { run: self.run, cluster: self.cluster, producer: self.producer, partitions })
    }
}

/// Warns if the brokers delete old records of the progress topic, which somebody else has made.
fn warn_of_retention(cluster: &Cluster, topic: &str) {
    match cluster.topic_setting(topic, "cleanup.policy") {
        Ok(policy) if !policy.split(',').any(|part| part.trim() == "delete") => {}
        Ok(policy) => warn!(
            "Topic {topic} has cleanup.policy={policy}: the brokers delete its records after the retention time, \
             and a run whose progress is gone begins again. Keep them, with: rpk topic alter-config {topic} --set \
             cleanup.policy=compact"
        ),
        Err(why) => debug!("the cleanup policy of topic {topic} is not known: {why}"),
    }
}

/// A producer that records can be sent with.
pub struct ReadyProducer {
    run: RunAtKafka,
    cluster: Cluster,
    pub(super) producer: Producer,
    /// Of each stream's topic.
    partitions: PerStream<usize>,
}

impl ReadyProducer {
    /// The run that it belongs to.
    pub fn run(&self) -> &RunAtKafka {
        &self.run
    }

    /// Partitions of each stream's topic.
    pub fn partitions(&self) -> &PerStream<usize> {
        &self.partitions
    }

    /// The progress of a run that begins now, at these cursors, behind what the topics already hold.
    pub fn new_progress(
        &self,
        parameters: Parameters,
        targets: SinkTargets,
        found: &KafkaState,
        cursors: Cursors,
        begun_ms: i64,
    ) -> Progress {
        let none = PerStream::from_fn(|stream| vec![0; self.partitions[stream]]);
        // A topic that did not exist then has been made since, and begins with its first record.
        let end = |stream| found.end_offsets[stream].clone().unwrap_or_else(|| none[stream].clone());
        let begin_offsets = PerStream::from_fn(end);
        Progress {
            version: PROGRESS_VERSION,
            run: self.run.id.name.clone(),
            shard: self.run.id.shard.to_string(),
            begun_ms,
            parameters,
            targets,
            begin: cursors.records.unwrap_or_default(),
            cursors,
            begin_offsets,
            delivered: none,
            finished: false,
        }
    }

    /// The progress record as it stands in the topic.
    pub(super) fn recorded(&mut self, open: OpenTransactions) -> Result<Option<Progress>, KafkaError> {
        let topic = &self.run.records.topic_progress;
        let recorded = ProgressTopic::new(&mut self.cluster, topic).last(&self.run.id, open)?;
        Ok(recorded.progress)
    }

    /// Opens a new producer after the old one broke, which fences all others: whether the run is still
    /// ours must be known before.
    pub(super) fn reopen(&mut self) -> Result<(), KafkaError> {
        let RunAtKafka { kafka, id, shutdown, .. } = &self.run;
        let producer = Producer::open(kafka, &id.transactional_id(), shutdown)?;
        std::mem::replace(&mut self.producer, producer).close();
        Ok(())
    }

    /// Where the record topics end.
    pub(super) fn end_offsets(&mut self) -> Result<EndOffsets, KafkaError> {
        end_offsets(&self.run, &mut self.cluster)
    }

    /// Fails if a record topic does not hold any more what was delivered to it. The client does not
    /// notice when one is deleted and another made in its place.
    pub(super) fn check_topics(&mut self, progress: &Progress) -> Result<(), DeliveryError> {
        if topic_lost(progress, &self.end_offsets()?).is_none() {
            return Ok(());
        }
        // A broker that has just become the leader may not know yet how far its partition goes.
        pause(LEADER_SETTLES);
        let lost = topic_lost(progress, &self.end_offsets()?);
        lost.map_or(Ok(()), |conflict| Err(conflict.into()))
    }

    /// Ends it.
    pub(super) fn close(self) {
        self.producer.close();
    }
}
