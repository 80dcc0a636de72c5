//! Sends messages that nobody can process to the dead letter topic, and waits until they are stored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::config::KafkaConfig;
use super::connection::Connection;
use super::error::{Failure, KafkaError, Recovery, recovery};
use super::health::HealthContext;
use super::rights::Right;
use crate::pause::pause;

/// What is sent of a value that is too large; if that is too large, too, of a key, and of both.
const SHORTENED_BYTES: usize = 100_000;
const SHORTEST_BYTES: usize = 1_000;

/// Between tries.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// A message as it came, and why it could not be processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    /// Names and values.
    pub headers: Vec<(&'static str, String)>,
}

/// Sends dead letters to one topic.
pub struct DeadLetters {
    topic: String,
    connection: Connection,
    producer: FutureProducer<HealthContext>,
}

impl DeadLetters {
    /// Connects when the first dead letter is sent.
    pub fn new(
        config: &Arc<KafkaConfig>,
        topic: &str,
        shutdown: &CancellationToken,
    ) -> Result<DeadLetters, KafkaError> {
        let connection = Connection::new(config, shutdown);
        let producer = connection.client(&config.plain_producer())?;
        Ok(DeadLetters { topic: topic.to_owned(), connection, producer })
    }

    /// Sends all, and returns when the brokers have stored them. One that they find too large is sent
    /// with fewer others, then alone, and then shortened, with a header that holds its first length.
    pub fn send(&mut self, dead_letters: Vec<DeadLetter>) -> Result<(), KafkaError> {
        let mut groups = vec![dead_letters];
        while let Some(group) = groups.pop() {
            let (begun, alone) = (Instant::now(), group.len() == 1);
            let (mut left, mut large) = (Vec::new(), Vec::new());
            for (dead_letter, code) in self.try_all(group) {
                if is_too_large(code) && !(alone && dead_letter.is_shortest()) {
                    large.push(dead_letter);
                } else {
                    self.check(begun, code)?;
                    left.push(dead_letter);
                }
            }
            // Several may be too large together.
            match large.len() {
                0 => {}
                1 => groups.push(large.into_iter().map(DeadLetter::shortened).collect()),
                count => {
                    groups.push(large.split_off(count / 2));
                    groups.push(large);
                }
            }
            if !left.is_empty() {
                groups.push(left);
                pause(RETRY_INTERVAL);
            }
        }
        self.connection.success();
        Ok(())
    }

    /// Gives those that are not stored, with the reason.
    fn try_all(&self, dead_letters: Vec<DeadLetter>) -> Vec<(DeadLetter, Code)> {
        let code_of = |error: ClientError| error.rdkafka_error_code().unwrap_or(Code::Unknown);
        let (mut failed, mut sent) = (Vec::new(), Vec::new());
        for dead_letter in dead_letters {
            match self.producer.send_result(record(&self.topic, &dead_letter)) {
                Ok(waits) => sent.push((dead_letter, waits)),
                Err((error, _)) => failed.push((dead_letter, code_of(error))),
            }
        }
        for (dead_letter, waits) in sent {
            match Handle::current().block_on(waits) {
                Ok(Ok(_)) => {}
                Ok(Err((error, _))) => failed.push((dead_letter, code_of(error))),
                // The producer is gone, and with it the message.
                Err(_) => failed.push((dead_letter, Code::OperationTimedOut)),
            }
        }
        failed
    }

    /// Fails unless it makes sense to try again.
    fn check(&mut self, begun: Instant, code: Code) -> Result<(), KafkaError> {
        let config = &self.connection.config;
        let of_producer = is_of_producer(code) || self.producer.client().fatal_error().is_some();
        let is_refused = match recovery(Failure::plain(code)) {
            Recovery::Unauthorized => true,
            Recovery::Reject => !of_producer && code != Code::QueueFull,
            _ => false,
        };
        if is_refused {
            let action = format!("to store records in topic {}", self.topic);
            let right = || Right::on_topic("Write", &self.topic);
            return Err(KafkaError::refused(config, &action, right, code, code.to_string()));
        }
        if of_producer {
            self.producer = self.connection.client(&config.plain_producer())?;
        }
        self.connection.failure(begun, &code.to_string())
    }
}

/// Whether the brokers take nothing of this producer, though they might of another.
fn is_of_producer(code: Code) -> bool {
    matches!(
        code,
        Code::OutOfOrderSequenceNumber
            | Code::UnknownProducerId
            | Code::InvalidProducerIdMapping
            | Code::InvalidProducerEpoch
            | Code::Fatal
    )
}

fn is_too_large(code: Code) -> bool {
    matches!(code, Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::InvalidRecord)
}

impl DeadLetter {
    fn key_bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len)
    }

    fn is_shortest(&self) -> bool {
        self.value.len() <= SHORTEST_BYTES && self.key_bytes() <= SHORTEST_BYTES
    }

    /// The beginning of its value, or of its key, with a header that holds its length.
    fn shortened(mut self) -> DeadLetter {
        let (value_bytes, key_bytes) = (self.value.len(), self.key_bytes());
        if value_bytes > SHORTENED_BYTES {
            self.value.truncate(SHORTENED_BYTES);
        } else {
            self.value.truncate(SHORTEST_BYTES);
            self.key.iter_mut().for_each(|key| key.truncate(SHORTEST_BYTES));
        }
        self.note_length("shortened_from_bytes", value_bytes, self.value.len());
        self.note_length("key_shortened_from_bytes", key_bytes, self.key_bytes());
        self
    }

    /// The first length is what the message had.
    fn note_length(&mut self, header: &'static str, before: usize, after: usize) {
        if after < before && self.headers.iter().all(|(name, _)| *name != header) {
            self.headers.push((header, before.to_string()));
        }
    }
}

fn record<'a>(topic: &'a str, dead_letter: &'a DeadLetter) -> FutureRecord<'a, [u8], [u8]> {
    let headers = dead_letter.headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
        headers.insert(Header { key: name, value: Some(value) })
    });
    let record = FutureRecord::to(topic).payload(&*dead_letter.value).headers(headers);
    FutureRecord { key: dead_letter.key.as_deref(), ..record }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: usize, key: usize, then: &[(usize, usize)], headers: &[(&str, &str)]) {
        let (key, headers_then) = (Some(vec![b'k'; key]), vec![("topic", "t".to_owned())]);
        let mut dead_letter = DeadLetter { key, value: vec![b'v'; value], headers: headers_then };
        let mut lengths = Vec::new();
        while !dead_letter.is_shortest() {
            dead_letter = dead_letter.shortened();
            lengths.push((dead_letter.value.len(), dead_letter.key_bytes()));
        }
        assert_eq!(lengths, then);
        let added: Vec<_> =
            dead_letter.headers[1..].iter().map(|(name, value)| (*name, &**value)).collect();
        assert_eq!(added, headers);
    }

    #[test]
    fn what_is_too_large_is_shortened_until_nothing_is_left_to_shorten() {
        check(900, 10, &[], &[]);
        check(1_040_000, 10, &[(100_000, 10), (1_000, 10)], &[("shortened_from_bytes", "1040000")]);
        check(5, 1_040_000, &[(5, 1_000)], &[("key_shortened_from_bytes", "1040000")]);
        check(
            500_000,
            500_000,
            &[(100_000, 500_000), (1_000, 1_000)],
            &[("shortened_from_bytes", "500000"), ("key_shortened_from_bytes", "500000")],
        );
    }
}
