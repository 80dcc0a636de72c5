//! Walks over the batches of a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::kafka::batch::{BatchError, BatchHeader, HEADER_BYTES, Outcome, outcome_of};

/// Bytes read at a time: many small batches with one call, and little in vain before a large one.
const READ_BYTES: usize = 128 << 10;

/// How much of each batch is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanDepth {
    /// The headers, and the few records that are control records.
    Headers,
    /// Everything: checksums are compared.
    Whole,
}

/// A batch in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub header: BatchHeader,
    /// Where in the file it begins.
    pub position: u64,
    /// For a control batch: its content.
    pub outcome: Option<Outcome>,
}

/// What stands at a position of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Batch(Found),
    /// Not a whole batch: the file is cut off or damaged here.
    Damage(BatchError),
    End,
}

/// Reads batches one after the other.
pub struct Scanner<'a> {
    file: &'a File,
    size: u64,
    position: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> Scanner<'a> {
    /// Begins at `position`, the beginning of a batch, and ends at `size` bytes of the file.
    pub fn new(file: &'a File, position: u64, size: u64) -> Self {
        Scanner { file, size, position, buffer: Vec::new(), buffer_at: 0 }
    }

    /// Looks at the next batch. Behind damage it stays where it is.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn step(&mut self, depth: ScanDepth) -> io::Result<Step> {
        let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(Step::End);
        }
        let header = match BatchHeader::parse(self.bytes(left.min(HEADER_BYTES))?) {
            Ok(header) if header.size <= left => header,
            Ok(_) => return Ok(Step::Damage(BatchError::Incomplete)),
            Err(error) => return Ok(Step::Damage(error)),
        };
        if depth == ScanDepth::Whole
            && let Err(error) = BatchHeader::check(self.bytes(header.size)?)
        {
            return Ok(Step::Damage(error));
        }
        let outcome = match header.is_control() {
            true => outcome_of(self.bytes(header.size)?.get(HEADER_BYTES..).unwrap_or_default()),
            false => None,
        };
        let found = Found { header, position: self.position, outcome };
        self.position += header.size as u64;
        Ok(Step::Batch(found))
    }

    /// The bytes of a batch that a step has found; the next step still comes behind it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn batch(&mut self, found: &Found) -> io::Result<&[u8]> {
        let next = std::mem::replace(&mut self.position, found.position);
        let filled = self.fill(found.header.size);
        self.position = next;
        let at = filled?;
        Ok(self.buffer.get(at..at + found.header.size).unwrap_or_default())
    }

    fn bytes(&mut self, count: usize) -> io::Result<&[u8]> {
        let at = self.fill(count)?;
        Ok(self.buffer.get(at..at + count).unwrap_or_default())
    }

    /// Makes `count` bytes from the position on be in the buffer, and returns where in it.
    fn fill(&mut self, count: usize) -> io::Result<usize> {
        let end = self.buffer_at + self.buffer.len() as u64;
        if self.position < self.buffer_at || self.position + count as u64 > end {
            let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
            // `count` is within the file, so a damaged length cannot claim more than that.
            self.buffer.clear();
            self.buffer.resize(count.max(READ_BYTES).min(left), 0);
            self.buffer_at = self.position;
            self.file.read_exact_at(&mut self.buffer, self.position)?;
        }
        Ok((self.position - self.buffer_at) as usize)
    }
}
