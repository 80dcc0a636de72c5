//! The broker, with clients that were not written here: kcat, confluent-kafka, kafka-python,
//! franz-go, librdkafka 1.9, and Kafka's own tools on several versions of its Java clients.
//!
//! `scripts/install-test-services` installs them. What is missing makes a test fail.

mod confluent;
mod go;
mod java;
mod kafka_python;
mod kcat;
mod kills;
mod support;
