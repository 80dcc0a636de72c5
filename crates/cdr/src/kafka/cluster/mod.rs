//! Queries to the cluster: topics, offsets, records by position.

mod records;
mod topics;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use tokio_util::sync::CancellationToken;

pub use self::records::{ReadRecord, TopicRange};
pub use self::topics::NewTopic;
use super::config::KafkaConfig;
use super::connection::Connection;
use super::error::{Failure, KafkaError};
use super::health::HealthContext;
use super::rights::Right;
use crate::pause::pause;

/// How long one call may block before the deadline and the shutdown are checked.
const CALL: Duration = Duration::from_secs(2);

/// Events of a client that are polled after a failure; there are a few for each broker.
const EVENTS_AT_ONCE: usize = 32;

/// Longer than a transaction of a run at work is open, and than its records take to become visible.
const VISIBLE_AFTER: Duration = Duration::from_secs(3);

/// What a reader sees of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// What is committed; the end offset is the last stable one.
    Committed,
    /// Everything; the end offset is the real one.
    Uncommitted,
}

/// A connection for queries. Whatever it does blocks, and fails when brokers are away for too long, or
/// refuse.
pub struct Cluster {
    connection: Connection,
    clients: Clients,
}

struct Clients {
    committed: Arc<BaseConsumer<HealthContext>>,
    uncommitted: BaseConsumer<HealthContext>,
}

impl Cluster {
    /// Makes the clients, which connect with the first query.
    pub fn new(config: &Arc<KafkaConfig>, shutdown: &CancellationToken) -> Result<Self, KafkaError> {
        let connection = Connection::new(config, shutdown);
        let committed = Arc::new(connection.client(&config.consumer("read_committed"))?);
        let uncommitted = connection.client(&config.consumer("read_uncommitted"))?;
        Ok(Cluster { connection, clients: Clients { committed, uncommitted } })
    }

    /// The cluster's own name; `None` where brokers do not report it.
    pub fn id(&mut self) -> Result<Option<String>, KafkaError> {
        let right = Right::on_cluster("Describe");
        self.query("to report the cluster's id", right, |clients, longest| {
            // The client knows it once it has metadata.
            clients.uncommitted.fetch_metadata(None, longest)?;
            Ok(clients.uncommitted.client().fetch_cluster_id(longest))
        })
    }

    /// The end offsets of a topic's partitions; `None` if it does not exist.
    pub fn end_offsets(&mut self, topic: &str) -> Result<Option<Vec<i64>>, KafkaError> {
        Ok(self.ranges(topic, Isolation::Uncommitted)?.map(|range| range.to))
    }

    /// What a topic holds now for readers of committed records; `None` if it does not exist.
    ///
    /// A commit is answered a moment before its records are visible. So it waits until all are that
    /// stand there now, but not for long: a transaction may be open whose producer is gone.
    pub fn committed_range(&mut self, topic: &str) -> Result<Option<TopicRange>, KafkaError> {
        let (begun, ends) = (Instant::now(), self.end_offsets(topic)?);
        loop {
            let range = self.ranges(topic, Isolation::Committed)?;
            let visible = range.iter().flat_map(|range| &range.to);
            let all = ends.iter().flatten().zip(visible).all(|(end, visible)| visible >= end);
            if all || begun.elapsed() >= VISIBLE_AFTER {
                return Ok(range);
            }
            pause(Duration::from_millis(20));
        }
    }

    fn ranges(&mut self, topic: &str, isolation: Isolation) -> Result<Option<TopicRange>, KafkaError> {
        let Some(partitions) = self.partitions(topic)? else { return Ok(None) };
        let ranges: Result<Vec<(i64, i64)>, _> = (0..partitions as i32)
            .map(|partition| self.partition_range(topic, partition, isolation))
            .collect();
        let (from, to) = ranges?.into_iter().unzip();
        Ok(Some(TopicRange { topic: topic.to_owned(), from, to }))
    }

    /// The first offset of a partition, and the one behind its last.
    pub fn partition_range(
        &mut self,
        topic: &str,
        partition: i32,
        isolation: Isolation,
    ) -> Result<(i64, i64), KafkaError> {
        let action = format!("to report where topic {topic} ends");
        self.query(&action, Right::on_topic("Describe", topic), |clients, longest| match isolation {
            Isolation::Committed => clients.committed.fetch_watermarks(topic, partition, longest),
            Isolation::Uncommitted => clients.uncommitted.fetch_watermarks(topic, partition, longest),
        })
    }

    /// Waits a moment for something that the brokers do not report by themselves, for no longer in all than
    /// brokers may be away.
    pub fn wait_for(
        &mut self,
        since: Instant,
        what: &str,
        interval: Duration,
    ) -> Result<(), KafkaError> {
        self.connection.waiting(since, what)?;
        pause(interval);
        Ok(())
    }

    /// Repeats a query until there is an answer, as long as waiting makes sense; `right` is what the
    /// answer takes.
    fn query<T>(
        &mut self,
        action: &str,
        right: Right,
        call: impl Fn(&Clients, Duration) -> Result<T, ClientError>,
    ) -> Result<T, KafkaError> {
        let clients = &self.clients;
        let answer = self.connection.retry(CALL, |longest| {
            call(clients, longest).inspect_err(|_| {
                // Their reasons wait in queues until somebody polls.
                for _ in 0..EVENTS_AT_ONCE {
                    drop((
                        clients.uncommitted.poll(Duration::ZERO),
                        clients.committed.poll(Duration::ZERO),
                    ));
                }
            })
        })?;
        answer.map_err(|error| self.refused(action, right, &error))
    }

    fn admin(&self) -> Result<(AdminClient<HealthContext>, AdminOptions), KafkaError> {
        let longest = Some(self.connection.longest(CALL * 5));
        let options = AdminOptions::new().operation_timeout(Some(CALL)).request_timeout(longest);
        Ok((self.connection.client(&self.connection.config.client(&[]))?, options))
    }

    fn refused(&self, action: &str, right: Right, error: &ClientError) -> KafkaError {
        let code = Failure::of(error).code;
        KafkaError::refused(&self.connection.config, action, || right, code, error.to_string())
    }
}
