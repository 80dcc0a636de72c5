//! Consumer groups and their offsets.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::{Context, code, once, text};
use crate::kafka::groups::group::{Caller, Group, Join, JoinAnswer, JoinRefused, Joined};
use crate::kafka::groups::{Committed, check_metadata};

/// The waiting is over without an answer: the member came again meanwhile, on another connection.
const SUPERSEDED: ResponseError = ResponseError::RebalanceInProgress;

pub async fn join(context: Context, request: JoinGroupRequest) -> JoinGroupResponse {
    let member_id = request.member_id.clone();
    let joined = match begin_join(&context, request) {
        Ok(answer) => answer.await.unwrap_or(Err(SUPERSEDED)).map_err(JoinRefused::Refused),
        Err(refused) => Err(refused),
    };
    match joined {
        Ok(joined) => joined_response(&context, joined),
        Err(JoinRefused::IdRequired(id)) => refused_response(ResponseError::MemberIdRequired, text(id)),
        Err(JoinRefused::Refused(error)) => refused_response(error, member_id),
    }
}

fn begin_join(context: &Context, request: JoinGroupRequest) -> Result<JoinAnswer, JoinRefused> {
    context.pass().map_err(JoinRefused::Refused)?;
    let protocols = request.protocols.into_iter();
    let join = Join {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|instance| instance.to_string()),
        client_id: context.client_id.clone(),
        client_host: format!("/{}", context.host),
        session_ms: request.session_timeout_ms,
        // Version 0 has no time of its own for rebalances.
        rebalance_ms: if context.version == 0 {
            request.session_timeout_ms
        } else {
            request.rebalance_timeout_ms
        },
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols.map(|one| (one.name.to_string(), own(&one.metadata))).collect(),
        id_required: context.version >= 4,
    };
    let now_ms = context.core.now_ms();
    context.core.groups().join(&request.group_id, join, now_ms)
}

/// A copy: what is kept must not keep the whole request alive.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn joined_response(context: &Context, mut joined: Joined) -> JoinGroupResponse {
    if joined.skips_assignment && context.version < 9 {
        // It cannot be informed, and would assign if it thought that it leads.
        joined.leader.clear();
        joined.members.clear();
    }
    let member = |(id, instance, metadata): (String, Option<String>, Bytes)| {
        JoinGroupResponseMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(instance.map(text))
            .with_metadata(metadata)
    };
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type((context.version >= 7).then(|| text(joined.protocol_type)))
        .with_protocol_name(Some(text(joined.protocol)))
        .with_leader(text(joined.leader))
        .with_skip_assignment(context.version >= 9 && joined.skips_assignment)
        .with_member_id(text(joined.member_id))
        .with_members(joined.members.into_iter().map(member).collect())
}

fn refused_response(error: ResponseError, member_id: StrBytes) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_generation_id(-1)
        .with_protocol_name(Some(StrBytes::default()))
        .with_member_id(member_id)
}

pub async fn sync(context: Context, request: SyncGroupRequest) -> SyncGroupResponse {
    let answer = context.pass().and_then(|()| {
        let caller = Caller {
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            generation: request.generation_id,
        };
        let assignments = request.assignments.iter();
        let assignments = assignments.map(|one| (one.member_id.to_string(), own(&one.assignment)));
        let now_ms = context.core.now_ms();
        let (kind, name) = (request.protocol_type.as_deref(), request.protocol_name.as_deref());
        let mut groups = context.core.groups();
        groups.check_protocol(&request.group_id, caller, kind, name)?;
        groups.sync(&request.group_id, caller, assignments, now_ms)
    });
    let synced = match answer {
        Ok(answer) => answer.await.unwrap_or(Err(SUPERSEDED)),
        Err(error) => Err(error),
    };
    let response = SyncGroupResponse::default().with_error_code(code(&synced));
    match synced {
        Ok((protocol, assignment)) => response
            .with_protocol_type(request.protocol_type)
            .with_protocol_name(Some(text(protocol)))
            .with_assignment(assignment),
        Err(_) => response,
    }
}

pub fn heartbeat(context: &Context, request: HeartbeatRequest) -> HeartbeatResponse {
    let caller = Caller {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    let now_ms = context.core.now_ms();
    let alive =
        context.pass().and_then(|()| context.core.groups().heartbeat(&request.group_id, caller, now_ms));
    HeartbeatResponse::default().with_error_code(code(&alive))
}

pub fn leave(context: &Context, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let now_ms = context.core.now_ms();
    let leave = |member_id: &str, instance_id: Option<&str>| {
        context.pass()?;
        context.core.groups().leave(&request.group_id, member_id, instance_id, now_ms)
    };
    if context.version < 3 {
        return LeaveGroupResponse::default().with_error_code(code(&leave(&request.member_id, None)));
    }
    let members = request.members.iter().map(|member: &MemberIdentity| {
        let left = leave(&member.member_id, member.group_instance_id.as_deref());
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(code(&left))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}

pub fn offset_commit(context: &Context, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let core = &context.core;
    let acceptable = |topic: &str, partition: &OffsetCommitRequestPartition| {
        context.pass()?;
        if core.topics.partition(topic, partition.partition_index).is_none() {
            return Err(ResponseError::UnknownTopicOrPartition);
        }
        check_metadata(partition.committed_metadata.as_deref())
    };
    let mut offsets = Vec::new();
    for topic in &request.topics {
        let good =
            topic.partitions.iter().filter(|partition| acceptable(&topic.name, partition).is_ok());
        offsets.extend(good.map(|partition| {
            let committed = Committed {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.as_ref().map(|metadata| metadata.to_string()),
            };
            ((topic.name.to_string(), partition.partition_index), committed)
        }));
    }
    let caller = Caller {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
    };
    let committed = context
        .pass()
        .and_then(|()| core.groups().commit(&request.group_id, caller, offsets, core.now_ms()));
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let result = acceptable(&topic.name, partition).and(committed);
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(&result))
        });
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// A partition's committed offset, or the code for why there is none.
struct CommittedOffset {
    index: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: StrBytes,
    error: i16,
}

pub fn offset_fetch(context: &Context, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let failed = code(&context.pass());
    let stable = request.require_stable;
    if context.version < 8 {
        let wanted = request.topics.map(|topics| {
            topics.into_iter().map(|topic| (topic.name.to_string(), topic.partition_indexes)).collect()
        });
        let topics = committed_offsets(context, &request.group_id, wanted, stable).into_iter().map(
            |(name, offsets)| {
                let partitions = offsets.into_iter().map(|committed| {
                    OffsetFetchResponsePartition::default()
                        .with_partition_index(committed.index)
                        .with_committed_offset(committed.offset)
                        .with_committed_leader_epoch(committed.leader_epoch)
                        .with_metadata(Some(committed.metadata))
                        .with_error_code(committed.error)
                });
                OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.collect())
            },
        );
        return OffsetFetchResponse::default().with_topics(topics.collect()).with_error_code(failed);
    }
    let groups = request.groups.into_iter().map(|group| {
        let wanted = group.topics.map(|topics| {
            topics.into_iter().map(|topic| (topic.name.to_string(), topic.partition_indexes)).collect()
        });
        let topics = committed_offsets(context, &group.group_id, wanted, stable).into_iter().map(
            |(name, offsets)| {
                let partitions = offsets.into_iter().map(|committed| {
                    OffsetFetchResponsePartitions::default()
                        .with_partition_index(committed.index)
                        .with_committed_offset(committed.offset)
                        .with_committed_leader_epoch(committed.leader_epoch)
                        .with_metadata(Some(committed.metadata))
                        .with_error_code(committed.error)
                });
                OffsetFetchResponseTopics::default()
                    .with_name(name)
                    .with_partitions(partitions.collect())
            },
        );
        let topics = topics.collect();
        OffsetFetchResponseGroup::default()
            .with_group_id(group.group_id)
            .with_topics(topics)
            .with_error_code(failed)
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

/// What a group has committed for the partitions that are wanted, or for all.
fn committed_offsets(
    context: &Context,
    group: &str,
    wanted: Option<Vec<(String, Vec<i32>)>>,
    stable: bool,
) -> Vec<(TopicName, Vec<CommittedOffset>)> {
    let groups = context.core.groups();
    let wanted = wanted.unwrap_or_else(|| {
        let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for (topic, index) in groups.partitions(group) {
            topics.entry(topic).or_default().push(index);
        }
        topics.into_iter().collect()
    });
    let one = |topic: &str, index: i32| {
        let partition = (topic.to_owned(), index);
        let (committed, pending) = groups.committed(group, &partition);
        // Who wants to go on behind a transaction has to wait for its end (KIP-447).
        let committed = committed.filter(|_| !(stable && pending));
        let unstable = ResponseError::UnstableOffsetCommit.code();
        CommittedOffset {
            index,
            offset: committed.map_or(-1, |committed| committed.offset),
            leader_epoch: committed.map_or(-1, |committed| committed.leader_epoch),
            metadata: text(
                committed.and_then(|committed| committed.metadata.clone()).unwrap_or_default(),
            ),
            error: if stable && pending { unstable } else { code(&context.pass()) },
        }
    };
    let topics = wanted.into_iter().map(|(topic, indices)| {
        let offsets = once(indices).map(|index| one(&topic, index)).collect();
        (TopicName(text(topic)), offsets)
    });
    topics.collect()
}

pub fn describe(context: &Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = context.core.groups();
    let described = once(request.groups).map(|id| {
        let response = DescribedGroup::default()
            .with_error_code(code(&context.pass()))
            .with_authorized_operations(i32::MIN);
        let response = match groups.get(&id) {
            Some(group) => described(response, group),
            None if groups.has_offsets(&id) => response.with_group_state(text("Empty")),
            None => response.with_group_state(text("Dead")),
        };
        response.with_group_id(id)
    });
    DescribeGroupsResponse::default().with_groups(described.collect())
}

fn described(response: DescribedGroup, group: &Group) -> DescribedGroup {
    let members = group.members.iter().map(|(id, member)| {
        DescribedGroupMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(member.instance_id.clone().map(text))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_member_metadata(member.metadata(&group.protocol))
            .with_member_assignment(member.assignment.clone())
    });
    response
        .with_group_state(text(group.phase.name()))
        .with_protocol_type(text(&group.protocol_type))
        .with_protocol_data(text(&group.protocol))
        .with_members(members.collect())
}

pub fn list(context: &Context, request: ListGroupsRequest) -> ListGroupsResponse {
    let matches = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let groups = context.core.groups().all().into_iter().filter(|(_, phase, _)| {
        matches(&request.states_filter, phase.name()) && matches(&request.types_filter, "classic")
    });
    let listed = groups.map(|(name, phase, protocol_type)| {
        ListedGroup::default()
            .with_group_id(GroupId(text(name)))
            .with_protocol_type(text(protocol_type))
            .with_group_state(text(phase.name()))
            .with_group_type(text("classic"))
    });
    ListGroupsResponse::default().with_error_code(code(&context.pass())).with_groups(listed.collect())
}

pub fn delete(context: &Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = request.groups_names.into_iter().map(|id| {
        let deleted = context.pass().and_then(|()| context.core.groups().delete(&id));
        DeletableGroupResult::default().with_group_id(id).with_error_code(code(&deleted))
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}

pub fn offset_delete(context: &Context, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let partitions = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (topic.name.to_string(), partition.partition_index))
    });
    let deleted = context
        .pass()
        .and_then(|()| context.core.groups().forget(&request.group_id, partitions.collect()));
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetDeleteResponsePartition::default().with_partition_index(partition.partition_index)
        });
        OffsetDeleteResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    OffsetDeleteResponse::default().with_error_code(code(&deleted)).with_topics(topics.collect())
}
