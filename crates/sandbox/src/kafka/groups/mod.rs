//! The group coordinator: consumer groups, and the offsets they have committed.
//!
//! Offsets are kept in a file of changes. Members are not: after a start of the broker they find
//! out with their next request that nobody knows them, and join again.

pub mod group;
mod member;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};

use self::group::{Caller, Group, Join, JoinAnswer, JoinRefused, Phase, Rules, SyncAnswer};
use super::batch::Outcome;
use super::config::Limits;
use super::error::Error;
use super::journal::Journal;

/// The longest note that can be kept with an offset; Kafka's `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4_096;

/// The longest name of a group.
const NAME_BYTES_MAX: usize = 1_000;

/// A topic's partition.
pub type TopicPartition = (String, i32);

/// An offset that a group has committed.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Committed {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: Option<String>,
}

/// As it stands in the file, whose names do not change with those here.
#[derive(Debug, Deserialize, Serialize)]
enum Change {
    Committed { group: String, offsets: Vec<(TopicPartition, Committed)> },
    Pending { group: String, producer_id: i64, offsets: Vec<(TopicPartition, Committed)> },
    Ended { group: String, producer_id: i64, commit: bool },
    Deleted { group: String },
    Forgotten { group: String, places: Vec<TopicPartition> },
}

/// Offsets of one group.
#[derive(Debug, Default)]
struct GroupOffsets {
    committed: BTreeMap<TopicPartition, Committed>,
    /// Committed in transactions that are open, by producer.
    pending: BTreeMap<i64, BTreeMap<TopicPartition, Committed>>,
}

impl GroupOffsets {
    fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    fn len(&self) -> usize {
        self.committed.len() + self.pending.values().map(BTreeMap::len).sum::<usize>()
    }

    fn end(&mut self, producer_id: i64, commit: bool) {
        let pending = self.pending.remove(&producer_id).unwrap_or_default();
        if commit {
            self.committed.extend(pending);
        }
    }
}

/// All groups.
#[derive(Debug)]
pub struct Groups {
    journal: Journal<Change>,
    members: BTreeMap<String, Group>,
    offsets: BTreeMap<String, GroupOffsets>,
    rules: Rules,
    limits: Limits,
}

impl Groups {
    /// Opens the committed offsets.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path, delay_ms: i64, limits: Limits) -> Result<Self, Error> {
        let mut offsets = BTreeMap::new();
        let journal = Journal::open(path, |change| apply(&mut offsets, change))?;
        let rules = Rules { delay_ms, members_max: limits.members_per_group };
        let mut groups = Groups { journal, members: BTreeMap::new(), offsets, rules, limits };
        groups.rewrite();
        Ok(groups)
    }

    fn rewrite(&mut self) {
        let changes = self.offsets.iter().flat_map(|(group, offsets)| {
            let owned = |offsets: &BTreeMap<TopicPartition, Committed>| {
                offsets.iter().map(|(partition, offset)| (partition.clone(), offset.clone())).collect()
            };
            let committed =
                Change::Committed { group: group.clone(), offsets: owned(&offsets.committed) };
            let pending = offsets.pending.iter().map(move |(&producer_id, offsets)| Change::Pending {
                group: group.clone(),
                producer_id,
                offsets: owned(offsets),
            });
            [committed].into_iter().chain(pending)
        });
        self.journal.rewrite(changes);
    }

    fn write(&mut self, change: Change) -> Result<(), ResponseError> {
        self.journal.append(&change).map_err(|_| ResponseError::CoordinatorNotAvailable)?;
        apply(&mut self.offsets, change);
        if self.journal.has_grown() {
            self.rewrite();
        }
        Ok(())
    }

    /// A group by its name, which comes into being with the first member.
    fn group(&mut self, name: &str) -> Result<&mut Group, ResponseError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(ResponseError::InvalidGroupId);
        }
        if self.members.len() >= self.limits.groups && !self.members.contains_key(name) {
            return Err(ResponseError::PolicyViolation);
        }
        let rules = self.rules;
        Ok(self.members.entry(name.to_owned()).or_insert_with(|| Group::new(rules)))
    }

    fn known(&mut self, name: &str) -> Result<&mut Group, ResponseError> {
        if name.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        self.members.get_mut(name).ok_or(ResponseError::UnknownMemberId)
    }

    /// See [`Group::join`].
    ///
    /// # Errors
    /// As there, and for a name that no group can have.
    pub fn join(&mut self, group: &str, join: Join, now_ms: i64) -> Result<JoinAnswer, JoinRefused> {
        self.group(group).map_err(JoinRefused::Refused)?.join(join, now_ms)
    }

    /// See [`Group::check_protocol`].
    ///
    /// # Errors
    /// As there.
    pub fn check_protocol(
        &mut self,
        group: &str,
        caller: Caller<'_>,
        protocol_type: Option<&str>,
        protocol: Option<&str>,
    ) -> Result<(), ResponseError> {
        self.known(group)?.check_protocol(caller, protocol_type, protocol)
    }

    /// See [`Group::sync`].
    ///
    /// # Errors
    /// As there.
    pub fn sync(
        &mut self,
        group: &str,
        caller: Caller<'_>,
        assignments: impl IntoIterator<Item = (String, bytes::Bytes)>,
        now_ms: i64,
    ) -> Result<SyncAnswer, ResponseError> {
        self.known(group)?.sync(caller, assignments, now_ms)
    }

    /// See [`Group::heartbeat`].
    ///
    /// # Errors
    /// As there.
    pub fn heartbeat(
        &mut self,
        group: &str,
        caller: Caller<'_>,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        self.known(group)?.heartbeat(caller, now_ms)
    }

    /// See [`Group::leave`].
    ///
    /// # Errors
    /// As there.
    pub fn leave(
        &mut self,
        group: &str,
        member_id: &str,
        instance_id: Option<&str>,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        self.known(group)?.leave(member_id, instance_id, now_ms)
    }

    /// Commits offsets of a group.
    ///
    /// # Errors
    /// When the caller may not, or there are too many.
    pub fn commit(
        &mut self,
        group: &str,
        caller: Caller<'_>,
        offsets: Vec<(TopicPartition, Committed)>,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        match self.members.get_mut(group) {
            Some(known) => known.may_commit(caller, now_ms)?,
            // Who is no member may commit for a group that has none.
            None if caller.generation < 0 => {}
            None => return Err(ResponseError::UnknownMemberId),
        }
        let known = self.offsets.get(group).map(|known| &known.committed);
        self.room_for(group, new_partitions(&offsets, known))?;
        self.write(Change::Committed { group: group.to_owned(), offsets })
    }

    /// Commits offsets of a group as part of a transaction. `verify` is called while no transaction
    /// can be ended.
    ///
    /// # Errors
    /// When the caller may not, or there are too many.
    pub fn commit_in_transaction(
        &mut self,
        group: &str,
        caller: Caller<'_>,
        producer_id: i64,
        offsets: Vec<(TopicPartition, Committed)>,
        verify: impl FnOnce() -> Result<(), ResponseError>,
    ) -> Result<(), ResponseError> {
        match self.members.get_mut(group) {
            Some(known) => known.may_commit_in_transaction(caller)?,
            None if caller.generation < 0 => {}
            None => return Err(ResponseError::UnknownMemberId),
        }
        verify()?;
        let known = self.offsets.get(group).and_then(|known| known.pending.get(&producer_id));
        self.room_for(group, new_partitions(&offsets, known))?;
        self.write(Change::Pending { group: group.to_owned(), producer_id, offsets })
    }

    fn room_for(&self, group: &str, more: usize) -> Result<(), ResponseError> {
        if group.is_empty() || group.len() > NAME_BYTES_MAX {
            return Err(ResponseError::InvalidGroupId);
        }
        let there = self.offsets.get(group).map_or(0, GroupOffsets::len);
        let too_many_groups =
            self.offsets.len() >= self.limits.groups && !self.offsets.contains_key(group);
        if there + more > self.limits.offsets_per_group || too_many_groups {
            return Err(ResponseError::PolicyViolation);
        }
        Ok(())
    }

    /// Ends what a producer has committed for a group in its transaction.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn end_transaction(
        &mut self,
        group: &str,
        producer_id: i64,
        outcome: Outcome,
    ) -> Result<(), ResponseError> {
        let open = self.offsets.get(group).is_some_and(|known| known.pending.contains_key(&producer_id));
        if !open {
            return Ok(());
        }
        let commit = outcome == Outcome::Commit;
        self.write(Change::Ended { group: group.to_owned(), producer_id, commit })
    }

    /// What a group has committed for a partition, and whether more is pending in a transaction.
    pub fn committed(&self, group: &str, partition: &TopicPartition) -> (Option<&Committed>, bool) {
        let Some(offsets) = self.offsets.get(group) else { return (None, false) };
        let pending = offsets.pending.values().any(|pending| pending.contains_key(partition));
        (offsets.committed.get(partition), pending)
    }

    /// All partitions for which a group has committed something.
    pub fn partitions(&self, group: &str) -> Vec<TopicPartition> {
        let offsets = self.offsets.get(group);
        offsets.map(|offsets| offsets.committed.keys().cloned().collect()).unwrap_or_default()
    }

    /// Deletes a group.
    ///
    /// # Errors
    /// When it has members, or is not there.
    pub fn delete(&mut self, group: &str) -> Result<(), ResponseError> {
        match self.members.get(group) {
            Some(known) if !known.is_deserted() => return Err(ResponseError::NonEmptyGroup),
            None if !self.offsets.contains_key(group) => return Err(ResponseError::GroupIdNotFound),
            _ => {}
        }
        self.members.remove(group);
        self.write(Change::Deleted { group: group.to_owned() })
    }

    /// Deletes committed offsets of a group.
    ///
    /// # Errors
    /// When the group has members, or is not there.
    pub fn forget(&mut self, group: &str, partitions: Vec<TopicPartition>) -> Result<(), ResponseError> {
        if self.members.get(group).is_some_and(|known| !known.is_deserted()) {
            return Err(ResponseError::NonEmptyGroup);
        }
        if !self.offsets.contains_key(group) {
            return Err(ResponseError::GroupIdNotFound);
        }
        self.write(Change::Forgotten { group: group.to_owned(), places: partitions })
    }

    /// A topic is gone, and with it what was committed for it.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn forget_topic(&mut self, topic: &str) -> Result<(), ResponseError> {
        let of_topic = |partition: &&TopicPartition| partition.0 == topic;
        let gone: Vec<(String, Vec<TopicPartition>)> = self
            .offsets
            .iter()
            .map(|(group, offsets)| {
                (group.clone(), offsets.committed.keys().filter(of_topic).cloned().collect())
            })
            .filter(|(_, partitions): &(_, Vec<TopicPartition>)| !partitions.is_empty())
            .collect();
        for (group, places) in gone {
            self.write(Change::Forgotten { group, places })?;
        }
        Ok(())
    }

    /// All groups: name, phase and protocol type.
    pub fn all(&self) -> Vec<(String, Phase, String)> {
        let names: BTreeSet<&String> = self.members.keys().chain(self.offsets.keys()).collect();
        let entry = |name: &String| match self.members.get(name) {
            Some(group) => (name.clone(), group.phase, group.protocol_type.clone()),
            None => (name.clone(), Phase::Empty, String::new()),
        };
        names.into_iter().map(entry).collect()
    }

    /// A group that has, or had, members.
    pub fn get(&self, group: &str) -> Option<&Group> {
        self.members.get(group)
    }

    /// Whether the group is known by its offsets.
    pub fn has_offsets(&self, group: &str) -> bool {
        self.offsets.contains_key(group)
    }

    /// Lets time pass.
    pub fn tick(&mut self, now_ms: i64) {
        self.members.values_mut().for_each(|group| group.tick(now_ms));
        self.members.retain(|_, group| !group.is_deserted());
    }

    /// Makes what was written survive the loss of power.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn flush(&self) -> io::Result<()> {
        self.journal.sync()
    }
}

/// How many of these offsets do not replace one that is known.
fn new_partitions(
    offsets: &[(TopicPartition, Committed)],
    known: Option<&BTreeMap<TopicPartition, Committed>>,
) -> usize {
    let is_new = |partition: &&TopicPartition| known.is_none_or(|known| !known.contains_key(*partition));
    offsets.iter().map(|(partition, _)| partition).filter(is_new).collect::<BTreeSet<_>>().len()
}

/// Whether a note can be kept with an offset.
///
/// # Errors
/// When it is too long.
pub fn check_metadata(metadata: Option<&str>) -> Result<(), ResponseError> {
    let fits = metadata.is_none_or(|metadata| metadata.len() <= METADATA_BYTES_MAX);
    if fits { Ok(()) } else { Err(ResponseError::OffsetMetadataTooLarge) }
}

fn apply(offsets: &mut BTreeMap<String, GroupOffsets>, change: Change) {
    let group = match change {
        Change::Committed { group, offsets: new } => {
            offsets.entry(group.clone()).or_default().committed.extend(new);
            group
        }
        Change::Pending { group, producer_id, offsets: new } => {
            let known = offsets.entry(group.clone()).or_default();
            known.pending.entry(producer_id).or_default().extend(new);
            group
        }
        Change::Ended { group, producer_id, commit } => {
            offsets.entry(group.clone()).or_default().end(producer_id, commit);
            group
        }
        Change::Deleted { group } => {
            offsets.remove(&group);
            return;
        }
        Change::Forgotten { group, places: partitions } => {
            let known = offsets.entry(group.clone()).or_default();
            partitions.iter().for_each(|partition| drop(known.committed.remove(partition)));
            group
        }
    };
    if offsets.get(&group).is_some_and(GroupOffsets::is_empty) {
        offsets.remove(&group);
    }
}

#[cfg(test)]
mod tests;
