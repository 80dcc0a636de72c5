//! A run whose records stand in memory, and the hands that spoil them.

use std::sync::atomic::AtomicU64;

use cdr_model::progress::{Cursors, PROGRESS_VERSION, Parameters, Places, Progress, RecordCursor};
use cdr_model::{Generator, LineEnd, PartIndex, Plan, Scenario, Shard, Stream};

use super::super::{Ledger, Records, RecordsReport, Source};
use crate::delivery::sink::kafka::{KafkaSinkError, Seen, Span, partition};

const PARTITIONS: u32 = 3;

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
    pub generator: Generator,
    /// `None`: the topic does not exist.
    pub topics: [Option<Topic>; 2],
    pub progress: Vec<Progress>,
}

impl Run {
    /// Nothing is delivered yet.
    pub fn new() -> Run {
        let scenario =
            Scenario { total_seconds: 40, line_count: 10, lines_per_second: 1, ..Scenario::default() };
        let plan = Plan::new(&scenario, Shard::WHOLE).unwrap();
        let generator = Generator::new(&scenario).unwrap();
        let empty = || Topic { partitions: vec![vec![]; 3], ends: vec![0; 3] };
        Run { scenario, plan, generator, topics: [Some(empty()), Some(empty())], progress: Vec::new() }
    }

    /// All is delivered and finished.
    pub fn finished() -> Run {
        let mut run = Run::new();
        run.begin("1/1");
        run.deliver(0, RecordCursor::at(PartIndex(4)));
        run.progress[0].finished = true;
        run
    }

    pub fn topic(&mut self, stream: Stream) -> &mut Topic {
        self.topics[stream as usize].as_mut().unwrap()
    }

    /// Begins a shard behind what the topics hold; gives its number among those that have begun.
    pub fn begin(&mut self, shard: &str) -> usize {
        let of_topics = |of: &dyn Fn(&Topic) -> Vec<i64>| {
            let named = Stream::ALL.into_iter().map(|stream| {
                let topic = self.topics[stream as usize].as_ref().unwrap();
                (stream.to_string(), of(topic))
            });
            named.collect()
        };
        let shard: Shard = shard.parse().unwrap();
        let first = Plan::new(&self.scenario, shard).unwrap().first();
        self.progress.push(Progress {
            version: PROGRESS_VERSION,
            run: "run".to_owned(),
            shard: shard.to_string(),
            begun_ms: self.progress.len() as i64,
            parameters: Parameters::new(&self.scenario, LineEnd::Lf),
            places: Places::new(),
            cursors: Cursors { kafka: Some(RecordCursor::at(first)), ..Cursors::default() },
            begin: RecordCursor::at(first),
            begin_offsets: of_topics(&|topic| topic.ends.clone()),
            delivered: of_topics(&|topic| vec![0; topic.ends.len()]),
            finished: false,
        });
        self.progress.len() - 1
    }

    /// Sends a shard's records up to a cursor, and counts them in its progress.
    pub fn deliver(&mut self, which: usize, to: RecordCursor) {
        let from = self.progress[which].cursors.kafka.unwrap();
        self.send(which, from, to);
        self.progress[which].cursors.kafka = Some(to);
    }

    /// Sends what the progress does not count.
    pub fn send_uncounted(&mut self, which: usize, to: RecordCursor) {
        let counted = self.progress[which].delivered.clone();
        self.send(which, self.progress[which].cursors.kafka.unwrap(), to);
        self.progress[which].delivered = counted;
    }

    fn send(&mut self, which: usize, from: RecordCursor, to: RecordCursor) {
        let shard: Shard = self.progress[which].shard.parse().unwrap();
        let owned = |part: &u64| *part as usize % shard.count() as usize == shard.index();
        let end = (to.part.0 + 1).min(self.plan.files());
        for part in (from.part.0..end).filter(owned) {
            for stream in Stream::ALL {
                let begin = if part == from.part.0 { from.delivered(stream) } else { 0 };
                let end = if part == to.part.0 { to.delivered(stream) } else { 10 };
                let mut made = Vec::new();
                let window = self.plan.part(PartIndex(part));
                self.generator.messages(stream, &window, begin..end, |message| {
                    made.push((message.key.as_bytes().to_vec(), message.value.to_vec()));
                });
                for (key, value) in made {
                    let at = partition(&key, PARTITIONS) as usize;
                    self.put(stream, at, &key, &value);
                    let counts = self.progress[which].delivered.get_mut(&stream.to_string());
                    counts.unwrap()[at] += 1;
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

    /// What a verification reports of the two streams.
    pub fn verify(&mut self) -> [RecordsReport; 2] {
        let topics = Stream::ALL.map(|stream| stream.to_string());
        let ledger = Ledger::new(self.progress.clone(), &self.plan, topics.clone());
        let ledger = ledger.unwrap().expect("some progress");
        let (done, total) = (AtomicU64::new(0), AtomicU64::new(0));
        let (generator, plan) = (&self.generator, &self.plan);
        let records = Records { generator, plan, ledger: &ledger, topics, done: &done, total: &total };
        let mut memory = Memory(&self.topics);
        records.compare(&mut memory).unwrap().expect("nobody stops it")
    }
}

struct Memory<'a>(&'a [Option<Topic>; 2]);

impl Memory<'_> {
    fn named(&self, name: &str) -> Option<&Topic> {
        let stream = Stream::ALL.into_iter().find(|stream| stream.to_string() == name);
        self.0[stream.unwrap() as usize].as_ref()
    }
}

impl Source for Memory<'_> {
    fn span(&mut self, topic: &str) -> Result<Option<Span>, KafkaSinkError> {
        let found = self.named(topic);
        Ok(found.map(|found| Span {
            topic: topic.to_owned(),
            from: vec![0; found.ends.len()],
            to: found.ends.clone(),
        }))
    }

    /// One record of each partition in turn, as far as there are any.
    fn read(
        &mut self,
        spans: &[Span],
        each: &mut dyn FnMut(usize, Seen<'_>),
    ) -> Result<bool, KafkaSinkError> {
        for turn in 0..100 {
            for (number, span) in spans.iter().enumerate() {
                let topic = self.named(&span.topic).unwrap();
                for (partition, records) in topic.partitions.iter().enumerate() {
                    let range = span.from[partition]..span.to[partition];
                    let mut due = records.iter().filter(|record| range.contains(&record.offset));
                    if let Some(Record { offset, key, value }) = due.nth(turn) {
                        let partition = partition as i32;
                        each(number, Seen { partition, offset: *offset, key, value });
                    }
                }
            }
        }
        Ok(true)
    }
}
