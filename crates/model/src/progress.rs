//! How far a run has come: the content of a progress record.
//!
//! One record per run and shard, in the topic `cdr_progress`. It is written in the same
//! transaction as the records it counts, so it is true by construction.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::format::LineEnd;
use crate::plan::{Part, PartIndex, Plan};
use crate::record::Stream;
use crate::scenario::Scenario;

/// Version of the progress record's format; another one is refused rather than guessed at.
pub const PROGRESS_VERSION: u32 = 1;

/// Everything that decides which bytes a run delivers where, as names and values for people.
///
/// Two runs with equal parameters deliver the same; progress of one is progress of the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parameters(BTreeMap<String, String>);

/// A parameter whose value is not what the progress was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub name: String,
    /// The value in the progress; `-` where it has none.
    pub was: String,
    /// The value of this run; `-` where it has none.
    pub now: String,
}

impl Parameters {
    /// The parameters of a scenario and its files.
    pub fn new(scenario: &Scenario, line_end: LineEnd) -> Self {
        let values: [(&str, String); 13] = [
            ("CDR_SEED", scenario.seed.to_string()),
            ("START", scenario.start.to_string()),
            ("TOTAL_SECONDS", scenario.total_seconds.to_string()),
            ("LINE_COUNT", scenario.line_count.to_string()),
            ("LINES_PER_SECOND", scenario.lines_per_second.to_string()),
            ("PROFILE", scenario.profile.name().to_owned()),
            ("SUBSCRIBERS", scenario.subscribers.to_string()),
            ("DESTINATIONS", scenario.destinations.to_string()),
            ("TOWERS", scenario.towers.to_string()),
            ("SITES", scenario.sites.to_string()),
            ("NUMBERING", scenario.numbering.to_string()),
            ("LINE_END", line_end.to_string()),
            ("GENERATION", GENERATION.to_string()),
        ];
        Parameters(values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The same with one more, such as the topic that a stream goes to.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// What `now` has otherwise than these, by name.
    pub fn differences(&self, now: &Parameters) -> Vec<Difference> {
        let mut names: Vec<&String> = self.0.keys().chain(now.0.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let text = |of: &Parameters, name| of.get(name).unwrap_or("-").to_owned();
        let differs = names.into_iter().filter(|name| self.get(name) != now.get(name));
        differs
            .map(|name| Difference { name: name.clone(), was: text(self, name), now: text(now, name) })
            .collect()
    }
}

/// Counts the changes to generation that change bytes: a run is not continued across one.
const GENERATION: u32 = 1;

/// Where the record stream goes on: the next part, and the next record of each stream in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordCursor {
    pub part: PartIndex,
    /// Data records of that part which are delivered.
    pub data: u32,
    /// Voice records of that part which are delivered.
    pub voice: u32,
}

impl RecordCursor {
    pub fn at(part: PartIndex) -> Self {
        RecordCursor { part, data: 0, voice: 0 }
    }

    /// Records of one stream, in the cursor's part, which are delivered.
    pub fn delivered(&self, stream: Stream) -> u32 {
        match stream {
            Stream::Data => self.data,
            Stream::Voice => self.voice,
        }
    }

    /// Moves one stream forward within the part.
    pub fn set_delivered(&mut self, stream: Stream, count: u32) {
        match stream {
            Stream::Data => self.data = count,
            Stream::Voice => self.voice = count,
        }
    }

    /// Whether all records of the part, in both streams, are delivered.
    pub fn is_past(&self, part: &Part) -> bool {
        self.data >= part.line_count && self.voice >= part.line_count
    }

    fn fits(&self, plan: &Plan) -> bool {
        plan.owns(self.part) && self.data <= plan.line_count() && self.voice <= plan.line_count()
    }
}

/// Where a run delivers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sinks {
    pub kafka: bool,
    pub sftp: bool,
    pub directory: bool,
}

/// How far each sink has come; a sink that the run never used has no cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursors {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<RecordCursor>,
    /// The next part whose files are to be uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sftp: Option<PartIndex>,
    /// The next part whose files are to be written to the local directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PartIndex>,
}

/// Where each sink of a run delivers to, as text that tells two places apart: `kafka`, or
/// `sftp` → `user@host:port/folder`.
pub type Places = BTreeMap<String, String>;

impl Cursors {
    /// The same without the cursors of sinks which delivered to another place than they do now:
    /// what stands there does not stand here. A sink that is not used now keeps its cursor.
    pub fn at(self, was: &Places, now: &Places) -> Cursors {
        let same = |sink: &str| match (was.get(sink), now.get(sink)) {
            (Some(was), Some(now)) => was == now,
            (was, None) => was.is_some(),
            (None, Some(_)) => false,
        };
        Cursors {
            kafka: self.kafka.filter(|_| same("kafka")),
            sftp: self.sftp.filter(|_| same("sftp")),
            directory: self.directory.filter(|_| same("directory")),
        }
    }

    /// The cursors of the given sinks alone.
    pub fn of(self, sinks: Sinks) -> Cursors {
        Cursors {
            kafka: self.kafka.filter(|_| sinks.kafka),
            sftp: self.sftp.filter(|_| sinks.sftp),
            directory: self.directory.filter(|_| sinks.directory),
        }
    }

    /// Every part before this one is complete in each of the given sinks that has a cursor.
    pub fn complete_before(&self, sinks: Sinks) -> Option<PartIndex> {
        let Cursors { kafka, sftp, directory } = self.of(sinks);
        [kafka.map(|cursor| cursor.part), sftp, directory].into_iter().flatten().min()
    }

    /// The part that the sink which came furthest would do next.
    pub fn furthest(&self) -> Option<PartIndex> {
        let kafka = self.kafka.map(|cursor| cursor.part);
        [kafka, self.sftp, self.directory].into_iter().flatten().max()
    }

    fn fit(&self, plan: &Plan) -> bool {
        let files = [self.sftp, self.directory].into_iter().flatten();
        self.kafka.is_none_or(|cursor| cursor.fits(plan)) && files.into_iter().all(|at| plan.owns(at))
    }
}

/// Offsets or counts of one topic, by partition.
pub type ByPartition = Vec<i64>;

/// A progress record: the value of a message in `cdr_progress`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    pub version: u32,
    pub run: String,
    pub shard: String,
    /// When the run began, in milliseconds since the epoch, by the clock of its host.
    pub begun_ms: i64,
    pub parameters: Parameters,
    /// Where the cursors' sinks deliver to.
    pub places: Places,
    pub cursors: Cursors,
    /// The records' cursor when the run began: behind the first part only with `--trust-index`.
    pub begin: RecordCursor,
    /// Each topic's end offsets when the run began: where whoever checks the run begins to read.
    pub begin_offsets: BTreeMap<String, ByPartition>,
    /// Records of this run in each topic.
    pub delivered: BTreeMap<String, ByPartition>,
    pub finished: bool,
}

impl Progress {
    /// Whether the cursors can belong to this plan, and the counts to any topics, at all.
    pub fn fits(&self, plan: &Plan) -> bool {
        self.version == PROGRESS_VERSION && self.cursors.fit(plan) && self.counts_fit()
    }

    /// Nothing is negative, and a topic's offsets and counts can be added up.
    fn counts_fit(&self) -> bool {
        let sum = |counts: &ByPartition| {
            counts.iter().try_fold(0_i64, |sum, &count| sum.checked_add(count).filter(|_| count >= 0))
        };
        let begin = |topic| self.begin_offsets.get(topic).map_or(Some(0), sum);
        self.begin_offsets.values().all(|counts| sum(counts).is_some())
            && self.delivered.iter().all(|(topic, counts)| {
                begin(topic)
                    .zip(sum(counts))
                    .is_some_and(|(begin, count)| begin.checked_add(count).is_some())
            })
    }
}
