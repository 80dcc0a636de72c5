//! The Kafka client: the only room that knows librdkafka.
//!
//! Whatever blocks here must be called on a thread of the runtime that may. Waiting for brokers ends
//! with the configured time, or with the shutdown token.

mod assignment;
mod batch;
mod close;
mod cluster;
mod config;
mod connection;
mod dead_letters;
mod error;
mod health;
mod member;
mod native;
mod placement;
mod producer;
mod rights;

pub use assignment::{Lag, Lags, Rebalance, StartOffset, TopicPartition};
pub use batch::{Encoded, RecordBatch};
pub use cluster::{Cluster, Isolation, NewTopic, ReadRecord, TopicRange};
pub use config::{
    Compression, KafkaConfig, PropertyError, RecordTimestamp, USUAL_PROPERTIES, check_property,
};
pub use connection::SHUTDOWN_TIMEOUT;
pub use dead_letters::{DeadLetter, DeadLetters};
pub use error::{KafkaError, TransactionFailure};
pub use member::{Member, Polled, Received, Standby};
pub use native::Handover;
pub use placement::partition;
pub use producer::Producer;
pub use rights::Right;
