//! Taking records.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use tracing::warn;

use super::{Answer, Call, Context, encode, on_thread, open, text};
use crate::kafka::batch::{BatchError, BatchHeader};
use crate::kafka::closed::Closed;
use crate::kafka::core::Core;
use crate::kafka::error::ApiError;
use crate::kafka::topics::Topic;

pub async fn answer(core: &Arc<Core>, call: Call) -> Result<Option<Answer>, Closed> {
    let (request, context) = open::<ProduceRequest>(core, &call)?;
    let acks = request.acks;
    let response = on_thread(&call, move || produce(&context, request)).await?;
    match acks {
        0 => Ok(None),
        _ => encode(&call, &response, None).map(Some),
    }
}

fn produce(context: &Context, request: ProduceRequest) -> ProduceResponse {
    let acks = match request.acks {
        -1..=1 => Ok(()),
        _ => Err(ResponseError::InvalidRequiredAcks.into()),
    };
    let topics = request.topic_data.into_iter().map(|data| produce_topic(context, &acks, data));
    ProduceResponse::default().with_responses(topics.collect())
}

fn produce_topic(
    context: &Context,
    acks: &Result<(), ApiError>,
    data: TopicProduceData,
) -> TopicProduceResponse {
    let topic = context.core.topics.get(&data.name);
    let partitions = data.partition_data.into_iter().map(|data| {
        let index = data.index;
        let produced = acks.clone().and_then(|()| produce_partition(context, topic.as_deref(), data));
        let response = PartitionProduceResponse::default().with_index(index).with_log_append_time_ms(-1);
        match produced {
            Ok((offset, start)) => response.with_base_offset(offset).with_log_start_offset(start),
            Err(error) => response
                .with_error_code(error.code.code())
                .with_base_offset(-1)
                .with_log_start_offset(-1)
                .with_error_message(error.message.map(text)),
        }
    });
    let partitions = partitions.collect();
    TopicProduceResponse::default().with_name(data.name).with_partition_responses(partitions)
}

fn produce_partition(
    context: &Context,
    topic: Option<&Topic>,
    data: PartitionProduceData,
) -> Result<(i64, i64), ApiError> {
    context.pass()?;
    let topic = topic.ok_or(ResponseError::UnknownTopicOrPartition)?;
    let partition = topic.partition(data.index).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let records = data.records.unwrap_or_default();
    let effective = topic.effective();
    let header = acceptable(&records, effective.max_message_bytes).inspect_err(|error| {
        let why = error.message.as_deref().unwrap_or_default();
        warn!("refused a batch for {} partition {}: {} {why}", topic.name, data.index, error.code);
    })?;
    let core = &context.core;
    let producer = (header.producer_id, header.producer_epoch);
    let verify = || match header.is_transactional() {
        true => core.transactions().verify(producer, &topic.name, data.index),
        false => Ok(()),
    };
    let (offset, offsets) =
        partition.produce(&header, &records, &effective.retention, core.now_ms(), verify)?;
    Ok((offset, offsets.start))
}

/// A batch that may be stored as it is.
fn acceptable(records: &Bytes, bytes_max: usize) -> Result<BatchHeader, ApiError> {
    let invalid = |why| Err(ApiError::new(ResponseError::InvalidRecord, why));
    if records.len() > bytes_max {
        let why = format!("{} bytes are more than the topic's {bytes_max}", records.len());
        return Err(ApiError::new(ResponseError::MessageTooLarge, why));
    }
    let header = BatchHeader::check(records).map_err(|error| {
        let code = match error {
            BatchError::Magic(_) => ResponseError::UnsupportedForMessageFormat,
            BatchError::Incomplete | BatchError::Checksum | BatchError::Inconsistent => {
                ResponseError::CorruptMessage
            }
        };
        ApiError::new(code, error.to_string())
    })?;
    if header.size != records.len() {
        return invalid("one partition takes exactly one batch with each request");
    }
    if header.records < 1 || header.records - 1 != header.last_offset_delta {
        return invalid("a batch holds at least one record, and one for each offset");
    }
    if header.is_control() || header.is_log_append_time() || header.compression() > 4 {
        return invalid(
            "only brokers send control batches and set the time, and compressions are 0 to 4",
        );
    }
    if header.is_idempotent() && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return invalid("a producer's epoch and sequence numbers are not negative");
    }
    if header.is_transactional() && !header.is_idempotent() {
        return invalid("a transaction's batch names its producer");
    }
    Ok(header)
}
