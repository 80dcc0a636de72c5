//! From a probe that disturbs nobody to a producer that records can be sent with.

use std::sync::Arc;
use std::time::Duration;

use cdr_model::progress::{Cursors, PROGRESS_VERSION, Parameters, Progress, SinkTargets};
use cdr_model::resume::{EndOffsets, KafkaState, topic_lost};
use cdr_model::{PerStream, Plan, Stream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::config::RecordsConfig;
use super::progress_topic::{ProgressTopic, RunId};
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

/// A connection that has only read. Its calls block, on a thread of a tokio runtime that may, and fail
/// when brokers are away for too long, or refuse.
pub struct Probe {
    pub(super) run: RunAtKafka,
    cluster: Cluster,
}

impl Probe {
    /// Connects, and reads what the run has committed, while another process of it may be at work.
    pub fn open(run: RunAtKafka) -> Result<(Probe, KafkaState), KafkaError> {
        let mut probe = Probe { cluster: Cluster::new(&run.kafka, &run.shutdown)?, run };
        let state = probe.state(Duration::ZERO)?;
        Ok((probe, state))
    }

    /// Fences any older process of this run, and then reads what that had committed.
    pub fn fence(mut self) -> Result<(FencedProducer, KafkaState), KafkaError> {
        let producer = self.producer()?;
        let state = self.state(Duration::MAX)?;
        Ok((FencedProducer { probe: self, producer }, state))
    }

    fn producer(&self) -> Result<Producer, KafkaError> {
        let RunAtKafka { kafka, id, shutdown, .. } = &self.run;
        Producer::open(kafka, &id.transactional_id(), shutdown)
    }

    /// What is committed, and where the record topics end. Open transactions are waited for, but no
    /// longer than `wait_max`.
    pub(super) fn state(&mut self, wait_max: Duration) -> Result<KafkaState, KafkaError> {
        let committed = self.progress(wait_max)?;
        Ok(KafkaState { end_offsets: self.end_offsets()?, ..committed })
    }

    /// The same without the ends.
    pub(super) fn progress(&mut self, wait_max: Duration) -> Result<KafkaState, KafkaError> {
        let RunAtKafka { records, id, .. } = &self.run;
        let mut topic = ProgressTopic { cluster: &mut self.cluster, topic: &records.topic_progress };
        topic.last(id, wait_max)
    }

    fn end_offsets(&mut self) -> Result<EndOffsets, KafkaError> {
        let mut ends = PerStream::default();
        for (stream, topic) in self.run.records.topics.iter() {
            ends[stream] = self.cluster.end_offsets(topic)?;
        }
        Ok(ends)
    }
}

/// A producer that has fenced all others of its run, and has changed nothing else yet.
pub struct FencedProducer {
    probe: Probe,
    producer: Producer,
}

impl FencedProducer {
    /// Creates the topics of the plan's streams that are missing, so that the run can go on. Blocks.
    pub fn prepare(mut self, plan: &Plan) -> Result<ReadyProducer, KafkaError> {
        let Probe { run: RunAtKafka { kafka, records, .. }, cluster } = &mut self.probe;
        if cluster.partitions(&records.topic_progress)?.is_some() {
            warn_of_retention(cluster, &records.topic_progress);
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
        let found = cluster.ensure(&topics)?;
        let mut partitions = PerStream::default();
        for (stream, count) in plan.streams().zip(found) {
            partitions[stream] = count;
        }
        Ok(ReadyProducer { probe: self.probe, producer: self.producer, partitions })
    }
}

/// Warns if the brokers delete old records of the progress topic, which somebody else has made.
fn warn_of_retention(cluster: &Cluster, topic: &str) {
    match cluster.topic_setting(topic, "cleanup.policy") {
        Ok(policy) if !policy.split(',').any(|part| part.trim() == "delete") => {}
        Ok(policy) => warn!(
            "Topic {topic} has cleanup.policy={policy}: the brokers delete its records after the retention time, \
             and a run whose progress is gone begins again. Keep them, with: rpk topic alter-config {topic} --set \
             cleanup.policy=compact (kafka-configs.sh --alter --topic {topic} --add-config does the same)"
        ),
        Err(why) => debug!("the cleanup policy of topic {topic} is not known: {why}"),
    }
}

/// A producer that records can be sent with.
pub struct ReadyProducer {
    pub(super) probe: Probe,
    pub(super) producer: Producer,
    /// Of each stream's topic.
    pub(super) partitions: PerStream<usize>,
}

impl ReadyProducer {
    /// The progress of a run that begins now, at these cursors, behind what the topics already hold.
    pub fn new_progress(
        &self,
        parameters: Parameters,
        targets: SinkTargets,
        found: &KafkaState,
        cursors: Cursors,
        now_ms: i64,
    ) -> Progress {
        let none = PerStream::from_fn(|stream| vec![0; self.partitions[stream]]);
        // A topic that did not exist then has been made since, and begins with its first record.
        let end = |stream| found.end_offsets[stream].clone().unwrap_or_else(|| none[stream].clone());
        let begin_offsets = PerStream::from_fn(end);
        Progress {
            version: PROGRESS_VERSION,
            run: self.probe.run.id.name.clone(),
            shard: self.probe.run.id.shard.to_string(),
            begun_ms: found.begin_ms(now_ms),
            parameters,
            targets,
            begin: cursors.records.unwrap_or_default(),
            cursors,
            begin_offsets,
            delivered: none,
            finished: false,
        }
    }

    /// Opens a new producer after the old one broke, which fences all others: whether the run is still
    /// ours must be known before.
    pub(super) fn reopen(&mut self) -> Result<(), KafkaError> {
        let producer = self.probe.producer()?;
        std::mem::replace(&mut self.producer, producer).close();
        Ok(())
    }

    /// Fails if a record topic does not hold any more what was delivered to it. The client does not
    /// notice when one is deleted and another made in its place.
    pub(super) fn check_topics(&mut self, progress: &Progress) -> Result<(), DeliveryError> {
        if topic_lost(progress, &self.probe.end_offsets()?).is_none() {
            return Ok(());
        }
        // A broker that has just become the leader may not know yet how far its partition goes.
        pause(LEADER_SETTLES);
        let lost = topic_lost(progress, &self.probe.end_offsets()?);
        lost.map_or(Ok(()), |conflict| Err(conflict.into()))
    }
}
