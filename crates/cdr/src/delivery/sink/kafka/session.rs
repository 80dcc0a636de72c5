//! A transactional producer: its life from fencing older ones to the last commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings::rd_kafka_flush;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaRespErr;

use super::blocks::Block;
use super::config::{KafkaConfig, Timestamps};
use super::error::{Failure, KafkaSinkError, Remedy, remedy};
use super::health::{Health, Patience, Watch, pause};
use crate::delivery::board::Board;

/// How long one call may block before we look at the time and at the wish to stop.
const CALL: Duration = Duration::from_secs(1);

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
        };
        match session.persist("to begin transactions", |producer| producer.init_transactions(CALL)) {
            Ok(()) => Ok(session),
            Err(Trouble::Final(error)) => Err(error),
            Err(Trouble::Abort(reason) | Trouble::Reconnect(reason) | Trouble::Overdue(reason)) => {
                Err(session.rejected("to begin transactions", reason))
            }
        }
    }

    pub fn begin(&mut self) -> Result<(), Trouble> {
        self.opened = Instant::now();
        self.persist("to begin a transaction", |producer| producer.begin_transaction())
    }

    /// Hands a block's records to the client, which sends them in its own threads.
    pub fn send(&mut self, topic: &str, partition: i32, block: &Block) -> Result<(), Trouble> {
        let event_times = self.config.timestamps == Timestamps::Event;
        for encoded in block.iter() {
            let record = BaseRecord::to(topic).partition(partition);
            let record = record.key(encoded.key).payload(encoded.value);
            let record = match event_times {
                true => record.timestamp(encoded.time.as_millis()),
                false => record,
            };
            self.enqueue(record)?;
        }
        Ok(())
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
                    self.flush("to take records")?;
                }
                // The transaction has failed in the meantime; commit would say so, too.
                Err((KafkaError::MessageProduction(Code::State), _)) => {
                    let reason = KafkaError::MessageProduction(Code::State);
                    return Err(self.aborting("to store records", reason.to_string()));
                }
                Err((error, _)) => return Err(self.trouble("to take a record", &error)),
            }
        }
    }

    /// Makes everything sent since `begin` visible, at once.
    pub fn commit(&mut self) -> Result<(), Trouble> {
        // The client's own wait for records in flight polls in slices of 100 ms, which every
        // commit would pay for; with nothing in flight it does not wait.
        self.flush("to store records")?;
        self.persist("to commit", |producer| producer.commit_transaction(CALL))
    }

    /// Drops everything sent since `begin`.
    pub fn abort(&mut self) -> Result<(), Trouble> {
        self.persist("to abort", |producer| producer.abort_transaction(CALL))
    }

    /// Waits until nothing is in flight.
    fn flush(&mut self, action: &str) -> Result<(), Trouble> {
        let mut left = i32::MAX;
        loop {
            // SAFETY: the pointer is that of the live producer, which `self` owns, and
            // `rd_kafka_flush` may be called from any thread. The producer's own thread serves the
            // delivery reports meanwhile, as librdkafka asks for.
            let result =
                unsafe { rd_kafka_flush(self.producer.client().native_ptr(), CALL.as_millis() as i32) };
            if result == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Ok(());
            }
            if let Some((code, reason)) = self.producer.client().fatal_error() {
                let failure = Failure { code, fatal: true, retriable: false, abortable: false };
                return Err(self.by_remedy(action, failure, reason));
            }
            // Slow brokers are not absent ones.
            let was = std::mem::replace(&mut left, self.producer.in_flight_count());
            if left >= was {
                self.patience.failure("records are not acknowledged")?;
            }
        }
    }

    /// Calls until success, as long as trying again makes sense.
    fn persist(
        &mut self,
        action: &str,
        call: impl Fn(&ThreadedProducer<Watch>) -> Result<(), KafkaError>,
    ) -> Result<(), Trouble> {
        loop {
            let begun = Instant::now();
            let Err(error) = call(&self.producer) else {
                self.patience.success();
                return Ok(());
            };
            if remedy(failure(&error)) != Remedy::Retry {
                return Err(self.trouble(action, &error));
            }
            self.patience.failure(&error.to_string())?;
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
        let brokers = self.config.brokers.clone();
        match remedy(failure) {
            Remedy::Abort => self.aborting(action, reason),
            Remedy::Reconnect | Remedy::Retry => Trouble::Reconnect(reason),
            // The brokers fence a producer, too, whose own transaction was open for too long.
            Remedy::Fenced if self.opened.elapsed() >= self.config.transaction_timeout => {
                Trouble::Overdue(reason)
            }
            Remedy::Fenced => Trouble::Final(KafkaSinkError::Fenced { id: self.id.clone() }),
            Remedy::Unauthorized => {
                let action = action.to_owned();
                Trouble::Final(KafkaSinkError::Unauthorized { brokers, action, reason })
            }
            Remedy::Reject => Trouble::Final(self.rejected(action, reason)),
        }
    }

    /// A transaction that can be sent again, unless the brokers refused its records for good.
    fn aborting(&self, action: &str, reason: String) -> Trouble {
        match self.patience.refusal() {
            Some(refusal) => Trouble::Final(self.rejected(action, refusal)),
            None => Trouble::Abort(reason),
        }
    }

    fn rejected(&self, action: &str, reason: String) -> KafkaSinkError {
        let (brokers, action) = (self.config.brokers.clone(), action.to_owned());
        KafkaSinkError::Rejected { brokers, action, reason }
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
