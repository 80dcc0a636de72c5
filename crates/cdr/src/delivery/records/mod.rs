//! The records' way into Kafka: encoded, sent, and committed together with the progress of all sinks.

mod blocks;
mod config;
mod deliver;
mod progress_topic;
mod sizer;
mod start;

pub use blocks::{Blocks, Limits, next_time};
pub use config::RecordsConfig;
pub use deliver::RecordDelivery;
pub use progress_topic::{ProgressTopic, RunId};
pub use start::{FencedProducer, Probe, ReadyProducer, RunAtKafka};
