//! Producers' ids and transactions.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::list_transactions_response::TransactionState as ListedTransaction;
use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestPartition;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse, DescribeProducersRequest, DescribeTransactionsRequest,
    DescribeTransactionsResponse, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
    InitProducerIdResponse, ListTransactionsRequest, ListTransactionsResponse, TopicName,
    TransactionalId, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use super::{Context, code, once, text};
use crate::kafka::batch::Outcome;
use crate::kafka::groups::group::Caller;
use crate::kafka::groups::{Committed, TopicPartition, check_metadata};
use crate::kafka::producers::ProducerInfo;
use crate::kafka::transactions::{Init, Phase, Transaction};

/// The longest transactional id.
const ID_BYTES_MAX: usize = 1_000;

/// A producer may have to be let in a second time, when a transaction of it was aborted.
const ATTEMPTS: usize = 2;

pub fn init_producer_id(context: &Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let known = (request.producer_id.0, request.producer_epoch);
    let expected = (known.0 >= 0 && known.1 >= 0).then_some(known);
    let ready = match &request.transactional_id {
        Some(id) => init(context, id, request.transaction_timeout_ms, expected),
        None => context.pass().and_then(|()| Ok((context.core.transactions().new_producer_id()?, 0))),
    };
    // The code for a fenced producer came with version 4 (KIP-588).
    let ready = ready.map_err(|error| fenced_as_of(context.version >= 4, error));
    let (producer_id, epoch) = *ready.as_ref().unwrap_or(&(-1, -1));
    InitProducerIdResponse::default()
        .with_error_code(code(&ready))
        .with_producer_id(producer_id.into())
        .with_producer_epoch(epoch)
}

fn init(
    context: &Context,
    id: &str,
    timeout_ms: i32,
    expected: Option<(i64, i16)>,
) -> Result<(i64, i16), ResponseError> {
    context.pass()?;
    if id.is_empty() || id.len() > ID_BYTES_MAX {
        return Err(ResponseError::InvalidRequest);
    }
    let core = &context.core;
    for _ in 0..ATTEMPTS {
        let init = core.transactions().init(id, timeout_ms, expected, core.now_ms())?;
        match init {
            Init::Ready { producer_id, epoch } => return Ok((producer_id, epoch)),
            Init::AbortFirst(ending) => core.carry_out(&ending)?,
        }
    }
    Err(ResponseError::ConcurrentTransactions)
}

fn fenced_as_of(knows: bool, error: ResponseError) -> ResponseError {
    match error {
        ResponseError::ProducerFenced if !knows => ResponseError::InvalidProducerEpoch,
        error => error,
    }
}

pub fn add_partitions(
    context: &Context,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let topics = request.v3_and_below_topics;
    let exists = |topic: &str, index| context.core.topics.partition(topic, index).is_some();
    let partitions = || {
        topics.iter().flat_map(|topic| topic.partitions.iter().map(move |&index| (&topic.name, index)))
    };
    let added = context.pass().and_then(|()| {
        if !partitions().all(|(topic, index)| exists(topic, index)) {
            return Ok(false);
        }
        let producer = (request.v3_and_below_producer_id.0, request.v3_and_below_producer_epoch);
        let id = &request.v3_and_below_transactional_id;
        let partitions = partitions().map(|(topic, index)| (topic.to_string(), index));
        let now_ms = context.core.now_ms();
        context.core.transactions().add(id, producer, partitions, [], now_ms)?;
        Ok(true)
    });
    let added = added.map_err(|error| fenced_as_of(context.version >= 2, error));
    let result = |topic: &TopicName, index| match added {
        Ok(true) => 0,
        Ok(false) if exists(topic, index) => ResponseError::OperationNotAttempted.code(),
        Ok(false) => ResponseError::UnknownTopicOrPartition.code(),
        Err(error) => error.code(),
    };
    let results = topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|&index| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(index)
                .with_partition_error_code(result(&topic.name, index))
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(partitions.collect())
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
}

pub fn add_offsets(context: &Context, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let producer = (request.producer_id.0, request.producer_epoch);
    let groups = [request.group_id.to_string()];
    let added = context.pass().and_then(|()| {
        let now_ms = context.core.now_ms();
        context.core.transactions().add(&request.transactional_id, producer, [], groups, now_ms)
    });
    let added = added.map_err(|error| fenced_as_of(context.version >= 2, error));
    AddOffsetsToTxnResponse::default().with_error_code(code(&added))
}

pub fn end(context: &Context, request: EndTxnRequest) -> EndTxnResponse {
    let core = &context.core;
    let producer = (request.producer_id.0, request.producer_epoch);
    let outcome = if request.committed { Outcome::Commit } else { Outcome::Abort };
    let ended = context.pass().and_then(|()| {
        let ending =
            core.transactions().end(&request.transactional_id, producer, outcome, core.now_ms())?;
        ending.map_or(Ok(()), |ending| core.carry_out(&ending))
    });
    let ended = ended.map_err(|error| fenced_as_of(context.version >= 2, error));
    EndTxnResponse::default().with_error_code(code(&ended))
}

pub fn offset_commit(context: &Context, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let core = &context.core;
    let producer = (request.producer_id.0, request.producer_epoch);
    let acceptable = |topic: &str, partition: &TxnOffsetCommitRequestPartition| {
        context.pass()?;
        if core.topics.partition(topic, partition.partition_index).is_none() {
            return Err(ResponseError::UnknownTopicOrPartition);
        }
        check_metadata(partition.committed_metadata.as_deref())
    };
    let mut offsets: Vec<(TopicPartition, Committed)> = Vec::new();
    for topic in &request.topics {
        let good = topic.partitions.iter().filter(|one| acceptable(&topic.name, one).is_ok());
        offsets.extend(good.map(|partition| {
            let committed = Committed {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_ref().map(|metadata| metadata.to_string()),
            };
            ((topic.name.to_string(), partition.partition_index), committed)
        }));
    }
    let committed = context.pass().and_then(|()| commit(context, &request, producer, offsets));
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let result = acceptable(&topic.name, partition).and(committed);
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(&result))
        });
        TxnOffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

fn commit(
    context: &Context,
    request: &TxnOffsetCommitRequest,
    producer: (i64, i16),
    offsets: Vec<(TopicPartition, Committed)>,
) -> Result<(), ResponseError> {
    let core = &context.core;
    let caller = Caller {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    // Under the groups' lock: an end that is decided after this finds the offsets.
    let verify = || core.transactions().verify_group(producer, &request.group_id);
    core.groups().commit_in_transaction(&request.group_id, caller, producer.0, offsets, verify)
}

pub fn describe_producers(
    context: &Context,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let state = |info: ProducerInfo| {
        ProducerState::default()
            .with_producer_id(info.producer_id.into())
            .with_producer_epoch(i32::from(info.epoch))
            .with_last_sequence(info.last_sequence)
            .with_last_timestamp(info.active_ms)
            .with_coordinator_epoch(0)
            .with_current_txn_start_offset(info.open_from)
    };
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = once(topic.partition_indexes).map(|index| {
            let found = context.pass().and_then(|()| {
                let found = context.core.topics.partition(&topic.name, index);
                found.ok_or(ResponseError::UnknownTopicOrPartition)
            });
            let producers = found.as_ref().map(|(_, partition)| partition.producers());
            PartitionResponse::default()
                .with_partition_index(index)
                .with_error_code(code(&found))
                .with_active_producers(producers.unwrap_or_default().into_iter().map(state).collect())
        });
        let partitions = partitions.collect();
        TopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

pub fn describe(
    context: &Context,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let transactions = context.core.transactions();
    let states = once(request.transactional_ids).map(|id| {
        let found = context
            .pass()
            .and_then(|()| transactions.get(&id).ok_or(ResponseError::TransactionalIdNotFound));
        let failed = code(&found);
        let state = TransactionState::default().with_transactional_id(id).with_error_code(failed);
        found.map_or(state.clone(), |known| described(state, known))
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

fn described(state: TransactionState, known: &Transaction) -> TransactionState {
    let mut topics: BTreeMap<&String, Vec<i32>> = BTreeMap::new();
    for (topic, index) in &known.partitions {
        topics.entry(topic).or_default().push(*index);
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        TopicData::default().with_topic(TopicName(text(name))).with_partitions(partitions)
    });
    state
        .with_transaction_state(text(known.phase.name()))
        .with_transaction_timeout_ms(known.timeout_ms)
        .with_transaction_start_time_ms(known.started_ms)
        .with_producer_id(known.producer_id.into())
        .with_producer_epoch(known.epoch)
        .with_topics(topics.collect())
}

pub fn list(context: &Context, request: ListTransactionsRequest) -> ListTransactionsResponse {
    const PHASES: [Phase; 6] = [
        Phase::Empty,
        Phase::Ongoing,
        Phase::PrepareCommit,
        Phase::PrepareAbort,
        Phase::CompleteCommit,
        Phase::CompleteAbort,
    ];
    let now_ms = context.core.now_ms();
    let states = &request.state_filters;
    let unknown =
        states.iter().filter(|state| PHASES.iter().all(|phase| phase.name() != state.as_str()));
    let wanted = |known: &Transaction| {
        let of_state =
            states.is_empty() || states.iter().any(|state| state.as_str() == known.phase.name());
        let ids = &request.producer_id_filters;
        let of_producer = ids.is_empty() || ids.iter().any(|id| id.0 == known.producer_id);
        let age = if known.started_ms < 0 { -1 } else { now_ms - known.started_ms };
        let old_enough = request.duration_filter < 0 || age > request.duration_filter;
        of_state && of_producer && old_enough
    };
    let transactions = context.core.transactions();
    let listed = transactions.all().filter(|(_, known)| wanted(known)).map(|(id, known)| {
        ListedTransaction::default()
            .with_transactional_id(TransactionalId(text(id)))
            .with_producer_id(known.producer_id.into())
            .with_transaction_state(text(known.phase.name()))
    });
    ListTransactionsResponse::default()
        .with_error_code(code(&context.pass()))
        .with_unknown_state_filters(unknown.cloned().collect())
        .with_transaction_states(listed.collect())
}
