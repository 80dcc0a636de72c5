//! Rewrites the log of a compacted topic so that it holds the last committed record of each key.
//!
//! It happens before the partition is opened, so nobody reads or writes meanwhile. Offsets stay as
//! they are, and what is left behind a gap reads as before.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::batch::BatchHeader;
use super::batch::compression::records_of;
use super::batch::records::Records;
use super::error::Error;
use super::files::{replace_file, sync_dir};
use super::log::scan::{Found, ScanDepth, Scanner, Step};
use super::log::segment::Segment;
use super::log::{GAPS_FILE, Log, START_FILE};
use super::producers::Producers;
use super::topic_config::Effective;

/// Keys that compaction remembers; a log with more stays as it is.
const KEYS_MAX: usize = 2_000_000;

/// Bytes of keys that compaction remembers.
const KEY_BYTES_MAX: usize = 128 << 20;

/// Logs smaller than this are read quickly as they are.
const WORTHWHILE_BYTES: u64 = 16 << 10;

fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    dir.with_file_name(format!("{name}{suffix}"))
}

/// The rewritten log, while it is written.
fn coming(dir: &Path) -> PathBuf {
    beside(dir, ".compacted")
}

/// The log as it was.
fn going(dir: &Path) -> PathBuf {
    beside(dir, ".replaced")
}

/// Brings to an end what a crash interrupted: either the old log is there, or the rewritten one.
///
/// # Errors
/// When folders cannot be renamed or removed.
pub fn finish_swap(dir: &Path) -> Result<(), Error> {
    let (coming, going) = (coming(dir), going(dir));
    if going.exists() && !dir.exists() {
        // The old log was moved away only when the new one was complete.
        fs::rename(&coming, dir).map_err(|error| Error::io("rename", &coming, error))?;
    }
    for rest in [&coming, &going] {
        if rest.exists() {
            fs::remove_dir_all(rest).map_err(|error| Error::io("remove", rest, error))?;
        }
    }
    Ok(())
}

/// Rewrites a partition's log if enough of it is superseded. A log that cannot be rewritten, as on a full
/// disk, stays as it is.
///
/// # Errors
/// When files cannot be read, or are damaged.
pub fn compact(dir: &Path, effective: &Effective, depth: ScanDepth, now_ms: i64) -> Result<(), Error> {
    if !dir.exists() {
        return Ok(());
    }
    let mut producers = Producers::default();
    let log = Log::open(dir, depth, now_ms, &mut |found| producers.replay(found, now_ms))?;
    if log.size() < WORTHWHILE_BYTES {
        return Ok(());
    }
    let failed = |error| Error::io("compact", dir, error);
    let survey = match Survey::of(&log, &producers, now_ms, effective).map_err(failed)? {
        Some(survey) => survey,
        None => {
            warn!("{} has too many keys to be compacted, and stays as it is", dir.display());
            return Ok(());
        }
    };
    let superseded = survey.records - survey.last.len().min(survey.records);
    if superseded == 0 || (superseded as f64) < survey.records as f64 * effective.dirty_ratio {
        return Ok(());
    }
    let before = log.size();
    let after = match survey.rewrite(&log, dir, &producers) {
        Ok(after) => after,
        Err(error) => {
            warn!("{} cannot be compacted, and stays as it is: {error}", dir.display());
            // It takes room, and is of no use.
            drop(fs::remove_dir_all(coming(dir)));
            return Ok(());
        }
    };
    swap(dir).map_err(failed)?;
    info!("compacted {} from {before} to {after} bytes", dir.display());
    Ok(())
}

fn swap(dir: &Path) -> io::Result<()> {
    fs::rename(dir, going(dir))?;
    fs::rename(coming(dir), dir)?;
    dir.parent().map_or(Ok(()), sync_dir)?;
    fs::remove_dir_all(going(dir))
}

/// What a first walk over the log finds.
struct Survey {
    /// The last committed record of each key.
    last: HashMap<Vec<u8>, i64>,
    /// Committed records, and those of aborted transactions.
    records: usize,
    /// Keys whose last record is a tombstone, long enough ago: those records go too.
    deleted: HashSet<i64>,
    /// From here on nothing is touched: transactions are open.
    stable: i64,
    /// The base offset of each producer's newest batch and marker. They stay, because what is known
    /// of a producer is found again from them.
    newest: HashMap<(i64, bool), i64>,
}

impl Survey {
    /// `None` if the keys do not fit in memory.
    fn of(
        log: &Log,
        producers: &Producers,
        now_ms: i64,
        effective: &Effective,
    ) -> io::Result<Option<Self>> {
        let mut survey = Survey {
            last: HashMap::new(),
            records: 0,
            deleted: HashSet::new(),
            stable: producers.stable(log.end()),
            newest: HashMap::new(),
        };
        let deleted_before = now_ms.saturating_sub(effective.delete_retention_ms);
        let (mut key_bytes, mut full) = (0, false);
        for_each(log, |found, batch| {
            let header = &found.header;
            if header.is_idempotent() {
                survey.newest.insert((header.producer_id, header.is_control()), header.base_offset);
            }
            if header.is_control() || header.base_offset >= survey.stable {
                return Ok(());
            }
            survey.records += header.records as usize;
            full |= survey.last.len() > KEYS_MAX || key_bytes > KEY_BYTES_MAX;
            if full || is_aborted(header, producers) {
                return Ok(());
            }
            let Ok(records) = records_of(header, batch) else { return Ok(()) };
            for record in Records::new(&records).flatten() {
                let Some(key) = record.key else { continue };
                let offset = header.base_offset + i64::from(record.offset_delta);
                let time = header.base_timestamp.saturating_add(record.timestamp_delta);
                if record.value.is_none() && time < deleted_before {
                    survey.deleted.insert(offset);
                }
                if survey.last.insert(key.to_vec(), offset).is_none() {
                    key_bytes += key.len();
                }
            }
            Ok(())
        })?;
        Ok((!full).then_some(survey))
    }

    /// Writes what is left into a new folder, and returns its bytes.
    fn rewrite(&self, log: &Log, dir: &Path, producers: &Producers) -> io::Result<u64> {
        let coming = coming(dir);
        fs::create_dir_all(&coming)?;
        if dir.join(START_FILE).exists() {
            fs::copy(dir.join(START_FILE), coming.join(START_FILE))?;
        }
        replace_file(&coming.join(GAPS_FILE), log.end().to_string().as_bytes())?;
        // The beginning and the end of the log stay where they are, even if the batches there go.
        for base in log.segments().iter().map(|segment| segment.base).take(1).chain([log.end()]) {
            File::create(Segment::new(&coming, base, 0).path)?.sync_data()?;
        }
        let mut written = 0;
        let mut file: Option<(i64, File)> = None;
        // Transactions of which records are left need their marker.
        let mut left: HashSet<i64> = HashSet::new();
        for_each_in_segments(log, |segment, found, batch| {
            let Some(bytes) = self.remains(found, batch, producers, &mut left) else { return Ok(()) };
            if file.as_ref().is_none_or(|(base, _)| *base != segment.base) {
                finish(file.take())?;
                let path = Segment::new(&coming, segment.base, 0).path;
                file = Some((segment.base, OpenOptions::new().append(true).create(true).open(path)?));
            }
            written += bytes.len() as u64;
            file.as_mut().map_or(Ok(()), |(_, file)| file.write_all(&bytes))
        })?;
        finish(file)?;
        sync_dir(&coming)?;
        Ok(written)
    }

    /// What is left of a batch; `None` if nothing is.
    fn remains(
        &self,
        found: &Found,
        batch: &[u8],
        producers: &Producers,
        left: &mut HashSet<i64>,
    ) -> Option<Vec<u8>> {
        let header = &found.header;
        let newest = self.newest.get(&(header.producer_id, header.is_control()));
        let is_newest = newest == Some(&header.base_offset);
        if header.is_control() {
            return (left.remove(&header.producer_id) || is_newest).then(|| batch.to_vec());
        }
        let remains = if header.base_offset >= self.stable || is_newest {
            Some(batch.to_vec())
        } else if is_aborted(header, producers) {
            None
        } else {
            self.last_records(header, batch)
        };
        if remains.is_some() && header.is_transactional() {
            left.insert(header.producer_id);
        }
        remains
    }

    /// A batch of those records that are the last of their keys. What cannot be looked into stays.
    fn last_records(&self, header: &BatchHeader, batch: &[u8]) -> Option<Vec<u8>> {
        let Ok(records) = records_of(header, batch) else { return Some(batch.to_vec()) };
        let (mut kept, mut count, mut all) = (Vec::new(), 0, 0);
        for record in Records::new(&records) {
            let Ok(record) = record else { return Some(batch.to_vec()) };
            let offset = header.base_offset + i64::from(record.offset_delta);
            let last = record.key.is_none_or(|key| self.last.get(key) == Some(&offset));
            all += 1;
            if last && !self.deleted.contains(&offset) {
                kept.extend_from_slice(record.bytes);
                count += 1;
            }
        }
        match count {
            0 => None,
            count if count == all => Some(batch.to_vec()),
            count => Some(header.with_records(&kept, count)),
        }
    }
}

fn is_aborted(header: &BatchHeader, producers: &Producers) -> bool {
    header.is_transactional() && producers.is_aborted(header.producer_id, header.base_offset)
}

fn finish(file: Option<(i64, File)>) -> io::Result<()> {
    file.map_or(Ok(()), |(_, file)| file.sync_data())
}

fn for_each(log: &Log, mut each: impl FnMut(&Found, &[u8]) -> io::Result<()>) -> io::Result<()> {
    for_each_in_segments(log, |_, found, batch| each(found, batch))
}

fn for_each_in_segments(
    log: &Log,
    mut each: impl FnMut(&Segment, &Found, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    for segment in log.segments() {
        let file = segment.open()?;
        let mut scanner = Scanner::new(&file, 0, segment.size);
        while let Step::Batch(found) = scanner.step(ScanDepth::Headers)? {
            each(segment, &found, scanner.batch(&found)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
