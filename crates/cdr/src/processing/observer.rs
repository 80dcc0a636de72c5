//! Who learns of the processor's course.

use std::time::Duration;

use cdr_model::{PerStream, Stream};

use crate::kafka::{Lags, TopicPartition};

/// Is called when something happens, and must not take long.
pub trait Observer: Send + Sync {
    /// A batch is stored: records by stream, the time since its first one came, and the part of that
    /// which the store took.
    fn stored(&self, counted: &PerStream<u64>, since_first: Duration, store_time: Duration);

    /// A message could not be used.
    fn dead(&self, stream: Stream, reason: &'static str);

    /// How much is still to be read.
    fn lags(&self, lags: &Lags);

    /// The group has assigned partitions.
    fn assigned(&self);

    /// The store does not answer, and is waited for; or it does again.
    fn store_answers(&self, answers: bool);

    /// Whether a broker is connected; reported again and again.
    fn brokers_answer(&self, answer: bool);

    /// A partition is somebody else's from now on.
    fn revoked(&self, partition: &TopicPartition);
}

/// Nobody is interested.
#[cfg(test)]
pub(super) struct Nobody;

#[cfg(test)]
impl Observer for Nobody {
    fn stored(&self, _: &PerStream<u64>, _: Duration, _: Duration) {}
    fn dead(&self, _: Stream, _: &'static str) {}
    fn lags(&self, _: &Lags) {}
    fn assigned(&self) {}
    fn store_answers(&self, _: bool) {}
    fn brokers_answer(&self, _: bool) {}
    fn revoked(&self, _: &TopicPartition) {}
}
