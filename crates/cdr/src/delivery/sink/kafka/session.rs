//! A transactional producer: its life from fencing older ones to the last commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tracing::debug;

use super::blocks::Block;
use super::config::{KafkaConfig, Timestamps};
use super::error::{Failure, KafkaSinkError, Remedy, remedy};
use super::health::{Health, Patience, Watch, pause};
use super::native::{self, Batch};
use super::retire::retire;
use super::rights::Right;
use crate::delivery::board::Board;

/// How long one call may block before we look at the time and at the wish to stop.
const CALL: Duration = Duration::from_secs(1);

/// How long to leave the client alone when it is full.
const ROOM: Duration = Duration::from_millis(2);

/// The client looks at the end of each slice whether all is sent.
const SHORTEST_SLICE: Duration = Duration::from_millis(1);

/// How long a client is given to end, which takes a tenth of a second.
const RETIRE_PATIENCE: Duration = Duration::from_secs(3);

/// What brokers refuse when they refuse a record.
const STORING: &str = "to store records";

/// Why a transaction did not come to its end.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It must be aborted, and can be sent again.
    Abort(String),
    /// The producer is of no more use; a new one can take over.
    Reconnect(String),
    /// The brokers took the producer for dead, because its transaction was open for too long; in
    /// the meantime another one may have taken over.
    Overdue(String),
    /// The run must stop.
    Final(KafkaSinkError),
}

impl From<KafkaSinkError> for Trouble {
    fn from(error: KafkaSinkError) -> Self {
        Trouble::Final(error)
    }
}

pub(super) struct Session {
    id: String,
    config: Arc<KafkaConfig>,
    producer: ThreadedProducer<Watch>,
    patience: Patience,
    opened: Instant,
    /// The highest partition that records were sent to, by topic.
    sent_to: BTreeMap<String, i32>,
}

impl Session {
    /// Makes a producer. When this returns, any older producer with the same id is fenced, and
    /// what it left open is aborted.
    pub fn open(
        config: &Arc<KafkaConfig>,
        id: &str,
        board: &Arc<Board>,
    ) -> Result<Session, KafkaSinkError> {
        let health = Arc::new(Health::new(&config.brokers));
        let producer = config
            .producer(id)
            .create_with_context(Watch(health.clone()))
            .map_err(|error| KafkaSinkError::Property(error.to_string()))?;
        let patience = Patience::new(health, board.clone(), config.give_up_after);
        let mut session = Session {
            id: id.to_owned(),
            config: config.clone(),
            producer,
            patience,
            opened: Instant::now(),
            sent_to: BTreeMap::new(),
        };
        let begun = session
            .persist("to begin transactions", |producer, longest| producer.init_transactions(longest));
        match begun {
            Ok(()) => Ok(session),
            Err(Trouble::Final(error)) => Err(error),
            Err(Trouble::Abort(reason) | Trouble::Reconnect(reason) | Trouble::Overdue(reason)) => {
                Err(session.rejected("to begin transactions", Code::Fail, reason))
            }
        }
    }

    /// Drops it, and does not wait long for that.
    pub fn retire(self) {
        retire(self, RETIRE_PATIENCE);
    }

    pub fn begin(&mut self) -> Result<(), Trouble> {
        self.opened = Instant::now();
        self.persist("to begin a transaction", |producer, _| producer.begin_transaction())
    }

    /// Hands a block's records to the client, which sends them in its own threads.
    pub fn send(&mut self, topic: &str, partition: i32, block: &Block) -> Result<(), Trouble> {
        match self.sent_to.get_mut(topic) {
            Some(highest) => *highest = partition.max(*highest),
            None => drop(self.sent_to.insert(topic.to_owned(), partition)),
        }
        match self.config.timestamps {
            Timestamps::Send => self.send_at_once(topic, partition, block),
            Timestamps::Event => self.send_one_by_one(topic, partition, block),
        }
    }

    /// Costs half as much as one by one, but the client's call for it takes no timestamps.
    fn send_at_once(&mut self, topic: &str, partition: i32, block: &Block) -> Result<(), Trouble> {
        let mut batch = Batch::of(block);
        loop {
            match batch.hand_over(&self.producer, topic, partition) {
                Ok(()) => return Ok(()),
                Err(Code::QueueFull) => self.await_room("to take records")?,
                Err(code) => return Err(self.not_taken(code)),
            }
        }
    }

    fn send_one_by_one(&mut self, topic: &str, partition: i32, block: &Block) -> Result<(), Trouble> {
        for encoded in block.iter() {
            let record = BaseRecord::to(topic).partition(partition);
            let record = record.key(encoded.key).payload(encoded.value);
            self.enqueue(record.timestamp(encoded.time.as_millis()))?;
        }
        Ok(())
    }

    fn not_taken(&self, code: Code) -> Trouble {
        let error = KafkaError::MessageProduction(code);
        match code {
            // The transaction has failed in the meantime.
            Code::State => match self.look(STORING) {
                Err(trouble) => trouble,
                Ok(()) => self.aborting(error.to_string()),
            },
            _ => self.trouble("to take a record", &error),
        }
    }

    /// Adds the progress record to the open transaction.
    pub fn send_progress(&mut self, topic: &str, key: &str, value: &[u8]) -> Result<(), Trouble> {
        self.enqueue(BaseRecord::to(topic).partition(0).key(key.as_bytes()).payload(value))
    }

    fn enqueue(&mut self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Trouble> {
        let mut record = record;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    record = back;
                    self.await_room("to take records")?;
                }
                Err((KafkaError::MessageProduction(code), _)) => return Err(self.not_taken(code)),
                Err((error, _)) => return Err(self.trouble("to take a record", &error)),
            }
        }
    }

    /// Makes everything sent since `begin` visible, at once.
    pub fn commit(&mut self) -> Result<(), Trouble> {
        // The client's own wait for records in flight polls in slices of 100 ms, which every
        // commit would pay for; with nothing in flight it does not wait.
        self.flush(STORING)?;
        self.persist("to commit", |producer, longest| producer.commit_transaction(longest))
    }

    /// Drops everything sent since `begin`.
    pub fn abort(&mut self) -> Result<(), Trouble> {
        self.persist("to abort", |producer, longest| producer.abort_transaction(longest))
    }

    /// Drops what the brokers will not take, if they let us: readers of committed records would wait
    /// for the end of a transaction that is left open, and so would the start of another shard.
    pub fn abandon(&self, error: &KafkaSinkError) {
        if let KafkaSinkError::Rejected { .. } | KafkaSinkError::Unauthorized { .. } = error
            && let Err(error) = self.producer.abort_transaction(CALL)
        {
            debug!("the transaction is left for the brokers to abort: {error}");
        }
    }

    /// Waits until nothing is in flight.
    fn flush(&mut self, action: &str) -> Result<(), Trouble> {
        let mut wait = Wait::begin(self);
        while !native::flush(&self.producer, (wait.begun.elapsed() / 16).max(SHORTEST_SLICE)) {
            self.still_waiting(action, &mut wait)?;
        }
        Ok(())
    }

    /// Waits until the client can take a good many records again, while it goes on sending: were it
    /// to run empty, the brokers would wait for us.
    fn await_room(&mut self, action: &str) -> Result<(), Trouble> {
        let mut wait = Wait::begin(self);
        let full = wait.left;
        while self.producer.in_flight_count() > full - full / 8 {
            pause(ROOM);
            self.still_waiting(action, &mut wait)?;
        }
        Ok(())
    }

    /// Looks from time to time whether waiting makes sense.
    fn still_waiting(&mut self, action: &str, wait: &mut Wait) -> Result<(), Trouble> {
        if wait.begun.elapsed() < wait.longest {
            return Ok(());
        }
        self.look(action)?;
        // Slow brokers are not absent ones.
        if self.producer.in_flight_count() >= wait.left {
            self.check_partitions()?;
            self.patience.failure(wait.begun, "records are not acknowledged")?;
        }
        *wait = Wait::begin(self);
        Ok(())
    }

    /// Fails if a partition that records were sent to is there no more: the client would wait for it,
    /// and not only as long as a transaction may be open.
    fn check_partitions(&self) -> Result<(), Trouble> {
        for (topic, &highest) in &self.sent_to {
            // Brokers that are away do not tell.
            let Ok(metadata) = self.producer.client().fetch_metadata(Some(topic), CALL) else { break };
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let count = found.map_or(0, |found| found.partitions().len());
            if count as i32 <= highest {
                let reason =
                    format!("records wait for partition {highest} of topic {topic}, which has {count}");
                return Err(Trouble::Reconnect(reason));
            }
        }
        Ok(())
    }

    /// Fails if the open transaction cannot come to its end any more: when it has failed, the client
    /// keeps its records, and waiting for them would be in vain.
    fn look(&self, action: &str) -> Result<(), Trouble> {
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            let failure = Failure { code, fatal: true, retriable: false, abortable: false };
            return Err(self.by_remedy(action, failure, reason));
        }
        // To begin another one is refused while one is open, and changes nothing; of one that has
        // failed, the refusal says why.
        match self.producer.begin_transaction() {
            Err(error) if failure(&error).abortable || failure(&error).fatal => {
                Err(self.trouble(action, &error))
            }
            _ => Ok(()),
        }
    }

    /// Calls until success, as long as trying again makes sense.
    fn persist(
        &mut self,
        action: &str,
        call: impl Fn(&ThreadedProducer<Watch>, Duration) -> Result<(), KafkaError>,
    ) -> Result<(), Trouble> {
        loop {
            let begun = Instant::now();
            let Err(error) = call(&self.producer, self.patience.longest(CALL)) else {
                self.patience.success();
                return Ok(());
            };
            if remedy(failure(&error)) != Remedy::Retry {
                return Err(self.trouble(action, &error));
            }
            self.patience.failure(begun, &error.to_string())?;
            // Some errors come at once; a short pause keeps us from asking thousands of times.
            if begun.elapsed() < CALL / 10 {
                pause(CALL / 10);
            }
        }
    }

    fn trouble(&self, action: &str, error: &KafkaError) -> Trouble {
        let failure = failure(error);
        // Behind a fatal error, every call fails with a code that only says so. What it was decides:
        // a producer that was fenced must not come back and fence the other.
        match self.producer.client().fatal_error() {
            Some((code, reason)) if failure.code == Code::Fatal => {
                self.by_remedy(action, Failure { code, ..failure }, reason)
            }
            _ => self.by_remedy(action, failure, error.to_string()),
        }
    }

    fn by_remedy(&self, action: &str, failure: Failure, reason: String) -> Trouble {
        match remedy(failure) {
            Remedy::Abort => self.aborting(reason),
            Remedy::Reconnect | Remedy::Retry => Trouble::Reconnect(reason),
            // The brokers fence a producer, too, whose own transaction was open for too long.
            Remedy::Fenced if self.opened.elapsed() >= self.config.transaction_timeout => {
                Trouble::Overdue(reason)
            }
            Remedy::Fenced => Trouble::Final(KafkaSinkError::Fenced { id: self.id.clone() }),
            Remedy::Unauthorized => Trouble::Final(self.unauthorized(action, failure.code, reason)),
            Remedy::Reject => Trouble::Final(self.rejected(action, failure.code, reason)),
        }
    }

    /// A transaction that can be sent again, unless the brokers refused its records for good.
    fn aborting(&self, reason: String) -> Trouble {
        match self.patience.refusal() {
            Some((code, reason)) if remedy(Failure::plain(code)) == Remedy::Unauthorized => {
                Trouble::Final(self.unauthorized(STORING, code, reason))
            }
            Some((code, reason)) => Trouble::Final(self.rejected(STORING, code, reason)),
            None => Trouble::Abort(reason),
        }
    }

    fn unauthorized(&self, action: &str, code: Code, reason: String) -> KafkaSinkError {
        let right = match code {
            Code::TransactionalIdAuthorizationFailed => Right::on_transactional_id("Write", &self.id),
            Code::ClusterAuthorizationFailed => Right::on_cluster("IdempotentWrite"),
            _ => match self.patience.denied_topics() {
                denied if denied.is_empty() => {
                    let KafkaConfig { topic_data, topic_voice, topic_progress, .. } = &*self.config;
                    let topics = [topic_data, topic_voice, topic_progress];
                    Right::on_topics("Write", topics.map(String::clone).to_vec())
                }
                denied => Right::on_topics("Write", denied),
            },
        };
        let (brokers, action) = (self.config.brokers.clone(), action.to_owned());
        KafkaSinkError::Unauthorized { brokers, action, right, reason }
    }

    fn rejected(&self, action: &str, code: Code, reason: String) -> KafkaSinkError {
        let (brokers, action) = (self.config.brokers.clone(), action.to_owned());
        KafkaSinkError::Rejected { brokers, action, code, reason }
    }
}

/// Waiting for acknowledgements, up to the next look at it.
struct Wait {
    begun: Instant,
    longest: Duration,
    /// Records in flight when it began.
    left: i32,
}

impl Wait {
    fn begin(session: &Session) -> Wait {
        let longest = session.patience.longest(CALL);
        Wait { begun: Instant::now(), longest, left: session.producer.in_flight_count() }
    }
}

/// Reads off an error what it says of itself.
pub(super) fn failure(error: &KafkaError) -> Failure {
    match error {
        KafkaError::Transaction(error) => Failure {
            code: error.code(),
            fatal: error.is_fatal(),
            retriable: error.is_retriable(),
            abortable: error.txn_requires_abort(),
        },
        other => Failure {
            code: other.rdkafka_error_code().unwrap_or(Code::Fail),
            fatal: other.rdkafka_error_code() == Some(Code::Fatal),
            retriable: false,
            abortable: false,
        },
    }
}
