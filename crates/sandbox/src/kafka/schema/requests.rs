//! The fields of the requests that are served, in the order in which they come.
//!
//! Source: the definitions of the messages in Apache Kafka
//! (`clients/src/main/resources/common/message`), in the versions that are served.

use kafka_protocol::messages::ApiKey::{self, *};

use super::Field;
use super::Kind::{Array, Data, Fixed, Structs, Text};

/// In versions from `since` to `until`.
const fn field(since: i16, until: i16, kind: super::Kind) -> Field {
    Field { since, until, kind }
}

/// The fields of a request, and the first version in which lengths are compact and tags follow.
pub fn of(key: ApiKey) -> Option<(i16, &'static [Field])> {
    let fields = match key {
        Produce => (9, PRODUCE_REQUEST),
        Fetch => (12, FETCH_REQUEST),
        ListOffsets => (6, LIST_OFFSETS_REQUEST),
        Metadata => (9, METADATA_REQUEST),
        OffsetCommit => (8, OFFSET_COMMIT_REQUEST),
        OffsetFetch => (6, OFFSET_FETCH_REQUEST),
        FindCoordinator => (3, FIND_COORDINATOR_REQUEST),
        JoinGroup => (6, JOIN_GROUP_REQUEST),
        Heartbeat => (4, HEARTBEAT_REQUEST),
        LeaveGroup => (4, LEAVE_GROUP_REQUEST),
        SyncGroup => (4, SYNC_GROUP_REQUEST),
        DescribeGroups => (5, DESCRIBE_GROUPS_REQUEST),
        ListGroups => (3, LIST_GROUPS_REQUEST),
        ApiVersions => (3, API_VERSIONS_REQUEST),
        CreateTopics => (5, CREATE_TOPICS_REQUEST),
        DeleteTopics => (4, DELETE_TOPICS_REQUEST),
        DeleteRecords => (2, DELETE_RECORDS_REQUEST),
        InitProducerId => (2, INIT_PRODUCER_ID_REQUEST),
        OffsetForLeaderEpoch => (4, OFFSET_FOR_LEADER_EPOCH_REQUEST),
        AddPartitionsToTxn => (3, ADD_PARTITIONS_TO_TXN_REQUEST),
        AddOffsetsToTxn => (3, ADD_OFFSETS_TO_TXN_REQUEST),
        EndTxn => (3, END_TXN_REQUEST),
        TxnOffsetCommit => (3, TXN_OFFSET_COMMIT_REQUEST),
        DescribeConfigs => (4, DESCRIBE_CONFIGS_REQUEST),
        AlterConfigs => (2, ALTER_CONFIGS_REQUEST),
        DescribeLogDirs => (2, DESCRIBE_LOG_DIRS_REQUEST),
        CreatePartitions => (2, CREATE_PARTITIONS_REQUEST),
        DeleteGroups => (2, DELETE_GROUPS_REQUEST),
        IncrementalAlterConfigs => (1, INCREMENTAL_ALTER_CONFIGS_REQUEST),
        OffsetDelete => (99, OFFSET_DELETE_REQUEST),
        DescribeCluster => (0, DESCRIBE_CLUSTER_REQUEST),
        DescribeProducers => (0, DESCRIBE_PRODUCERS_REQUEST),
        DescribeTransactions => (0, DESCRIBE_TRANSACTIONS_REQUEST),
        ListTransactions => (0, LIST_TRANSACTIONS_REQUEST),
        _ => return None,
    };
    Some(fields)
}

const PARTITION_PRODUCE_DATA: &[Field] = &[
    field(3, 11, Fixed(4)), // index
    field(3, 11, Data),     // records
];

const TOPIC_PRODUCE_DATA: &[Field] = &[
    field(3, 11, Text),                                    // name
    field(3, 11, Array(&Structs(PARTITION_PRODUCE_DATA))), // partition_data
];

const PRODUCE_REQUEST: &[Field] = &[
    field(3, 11, Text),                                // transactional_id
    field(3, 11, Fixed(2)),                            // acks
    field(3, 11, Fixed(4)),                            // timeout_ms
    field(3, 11, Array(&Structs(TOPIC_PRODUCE_DATA))), // topic_data
];

const FETCH_PARTITION: &[Field] = &[
    field(4, 16, Fixed(4)),  // partition
    field(9, 16, Fixed(4)),  // current_leader_epoch
    field(4, 16, Fixed(8)),  // fetch_offset
    field(12, 16, Fixed(4)), // last_fetched_epoch
    field(5, 16, Fixed(8)),  // log_start_offset
    field(4, 16, Fixed(4)),  // partition_max_bytes
];

const FETCH_TOPIC: &[Field] = &[
    field(4, 12, Text),                             // topic
    field(13, 16, Fixed(16)),                       // topic_id
    field(4, 16, Array(&Structs(FETCH_PARTITION))), // partitions
];

const FORGOTTEN_TOPIC: &[Field] = &[
    field(7, 12, Text),             // topic
    field(13, 16, Fixed(16)),       // topic_id
    field(7, 16, Array(&Fixed(4))), // partitions
];

const FETCH_REQUEST: &[Field] = &[
    field(4, 14, Fixed(4)),                         // replica_id
    field(4, 16, Fixed(4)),                         // max_wait_ms
    field(4, 16, Fixed(4)),                         // min_bytes
    field(4, 16, Fixed(4)),                         // max_bytes
    field(4, 16, Fixed(1)),                         // isolation_level
    field(7, 16, Fixed(4)),                         // session_id
    field(7, 16, Fixed(4)),                         // session_epoch
    field(4, 16, Array(&Structs(FETCH_TOPIC))),     // topics
    field(7, 16, Array(&Structs(FORGOTTEN_TOPIC))), // forgotten_topics_data
    field(11, 16, Text),                            // rack_id
];

const LIST_OFFSETS_PARTITION: &[Field] = &[
    field(1, 10, Fixed(4)), // partition_index
    field(4, 10, Fixed(4)), // current_leader_epoch
    field(1, 10, Fixed(8)), // timestamp
];

const LIST_OFFSETS_TOPIC: &[Field] = &[
    field(1, 10, Text),                                    // name
    field(1, 10, Array(&Structs(LIST_OFFSETS_PARTITION))), // partitions
];

const LIST_OFFSETS_REQUEST: &[Field] = &[
    field(1, 10, Fixed(4)),                            // replica_id
    field(2, 10, Fixed(1)),                            // isolation_level
    field(1, 10, Array(&Structs(LIST_OFFSETS_TOPIC))), // topics
    field(10, 10, Fixed(4)),                           // timeout_ms
];

const METADATA_REQUEST_TOPIC: &[Field] = &[
    field(10, 12, Fixed(16)), // topic_id
    field(0, 12, Text),       // name
];

const METADATA_REQUEST: &[Field] = &[
    field(0, 12, Array(&Structs(METADATA_REQUEST_TOPIC))), // topics
    field(4, 12, Fixed(1)),                                // allow_auto_topic_creation
    field(8, 10, Fixed(1)),                                // include_cluster_authorized_operations
    field(8, 12, Fixed(1)),                                // include_topic_authorized_operations
];

const OFFSET_COMMIT_REQUEST_PARTITION: &[Field] = &[
    field(2, 8, Fixed(4)), // partition_index
    field(2, 8, Fixed(8)), // committed_offset
    field(6, 8, Fixed(4)), // committed_leader_epoch
    field(2, 8, Text),     // committed_metadata
];

const OFFSET_COMMIT_REQUEST_TOPIC: &[Field] = &[
    field(2, 8, Text),                                             // name
    field(2, 8, Array(&Structs(OFFSET_COMMIT_REQUEST_PARTITION))), // partitions
];

const OFFSET_COMMIT_REQUEST: &[Field] = &[
    field(2, 8, Text),                                         // group_id
    field(2, 8, Fixed(4)),                                     // generation_id_or_member_epoch
    field(2, 8, Text),                                         // member_id
    field(7, 8, Text),                                         // group_instance_id
    field(2, 4, Fixed(8)),                                     // retention_time_ms
    field(2, 8, Array(&Structs(OFFSET_COMMIT_REQUEST_TOPIC))), // topics
];

const OFFSET_FETCH_REQUEST_TOPIC: &[Field] = &[
    field(1, 7, Text),             // name
    field(1, 7, Array(&Fixed(4))), // partition_indexes
];

const OFFSET_FETCH_REQUEST_TOPICS: &[Field] = &[
    field(8, 8, Text),             // name
    field(8, 8, Array(&Fixed(4))), // partition_indexes
];

const OFFSET_FETCH_REQUEST_GROUP: &[Field] = &[
    field(8, 8, Text),                                         // group_id
    field(8, 8, Array(&Structs(OFFSET_FETCH_REQUEST_TOPICS))), // topics
];

const OFFSET_FETCH_REQUEST: &[Field] = &[
    field(1, 7, Text),                                        // group_id
    field(1, 7, Array(&Structs(OFFSET_FETCH_REQUEST_TOPIC))), // topics
    field(8, 8, Array(&Structs(OFFSET_FETCH_REQUEST_GROUP))), // groups
    field(7, 8, Fixed(1)),                                    // require_stable
];

const FIND_COORDINATOR_REQUEST: &[Field] = &[
    field(0, 3, Text),         // key
    field(1, 4, Fixed(1)),     // key_type
    field(4, 4, Array(&Text)), // coordinator_keys
];

const JOIN_GROUP_REQUEST_PROTOCOL: &[Field] = &[
    field(0, 9, Text), // name
    field(0, 9, Data), // metadata
];

const JOIN_GROUP_REQUEST: &[Field] = &[
    field(0, 9, Text),                                         // group_id
    field(0, 9, Fixed(4)),                                     // session_timeout_ms
    field(1, 9, Fixed(4)),                                     // rebalance_timeout_ms
    field(0, 9, Text),                                         // member_id
    field(5, 9, Text),                                         // group_instance_id
    field(0, 9, Text),                                         // protocol_type
    field(0, 9, Array(&Structs(JOIN_GROUP_REQUEST_PROTOCOL))), // protocols
    field(8, 9, Text),                                         // reason
];

const HEARTBEAT_REQUEST: &[Field] = &[
    field(0, 4, Text),     // group_id
    field(0, 4, Fixed(4)), // generation_id
    field(0, 4, Text),     // member_id
    field(3, 4, Text),     // group_instance_id
];

const MEMBER_IDENTITY: &[Field] = &[
    field(3, 5, Text), // member_id
    field(3, 5, Text), // group_instance_id
    field(5, 5, Text), // reason
];

const LEAVE_GROUP_REQUEST: &[Field] = &[
    field(0, 5, Text),                             // group_id
    field(0, 2, Text),                             // member_id
    field(3, 5, Array(&Structs(MEMBER_IDENTITY))), // members
];

const SYNC_GROUP_REQUEST_ASSIGNMENT: &[Field] = &[
    field(0, 5, Text), // member_id
    field(0, 5, Data), // assignment
];

const SYNC_GROUP_REQUEST: &[Field] = &[
    field(0, 5, Text),                                           // group_id
    field(0, 5, Fixed(4)),                                       // generation_id
    field(0, 5, Text),                                           // member_id
    field(3, 5, Text),                                           // group_instance_id
    field(5, 5, Text),                                           // protocol_type
    field(5, 5, Text),                                           // protocol_name
    field(0, 5, Array(&Structs(SYNC_GROUP_REQUEST_ASSIGNMENT))), // assignments
];

const DESCRIBE_GROUPS_REQUEST: &[Field] = &[
    field(0, 5, Array(&Text)), // groups
    field(3, 5, Fixed(1)),     // include_authorized_operations
];

const LIST_GROUPS_REQUEST: &[Field] = &[
    field(4, 5, Array(&Text)), // states_filter
    field(5, 5, Array(&Text)), // types_filter
];

const API_VERSIONS_REQUEST: &[Field] = &[
    field(3, 4, Text), // client_software_name
    field(3, 4, Text), // client_software_version
];

const CREATABLE_REPLICA_ASSIGNMENT: &[Field] = &[
    field(2, 7, Fixed(4)),         // partition_index
    field(2, 7, Array(&Fixed(4))), // broker_ids
];

const CREATABLE_TOPIC_CONFIG: &[Field] = &[
    field(2, 7, Text), // name
    field(2, 7, Text), // value
];

const CREATABLE_TOPIC: &[Field] = &[
    field(2, 7, Text),                                          // name
    field(2, 7, Fixed(4)),                                      // num_partitions
    field(2, 7, Fixed(2)),                                      // replication_factor
    field(2, 7, Array(&Structs(CREATABLE_REPLICA_ASSIGNMENT))), // assignments
    field(2, 7, Array(&Structs(CREATABLE_TOPIC_CONFIG))),       // configs
];

const CREATE_TOPICS_REQUEST: &[Field] = &[
    field(2, 7, Array(&Structs(CREATABLE_TOPIC))), // topics
    field(2, 7, Fixed(4)),                         // timeout_ms
    field(2, 7, Fixed(1)),                         // validate_only
];

const DELETE_TOPIC_STATE: &[Field] = &[
    field(6, 6, Text),      // name
    field(6, 6, Fixed(16)), // topic_id
];

const DELETE_TOPICS_REQUEST: &[Field] = &[
    field(6, 6, Array(&Structs(DELETE_TOPIC_STATE))), // topics
    field(1, 5, Array(&Text)),                        // topic_names
    field(1, 6, Fixed(4)),                            // timeout_ms
];

const DELETE_RECORDS_PARTITION: &[Field] = &[
    field(0, 2, Fixed(4)), // partition_index
    field(0, 2, Fixed(8)), // offset
];

const DELETE_RECORDS_TOPIC: &[Field] = &[
    field(0, 2, Text),                                      // name
    field(0, 2, Array(&Structs(DELETE_RECORDS_PARTITION))), // partitions
];

const DELETE_RECORDS_REQUEST: &[Field] = &[
    field(0, 2, Array(&Structs(DELETE_RECORDS_TOPIC))), // topics
    field(0, 2, Fixed(4)),                              // timeout_ms
];

const INIT_PRODUCER_ID_REQUEST: &[Field] = &[
    field(0, 5, Text),     // transactional_id
    field(0, 5, Fixed(4)), // transaction_timeout_ms
    field(3, 5, Fixed(8)), // producer_id
    field(3, 5, Fixed(2)), // producer_epoch
];

const OFFSET_FOR_LEADER_PARTITION: &[Field] = &[
    field(2, 4, Fixed(4)), // partition
    field(2, 4, Fixed(4)), // current_leader_epoch
    field(2, 4, Fixed(4)), // leader_epoch
];

const OFFSET_FOR_LEADER_TOPIC: &[Field] = &[
    field(2, 4, Text),                                         // topic
    field(2, 4, Array(&Structs(OFFSET_FOR_LEADER_PARTITION))), // partitions
];

const OFFSET_FOR_LEADER_EPOCH_REQUEST: &[Field] = &[
    field(3, 4, Fixed(4)),                                 // replica_id
    field(2, 4, Array(&Structs(OFFSET_FOR_LEADER_TOPIC))), // topics
];

const ADD_PARTITIONS_TO_TXN_TOPIC: &[Field] = &[
    field(0, 3, Text),             // name
    field(0, 3, Array(&Fixed(4))), // partitions
];

const ADD_PARTITIONS_TO_TXN_REQUEST: &[Field] = &[
    field(0, 3, Text),     // v3_and_below_transactional_id
    field(0, 3, Fixed(8)), // v3_and_below_producer_id
    field(0, 3, Fixed(2)), // v3_and_below_producer_epoch
    field(0, 3, Array(&Structs(ADD_PARTITIONS_TO_TXN_TOPIC))), // v3_and_below_topics
];

const ADD_OFFSETS_TO_TXN_REQUEST: &[Field] = &[
    field(0, 3, Text),     // transactional_id
    field(0, 3, Fixed(8)), // producer_id
    field(0, 3, Fixed(2)), // producer_epoch
    field(0, 3, Text),     // group_id
];

const END_TXN_REQUEST: &[Field] = &[
    field(0, 3, Text),     // transactional_id
    field(0, 3, Fixed(8)), // producer_id
    field(0, 3, Fixed(2)), // producer_epoch
    field(0, 3, Fixed(1)), // committed
];

const TXN_OFFSET_COMMIT_REQUEST_PARTITION: &[Field] = &[
    field(0, 3, Fixed(4)), // partition_index
    field(0, 3, Fixed(8)), // committed_offset
    field(2, 3, Fixed(4)), // committed_leader_epoch
    field(0, 3, Text),     // committed_metadata
];

const TXN_OFFSET_COMMIT_REQUEST_TOPIC: &[Field] = &[
    field(0, 3, Text),                                                 // name
    field(0, 3, Array(&Structs(TXN_OFFSET_COMMIT_REQUEST_PARTITION))), // partitions
];

const TXN_OFFSET_COMMIT_REQUEST: &[Field] = &[
    field(0, 3, Text),                                             // transactional_id
    field(0, 3, Text),                                             // group_id
    field(0, 3, Fixed(8)),                                         // producer_id
    field(0, 3, Fixed(2)),                                         // producer_epoch
    field(3, 3, Fixed(4)),                                         // generation_id
    field(3, 3, Text),                                             // member_id
    field(3, 3, Text),                                             // group_instance_id
    field(0, 3, Array(&Structs(TXN_OFFSET_COMMIT_REQUEST_TOPIC))), // topics
];

const DESCRIBE_CONFIGS_RESOURCE: &[Field] = &[
    field(1, 4, Fixed(1)),     // resource_type
    field(1, 4, Text),         // resource_name
    field(1, 4, Array(&Text)), // configuration_keys
];

const DESCRIBE_CONFIGS_REQUEST: &[Field] = &[
    field(1, 4, Array(&Structs(DESCRIBE_CONFIGS_RESOURCE))), // resources
    field(1, 4, Fixed(1)),                                   // include_synonyms
    field(3, 4, Fixed(1)),                                   // include_documentation
];

const ALTERABLE_CONFIG: &[Field] = &[
    field(0, 2, Text), // name
    field(0, 2, Text), // value
];

const ALTER_CONFIGS_RESOURCE: &[Field] = &[
    field(0, 2, Fixed(1)),                          // resource_type
    field(0, 2, Text),                              // resource_name
    field(0, 2, Array(&Structs(ALTERABLE_CONFIG))), // configs
];

const ALTER_CONFIGS_REQUEST: &[Field] = &[
    field(0, 2, Array(&Structs(ALTER_CONFIGS_RESOURCE))), // resources
    field(0, 2, Fixed(1)),                                // validate_only
];

const DESCRIBABLE_LOG_DIR_TOPIC: &[Field] = &[
    field(1, 4, Text),             // topic
    field(1, 4, Array(&Fixed(4))), // partitions
];

const DESCRIBE_LOG_DIRS_REQUEST: &[Field] = &[
    field(1, 4, Array(&Structs(DESCRIBABLE_LOG_DIR_TOPIC))), // topics
];

const CREATE_PARTITIONS_ASSIGNMENT: &[Field] = &[
    field(0, 3, Array(&Fixed(4))), // broker_ids
];

const CREATE_PARTITIONS_TOPIC: &[Field] = &[
    field(0, 3, Text),                                          // name
    field(0, 3, Fixed(4)),                                      // count
    field(0, 3, Array(&Structs(CREATE_PARTITIONS_ASSIGNMENT))), // assignments
];

const CREATE_PARTITIONS_REQUEST: &[Field] = &[
    field(0, 3, Array(&Structs(CREATE_PARTITIONS_TOPIC))), // topics
    field(0, 3, Fixed(4)),                                 // timeout_ms
    field(0, 3, Fixed(1)),                                 // validate_only
];

const DELETE_GROUPS_REQUEST: &[Field] = &[
    field(0, 2, Array(&Text)), // groups_names
];

const INCREMENTALLY_ALTERABLE_CONFIG: &[Field] = &[
    field(0, 1, Text),     // name
    field(0, 1, Fixed(1)), // config_operation
    field(0, 1, Text),     // value
];

const INCREMENTAL_ALTER_CONFIGS_RESOURCE: &[Field] = &[
    field(0, 1, Fixed(1)),                                        // resource_type
    field(0, 1, Text),                                            // resource_name
    field(0, 1, Array(&Structs(INCREMENTALLY_ALTERABLE_CONFIG))), // configs
];

const INCREMENTAL_ALTER_CONFIGS_REQUEST: &[Field] = &[
    field(0, 1, Array(&Structs(INCREMENTAL_ALTER_CONFIGS_RESOURCE))), // resources
    field(0, 1, Fixed(1)),                                            // validate_only
];

const OFFSET_DELETE_REQUEST_PARTITION: &[Field] = &[
    field(0, 0, Fixed(4)), // partition_index
];

const OFFSET_DELETE_REQUEST_TOPIC: &[Field] = &[
    field(0, 0, Text),                                             // name
    field(0, 0, Array(&Structs(OFFSET_DELETE_REQUEST_PARTITION))), // partitions
];

const OFFSET_DELETE_REQUEST: &[Field] = &[
    field(0, 0, Text),                                         // group_id
    field(0, 0, Array(&Structs(OFFSET_DELETE_REQUEST_TOPIC))), // topics
];

const DESCRIBE_CLUSTER_REQUEST: &[Field] = &[
    field(0, 1, Fixed(1)), // include_cluster_authorized_operations
    field(1, 1, Fixed(1)), // endpoint_type
];

const TOPIC_REQUEST: &[Field] = &[
    field(0, 0, Text),             // name
    field(0, 0, Array(&Fixed(4))), // partition_indexes
];

const DESCRIBE_PRODUCERS_REQUEST: &[Field] = &[
    field(0, 0, Array(&Structs(TOPIC_REQUEST))), // topics
];

const DESCRIBE_TRANSACTIONS_REQUEST: &[Field] = &[
    field(0, 0, Array(&Text)), // transactional_ids
];

const LIST_TRANSACTIONS_REQUEST: &[Field] = &[
    field(0, 1, Array(&Text)),     // state_filters
    field(0, 1, Array(&Fixed(8))), // producer_id_filters
    field(1, 1, Fixed(8)),         // duration_filter
];
