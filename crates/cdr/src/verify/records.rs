//! The records of a run, against those in its topics.

use std::sync::atomic::{AtomicU64, Ordering};

use cdr_model::{PartIndex, PerStream, Stream};

use super::DESCRIBED_MAX;
use super::expected::Expected;
use super::first_pass::{FirstPass, Suspects, UnexpectedRecord};
use super::report::RecordsReport;
use super::second_pass::{Finding, SecondPass, Wrong};
use crate::kafka::{Cluster, KafkaError, ReadRecord, TopicRange};

/// Topics to read from.
pub trait Source {
    /// What a topic holds now for readers of committed records; `None` if it does not exist.
    ///
    /// # Errors
    /// When the brokers cannot be queried.
    fn range(&mut self, topic: &str) -> Result<Option<TopicRange>, KafkaError>;

    /// Reads topics side by side; hands `each` the number of the range and the record. `false`: there
    /// was a shutdown.
    ///
    /// # Errors
    /// When the brokers cannot be queried.
    fn read(
        &mut self,
        ranges: &[TopicRange],
        each: &mut dyn FnMut(usize, ReadRecord<'_>),
    ) -> Result<bool, KafkaError>;
}

impl Source for Cluster {
    fn range(&mut self, topic: &str) -> Result<Option<TopicRange>, KafkaError> {
        self.committed_range(topic)
    }

    fn read(
        &mut self,
        ranges: &[TopicRange],
        each: &mut dyn FnMut(usize, ReadRecord<'_>),
    ) -> Result<bool, KafkaError> {
        Cluster::read(self, ranges, each)
    }
}

/// Compares the records of a run with those in its topics.
pub struct RecordComparison<'a> {
    pub expected: Expected<'a>,
    pub topics: &'a PerStream<String>,
    /// Offsets that were read, of `total`.
    pub done: &'a AtomicU64,
    pub total: &'a AtomicU64,
}

impl RecordComparison<'_> {
    /// Compares, and examines what differs. `None`: there was a shutdown. Blocks.
    ///
    /// # Errors
    /// When the brokers cannot be queried.
    pub fn run(&self, source: &mut impl Source) -> Result<Option<Vec<RecordsReport>>, KafkaError> {
        let (streams, ranges) = self.ranges(source)?;
        let length = |range: &TopicRange| -> i64 {
            range.to.iter().zip(&range.from).map(|(to, from)| to - from).sum()
        };
        self.total.store(ranges.iter().map(length).sum::<i64>() as u64, Ordering::Relaxed);
        let mut first_pass = FirstPass::new(self.expected);
        let whole = source.read(&ranges, &mut |range, record| {
            first_pass.take(streams[range], &record);
            self.done.fetch_add(1, Ordering::Relaxed);
        })?;
        if !whole {
            return Ok(None);
        }
        let mut reports = PerStream::from_fn(|stream| self.report(stream, &first_pass));
        for unexpected in &first_pass.described {
            reports[unexpected.stream].findings.push(describe_unexpected(unexpected));
        }
        let suspects = first_pass.suspects();
        drop(first_pass);
        if suspects.values().any(|suspects| suspects.count > 0) {
            let mut second_pass = SecondPass::new(self.expected, &suspects);
            let mut take = |range: usize, record: ReadRecord<'_>| {
                second_pass.take(streams[range], &record);
            };
            if !source.read(&ranges, &mut take)? {
                return Ok(None);
            }
            self.add_findings(second_pass, &suspects, &mut reports);
        }
        let of_run = self.expected.plan.streams();
        Ok(Some(of_run.map(|stream| std::mem::take(&mut reports[stream])).collect()))
    }

    fn add_findings(
        &self,
        second_pass: SecondPass<'_>,
        suspects: &PerStream<Suspects>,
        reports: &mut PerStream<RecordsReport>,
    ) {
        for (stream, report) in reports.iter_mut() {
            report.parts_examined = second_pass.examined(stream);
            // Of a run that goes on, parts can look wrong only because others have not come yet. What
            // was not examined counts as wrong.
            report.parts_differing = suspects[stream].count - report.parts_examined;
            report.foreign += second_pass.not_kept[stream];
        }
        let mut last = PerStream::<Option<u64>>::default();
        for finding in second_pass.findings() {
            let report = &mut reports[finding.stream];
            match finding.wrong {
                Wrong::Missing => report.missing += 1,
                Wrong::Doubled { .. } => report.doubled += 1,
                Wrong::Altered { .. } => report.altered += 1,
                Wrong::Foreign { .. } => report.foreign += 1,
            }
            if report.findings.len() < DESCRIBED_MAX {
                report.findings.push(self.describe(&finding));
            }
            if last[finding.stream].replace(finding.part) != Some(finding.part) {
                report.parts_differing += 1;
            }
        }
    }

    /// What of the topics is to be read.
    fn ranges(&self, source: &mut impl Source) -> Result<(Vec<Stream>, Vec<TopicRange>), KafkaError> {
        let (mut streams, mut ranges) = (Vec::new(), Vec::new());
        for stream in self.expected.plan.streams() {
            // A topic that does not exist has no records, which will be missed.
            let Some(mut range) = source.range(&self.topics[stream])? else { continue };
            let begin = self.expected.committed.begin_offsets(stream, range.from.len());
            for ((from, begin), to) in range.from.iter_mut().zip(begin).zip(&range.to) {
                *from = (*from).max(begin).min(*to);
            }
            streams.push(stream);
            ranges.push(range);
        }
        Ok((streams, ranges))
    }

    fn report(&self, stream: Stream, first_pass: &FirstPass<'_>) -> RecordsReport {
        let (committed, counts) = (self.expected.committed, &first_pass.counts[stream]);
        let expected =
            (0..committed.parts_end()).map(|part| committed.delivered(stream, part).len() as u64);
        RecordsReport {
            topic: self.topics[stream].clone(),
            expected: expected.sum(),
            found: counts.counted,
            foreign: counts.unexpected,
            misplaced: counts.misplaced,
            younger: counts.younger,
            ..RecordsReport::default()
        }
    }

    fn describe(&self, finding: &Finding) -> String {
        let which = match finding.record {
            None => "a record".to_owned(),
            Some(number) => self.name(finding.stream, PartIndex(finding.part), number),
        };
        let wrong = match finding.wrong {
            Wrong::Missing => "is missing".to_owned(),
            Wrong::Doubled { at, first } => format!(
                "is doubled: partition {} offset {}, first at partition {} offset {}",
                at.partition, at.offset, first.partition, first.offset
            ),
            Wrong::Altered { at } => {
                format!("is altered: partition {} offset {}", at.partition, at.offset)
            }
            Wrong::Foreign { at } => {
                format!("is foreign: partition {} offset {}", at.partition, at.offset)
            }
        };
        format!("part {}: {which} {wrong}", finding.part)
    }

    /// A record by its number, subscriber and time.
    fn name(&self, stream: Stream, part: PartIndex, number: u32) -> String {
        let mut key = String::new();
        self.expected.messages(stream, part, number..number + 1, |message| {
            key = String::from_utf8_lossy(message.key.as_bytes()).into_owned();
        });
        let time = self.expected.generator.time(stream, &self.expected.plan.part(part), number);
        format!("record {number} (msisdn {key}, {time})")
    }
}

fn describe_unexpected(record: &UnexpectedRecord) -> String {
    let UnexpectedRecord { partition, offset, why, .. } = record;
    format!("partition {partition} offset {offset}: {why}")
}
