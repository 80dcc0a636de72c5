//! What is known of the destinations → what to do next.
//!
//! The facts are gathered elsewhere; here is only the decision, so that each row of it is a test.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::{PartIndex, Plan};
use crate::progress::{
    ByPartition, Cursors, Difference, Parameters, Places, Progress, RecordCursor, Sinks,
};

/// What the user asked for, where the facts alone would not decide it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// Go on where the destination says that the run stopped.
    #[default]
    Continue,
    /// `--restart`: begin anew, whatever was done.
    Restart,
    /// `--trust-index`: go on behind the part that the local index file names.
    TrustIndex,
}

/// Which run a local index file belongs to, and what its index counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexOwner {
    pub parameters: Parameters,
    /// The sinks in which the parts up to the index are complete.
    pub places: Places,
}

/// What the local index file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalIndex {
    Absent,
    /// The index of the last complete part, and whose it is, where known. The older pipeline's
    /// file has no owner; it counts for every sink.
    Complete {
        last: PartIndex,
        owner: Option<IndexOwner>,
    },
    /// There is a file, but no index in it; the text says what is wrong.
    Unreadable(String),
}

/// A topic's name and its end offsets; `None` for one that does not exist.
pub type EndOffsets = (String, Option<ByPartition>);

/// What Kafka says: present when the run delivers to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// The last committed progress record of this run and shard.
    pub progress: Option<Progress>,
    /// There is such a record, but it cannot be read; the text says where and why.
    pub unreadable: Option<String>,
    /// Another split into shards under which the run has progress, such as `1/1`.
    pub other_split: Option<String>,
    /// End offsets of the record topics.
    pub end_offsets: Vec<EndOffsets>,
    /// Whether no open transaction could hide a later progress record.
    pub settled: bool,
}

/// Everything that the decision depends on.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub plan: &'a Plan,
    pub parameters: &'a Parameters,
    pub sinks: Sinks,
    pub places: &'a Places,
    pub destination: Option<Destination>,
    pub local: LocalIndex,
    /// The name of the local index file, for people.
    pub index_file: &'a str,
    pub wish: Wish,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Begin at the first part.
    Start,
    /// Go on at these cursors, which name every sink of the run, and keep those of other sinks.
    Continue(Cursors),
    /// Go on at these cursors, by the index file alone: what the destination counted is void.
    Adopt(Cursors),
    /// Nothing is left to do.
    Finished,
    /// The facts contradict each other; nothing is touched.
    Refuse(Conflict),
}

/// Why a run is neither begun nor continued. Each message says what was found and what resolves it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error(
        "the progress of this run was made with other parameters: {}. Set them as they were to continue it, \
         use another --run-name and --index-file for a second run, or begin anew with --restart",
        Differences(.0)
    )]
    ParametersDiffer(Vec<Difference>),
    #[error(
        "the index file {file} belongs to another run: {}. Give this one an --index-file of its own, or remove \
         the file if that run is not to be continued",
        Differences(differences)
    )]
    IndexOfAnother { file: String, differences: Vec<Difference> },
    #[error(
        "the index file says that part {index} is complete, but {}. Was a topic deleted, or is this another \
         cluster? Continue behind part {index} with --trust-index, or begin anew with --restart",
        Reached(.reached)
    )]
    IndexAhead { index: PartIndex, reached: Option<PartIndex> },
    #[error(
        "the progress says that {delivered} records are in topic {topic}, partition {partition}, but the topic \
         {}. Was it deleted? Begin anew with --restart, or check KAFKA_BROKERS", Ends(.end)
    )]
    TopicLost { topic: String, partition: usize, delivered: i64, end: Option<i64> },
    #[error(
        "the index file names part {index}, which is not a part of this run ({parts} parts). \
         Set the parameters as they were, or begin anew with --restart"
    )]
    IndexBeyondPlan { index: PartIndex, parts: u64 },
    #[error("the index file cannot be read ({0}). Repair it, or begin anew with --restart")]
    IndexUnreadable(String),
    #[error(
        "the run has progress as shard {0}; with another number of shards every record would be delivered twice. \
         Use that --shard, another --run-name for a second run, or begin anew with --restart"
    )]
    OtherSplit(String),
    #[error(
        "the progress record of this run cannot be read ({0}). Use another --run-name, or begin anew \
         with --restart"
    )]
    ProgressUnreadable(String),
    #[error(
        "--trust-index needs an index file, and there is none. Leave the option away, or use --restart"
    )]
    NoIndexToTrust,
    #[error(
        "the progress record of this run does not fit its plan (written by another version of cdr?). \
         Use another --run-name, or begin anew with --restart"
    )]
    ProgressInvalid,
}

struct Differences<'a>(&'a [Difference]);

impl fmt::Display for Differences<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Difference { name, was, now }) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{name} was {was}, now {now}")?;
        }
        Ok(())
    }
}

struct Reached<'a>(&'a Option<PartIndex>);

impl fmt::Display for Reached<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(part) => write!(f, "the destination has only what comes before part {part}"),
            None => f.write_str("the destination has no progress of this run"),
        }
    }
}

struct Ends<'a>(&'a Option<i64>);

impl fmt::Display for Ends<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(end) => write!(f, "ends at offset {end}"),
            None => f.write_str("does not exist"),
        }
    }
}

/// Decides how a run begins. What the destination says outranks the local index file.
pub fn decide(facts: &Facts<'_>) -> Decision {
    if facts.wish == Wish::Restart {
        return Decision::Start;
    }
    let decision = match &facts.destination {
        None => by_index(facts, Decision::Start),
        Some(destination) => by_destination(facts, destination),
    };
    match (facts.wish, &facts.local, &decision) {
        (Wish::TrustIndex, LocalIndex::Absent, _) => Decision::Refuse(Conflict::NoIndexToTrust),
        // Only a contradiction between the two needs somebody's word for one of them.
        (
            Wish::TrustIndex,
            _,
            Decision::Refuse(Conflict::IndexAhead { .. } | Conflict::TopicLost { .. }),
        ) => match by_index(facts, Decision::Start) {
            Decision::Continue(cursors) => Decision::Adopt(cursors),
            other => other,
        },
        _ => decision,
    }
}

/// Whether a decision can be acted on that was made by a mere look, while another process of the run
/// may be at work. Where it does not stand, that process is fenced, and what is true then decides.
pub fn stands(decision: &Decision, destination: &Destination) -> bool {
    match decision {
        Decision::Start | Decision::Continue(_) | Decision::Adopt(_) => false,
        // What the look could not see may be what the index file counts.
        Decision::Refuse(Conflict::IndexAhead { .. }) => destination.settled,
        Decision::Finished | Decision::Refuse(_) => true,
    }
}

/// Progress without Kafka, or by the user's word: the index file alone decides.
fn by_index(facts: &Facts<'_>, absent: Decision) -> Decision {
    let (last, owner) = match &facts.local {
        LocalIndex::Absent => return absent,
        LocalIndex::Unreadable(why) => {
            return Decision::Refuse(Conflict::IndexUnreadable(why.clone()));
        }
        LocalIndex::Complete { last, owner } => (*last, owner),
    };
    if let Some(conflict) = index_differs(facts) {
        return Decision::Refuse(conflict);
    }
    if !facts.plan.owns(last) || facts.plan.is_done(last) {
        let parts = facts.plan.parts();
        return Decision::Refuse(Conflict::IndexBeyondPlan { index: last, parts });
    }
    let next = facts.plan.after(last);
    let all = Cursors { kafka: Some(RecordCursor::at(next)), sftp: Some(next), directory: Some(next) };
    let known = match owner {
        Some(owner) => all.at(&owner.places, facts.places),
        None => all,
    };
    continue_or_finish(facts, known.of(facts.sinks))
}

fn by_destination(facts: &Facts<'_>, destination: &Destination) -> Decision {
    if let Some(why) = &destination.unreadable {
        return Decision::Refuse(Conflict::ProgressUnreadable(why.clone()));
    }
    let Some(progress) = &destination.progress else {
        return without_progress(facts, destination);
    };
    let conflict = differing(&progress.parameters, facts.parameters)
        .or_else(|| (!progress.fits(facts.plan)).then_some(Conflict::ProgressInvalid))
        .or_else(|| topic_lost(progress, &destination.end_offsets))
        .or_else(|| index_of_another(facts))
        .or_else(|| index_ahead(progress, &facts.local));
    match conflict {
        Some(conflict) => Decision::Refuse(conflict),
        None => continue_or_finish(facts, progress.cursors.at(&progress.places, facts.places)),
    }
}

/// Kafka knows nothing of the run; the index file may know of its files.
fn without_progress(facts: &Facts<'_>, destination: &Destination) -> Decision {
    if let Some(split) = &destination.other_split {
        return Decision::Refuse(Conflict::OtherSplit(split.clone()));
    }
    match &facts.local {
        // Kafka decides, and it knows nothing: a file without an index adds nothing to that.
        LocalIndex::Absent | LocalIndex::Unreadable(_) => Decision::Start,
        LocalIndex::Complete { owner: Some(owner), .. } if !owner.places.contains_key(KAFKA) => {
            by_index(facts, Decision::Start)
        }
        LocalIndex::Complete { last, .. } => {
            let ahead = Conflict::IndexAhead { index: *last, reached: None };
            Decision::Refuse(index_differs(facts).unwrap_or(ahead))
        }
    }
}

/// The sink's name among places.
const KAFKA: &str = "kafka";

/// The run's name among parameters.
const RUN_NAME: &str = "RUN_NAME";

fn differing(was: &Parameters, now: &Parameters) -> Option<Conflict> {
    let differences = was.differences(now);
    (!differences.is_empty()).then_some(Conflict::ParametersDiffer(differences))
}

/// The index file was written by a run with another name or other parameters: it may be all that is
/// known of that run's progress.
fn index_of_another(facts: &Facts<'_>) -> Option<Conflict> {
    let LocalIndex::Complete { owner: Some(owner), .. } = &facts.local else { return None };
    let differences = owner.parameters.differences(facts.parameters);
    let file = facts.index_file.to_owned();
    (!differences.is_empty()).then_some(Conflict::IndexOfAnother { file, differences })
}

/// Where the index file alone tells of the run: it is another run's, or the parameters were others.
fn index_differs(facts: &Facts<'_>) -> Option<Conflict> {
    match index_of_another(facts)? {
        Conflict::IndexOfAnother { differences, .. }
            if differences.iter().all(|difference| difference.name != RUN_NAME) =>
        {
            Some(Conflict::ParametersDiffer(differences))
        }
        another => Some(another),
    }
}

/// Fewer offsets than records: the topic is not the one that they were written to.
pub fn topic_lost(progress: &Progress, end_offsets: &[EndOffsets]) -> Option<Conflict> {
    progress.delivered.iter().find_map(|(topic, counts)| {
        let ends = end_offsets.iter().find(|(name, _)| name == topic);
        let ends = ends.and_then(|(_, ends)| ends.as_ref());
        let begin = progress.begin_offsets.get(topic);
        counts.iter().enumerate().find_map(|(partition, &delivered)| {
            let begin = begin.and_then(|begin| begin.get(partition)).copied().unwrap_or(0);
            let end = ends.and_then(|ends| ends.get(partition)).copied();
            let lost = delivered > 0 && end.is_none_or(|end| end < begin.saturating_add(delivered));
            lost.then(|| Conflict::TopicLost { topic: topic.clone(), partition, delivered, end })
        })
    })
}

/// The index is written after the commit, so an index that no cursor has passed is of another
/// destination. The furthest cursor counts: a sink that this run no longer uses stays behind.
fn index_ahead(progress: &Progress, local: &LocalIndex) -> Option<Conflict> {
    let LocalIndex::Complete { last, owner } = local else { return None };
    // An index that does not count Kafka's parts says nothing of them.
    if owner.as_ref().is_some_and(|owner| !owner.places.contains_key(KAFKA)) {
        return None;
    }
    let reached = progress.cursors.furthest();
    let behind = reached.is_none_or(|reached| *last >= reached);
    behind.then_some(Conflict::IndexAhead { index: *last, reached })
}

/// Gives each sink of the run a cursor: the known one, or the first part.
fn continue_or_finish(facts: &Facts<'_>, known: Cursors) -> Decision {
    let first = |used: bool| used.then_some(facts.plan.first());
    let cursors = Cursors {
        kafka: known.kafka.or(first(facts.sinks.kafka).map(RecordCursor::at)),
        sftp: known.sftp.or(first(facts.sinks.sftp)),
        directory: known.directory.or(first(facts.sinks.directory)),
    };
    match cursors.complete_before(facts.sinks) {
        Some(cursor) if facts.plan.is_done(cursor) => Decision::Finished,
        _ => Decision::Continue(cursors),
    }
}
