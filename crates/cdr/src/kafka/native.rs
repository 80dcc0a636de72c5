//! The calls of librdkafka that rust-rdkafka does not offer as we need them. The only unsafe code of
//! the project stands here.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings::{
    RD_KAFKA_MSG_F_COPY, rd_kafka_AdminOptions_destroy, rd_kafka_AdminOptions_new,
    rd_kafka_AdminOptions_set_request_timeout, rd_kafka_DescribeTopics,
    rd_kafka_DescribeTopics_result_topics, rd_kafka_TopicCollection_destroy,
    rd_kafka_TopicCollection_of_topic_names, rd_kafka_TopicDescription_error,
    rd_kafka_TopicDescription_name, rd_kafka_TopicDescription_t, rd_kafka_TopicDescription_topic_id,
    rd_kafka_Uuid_base64str, rd_kafka_Uuid_least_significant_bits, rd_kafka_Uuid_most_significant_bits,
    rd_kafka_admin_op_t, rd_kafka_error_code, rd_kafka_event_DescribeTopics_result,
    rd_kafka_event_destroy, rd_kafka_event_error, rd_kafka_flush, rd_kafka_message_t,
    rd_kafka_produce_batch, rd_kafka_queue_destroy, rd_kafka_queue_new, rd_kafka_queue_poll,
    rd_kafka_topic_destroy, rd_kafka_topic_new,
};
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::{Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;

use super::batch::RecordBatch;

/// Sends what lingers, and waits until nothing is in flight; returns whether that came about within
/// the time, of which only whole milliseconds count.
///
/// rust-rdkafka waits in slices of 100 ms, and each commit would pay for one.
pub fn flush<C: ProducerContext + 'static>(producer: &ThreadedProducer<C>, longest: Duration) -> bool {
    let longest_ms = i32::try_from(longest.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the pointer is that of a live producer, which is borrowed for the call;
    // `rd_kafka_flush` may be called from any thread. The producer's own thread serves the delivery
    // reports meanwhile, as librdkafka requires.
    let result = unsafe { rd_kafka_flush(producer.client().native_ptr(), longest_ms) };
    result == RD_KAFKA_RESP_ERR_NO_ERROR
}

/// The records of a batch that the client has not taken yet.
pub struct Handover<'a> {
    messages: Vec<rd_kafka_message_t>,
    taken: usize,
    /// The messages point into it.
    batch: PhantomData<&'a RecordBatch>,
}

impl<'a> Handover<'a> {
    pub fn of(batch: &'a RecordBatch) -> Self {
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
        let messages = batch.iter().map(|encoded| message(encoded.value, encoded.key)).collect();
        Handover { messages, taken: 0, batch: PhantomData }
    }

    /// Hands the records to the client, which copies them.
    ///
    /// # Errors
    /// The first record that was not taken has the reason. When the queue is full, none behind it was
    /// taken either, and the rest can be handed over again.
    pub fn hand_over<C: ProducerContext + 'static>(
        &mut self,
        producer: &ThreadedProducer<C>,
        topic: &str,
        partition: i32,
    ) -> Result<(), Code> {
        let name = CString::new(topic).map_err(|_| Code::UnknownTopic)?;
        // SAFETY: the client is alive, as its producer is borrowed; without a configuration the client's
        // own default holds.
        let topic = unsafe {
            rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut())
        };
        if topic.is_null() {
            return Err(Code::UnknownTopic);
        }
        // There is one topic behind all handles of a name.
        let topic = Owned(topic, rd_kafka_topic_destroy);
        let rest = &mut self.messages[self.taken..];
        let count = i32::try_from(rest.len()).map_err(|_| Code::QueueFull)?;
        // SAFETY: the topic is open; `rest` has `count` messages, whose keys and payloads lie in the
        // batch that `self` borrows. The client copies payloads because of the flag and keys always,
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

/// Queries the ids of topics, for which rust-rdkafka has no call. Topics that do not exist, or that the
/// login may not see, are left out, and so is all where brokers give no ids.
pub fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    longest: Duration,
) -> Result<BTreeMap<String, String>, Code> {
    let names: Vec<CString> = topics.iter().filter_map(|name| CString::new(*name).ok()).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let longest_ms = i32::try_from(longest.as_millis()).unwrap_or(i32::MAX);
    let client = client.native_ptr();
    // SAFETY: the client is borrowed by the caller for the whole call, and all that is made from it here
    // is given back before, by `Owned`. The names live as long as `pointers` is used, and are copied; a
    // buffer of no length is not written to. The answer comes to a queue of our own, so that nobody else
    // takes it, and what the event holds lives as long as it does.
    unsafe {
        let queue = Owned(rd_kafka_queue_new(client), rd_kafka_queue_destroy);
        let collection = Owned(
            rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            rd_kafka_TopicCollection_destroy,
        );
        let options = Owned(
            rd_kafka_AdminOptions_new(client, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS),
            rd_kafka_AdminOptions_destroy,
        );
        rd_kafka_AdminOptions_set_request_timeout(options.0, longest_ms, ptr::null_mut(), 0);
        rd_kafka_DescribeTopics(client, collection.0, options.0, queue.0);
        // The request's own time ends first; the rest is for its way through the client.
        let event = rd_kafka_queue_poll(queue.0, longest_ms.saturating_add(1_000));
        if event.is_null() {
            return Err(Code::OperationTimedOut);
        }
        let event = Owned(event, rd_kafka_event_destroy);
        let error = rd_kafka_event_error(event.0);
        if error != RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error.into());
        }
        let result = rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return Err(Code::Unknown);
        }
        let mut count = 0;
        let described = rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let described = (0..count).map(|at| *described.add(at));
        let described = described.filter(|topic| !topic.is_null());
        Ok(described.filter_map(|topic| name_and_id(topic)).collect())
    }
}

/// # Safety
/// The description must be live.
unsafe fn name_and_id(topic: *const rd_kafka_TopicDescription_t) -> Option<(String, String)> {
    // SAFETY: the description is live, and what it gives lives as long; texts end with a zero.
    unsafe {
        if rd_kafka_error_code(rd_kafka_TopicDescription_error(topic)) != RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let id = rd_kafka_TopicDescription_topic_id(topic);
        let given = !id.is_null()
            && (rd_kafka_Uuid_most_significant_bits(id), rd_kafka_Uuid_least_significant_bits(id))
                != (0, 0);
        let text = |text: *const c_char| CStr::from_ptr(text).to_string_lossy().into_owned();
        given.then(|| {
            (text(rd_kafka_TopicDescription_name(topic)), text(rd_kafka_Uuid_base64str(id).cast()))
        })
    }
}

/// Something of the client's, with the function that gives it back.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: made by the client for us, not null, and not used any more.
        unsafe { (self.1)(self.0) };
    }
}
