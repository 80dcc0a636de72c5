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
use super::error::{Failure, KafkaError, Recovery, TransactionFailure, recovery};
use super::health::{Health, HealthContext};
use super::native::{self, Handover};
use super::retry::RetryDeadline;
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

/// What brokers refuse when they refuse a record.
const STORING: &str = "to store records";

/// A transactional producer.
pub struct Producer {
    id: String,
    config: Arc<KafkaConfig>,
    producer: ThreadedProducer<HealthContext>,
    deadline: RetryDeadline,
    opened: Instant,
    /// The highest partition that records were sent to, by topic.
    sent_to: BTreeMap<String, i32>,
}

impl Producer {
    /// Makes a producer. When this returns, any older producer with the same id is fenced, and
    /// what it left open is aborted. Blocks, as all that a producer does.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn open(
        config: &Arc<KafkaConfig>,
        id: &str,
        shutdown: &CancellationToken,
    ) -> Result<Producer, KafkaError> {
        let health = Arc::new(Health::new(&config.brokers));
        let created = config.producer(id).create_with_context(HealthContext(health.clone()));
        let mut producer = Producer {
            id: id.to_owned(),
            config: config.clone(),
            producer: created.map_err(KafkaError::property)?,
            deadline: RetryDeadline::new(health, shutdown.clone(), config),
            opened: Instant::now(),
            sent_to: BTreeMap::new(),
        };
        let begun = producer
            .persist("to begin transactions", |client, longest| client.init_transactions(longest));
        match begun {
            Ok(()) => Ok(producer),
            Err(TransactionFailure::Final(error)) => Err(error),
            Err(
                TransactionFailure::Abort(reason)
                | TransactionFailure::Reopen(reason)
                | TransactionFailure::Overdue(reason),
            ) => Err(producer.rejected("to begin transactions", Code::Fail, reason)),
        }
    }

    /// Drops it, and does not wait long for that.
    pub fn close(self) {
        close_within(CLOSE_TIMEOUT, self);
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// What to do about it.
    pub fn begin(&mut self) -> Result<(), TransactionFailure> {
        self.opened = Instant::now();
        self.persist("to begin a transaction", |producer, _| producer.begin_transaction())
    }

    /// Hands a batch's records to the client, which sends them in its own threads.
    ///
    /// # Errors
    /// What to do about it.
    pub fn send(
        &mut self,
        topic: &str,
        partition: i32,
        batch: &RecordBatch,
    ) -> Result<(), TransactionFailure> {
        self.note_sent(topic, partition);
        match self.config.timestamp {
            RecordTimestamp::Send => self.send_at_once(topic, partition, batch),
            RecordTimestamp::Event => self.send_one_by_one(topic, partition, batch),
        }
    }

    /// Costs half as much as one by one, but the client's call for it takes no timestamps.
    fn send_at_once(
        &mut self,
        topic: &str,
        partition: i32,
        batch: &RecordBatch,
    ) -> Result<(), TransactionFailure> {
        let mut handover = Handover::of(batch);
        loop {
            match handover.hand_over(&self.producer, topic, partition) {
                Ok(()) => return Ok(()),
                Err(Code::QueueFull) => self.await_room("to take records")?,
                Err(code) => return Err(self.not_taken(code)),
            }
        }
    }

    fn send_one_by_one(
        &mut self,
        topic: &str,
        partition: i32,
        batch: &RecordBatch,
    ) -> Result<(), TransactionFailure> {
        for encoded in batch.iter() {
            let record = BaseRecord::to(topic).partition(partition);
            let record = record.key(encoded.key).payload(encoded.value);
            self.enqueue(record.timestamp(encoded.timestamp_ms))?;
        }
        Ok(())
    }

    fn not_taken(&self, code: Code) -> TransactionFailure {
        let error = ClientError::MessageProduction(code);
        match code {
            // The transaction has failed in the meantime.
            Code::State => match self.check_transaction(STORING) {
                Err(failure) => failure,
                Ok(()) => self.aborting(error.to_string()),
            },
            _ => self.failure("to take a record", &error),
        }
    }

    /// Adds one record to the open transaction, with the time of sending.
    ///
    /// # Errors
    /// What to do about it.
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
        match self.sent_to.get_mut(topic) {
            Some(highest) => *highest = partition.max(*highest),
            None => drop(self.sent_to.insert(topic.to_owned(), partition)),
        }
    }

    fn enqueue(&mut self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), TransactionFailure> {
        let mut record = record;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((ClientError::MessageProduction(Code::QueueFull), back)) => {
                    record = back;
                    self.await_room("to take records")?;
                }
                Err((ClientError::MessageProduction(code), _)) => return Err(self.not_taken(code)),
                Err((error, _)) => return Err(self.failure("to take a record", &error)),
            }
        }
    }

    /// Makes everything sent since `begin` visible, at once.
    ///
    /// # Errors
    /// What to do about it. Whether the transaction was committed is then unknown.
    pub fn commit(&mut self) -> Result<(), TransactionFailure> {
        // The client's own wait for records in flight polls in slices of 100 ms, which every
        // commit would pay for; with nothing in flight it does not wait.
        self.flush(STORING)?;
        self.persist("to commit", |producer, longest| producer.commit_transaction(longest))
    }

    /// Drops everything sent since `begin`.
    ///
    /// # Errors
    /// What to do about it.
    pub fn abort(&mut self) -> Result<(), TransactionFailure> {
        self.persist("to abort", |producer, longest| producer.abort_transaction(longest))
    }

    /// Aborts what the brokers will not take, if they let us: readers of committed records would wait
    /// for the end of a transaction that is left open, and so would the start of another shard.
    pub fn abandon(&self, error: &KafkaError) {
        if let KafkaError::Rejected { .. } | KafkaError::Unauthorized { .. } = error
            && let Err(error) = self.producer.abort_transaction(CALL)
        {
            debug!("the transaction is left to the brokers, which abort it: {error}");
        }
    }

    /// Waits until nothing is in flight.
    fn flush(&mut self, action: &str) -> Result<(), TransactionFailure> {
        let mut wait = Wait::begin(self);
        while !native::flush(&self.producer, (wait.begun.elapsed() / 16).max(SHORTEST_SLICE)) {
            self.still_waiting(action, &mut wait)?;
        }
        Ok(())
    }

    /// Waits until the client can take a good many records again, while it goes on sending: were it
    /// to run empty, the brokers would wait for us.
    fn await_room(&mut self, action: &str) -> Result<(), TransactionFailure> {
        let mut wait = Wait::begin(self);
        let full = wait.left;
        while self.producer.in_flight_count() > full - full / 8 {
            pause(ROOM);
            self.still_waiting(action, &mut wait)?;
        }
        Ok(())
    }

    /// Checks from time to time whether waiting makes sense.
    fn still_waiting(&mut self, action: &str, wait: &mut Wait) -> Result<(), TransactionFailure> {
        if wait.begun.elapsed() < wait.longest {
            return Ok(());
        }
        self.check_transaction(action)?;
        // Slow brokers are not absent ones.
        if self.producer.in_flight_count() >= wait.left {
            self.check_partitions()?;
            self.deadline.failure(wait.begun, "records are not acknowledged")?;
        }
        *wait = Wait::begin(self);
        Ok(())
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
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            let failure = Failure { code, fatal: true, retriable: false, abortable: false };
            return Err(self.by_recovery(action, failure, reason));
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
        call: impl Fn(&ThreadedProducer<HealthContext>, Duration) -> Result<(), ClientError>,
    ) -> Result<(), TransactionFailure> {
        loop {
            let begun = Instant::now();
            let Err(error) = call(&self.producer, self.deadline.longest(CALL)) else {
                self.deadline.success();
                return Ok(());
            };
            if recovery(Failure::of(&error)) != Recovery::Retry {
                return Err(self.failure(action, &error));
            }
            self.deadline.failure(begun, &error.to_string())?;
            // Some errors come at once; a short pause keeps us from polling thousands of times.
            if begun.elapsed() < CALL / 10 {
                pause(CALL / 10);
            }
        }
    }

    fn failure(&self, action: &str, error: &ClientError) -> TransactionFailure {
        let failure = Failure::of(error);
        // Behind a fatal error, every call fails with a code that only reports that. What it was decides:
        // a producer that was fenced must not come back and fence the other.
        match self.producer.client().fatal_error() {
            Some((code, reason)) if failure.code == Code::Fatal => {
                self.by_recovery(action, Failure { code, ..failure }, reason)
            }
            _ => self.by_recovery(action, failure, error.to_string()),
        }
    }

    fn by_recovery(&self, action: &str, failure: Failure, reason: String) -> TransactionFailure {
        match recovery(failure) {
            Recovery::Abort => self.aborting(reason),
            Recovery::Reopen | Recovery::Retry => TransactionFailure::Reopen(reason),
            // The brokers fence a producer, too, whose own transaction was open for too long.
            Recovery::Fenced if self.opened.elapsed() >= self.config.transaction_timeout => {
                TransactionFailure::Overdue(reason)
            }
            Recovery::Fenced => TransactionFailure::Final(KafkaError::Fenced { id: self.id.clone() }),
            Recovery::Unauthorized => {
                TransactionFailure::Final(self.unauthorized(action, failure.code, reason))
            }
            Recovery::Reject => TransactionFailure::Final(self.rejected(action, failure.code, reason)),
        }
    }

    /// A transaction that can be sent again, unless the brokers refused its records for good.
    fn aborting(&self, reason: String) -> TransactionFailure {
        match self.deadline.refusal() {
            Some((code, reason)) if recovery(Failure::plain(code)) == Recovery::Unauthorized => {
                TransactionFailure::Final(self.unauthorized(STORING, code, reason))
            }
            Some((code, reason)) => TransactionFailure::Final(self.rejected(STORING, code, reason)),
            None => TransactionFailure::Abort(reason),
        }
    }

    fn unauthorized(&self, action: &str, code: Code, reason: String) -> KafkaError {
        let right = match code {
            Code::TransactionalIdAuthorizationFailed => Right::on_transactional_id("Write", &self.id),
            Code::ClusterAuthorizationFailed => Right::on_cluster("IdempotentWrite"),
            _ => match self.deadline.denied_topics() {
                denied if denied.is_empty() => {
                    Right::on_topics("Write", self.sent_to.keys().cloned().collect())
                }
                denied => Right::on_topics("Write", denied),
            },
        };
        let (brokers, action) = (self.config.brokers.clone(), action.to_owned());
        KafkaError::Unauthorized { brokers, action, right, reason }
    }

    fn rejected(&self, action: &str, code: Code, reason: String) -> KafkaError {
        KafkaError::rejected(&self.config.brokers, action, code, reason)
    }
}

/// Waiting for acknowledgements, up to the next check.
struct Wait {
    begun: Instant,
    longest: Duration,
    /// Records in flight when it began.
    left: i32,
}

impl Wait {
    fn begin(producer: &Producer) -> Wait {
        let longest = producer.deadline.longest(CALL);
        Wait { begun: Instant::now(), longest, left: producer.producer.in_flight_count() }
    }
}
