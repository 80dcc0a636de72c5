//! A run whose records stand in memory, and the hands that spoil them.

use std::sync::Arc;

use cdr_model::progress::{
    Committed, Cursors, PROGRESS_VERSION, Parameters, Progress, RecordCursor, SinkTargets,
};
use cdr_model::resume::Conflict;
use cdr_model::{
    FileFormat, Generator, MessageFormat, PartIndex, PerStream, Plan, Scenario, Shard, Stream,
};

use super::super::{EachRecord, Expected, RecordComparison, RecordsReport};
use crate::kafka::{ReadRecord, TopicRange, partition};
use crate::telemetry::Count;

const PARTITIONS: u32 = 3;

/// Records of each stream in a part.
const COUNT: u32 = 10;

/// A record and where it stands.
#[derive(Clone, Debug)]
pub struct Record {
    pub offset: i64,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// One topic: its records by partition, each with an end offset, behind which marks may stand.
#[derive(Clone, Debug, Default)]
pub struct Topic {
    pub partitions: Vec<Vec<Record>>,
    pub ends: Vec<i64>,
}

/// A run of four parts with ten records of each stream, and topics for it.
pub struct Run {
    pub scenario: Scenario,
    pub plan: Plan,
    pub generator: Arc<Generator>,
    /// `None`: the topic does not exist.
    pub topics: PerStream<Option<Topic>>,
    pub progress: Vec<Progress>,
}

/// Records of a part that are delivered.
pub fn at(part: u64, data: u32, voice: u32) -> RecordCursor {
    let mut cursor = RecordCursor::at(PartIndex(part));
    cursor.delivered[Stream::Data] = data;
    cursor.delivered[Stream::Voice] = voice;
    cursor
}

impl Run {
    /// Nothing is delivered yet.
    pub fn new() -> Run {
        Run::of(4)
    }

    /// The same with another number of parts.
    pub fn of(parts: u64) -> Run {
        let total_seconds = parts * u64::from(COUNT);
        let (line_count, lines_per_second) = (COUNT, 1);
        Run::with(Scenario { total_seconds, line_count, lines_per_second, ..Scenario::default() })
    }

    /// Of any other scenario.
    pub fn with(scenario: Scenario) -> Run {
        let plan = Plan::new(&scenario, Shard::WHOLE).unwrap();
        let generator = Arc::new(Generator::new(&scenario).unwrap());
        let empty = || Topic { partitions: vec![vec![]; 3], ends: vec![0; 3] };
        let topics = PerStream::from_fn(|_| Some(empty()));
        Run { scenario, plan, generator, topics, progress: Vec::new() }
    }

    /// All is delivered and finished.
    pub fn finished() -> Run {
        Run::finished_of(4)
    }

    /// The same with another number of parts.
    pub fn finished_of(parts: u64) -> Run {
        let mut run = Run::of(parts);
        run.begin("1/1");
        run.deliver(0, RecordCursor::at(PartIndex(parts)));
        run.progress[0].finished = true;
        run
    }

    pub fn topic(&mut self, stream: Stream) -> &mut Topic {
        self.topics[stream].as_mut().unwrap()
    }

    /// Begins a shard behind what the topics hold; gives its number among those that have begun.
    pub fn begin(&mut self, shard: &str) -> usize {
        let of_topics = |of: &dyn Fn(&Topic) -> Vec<i64>| {
            PerStream::from_fn(|stream| of(self.topics[stream].as_ref().unwrap()))
        };
        let shard: Shard = shard.parse().unwrap();
        let first = Plan::new(&self.scenario, shard).unwrap().first();
        let formats = (FileFormat::default(), MessageFormat::default());
        self.progress.push(Progress {
            version: PROGRESS_VERSION,
            run: "run".to_owned(),
            shard: shard.to_string(),
            begun_ms: self.progress.len() as i64,
            parameters: Parameters::new(&self.scenario, formats.0, formats.1),
            targets: SinkTargets::new(),
            cursors: Cursors { records: Some(RecordCursor::at(first)), ..Cursors::default() },
            begin: RecordCursor::at(first),
            begin_offsets: of_topics(&|topic| topic.ends.clone()),
            delivered: of_topics(&|topic| vec![0; topic.ends.len()]),
            finished: false,
        });
        self.progress.len() - 1
    }

    /// Sends a shard's records up to a cursor, and counts them in its progress.
    pub fn deliver(&mut self, which: usize, to: RecordCursor) {
        let from = self.progress[which].cursors.records.unwrap();
        self.send(which, from, to);
        self.progress[which].cursors.records = Some(to);
    }

    /// Sends what the progress does not count.
    pub fn send_uncounted(&mut self, which: usize, to: RecordCursor) {
        let counted = self.progress[which].delivered.clone();
        self.send(which, self.progress[which].cursors.records.unwrap(), to);
        self.progress[which].delivered = counted;
    }

    fn send(&mut self, which: usize, from: RecordCursor, to: RecordCursor) {
        let shard: Shard = self.progress[which].shard.parse().unwrap();
        let owned = |part: &u64| *part as usize % shard.count() as usize == shard.index();
        let end = (to.part.0 + 1).min(self.plan.files());
        for part in (from.part.0..end).filter(owned).map(PartIndex) {
            for stream in self.plan.streams() {
                let range = from.reach(&self.plan, stream, part)..to.reach(&self.plan, stream, part);
                let mut made = Vec::new();
                let (window, format) = (self.plan.part(part), MessageFormat::Json);
                format.encode(&self.generator, stream, &window, range, |message| {
                    made.push((message.key.as_bytes().to_vec(), message.value.to_vec()));
                });
                for (key, value) in made {
                    let at = partition(&key, PARTITIONS) as usize;
                    self.put(stream, at, &key, &value);
                    self.progress[which].delivered[stream][at] += 1;
                }
            }
        }
    }

    /// Appends a record; every now and then an offset is taken by the mark of a transaction.
    pub fn put(&mut self, stream: Stream, at: usize, key: &[u8], value: &[u8]) {
        let topic = self.topic(stream);
        let offset = topic.ends[at];
        topic.partitions[at].push(Record { offset, key: key.to_vec(), value: value.to_vec() });
        topic.ends[at] += if offset % 4 == 3 { 2 } else { 1 };
    }

    /// Takes a record out, the `number`th of those of a stream in the order of partitions.
    pub fn take(&mut self, stream: Stream, number: usize) -> Record {
        let (at, index) = self.find(stream, number);
        self.topic(stream).partitions[at].remove(index)
    }

    pub fn record(&mut self, stream: Stream, number: usize) -> (usize, &mut Record) {
        let (at, index) = self.find(stream, number);
        (at, &mut self.topic(stream).partitions[at][index])
    }

    fn find(&mut self, stream: Stream, number: usize) -> (usize, usize) {
        let mut left = number;
        for (at, records) in self.topic(stream).partitions.iter().enumerate() {
            if left < records.len() {
                return (at, left);
            }
            left -= records.len();
        }
        panic!("there are not {number} records");
    }

    /// What the progress counts.
    pub fn expected(&self) -> Result<Expected, Conflict> {
        let committed = Committed::newest(self.progress.clone()).expect("some progress");
        let (generator, plan) = (self.generator.clone(), self.plan.clone());
        Expected { generator, format: MessageFormat::Json, plan, committed }.check()
    }

    /// What a verification reports of the data and the voice stream.
    pub fn verify(&mut self) -> [RecordsReport; 2] {
        let expected = self.expected().unwrap();
        let count = Count::new("records");
        let topics = PerStream::from_fn(|stream| stream.name().to_owned());
        let comparison = RecordComparison { expected: &expected, topics: &topics, count: &count };
        let memory = Memory(&self.topics);
        let of_topics = self.plan.streams().filter_map(|of| Some((of, memory.range(&topics[of])?)));
        let reports = comparison.run(of_topics.collect(), |ranges, each| Ok(memory.read(ranges, each)));
        let reports = reports.unwrap();
        reports.expect("there is no shutdown").try_into().unwrap()
    }
}

struct Memory<'a>(&'a PerStream<Option<Topic>>);

impl Memory<'_> {
    fn named(&self, name: &str) -> Option<&Topic> {
        self.0[Stream::from_name(name).unwrap()].as_ref()
    }
}

impl Memory<'_> {
    fn range(&self, topic: &str) -> Option<TopicRange> {
        self.named(topic).map(|found| TopicRange {
            topic: topic.to_owned(),
            from: vec![0; found.ends.len()],
            to: found.ends.clone(),
        })
    }

    /// One record of each partition in turn, as far as there are any.
    fn read(&self, ranges: &[TopicRange], each: &mut EachRecord<'_>) -> bool {
        let mut partitions: Vec<_> = Vec::new();
        for (number, range) in ranges.iter().enumerate() {
            let topic = self.named(&range.topic).unwrap();
            for (partition, records) in topic.partitions.iter().enumerate() {
                let due = range.from[partition]..range.to[partition];
                let records = records.iter().filter(move |record| due.contains(&record.offset));
                partitions.push((number, partition as i32, records));
            }
        }
        let mut is_over = false;
        while !is_over {
            is_over = true;
            for (number, partition, records) in &mut partitions {
                if let Some(Record { offset, key, value }) = records.next() {
                    each(*number, ReadRecord { partition: *partition, offset: *offset, key, value });
                    is_over = false;
                }
            }
        }
        true
    }
}
