//! Making and removing topics.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};
use tracing::error;
use uuid::Uuid;

use super::{Context, code_and_message, configs, text};
use crate::kafka::core::NODE_ID;
use crate::kafka::error::ApiError;
use crate::kafka::topic_config::{self, Overrides};
use crate::kafka::topics::NewTopic;

pub fn create_topics(context: &Context, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let results = request.topics.into_iter().map(|topic| {
        let name = topic.name.clone();
        match create_topic(context, topic, request.validate_only) {
            Ok(result) => result.with_name(name),
            Err(error) => CreatableTopicResult::default()
                .with_name(name)
                .with_error_code(error.code.code())
                .with_error_message(error.message.map(text))
                .with_num_partitions(-1)
                .with_replication_factor(-1),
        }
    });
    CreateTopicsResponse::default().with_topics(results.collect())
}

fn create_topic(
    context: &Context,
    topic: CreatableTopic,
    dry: bool,
) -> Result<CreatableTopicResult, ApiError> {
    context.pass()?;
    let mut config = Overrides::new();
    for entry in &topic.configs {
        let Some(value) = &entry.value else { continue };
        topic_config::check(&entry.name, value)
            .map_err(|why| ApiError::new(ResponseError::InvalidConfig, why))?;
        config.insert(entry.name.to_string(), value.to_string());
    }
    let core = &context.core;
    let partitions = partitions_of(&topic, core.config.default_partitions)?;
    let new = NewTopic { name: topic.name.to_string(), partitions, config: config.clone() };
    let id = match dry {
        true => core.topics.check(&new).map(|()| Uuid::nil()),
        false => core.topics.create(new, core.now_ms()).map(|topic| topic.id),
    };
    let configs = configs::entries(&config, &core.config).map(|entry| {
        CreatableTopicConfigs::default()
            .with_name(text(entry.name))
            .with_value(Some(text(entry.value)))
            .with_config_source(entry.source)
    });
    Ok(CreatableTopicResult::default()
        .with_topic_id(id?)
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(Some(configs.collect())))
}

fn partitions_of(topic: &CreatableTopic, default: i32) -> Result<i32, ApiError> {
    if !topic.assignments.is_empty() {
        let here = topic.assignments.iter().all(|one| one.broker_ids.iter().all(|id| id.0 == NODE_ID));
        let why = format!("the only node is {NODE_ID}");
        let count = i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX);
        let elsewhere = || ApiError::new(ResponseError::InvalidReplicaAssignment, why);
        return here.then_some(count).ok_or_else(elsewhere);
    }
    if !matches!(topic.replication_factor, -1 | 1) {
        let why = format!("there is one node, so there cannot be {} replicas", topic.replication_factor);
        return Err(ApiError::new(ResponseError::InvalidReplicationFactor, why));
    }
    Ok(if topic.num_partitions == -1 { default } else { topic.num_partitions })
}

pub fn delete_topics(context: &Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let mut wanted: Vec<(Option<TopicName>, Uuid)> =
        request.topic_names.into_iter().map(|name| (Some(name), Uuid::nil())).collect();
    wanted.extend(request.topics.into_iter().map(|topic| (topic.name, topic.topic_id)));
    let results = wanted.into_iter().map(|(name, id)| {
        let known = match &name {
            Some(_) => name.clone(),
            None => context.core.topics.get_by_id(id).map(|topic| TopicName(text(topic.name.clone()))),
        };
        let deleted = context
            .pass()
            .and_then(|()| delete_topic(context, known.as_ref().ok_or(ResponseError::UnknownTopicId)?));
        DeletableTopicResult::default()
            .with_name(known)
            .with_topic_id(id)
            .with_error_code(super::code(&deleted))
    });
    DeleteTopicsResponse::default().with_responses(results.collect())
}

fn delete_topic(context: &Context, name: &str) -> Result<(), ResponseError> {
    context.core.topics.delete(name)?;
    if let Err(why) = context.core.groups().forget_topic(name) {
        error!("the offsets that groups have committed for the deleted topic {name} stay: {why}");
    }
    Ok(())
}

pub fn create_partitions(
    context: &Context,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let core = &context.core;
    let results = request.topics.into_iter().map(|wanted| {
        let extended = context.pass().map_err(ApiError::from).and_then(|()| {
            let topic = core.topics.get(&wanted.name);
            let topic = topic.ok_or(ResponseError::UnknownTopicOrPartition)?;
            let dry = request.validate_only;
            core.topics.extend(&topic, wanted.count, dry, core.now_ms())
        });
        let (error, why) = code_and_message(extended);
        CreatePartitionsTopicResult::default()
            .with_name(wanted.name)
            .with_error_code(error)
            .with_error_message(why)
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}
