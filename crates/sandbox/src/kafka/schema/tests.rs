use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;

use super::*;
use crate::kafka::api::SERVED;

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn encoded<R: Encodable>(request: &R, version: i16) -> Option<Vec<u8>> {
    let mut bytes = BytesMut::new();
    // Some content does not go with some versions.
    request.encode(&mut bytes, version).ok().map(|()| bytes.to_vec())
}

/// Evaluates an expression for the type of a request.
macro_rules! by_key {
    ($key:expr, $request:ident => $then:expr) => {
        match $key {
            ApiKey::Produce => {
                type $request = ProduceRequest;
                $then
            }
            ApiKey::Fetch => {
                type $request = FetchRequest;
                $then
            }
            ApiKey::ListOffsets => {
                type $request = ListOffsetsRequest;
                $then
            }
            ApiKey::Metadata => {
                type $request = MetadataRequest;
                $then
            }
            ApiKey::OffsetCommit => {
                type $request = OffsetCommitRequest;
                $then
            }
            ApiKey::OffsetFetch => {
                type $request = OffsetFetchRequest;
                $then
            }
            ApiKey::FindCoordinator => {
                type $request = FindCoordinatorRequest;
                $then
            }
            ApiKey::JoinGroup => {
                type $request = JoinGroupRequest;
                $then
            }
            ApiKey::Heartbeat => {
                type $request = HeartbeatRequest;
                $then
            }
            ApiKey::LeaveGroup => {
                type $request = LeaveGroupRequest;
                $then
            }
            ApiKey::SyncGroup => {
                type $request = SyncGroupRequest;
                $then
            }
            ApiKey::DescribeGroups => {
                type $request = DescribeGroupsRequest;
                $then
            }
            ApiKey::ListGroups => {
                type $request = ListGroupsRequest;
                $then
            }
            ApiKey::ApiVersions => {
                type $request = ApiVersionsRequest;
                $then
            }
            ApiKey::CreateTopics => {
                type $request = CreateTopicsRequest;
                $then
            }
            ApiKey::DeleteTopics => {
                type $request = DeleteTopicsRequest;
                $then
            }
            ApiKey::DeleteRecords => {
                type $request = DeleteRecordsRequest;
                $then
            }
            ApiKey::InitProducerId => {
                type $request = InitProducerIdRequest;
                $then
            }
            ApiKey::OffsetForLeaderEpoch => {
                type $request = OffsetForLeaderEpochRequest;
                $then
            }
            ApiKey::AddPartitionsToTxn => {
                type $request = AddPartitionsToTxnRequest;
                $then
            }
            ApiKey::AddOffsetsToTxn => {
                type $request = AddOffsetsToTxnRequest;
                $then
            }
            ApiKey::EndTxn => {
                type $request = EndTxnRequest;
                $then
            }
            ApiKey::TxnOffsetCommit => {
                type $request = TxnOffsetCommitRequest;
                $then
            }
            ApiKey::DescribeConfigs => {
                type $request = DescribeConfigsRequest;
                $then
            }
            ApiKey::AlterConfigs => {
                type $request = AlterConfigsRequest;
                $then
            }
            ApiKey::DescribeLogDirs => {
                type $request = DescribeLogDirsRequest;
                $then
            }
            ApiKey::CreatePartitions => {
                type $request = CreatePartitionsRequest;
                $then
            }
            ApiKey::DeleteGroups => {
                type $request = DeleteGroupsRequest;
                $then
            }
            ApiKey::IncrementalAlterConfigs => {
                type $request = IncrementalAlterConfigsRequest;
                $then
            }
            ApiKey::OffsetDelete => {
                type $request = OffsetDeleteRequest;
                $then
            }
            ApiKey::DescribeCluster => {
                type $request = DescribeClusterRequest;
                $then
            }
            ApiKey::DescribeProducers => {
                type $request = DescribeProducersRequest;
                $then
            }
            ApiKey::DescribeTransactions => {
                type $request = DescribeTransactionsRequest;
                $then
            }
            ApiKey::ListTransactions => {
                type $request = ListTransactionsRequest;
                $then
            }
            key => panic!("{key:?} is not served"),
        }
    };
}

/// Every request that is served, empty, in every version.
fn empty(key: ApiKey, version: i16) -> Option<Vec<u8>> {
    by_key!(key, R => encoded(&R::default(), version))
}

fn decode(key: ApiKey, version: i16, bytes: Vec<u8>) {
    by_key!(key, R => drop(R::decode(&mut Bytes::from(bytes), version)))
}

/// Requests with something in their arrays.
fn filled(version: i16) -> Vec<(ApiKey, Vec<u8>)> {
    use create_topics_request::CreatableTopic;
    use fetch_request::{FetchPartition, FetchTopic};
    use join_group_request::JoinGroupRequestProtocol;
    use metadata_request::MetadataRequestTopic;
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    use produce_request::{PartitionProduceData, TopicProduceData};
    let name = || TopicName(text("a-topic"));
    let batch = PartitionProduceData::default().with_records(Some(Bytes::from_static(b"records")));
    let produced = TopicProduceData::default().with_name(name()).with_partition_data(vec![batch; 2]);
    let fetched = FetchTopic::default().with_partitions(vec![FetchPartition::default(); 3]);
    let fetched = if version < 13 { fetched.with_topic(name()) } else { fetched };
    let wanted = MetadataRequestTopic::default().with_name(Some(name()));
    let topic = CreatableTopic::default().with_name(name()).with_num_partitions(3);
    let committed = OffsetCommitRequestTopic::default()
        .with_name(name())
        .with_partitions(vec![OffsetCommitRequestPartition::default(); 2]);
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let altered = AlterableConfig::default().with_name(text("retention.ms")).with_config_operation(1);
    let altered = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("a-topic"))
        .with_configs(vec![altered; 2]);
    let altered = IncrementalAlterConfigsRequest::default().with_resources(vec![altered; 2]);
    let all = [
        (ApiKey::IncrementalAlterConfigs, encoded(&altered, version)),
        (
            ApiKey::Produce,
            encoded(&ProduceRequest::default().with_topic_data(vec![produced; 2]), version),
        ),
        (ApiKey::Fetch, encoded(&FetchRequest::default().with_topics(vec![fetched; 2]), version)),
        (
            ApiKey::Metadata,
            encoded(&MetadataRequest::default().with_topics(Some(vec![wanted; 2])), version),
        ),
        (
            ApiKey::CreateTopics,
            encoded(&CreateTopicsRequest::default().with_topics(vec![topic; 2]), version),
        ),
        (
            ApiKey::OffsetCommit,
            encoded(&OffsetCommitRequest::default().with_topics(vec![committed; 2]), version),
        ),
        (
            ApiKey::JoinGroup,
            encoded(&JoinGroupRequest::default().with_protocols(vec![protocol; 2]), version),
        ),
    ];
    all.into_iter().filter_map(|(key, bytes)| Some((key, bytes?))).collect()
}

fn served() -> impl Iterator<Item = (ApiKey, i16)> {
    SERVED.iter().flat_map(|served| (served.min..=served.max).map(|version| (served.key, version)))
}

/// All of these, in all served versions.
fn valid() -> Vec<(ApiKey, i16, Vec<u8>)> {
    let empty = served().map(|(key, version)| {
        let bytes = empty(key, version).unwrap_or_else(|| panic!("{key:?} {version}"));
        (key, version, bytes)
    });
    let filled = (0..=17).flat_map(|version| {
        let known = filled(version).into_iter();
        known.map(move |(key, bytes)| (key, version, bytes))
    });
    let is_served = |(key, version, _): &(ApiKey, i16, Vec<u8>)| {
        SERVED.iter().any(|served| served.key == *key && (served.min..=served.max).contains(version))
    };
    empty.chain(filled.filter(is_served)).collect()
}

#[test]
fn every_request_is_followed_to_its_last_byte() {
    for (key, version, bytes) in valid() {
        assert_eq!(check(key, version, &bytes), Ok(()), "{key:?} {version}");
        for end in 0..bytes.len() {
            assert_ne!(check(key, version, &bytes[..end]), Ok(()), "{key:?} {version}, {end} bytes");
        }
    }
}

#[test]
fn what_follows_a_request_is_passed_over() {
    for (key, version, mut bytes) in valid() {
        bytes.extend([0; 3]);
        assert_eq!(check(key, version, &bytes), Ok(()), "{key:?} {version}");
    }
}

#[test]
fn an_array_that_cannot_be_there_is_refused() {
    for (version, bytes) in [
        (4, vec![0x7f, 0xff, 0xff, 0xff, 0]),
        (12, vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0]),
        (12, vec![9, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let refused = check(ApiKey::Metadata, version, &bytes);
        assert_eq!(refused, Err("an array announces more elements than there are bytes for"));
    }
    let endless = check(ApiKey::Metadata, 12, &[0xff; 9]);
    assert_eq!(endless, Err("a compact length goes on for more than five bytes"));
}

#[test]
fn elements_of_all_arrays_are_counted_together() {
    let body = |topics: usize, partitions: usize| {
        let topic = [&[0, 0][..], &(partitions as i32).to_be_bytes(), &vec![0; 4 * partitions]].concat();
        [&(topics as i32).to_be_bytes()[..], &topic.repeat(topics)].concat()
    };
    assert_eq!(check(ApiKey::DescribeLogDirs, 1, &body(3, ELEMENTS_MAX / 4)), Ok(()));
    let many = check(ApiKey::DescribeLogDirs, 1, &body(4, ELEMENTS_MAX / 4));
    assert_eq!(many, Err("it has too many elements"));
}

#[test]
fn a_header_is_looked_over_to_its_last_tag() {
    let header = |name: &[u8], tags: &[u8]| [&[0; 8][..], name, tags].concat();
    let named = header(&[0, 1, b'x'], &[]);
    assert_eq!(check_header(&named, 1), Ok(()));
    assert_eq!(check_header(&header(&[0xff, 0xff], &[1, 7, 2, 0, 0]), 2), Ok(()));
    for end in 0..named.len() {
        assert_eq!(check_header(&named[..end], 1), Err(ENDS));
    }
    let endless = header(&[0, 0], &[0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert_eq!(check_header(&endless, 2), Err("it has too many elements"));
}

proptest! {
    /// Whatever a frame holds: it is refused, or decoded or refused by the library, without a panic and
    /// without more memory than a frame of this size can claim.
    #[test]
    fn any_bytes_are_looked_over_without_panic(
        which in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let all: Vec<_> = served().collect();
        let (key, version) = all[which.index(all.len())];
        let _ = check(key, version, &bytes);
    }

    #[test]
    fn a_request_that_was_changed_is_decoded_in_bounds(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let all = valid();
        let (key, version, mut bytes) = all[which.index(all.len())].clone();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if check(key, version, &bytes).is_ok() {
            // Were a count let through that cannot be there, this would end the process.
            decode(key, version, bytes);
        }
    }
}
