//! The broker, with clients that were not written here: kcat, confluent-kafka, kafka-python, and Kafka's
//! own tools.
//!
//! `scripts/install-test-services` installs them. What is missing makes a test fail.

mod confluent;
mod java;
mod kafka_python;
mod kcat;
mod kills;
mod support;
