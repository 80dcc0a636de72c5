//! Queries to the cluster: topics, offsets, short ranges of records.

mod offsets;
mod records;
mod topics;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use tokio_util::sync::CancellationToken;

pub use self::records::ReadRecord;
pub use self::topics::NewTopic;
use super::config::KafkaConfig;
use super::error::{Failure, KafkaError, is_retriable};
use super::health::{Health, HealthContext};
use super::retry::RetryDeadline;
use super::rights::Right;
use crate::pause::pause;

/// How long one call may block before the deadline and the shutdown are checked.
const CALL: Duration = Duration::from_secs(2);

/// Events of a client that are polled after a failure; there are a few for each broker.
const EVENTS_AT_ONCE: usize = 32;

/// What a reader sees of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// What is committed; the end offset is the last stable one.
    Committed,
    /// Everything; the end offset is the real one.
    Uncommitted,
}

/// A connection for queries.
pub struct Cluster {
    config: Arc<KafkaConfig>,
    committed: BaseConsumer<HealthContext>,
    uncommitted: BaseConsumer<HealthContext>,
    health: Arc<Health>,
    deadline: RetryDeadline,
}

impl Cluster {
    /// Makes the clients, which connect with the first query.
    ///
    /// # Errors
    /// Properties that the client does not take.
    pub fn new(config: &Arc<KafkaConfig>, shutdown: &CancellationToken) -> Result<Self, KafkaError> {
        let health = Arc::new(Health::new(&config.brokers));
        let consumer = |isolation| {
            let created = config.consumer(isolation).create_with_context(HealthContext(health.clone()));
            created.map_err(KafkaError::property)
        };
        Ok(Cluster {
            committed: consumer("read_committed")?,
            uncommitted: consumer("read_uncommitted")?,
            deadline: RetryDeadline::new(health.clone(), shutdown.clone(), config),
            health,
            config: config.clone(),
        })
    }

    /// Returns as soon as brokers answer.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn connect(config: &Arc<KafkaConfig>, shutdown: &CancellationToken) -> Result<Self, KafkaError> {
        let mut cluster = Cluster::new(config, shutdown)?;
        cluster.brokers()?;
        Ok(cluster)
    }

    fn consumer(&self, isolation: Isolation) -> &BaseConsumer<HealthContext> {
        match isolation {
            Isolation::Committed => &self.committed,
            Isolation::Uncommitted => &self.uncommitted,
        }
    }

    fn brokers(&mut self) -> Result<usize, KafkaError> {
        self.query("to list the brokers", Right::on_cluster("Describe"), |cluster, longest| {
            Ok(cluster.uncommitted.fetch_metadata(None, longest)?.brokers().len())
        })
    }

    /// The cluster's own name; `None` where brokers do not report it.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn id(&mut self) -> Result<Option<String>, KafkaError> {
        let right = Right::on_cluster("Describe");
        self.query("to report the cluster's id", right, |cluster, longest| {
            // The client knows it once it has metadata.
            cluster.uncommitted.fetch_metadata(None, longest)?;
            Ok(cluster.uncommitted.client().fetch_cluster_id(longest))
        })
    }

    /// Waits a moment for something that the brokers do not report by themselves.
    ///
    /// # Errors
    /// When it has not come about within the time in which brokers may be away, or on shutdown.
    pub fn wait_for(
        &mut self,
        since: Instant,
        what: &str,
        interval: Duration,
    ) -> Result<(), KafkaError> {
        self.deadline.waiting(since, what)?;
        pause(interval);
        Ok(())
    }

    /// Repeats a query until there is an answer, as long as waiting makes sense; `right` is what the
    /// answer takes.
    fn query<T>(
        &mut self,
        action: &str,
        right: Right,
        call: impl Fn(&Cluster, Duration) -> Result<T, ClientError>,
    ) -> Result<T, KafkaError> {
        loop {
            let begun = Instant::now();
            match call(self, self.deadline.longest(CALL)) {
                Ok(answer) => {
                    self.deadline.success();
                    return Ok(answer);
                }
                Err(error) if is_retriable(&error) => {
                    self.poll_events();
                    self.deadline.failure(begun, &error.to_string())?;
                    pause(Duration::from_millis(100));
                }
                Err(error) => return Err(self.refused(action, right, &error)),
            }
        }
    }

    /// Lets the clients report why: their reasons wait in a queue until somebody polls.
    fn poll_events(&self) {
        for client in [&self.uncommitted, &self.committed] {
            for _ in 0..EVENTS_AT_ONCE {
                drop(client.poll(Duration::ZERO));
            }
        }
    }

    fn admin(&self) -> Result<AdminClient<HealthContext>, KafkaError> {
        let created = self.config.client(&[]).create_with_context(HealthContext(self.health.clone()));
        created.map_err(KafkaError::property)
    }

    fn admin_options(&self) -> AdminOptions {
        let longest = Some(self.deadline.longest(CALL * 5));
        AdminOptions::new().operation_timeout(Some(CALL)).request_timeout(longest)
    }

    fn refused(&self, action: &str, right: Right, error: &ClientError) -> KafkaError {
        let code = Failure::of(error).code;
        KafkaError::refused(&self.config.brokers, action, right, code, error.to_string())
    }
}
