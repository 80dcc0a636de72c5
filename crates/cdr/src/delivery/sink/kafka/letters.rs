//! Sends messages that nobody could use to a topic of their own, and waits until they are stored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::config::KafkaConfig;
use super::error::{Failure, KafkaSinkError, Remedy, remedy};
use super::health::{Health, Patience, Watch, pause};
use super::rights::Right;
use crate::delivery::board::Board;

/// What is sent of a message that is too large.
const SHORTENED_BYTES: usize = 100_000;

/// Between tries.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A message as it came, and what there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    /// Names and values.
    pub headers: Vec<(&'static str, String)>,
}

/// Sends letters to one topic.
pub struct Letters {
    config: Arc<KafkaConfig>,
    topic: String,
    health: Arc<Health>,
    producer: FutureProducer<Watch>,
    patience: Patience,
}

impl Letters {
    /// Connects when the first letter is sent.
    ///
    /// # Errors
    /// Properties that the client does not take.
    pub fn new(
        config: &Arc<KafkaConfig>,
        topic: &str,
        board: &Arc<Board>,
    ) -> Result<Letters, KafkaSinkError> {
        let health = Arc::new(Health::new(&config.brokers));
        let producer = producer(config, &health)?;
        let patience = Patience::new(health.clone(), board.clone(), config.give_up_after);
        Ok(Letters { config: config.clone(), topic: topic.to_owned(), health, producer, patience })
    }

    /// Sends all, and returns when the brokers have stored them. One that they find too large is
    /// shortened, with a header that says from what. Must be called in a thread of the runtime that
    /// may block.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn send(&mut self, letters: Vec<Letter>) -> Result<(), KafkaSinkError> {
        let begun = Instant::now();
        let mut left = letters;
        while !left.is_empty() {
            let failed = self.try_all(left);
            left = Vec::new();
            for (letter, code) in failed {
                if is_too_large(code) && letter.value.len() > SHORTENED_BYTES {
                    left.push(letter.shortened());
                } else {
                    self.check(begun, code)?;
                    left.push(letter);
                }
            }
            if !left.is_empty() {
                pause(AGAIN_AFTER);
            }
        }
        self.patience.success();
        Ok(())
    }

    /// Gives those that are not stored, with the reason.
    fn try_all(&self, letters: Vec<Letter>) -> Vec<(Letter, Code)> {
        let mut failed = Vec::new();
        let mut sent = Vec::new();
        for letter in letters {
            match self.producer.send_result(record(&self.topic, &letter)) {
                Ok(waits) => sent.push((letter, waits)),
                Err((error, _)) => {
                    let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
                    failed.push((letter, code));
                }
            }
        }
        for (letter, waits) in sent {
            let code = match tokio::runtime::Handle::current().block_on(waits) {
                Ok(Ok(_)) => continue,
                Ok(Err((error, _))) => error.rdkafka_error_code().unwrap_or(Code::Unknown),
                // The producer is gone, and with it the message.
                Err(_) => Code::OperationTimedOut,
            };
            failed.push((letter, code));
        }
        failed
    }

    /// Fails unless it makes sense to try again.
    fn check(&mut self, begun: Instant, code: Code) -> Result<(), KafkaSinkError> {
        let brokers = self.config.brokers.clone();
        let (action, reason) = (format!("to store records in topic {}", self.topic), code.to_string());
        match remedy(Failure::plain(code)) {
            Remedy::Unauthorized => {
                let right = Right::on_topic("Write", &self.topic);
                Err(KafkaSinkError::Unauthorized { brokers, action, right, reason })
            }
            Remedy::Reconnect | Remedy::Fenced => {
                self.producer = producer(&self.config, &self.health)?;
                self.patience.failure(begun, &reason)
            }
            Remedy::Reject if code != Code::QueueFull => {
                Err(KafkaSinkError::Rejected { brokers, action, code, reason })
            }
            _ => self.patience.failure(begun, &reason),
        }
    }
}

fn producer(
    config: &KafkaConfig,
    health: &Arc<Health>,
) -> Result<FutureProducer<Watch>, KafkaSinkError> {
    let created = config.plain_producer().create_with_context(Watch(health.clone()));
    created.map_err(|error: KafkaError| KafkaSinkError::Property(error.to_string()))
}

fn is_too_large(code: Code) -> bool {
    matches!(code, Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::InvalidRecord)
}

impl Letter {
    /// The beginning of its value, with a header that tells how long it was.
    fn shortened(mut self) -> Letter {
        self.headers.push(("shortened_from_bytes", self.value.len().to_string()));
        self.value.truncate(SHORTENED_BYTES);
        self
    }
}

fn record<'a>(topic: &'a str, letter: &'a Letter) -> FutureRecord<'a, [u8], [u8]> {
    let headers = letter.headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
        headers.insert(Header { key: name, value: Some(value) })
    });
    let record = FutureRecord::to(topic).payload(&*letter.value).headers(headers);
    match &letter.key {
        Some(key) => record.key(&**key),
        None => record,
    }
}
