//! The calls of librdkafka that rust-rdkafka does not offer as we need them. The only unsafe code of
//! the project stands here.

use std::ffi::{CString, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings::{
    RD_KAFKA_MSG_F_COPY, rd_kafka_flush, rd_kafka_message_t, rd_kafka_produce_batch, rd_kafka_t,
    rd_kafka_topic_destroy, rd_kafka_topic_new, rd_kafka_topic_t,
};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::{Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;

use super::blocks::Block;

/// Sends what lingers, and waits until nothing is in flight; tells whether that came about within
/// the time, of which only whole milliseconds count.
///
/// rust-rdkafka waits in slices of 100 ms, and each commit would pay for one.
pub fn flush<C: ProducerContext + 'static>(producer: &ThreadedProducer<C>, longest: Duration) -> bool {
    let longest_ms = i32::try_from(longest.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the pointer is that of a live producer, which is borrowed for the call;
    // `rd_kafka_flush` may be called from any thread. The producer's own thread serves the delivery
    // reports meanwhile, as librdkafka asks for.
    let result = unsafe { rd_kafka_flush(producer.client().native_ptr(), longest_ms) };
    result == RD_KAFKA_RESP_ERR_NO_ERROR
}

/// The records of a block that the client has not taken yet.
pub struct Batch<'a> {
    messages: Vec<rd_kafka_message_t>,
    taken: usize,
    /// The messages point into it.
    block: PhantomData<&'a Block>,
}

impl<'a> Batch<'a> {
    pub fn of(block: &'a Block) -> Self {
        let message = |payload: &[u8], key: &[u8]| rd_kafka_message_t {
            err: RD_KAFKA_RESP_ERR_NO_ERROR,
            rkt: ptr::null_mut(),
            partition: 0,
            payload: payload.as_ptr().cast_mut().cast::<c_void>(),
            len: payload.len(),
            key: key.as_ptr().cast_mut().cast::<c_void>(),
            key_len: key.len(),
            offset: 0,
            _private: ptr::null_mut(),
        };
        let messages = block.iter().map(|encoded| message(encoded.value, encoded.key)).collect();
        Batch { messages, taken: 0, block: PhantomData }
    }

    /// Hands the records to the client, which copies them.
    ///
    /// # Errors
    /// The first record that was not taken says why. When the queue is full, none behind it was
    /// taken either, and the batch can be handed over again.
    pub fn hand_over<C: ProducerContext + 'static>(
        &mut self,
        producer: &ThreadedProducer<C>,
        topic: &str,
        partition: i32,
    ) -> Result<(), Code> {
        let topic = Topic::open(producer.client().native_ptr(), topic).ok_or(Code::UnknownTopic)?;
        let rest = &mut self.messages[self.taken..];
        let count = i32::try_from(rest.len()).map_err(|_| Code::QueueFull)?;
        // SAFETY: the topic is open; `rest` has `count` messages, whose keys and payloads lie in the
        // block that `self` borrows. The client copies payloads because of the flag and keys always,
        // and writes only to `err`.
        unsafe {
            rd_kafka_produce_batch(topic.0, partition, RD_KAFKA_MSG_F_COPY, rest.as_mut_ptr(), count)
        };
        match rest.iter().position(|message| message.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            None => Ok(()),
            Some(first) => {
                let code = rest[first].err.into();
                self.taken += first;
                Err(code)
            }
        }
    }
}

/// A client's handle of a topic; there is one topic behind all handles of a name.
struct Topic(*mut rd_kafka_topic_t);

impl Topic {
    fn open(client: *mut rd_kafka_t, name: &str) -> Option<Topic> {
        let name = CString::new(name).ok()?;
        // SAFETY: the client is alive, as its producer is borrowed by the caller; without a
        // configuration the client's own default holds.
        let topic = unsafe { rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut()) };
        (!topic.is_null()).then_some(Topic(topic))
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: made by `open`, and not used any more.
        unsafe { rd_kafka_topic_destroy(self.0) };
    }
}
