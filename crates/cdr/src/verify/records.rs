//! The records of a run, against those in its topics.

use std::sync::atomic::Ordering;

use cdr_model::{PartIndex, PerStream, Stream};

use super::DESCRIBED_MAX;
use super::expected::Expected;
use super::first_pass::{FirstPass, Suspects};
use super::report::RecordsReport;
use super::second_pass::{Finding, SecondPass, Wrong};
use crate::kafka::{KafkaError, ReadRecord, TopicRange};
use crate::telemetry::Count;

/// Takes the number of a range, and a record of it.
pub type EachRecord<'a> = dyn FnMut(usize, ReadRecord<'_>) + 'a;

/// Compares the records of a run with those in its topics.
pub struct RecordComparison<'a> {
    pub expected: &'a Expected,
    pub topics: &'a PerStream<String>,
    /// Of the offsets that were read.
    pub count: &'a Count,
}

impl RecordComparison<'_> {
    /// Compares with what topics hold, and examines what differs. A topic that does not exist has no
    /// records, which will be missed. `read` reads topics side by side, hands over the number of the
    /// range and the record, and gives `false` after a shutdown; then there is no report.
    pub fn run(
        &self,
        topics: Vec<(Stream, TopicRange)>,
        mut read: impl FnMut(&[TopicRange], &mut EachRecord<'_>) -> Result<bool, KafkaError>,
    ) -> Result<Option<Vec<RecordsReport>>, KafkaError> {
        let (streams, mut ranges): (Vec<Stream>, Vec<TopicRange>) = topics.into_iter().unzip();
        for (stream, range) in streams.iter().zip(&mut ranges) {
            for ((from, to), partition) in range.from.iter_mut().zip(&range.to).zip(0..) {
                let begin = self.expected.begin_offsets(*stream, partition).min().unwrap_or(0);
                *from = (*from).max(begin).min(*to);
                self.count.total.fetch_add((*to - *from) as u64, Ordering::Relaxed);
            }
        }
        let mut first_pass = FirstPass::new(self.expected);
        let whole = read(&ranges, &mut |range, record| {
            first_pass.take(streams[range], &record);
            self.count.done.fetch_add(1, Ordering::Relaxed);
        })?;
        if !whole {
            return Ok(None);
        }
        let (mut reports, suspects) = first_pass.end();
        for (stream, report) in reports.iter_mut() {
            report.topic.clone_from(&self.topics[stream]);
            let delivered = |part| self.expected.delivered(stream, part).len() as u64;
            report.expected = (0..self.expected.parts_end()).map(delivered).sum();
        }
        if suspects.values().any(|suspects| suspects.count > 0) {
            let mut second_pass = SecondPass::new(self.expected, &suspects);
            if !read(&ranges, &mut |range, record| second_pass.take(streams[range], &record))? {
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
            report.doubled += second_pass.not_kept[stream].doubled;
            report.foreign += second_pass.not_kept[stream].foreign;
        }
        let mut last = PerStream::<Option<u64>>::default();
        for finding in second_pass.findings() {
            let report = &mut reports[finding.stream];
            match finding.wrong {
                Wrong::Missing => report.missing += 1,
                Wrong::Doubled { .. } => report.doubled += 1,
                Wrong::Altered(_) => report.altered += 1,
                Wrong::Foreign(_) => report.foreign += 1,
            }
            if report.findings.len() < DESCRIBED_MAX {
                report.findings.push(self.describe(&finding));
            }
            if last[finding.stream].replace(finding.part) != Some(finding.part) {
                report.parts_differing += 1;
            }
        }
    }

    fn describe(&self, Finding { part, stream, record, wrong }: &Finding) -> String {
        let Some(number) = *record else { return format!("part {part}: a record {wrong}") };
        let mut msisdn = String::new();
        self.expected.messages(*stream, *part, number..number + 1, |message| {
            msisdn = String::from_utf8_lossy(message.key.as_bytes()).into_owned();
        });
        let window = self.expected.plan.part(PartIndex(*part));
        let time = self.expected.generator.time(*stream, &window, number);
        format!("part {part}: record {number} (msisdn {msisdn}, {time}) {wrong}")
    }
}
