//! Who may join a group, and under which id.

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::{Group, Join, JoinRefused, Member};

/// Members may be silent for at most this long, in milliseconds.
const SESSION_MS: std::ops::RangeInclusive<i32> = 100..=1_800_000;

/// Bytes of a member's metadata.
pub(super) const PROTOCOL_BYTES_MAX: usize = 256 << 10;

/// The longest part of a client's own name in a member's id.
const CLIENT_ID_BYTES_MAX: usize = 200;

impl Group {
    pub(super) fn acceptable(&self, join: &Join) -> Result<(), ResponseError> {
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
        if self.is_new(join) && self.members.len() + self.pending_members.len() >= self.rules.members_max
        {
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
            && !self.pending_members.contains_key(&join.member_id)
    }

    pub(super) fn member_id_for(&mut self, join: &Join, now_ms: i64) -> Result<String, JoinRefused> {
        let holder = join.instance_id.as_deref().and_then(|instance| self.holder(instance));
        if join.member_id.is_empty() {
            let begin: String = join.client_id.chars().take(CLIENT_ID_BYTES_MAX / 4).collect();
            let id = format!("{begin}-{}", Uuid::new_v4());
            if let Some(old) = holder {
                // The same instance begins again: it takes over what it was (KIP-345).
                self.replace(&old, &id);
            } else if join.id_required && join.instance_id.is_none() {
                self.pending_members.insert(id.clone(), now_ms + i64::from(join.session_ms));
                return Err(JoinRefused::IdRequired(id));
            }
            return Ok(id);
        }
        match (&join.instance_id, holder) {
            (Some(_), Some(holder)) if holder != join.member_id => {
                Err(JoinRefused::Refused(ResponseError::FencedInstanceId))
            }
            _ if self.members.contains_key(&join.member_id)
                || self.pending_members.contains_key(&join.member_id) =>
            {
                Ok(join.member_id.clone())
            }
            _ => Err(JoinRefused::Refused(ResponseError::UnknownMemberId)),
        }
    }

    pub(super) fn holder(&self, instance: &str) -> Option<String> {
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
}
