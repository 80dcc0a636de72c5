//! The transaction coordinator: who owns a transactional id, what its transaction has touched, and
//! how it ends.
//!
//! The rules are those of Kafka's `TransactionCoordinator` (KIP-98, KIP-360), in its first protocol
//! version. A transaction ends in three steps that survive a crash between them: the decision is
//! written, then the markers, then that all of them are. Whoever finds a decision without the last
//! step writes the markers again; a partition without an open transaction takes none.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};

use super::batch::Outcome;
use super::config::Limits;
use super::error::Error;
use super::journal::Journal;

/// The longest time that a transaction may be open, in milliseconds; Kafka's
/// `transaction.max.timeout.ms`.
pub const TIMEOUT_MS_MAX: i32 = 15 * 60 * 1_000;

/// Producer ids that are reserved with one write.
const IDS_AT_ONCE: i64 = 1_000;

/// Behind this epoch a transactional id goes on with another producer id.
const EPOCH_MAX: i16 = i16::MAX - 2;

/// What a transaction of a transactional id is doing.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Phase {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

impl Phase {
    fn prepare(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Commit => Phase::PrepareCommit,
            Outcome::Abort => Phase::PrepareAbort,
        }
    }

    /// How the transaction is to end, once that is decided and while it is not done.
    fn decided(self) -> Option<Outcome> {
        match self {
            Phase::PrepareCommit => Some(Outcome::Commit),
            Phase::PrepareAbort => Some(Outcome::Abort),
            _ => None,
        }
    }

    /// The name that Kafka's tools show.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Empty => "Empty",
            Phase::Ongoing => "Ongoing",
            Phase::PrepareCommit => "PrepareCommit",
            Phase::PrepareAbort => "PrepareAbort",
            Phase::CompleteCommit => "CompleteCommit",
            Phase::CompleteAbort => "CompleteAbort",
        }
    }
}

/// What is known of a transactional id.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Transaction {
    pub producer_id: i64,
    pub epoch: i16,
    /// The epoch before the last bump that a producer requested by its epoch: its request may come
    /// again.
    bumped_from: Option<i16>,
    pub timeout_ms: i32,
    pub phase: Phase,
    pub partitions: BTreeSet<(String, i32)>,
    pub groups: BTreeSet<String>,
    /// When the open transaction began, in milliseconds since 1970.
    pub started_ms: i64,
    /// When anything last happened, in milliseconds since 1970.
    changed_ms: i64,
}

/// A transaction whose end is decided and has to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub id: String,
    pub producer: (i64, i16),
    pub outcome: Outcome,
    pub partitions: BTreeSet<(String, i32)>,
    pub groups: BTreeSet<String>,
}

/// What becomes of a producer that announces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Init {
    Ready {
        producer_id: i64,
        epoch: i16,
    },
    /// It left a transaction open, which is to be aborted; then it announces itself again.
    AbortFirst(Ending),
}

#[derive(Debug, Deserialize, Serialize)]
enum Change {
    /// Producer ids below this may have been given out.
    Reserved(i64),
    Set(String, Box<Transaction>),
    Removed(String),
}

/// All transactional ids, and the giving out of producer ids.
#[derive(Debug)]
pub struct Transactions {
    journal: Journal<Change>,
    by_id: BTreeMap<String, Transaction>,
    by_producer: HashMap<i64, String>,
    /// Endings that somebody is carrying out.
    busy: BTreeSet<String>,
    next_producer_id: i64,
    reserved: i64,
    limits: Limits,
}

impl Transactions {
    /// Opens what is known.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, Error> {
        let (mut by_id, mut reserved) = (BTreeMap::new(), 0);
        let journal = Journal::open(path, |change| match change {
            Change::Reserved(below) => reserved = below,
            Change::Set(id, transaction) => drop(by_id.insert(id, *transaction)),
            Change::Removed(id) => drop(by_id.remove(&id)),
        })?;
        let by_producer = by_id.iter().map(|(id, known)| (known.producer_id, id.clone())).collect();
        let busy = BTreeSet::new();
        let next_producer_id = reserved;
        let mut transactions =
            Transactions { journal, by_id, by_producer, busy, next_producer_id, reserved, limits };
        transactions.rewrite();
        Ok(transactions)
    }

    fn rewrite(&mut self) {
        let set = self.by_id.iter().map(|(id, known)| Change::Set(id.clone(), Box::new(known.clone())));
        self.journal.rewrite([Change::Reserved(self.reserved)].into_iter().chain(set));
    }

    fn write(&mut self, change: &Change) -> Result<(), ResponseError> {
        // The client tries again; what was not written does not hold.
        self.journal.append(change).map_err(|_| ResponseError::CoordinatorNotAvailable)
    }

    fn set(&mut self, id: &str, transaction: Transaction) -> Result<(), ResponseError> {
        self.write(&Change::Set(id.to_owned(), Box::new(transaction.clone())))?;
        self.by_producer.insert(transaction.producer_id, id.to_owned());
        self.by_id.insert(id.to_owned(), transaction);
        if self.journal.has_grown() {
            self.rewrite();
        }
        Ok(())
    }

    /// A producer id that nobody had before.
    ///
    /// # Errors
    /// When it cannot be written down that it is given out.
    pub fn new_producer_id(&mut self) -> Result<i64, ResponseError> {
        if self.next_producer_id == self.reserved {
            self.write(&Change::Reserved(self.reserved + IDS_AT_ONCE))?;
            self.reserved += IDS_AT_ONCE;
        }
        self.next_producer_id += 1;
        Ok(self.next_producer_id - 1)
    }

    /// A producer announces itself under a transactional id; `expected` is who it was, if it goes
    /// on after an error (KIP-360).
    ///
    /// # Errors
    /// When it was fenced, or a transaction is just being ended.
    pub fn init(
        &mut self,
        id: &str,
        timeout_ms: i32,
        expected: Option<(i64, i16)>,
        now_ms: i64,
    ) -> Result<Init, ResponseError> {
        if !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        let Some(mut known) = self.by_id.get(id).cloned() else {
            return self.first(id, timeout_ms, now_ms);
        };
        let comes_again = match expected {
            Some((producer_id, _)) if producer_id != known.producer_id => {
                return Err(ResponseError::ProducerFenced);
            }
            Some((_, epoch)) if epoch == known.epoch => false,
            Some((_, epoch)) if Some(epoch) == known.bumped_from => true,
            Some(_) => return Err(ResponseError::ProducerFenced),
            None => false,
        };
        if known.phase.decided().is_some() {
            return Err(ResponseError::ConcurrentTransactions);
        }
        if known.phase == Phase::Ongoing {
            let from = expected.map(|(_, epoch)| epoch);
            return self.decide(id, Outcome::Abort, Some(from), now_ms).map(Init::AbortFirst);
        }
        // An epoch behind the last one is only there for the marker that fences.
        if !comes_again || known.epoch > EPOCH_MAX {
            known.bumped_from = expected.map(|(_, epoch)| epoch);
            if known.epoch >= EPOCH_MAX {
                self.by_producer.remove(&known.producer_id);
                (known.producer_id, known.epoch, known.bumped_from) =
                    (self.new_producer_id()?, -1, None);
            }
            known.epoch += 1;
            known.phase = Phase::Empty;
        }
        (known.timeout_ms, known.changed_ms) = (timeout_ms, now_ms);
        let ready = Init::Ready { producer_id: known.producer_id, epoch: known.epoch };
        self.set(id, known)?;
        Ok(ready)
    }

    fn first(&mut self, id: &str, timeout_ms: i32, now_ms: i64) -> Result<Init, ResponseError> {
        if self.by_id.len() >= self.limits.transactional_ids {
            self.forget_one()?;
        }
        let producer_id = self.new_producer_id()?;
        let transaction = Transaction {
            producer_id,
            epoch: 0,
            bumped_from: None,
            timeout_ms,
            phase: Phase::Empty,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            started_ms: -1,
            changed_ms: now_ms,
        };
        self.set(id, transaction)?;
        Ok(Init::Ready { producer_id, epoch: 0 })
    }

    /// Makes room by forgetting the id that was idle longest.
    fn forget_one(&mut self) -> Result<(), ResponseError> {
        let idle = self
            .by_id
            .iter()
            .filter(|(_, known)| known.phase != Phase::Ongoing && known.phase.decided().is_none());
        let oldest = idle.min_by_key(|(_, known)| known.changed_ms).map(|(id, _)| id.clone());
        let id = oldest.ok_or(ResponseError::PolicyViolation)?;
        self.write(&Change::Removed(id.clone()))?;
        if let Some(known) = self.by_id.remove(&id) {
            self.by_producer.remove(&known.producer_id);
        }
        Ok(())
    }

    /// The transaction of a producer, if it is the one that owns the id.
    fn owned(&self, id: &str, producer: (i64, i16)) -> Result<&Transaction, ResponseError> {
        let known = self.by_id.get(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        if known.producer_id != producer.0 {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if known.epoch != producer.1 {
            return Err(ResponseError::ProducerFenced);
        }
        Ok(known)
    }

    /// Adds partitions and groups to a producer's transaction, which begins with the first.
    ///
    /// # Errors
    /// When the producer is fenced, or its last transaction is still being ended.
    pub fn add(
        &mut self,
        id: &str,
        producer: (i64, i16),
        partitions: impl IntoIterator<Item = (String, i32)>,
        groups: impl IntoIterator<Item = String>,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        let known = self.owned(id, producer)?;
        if known.phase.decided().is_some() {
            return Err(ResponseError::ConcurrentTransactions);
        }
        let mut next = known.clone();
        if next.phase != Phase::Ongoing {
            next.partitions.clear();
            next.groups.clear();
            (next.phase, next.started_ms) = (Phase::Ongoing, now_ms);
        }
        next.partitions.extend(partitions);
        next.groups.extend(groups);
        if next.partitions.len() + next.groups.len() > self.limits.partitions_per_transaction {
            return Err(ResponseError::PolicyViolation);
        }
        if next == *known {
            return Ok(());
        }
        next.changed_ms = now_ms;
        self.set(id, next)
    }

    /// A producer wants its transaction to end; `None` if it has ended so already.
    ///
    /// # Errors
    /// When the producer is fenced, or its transaction is not in a state for that.
    pub fn end(
        &mut self,
        id: &str,
        producer: (i64, i16),
        outcome: Outcome,
        now_ms: i64,
    ) -> Result<Option<Ending>, ResponseError> {
        match (self.owned(id, producer)?.phase, outcome) {
            (Phase::Ongoing, _) => self.decide(id, outcome, None, now_ms).map(Some),
            (Phase::CompleteCommit, Outcome::Commit) | (Phase::CompleteAbort, Outcome::Abort) => {
                Ok(None)
            }
            (phase, _) if phase.decided() == Some(outcome) => Err(ResponseError::ConcurrentTransactions),
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Writes down how a transaction ends. `fence` is given to shut its producer out, with the epoch
    /// that may yet go on from here.
    fn decide(
        &mut self,
        id: &str,
        outcome: Outcome,
        fence: Option<Option<i16>>,
        now_ms: i64,
    ) -> Result<Ending, ResponseError> {
        let known = self.by_id.get(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        let mut next =
            Transaction { phase: Phase::prepare(outcome), changed_ms: now_ms, ..known.clone() };
        if let Some(bumped_from) = fence {
            (next.epoch, next.bumped_from) = (known.epoch + 1, bumped_from);
        }
        let ending = ending(id, &next, outcome);
        self.set(id, next)?;
        self.busy.insert(id.to_owned());
        Ok(ending)
    }

    /// The markers of an ending are all written, or could not be: then it is tried again later.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn ended(&mut self, ending: &Ending, done: bool) -> Result<(), ResponseError> {
        self.busy.remove(&ending.id);
        let Some(known) = self.by_id.get(&ending.id).filter(|_| done) else { return Ok(()) };
        if (known.producer_id, known.epoch) != ending.producer {
            return Ok(());
        }
        let mut next = known.clone();
        next.phase = match ending.outcome {
            Outcome::Commit => Phase::CompleteCommit,
            Outcome::Abort => Phase::CompleteAbort,
        };
        next.partitions.clear();
        next.groups.clear();
        next.started_ms = -1;
        self.set(&ending.id, next)
    }

    /// What has to be ended without any request: transactions that are open too long, and those
    /// whose end was decided and then interrupted.
    pub fn due(&mut self, now_ms: i64) -> Vec<Ending> {
        let late = |known: &Transaction| {
            known.phase == Phase::Ongoing && now_ms - known.started_ms > i64::from(known.timeout_ms)
        };
        let late: Vec<String> =
            self.by_id.iter().filter(|(_, known)| late(known)).map(|(id, _)| id.clone()).collect();
        for id in late {
            // If it cannot be written, it is late at the next look, too.
            if self.decide(&id, Outcome::Abort, Some(None), now_ms).is_ok() {
                self.busy.remove(&id);
            }
        }
        let decided = self.by_id.iter().filter(|(id, _)| !self.busy.contains(*id));
        let endings: Vec<Ending> =
            decided.filter_map(|(id, known)| Some(ending(id, known, known.phase.decided()?))).collect();
        self.busy.extend(endings.iter().map(|ending| ending.id.clone()));
        endings
    }

    /// Whether a producer may write to a partition in its transaction now.
    ///
    /// # Errors
    /// When it is fenced, or the partition is not part of an open transaction of it.
    pub fn verify(
        &self,
        producer: (i64, i16),
        topic: &str,
        partition: i32,
    ) -> Result<(), ResponseError> {
        let known = self.open_of(producer)?;
        let among = known.partitions.iter().any(|(name, index)| name == topic && *index == partition);
        if among { Ok(()) } else { Err(ResponseError::InvalidTxnState) }
    }

    /// Whether a producer may commit offsets of a group in its transaction now.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_group(&self, producer: (i64, i16), group: &str) -> Result<(), ResponseError> {
        let known = self.open_of(producer)?;
        if known.groups.contains(group) { Ok(()) } else { Err(ResponseError::InvalidTxnState) }
    }

    fn open_of(&self, producer: (i64, i16)) -> Result<&Transaction, ResponseError> {
        let known = self.by_producer.get(&producer.0).and_then(|id| self.by_id.get(id));
        let known = known.ok_or(ResponseError::InvalidProducerIdMapping)?;
        if known.epoch != producer.1 {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if known.phase == Phase::Ongoing { Ok(known) } else { Err(ResponseError::InvalidTxnState) }
    }

    pub fn get(&self, id: &str) -> Option<&Transaction> {
        self.by_id.get(id)
    }

    pub fn all(&self) -> impl Iterator<Item = (&String, &Transaction)> {
        self.by_id.iter()
    }

    /// Makes what was written survive the loss of power.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn flush(&self) -> io::Result<()> {
        self.journal.sync()
    }
}

fn ending(id: &str, known: &Transaction, outcome: Outcome) -> Ending {
    Ending {
        id: id.to_owned(),
        producer: (known.producer_id, known.epoch),
        outcome,
        partitions: known.partitions.clone(),
        groups: known.groups.clone(),
    }
}

#[cfg(test)]
mod tests;
