//! A Kafka-compatible broker of one node, for one developer or one test.
//!
//! It speaks Kafka's protocol as far as producers, consumers, groups, transactions and the usual
//! tools need it, and keeps its data in a folder. What was acknowledged survives the end of the
//! process at any moment; what is older than [`Config::sync_interval`] survives the loss of power.
//!
//! There is no encryption and no login: it is meant for the loopback address.

mod api;
mod batch;
mod broker;
mod closed;
mod compact;
mod config;
mod connection;
mod core;
mod error;
mod files;
mod groups;
mod journal;
mod log;
mod partition;
mod producers;
mod schema;
mod topic_config;
mod topics;
mod transactions;

pub use kafka_protocol::messages::ApiKey;

pub use self::broker::Broker;
pub use self::closed::Closed;
pub use self::config::{Config, DEFAULT_PORT, Limits};
pub use self::error::Error;

#[cfg(test)]
mod tests;
