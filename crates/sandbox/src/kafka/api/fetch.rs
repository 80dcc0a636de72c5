//! Giving records out, and waiting for them.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchResponse, FetchableTopicResponse, PartitionData,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{Answer, Call, Context, encode, on_thread, open};
use crate::kafka::closed::Closed;
use crate::kafka::core::{Budget, Core};
use crate::kafka::partition::{Portion, Read};
use crate::kafka::topics::Topic;

/// An answer holds at most about this much, whatever the client would take.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Nobody waits longer than this for records.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What one try found in the partitions.
struct Fetched {
    response: FetchResponse,
    bytes: usize,
    failed: bool,
}

pub async fn answer(core: &Arc<Core>, call: Call) -> Result<Option<Answer>, Closed> {
    let (request, context) = open::<FetchRequest>(core, &call)?;
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX);
    let deadline = Instant::now() + wait;
    // What is there is given at once even to those who want more than ever is given.
    let enough = usize::try_from(request.min_bytes).unwrap_or(0).min(ANSWER_BYTES_MAX / 2);
    let request = Arc::new(request);
    loop {
        let mut share = core.answers.take(answer_bytes(&context, &request)).await;
        let notify = Arc::new(Notify::new());
        let (of_task, request_of_task, notify_of_task) =
            (context.clone(), request.clone(), notify.clone());
        let fetched = on_thread(&call, move || {
            // Before the fetch, so that nothing that comes between is missed.
            watch(&of_task, &request_of_task, &notify_of_task);
            fetch(&of_task, &request_of_task)
        });
        let fetched = fetched.await?;
        // Twice: as read from the files, and as sent.
        share = share.map(|share| Budget::reduce(share, 2 * fetched.bytes));
        if fetched.failed || fetched.bytes >= enough || Instant::now() >= deadline {
            return encode(&call, &fetched.response, share).map(Some);
        }
        // Others may use the memory while this one waits.
        drop((fetched, share));
        tokio::select! {
            () = notify.notified() => {}
            () = sleep_until(deadline) => {}
            () = core.stop.cancelled() => return Err(Closed::Stopped),
        }
    }
}

/// Memory that an answer may take: one batch can be larger than what is wanted.
fn answer_bytes(context: &Context, request: &FetchRequest) -> usize {
    let wanted = usize::try_from(request.max_bytes).unwrap_or(0).min(ANSWER_BYTES_MAX);
    let topics = request.topics.iter().filter_map(|wanted| topic_of(context, wanted).ok());
    let largest = topics.map(|topic| topic.effective().max_message_bytes).max().unwrap_or(0);
    (2 * wanted.max(largest)).min(context.core.config.in_flight_bytes)
}

fn topic_of(context: &Context, wanted: &FetchTopic) -> Result<Arc<Topic>, ResponseError> {
    if context.version >= 13 {
        return context.core.topics.get_by_id(wanted.topic_id).ok_or(ResponseError::UnknownTopicId);
    }
    context.core.topics.get(&wanted.topic).ok_or(ResponseError::UnknownTopicOrPartition)
}

fn watch(context: &Context, request: &FetchRequest, notify: &Arc<Notify>) {
    for wanted in &request.topics {
        let Ok(topic) = topic_of(context, wanted) else { continue };
        for partition in &wanted.partitions {
            if let Some(partition) = topic.partition(partition.partition) {
                partition.watch(notify);
            }
        }
    }
}

fn fetch(context: &Context, request: &FetchRequest) -> Fetched {
    if request.session_id != 0 {
        // No sessions are kept (KIP-227): clients send all that they want each time.
        let error = ResponseError::FetchSessionIdNotFound.code();
        let response = FetchResponse::default().with_error_code(error);
        return Fetched { response, bytes: 0, failed: true };
    }
    let mut room = usize::try_from(request.max_bytes).unwrap_or(0).min(ANSWER_BYTES_MAX);
    let (mut bytes, mut failed) = (0, false);
    let topics = request.topics.iter().map(|wanted| {
        let topic = topic_of(context, wanted);
        let partitions = wanted.partitions.iter().map(|wanted| {
            let committed_only = request.isolation_level == 1;
            let read = read(context, topic.as_deref(), wanted, committed_only, room, bytes == 0);
            if let Ok(portion) = &read {
                bytes += portion.batches.len();
                room = room.saturating_sub(portion.batches.len());
            }
            failed |= read.is_err();
            partition_data(wanted.partition, read, committed_only)
        });
        let partitions = partitions.collect();
        FetchableTopicResponse::default()
            .with_topic(wanted.topic.clone())
            .with_topic_id(wanted.topic_id)
            .with_partitions(partitions)
    });
    let response = FetchResponse::default().with_responses(topics.collect());
    Fetched { response, bytes, failed }
}

fn read(
    context: &Context,
    topic: Result<&Topic, &ResponseError>,
    wanted: &FetchPartition,
    committed_only: bool,
    room: usize,
    first: bool,
) -> Result<Portion, ResponseError> {
    context.pass()?;
    let topic = topic.map_err(|error| *error)?;
    let partition = topic.partition(wanted.partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
    check_epoch(wanted.current_leader_epoch)?;
    let of_partition = usize::try_from(wanted.partition_max_bytes).unwrap_or(0);
    partition.read(&Read {
        from: wanted.fetch_offset,
        committed_only,
        // Kafka gives the first batch in any case, so that a client can go on (KIP-74).
        bytes_max: if first { of_partition.min(room).max(1) } else { of_partition.min(room) },
        at_least_one: first,
    })
}

/// Whether a client's idea of the leader's epoch is right; -1 is none.
pub fn check_epoch(epoch: i32) -> Result<(), ResponseError> {
    match epoch {
        -1 | 0 => Ok(()),
        1.. => Err(ResponseError::UnknownLeaderEpoch),
        _ => Err(ResponseError::FencedLeaderEpoch),
    }
}

fn partition_data(
    index: i32,
    read: Result<Portion, ResponseError>,
    committed_only: bool,
) -> PartitionData {
    let data =
        PartitionData::default().with_partition_index(index).with_preferred_read_replica((-1).into());
    let portion = match read {
        Ok(portion) => portion,
        Err(error) => {
            return data
                .with_error_code(error.code())
                .with_high_watermark(-1)
                .with_last_stable_offset(-1)
                .with_log_start_offset(-1)
                .with_records(Some(Default::default()));
        }
    };
    let aborted = portion.aborted.iter().map(|aborted| {
        AbortedTransaction::default()
            .with_producer_id(aborted.producer_id.into())
            .with_first_offset(aborted.first_offset)
    });
    data.with_high_watermark(portion.offsets.end)
        .with_last_stable_offset(portion.offsets.stable)
        .with_log_start_offset(portion.offsets.start)
        .with_aborted_transactions(committed_only.then(|| aborted.collect()))
        .with_records(Some(portion.batches))
}
