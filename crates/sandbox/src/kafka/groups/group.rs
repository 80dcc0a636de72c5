//! One consumer group: who is in it, and who has which partitions.
//!
//! The rules are those of Kafka's classic `GroupCoordinator`: all members join, one of them (the
//! leader) assigns, all fetch their assignment; and again whenever somebody comes or goes (KIP-62,
//! KIP-345 for static members, KIP-394 for members that have to come with an id). Time is given in
//! milliseconds, from any beginning.

mod admission;
mod rebalance;

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

pub use super::member::{Caller, Join, JoinAnswer, JoinRefused, Joined, Member, SyncAnswer};

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
    pending_members: BTreeMap<String, i64>,
    /// When the present phase ends, if it is one that waits.
    deadline_ms: i64,
    /// The rebalance began with an empty group: more members may be about to come.
    is_initial: bool,
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
            pending_members: BTreeMap::new(),
            deadline_ms: 0,
            is_initial: false,
        }
    }

    /// Whether there is nobody, and nobody is about to come.
    pub fn is_deserted(&self) -> bool {
        self.members.is_empty() && self.pending_members.is_empty()
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
        let unchanged = self.put_member(&member_id, join, now_ms);
        if self.needs_no_rebalance(&member_id, unchanged, returns) {
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
            self.prepare_rebalance(now_ms);
        }
        Ok(receiver)
    }

    /// Puts a member in, new or not; whether it knows the same protocols as before.
    fn put_member(&mut self, member_id: &str, join: Join, now_ms: i64) -> bool {
        self.pending_members.remove(member_id);
        self.protocol_type = join.protocol_type;
        let known = self.members.remove(member_id);
        let unchanged = known.as_ref().is_some_and(|known| known.protocols == join.protocols);
        let member = Member {
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_ms: join.session_ms,
            rebalance_ms: join.rebalance_ms,
            protocols: join.protocols,
            assignment: known.map(|known| known.assignment).unwrap_or_default(),
            expires_ms: now_ms + i64::from(join.session_ms),
            joining: None,
            syncing: None,
        };
        self.members.insert(member_id.to_owned(), member);
        unchanged
    }

    /// Whether a member that joins changes nothing for the others.
    fn needs_no_rebalance(&self, member_id: &str, unchanged: bool, returns: bool) -> bool {
        match self.phase {
            // The leader may be assigning to the id that the member had before it came back.
            Phase::Completing => unchanged && !returns,
            // Nobody else is to notice that it was away (KIP-345).
            Phase::Stable if returns => self.choose_protocol() == self.protocol,
            // A leader that joins again wants to assign again.
            Phase::Stable => unchanged && member_id != self.leader,
            Phase::Empty | Phase::Preparing => false,
        }
    }

    /// Whether a member means the protocol that the group has chosen, as far as it names one.
    ///
    /// # Errors
    /// When it does not, or is not a member of this generation.
    pub fn check_protocol(
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
        self.member(caller)?.renew_session(now_ms);
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

    /// A member's heartbeat.
    ///
    /// # Errors
    /// When it is not a member of this generation, or has to join again.
    pub fn heartbeat(&mut self, caller: Caller<'_>, now_ms: i64) -> Result<(), ResponseError> {
        self.member(caller)?.renew_session(now_ms);
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
        self.member(caller)?.renew_session(now_ms);
        match self.phase {
            Phase::Completing => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// The same for a commit in a transaction, where who names no member needs none.
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
        if self.pending_members.remove(&id).is_some() {
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
            Phase::Completing | Phase::Stable if of_member => self.prepare_rebalance(now_ms),
            Phase::Preparing => self.complete_join_if_all(now_ms),
            _ => {}
        }
    }

    /// Lets time pass: members that were silent too long go, and waiting ends.
    pub fn tick(&mut self, now_ms: i64) {
        let pending = self.pending_members.len();
        self.pending_members.retain(|_, until| *until > now_ms);
        let silent = |member: &Member| !member.waits() && member.expires_ms <= now_ms;
        let gone: Vec<String> =
            self.members.iter().filter(|(_, member)| silent(member)).map(|(id, _)| id.clone()).collect();
        for id in &gone {
            self.remove(id, ResponseError::UnknownMemberId);
        }
        if !gone.is_empty() || self.pending_members.len() < pending {
            self.after_removal(!gone.is_empty(), now_ms);
        }
        if now_ms < self.deadline_ms {
            return;
        }
        match self.phase {
            Phase::Preparing => self.complete_join(now_ms),
            Phase::Completing => {
                // Who has not requested its assignment by now, the leader among them, is gone.
                self.members.retain(|_, member| member.syncing.is_some());
                self.prepare_rebalance(now_ms);
            }
            Phase::Empty | Phase::Stable => {}
        }
    }
}

#[cfg(test)]
mod tests;
