//! One request of each kind, for tests.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ApiKey::{self, *};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Request, StrBytes, encode_request_header_into_buffer};

use crate::kafka::batch::testing::batch;

/// A whole request, and a way to read its answer.
pub struct Sample {
    pub frame: Bytes,
    /// Where in the frame the body begins.
    pub body_at: usize,
    /// Reads header and body of an answer, which have to be all of it.
    pub read: fn(&mut Bytes, i16),
}

pub const TOPIC: &str = "sample";

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic() -> TopicName {
    TopicName(text(TOPIC))
}

fn of<R: Request>(version: i16, request: R) -> Sample {
    let mut frame = BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(77)
        .with_client_id(Some(text("samples")));
    encode_request_header_into_buffer(&mut frame, &header).unwrap();
    let body_at = frame.len();
    request.encode(&mut frame, version).unwrap();
    Sample { frame: frame.freeze(), body_at, read: read::<R> }
}

fn read<R: Request>(answer: &mut Bytes, version: i16) {
    use kafka_protocol::protocol::HeaderVersion;
    let header = ResponseHeader::decode(answer, R::Response::header_version(version)).unwrap();
    assert_eq!(header.correlation_id, 77);
    R::Response::decode(answer, version).unwrap();
    assert!(answer.is_empty(), "{} bytes follow", answer.len());
}

/// A request of a kind, with something in each of its arrays.
pub fn sample(key: ApiKey, version: i16) -> Sample {
    match key {
        Produce | Fetch | ListOffsets | Metadata | OffsetForLeaderEpoch | DeleteRecords => {
            records(key, version)
        }
        FindCoordinator | JoinGroup | Heartbeat | LeaveGroup | SyncGroup | DescribeGroups
        | ListGroups | DeleteGroups => groups(key, version),
        OffsetCommit | OffsetFetch | OffsetDelete => committed_offsets(key, version),
        InitProducerId | AddPartitionsToTxn | AddOffsetsToTxn | EndTxn | TxnOffsetCommit
        | DescribeProducers | DescribeTransactions | ListTransactions => transactions(key, version),
        DescribeConfigs | AlterConfigs | IncrementalAlterConfigs => settings(key, version),
        _ => admin(key, version),
    }
}

fn records(key: ApiKey, version: i16) -> Sample {
    match key {
        Produce => {
            let batch = Bytes::from(batch(&[("key", Some("value"))]).bytes());
            let data = PartitionProduceData::default().with_records(Some(batch));
            let topic = TopicProduceData::default().with_name(topic()).with_partition_data(vec![data]);
            of(version, ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]))
        }
        Fetch => {
            let partition = FetchPartition::default().with_partition_max_bytes(1_000);
            let wanted = FetchTopic::default().with_partitions(vec![partition]);
            let wanted = if version < 13 { wanted.with_topic(topic()) } else { wanted };
            let request = FetchRequest::default().with_max_bytes(1_000).with_topics(vec![wanted]);
            let forgotten = ForgottenTopic::default().with_partitions(vec![1]);
            let with = if version >= 7 { vec![forgotten] } else { Vec::new() };
            of(version, request.with_forgotten_topics_data(with))
        }
        ListOffsets => {
            let partition = ListOffsetsPartition::default().with_timestamp(5);
            let wanted = ListOffsetsTopic::default().with_name(topic()).with_partitions(vec![partition]);
            of(version, ListOffsetsRequest::default().with_topics(vec![wanted]))
        }
        Metadata => {
            let wanted = MetadataRequestTopic::default().with_name(Some(topic()));
            of(version, MetadataRequest::default().with_topics(Some(vec![wanted])))
        }
        OffsetForLeaderEpoch => {
            let partition = OffsetForLeaderPartition::default();
            let wanted =
                OffsetForLeaderTopic::default().with_topic(topic()).with_partitions(vec![partition]);
            of(version, OffsetForLeaderEpochRequest::default().with_topics(vec![wanted]))
        }
        _ => {
            let partition = DeleteRecordsPartition::default();
            let wanted =
                DeleteRecordsTopic::default().with_name(topic()).with_partitions(vec![partition]);
            of(version, DeleteRecordsRequest::default().with_topics(vec![wanted]))
        }
    }
}

fn groups(key: ApiKey, version: i16) -> Sample {
    let group = GroupId(text("group"));
    match key {
        FindCoordinator if version < 4 => {
            of(version, FindCoordinatorRequest::default().with_key(text("group")))
        }
        FindCoordinator => of(
            version,
            FindCoordinatorRequest::default().with_coordinator_keys(vec![text("a"), text("b")]),
        ),
        JoinGroup => {
            let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
            let request =
                JoinGroupRequest::default().with_group_id(group).with_session_timeout_ms(1_000);
            of(version, request.with_protocol_type(text("consumer")).with_protocols(vec![protocol]))
        }
        Heartbeat => of(version, HeartbeatRequest::default().with_group_id(group)),
        LeaveGroup if version < 3 => of(version, LeaveGroupRequest::default().with_group_id(group)),
        LeaveGroup => {
            let member = MemberIdentity::default().with_member_id(text("nobody"));
            of(version, LeaveGroupRequest::default().with_group_id(group).with_members(vec![member]))
        }
        SyncGroup => {
            let assignment = SyncGroupRequestAssignment::default().with_assignment(Bytes::from("mine"));
            of(
                version,
                SyncGroupRequest::default().with_group_id(group).with_assignments(vec![assignment]),
            )
        }
        DescribeGroups => of(version, DescribeGroupsRequest::default().with_groups(vec![group])),
        ListGroups => {
            let states = if version >= 4 { vec![text("Stable")] } else { Vec::new() };
            of(version, ListGroupsRequest::default().with_states_filter(states))
        }
        _ => of(version, DeleteGroupsRequest::default().with_groups_names(vec![group])),
    }
}

fn committed_offsets(key: ApiKey, version: i16) -> Sample {
    let group = GroupId(text("group"));
    match key {
        OffsetCommit => {
            let partition = OffsetCommitRequestPartition::default().with_committed_offset(5);
            let wanted =
                OffsetCommitRequestTopic::default().with_name(topic()).with_partitions(vec![partition]);
            let request = OffsetCommitRequest::default().with_group_id(group);
            of(version, request.with_generation_id_or_member_epoch(-1).with_topics(vec![wanted]))
        }
        OffsetFetch if version < 8 => {
            let wanted =
                OffsetFetchRequestTopic::default().with_name(topic()).with_partition_indexes(vec![0, 1]);
            of(
                version,
                OffsetFetchRequest::default().with_group_id(group).with_topics(Some(vec![wanted])),
            )
        }
        OffsetFetch => {
            let wanted =
                OffsetFetchRequestTopics::default().with_name(topic()).with_partition_indexes(vec![0]);
            let of_group =
                OffsetFetchRequestGroup::default().with_group_id(group).with_topics(Some(vec![wanted]));
            of(version, OffsetFetchRequest::default().with_groups(vec![of_group]))
        }
        _ => {
            let partition = OffsetDeleteRequestPartition::default();
            let wanted =
                OffsetDeleteRequestTopic::default().with_name(topic()).with_partitions(vec![partition]);
            of(version, OffsetDeleteRequest::default().with_group_id(group).with_topics(vec![wanted]))
        }
    }
}

fn transactions(key: ApiKey, version: i16) -> Sample {
    let id = TransactionalId(text("transactional"));
    match key {
        InitProducerId => {
            let request = InitProducerIdRequest::default().with_transactional_id(Some(id));
            of(version, request.with_transaction_timeout_ms(1_000))
        }
        AddPartitionsToTxn => {
            let wanted =
                AddPartitionsToTxnTopic::default().with_name(topic()).with_partitions(vec![0, 1]);
            let request = AddPartitionsToTxnRequest::default().with_v3_and_below_transactional_id(id);
            of(version, request.with_v3_and_below_topics(vec![wanted]))
        }
        AddOffsetsToTxn => {
            let request = AddOffsetsToTxnRequest::default().with_transactional_id(id);
            of(version, request.with_group_id(GroupId(text("group"))))
        }
        EndTxn => of(version, EndTxnRequest::default().with_transactional_id(id).with_committed(true)),
        TxnOffsetCommit => {
            let partition = TxnOffsetCommitRequestPartition::default();
            let wanted = TxnOffsetCommitRequestTopic::default()
                .with_name(topic())
                .with_partitions(vec![partition]);
            let request = TxnOffsetCommitRequest::default().with_transactional_id(id);
            of(version, request.with_group_id(GroupId(text("group"))).with_topics(vec![wanted]))
        }
        DescribeProducers => {
            let wanted = TopicRequest::default().with_name(topic()).with_partition_indexes(vec![0]);
            of(version, DescribeProducersRequest::default().with_topics(vec![wanted]))
        }
        DescribeTransactions => {
            of(version, DescribeTransactionsRequest::default().with_transactional_ids(vec![id]))
        }
        _ => {
            let request = ListTransactionsRequest::default().with_state_filters(vec![text("Ongoing")]);
            of(version, request.with_producer_id_filters(vec![5.into()]))
        }
    }
}

fn settings(key: ApiKey, version: i16) -> Sample {
    match key {
        DescribeConfigs => {
            let wanted =
                DescribeConfigsResource::default().with_resource_type(2).with_resource_name(text(TOPIC));
            let wanted = wanted.with_configuration_keys(Some(vec![text("cleanup.policy")]));
            of(version, DescribeConfigsRequest::default().with_resources(vec![wanted]))
        }
        AlterConfigs => {
            let config =
                AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text("-1")));
            let wanted =
                AlterConfigsResource::default().with_resource_type(2).with_resource_name(text(TOPIC));
            let wanted = wanted.with_configs(vec![config]);
            of(version, AlterConfigsRequest::default().with_resources(vec![wanted]))
        }
        _ => {
            let config = incremental::AlterableConfig::default()
                .with_name(text("cleanup.policy"))
                .with_config_operation(2)
                .with_value(Some(text("compact")));
            let wanted = incremental::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(TOPIC))
                .with_configs(vec![config]);
            of(version, IncrementalAlterConfigsRequest::default().with_resources(vec![wanted]))
        }
    }
}

fn admin(key: ApiKey, version: i16) -> Sample {
    match key {
        ApiVersions if version < 3 => of(version, ApiVersionsRequest::default()),
        ApiVersions => {
            of(version, ApiVersionsRequest::default().with_client_software_name(text("samples")))
        }
        CreateTopics => {
            let config = CreatableTopicConfig::default()
                .with_name(text("cleanup.policy"))
                .with_value(Some(text("compact")));
            let new =
                CreatableTopic::default().with_name(TopicName(text("other"))).with_num_partitions(1);
            let new = new.with_replication_factor(1).with_configs(vec![config]);
            of(version, CreateTopicsRequest::default().with_topics(vec![new]).with_validate_only(true))
        }
        DeleteTopics if version < 6 => {
            of(version, DeleteTopicsRequest::default().with_topic_names(vec![TopicName(text("other"))]))
        }
        DeleteTopics => {
            let gone = DeleteTopicState::default().with_name(Some(TopicName(text("other"))));
            of(version, DeleteTopicsRequest::default().with_topics(vec![gone]))
        }
        DescribeLogDirs => {
            let wanted = DescribableLogDirTopic::default().with_topic(topic()).with_partitions(vec![0]);
            of(version, DescribeLogDirsRequest::default().with_topics(Some(vec![wanted])))
        }
        CreatePartitions => {
            let wanted =
                CreatePartitionsTopic::default().with_name(topic()).with_count(3).with_assignments(None);
            of(
                version,
                CreatePartitionsRequest::default().with_topics(vec![wanted]).with_validate_only(true),
            )
        }
        DescribeCluster => of(version, DescribeClusterRequest::default()),
        other => panic!("there is no sample of {other:?}"),
    }
}
