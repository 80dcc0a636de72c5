//! The log of one partition: files of batches, the newest of which grows.
//!
//! Batches are kept as producers sent them. What is known about them is kept in memory and found
//! again by walking over the files at the start.

pub mod scan;
pub mod segment;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use self::scan::{Found, ScanDepth, Scanner, Step};
use self::segment::{Segment, SegmentRange};
use crate::kafka::batch::compression::records_of;
use crate::kafka::batch::records::Records;
use crate::kafka::batch::{BatchError, BatchHeader, unchanged};
use crate::kafka::error::Error;
use crate::kafka::files::{replace_file, sync_dir};

/// Where a log begins, if records were deleted that its files still hold.
pub const START_FILE: &str = "log-start";

/// Up to where compaction may have left gaps. Behind it each batch follows the one before: the offset
/// is not covered by a batch's checksum.
pub const GAPS_FILE: &str = "gaps-before";

/// When a log's files are closed and deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A file is closed before it grows beyond this.
    pub segment_bytes: u64,
    /// A file is closed when it is older than this; `None` for never.
    pub segment_ms: Option<i64>,
    /// The oldest files go while what is left is at least this large; `None` for never.
    pub retention_bytes: Option<u64>,
    /// Files go whose newest record is older than this; `None` for never.
    pub retention_ms: Option<i64>,
}

/// The log of a partition.
#[derive(Debug)]
pub struct Log {
    dir: PathBuf,
    segments: Vec<Segment>,
    start: i64,
    end: i64,
    gaps_before: i64,
    /// Files with bytes that may not have reached the disk.
    unsynced: Vec<Arc<File>>,
    /// A write failed and could not be taken back; nothing more is appended.
    failed: bool,
}

impl Log {
    /// Opens the log in a folder, and hands `found` every batch. Of the newest file, what is
    /// behind the last whole batch is cut off.
    ///
    /// # Errors
    /// When files cannot be read, or another file than the newest is damaged.
    pub fn open(
        dir: &Path,
        depth: ScanDepth,
        now_ms: i64,
        found: &mut dyn FnMut(&Found),
    ) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|error| Error::io("create", dir, error))?;
        let mut bases = bases(dir)?;
        bases.sort_unstable();
        let gaps_before = read_offset(dir, GAPS_FILE)?;
        let start = read_offset(dir, START_FILE)?.max(bases.first().copied().unwrap_or(0));
        let mut log = Log {
            dir: dir.to_owned(),
            segments: Vec::new(),
            start,
            end: bases.first().copied().unwrap_or(0),
            gaps_before,
            unsynced: Vec::new(),
            failed: false,
        };
        for (at, &base) in bases.iter().enumerate() {
            let newest = at + 1 == bases.len();
            log.load(Segment::new(dir, base, now_ms), newest, depth, found)?;
        }
        log.start = log.start.min(log.end);
        Ok(log)
    }

    fn load(
        &mut self,
        mut segment: Segment,
        newest: bool,
        depth: ScanDepth,
        found: &mut dyn FnMut(&Found),
    ) -> Result<(), Error> {
        let path = segment.path.clone();
        let failed = |error| Error::io("read", &path, error);
        let file = OpenOptions::new().read(true).append(true).open(&path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        if !self.is_next(segment.base) {
            return Err(Error::Damaged { path, position: 0, reason: BatchError::Inconsistent });
        }
        self.end = segment.base;
        let mut scanner = Scanner::new(&file, 0, size);
        let damage = loop {
            match scanner.step(depth).map_err(failed)? {
                Step::Batch(batch)
                    if self.is_next(batch.header.base_offset) && batch.header.is_ours() =>
                {
                    found(&batch);
                    segment.extend(&batch.header);
                    self.end = batch.header.next_offset();
                }
                Step::Batch(_) => break Some(BatchError::Inconsistent),
                Step::Damage(error) => break Some(error),
                Step::End => break None,
            }
        };
        if let Some(error) = damage {
            let position = segment.size;
            if !newest {
                return Err(Error::Damaged { path, position, reason: error });
            }
            let (path, lost) = (path.display(), size - position);
            warn!(
                "{path} is cut at byte {position}: behind it is no whole batch ({error}); {lost} bytes go"
            );
            file.set_len(position).map_err(|error| Error::io("cut", &segment.path, error))?;
        }
        if newest {
            segment.file = Some(Arc::new(file));
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Whether a batch of this offset can come next.
    fn is_next(&self, offset: i64) -> bool {
        offset == self.end || (self.end..=self.gaps_before).contains(&offset)
    }

    /// The first offset that can be read.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// The offset that the next record gets.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// Its files, oldest first.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Appends a batch, and returns the offset of its first record. `header` is that of `batch`.
    ///
    /// # Errors
    /// When it cannot be written; then nothing of it stays.
    pub fn append(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        retention: &Retention,
        now_ms: i64,
    ) -> io::Result<i64> {
        if self.failed {
            return Err(io::Error::other("an earlier write failed half-way; restart the broker"));
        }
        let placed = BatchHeader { base_offset: self.end, ..*header };
        self.make_room(header.size as u64, retention, now_ms)?;
        let Some(segment) = self.segments.last_mut() else {
            return Err(io::Error::other("the log has no file"));
        };
        let file = segment.open()?;
        let front = header.placed_at(self.end);
        let written = (&*file).write_all(&front).and_then(|()| (&*file).write_all(unchanged(batch)));
        if let Err(error) = written {
            self.failed = file.set_len(segment.size).is_err();
            return Err(error);
        }
        if segment.size == 0 || self.unsynced.is_empty() {
            self.unsynced.push(file);
        }
        segment.extend(&placed);
        self.end = placed.next_offset();
        Ok(placed.base_offset)
    }

    /// Begins a new file when the newest is full or old, or there is none.
    fn make_room(&mut self, bytes: u64, retention: &Retention, now_ms: i64) -> io::Result<()> {
        let full = |segment: &Segment| {
            let old = retention.segment_ms.is_some_and(|age| now_ms - segment.created_ms >= age);
            segment.size > 0 && (segment.size + bytes > retention.segment_bytes || old)
        };
        if self.segments.last().is_some_and(|newest| !full(newest)) {
            return Ok(());
        }
        let mut segment = Segment::new(&self.dir, self.end, now_ms);
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(&segment.path)?;
        segment.file = Some(Arc::new(file));
        if let Some(closed) = self.segments.last_mut() {
            closed.file = None;
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Where the batch of an offset is, and the beginning of the file behind that, in which a log
    /// with gaps may have it.
    pub fn ranges(&self, offset: i64) -> Vec<SegmentRange> {
        let behind = self.segments.partition_point(|segment| segment.base <= offset);
        let segments = self.segments.iter().skip(behind.saturating_sub(1)).take(2);
        let range = |segment: &Segment| SegmentRange {
            file: segment.file.clone(),
            path: segment.path.clone(),
            position: segment.position_of(offset),
            size: segment.size,
        };
        segments.map(range).collect()
    }

    /// Timestamp and offset of the first record that is not older than `timestamp`.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn find_time(&self, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        let young = |segment: &&Segment| segment.newest.is_some_and(|(newest, _)| newest >= timestamp);
        for segment in self.segments.iter().filter(young) {
            let file = segment.open()?;
            let mut scanner = Scanner::new(&file, segment.position_of_time(timestamp), segment.size);
            while let Step::Batch(found) = scanner.step(ScanDepth::Headers)? {
                let header = found.header;
                if header.max_timestamp >= timestamp
                    && header.last_offset() >= self.start
                    && let Some(first) = first_at(&header, scanner.batch(&found)?, timestamp, self.start)
                {
                    return Ok(Some(first));
                }
            }
        }
        Ok(None)
    }

    /// The largest timestamp, and an offset that has it.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn newest(&self) -> io::Result<Option<(i64, i64)>> {
        let newest =
            self.segments.iter().filter_map(|segment| segment.newest).max_by_key(|newest| newest.0);
        match newest {
            Some((timestamp, _)) => self.find_time(timestamp),
            None => Ok(None),
        }
    }

    /// Lets the oldest files go that retention does not cover, and are before `stable`.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn apply_retention(
        &mut self,
        retention: &Retention,
        stable: i64,
        now_ms: i64,
    ) -> io::Result<()> {
        let mut size = self.size();
        while let [oldest, next, ..] = &self.segments[..]
            && next.base <= stable
        {
            let left = size - oldest.size;
            let spare = retention.retention_bytes.is_some_and(|bytes| left >= bytes);
            let newest = oldest.newest.map_or(i64::MIN, |(timestamp, _)| timestamp);
            let old = retention.retention_ms.is_some_and(|age| newest < now_ms.saturating_sub(age));
            if !spare && !old && next.base > self.start {
                break;
            }
            fs::remove_file(&oldest.path)?;
            self.start = self.start.max(next.base);
            self.segments.remove(0);
            size = left;
        }
        Ok(())
    }

    /// Makes the log begin at `offset`, at most at its end.
    ///
    /// # Errors
    /// When that cannot be noted.
    pub fn delete_before(&mut self, offset: i64) -> io::Result<()> {
        let start = offset.min(self.end);
        if start > self.start {
            replace_file(&self.dir.join(START_FILE), start.to_string().as_bytes())?;
            self.start = start;
        }
        Ok(())
    }

    /// The files that have to reach the disk before what was appended so far survives the loss of
    /// power. To be synced without holding the log.
    pub fn take_unsynced(&mut self) -> Vec<Arc<File>> {
        std::mem::take(&mut self.unsynced)
    }
}

/// Within a batch, the first record at or after a time; the batch itself if it cannot be looked into.
/// `None` if all such records were deleted.
fn first_at(header: &BatchHeader, batch: &[u8], timestamp: i64, start: i64) -> Option<(i64, i64)> {
    let whole = Some((header.max_timestamp, header.base_offset.max(start)));
    if header.is_log_append_time() {
        return whole;
    }
    let Ok(records) = records_of(header, batch) else { return whole };
    for record in Records::new(&records) {
        let Ok(record) = record else { return whole };
        let time = header.base_timestamp.saturating_add(record.timestamp_delta);
        let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
        if time >= timestamp && offset >= start {
            return Some((time, offset));
        }
    }
    None
}

/// The first offsets of the files in a folder, from their names.
fn bases(dir: &Path) -> Result<Vec<i64>, Error> {
    let failed = |error| Error::io("list", dir, error);
    let mut bases = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let base =
                path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            bases.push(base.filter(|&base: &i64| base >= 0).ok_or(Error::Foreign { path })?);
        }
    }
    Ok(bases)
}

/// An offset in a file of its own; 0 if it is not there.
fn read_offset(dir: &Path, name: &str) -> Result<i64, Error> {
    let path = dir.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| Error::Foreign { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io("read", &path, error)),
    }
}

/// Makes a log's folder, and what is in it, survive the loss of power.
pub fn sync(files: &[Arc<File>], dir: &Path) -> io::Result<()> {
    for file in files {
        file.sync_data()?;
    }
    if files.is_empty() { Ok(()) } else { sync_dir(dir) }
}

#[cfg(test)]
mod tests;
