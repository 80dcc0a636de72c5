//! Where partitions begin and end, and making them begin later.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest};

use super::fetch::check_epoch;
use super::{Context, code};
use crate::kafka::batch::LEADER_EPOCH;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const LARGEST_TIMESTAMP: i64 = -3;
/// The first on this node's disk, and the last that was moved elsewhere (KIP-405): here all are on
/// this node's disk.
const EARLIEST_LOCAL: i64 = -4;
const LATEST_MOVED: i64 = -5;

pub fn list_offsets(context: &Context, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let committed_only = request.isolation_level == 1;
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let found = list_offset(context, &topic.name, wanted, committed_only);
            let (timestamp, offset) = *found.as_ref().unwrap_or(&(-1, -1));
            let has_epoch = context.version >= 4 && offset >= 0;
            ListOffsetsPartitionResponse::default()
                .with_partition_index(wanted.partition_index)
                .with_error_code(code(&found))
                .with_timestamp(timestamp)
                .with_offset(offset)
                .with_leader_epoch(if has_epoch { LEADER_EPOCH } else { -1 })
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// Timestamp and offset; -1 for what there is not.
fn list_offset(
    context: &Context,
    topic: &str,
    wanted: &ListOffsetsPartition,
    committed_only: bool,
) -> Result<(i64, i64), ResponseError> {
    context.pass()?;
    let found = context.core.topics.partition(topic, wanted.partition_index);
    let (_, partition) = found.ok_or(ResponseError::UnknownTopicOrPartition)?;
    check_epoch(wanted.current_leader_epoch)?;
    let offsets = partition.offsets();
    let end = if committed_only { offsets.stable } else { offsets.end };
    let at = match wanted.timestamp {
        LATEST => return Ok((-1, end)),
        EARLIEST | EARLIEST_LOCAL => return Ok((-1, offsets.start)),
        LATEST_MOVED => return Ok((-1, -1)),
        LARGEST_TIMESTAMP => None,
        timestamp if timestamp >= 0 => Some(timestamp),
        _ => return Err(ResponseError::UnsupportedVersion),
    };
    let found = partition.find_time(at)?;
    Ok(found.filter(|&(_, offset)| offset < end).unwrap_or((-1, -1)))
}

pub fn offset_for_leader_epoch(
    context: &Context,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let end = context.pass().and_then(|()| {
                check_epoch(wanted.current_leader_epoch)?;
                let found = context.core.topics.partition(&topic.topic, wanted.partition);
                let (_, partition) = found.ok_or(ResponseError::UnknownTopicOrPartition)?;
                // There was only one leader ever.
                let known = wanted.leader_epoch == LEADER_EPOCH;
                Ok(if known { (LEADER_EPOCH, partition.offsets().end) } else { (-1, -1) })
            });
            let (epoch, offset) = *end.as_ref().unwrap_or(&(-1, -1));
            EpochEndOffset::default()
                .with_partition(wanted.partition)
                .with_error_code(code(&end))
                .with_leader_epoch(epoch)
                .with_end_offset(offset)
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

pub fn delete_records(context: &Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let start = context.pass().and_then(|()| {
                let found = context.core.topics.partition(&topic.name, wanted.partition_index);
                found.ok_or(ResponseError::UnknownTopicOrPartition)?.1.delete_before(wanted.offset)
            });
            DeleteRecordsPartitionResult::default()
                .with_partition_index(wanted.partition_index)
                .with_error_code(code(&start))
                .with_low_watermark(start.unwrap_or(-1))
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}
