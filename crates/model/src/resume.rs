//! What is known of the destinations → what to do next.
//!
//! The facts are gathered elsewhere; here is only the decision, so that each row of it is a test.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::{PartIndex, Plan};
use crate::progress::{ByPartition, Cursors, Difference, KAFKA, Parameters, Progress, SinkTargets};
use crate::stream::PerStream;

/// How the user wants a run to start, where the facts alone would not decide it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartMode {
    /// Go on where the run stopped by the destination's progress.
    #[default]
    Continue,
    /// `--restart`: begin again at the first record, whatever was done.
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
    #[serde(alias = "places")]
    pub targets: SinkTargets,
}

/// The content of the local index file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalIndex {
    Absent,
    /// The index of the last complete part, and whose it is, where known. The older pipeline's
    /// file has no owner; it counts for every sink.
    Complete {
        last: PartIndex,
        owner: Option<IndexOwner>,
    },
    /// There is a file, but no index in it; the text is what is wrong.
    Unreadable(String),
}

/// The end offsets of the streams' topics; `None` for one that does not exist.
pub type EndOffsets = PerStream<Option<ByPartition>>;

/// What is known of Kafka: present when the run delivers to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaState {
    /// The last committed progress record of this run and shard.
    pub progress: Option<Progress>,
    /// There is such a record, but it cannot be read; the text is where and why.
    pub unreadable: Option<String>,
    /// The run was last begun with another number of shards than this one's.
    pub other_split: Option<u32>,
    /// What the run was last begun with, by whichever shard.
    pub begun_with: Option<Parameters>,
    pub end_offsets: EndOffsets,
    /// Whether no open transaction could hide a later progress record.
    pub settled: bool,
}

/// Everything that the decision depends on.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub plan: &'a Plan,
    pub parameters: &'a Parameters,
    /// Where each sink of the run delivers to.
    pub targets: &'a SinkTargets,
    pub kafka: Option<KafkaState>,
    pub local: LocalIndex,
    /// The name of the local index file, for people.
    pub index_file: &'a str,
    pub mode: StartMode,
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

/// Why a run is neither begun nor continued. Each message names what was found and what resolves it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error(
        "the progress of this run was made with other parameters: {}. Set them as they were to continue it, \
         use another --run-name and --index-file for a second run, or begin again with --restart",
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
        "the index file has part {index} as complete, but {}. Was a topic deleted, or is this another \
         cluster? Continue behind part {index} with --trust-index, or begin again with --restart",
        Reached(.reached)
    )]
    IndexAhead { index: PartIndex, reached: Option<PartIndex> },
    #[error(
        "the progress counts {delivered} records in topic {topic}, partition {partition}, but the topic \
         {}. Was it deleted? Begin again with --restart, or check KAFKA_BROKERS", Ends(.end)
    )]
    TopicLost { topic: String, partition: usize, delivered: i64, end: Option<i64> },
    #[error(
        "the index file names part {index}, which is not a part of this run ({parts} parts). \
         Set the parameters as they were, or begin again with --restart"
    )]
    IndexBeyondPlan { index: PartIndex, parts: u64 },
    #[error("the index file cannot be read ({0}). Repair it, or begin again with --restart")]
    IndexUnreadable(String),
    #[error(
        "the run has progress in {0} shard(s); with another number of shards every record would be delivered twice. \
         Use --shard 1/{0} to {0}/{0}, another --run-name for a second run, or begin again with --restart"
    )]
    OtherSplit(u32),
    #[error(
        "the progress record of this run cannot be read ({0}). Use another --run-name, or begin again \
         with --restart"
    )]
    ProgressUnreadable(String),
    #[error(
        "--trust-index needs an index file, and there is none. Leave the option away, or use --restart"
    )]
    NoIndexToTrust,
    #[error(
        "the progress record of this run does not fit its plan (written by another version of cdr?). \
         Use another --run-name, or begin again with --restart"
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

/// Decides how a run begins. The destination's progress outranks the local index file.
pub fn decide(facts: &Facts<'_>) -> Decision {
    if facts.mode == StartMode::Restart {
        return Decision::Start;
    }
    let decision = match &facts.kafka {
        None => by_index(facts, Decision::Start),
        Some(state) => by_kafka(facts, state),
    };
    match (facts.mode, &facts.local, &decision) {
        (StartMode::TrustIndex, LocalIndex::Absent, _) => Decision::Refuse(Conflict::NoIndexToTrust),
        // Only a contradiction between the two needs somebody's word for one of them.
        (
            StartMode::TrustIndex,
            _,
            Decision::Refuse(Conflict::IndexAhead { .. } | Conflict::TopicLost { .. }),
        ) => match by_index(facts, Decision::Start) {
            Decision::Continue(cursors) => Decision::Adopt(cursors),
            other => other,
        },
        _ => decision,
    }
}

/// Whether a decision is final that was made by a probe, while another process of the run may be at
/// work. Where it is not, that process is fenced, and what is true then decides.
pub fn is_final(decision: &Decision, state: &KafkaState) -> bool {
    match decision {
        Decision::Start | Decision::Continue(_) | Decision::Adopt(_) => false,
        // What the probe could not see may be what the index file counts.
        Decision::Refuse(Conflict::IndexAhead { .. }) => state.settled,
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
    let all = Cursors::all_at(facts.targets, next);
    let known = match owner {
        Some(owner) => all.at(&owner.targets, facts.targets),
        None => all,
    };
    continue_or_finish(facts, known)
}

fn by_kafka(facts: &Facts<'_>, state: &KafkaState) -> Decision {
    if let Some(why) = &state.unreadable {
        return Decision::Refuse(Conflict::ProgressUnreadable(why.clone()));
    }
    if let Some(split) = state.other_split {
        return Decision::Refuse(Conflict::OtherSplit(split));
    }
    let Some(progress) = &state.progress else {
        let begun_with = state.begun_with.as_ref();
        return match begun_with.and_then(|begun_with| differing(begun_with, facts.parameters)) {
            Some(conflict) => Decision::Refuse(conflict),
            None => without_progress(facts),
        };
    };
    let conflict = differing(&progress.parameters, facts.parameters)
        .or_else(|| (!progress.fits(facts.plan)).then_some(Conflict::ProgressInvalid))
        .or_else(|| topic_lost(progress, &state.end_offsets))
        .or_else(|| index_of_another(facts))
        .or_else(|| index_ahead(progress, &facts.local));
    match conflict {
        Some(conflict) => Decision::Refuse(conflict),
        None => continue_or_finish(facts, progress.cursors.clone().at(&progress.targets, facts.targets)),
    }
}

/// Kafka knows nothing of the run; the index file may know of its files.
fn without_progress(facts: &Facts<'_>) -> Decision {
    match &facts.local {
        // Kafka decides, and it knows nothing: a file without an index adds nothing to that.
        LocalIndex::Absent | LocalIndex::Unreadable(_) => Decision::Start,
        LocalIndex::Complete { owner: Some(owner), .. } if !owner.targets.contains_key(KAFKA) => {
            by_index(facts, Decision::Start)
        }
        LocalIndex::Complete { last, .. } => {
            let ahead = Conflict::IndexAhead { index: *last, reached: None };
            Decision::Refuse(index_differs(facts).unwrap_or(ahead))
        }
    }
}

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

/// Where the index file alone reports on the run: it is another run's, or the parameters were others.
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
pub fn topic_lost(progress: &Progress, end_offsets: &EndOffsets) -> Option<Conflict> {
    progress.delivered.iter().find_map(|(stream, counts)| {
        let at = |offsets: &ByPartition, partition: usize| offsets.get(partition).copied();
        counts.iter().enumerate().find_map(|(partition, &delivered)| {
            let begin = at(&progress.begin_offsets[stream], partition).unwrap_or(0);
            let end = end_offsets[stream].as_ref().and_then(|ends| at(ends, partition));
            let lost = delivered > 0 && end.is_none_or(|end| end < begin.saturating_add(delivered));
            let topic = || progress.parameters.topic(stream).to_owned();
            lost.then(|| Conflict::TopicLost { topic: topic(), partition, delivered, end })
        })
    })
}

/// The index is written after the commit, so an index that no cursor has passed is of another
/// destination. The furthest cursor counts: a sink that this run no longer uses stays behind.
fn index_ahead(progress: &Progress, local: &LocalIndex) -> Option<Conflict> {
    let LocalIndex::Complete { last, owner } = local else { return None };
    // An index that does not count Kafka's parts knows nothing of them.
    if owner.as_ref().is_some_and(|owner| !owner.targets.contains_key(KAFKA)) {
        return None;
    }
    let reached = progress.cursors.furthest();
    let behind = reached.is_none_or(|reached| *last >= reached);
    behind.then_some(Conflict::IndexAhead { index: *last, reached })
}

/// Gives each sink of the run a cursor: the known one, or the first part.
fn continue_or_finish(facts: &Facts<'_>, known: Cursors) -> Decision {
    let mut cursors = Cursors::all_at(facts.targets, facts.plan.first());
    cursors.records = known.records.or(cursors.records);
    cursors.files.extend(known.files);
    match cursors.complete_before(facts.targets) {
        Some(cursor) if facts.plan.is_done(cursor) => Decision::Finished,
        _ => Decision::Continue(cursors),
    }
}
