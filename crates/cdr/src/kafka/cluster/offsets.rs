//! Where topics begin and end.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use super::{Cluster, Isolation};
use crate::kafka::error::KafkaError;
use crate::kafka::rights::Right;
use crate::pause::pause;

/// Longer than a transaction of a run at work is open, and than its records take to become visible.
const VISIBLE_AFTER: Duration = Duration::from_secs(3);

impl Cluster {
    /// The end offsets of a topic's partitions; `None` if it does not exist.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn end_offsets(&mut self, topic: &str) -> Result<Option<Vec<i64>>, KafkaError> {
        let ranges = self.ranges(topic, Isolation::Uncommitted)?;
        Ok(ranges.map(|partitions| partitions.into_iter().map(|(_, end)| end).collect()))
    }

    /// Where a reader of committed records finds the first and the last of each partition; `None` if
    /// the topic does not exist.
    ///
    /// A commit is answered a moment before its records are visible. So it waits until all are that
    /// stand there now, but not for long: a transaction may be open whose producer is gone.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn committed_range(&mut self, topic: &str) -> Result<Option<Vec<(i64, i64)>>, KafkaError> {
        let (begun, ends) = (Instant::now(), self.end_offsets(topic)?);
        loop {
            let ranges = self.ranges(topic, Isolation::Committed)?;
            let visible = ranges.iter().flatten().map(|&(_, end)| end);
            let all = ends.iter().flatten().zip(visible).all(|(&end, visible)| visible >= end);
            if all || begun.elapsed() >= VISIBLE_AFTER {
                return Ok(ranges);
            }
            pause(Duration::from_millis(20));
        }
    }

    fn ranges(
        &mut self,
        topic: &str,
        isolation: Isolation,
    ) -> Result<Option<Vec<(i64, i64)>>, KafkaError> {
        let Some(partitions) = self.partitions(topic)? else { return Ok(None) };
        let ranges =
            (0..partitions as i32).map(|partition| self.partition_range(topic, partition, isolation));
        ranges.collect::<Result<_, _>>().map(Some)
    }

    /// The first offset of a partition, and the one behind its last.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn partition_range(
        &mut self,
        topic: &str,
        partition: i32,
        isolation: Isolation,
    ) -> Result<(i64, i64), KafkaError> {
        let action = format!("to report where topic {topic} ends");
        self.query(&action, Right::on_topic("Describe", topic), |cluster, longest| {
            cluster.consumer(isolation).fetch_watermarks(topic, partition, longest)
        })
    }
}
