//! Topics: whether they exist, which ones they are, and how they are made.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{self, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use tokio::runtime::Handle;
use tracing::info;

use super::{CALL, Clients, Cluster};
use crate::kafka::error::{Failure, KafkaError, Recovery, is_retriable, recovery};
use crate::kafka::native;
use crate::kafka::rights::Right;

/// What brokers refuse when they report no ids.
const REPORT_IDS: &str = "to report the ids of topics";

/// A topic as it is made where it does not exist.
#[derive(Clone, Debug)]
pub struct NewTopic<'a> {
    pub name: &'a str,
    pub partitions: u32,
    /// Names and values of its settings.
    pub settings: &'a [(&'a str, &'a str)],
}

impl Cluster {
    /// Partitions of a topic; `None` if it does not exist.
    ///
    /// The query names it, since a list of all topics leaves out those that the login may not see.
    pub fn partitions(&mut self, topic: &str) -> Result<Option<usize>, KafkaError> {
        let action = format!("to describe topic {topic}");
        self.query(&action, Right::on_topic("Describe", topic), |clients, longest| {
            let metadata = clients.uncommitted.fetch_metadata(Some(topic), longest)?;
            let Some(found) = metadata.topics().first() else { return Ok(None) };
            match found.error().map(Code::from) {
                None => Ok(Some(found.partitions().len()).filter(|&partitions| partitions > 0)),
                Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(None),
                Some(code) => Err(ClientError::MetadataFetch(code)),
            }
        })
    }

    /// Creates topics that do not exist; returns the partitions of each.
    pub fn ensure(&mut self, topics: &[NewTopic<'_>]) -> Result<Vec<usize>, KafkaError> {
        let brokers = self.connection.config.brokers.clone();
        let (begun, mut waited) = (Instant::now(), 0);
        let mut what = format!("new topics to be known to all of Kafka brokers {brokers}");
        loop {
            let found: Vec<Option<usize>> =
                topics.iter().map(|topic| self.partitions(topic.name)).collect::<Result<_, _>>()?;
            if found.iter().all(Option::is_some) {
                return Ok(found.into_iter().flatten().collect());
            }
            // A topic that was just made takes a moment to reach every broker.
            if waited % 20 == 0 {
                let missing = topics.iter().zip(&found).filter(|(_, partitions)| partitions.is_none());
                let missing: Vec<&NewTopic<'_>> = missing.map(|(topic, _)| topic).collect();
                if let Some(unseen) = self.create(&missing)?.first()
                    && waited > 0
                {
                    what = format!(
                        "Kafka brokers {brokers} to show topic {unseen}, which they report to exist (may the login \
                         Describe it?)"
                    );
                }
            }
            self.wait_for(begun, &what, Duration::from_millis(50 * waited.min(10)))?;
            waited += 1;
        }
    }

    /// Creates topics; returns those that exist already.
    fn create(&mut self, topics: &[&NewTopic<'_>]) -> Result<Vec<String>, KafkaError> {
        let replicas = match self.connection.config.replication {
            Some(replicas) => replicas as usize,
            None => self.brokers()?.min(3),
        };
        let begun = Instant::now();
        let new = topics.iter().map(|topic| {
            let replication = TopicReplication::Fixed(replicas as i32);
            let new = admin::NewTopic::new(topic.name, topic.partitions as i32, replication);
            topic.settings.iter().fold(new, |new, (name, value)| new.set(name, value))
        });
        let new: Vec<_> = new.collect();
        let names = topics.iter().map(|topic| topic.name.to_owned()).collect();
        // The answer comes only while the client is there.
        let (admin, options) = self.admin()?;
        let results = self.query("to create topics", Right::on_topics("Create", names), |_, _| {
            Handle::current().block_on(admin.create_topics(&new, &options))
        })?;
        let mut existing = Vec::new();
        for result in results {
            match result {
                Ok(name) => info!("Created topic {name} (replication {replicas})"),
                // Another shard of the run may have been faster.
                Err((name, Code::TopicAlreadyExists)) => existing.push(name),
                Err((_, code)) if recovery(Failure::plain(code)) == Recovery::Retry => {
                    self.connection.failure(begun, &code.to_string())?;
                }
                Err((name, code)) => {
                    let (config, action) = (&self.connection.config, format!("to create topic {name}"));
                    let right = || Right::on_topic("Create", &name);
                    return Err(KafkaError::refused(config, &action, right, code, code.to_string()));
                }
            }
        }
        Ok(existing)
    }

    fn brokers(&mut self) -> Result<usize, KafkaError> {
        self.query("to list the brokers", Right::on_cluster("Describe"), |clients, longest| {
            Ok(clients.uncommitted.fetch_metadata(None, longest)?.brokers().len())
        })
    }

    /// The value of a topic's setting.
    ///
    /// # Errors
    /// Why it is not known; reading it takes a right that delivering does not.
    pub fn topic_setting(&self, topic: &str, setting: &str) -> Result<String, String> {
        let resource = ResourceSpecifier::Topic(topic);
        let (admin, options) = self.admin().map_err(|error| error.to_string())?;
        let described = Handle::current().block_on(admin.describe_configs([&resource], &options));
        let described = described.map_err(|error| error.to_string())?.into_iter().next();
        let described = described.ok_or("no answer")?.map_err(|code| code.to_string())?;
        let value = described.get(setting).and_then(|entry| entry.value.clone());
        value.ok_or_else(|| "the answer does not contain it".to_owned())
    }

    /// The ids of topics, which a topic that is deleted and made again does not keep. Those that do not
    /// exist are left out, and so are all where brokers give no ids.
    pub fn topic_ids(&mut self, topics: &[&str]) -> Result<BTreeMap<String, String>, KafkaError> {
        self.query(REPORT_IDS, describe(topics), |clients, longest| clients.topic_ids(topics, longest))
    }

    /// The same at one try: `None` where brokers do not answer now.
    pub fn topic_ids_if_any_answer(
        &mut self,
        topics: &[&str],
    ) -> Result<Option<BTreeMap<String, String>>, KafkaError> {
        match self.clients.topic_ids(topics, CALL) {
            Ok(ids) => Ok(Some(ids)),
            Err(error) if is_retriable(&error) => Ok(None),
            Err(error) => Err(self.refused(REPORT_IDS, describe(topics), &error)),
        }
    }
}

impl Clients {
    fn topic_ids(
        &self,
        topics: &[&str],
        longest: Duration,
    ) -> Result<BTreeMap<String, String>, ClientError> {
        // The controller knows them, and the client knows that one once it has metadata.
        self.uncommitted.fetch_metadata(topics.first().copied(), longest)?;
        let ids = native::topic_ids(self.uncommitted.client(), topics, longest);
        ids.map_err(ClientError::MetadataFetch)
    }
}

fn describe(topics: &[&str]) -> Right {
    Right::on_topics("Describe", topics.iter().map(|&topic| topic.to_owned()).collect())
}
