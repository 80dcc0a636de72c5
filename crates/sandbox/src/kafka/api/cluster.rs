//! Who and what is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::{
    DescribeClusterBroker, DescribeClusterResponse,
};
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeLogDirsRequest, FindCoordinatorRequest, MetadataRequest,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{Context, code, text};
use crate::kafka::batch::LEADER_EPOCH;
use crate::kafka::core::NODE_ID;
use crate::kafka::topic_config::Overrides;
use crate::kafka::topics::{NewTopic, Topic};

/// Stands for "not requested" where a client could request what it is authorized to do.
const NOT_REQUESTED: i32 = i32::MIN;

pub fn metadata(context: &Context, request: MetadataRequest) -> MetadataResponse {
    let core = &context.core;
    let (host, port) = core.address();
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE_ID))
        .with_host(text(host))
        .with_port(i32::from(port));
    // In version 0, an empty list stands for all.
    let all = |topics: &Vec<MetadataRequestTopic>| context.version == 0 && topics.is_empty();
    let topics = match request.topics.filter(|topics| !all(topics)) {
        Some(wanted) => {
            // Before version 4 nobody could prevent topics from being made.
            let create = context.version < 4 || request.allow_auto_topic_creation;
            let by_key = wanted.into_iter().map(|one| ((one.name.clone(), one.topic_id), one));
            let wanted: BTreeMap<_, _> = by_key.collect();
            wanted.into_values().map(|wanted| one_topic(context, wanted, create)).collect()
        }
        None => core.topics.all().iter().map(|topic| describe(topic)).collect(),
    };
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(core.cluster_id.clone())))
        .with_controller_id(BrokerId(NODE_ID))
        .with_topics(topics)
        .with_cluster_authorized_operations(NOT_REQUESTED)
}

fn one_topic(context: &Context, wanted: MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
    let found = find_or_create(context, &wanted, create);
    match found {
        Ok(topic) => describe(&topic),
        Err(error) => MetadataResponseTopic::default()
            .with_error_code(error.code())
            .with_name(wanted.name.or_else(|| (context.version < 12).then(TopicName::default)))
            .with_topic_id(wanted.topic_id)
            .with_topic_authorized_operations(NOT_REQUESTED),
    }
}

fn find_or_create(
    context: &Context,
    wanted: &MetadataRequestTopic,
    create: bool,
) -> Result<Arc<Topic>, ResponseError> {
    context.pass()?;
    let topics = &context.core.topics;
    let Some(name) = &wanted.name else {
        return topics.get_by_id(wanted.topic_id).ok_or(ResponseError::UnknownTopicId);
    };
    if let Some(topic) = topics.get(name) {
        return Ok(topic);
    }
    let config = &context.core.config;
    if !create || !config.auto_create_topics {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    let partitions = config.default_partitions;
    let new = NewTopic { name: name.to_string(), partitions, config: Overrides::new() };
    match topics.create(new, context.core.now_ms()) {
        Ok(topic) => Ok(topic),
        // Another client was faster.
        Err(error) if error.code == ResponseError::TopicAlreadyExists => {
            topics.get(name).ok_or(ResponseError::UnknownTopicOrPartition)
        }
        Err(error) => Err(error.code),
    }
}

fn describe(topic: &Topic) -> MetadataResponseTopic {
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(NODE_ID))
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![BrokerId(NODE_ID)])
            .with_isr_nodes(vec![BrokerId(NODE_ID)])
    };
    let partitions = (0..topic.partitions().len() as i32).map(partition).collect();
    MetadataResponseTopic::default()
        .with_name(Some(name_of(topic)))
        .with_topic_id(topic.id)
        .with_partitions(partitions)
        .with_topic_authorized_operations(NOT_REQUESTED)
}

pub fn name_of(topic: &Topic) -> TopicName {
    TopicName(text(topic.name.clone()))
}

pub fn find_coordinator(context: &Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let (host, port) = context.core.address();
    // 0 is a group, 1 a transactional id.
    let known = match request.key_type {
        0 | 1 => context.pass(),
        _ => Err(ResponseError::InvalidRequest),
    };
    if context.version < 4 {
        return FindCoordinatorResponse::default()
            .with_error_code(code(&known))
            .with_node_id(BrokerId(NODE_ID))
            .with_host(text(host))
            .with_port(i32::from(port));
    }
    let coordinator = |key: StrBytes| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(code(&known))
            .with_node_id(BrokerId(NODE_ID))
            .with_host(text(host.clone()))
            .with_port(i32::from(port))
    };
    let coordinators = request.coordinator_keys.into_iter().map(coordinator).collect();
    FindCoordinatorResponse::default().with_coordinators(coordinators)
}

pub fn describe_cluster(context: &Context, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let (host, port) = context.core.address();
    // 1 stands for brokers, 2 for controllers, of which none can be reached (KIP-919).
    let supported = match request.endpoint_type {
        1 => context.pass(),
        _ => Err(ResponseError::UnsupportedEndpointType),
    };
    let broker = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(NODE_ID))
        .with_host(text(host))
        .with_port(i32::from(port));
    DescribeClusterResponse::default()
        .with_error_code(code(&supported))
        .with_endpoint_type(1)
        .with_cluster_id(text(context.core.cluster_id.clone()))
        .with_controller_id(BrokerId(NODE_ID))
        .with_brokers(if supported.is_ok() { vec![broker] } else { Vec::new() })
        .with_cluster_authorized_operations(NOT_REQUESTED)
}

pub fn describe_log_dirs(context: &Context, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let wanted = request.topics.map(|topics| {
        let names = topics.into_iter().map(|topic| (topic.topic.to_string(), topic.partitions));
        names.collect::<BTreeMap<_, _>>()
    });
    let is_wanted = |topic: &str, index: i32| match &wanted {
        Some(wanted) => wanted.get(topic).is_some_and(|indices| indices.contains(&index)),
        None => true,
    };
    let topics = context.core.topics.all().into_iter().filter_map(|topic| {
        let partitions: Vec<_> = (0..)
            .zip(topic.partitions())
            .filter(|(index, _)| is_wanted(&topic.name, *index))
            .map(|(index, partition)| {
                DescribeLogDirsPartition::default()
                    .with_partition_index(index)
                    .with_partition_size(i64::try_from(partition.size()).unwrap_or(i64::MAX))
            })
            .collect();
        let described = DescribeLogDirsTopic::default().with_name(name_of(&topic));
        (!partitions.is_empty()).then(|| described.with_partitions(partitions))
    });
    let result = DescribeLogDirsResult::default()
        .with_error_code(code(&context.pass()))
        .with_log_dir(text(context.core.config.data_dir.display().to_string()))
        .with_topics(topics.collect())
        .with_total_bytes(-1)
        .with_usable_bytes(-1);
    DescribeLogDirsResponse::default().with_results(vec![result])
}
