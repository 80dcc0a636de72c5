//! From the first that joins again to the assignment of all.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::{Group, Joined, Member, Phase};

impl Group {
    /// Begins a rebalance: all have to join again.
    pub(super) fn prepare_rebalance(&mut self, now_ms: i64) {
        self.is_initial = self.phase == Phase::Empty;
        for member in self.members.values_mut() {
            if let Some(syncing) = member.syncing.take() {
                drop(syncing.send(Err(ResponseError::RebalanceInProgress)));
            }
        }
        self.phase = Phase::Preparing;
        let wait = if self.is_initial { self.rules.delay_ms } else { self.longest_rebalance() };
        self.deadline_ms = now_ms + wait;
        if self.is_initial && self.rules.delay_ms == 0 {
            self.is_initial = false;
        }
        self.complete_join_if_all(now_ms);
    }

    fn longest_rebalance(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_ms.max(0))).max().unwrap_or(0)
    }

    pub(super) fn complete_join_if_all(&mut self, now_ms: i64) {
        let all = self.members.values().all(|member| member.joining.is_some());
        if all && self.pending_members.is_empty() && !self.is_initial {
            self.complete_join(now_ms);
        }
    }

    /// All have joined who are going to. A static member may be away for as long as its session lasts.
    pub(super) fn complete_join(&mut self, now_ms: i64) {
        self.is_initial = false;
        self.members.retain(|_, member| member.joining.is_some() || member.instance_id.is_some());
        let joined = |member: &Member| member.joining.is_some();
        if !self.members.is_empty() && !self.members.values().any(joined) {
            self.deadline_ms = now_ms + self.longest_rebalance();
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.leader.clear();
            self.protocol.clear();
            return;
        }
        if !self.members.get(&self.leader).is_some_and(joined) {
            let leader = self.members.iter().find(|(_, member)| joined(member));
            self.leader = leader.map(|(id, _)| id.clone()).unwrap_or_default();
        }
        self.protocol = self.choose_protocol();
        self.phase = Phase::Completing;
        self.deadline_ms = now_ms + self.longest_rebalance();
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.renew_session(now_ms);
            member.assignment = Bytes::new();
            if let Some(joining) = member.joining.take() {
                drop(joining.send(Ok(joined)));
            }
        }
    }

    /// Of the protocols that all members know, the one that most like best.
    pub(super) fn choose_protocol(&self) -> String {
        let names = |member: &Member| -> BTreeSet<String> {
            member.protocols.iter().map(|(name, _)| name.clone()).collect()
        };
        let common = self.members.values().map(names).reduce(|all, one| &all & &one).unwrap_or_default();
        let mut votes: BTreeMap<&String, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common.contains(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        votes
            .into_iter()
            .max_by_key(|(_, votes)| *votes)
            .map(|(name, _)| name.clone())
            .unwrap_or_default()
    }

    pub(super) fn joined(&self, member_id: &str) -> Joined {
        let entry = |(id, member): (&String, &Member)| {
            (id.clone(), member.instance_id.clone(), member.metadata(&self.protocol))
        };
        let leads = member_id == self.leader;
        Joined {
            member_id: member_id.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: if leads { self.members.iter().map(entry).collect() } else { Vec::new() },
            skips_assignment: false,
        }
    }

    /// The leader has brought the assignments of all.
    pub(super) fn assign(
        &mut self,
        assignments: impl IntoIterator<Item = (String, Bytes)>,
        now_ms: i64,
    ) {
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        self.phase = Phase::Stable;
        for member in self.members.values_mut() {
            member.renew_session(now_ms);
            if let Some(syncing) = member.syncing.take() {
                drop(syncing.send(Ok((self.protocol.clone(), member.assignment.clone()))));
            }
        }
    }
}
