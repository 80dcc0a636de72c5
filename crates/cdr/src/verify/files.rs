//! The files of a run, against those in a sink: names and contents.
//!
//! A listing leaves one bit for each file of the run. Contents are compared piece by piece, against
//! pieces that are generated as they are needed.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cdr_model::{FileFormat, Generator, PartIndex, PerStream, Plan, Stream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::DESCRIBED_MAX;
use super::part_set::PartSet;
use super::report::FilesReport;
use crate::files::{Content, FileSink, FileSinkError, Listed, PartFile, Pieces};
use crate::telemetry::Count;

/// Bytes of a file that are generated at once.
const PIECE_BYTES: usize = 256 << 10;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrongFile {
    Missing,
    /// It is as it should be up to its end, which comes too early. In bytes.
    Shorter {
        expected: u64,
        found: u64,
    },
    /// It is as it should be, but does not end there. In bytes.
    Longer {
        expected: u64,
    },
    /// The first line that differs, from 1.
    Differs {
        line: u64,
    },
}

impl fmt::Display for WrongFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WrongFile::Missing => f.write_str("is missing"),
            WrongFile::Shorter { expected, found } => {
                write!(f, "ends after {found} of {expected} bytes")
            }
            WrongFile::Longer { expected } => write!(f, "goes on after its {expected} bytes"),
            WrongFile::Differs { line } => write!(f, "differs from line {line} on"),
        }
    }
}

/// Compares the files of a run with those in a sink.
#[derive(Clone)]
pub struct FileComparison {
    pub sink: Arc<dyn FileSink>,
    /// Of those shards whose files are verified.
    pub plan: Plan,
    /// No part from this one on can have files yet.
    pub parts_end: u64,
    pub generator: Arc<Generator>,
    pub format: FileFormat,
    pub shutdown: CancellationToken,
    /// Of the files that were looked at.
    pub count: Count,
}

/// A file's name, and what is wrong with it.
type Compared = (String, Option<WrongFile>);

impl FileComparison {
    /// How many files there are to look at.
    pub fn total(&self) -> u64 {
        self.plan.parts_before(PartIndex(self.parts_end)) * self.plan.streams().count() as u64
    }

    /// Compares; `delivered` decides which parts' files the progress counts. `None`: there was a
    /// shutdown.
    ///
    /// # Errors
    /// A sink that is away for too long, or refuses.
    pub async fn run(
        &self,
        delivered: impl Fn(PartIndex) -> bool,
    ) -> Result<Option<FilesReport>, FileSinkError> {
        self.count.total.fetch_add(self.total(), Ordering::Relaxed);
        self.shutdown.run_until_cancelled(self.compare_all(delivered)).await.transpose()
    }

    async fn compare_all(
        &self,
        delivered: impl Fn(PartIndex) -> bool,
    ) -> Result<FilesReport, FileSinkError> {
        let Listing { present, mut report } = self.list().await?;
        let mut running = VecDeque::new();
        let mut part = self.plan.first();
        while part.0 < self.parts_end {
            let is_due = delivered(part);
            for stream in self.plan.streams() {
                let is_present = present[stream].contains(part.0);
                match (is_due, is_present) {
                    (true, true) => running.push_back(self.begin(stream, part)),
                    (true, false) => {
                        let name = self.plan.part(part).file_name(stream, self.format);
                        report.add((name, Some(WrongFile::Missing)));
                    }
                    // It may be on its way, where uploads have their final names at once.
                    (false, true) => report.ahead += 1,
                    (false, false) => {}
                }
                report.expected += u64::from(is_due);
                self.count.done.fetch_add(u64::from(!(is_due && is_present)), Ordering::Relaxed);
            }
            while running.len() >= self.sink.in_flight()
                && let Some(first) = running.pop_front()
            {
                report.add(first.await??);
            }
            part = self.plan.after(part);
        }
        for compared in running {
            report.add(compared.await??);
        }
        report.findings.sort();
        Ok(report)
    }

    /// Lists the sink. Nothing of it is held but which files of the run are there.
    async fn list(&self) -> Result<Listing, FileSinkError> {
        let mut listing = Listing::default();
        let mut take = |listed: Listed<'_>| match listed {
            Listed::Start => listing = Listing::default(),
            Listed::File(file) => self.sort(file.name, file.temporary_for, &mut listing),
        };
        self.sink.list(&mut take).await?;
        Ok(listing)
    }

    fn sort(&self, name: &str, temporary_for: Option<&str>, Listing { present, report }: &mut Listing) {
        match (temporary_for, self.plan.part_of_file(name, self.format)) {
            (Some(for_name), _) if self.is_shaped_as_ours(for_name) => {
                report.temporary += 1;
                report.describe(format!("{name} was left behind by an upload, or is one in progress"));
            }
            (None, Some((_, part))) if part.0 >= self.parts_end => report.ahead += 1,
            (None, Some((stream, part))) if self.plan.owns(part) => present[stream].insert(part.0),
            (None, None) if self.is_shaped_as_ours(name) => report.foreign += 1,
            // What belongs to another shard is not this verification's concern, either.
            _ => report.others += 1,
        }
    }

    /// Whether a name is that of some run's file.
    fn is_shaped_as_ours(&self, name: &str) -> bool {
        let after = |stream: Stream| name.strip_prefix(stream.name())?.strip_prefix('_');
        let of_stream = Stream::ALL.into_iter().find_map(after);
        let stem = of_stream.and_then(|rest| rest.strip_suffix(self.format.extension()));
        stem.is_some_and(|stem| stem.ends_with('.'))
    }

    /// Begins to compare a file.
    fn begin(
        &self,
        stream: Stream,
        part: PartIndex,
    ) -> AbortOnDropHandle<Result<Compared, FileSinkError>> {
        let (generator, part) = (self.generator.clone(), self.plan.part(part));
        let name = part.file_name(stream, self.format);
        let expected = PartFile { generator, stream, part, format: self.format };
        let (sink, count) = (self.sink.clone(), self.count.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut comparison = Comparison::new(&expected);
            let is_there = sink.read(&name, &mut |found| comparison.take(found)).await?;
            // It may have gone since it was listed.
            let wrong = if is_there { comparison.end() } else { Some(WrongFile::Missing) };
            count.done.fetch_add(1, Ordering::Relaxed);
            Ok((name, wrong))
        }))
    }
}

/// What a listing has found.
#[derive(Default)]
struct Listing {
    present: PerStream<PartSet>,
    report: FilesReport,
}

impl FilesReport {
    fn add(&mut self, (name, wrong): Compared) {
        match &wrong {
            None => self.right += 1,
            Some(WrongFile::Missing) => self.missing += 1,
            Some(_) => self.altered += 1,
        }
        if let Some(wrong) = wrong {
            self.describe(format!("{name} {wrong}"));
        }
    }

    fn describe(&mut self, finding: String) {
        if self.findings.len() < DESCRIBED_MAX {
            self.findings.push(finding);
        }
    }
}

/// Where two contents differ, if they do.
pub fn difference(expected: &dyn Content, found: &[u8]) -> Option<WrongFile> {
    let mut comparison = Comparison::new(expected);
    comparison.take(found);
    comparison.end()
}

/// A content that comes piece by piece, against what it should be.
struct Comparison<'a> {
    expected: &'a dyn Content,
    pieces: Pieces<'a>,
    /// The piece that was generated last, and how much of it is taken.
    piece: Cow<'a, [u8]>,
    taken: usize,
    /// Bytes that are the same.
    same: u64,
    differs: bool,
}

impl<'a> Comparison<'a> {
    fn new(expected: &'a dyn Content) -> Self {
        let (pieces, piece) = (expected.pieces(PIECE_BYTES), Cow::Borrowed(&[][..]));
        Comparison { expected, pieces, piece, taken: 0, same: 0, differs: false }
    }

    /// Takes what comes next; `false`: no more is needed.
    fn take(&mut self, mut found: &[u8]) -> bool {
        while !found.is_empty() && !self.differs {
            if self.taken == self.piece.len() {
                let Some(next) = self.pieces.next() else {
                    self.differs = true;
                    break;
                };
                (self.piece, self.taken) = (next, 0);
            }
            let expected = &self.piece[self.taken..];
            let length = expected.len().min(found.len());
            let (expected, now) = (&expected[..length], &found[..length]);
            let same = match expected == now {
                true => length,
                false => expected.iter().zip(now).take_while(|(a, b)| a == b).count(),
            };
            self.same += same as u64;
            self.taken += same;
            self.differs = same < length;
            found = &found[length..];
        }
        !self.differs
    }

    /// What is wrong with all that was taken.
    fn end(mut self) -> Option<WrongFile> {
        let all_was_taken = self.taken == self.piece.len() && self.pieces.next().is_none();
        let (same, mut pieces) = (self.same, self.expected.pieces(PIECE_BYTES));
        match (self.differs, all_was_taken) {
            (false, true) => None,
            (false, false) => {
                let expected = pieces.map(|piece| piece.len() as u64).sum();
                Some(WrongFile::Shorter { expected, found: same })
            }
            (true, true) => Some(WrongFile::Longer { expected: same }),
            (true, false) => {
                let (mut left, mut line) = (same as usize, 1);
                while left > 0
                    && let Some(piece) = pieces.next()
                {
                    let before = &piece[..left.min(piece.len())];
                    line += before.iter().filter(|&&byte| byte == b'\n').count() as u64;
                    left -= before.len();
                }
                Some(WrongFile::Differs { line })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: &[u8], wrong: Option<WrongFile>) {
        let expected = &b"a\nb\nc\n".to_vec();
        assert_eq!(difference(expected, found), wrong);
        // However it comes in pieces.
        for length in 1..4 {
            let mut comparison = Comparison::new(expected);
            found.chunks(length).all(|piece| comparison.take(piece));
            assert_eq!(comparison.end(), wrong);
        }
    }

    #[test]
    fn a_difference_is_named_by_its_line() {
        check(b"a\nb\nc\n", None);
        check(b"a\nx\nc\n", Some(WrongFile::Differs { line: 2 }));
        check(b"x", Some(WrongFile::Differs { line: 1 }));
        check(b"a\nb\nc ", Some(WrongFile::Differs { line: 3 }));
    }

    #[test]
    fn a_file_that_ends_elsewhere_is_named_by_its_length() {
        check(b"a\nb\nc", Some(WrongFile::Shorter { expected: 6, found: 5 }));
        check(b"", Some(WrongFile::Shorter { expected: 6, found: 0 }));
        check(b"a\nb\nc\nd", Some(WrongFile::Longer { expected: 6 }));
    }

    #[test]
    fn a_large_content_is_compared_across_its_pieces() {
        let line = |number: usize| format!("{number:09}\n");
        let expected: Vec<u8> = (0..100_000).flat_map(|number| line(number).into_bytes()).collect();
        assert_eq!(difference(&expected, &expected), None);
        let mut other = expected.clone();
        other[77_776 * 10] = b'x';
        assert_eq!(difference(&expected, &other), Some(WrongFile::Differs { line: 77_777 }));
    }
}
