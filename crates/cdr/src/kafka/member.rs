//! A member of a consumer group, which reads committed records from offsets that its caller knows.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::assignment::{Lags, MemberContext, Rebalance, StartOffset, TopicPartition, list};
use super::close::close_within;
use super::config::KafkaConfig;
use super::connection::{Connection, client_with};
use super::error::{KafkaError, is_retriable};
use super::health::HealthContext;
use super::rights::Right;
use crate::pause::pause;
use crate::telemetry::{RateLimit, and_more};

/// How long leaving the group may take: what is read is stored by then, and brokers that are away
/// find out by themselves.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Corrupt batches may be the network's doing; so often, one time soon after the other, they are the
/// disk's.
const CORRUPT_MAX: u32 = 10;
const CORRUPT_WINDOW: Duration = Duration::from_secs(60);

/// By how much longer each pause is than the last, before a corrupt batch is fetched again.
const CORRUPT_PAUSE: Duration = Duration::from_millis(200);

/// Of keys and values that are handed over at once.
const POLL_BYTES: usize = 4 << 20;

/// At most one line about a kind of error in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What came of a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Records were handed over.
    Records,
    /// None came in the time.
    Idle,
    /// An offset that the partition does not have, or no longer.
    OutOfRange,
    /// A batch was corrupt, and the client has passed over it: the how-manieth time of the most.
    Corrupt(u32, u32),
}

/// A record of a partition.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<&'a [u8]>,
    pub value: &'a [u8],
}

/// A member of a group. Its calls fail when brokers are away for too long, or refuse.
pub struct Member {
    consumer: Arc<BaseConsumer<MemberContext>>,
    connection: Connection,
    topics: Vec<String>,
    group: String,
    corrupt: Option<CorruptBatches>,
    logged: RateLimit,
}

/// Keeps a member in its group while its caller waits for something else than records.
#[derive(Clone, Default)]
pub struct Standby(Weak<BaseConsumer<MemberContext>>);

impl Standby {
    /// Waits, and answers the group meanwhile. The member reads nothing more, and has to
    /// [seek](Member::seek) before it does again.
    pub fn wait(&self, time: Duration) {
        // Without a member, or behind its end, there is nobody to be kept.
        let Some(consumer) = self.0.upgrade() else { return pause(time) };
        let begun = Instant::now();
        let read = consumer.context().partitions().take_all_read();
        if read.count() > 0 {
            // It fails where they are given up already.
            drop(consumer.incremental_unassign(&read));
        }
        while begun.elapsed() < time {
            drop(consumer.poll(time.saturating_sub(begun.elapsed())));
        }
    }
}

/// How often brokers gave what cannot be used, one time soon after the other.
#[derive(Clone, Copy)]
struct CorruptBatches {
    times: u32,
    last: Instant,
    /// That of a corrupt batch, if there was any: after one, the client (librdkafka 2.12) reads on at a
    /// wrong place in the brokers' answer, and may fetch from offsets that there are not.
    code: Code,
}

impl Member {
    /// Joins a group that reads topics. Its partitions come, and go, while `poll` is called;
    /// [`rebalanced`](Member::rebalanced) gives them.
    pub fn join(
        config: &Arc<KafkaConfig>,
        group: &str,
        topics: &[&str],
        shutdown: &CancellationToken,
    ) -> Result<Member, KafkaError> {
        let connection = Connection::new(config, shutdown);
        let context = MemberContext::new(HealthContext(connection.health.clone()));
        let consumer: BaseConsumer<MemberContext> = client_with(&config.group_consumer(group), context)?;
        consumer.subscribe(topics).map_err(KafkaError::property)?;
        Ok(Member {
            consumer: Arc::new(consumer),
            connection,
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
            group: group.to_owned(),
            corrupt: None,
            logged: RateLimit::new(LOG_INTERVAL),
        })
    }

    /// Waits for a record, and hands it over with those that have come behind it: at most `max`, and
    /// not many more bytes than [`POLL_BYTES`].
    pub fn poll(
        &mut self,
        wait: Duration,
        max: usize,
        take: impl FnOnce(&[Received<'_>]),
    ) -> Result<Polled, KafkaError> {
        let (mut messages, mut bytes, mut failure) = (Vec::new(), 0, None);
        // What is behind a rebalance is for the next time.
        while messages.len() < max && bytes < POLL_BYTES && !self.consumer.context().is_rebalanced() {
            let wait = if messages.is_empty() { wait } else { Duration::ZERO };
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    bytes += message.payload_len() + message.key_len();
                    messages.push(message);
                }
                Some(Err(error)) => {
                    failure = Some(error);
                    break;
                }
                None => break,
            }
        }
        let is_idle = messages.is_empty();
        if !is_idle {
            take(&messages.iter().map(received).collect::<Vec<_>>());
        }
        drop(messages);
        match failure {
            Some(error) => self.failed(&error),
            None if is_idle => self.check_connection(),
            None => {
                self.connection.success();
                Ok(Polled::Records)
            }
        }
    }

    /// Silence may be a topic's, or that of brokers that are away.
    fn check_connection(&mut self) -> Result<Polled, KafkaError> {
        match self.is_connected() {
            true => self.connection.success(),
            false => self.connection.failure(Instant::now(), "no broker is connected")?,
        }
        Ok(Polled::Idle)
    }

    fn failed(&mut self, error: &ClientError) -> Result<Polled, KafkaError> {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange => Ok(Polled::OutOfRange),
            Code::BadMessage | Code::NotImplemented | Code::BadCompression => {
                self.corrupt_batch(Code::BadMessage)
            }
            Code::GroupAuthorizationFailed
            | Code::InconsistentGroupProtocol
            | Code::GroupMaxSizeReached
            | Code::InvalidGroupId => {
                let action = format!("to join group {}", self.group);
                let right = || Right::on_group("Read", &self.group);
                let (config, reason) = (&self.connection.config, error.to_string());
                Err(KafkaError::refused(config, &action, right, code, reason))
            }
            _ if code == Code::TopicAuthorizationFailed
                || matches!(error, ClientError::MessageConsumptionFatal(_)) =>
            {
                Err(self.refused(code, error.to_string()))
            }
            _ => {
                if is_retriable(error) {
                    debug!("while reading: {error}");
                } else if let Some(more) = self.logged.pass(&error.to_string()) {
                    warn!("Reading goes on after an error: {error}{}", and_more(more));
                }
                self.check_connection()
            }
        }
    }

    /// That the brokers give no records.
    fn refused(&self, code: Code, reason: String) -> KafkaError {
        let right = || Right::on_topics("Read", self.topics.clone());
        KafkaError::refused(&self.connection.config, "to deliver records", right, code, reason)
    }

    /// Leaves the brokers some time after they called an offset out of range that they have, unless it is
    /// too often to be a passing fault.
    pub fn out_of_range(&mut self) -> Result<(), KafkaError> {
        self.corrupt_batch(Code::OffsetOutOfRange).map(drop)
    }

    fn corrupt_batch(&mut self, code: Code) -> Result<Polled, KafkaError> {
        let before = self.corrupt.filter(|corrupt| corrupt.last.elapsed() < CORRUPT_WINDOW);
        let times = before.map_or(0, |corrupt| corrupt.times) + 1;
        let code = match before {
            Some(CorruptBatches { code: Code::BadMessage, .. }) => Code::BadMessage,
            _ => code,
        };
        if times > CORRUPT_MAX {
            return Err(self.refused(code, code.to_string()));
        }
        pause(CORRUPT_PAUSE * times);
        self.corrupt = Some(CorruptBatches { times, last: Instant::now(), code });
        Ok(Polled::Corrupt(times, CORRUPT_MAX))
    }

    /// Whether a broker is connected; brought up to date twice a second.
    pub fn is_connected(&self) -> bool {
        self.consumer.context().is_connected()
    }

    /// Leaves the group, as far as brokers answer.
    pub fn leave(self) {
        close_within(LEAVE_TIMEOUT, self);
    }

    /// What rebalances have brought since the last call, if there was any.
    pub fn rebalanced(&mut self) -> Option<Rebalance> {
        self.consumer.context().rebalanced()
    }

    /// For whoever has to wait between two polls.
    pub fn standby(&self) -> Standby {
        Standby(Arc::downgrade(&self.consumer))
    }

    /// The partitions that this member has.
    pub fn assigned(&self) -> Vec<TopicPartition> {
        self.consumer.context().partitions().assigned.clone()
    }

    /// How far behind this member is, in its partitions; brought up to date twice a second.
    pub fn lags(&self) -> Lags {
        self.consumer.context().partitions().lags.clone()
    }

    /// Goes on reading partitions at other offsets; `None` is the first record that there is.
    ///
    /// They are given up and assigned again, since the client seeks only where it reads, and it reads no
    /// more where an offset was out of range.
    pub fn seek(&mut self, offsets: &[StartOffset]) -> Result<(), KafkaError> {
        let assigned = self.assigned();
        let ours: Vec<StartOffset> =
            offsets.iter().filter(|(at, _)| assigned.contains(at)).cloned().collect();
        if ours.is_empty() {
            return Ok(());
        }
        let named: Vec<TopicPartition> = ours.iter().map(|(of, _)| of.clone()).collect();
        let read = self.consumer.context().partitions().take_read(&named);
        let (begun, list) = (Instant::now(), list(&ours));
        if read.count() > 0 {
            // It fails where they are given up already.
            drop(self.consumer.incremental_unassign(&read));
        }
        while let Err(error) = self.consumer.incremental_assign(&list) {
            self.connection.failure(begun, &error.to_string())?;
            pause(Duration::from_millis(100));
        }
        self.consumer.context().partitions().read.extend(named);
        self.consumer.context().positioned();
        Ok(())
    }

    /// Commits offsets to the brokers, for people and tools that look there. Nothing depends on it.
    pub fn commit(&self, offsets: &[StartOffset]) {
        if let Err(error) = self.consumer.commit(&list(offsets), CommitMode::Async) {
            debug!("offsets are not committed to the brokers: {error}");
        }
    }
}

fn received<'a>(message: &'a BorrowedMessage<'_>) -> Received<'a> {
    Received {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        key: message.key(),
        value: message.payload().unwrap_or_default(),
    }
}
