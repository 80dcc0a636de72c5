//! How far a run has come: the content of a progress record.
//!
//! One record per run and shard, in the topic `cdr_progress`. It is written in the same
//! transaction as the records it counts, so it is true by construction.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::format::{FileFormat, MessageFormat};
use crate::part::PartIndex;
use crate::plan::{Plan, Shard};
use crate::scenario::{Profile, Scenario};
use crate::stream::{PerStream, Stream, Streams};

/// Version of the progress record's format. Version 1, which had two streams, is read, too; any other
/// is refused rather than guessed at.
pub const PROGRESS_VERSION: u32 = 2;

/// Counts the changes to generation that change bytes: a run is not continued across one.
const GENERATION: u32 = 1;

/// Counts changes of what the realistic profile makes of a scenario.
const REALISM: u32 = 2;

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
    /// The parameters of a scenario and of the formats of its files and messages.
    pub fn new(scenario: &Scenario, files: FileFormat, messages: MessageFormat) -> Self {
        let values = [
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
            ("GENERATION", GENERATION.to_string()),
        ];
        let mut parameters = Parameters(values.map(|(name, value)| (name.to_owned(), value)).into());
        // What was added later stands here only where it is not as it always was, so that runs of
        // older versions are continued.
        if scenario.streams != Streams::default() {
            parameters = parameters.with("STREAMS", &scenario.streams.to_string());
        }
        if scenario.profile == Profile::Realistic {
            parameters = parameters.with("REALISM", &REALISM.to_string());
            for (name, value) in scenario.habits.parameters() {
                parameters = parameters.with(name, &value);
            }
        }
        let formats = files.parameters().into_iter().chain(messages.parameters());
        formats.fold(parameters, |parameters, (name, value)| parameters.with(name, value))
    }

    /// The same with the topic that a stream goes to.
    pub fn with_topic(self, stream: Stream, topic: &str) -> Self {
        self.with(&topic_parameter(stream), topic)
    }

    /// The topic that a stream goes to.
    pub fn topic(&self, stream: Stream) -> &str {
        self.get(&topic_parameter(stream)).unwrap_or(stream.name())
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
        let names: BTreeSet<&String> = self.0.keys().chain(now.0.keys()).collect();
        let text = |of: &Parameters, name| of.get(name).unwrap_or("-").to_owned();
        let differs = names.into_iter().filter(|name| self.get(name) != now.get(name));
        differs
            .map(|name| Difference { name: name.clone(), was: text(self, name), now: text(now, name) })
            .collect()
    }
}

/// `TOPIC_DATA`
fn topic_parameter(stream: Stream) -> String {
    format!("TOPIC_{}", stream.short_name().to_uppercase())
}

/// Where the record stream goes on: the next part, and the next record of each stream in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordCursor {
    pub part: PartIndex,
    /// Records of that part which are delivered.
    pub delivered: PerStream<u32>,
}

impl RecordCursor {
    pub fn at(part: PartIndex) -> Self {
        RecordCursor { part, delivered: PerStream::default() }
    }

    /// Whether all records of its part, in all streams, are delivered.
    pub fn is_past_part(&self, plan: &Plan) -> bool {
        plan.streams().all(|stream| self.delivered[stream] >= plan.count(stream, self.part))
    }

    /// How many records of a stream in a part are delivered before this cursor.
    pub fn reach(&self, plan: &Plan, stream: Stream, part: PartIndex) -> u32 {
        match part.cmp(&self.part) {
            std::cmp::Ordering::Less => plan.count(stream, part),
            std::cmp::Ordering::Equal => self.delivered[stream],
            std::cmp::Ordering::Greater => 0,
        }
    }

    fn fits(&self, plan: &Plan) -> bool {
        let within = |(stream, &count): (Stream, &u32)| count <= plan.count(stream, self.part);
        plan.owns(self.part) && self.delivered.iter().all(within)
    }
}

/// The name under which the record stream is known among sinks.
pub const KAFKA: &str = "kafka";

/// Where each sink of a run delivers to, by the sink's name, as text that differs between two targets:
/// `kafka` → `kafka`, `sftp` → `user@host:port/folder`.
pub type SinkTargets = BTreeMap<String, String>;

/// How far each sink has come; a sink that the run never used has no cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursors {
    /// Of the records in Kafka.
    #[serde(rename = "kafka", default, skip_serializing_if = "Option::is_none")]
    pub records: Option<RecordCursor>,
    /// Of the file sinks by name: the next part whose files are to be delivered.
    #[serde(flatten)]
    pub files: BTreeMap<String, PartIndex>,
}

impl Cursors {
    /// All the given sinks at the same part.
    pub fn all_at(targets: &SinkTargets, part: PartIndex) -> Self {
        let files = targets.keys().filter(|name| *name != KAFKA).map(|name| (name.clone(), part));
        let records = targets.contains_key(KAFKA).then(|| RecordCursor::at(part));
        Cursors { records, files: files.collect() }
    }

    /// The same without the cursors of sinks which delivered to another target than they do now: what
    /// stands there does not stand here. A sink that is not used now keeps its cursor.
    pub fn at(mut self, was: &SinkTargets, now: &SinkTargets) -> Self {
        let stays = |sink: &str| {
            let was = was.get(sink);
            was.is_some_and(|was| now.get(sink).is_none_or(|now| now == was))
        };
        self.records = self.records.filter(|_| stays(KAFKA));
        self.files.retain(|sink, _| stays(sink));
        self
    }

    /// Every part before this one is complete in each of the given sinks that has a cursor.
    pub fn complete_before(&self, targets: &SinkTargets) -> Option<PartIndex> {
        let used = self.parts().filter(|(sink, _)| targets.contains_key(*sink));
        used.map(|(_, part)| part).min()
    }

    /// The part that the sink which came furthest would do next.
    pub fn furthest(&self) -> Option<PartIndex> {
        self.parts().map(|(_, part)| part).max()
    }

    /// The part that each sink would do next, by the sink's name.
    pub fn parts(&self) -> impl Iterator<Item = (&str, PartIndex)> {
        let records = self.records.iter().map(|cursor| (KAFKA, cursor.part));
        records.chain(self.files.iter().map(|(sink, part)| (sink.as_str(), *part)))
    }
}

/// Offsets or counts of one topic, by partition.
pub type ByPartition = Vec<i64>;

/// A progress record: the value of a message in `cdr_progress`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Progress {
    /// Always [`PROGRESS_VERSION`]: what is of version 1 is made one of version 2 when it is read.
    pub version: u32,
    pub run: String,
    pub shard: String,
    /// When the run began, in milliseconds since the epoch: by the clock of its host, but in any case later
    /// than what was begun before it.
    pub begun_ms: i64,
    pub parameters: Parameters,
    /// Where the cursors' sinks deliver to.
    #[serde(alias = "places")]
    pub targets: SinkTargets,
    pub cursors: Cursors,
    /// The records' cursor when the run began: behind the first part only with `--trust-index`.
    pub begin: RecordCursor,
    /// Each topic's end offsets when the run began: where whoever checks the run begins to read.
    pub begin_offsets: PerStream<ByPartition>,
    /// Records of this run in each topic.
    pub delivered: PerStream<ByPartition>,
    pub finished: bool,
}

impl Serialize for Progress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Progress::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Progress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut record = Value::deserialize(deserializer)?;
        match record.get("version").and_then(Value::as_u64) {
            Some(1) => from_version_1(&mut record).map_err(D::Error::custom)?,
            Some(version) if version != u64::from(PROGRESS_VERSION) => {
                let known = format!("and this cdr knows 1 to {PROGRESS_VERSION}");
                return Err(D::Error::custom(format!("it has version {version}, {known}")));
            }
            _ => {}
        }
        Progress::deserialize(record).map_err(D::Error::custom)
    }
}

/// Version 1 called targets places, counted by topic, and had two streams, whose counts stood in the
/// cursors themselves.
fn from_version_1(record: &mut Value) -> serde_json::Result<()> {
    let parameters = Parameters::deserialize(&record["parameters"])?;
    for name in ["begin_offsets", "delivered"] {
        let mut by_topic: BTreeMap<String, Value> = serde_json::from_value(record[name].take())?;
        let of_stream = |stream: Stream| {
            Some((stream.name().to_owned(), by_topic.remove(parameters.topic(stream))?))
        };
        record[name] = Stream::ALL.into_iter().filter_map(of_stream).collect();
        if let Some(other) = by_topic.keys().next() {
            let why = format!("it counts records of {other:?}, which is no stream");
            return Err(serde_json::Error::custom(why));
        }
    }
    for cursor in ["/begin", "/cursors/kafka"] {
        if let Some(Value::Object(cursor)) = record.pointer_mut(cursor) {
            let [data, voice] = ["data", "voice"].map(|name| cursor.remove(name));
            cursor.insert("delivered".to_owned(), json!({ "cdr_data": data, "cdr_voice": voice }));
        }
    }
    record["version"] = PROGRESS_VERSION.into();
    Ok(())
}

impl Progress {
    /// Whether the cursors can belong to this plan, and the counts to any topics, at all.
    pub fn fits(&self, plan: &Plan) -> bool {
        let Cursors { records, files } = &self.cursors;
        let mut of_records = records.iter().chain([&self.begin]);
        of_records.all(|cursor| cursor.fits(plan))
            && files.values().all(|&part| plan.owns(part))
            && self.counts_fit()
    }

    /// Nothing is negative, and a topic's offsets and counts can be added up.
    fn counts_fit(&self) -> bool {
        let sum = |counts: &ByPartition| {
            counts.iter().try_fold(0_i64, |sum, &count| sum.checked_add(count).filter(|_| count >= 0))
        };
        Stream::ALL.into_iter().all(|stream| {
            let (begin, count) = (sum(&self.begin_offsets[stream]), sum(&self.delivered[stream]));
            begin.zip(count).is_some_and(|(begin, count)| begin.checked_add(count).is_some())
        })
    }
}

/// The committed state of a run: the progress of all shards of one split.
///
/// This alone decides which of a run's progress records count. Those of an earlier split, or of
/// earlier parameters, are of a run that was restarted since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Of shard 1, 2, …; `None` where it has not begun.
    shards: Vec<Option<Progress>>,
}

impl Committed {
    /// Takes the progress records of one run, the last of each shard and split. `None` where there is
    /// none that names a shard.
    pub fn newest(found: impl IntoIterator<Item = Progress>) -> Option<Committed> {
        let of_shard = |progress: Progress| Some((progress.shard.parse().ok()?, progress));
        let found: Vec<(Shard, Progress)> = found.into_iter().filter_map(of_shard).collect();
        let (split, newest) = found.iter().max_by_key(|(_, progress)| progress.begun_ms)?;
        let (split, parameters) = (split.count(), newest.parameters.clone());
        let mut shards = vec![None; split as usize];
        for (shard, progress) in found {
            if shard.count() == split && progress.parameters == parameters {
                shards[shard.index()] = Some(progress);
            }
        }
        Some(Committed { shards })
    }

    /// Into how many shards the run is split.
    pub fn split(&self) -> u32 {
        self.shards.len() as u32
    }

    /// The progress of each shard; `None` of one that has not begun.
    pub fn shards(&self) -> &[Option<Progress>] {
        &self.shards
    }

    /// The progress of the shards that have begun, of which there is at least one.
    pub fn begun(&self) -> impl Iterator<Item = &Progress> {
        self.shards.iter().flatten()
    }

    /// Whether nothing more is to come.
    pub fn is_finished(&self) -> bool {
        self.shards.iter().all(|shard| shard.as_ref().is_some_and(|progress| progress.finished))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION_1: &str = r#"{"version":1,"run":"cdr","shard":"1/1","begun_ms":5,
        "parameters":{"TOPIC_DATA":"d","TOPIC_VOICE":"v"},"places":{"kafka":"kafka","sftp":"a"},
        "cursors":{"kafka":{"part":3,"data":7,"voice":9},"sftp":2},
        "begin":{"part":0,"data":0,"voice":0},
        "begin_offsets":{"d":[1,2],"v":[3]},"delivered":{"d":[10,20],"v":[30]},"finished":false}"#;

    #[test]
    fn version_1_is_read_and_written_as_version_2() {
        let progress: Progress = serde_json::from_str(VERSION_1).unwrap();
        let cursor = progress.cursors.records.unwrap();
        assert_eq!((cursor.delivered[Stream::Data], cursor.delivered[Stream::Voice]), (7, 9));
        assert_eq!(progress.cursors.files["sftp"], PartIndex(2));
        assert_eq!(progress.delivered[Stream::Data], [10, 20]);
        assert_eq!(progress.begin_offsets[Stream::Voice], [3]);
        assert_eq!(
            serde_json::to_string(&progress).unwrap(),
            concat!(
                r#"{"version":2,"run":"cdr","shard":"1/1","begun_ms":5,"#,
                r#""parameters":{"TOPIC_DATA":"d","TOPIC_VOICE":"v"},"targets":{"kafka":"kafka","sftp":"a"},"#,
                r#""cursors":{"kafka":{"part":3,"delivered":{"cdr_data":7,"cdr_voice":9}},"sftp":2},"#,
                r#""begin":{"part":0,"delivered":{}},"#,
                r#""begin_offsets":{"cdr_data":[1,2],"cdr_voice":[3]},"#,
                r#""delivered":{"cdr_data":[10,20],"cdr_voice":[30]},"finished":false}"#
            )
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let progress: Progress = serde_json::from_str(VERSION_1).unwrap();
        let text = serde_json::to_string(&progress).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&text).unwrap(), progress);
    }

    fn check_refused(change: &[&str; 2], why: &str) {
        let text = VERSION_1.replace(change[0], change[1]);
        let error = serde_json::from_str::<Progress>(&text).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn what_is_of_no_known_version_is_refused() {
        check_refused(
            &[r#""version":1"#, r#""version":3"#],
            "it has version 3, and this cdr knows 1 to 2",
        );
        check_refused(&[r#""version":1"#, r#""version":0"#], "it has version 0");
        check_refused(&[r#""d":[10,20]"#, r#""x":[10,20]"#], "records of \"x\", which is no stream");
        check_refused(&[r#""sftp":2"#, r#""sftp":"x""#], "invalid type");
    }

    fn progress(shard: &str, begun_ms: i64, seed: &str) -> Progress {
        let progress: Progress = serde_json::from_str(VERSION_1).unwrap();
        let parameters = progress.parameters.clone().with("CDR_SEED", seed);
        Progress { shard: shard.to_owned(), begun_ms, parameters, ..progress }
    }

    /// The shards that count, as `BEGUN_MS`, and 0 for one that has not begun.
    fn check_newest(found: &[Progress], expected: &[i64]) {
        for rotated in 0..found.len().max(1) {
            let mut found = found.to_vec();
            found.rotate_left(rotated);
            let committed = Committed::newest(found);
            let begun =
                |shard: &Option<Progress>| shard.as_ref().map_or(0, |progress| progress.begun_ms);
            let shards = committed.as_ref().map_or(&[][..], Committed::shards);
            assert_eq!(shards.iter().map(begun).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn the_split_that_was_begun_last_counts() {
        check_newest(&[], &[]);
        check_newest(&[progress("1/1", 1, "1")], &[1]);
        let restarted = [progress("1/1", 1, "1"), progress("1/2", 2, "2"), progress("2/2", 3, "2")];
        check_newest(&restarted, &[2, 3]);
        check_newest(&restarted[..2], &[2, 0]);
    }

    #[test]
    fn a_shard_of_other_parameters_has_not_begun() {
        check_newest(&[progress("1/2", 1, "1"), progress("2/2", 2, "2")], &[0, 2]);
    }

    #[test]
    fn a_record_that_names_no_shard_does_not_count() {
        check_newest(&[progress("1/1", 1, "1"), progress("2/1", 9, "1")], &[1]);
    }
}
