//! What should be delivered, against what is there.
//!
//! What should be there is generated anew, not stored. The progress says how far the run has come;
//! everything before that must be in its place, once, to the byte.

mod audit;
mod examine;
mod files;
mod ledger;
mod report;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

use cdr_model::{Generator, PartIndex, Plan, Stream};

use self::audit::{Audit, Stranger};
use self::examine::{Examination, Finding, Wrong};
pub use self::files::{Files, FilesFound, Folder, WrongFile, difference};
pub use self::ledger::Ledger;
pub use self::report::{Files as FilesReport, Records as RecordsReport, Report};
use crate::delivery::sink::kafka::{KafkaSinkError, Reader, Seen, Span};

/// Findings that are described; the others are only counted.
const DESCRIBED_MAX: usize = 10_000;

/// Compares the records of a run with those in its topics.
pub struct Records<'a> {
    pub generator: &'a Generator,
    pub plan: &'a Plan,
    pub ledger: &'a Ledger,
    pub topics: [String; 2],
    /// Offsets that were read, of `total`.
    pub done: &'a AtomicU64,
    pub total: &'a AtomicU64,
}

/// Topics to read from.
pub trait Source {
    /// What a topic holds now for readers of committed records; `None` if it does not exist.
    ///
    /// # Errors
    /// When the brokers cannot be asked.
    fn span(&mut self, topic: &str) -> Result<Option<Span>, KafkaSinkError>;

    /// Reads topics side by side; tells `each` the number of the span and the record. `false`: the
    /// user wants to stop.
    ///
    /// # Errors
    /// When the brokers cannot be asked.
    fn read(
        &mut self,
        spans: &[Span],
        each: &mut dyn FnMut(usize, Seen<'_>),
    ) -> Result<bool, KafkaSinkError>;
}

impl Source for Reader {
    fn span(&mut self, topic: &str) -> Result<Option<Span>, KafkaSinkError> {
        Reader::span(self, topic)
    }

    fn read(
        &mut self,
        spans: &[Span],
        each: &mut dyn FnMut(usize, Seen<'_>),
    ) -> Result<bool, KafkaSinkError> {
        Reader::read(self, spans, each)
    }
}

impl Records<'_> {
    /// Compares, and examines what differs. `None`: the user stopped it. Blocks.
    ///
    /// # Errors
    /// When the brokers cannot be asked.
    pub fn compare(
        &self,
        source: &mut impl Source,
    ) -> Result<Option<[RecordsReport; 2]>, KafkaSinkError> {
        let (streams, spans) = self.spans(source)?;
        let length =
            |span: &Span| -> i64 { span.to.iter().zip(&span.from).map(|(to, from)| to - from).sum() };
        self.total.store(spans.iter().map(length).sum::<i64>() as u64, Ordering::Relaxed);
        let mut audit = Audit::new(self.generator, self.plan, self.ledger);
        let whole = source.read(&spans, &mut |span, seen| {
            audit.take(streams[span], &seen);
            self.done.fetch_add(1, Ordering::Relaxed);
        })?;
        if !whole {
            return Ok(None);
        }
        let (suspects, suspects_in_all) = audit.suspects();
        let mut reports = Stream::ALL.map(|stream| self.report(stream, &audit));
        for stranger in &audit.described {
            reports[stranger.stream as usize].findings.push(describe_stranger(stranger));
        }
        if suspects.is_empty() {
            return Ok(Some(reports));
        }
        let mut examination = Examination::new(self.generator, self.plan, self.ledger, &suspects);
        let examined = examination.places();
        if !source.read(&spans, &mut |span, seen| examination.take(streams[span], &seen))? {
            return Ok(None);
        }
        for (place, &(_, stream)) in suspects.iter().enumerate() {
            let report = &mut reports[stream as usize];
            report.parts_examined += u64::from(place < examined);
        }
        let mut differing: Vec<_> = Vec::new();
        for finding in examination.findings() {
            let report = &mut reports[finding.stream as usize];
            match finding.wrong {
                Wrong::Missing => report.missing += 1,
                Wrong::Doubled { .. } => report.doubled += 1,
                Wrong::Altered { .. } => report.altered += 1,
                Wrong::Foreign { .. } => report.foreign += 1,
            }
            if report.findings.len() < DESCRIBED_MAX {
                report.findings.push(self.describe(&finding));
            }
            differing.push((finding.part, finding.stream));
        }
        differing.dedup();
        // Of a run that goes on, parts can look wrong only because others have not come yet.
        let unexamined = suspects.iter().skip(examined).map(|&(_, stream)| stream);
        for stream in differing.into_iter().map(|(_, stream)| stream).chain(unexamined) {
            reports[stream as usize].parts_differing += 1;
        }
        let forgotten = suspects_in_all - suspects.len() as u64;
        reports[0].parts_differing += forgotten;
        Ok(Some(reports))
    }

    /// What of the topics is to be read.
    fn spans(&self, source: &mut impl Source) -> Result<(Vec<Stream>, Vec<Span>), KafkaSinkError> {
        let (mut streams, mut spans) = (Vec::new(), Vec::new());
        for stream in Stream::ALL {
            // A topic that does not exist has no records, which will be missed.
            let Some(mut span) = source.span(&self.topics[stream as usize])? else { continue };
            let begin = self.ledger.begin_offsets(stream, span.from.len());
            for ((from, begin), to) in span.from.iter_mut().zip(begin).zip(&span.to) {
                *from = (*from).max(begin).min(*to);
            }
            streams.push(stream);
            spans.push(span);
        }
        Ok((streams, spans))
    }

    fn report(&self, stream: Stream, audit: &Audit<'_>) -> RecordsReport {
        let of = stream as usize;
        let expected =
            (0..self.ledger.parts_end()).map(|part| self.ledger.delivered(stream, part).len() as u64);
        RecordsReport {
            topic: self.topics[of].clone(),
            expected: expected.sum(),
            found: audit.counted[of],
            foreign: audit.strangers[of],
            misplaced: audit.misplaced[of],
            younger: audit.younger[of],
            ..RecordsReport::default()
        }
    }

    fn describe(&self, finding: &Finding) -> String {
        let part = self.plan.part(PartIndex(finding.part));
        let which = match finding.record {
            None => "a record".to_owned(),
            Some(number) => {
                let mut key = String::new();
                self.generator.messages(finding.stream, &part, number..number + 1, |message| {
                    key = String::from_utf8_lossy(message.key.as_bytes()).into_owned();
                });
                let time = self.generator.time(finding.stream, &part, number);
                format!("record {number} (msisdn {key}, {time})")
            }
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
}

fn describe_stranger(stranger: &Stranger) -> String {
    let Stranger { partition, offset, why, .. } = stranger;
    format!("partition {partition} offset {offset}: {why}")
}

/// Sums up a comparison of files.
pub fn files_report(place: String, found: FilesFound) -> FilesReport {
    let mut report = FilesReport {
        place,
        expected: found.expected,
        right: found.right,
        ahead: found.ahead,
        others: found.others,
        ..FilesReport::default()
    };
    for (name, wrong) in found.wrong {
        let finding = match wrong {
            WrongFile::Foreign => {
                report.foreign += 1;
                continue;
            }
            WrongFile::Missing => {
                report.missing += 1;
                format!("{name} is missing")
            }
            WrongFile::Size { expected, found } => {
                report.altered += 1;
                format!("{name} has {found} bytes instead of {expected}")
            }
            WrongFile::Content { line } => {
                report.altered += 1;
                format!("{name} differs from line {line} on")
            }
            WrongFile::Temporary => {
                report.temporary += 1;
                format!("{name} was left behind by an upload, or is one in progress")
            }
        };
        if report.findings.len() < DESCRIBED_MAX {
            report.findings.push(finding);
        }
    }
    report
}
