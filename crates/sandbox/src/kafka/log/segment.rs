//! One file of a log, and what is known of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::kafka::batch::{BatchHeader, HEADER_BYTES};

/// The index remembers a batch about as often as this.
const INDEX_EVERY_BYTES: u64 = 64 << 10;

/// A file of batches. Its name is the offset of the first.
#[derive(Debug)]
pub struct Segment {
    pub base: i64,
    pub path: PathBuf,
    /// Bytes of whole batches.
    pub size: u64,
    /// The largest timestamp, and the base offset of the batch that holds it.
    pub newest: Option<(i64, i64)>,
    /// When it was begun, in milliseconds since 1970.
    pub created_ms: i64,
    /// Open while batches are appended.
    pub file: Option<Arc<File>>,
    index: Vec<IndexEntry>,
}

#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    offset: i64,
    position: u64,
    /// The largest timestamp of the batches before.
    newest_before: i64,
}

impl Segment {
    pub fn new(dir: &Path, base: i64, created_ms: i64) -> Self {
        let path = dir.join(format!("{base:020}.log"));
        Segment { base, path, size: 0, newest: None, created_ms, file: None, index: Vec::new() }
    }

    /// Notes a batch that now stands at the end.
    pub fn extend(&mut self, header: &BatchHeader) {
        let due = self.index.last().is_none_or(|last| self.size - last.position >= INDEX_EVERY_BYTES);
        if due {
            let newest_before = self.newest.map_or(i64::MIN, |(timestamp, _)| timestamp);
            let (offset, position) = (header.base_offset, self.size);
            self.index.push(IndexEntry { offset, position, newest_before });
        }
        if self.newest.is_none_or(|(timestamp, _)| header.max_timestamp > timestamp) {
            self.newest = Some((header.max_timestamp, header.base_offset));
        }
        self.size += header.size as u64;
    }

    /// Where to begin looking for an offset.
    pub fn position_of(&self, offset: i64) -> u64 {
        let behind = self.index.partition_point(|entry| entry.offset <= offset);
        behind.checked_sub(1).and_then(|at| self.index.get(at)).map_or(0, |entry| entry.position)
    }

    /// Where to begin looking for the first timestamp that is not before `timestamp`.
    pub fn position_of_time(&self, timestamp: i64) -> u64 {
        let behind = self.index.partition_point(|entry| entry.newest_before < timestamp);
        behind.checked_sub(1).and_then(|at| self.index.get(at)).map_or(0, |entry| entry.position)
    }

    /// The file, to read from.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(&self) -> io::Result<Arc<File>> {
        match &self.file {
            Some(file) => Ok(file.clone()),
            None => File::open(&self.path).map(Arc::new),
        }
    }
}

/// Batches of a segment from a position on, which can be read without holding the log.
#[derive(Debug)]
pub struct SegmentRange {
    pub file: Option<Arc<File>>,
    pub path: PathBuf,
    pub position: u64,
    /// Bytes of whole batches in the file.
    pub size: u64,
}

/// Which batches a reader gets.
#[derive(Clone, Copy, Debug)]
pub struct ReadBounds {
    /// The first offset; batches that begin before it come whole.
    pub from: i64,
    /// Batches from this offset on are not given.
    pub before: i64,
    pub bytes_max: usize,
    /// Whether one batch is given even if it is larger than `bytes_max`.
    pub at_least_one: bool,
}

impl SegmentRange {
    /// Whole batches from here on.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, bounds: &ReadBounds) -> io::Result<Bytes> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => match File::open(&self.path) {
                Ok(file) => Arc::new(file),
                // Retention was faster. The next request learns where the log begins now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Bytes::new()),
                Err(error) => return Err(error),
            },
        };
        let left = usize::try_from(self.size.saturating_sub(self.position)).unwrap_or(usize::MAX);
        // The batch that is looked for begins at most so far behind, and its header has to be there.
        let behind = INDEX_EVERY_BYTES as usize + HEADER_BYTES;
        let mut buffer = vec![0; left.min(bounds.bytes_max.saturating_add(behind))];
        file.read_exact_at(&mut buffer, self.position)?;
        let mut at = 0;
        while let Ok(header) = BatchHeader::parse(buffer.get(at..).unwrap_or_default())
            && header.last_offset() < bounds.from
        {
            at += header.size;
        }
        let end = self.end_of_whole(&buffer, at, bounds);
        if end > at {
            return Ok(Bytes::from(buffer).slice(at..end));
        }
        self.read_first(&file, at, bounds)
    }

    /// Where the batches end that are all there and wanted.
    fn end_of_whole(&self, buffer: &[u8], begin: usize, bounds: &ReadBounds) -> usize {
        let mut end = begin;
        while let Ok(header) = BatchHeader::parse(buffer.get(end..).unwrap_or_default()) {
            let next = end + header.size;
            if header.base_offset >= bounds.before
                || next > buffer.len()
                || next - begin > bounds.bytes_max
            {
                break;
            }
            end = next;
        }
        end
    }

    /// The one batch that is larger than what was wanted, or lies just behind what was read.
    fn read_first(&self, file: &File, at: usize, bounds: &ReadBounds) -> io::Result<Bytes> {
        let position = self.position + at as u64;
        if position + HEADER_BYTES as u64 > self.size {
            return Ok(Bytes::new());
        }
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, position)?;
        let Ok(header) = BatchHeader::parse(&header) else { return Ok(Bytes::new()) };
        let fits = header.size <= bounds.bytes_max || bounds.at_least_one;
        if header.base_offset >= bounds.before || !fits || header.size as u64 > self.size - position {
            return Ok(Bytes::new());
        }
        let mut batch = vec![0; header.size];
        file.read_exact_at(&mut batch, position)?;
        Ok(Bytes::from(batch))
    }
}
