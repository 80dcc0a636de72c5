//! One consumer group: who is in it, and who has which partitions.
//!
//! The rules are those of Kafka's classic `GroupCoordinator`: all members join, one of them (the
//! leader) assigns, all fetch their assignment; and again whenever somebody comes or goes (KIP-62,
//! KIP-345 for static members, KIP-394 for members that have to come with an id). Time is given in
//! milliseconds, from any beginning.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;
use uuid::Uuid;

pub use super::member::{Caller, Join, JoinAnswer, JoinRefused, Joined, Member, SyncAnswer};

/// Members may be silent for at most this long, in milliseconds.
const SESSION_MS: std::ops::RangeInclusive<i32> = 100..=1_800_000;

/// Bytes of what a member says of itself.
const PROTOCOL_BYTES_MAX: usize = 256 << 10;

/// The longest part of a client's own name in a member's id.
const CLIENT_ID_BYTES_MAX: usize = 200;

/// What a group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Empty,
    /// Members have to join again.
    Preparing,
    /// The leader has to assign.
    Completing,
    Stable,
}

impl Phase {
    /// The name that Kafka's tools show.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Empty => "Empty",
            Phase::Preparing => "PreparingRebalance",
            Phase::Completing => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }
}

/// How groups behave.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long the first member waits for others, in milliseconds.
    pub delay_ms: i64,
    pub members_max: usize,
}

/// A consumer group.
#[derive(Debug)]
pub struct Group {
    rules: Rules,
    pub phase: Phase,
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: String,
    leader: String,
    pub members: BTreeMap<String, Member>,
    /// Ids that were given out, and until when they hold.
    promised: BTreeMap<String, i64>,
    /// When the present phase ends, if it is one that waits.
    deadline_ms: i64,
    /// The group was empty: more members may be about to come.
    beginning: bool,
}

impl Group {
    pub fn new(rules: Rules) -> Self {
        Group {
            rules,
            phase: Phase::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            promised: BTreeMap::new(),
            deadline_ms: 0,
            beginning: false,
        }
    }

    /// Whether there is nobody, and nobody is about to come.
    pub fn is_deserted(&self) -> bool {
        self.members.is_empty() && self.promised.is_empty()
    }

    /// Joins a member. The answer comes when all have joined.
    ///
    /// # Errors
    /// When it may not join, or has to come again with an id.
    pub fn join(&mut self, join: Join, now_ms: i64) -> Result<JoinAnswer, JoinRefused> {
        self.acceptable(&join).map_err(JoinRefused::Refused)?;
        let member_id = self.member_id_for(&join, now_ms)?;
        // It is there under an id that it does not know yet.
        let returns = join.member_id != member_id && self.members.contains_key(&member_id);
        let (answer, receiver) = oneshot::channel();
        self.promised.remove(&member_id);
        let known = self.members.get(&member_id);
        let unchanged = known.is_some_and(|known| known.protocols == join.protocols);
        self.protocol_type = join.protocol_type.clone();
        let assignment = self.members.remove(&member_id).map(|known| known.assignment);
        let member = Member {
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_ms: join.session_ms,
            rebalance_ms: join.rebalance_ms,
            protocols: join.protocols,
            assignment: assignment.unwrap_or_default(),
            expires_ms: now_ms + i64::from(join.session_ms),
            joining: None,
            syncing: None,
        };
        self.members.insert(member_id.clone(), member);
        let settled = match self.phase {
            // The leader may be assigning to the id that the member had before it came back.
            Phase::Completing => unchanged && !returns,
            // Nobody else is to notice that it was away (KIP-345).
            Phase::Stable if returns => self.choose_protocol() == self.protocol,
            // A leader that joins again wants to assign anew.
            Phase::Stable => unchanged && member_id != self.leader,
            Phase::Empty | Phase::Preparing => false,
        };
        if settled {
            let skips_assignment = returns && member_id == self.leader;
            let joined = Joined { skips_assignment, ..self.joined(&member_id) };
            // Nobody waits for the other end if the receiver is gone.
            drop(answer.send(Ok(joined)));
            return Ok(receiver);
        }
        if let Some(member) = self.members.get_mut(&member_id) {
            member.joining = Some(answer);
        }
        if self.phase == Phase::Preparing {
            self.complete_join_if_all(now_ms);
        } else {
            self.prepare(now_ms);
        }
        Ok(receiver)
    }

    fn acceptable(&self, join: &Join) -> Result<(), ResponseError> {
        if !SESSION_MS.contains(&join.session_ms) {
            return Err(ResponseError::InvalidSessionTimeout);
        }
        let bytes: usize = join.protocols.iter().map(|(name, data)| name.len() + data.len()).sum();
        if bytes > PROTOCOL_BYTES_MAX {
            return Err(ResponseError::InvalidRequest);
        }
        let others: Vec<&Member> = self
            .members
            .iter()
            .filter(|(id, _)| **id != join.member_id)
            .map(|(_, member)| member)
            .collect();
        let all_know = |name: &String| {
            others.iter().all(|other| other.protocols.iter().any(|(known, _)| known == name))
        };
        let same_type = others.is_empty() || self.protocol_type == join.protocol_type;
        if join.protocol_type.is_empty()
            || !same_type
            || !join.protocols.iter().any(|(name, _)| all_know(name))
        {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        if self.is_new(join) && self.members.len() + self.promised.len() >= self.rules.members_max {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        Ok(())
    }

    /// Whether a member takes a place that it did not have.
    fn is_new(&self, join: &Join) -> bool {
        let returns =
            join.instance_id.as_deref().is_some_and(|instance| self.holder(instance).is_some());
        !returns
            && !self.members.contains_key(&join.member_id)
            && !self.promised.contains_key(&join.member_id)
    }

    fn member_id_for(&mut self, join: &Join, now_ms: i64) -> Result<String, JoinRefused> {
        let holder = join.instance_id.as_deref().and_then(|instance| self.holder(instance));
        if join.member_id.is_empty() {
            let begin: String = join.client_id.chars().take(CLIENT_ID_BYTES_MAX / 4).collect();
            let id = format!("{begin}-{}", Uuid::new_v4());
            if let Some(old) = holder {
                // The same instance begins anew: it takes over what it was (KIP-345).
                self.replace(&old, &id);
            } else if join.id_required && join.instance_id.is_none() {
                self.promised.insert(id.clone(), now_ms + i64::from(join.session_ms));
                return Err(JoinRefused::IdRequired(id));
            }
            return Ok(id);
        }
        match (&join.instance_id, holder) {
            (Some(_), Some(holder)) if holder != join.member_id => {
                Err(JoinRefused::Refused(ResponseError::FencedInstanceId))
            }
            _ if self.members.contains_key(&join.member_id)
                || self.promised.contains_key(&join.member_id) =>
            {
                Ok(join.member_id.clone())
            }
            _ => Err(JoinRefused::Refused(ResponseError::UnknownMemberId)),
        }
    }

    fn holder(&self, instance: &str) -> Option<String> {
        let held = |member: &Member| member.instance_id.as_deref() == Some(instance);
        self.members.iter().find(|(_, member)| held(member)).map(|(id, _)| id.clone())
    }

    fn replace(&mut self, old: &str, new: &str) {
        let Some(mut member) = self.members.remove(old) else { return };
        member.refuse(ResponseError::FencedInstanceId);
        if self.leader == old {
            self.leader = new.to_owned();
        }
        self.members.insert(new.to_owned(), member);
    }

    /// Begins a rebalance: all have to join again.
    fn prepare(&mut self, now_ms: i64) {
        self.beginning = self.phase == Phase::Empty;
        for member in self.members.values_mut() {
            if let Some(syncing) = member.syncing.take() {
                drop(syncing.send(Err(ResponseError::RebalanceInProgress)));
            }
        }
        self.phase = Phase::Preparing;
        let wait = if self.beginning { self.rules.delay_ms } else { self.longest_rebalance() };
        self.deadline_ms = now_ms + wait;
        if self.beginning && self.rules.delay_ms == 0 {
            self.beginning = false;
        }
        self.complete_join_if_all(now_ms);
    }

    fn longest_rebalance(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_ms.max(0))).max().unwrap_or(0)
    }

    fn complete_join_if_all(&mut self, now_ms: i64) {
        let all = self.members.values().all(|member| member.joining.is_some());
        if all && self.promised.is_empty() && !self.beginning {
            self.complete_join(now_ms);
        }
    }

    /// All have joined who are going to. A static member may be away for as long as its session lasts.
    fn complete_join(&mut self, now_ms: i64) {
        self.beginning = false;
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
            member.stay(now_ms);
            member.assignment = Bytes::new();
            if let Some(joining) = member.joining.take() {
                drop(joining.send(Ok(joined)));
            }
        }
    }

    /// Of the protocols that all members know, the one that most like best.
    fn choose_protocol(&self) -> String {
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

    fn joined(&self, member_id: &str) -> Joined {
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

    /// Whether a member means the protocol that the group has chosen, as far as it names one.
    ///
    /// # Errors
    /// When it does not, or is not a member of this generation.
    pub fn agree(
        &mut self,
        caller: Caller<'_>,
        protocol_type: Option<&str>,
        protocol: Option<&str>,
    ) -> Result<(), ResponseError> {
        self.member(caller)?;
        let same = protocol_type.is_none_or(|named| named == self.protocol_type)
            && protocol.is_none_or(|named| named == self.protocol);
        if same { Ok(()) } else { Err(ResponseError::InconsistentGroupProtocol) }
    }

    /// A member fetches its assignment; the leader brings those of all.
    ///
    /// # Errors
    /// When it is not a member of this generation, or has to join again.
    pub fn sync(
        &mut self,
        caller: Caller<'_>,
        assignments: impl IntoIterator<Item = (String, Bytes)>,
        now_ms: i64,
    ) -> Result<SyncAnswer, ResponseError> {
        self.member(caller)?.stay(now_ms);
        let (answer, receiver) = oneshot::channel();
        match self.phase {
            Phase::Empty => return Err(ResponseError::UnknownMemberId),
            Phase::Preparing => return Err(ResponseError::RebalanceInProgress),
            Phase::Completing => {
                self.member(caller)?.syncing = Some(answer);
                if caller.member_id == self.leader {
                    self.assign(assignments, now_ms);
                }
            }
            Phase::Stable => {
                let (protocol, assignment) =
                    (self.protocol.clone(), self.member(caller)?.assignment.clone());
                drop(answer.send(Ok((protocol, assignment))));
            }
        }
        Ok(receiver)
    }

    fn assign(&mut self, assignments: impl IntoIterator<Item = (String, Bytes)>, now_ms: i64) {
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        self.phase = Phase::Stable;
        for member in self.members.values_mut() {
            member.stay(now_ms);
            if let Some(syncing) = member.syncing.take() {
                drop(syncing.send(Ok((self.protocol.clone(), member.assignment.clone()))));
            }
        }
    }

    /// A member says that it is alive.
    ///
    /// # Errors
    /// When it is not a member of this generation, or has to join again.
    pub fn heartbeat(&mut self, caller: Caller<'_>, now_ms: i64) -> Result<(), ResponseError> {
        self.member(caller)?.stay(now_ms);
        match self.phase {
            Phase::Preparing => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Whether offsets may be committed. Who is no member may do so while nobody is.
    ///
    /// # Errors
    /// When it is not a member of this generation, or the group is just being assigned.
    pub fn may_commit(&mut self, caller: Caller<'_>, now_ms: i64) -> Result<(), ResponseError> {
        if caller.generation < 0 && caller.member_id.is_empty() {
            return if self.members.is_empty() { Ok(()) } else { Err(ResponseError::UnknownMemberId) };
        }
        self.member(caller)?.stay(now_ms);
        match self.phase {
            Phase::Completing => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// The same for a commit in a transaction, where who names no member is not asked for one.
    ///
    /// # Errors
    /// When it names a member that is not one of this generation.
    pub fn may_commit_in_transaction(&mut self, caller: Caller<'_>) -> Result<(), ResponseError> {
        if caller.generation < 0 && caller.member_id.is_empty() {
            return Ok(());
        }
        self.member(caller).map(|_| ())
    }

    fn member(&mut self, caller: Caller<'_>) -> Result<&mut Member, ResponseError> {
        if let Some(instance) = caller.instance_id {
            let holder = self.holder(instance).ok_or(ResponseError::UnknownMemberId)?;
            if holder != caller.member_id {
                return Err(ResponseError::FencedInstanceId);
            }
        }
        let generation = self.generation;
        let member = self.members.get_mut(caller.member_id).ok_or(ResponseError::UnknownMemberId)?;
        if caller.generation == generation { Ok(member) } else { Err(ResponseError::IllegalGeneration) }
    }

    /// A member goes; it is named by its id, or by its instance alone.
    ///
    /// # Errors
    /// When there is no such member.
    pub fn leave(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        let id = match instance_id.map(|instance| self.holder(instance)) {
            Some(None) => return Err(ResponseError::UnknownMemberId),
            Some(Some(holder)) if !member_id.is_empty() && holder != member_id => {
                return Err(ResponseError::FencedInstanceId);
            }
            Some(Some(holder)) => holder,
            None => member_id.to_owned(),
        };
        if self.promised.remove(&id).is_some() {
            self.after_removal(false, now_ms);
            return Ok(());
        }
        if !self.remove(&id, ResponseError::UnknownMemberId) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.after_removal(true, now_ms);
        Ok(())
    }

    fn remove(&mut self, id: &str, why: ResponseError) -> bool {
        let Some(mut member) = self.members.remove(id) else { return false };
        member.refuse(why);
        true
    }

    fn after_removal(&mut self, of_member: bool, now_ms: i64) {
        match self.phase {
            Phase::Completing | Phase::Stable if of_member => self.prepare(now_ms),
            Phase::Preparing => self.complete_join_if_all(now_ms),
            _ => {}
        }
    }

    /// Lets time pass: members that were silent too long go, and waiting ends.
    pub fn tick(&mut self, now_ms: i64) {
        let promised = self.promised.len();
        self.promised.retain(|_, until| *until > now_ms);
        let silent = |member: &Member| !member.waits() && member.expires_ms <= now_ms;
        let gone: Vec<String> =
            self.members.iter().filter(|(_, member)| silent(member)).map(|(id, _)| id.clone()).collect();
        for id in &gone {
            self.remove(id, ResponseError::UnknownMemberId);
        }
        if !gone.is_empty() || self.promised.len() < promised {
            self.after_removal(!gone.is_empty(), now_ms);
        }
        if now_ms < self.deadline_ms {
            return;
        }
        match self.phase {
            Phase::Preparing => self.complete_join(now_ms),
            Phase::Completing => {
                // Who has not asked for its assignment by now, the leader among them, is gone.
                self.members.retain(|_, member| member.syncing.is_some());
                self.prepare(now_ms);
            }
            Phase::Empty | Phase::Stable => {}
        }
    }
}

#[cfg(test)]
mod tests;
