//! Consumer groups over the wire, and offsets in transactions.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, EndTxnRequest, GroupId, HeartbeatRequest, InitProducerIdRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
    SyncGroupRequest, TransactionalId, TxnOffsetCommitRequest,
};

use super::client::{Client, serve, text, topic_name};
use crate::kafka::Config;

fn group() -> GroupId {
    GroupId(text("g"))
}

fn transactional_id() -> TransactionalId {
    TransactionalId(text("writer"))
}

fn join(member_id: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(30_000)
        .with_member_id(text(member_id))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol.with_metadata(Bytes::from("topics"))])
}

fn sync(joined: &JoinGroupResponse, assignments: &[(&str, &str)]) -> SyncGroupRequest {
    let assignment = |(member, assignment): &(&str, &str)| {
        SyncGroupRequestAssignment::default()
            .with_member_id(text(member))
            .with_assignment(Bytes::from(assignment.to_string()))
    };
    SyncGroupRequest::default()
        .with_group_id(group())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(assignments.iter().map(assignment).collect())
}

async fn heartbeat(client: &mut Client, joined: &JoinGroupResponse) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(group())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    client.call(4, &request).await.error_code
}

/// Joins as clients do: first without an id.
async fn member_id(client: &mut Client) -> String {
    let response = client.call(9, &join("")).await;
    assert_eq!(response.error_code, ResponseError::MemberIdRequired.code());
    response.member_id.to_string()
}

fn commit(joined: &JoinGroupResponse, topic: &str, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_topics(vec![topic])
}

async fn committed(client: &mut Client, topic: &str, stable: bool) -> (i64, i16) {
    let topic = OffsetFetchRequestTopics::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![0, 0]);
    let wanted =
        OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![wanted]).with_require_stable(stable);
    let response = client.call(8, &request).await;
    let partitions = &response.groups[0].topics[0].partitions;
    assert_eq!(partitions.len(), 1, "what is requested twice is answered once");
    (partitions[0].committed_offset, partitions[0].error_code)
}

#[tokio::test]
async fn members_share_and_go_on_where_they_were_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = serve(Config::new(dir.path())).await;
    let (mut one, mut two) = (broker.connect().await, broker.connect().await);
    one.create("t", 1).await;
    let ids = [member_id(&mut one).await, member_id(&mut two).await];
    one.send(9, &join(&ids[0])).await;
    let second = two.call(9, &join(&ids[1])).await;
    let first = one.receive::<JoinGroupRequest>(9).await.unwrap();
    assert_eq!((first.error_code, second.error_code, second.generation_id), (0, 0, 1));
    assert_eq!(first.leader, second.leader);
    assert_eq!(first.members.len() + second.members.len(), 2);

    let shares = [(ids[0].as_str(), "first"), (ids[1].as_str(), "second")];
    let of =
        |joined: &JoinGroupResponse| if joined.leader == joined.member_id { &shares[..] } else { &[] };
    one.send(5, &sync(&first, of(&first))).await;
    let second_share = two.call(5, &sync(&second, of(&second))).await;
    let first_share = one.receive::<SyncGroupRequest>(5).await.unwrap();
    assert_eq!(
        (&first_share.assignment[..], &second_share.assignment[..]),
        (&b"first"[..], &b"second"[..])
    );
    assert_eq!(heartbeat(&mut one, &first).await, 0);

    let code_of = |response: &kafka_protocol::messages::OffsetCommitResponse| {
        response.topics[0].partitions[0].error_code
    };
    assert_eq!(code_of(&one.call(8, &commit(&first, "t", 7)).await), 0);
    let unknown = one.call(8, &commit(&first, "unknown", 7)).await;
    assert_eq!(code_of(&unknown), ResponseError::UnknownTopicOrPartition.code());
    let old = first.clone().with_generation_id(0);
    let refused = one.call(8, &commit(&old, "t", 8)).await;
    assert_eq!(code_of(&refused), ResponseError::IllegalGeneration.code());

    let leaving = MemberIdentity::default().with_member_id(second.member_id.clone());
    let request = LeaveGroupRequest::default().with_group_id(group()).with_members(vec![leaving]);
    assert_eq!(two.call(5, &request).await.members[0].error_code, 0);
    assert_eq!(heartbeat(&mut one, &first).await, ResponseError::RebalanceInProgress.code());
    broker.stop().await;

    let broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    assert_eq!(committed(&mut client, "t", true).await, (7, 0));
    assert_eq!(heartbeat(&mut client, &first).await, ResponseError::UnknownMemberId.code());
    broker.stop().await;
}

async fn commit_in_transaction(client: &mut Client, producer: (i64, i16), topic: &str) -> i16 {
    let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(9);
    let topic = TxnOffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(transactional_id())
        .with_group_id(group())
        .with_producer_id(producer.0.into())
        .with_producer_epoch(producer.1)
        .with_generation_id(-1)
        .with_topics(vec![topic]);
    client.call(3, &request).await.topics[0].partitions[0].error_code
}

#[tokio::test]
async fn offsets_of_a_transaction_are_visible_when_it_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = serve(Config::new(dir.path())).await;
    let mut client = broker.connect().await;
    client.create("t", 1).await;
    let init = InitProducerIdRequest::default()
        .with_transactional_id(Some(transactional_id()))
        .with_transaction_timeout_ms(60_000)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    let init = client.call(4, &init).await;
    let producer = (init.producer_id.0, init.producer_epoch);
    let outside = commit_in_transaction(&mut client, producer, "t").await;
    assert_eq!(outside, ResponseError::InvalidTxnState.code());
    let unstable = ResponseError::UnstableOffsetCommit.code();
    for commit in [false, true] {
        let add = AddOffsetsToTxnRequest::default()
            .with_transactional_id(transactional_id())
            .with_producer_id(producer.0.into())
            .with_producer_epoch(producer.1)
            .with_group_id(group());
        assert_eq!(client.call(3, &add).await.error_code, 0);
        assert_eq!(commit_in_transaction(&mut client, producer, "t").await, 0);
        let unknown = commit_in_transaction(&mut client, producer, "unknown").await;
        assert_eq!(unknown, ResponseError::UnknownTopicOrPartition.code());
        // Open transactions outlast the broker.
        broker.stop().await;
        broker = serve(Config::new(dir.path())).await;
        client = broker.connect().await;
        assert_eq!(committed(&mut client, "t", true).await, (-1, unstable));
        assert_eq!(committed(&mut client, "t", false).await, (-1, 0));
        let end = EndTxnRequest::default()
            .with_transactional_id(transactional_id())
            .with_producer_id(producer.0.into())
            .with_producer_epoch(producer.1)
            .with_committed(commit);
        assert_eq!(client.call(3, &end).await.error_code, 0);
        let expected = if commit { (9, 0) } else { (-1, 0) };
        assert_eq!(committed(&mut client, "t", true).await, expected);
    }
    broker.stop().await;
}
