//! A transactional producer: its life from fencing older ones to the last commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::batch::RecordBatch;
use super::close::close_within;
use super::config::{KafkaConfig, RecordTimestamp};
use super::connection::Connection;
use super::error::{Failure, KafkaError, Recovery, TransactionFailure, is_permanent, recovery};
use super::health::HealthContext;
use super::native::{self, Handover};
use super::rights::Right;
use crate::pause::pause;

/// How long one call may block before the deadline and the shutdown are checked.
const CALL: Duration = Duration::from_secs(1);

/// How long to leave the client alone when it is full.
const ROOM: Duration = Duration::from_millis(2);

/// The client checks at the end of each slice whether all is sent.
const SHORTEST_SLICE: Duration = Duration::from_millis(1);

/// How long a client is given to end, which takes a tenth of a second.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the line that names a denied topic may take to come after the error.
const DENIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// What brokers refuse when they refuse a record, or a producer.
const STORING: &str = "to store records";
const BEGINNING: &str = "to begin transactions";

type Client = ThreadedProducer<HealthContext>;

/// A transactional producer. What it does blocks, and its failures tell what to do about them.
pub struct Producer {
    id: String,
    connection: Connection,
    producer: Client,
    opened: Instant,
    /// The highest partition that records were sent to, by topic.
    sent_to: BTreeMap<String, i32>,
}

impl Producer {
    /// Makes a producer. When this returns, any older producer with the same id is fenced, and
    /// what it left open is aborted.
    pub fn open(
        config: &Arc<KafkaConfig>,
        id: &str,
        shutdown: &CancellationToken,
    ) -> Result<Producer, KafkaError> {
        let connection = Connection::new(config, shutdown);
        let mut producer = Producer {
            id: id.to_owned(),
            producer: connection.client(&config.producer(id))?,
            connection,
            opened: Instant::now(),
            sent_to: BTreeMap::new(),
        };
        match producer.persist(BEGINNING, |client, longest| client.init_transactions(longest)) {
            Ok(()) => Ok(producer),
            Err(failure) => {
                Err(failure.into_error(|reason| producer.refused(BEGINNING, Code::Fail, reason)))
            }
        }
    }

    /// Drops it, and does not wait long for that.
    pub fn close(self) {
        close_within(CLOSE_TIMEOUT, self);
    }

    /// Begins a transaction.
    pub fn begin(&mut self) -> Result<(), TransactionFailure> {
        self.opened = Instant::now();
        self.persist("to begin a transaction", |producer, _| producer.begin_transaction())
    }

    /// Hands a batch's records to the client, which sends them in its own threads.
    pub fn send(
        &mut self,
        topic: &str,
        partition: i32,
        batch: &RecordBatch,
    ) -> Result<(), TransactionFailure> {
        self.note_sent(topic, partition);
        if self.connection.config.timestamp == RecordTimestamp::Event {
            return batch.iter().try_for_each(|encoded| {
                let record = BaseRecord::to(topic).partition(partition);
                let record = record.key(encoded.key).payload(encoded.value);
                self.enqueue(record.timestamp(encoded.timestamp_ms))
            });
        }
        // It costs half as much as one by one, but takes no timestamps.
        let mut handover = Handover::of(batch);
        loop {
            match handover.hand_over(&self.producer, topic, partition) {
                Ok(()) => return Ok(()),
                Err(Code::QueueFull) => self.await_room()?,
                Err(code) => return Err(self.not_taken(&ClientError::MessageProduction(code))),
            }
        }
    }

    /// Adds one record to the open transaction, with the time of sending.
    pub fn send_one(
        &mut self,
        topic: &str,
        partition: i32,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), TransactionFailure> {
        self.note_sent(topic, partition);
        self.enqueue(BaseRecord::to(topic).partition(partition).key(key).payload(value))
    }

    fn note_sent(&mut self, topic: &str, partition: i32) {
        let highest = self.sent_to.entry(topic.to_owned()).or_default();
        *highest = partition.max(*highest);
    }

    fn enqueue(&mut self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), TransactionFailure> {
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((ClientError::MessageProduction(Code::QueueFull), back)) => {
                    record = back;
                    self.await_room()?;
                }
                Err((error, _)) => return Err(self.not_taken(&error)),
            }
        }
    }

    fn not_taken(&self, error: &ClientError) -> TransactionFailure {
        if error.rdkafka_error_code() != Some(Code::State) {
            return self.failure("to take a record", error);
        }
        // The transaction has failed in the meantime.
        let failed = self.check_transaction(STORING).err();
        failed.unwrap_or_else(|| self.aborting(error.to_string()))
    }

    /// Makes everything sent since `begin` visible, at once. After a failure, whether the transaction was
    /// committed is unknown.
    pub fn commit(&mut self) -> Result<(), TransactionFailure> {
        // The client's own wait for records in flight polls in slices of 100 ms, which every
        // commit would pay for; with nothing in flight it does not wait.
        self.wait(STORING, |producer, waited| {
            native::flush(producer, (waited / 16).max(SHORTEST_SLICE))
        })?;
        self.persist("to commit", |producer, longest| producer.commit_transaction(longest))
    }

    /// Aborts a transaction that failed, if it can be, and gives what is left to do. What the brokers will
    /// not take is aborted, too: readers of committed records would wait for the end of a transaction that
    /// is left open, and so would the start of another shard.
    pub fn abort(&mut self, failure: TransactionFailure) -> TransactionFailure {
        match &failure {
            TransactionFailure::Abort(_) => {
                let abort = |producer: &Client, longest| producer.abort_transaction(longest);
                match self.persist("to abort", abort) {
                    Ok(()) => failure,
                    Err(TransactionFailure::Abort(reason)) => TransactionFailure::Reopen(reason),
                    Err(other) => other,
                }
            }
            TransactionFailure::Final(KafkaError::Rejected { .. } | KafkaError::Unauthorized { .. }) => {
                if let Err(error) = self.producer.abort_transaction(CALL) {
                    debug!("the transaction is left to the brokers, which abort it: {error}");
                }
                failure
            }
            _ => failure,
        }
    }

    /// Waits until the client can take a good many records again, while it goes on sending: were it
    /// to run empty, the brokers would wait for us.
    fn await_room(&mut self) -> Result<(), TransactionFailure> {
        let full = self.producer.in_flight_count();
        self.wait("to take records", |producer, _| {
            let has_room = producer.in_flight_count() <= full - full / 8;
            if !has_room {
                pause(ROOM);
            }
            has_room
        })
    }

    /// Tries until it is over, and checks from time to time whether waiting makes sense. `is_over` gets
    /// the time since the last check.
    fn wait(
        &mut self,
        action: &str,
        is_over: impl Fn(&Client, Duration) -> bool,
    ) -> Result<(), TransactionFailure> {
        loop {
            let (begun, longest) = (Instant::now(), self.connection.longest(CALL));
            let left = self.producer.in_flight_count();
            while begun.elapsed() < longest {
                if is_over(&self.producer, begun.elapsed()) {
                    return Ok(());
                }
            }
            self.check_transaction(action)?;
            // Slow brokers are not absent ones.
            if self.producer.in_flight_count() >= left {
                self.check_partitions()?;
                self.connection.failure(begun, "records are not acknowledged")?;
            }
        }
    }

    /// Fails if a partition that records were sent to is there no more: the client would wait for it,
    /// and not only as long as a transaction may be open.
    fn check_partitions(&self) -> Result<(), TransactionFailure> {
        for (topic, &highest) in &self.sent_to {
            // Brokers that are away do not answer.
            let Ok(metadata) = self.producer.client().fetch_metadata(Some(topic), CALL) else { break };
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let count = found.map_or(0, |found| found.partitions().len());
            if count as i32 <= highest {
                let reason =
                    format!("records wait for partition {highest} of topic {topic}, which has {count}");
                return Err(TransactionFailure::Reopen(reason));
            }
        }
        Ok(())
    }

    /// Fails if the open transaction cannot come to its end any more: when it has failed, the client
    /// keeps its records, and waiting for them would be in vain.
    fn check_transaction(&self, action: &str) -> Result<(), TransactionFailure> {
        if self.producer.client().fatal_error().is_some() {
            return Err(self.failure(action, &ClientError::Global(Code::Fatal)));
        }
        // To begin another one is refused while one is open, and changes nothing; of one that has
        // failed, the refusal names the reason.
        match self.producer.begin_transaction() {
            Err(error) if Failure::of(&error).abortable || Failure::of(&error).fatal => {
                Err(self.failure(action, &error))
            }
            _ => Ok(()),
        }
    }

    /// Calls until success, as long as trying again makes sense.
    fn persist(
        &mut self,
        action: &str,
        call: impl Fn(&Client, Duration) -> Result<(), ClientError>,
    ) -> Result<(), TransactionFailure> {
        let done = self.connection.retry(CALL, |longest| call(&self.producer, longest))?;
        done.map_err(|error| self.failure(action, &error))
    }

    fn failure(&self, action: &str, error: &ClientError) -> TransactionFailure {
        let (mut failure, mut reason) = (Failure::of(error), error.to_string());
        // Behind a fatal error, every call fails with a code that only reports that. What it was decides:
        // a producer that was fenced must not come back and fence the other.
        if failure.code == Code::Fatal
            && let Some(fatal) = self.producer.client().fatal_error()
        {
            (failure.code, reason) = fatal;
        }
        match recovery(failure) {
            Recovery::Abort => self.aborting(reason),
            Recovery::Reopen | Recovery::Retry => TransactionFailure::Reopen(reason),
            // The brokers fence a producer, too, whose own transaction was open for too long.
            Recovery::Fenced if self.opened.elapsed() >= self.connection.config.transaction_timeout => {
                let why = format!("The brokers ended the transaction for its age: {reason}");
                TransactionFailure::Reopen(why)
            }
            Recovery::Fenced => TransactionFailure::Final(KafkaError::Fenced { id: self.id.clone() }),
            Recovery::Unauthorized | Recovery::Reject => {
                TransactionFailure::Final(self.refused(action, failure.code, reason))
            }
        }
    }

    /// A transaction that can be sent again, unless the brokers refused its records for good.
    fn aborting(&self, reason: String) -> TransactionFailure {
        match self.connection.health.last() {
            Some((code, reason)) if is_permanent(code) => {
                TransactionFailure::Final(self.refused(STORING, code, reason))
            }
            _ => TransactionFailure::Abort(reason),
        }
    }

    fn refused(&self, action: &str, code: Code, reason: String) -> KafkaError {
        let right = || match code {
            Code::TransactionalIdAuthorizationFailed => Right::on_transactional_id("Write", &self.id),
            Code::ClusterAuthorizationFailed => Right::on_cluster("IdempotentWrite"),
            // The client's calls fail before the log lines come by another thread that name the topic.
            _ => match self.connection.health.denied(DENIAL_TIMEOUT) {
                denied if denied.is_empty() => {
                    Right::on_topics("Write", self.sent_to.keys().cloned().collect())
                }
                denied => Right::on_topics("Write", denied),
            },
        };
        KafkaError::refused(&self.connection.config, action, right, code, reason)
    }
}
