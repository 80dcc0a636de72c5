//! What is told of the processor's course.

use std::time::Duration;

use cdr_model::Stream;

use crate::delivery::sink::kafka::{Lags, TopicPartition};

/// Hears what happens, and must not take long.
pub trait Watcher: Send + Sync {
    /// A batch is stored: records of data and voice, the time since its first one came, and the part
    /// of that which the store took.
    fn stored(&self, counted: [u64; 2], since_first: Duration, store_time: Duration);

    /// A message could not be used.
    fn dead(&self, stream: Stream, reason: &'static str);

    /// How much is still to be read.
    fn lags(&self, lags: &Lags);

    /// The group has told which partitions are ours.
    fn assigned(&self);

    /// The store does not answer, and is waited for; or it does again.
    fn store_answers(&self, answers: bool);

    /// Whether a broker is connected; told again and again.
    fn brokers_answer(&self, answer: bool);

    /// A partition is somebody else's from now on.
    fn gone(&self, partition: &TopicPartition);
}
