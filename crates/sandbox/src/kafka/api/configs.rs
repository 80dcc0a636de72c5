//! Settings of topics, which can be changed, and of the broker, which can be read.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as Altered;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{Context, code_and_message, text};
use crate::kafka::config::Config;
use crate::kafka::core::NODE_ID;
use crate::kafka::error::ApiError;
use crate::kafka::topic_config::{self, Kind, Overrides, SETTINGS};
use crate::kafka::topics::Topic;

/// Kafka's codes of kinds of resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Kafka's codes of where a value comes from.
const SET_FOR_TOPIC: i8 = 1;
const SET_FOR_BROKER: i8 = 4;
const DEFAULT: i8 = 5;

/// Kafka's codes of what an incremental change does.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Kafka's codes of kinds of values.
const BOOL: i8 = 1;
const STRING: i8 = 2;
const LONG: i8 = 5;
const DOUBLE: i8 = 6;
const LIST: i8 = 7;

/// A setting's value, and whose it is.
pub struct ConfigEntry {
    pub name: &'static str,
    pub value: String,
    pub source: i8,
    kind: i8,
}

/// All settings of a topic.
pub fn entries<'a>(set: &'a Overrides, config: &'a Config) -> impl Iterator<Item = ConfigEntry> + 'a {
    SETTINGS.iter().map(move |setting| {
        let kind = match setting.kind {
            Kind::Number(_) => LONG,
            Kind::Ratio => DOUBLE,
            Kind::Bool => BOOL,
            Kind::Words([_]) => STRING,
            Kind::Words(_) => LIST,
        };
        match set.get(setting.name) {
            Some(value) => {
                ConfigEntry { name: setting.name, value: value.clone(), source: SET_FOR_TOPIC, kind }
            }
            None => {
                let value = topic_config::default_of(setting, config);
                ConfigEntry { name: setting.name, value, source: DEFAULT, kind }
            }
        }
    })
}

/// What can be known of the broker, by the names of Kafka's settings.
fn broker_entries(config: &Config) -> impl Iterator<Item = ConfigEntry> {
    let retention = config.retention_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let entry = |name, value: String, kind| ConfigEntry { name, value, source: SET_FOR_BROKER, kind };
    [
        entry("auto.create.topics.enable", config.auto_create_topics.to_string(), BOOL),
        entry("broker.id", NODE_ID.to_string(), LONG),
        entry("default.replication.factor", "1".to_owned(), LONG),
        entry("log.retention.bytes", retention.to_string(), LONG),
        entry("log.segment.bytes", config.segment_bytes.to_string(), LONG),
        entry("message.max.bytes", config.max_message_bytes.to_string(), LONG),
        entry("num.partitions", config.default_partitions.to_string(), LONG),
        entry("socket.request.max.bytes", config.max_request_bytes.to_string(), LONG),
    ]
    .into_iter()
}

pub fn describe(context: &Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let by_key =
        request.resources.into_iter().map(|one| ((one.resource_type, one.resource_name.clone()), one));
    let resources: BTreeMap<_, _> = by_key.collect();
    let results = resources.into_values().map(|resource| {
        let found = describe_one(context, &resource);
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        match found {
            Ok(configs) => result.with_configs(configs),
            Err(error) => {
                result.with_error_code(error.code.code()).with_error_message(error.message.map(text))
            }
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn describe_one(
    context: &Context,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, ApiError> {
    context.pass()?;
    let config = &context.core.config;
    let entries: Vec<ConfigEntry> = match resource.resource_type {
        TOPIC => entries(&topic(context, &resource.resource_name)?.config(), config).collect(),
        BROKER => broker_entries(config).collect(),
        other => return Err(unknown_kind(other)),
    };
    // Naming none stands for all, as it does to Kafka.
    let named = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
    let wanted = |entry: &ConfigEntry| match named {
        Some(keys) => keys.iter().any(|key| key.as_str() == entry.name),
        None => true,
    };
    let described = |entry: ConfigEntry| {
        DescribeConfigsResourceResult::default()
            .with_name(text(entry.name))
            .with_value(Some(text(entry.value)))
            .with_read_only(resource.resource_type == BROKER)
            .with_config_source(entry.source)
            .with_config_type(entry.kind)
    };
    Ok(entries.into_iter().filter(wanted).map(described).collect())
}

fn topic(context: &Context, name: &str) -> Result<Arc<Topic>, ResponseError> {
    context.core.topics.get(name).ok_or(ResponseError::UnknownTopicOrPartition)
}

fn unknown_kind(kind: i8) -> ApiError {
    let why =
        format!("only topics ({TOPIC}) have settings that can be changed, not resources of kind {kind}");
    ApiError::new(ResponseError::InvalidRequest, why)
}

pub fn alter(context: &Context, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let responses = request.resources.into_iter().map(|resource| {
        let changed = change(
            context,
            resource.resource_type,
            &resource.resource_name,
            request.validate_only,
            |_| {
                let set = resource.configs.iter();
                let set =
                    set.filter_map(|one| Some((one.name.to_string(), one.value.as_ref()?.to_string())));
                Ok(set.collect())
            },
        );
        let (error, why) = code_and_message(changed);
        Altered::default()
            .with_error_code(error)
            .with_error_message(why)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

pub fn alter_incrementally(
    context: &Context,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let responses = request.resources.into_iter().map(|resource| {
        let changed = change(
            context,
            resource.resource_type,
            &resource.resource_name,
            request.validate_only,
            |mut set| {
                let config = &context.core.config;
                for one in &resource.configs {
                    apply(&mut set, config, &one.name, one.config_operation, one.value.as_ref())?;
                }
                Ok(set)
            },
        );
        let (error, why) = code_and_message(changed);
        AlterConfigsResourceResponse::default()
            .with_error_code(error)
            .with_error_message(why)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn change(
    context: &Context,
    kind: i8,
    name: &str,
    dry: bool,
    changed: impl FnOnce(Overrides) -> Result<Overrides, ApiError>,
) -> Result<(), ApiError> {
    context.pass()?;
    if kind != TOPIC {
        return Err(unknown_kind(kind));
    }
    let topic = topic(context, name)?;
    let set = changed(topic.config())?;
    for (name, value) in &set {
        topic_config::check(name, value)
            .map_err(|why| ApiError::new(ResponseError::InvalidConfig, why))?;
    }
    if dry {
        return Ok(());
    }
    Ok(context.core.topics.configure(&topic, set)?)
}

fn apply(
    set: &mut Overrides,
    config: &Config,
    name: &str,
    operation: i8,
    value: Option<&StrBytes>,
) -> Result<(), ApiError> {
    let invalid = |why: String| ApiError::new(ResponseError::InvalidConfig, why);
    let setting =
        topic_config::find(name).ok_or_else(|| invalid(format!("topics have no setting {name}")))?;
    if operation == DELETE {
        set.remove(name);
        return Ok(());
    }
    let value = value.ok_or_else(|| invalid(format!("{name} is to be changed, but has no value")))?;
    let now = set.get(name).cloned().unwrap_or_else(|| topic_config::default_of(setting, config));
    let words = now.split(',').filter(|word| !word.is_empty() && *word != value.as_str());
    let new = match (operation, setting.kind) {
        (SET, _) => value.to_string(),
        (APPEND, Kind::Words(_)) => words.chain([value.as_str()]).collect::<Vec<_>>().join(","),
        (SUBTRACT, Kind::Words(_)) => words.collect::<Vec<_>>().join(","),
        _ => return Err(invalid(format!("{name} cannot be changed in this way ({operation})"))),
    };
    set.insert(name.to_owned(), new);
    Ok(())
}
