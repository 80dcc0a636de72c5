//! Short ranges of committed records.

use std::time::Instant;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::{Message, Offset, TopicPartitionList};
use tracing::debug;

use super::{CALL, Cluster};
use crate::kafka::error::{KafkaError, is_retriable};
use crate::kafka::rights::Right;

/// A record that was read.
#[derive(Clone, Copy, Debug)]
pub struct ReadRecord<'a> {
    pub partition: i32,
    pub offset: i64,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

impl Cluster {
    /// Reads the committed records of a partition from one offset to before another.
    ///
    /// # Errors
    /// Brokers that are away for too long, or that refuse.
    pub fn read(
        &mut self,
        topic: &str,
        partition: i32,
        begin: i64,
        end: i64,
        mut each: impl FnMut(ReadRecord<'_>),
    ) -> Result<(), KafkaError> {
        if begin >= end {
            return Ok(());
        }
        let action = format!("to read topic {topic}");
        let right = || Right::on_topic("Read", topic);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(begin))
            .and_then(|()| self.committed.assign(&list))
            .map_err(|error| self.refused(&action, right(), &error))?;
        loop {
            let polled = Instant::now();
            match self.committed.poll(self.deadline.longest(CALL)) {
                Some(Ok(message)) if message.offset() < end => each(ReadRecord {
                    partition,
                    offset: message.offset(),
                    key: message.key().unwrap_or_default(),
                    value: message.payload().unwrap_or_default(),
                }),
                Some(Ok(_) | Err(ClientError::PartitionEOF(_))) => break,
                Some(Err(error)) if is_of_the_group(&error) => debug!("{error}: no group is used"),
                Some(Err(error)) if !is_retriable(&error) => {
                    return Err(self.refused(&action, right(), &error));
                }
                Some(Err(error)) => self.deadline.failure(polled, &error.to_string())?,
                None => self.deadline.failure(polled, "records are not delivered")?,
            }
        }
        self.deadline.success();
        // Unassigning cannot fail in a way that matters: the next reading assigns again.
        drop(self.committed.unassign());
        debug!("read records {begin} to {end} of {topic}, partition {partition}");
        Ok(())
    }
}

/// Whether an error is about the consumer's group. It joins none; the client only wants a name for
/// one, and queries who coordinates it.
fn is_of_the_group(error: &ClientError) -> bool {
    error.rdkafka_error_code() == Some(Code::GroupAuthorizationFailed)
}
