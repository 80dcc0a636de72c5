//! A member of a consumer group: its requests, their answers, and its state.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

/// A member's request to join.
#[derive(Clone, Debug)]
pub struct Join {
    /// Empty for a new member.
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_ms: i32,
    /// How long a rebalance waits for the member.
    pub rebalance_ms: i32,
    pub protocol_type: String,
    /// Names of ways to assign, best first, and what each needs to know of the member.
    pub protocols: Vec<(String, Bytes)>,
    /// Whether a new member first gets its id, and joins with it then.
    pub id_required: bool,
}

/// What a member learns when all have joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub member_id: String,
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: String,
    pub leader: String,
    /// Only for the leader: id, instance and protocol data of all.
    pub members: Vec<(String, Option<String>, Bytes)>,
    /// It leads, but the assignment stands: it is a static member that has come back (KIP-814).
    pub skips_assignment: bool,
}

/// A member has to join again with this id, or is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinRefused {
    IdRequired(String),
    Refused(ResponseError),
}

pub type JoinAnswer = oneshot::Receiver<Result<Joined, ResponseError>>;

/// Name of the protocol, and the member's assignment.
pub type SyncAnswer = oneshot::Receiver<Result<(String, Bytes), ResponseError>>;

/// A member that names itself in a request.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    pub member_id: &'a str,
    pub instance_id: Option<&'a str>,
    pub generation: i32,
}

/// A member, as tools see it.
#[derive(Debug)]
pub struct Member {
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_ms: i32,
    pub rebalance_ms: i32,
    pub protocols: Vec<(String, Bytes)>,
    pub assignment: Bytes,
    pub expires_ms: i64,
    pub joining: Option<oneshot::Sender<Result<Joined, ResponseError>>>,
    pub syncing: Option<oneshot::Sender<Result<(String, Bytes), ResponseError>>>,
}

impl Member {
    /// The member's metadata for a protocol.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    pub fn waits(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    pub fn renew_session(&mut self, now_ms: i64) {
        self.expires_ms = now_ms + i64::from(self.session_ms);
    }

    /// Answers what it waits for.
    pub fn refuse(&mut self, why: ResponseError) {
        if let Some(joining) = self.joining.take() {
            drop(joining.send(Err(why)));
        }
        if let Some(syncing) = self.syncing.take() {
            drop(syncing.send(Err(why)));
        }
    }
}
