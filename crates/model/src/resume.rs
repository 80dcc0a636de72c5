//! What is known of the destinations → what to do next.
//!
//! The facts are gathered elsewhere; here is only the decision, so that each row of it is a test.

use serde::{Deserialize, Serialize};

use crate::part::PartIndex;
use crate::plan::Plan;
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
    /// When that was, as the progress record has it.
    pub begun_ms: Option<i64>,
    pub end_offsets: EndOffsets,
    /// Whether no open transaction could hide a later progress record.
    pub no_open_transactions: bool,
}

impl KafkaState {
    /// When a run begins that begins now: later than whatever was begun before it, also by a host whose
    /// clock is ahead of this one's.
    pub fn begin_ms(&self, now_ms: i64) -> i64 {
        self.begun_ms.map_or(now_ms, |before| now_ms.max(before.saturating_add(1)))
    }
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
        listed(.0)
    )]
    ParametersDiffer(Vec<Difference>),
    #[error(
        "the index file {file} belongs to another run: {}. Give this one an --index-file of its own, or remove \
         the file if that run is not to be continued",
        listed(differences)
    )]
    IndexOfAnother { file: String, differences: Vec<Difference> },
    #[error(
        "the index file has part {index} as complete, but {}. Was a topic deleted, or is this another \
         cluster? Continue behind part {index} with --trust-index, or begin again with --restart",
        progress_up_to(reached)
    )]
    IndexAhead { index: PartIndex, reached: Option<PartIndex> },
    #[error(
        "the progress counts {delivered} records in topic {topic}, partition {partition}, but the topic \
         {}. Was it deleted? Begin again with --restart, or check KAFKA_BROKERS",
        end_of_topic(end)
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

fn listed(differences: &[Difference]) -> String {
    let text = |Difference { name, was, now }: &Difference| format!("{name} was {was}, now {now}");
    differences.iter().map(text).collect::<Vec<_>>().join("; ")
}

fn progress_up_to(reached: &Option<PartIndex>) -> String {
    match reached {
        Some(part) => format!("the destination has only what comes before part {part}"),
        None => "the destination has no progress of this run".to_owned(),
    }
}

fn end_of_topic(end: &Option<i64>) -> String {
    end.map_or("does not exist".to_owned(), |end| format!("ends at offset {end}"))
}

/// Decides how a run begins. The destination's progress outranks the local index file.
pub fn decide(facts: &Facts<'_>) -> Decision {
    if facts.mode == StartMode::Restart {
        return Decision::Start;
    }
    let decided = match &facts.kafka {
        None => by_index(facts),
        Some(state) => by_kafka(facts, state),
    };
    let decided = match (facts.mode, &facts.local, decided) {
        (StartMode::TrustIndex, LocalIndex::Absent, _) => Err(Conflict::NoIndexToTrust),
        // Only a contradiction between the two needs somebody's word for one of them.
        (StartMode::TrustIndex, _, Err(Conflict::IndexAhead { .. } | Conflict::TopicLost { .. })) => {
            by_index(facts).map(|decision| match decision {
                Decision::Continue(cursors) => Decision::Adopt(cursors),
                other => other,
            })
        }
        (_, _, decided) => decided,
    };
    decided.unwrap_or_else(Decision::Refuse)
}

/// Whether a decision is final that was made by a probe, while another process of the run may be at
/// work. Where it is not, that process is fenced, and what is true then decides.
pub fn is_final(decision: &Decision, state: &KafkaState) -> bool {
    match decision {
        Decision::Start | Decision::Continue(_) | Decision::Adopt(_) => false,
        // What the probe could not see may be what the index file counts.
        Decision::Refuse(Conflict::IndexAhead { .. }) => state.no_open_transactions,
        Decision::Finished | Decision::Refuse(_) => true,
    }
}

/// Progress without Kafka, or by the user's word: the index file alone decides.
fn by_index(facts: &Facts<'_>) -> Result<Decision, Conflict> {
    let (last, owner) = match &facts.local {
        LocalIndex::Absent => return Ok(Decision::Start),
        LocalIndex::Unreadable(why) => return Err(Conflict::IndexUnreadable(why.clone())),
        LocalIndex::Complete { last, owner } => (*last, owner),
    };
    check_lone_index(facts)?;
    if !facts.plan.owns(last) || facts.plan.is_done(last) {
        return Err(Conflict::IndexBeyondPlan { index: last, parts: facts.plan.parts() });
    }
    let all = Cursors::all_at(facts.targets, facts.plan.after(last));
    let known = match owner {
        Some(owner) => all.at(&owner.targets, facts.targets),
        None => all,
    };
    Ok(continue_or_finish(facts, known))
}

fn by_kafka(facts: &Facts<'_>, state: &KafkaState) -> Result<Decision, Conflict> {
    if let Some(why) = &state.unreadable {
        return Err(Conflict::ProgressUnreadable(why.clone()));
    }
    if let Some(split) = state.other_split {
        return Err(Conflict::OtherSplit(split));
    }
    let progress = state.progress.as_ref();
    if let Some(was) = progress.map(|progress| &progress.parameters).or(state.begun_with.as_ref()) {
        let differences = was.differences(facts.parameters);
        if !differences.is_empty() {
            return Err(Conflict::ParametersDiffer(differences));
        }
    }
    let Some(progress) = progress else { return without_progress(facts) };
    if !progress.fits(facts.plan) {
        return Err(Conflict::ProgressInvalid);
    }
    topic_lost(progress, &state.end_offsets).map_or(Ok(()), Err)?;
    check_index(facts)?;
    check_index_behind(progress, &facts.local)?;
    let known = progress.cursors.clone().at(&progress.targets, facts.targets);
    Ok(continue_or_finish(facts, known))
}

/// Kafka knows nothing of the run; the index file may know of its files.
fn without_progress(facts: &Facts<'_>) -> Result<Decision, Conflict> {
    match &facts.local {
        // Kafka decides, and it knows nothing: a file without an index adds nothing to that.
        LocalIndex::Absent | LocalIndex::Unreadable(_) => Ok(Decision::Start),
        LocalIndex::Complete { owner: Some(owner), .. } if !owner.targets.contains_key(KAFKA) => {
            by_index(facts)
        }
        LocalIndex::Complete { last, .. } => {
            check_lone_index(facts)?;
            Err(Conflict::IndexAhead { index: *last, reached: None })
        }
    }
}

/// Fails if the index file was written by a run with another name or other parameters: it may be all
/// that is known of that run's progress.
fn check_index(facts: &Facts<'_>) -> Result<(), Conflict> {
    let LocalIndex::Complete { owner: Some(owner), .. } = &facts.local else { return Ok(()) };
    let differences = owner.parameters.differences(facts.parameters);
    match differences.is_empty() {
        true => Ok(()),
        false => Err(Conflict::IndexOfAnother { file: facts.index_file.to_owned(), differences }),
    }
}

/// The same where the index file alone reports on the run: if the name is the same, so is the run.
fn check_lone_index(facts: &Facts<'_>) -> Result<(), Conflict> {
    check_index(facts).map_err(|conflict| match conflict {
        Conflict::IndexOfAnother { differences, .. }
            if differences.iter().all(|difference| difference.name != "RUN_NAME") =>
        {
            Conflict::ParametersDiffer(differences)
        }
        another => another,
    })
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
fn check_index_behind(progress: &Progress, local: &LocalIndex) -> Result<(), Conflict> {
    let LocalIndex::Complete { last, owner } = local else { return Ok(()) };
    // An index that does not count Kafka's parts knows nothing of them.
    let counts_kafka = owner.as_ref().is_none_or(|owner| owner.targets.contains_key(KAFKA));
    match progress.cursors.furthest() {
        reached if counts_kafka && reached.is_none_or(|reached| *last >= reached) => {
            Err(Conflict::IndexAhead { index: *last, reached })
        }
        _ => Ok(()),
    }
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
