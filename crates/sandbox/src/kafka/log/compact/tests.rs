use std::collections::BTreeMap;

use super::*;
use crate::kafka::log::Keeping;
use crate::kafka::log::testing::{NewBatch, batch};

const KEEPING: Keeping =
    Keeping { segment_bytes: 8_000, segment_ms: None, retention_bytes: None, retention_ms: None };

const EFFECTIVE: Effective = Effective {
    keeping: KEEPING,
    compact: true,
    dirty_ratio: 0.1,
    delete_retention_ms: 1_000,
    max_message_bytes: 1 << 20,
};

/// Long behind the records' times.
const NOW_MS: i64 = 1_000_000;

fn open(dir: &Path) -> Log {
    Log::open(dir, Look::Whole, NOW_MS, &mut |_| {}).unwrap()
}

fn append(log: &mut Log, new: &NewBatch) {
    let bytes = new.bytes();
    let header = BatchHeader::check(&bytes).unwrap();
    log.append(&header, &bytes, &KEEPING, 0).unwrap();
}

/// Offset, key and value of all records.
fn records(dir: &Path) -> Vec<(i64, String, Option<String>)> {
    let log = open(dir);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut all = Vec::new();
    for segment in &log.segments {
        let file = File::open(&segment.path).unwrap();
        let mut scanner = Scanner::new(&file, 0, segment.size);
        while let Step::Batch(found) = scanner.step(Look::Whole).unwrap() {
            let bytes = scanner.batch(&found).unwrap().to_vec();
            let records = records_of(&found.header, &bytes).unwrap();
            for record in Records::new(&records).map(Result::unwrap) {
                let offset = found.header.base_offset + i64::from(record.offset_delta);
                all.push((offset, text(record.key.unwrap_or_default()), record.value.map(text)));
            }
        }
    }
    all
}

/// A log of `count` records over ten keys, of which the first are superseded again and again.
fn filled(dir: &Path, count: usize) {
    let mut log = open(dir);
    for number in 0..count {
        let (key, value) = (format!("key-{}", number % 10), format!("{number:0>100}"));
        append(&mut log, &batch(&[(&key, Some(&value))]));
    }
}

#[test]
fn the_last_record_of_each_key_is_left_at_its_offset() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("topic-0");
    filled(&dir, 500);
    let before = records(&dir);
    let last: BTreeMap<_, _> = before.into_iter().map(|record| (record.1.clone(), record)).collect();
    compact(&dir, &EFFECTIVE, Look::Whole, NOW_MS).unwrap();
    let after = records(&dir);
    assert_eq!(after.len(), 10);
    assert!(after.iter().all(|record| last[&record.1] == *record), "{after:?}");
    // The log goes on where it was.
    assert_eq!(open(&dir).end(), 500);
}

#[test]
fn a_log_in_which_little_is_superseded_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("topic-0");
    filled(&dir, 500);
    let before = records(&dir);
    let effective = Effective { dirty_ratio: 1.0, ..EFFECTIVE };
    compact(&dir, &effective, Look::Whole, NOW_MS).unwrap();
    assert_eq!(records(&dir), before);
}

#[test]
fn a_key_that_was_deleted_is_gone_after_its_time() {
    for (now_ms, left) in [(1_500, true), (NOW_MS, false)] {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("topic-0");
        filled(&dir, 500);
        let mut log = open(&dir);
        append(&mut log, &batch(&[("key-3", None)]));
        drop(log);
        compact(&dir, &EFFECTIVE, Look::Whole, now_ms).unwrap();
        let found = records(&dir).into_iter().find(|record| record.1 == "key-3");
        assert_eq!(found, left.then(|| (500, "key-3".to_owned(), None)));
    }
}

#[test]
fn a_crash_in_the_middle_leaves_one_of_the_two_logs() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("topic-0");
    filled(&dir, 500);
    let before = records(&dir);
    // The rewritten log was not complete yet.
    fs::create_dir(coming(&dir)).unwrap();
    finish_swap(&dir).unwrap();
    assert_eq!(records(&dir), before);
    // The old one had been moved away, and the new one not yet put in its place.
    filled(&coming(&dir), 7);
    fs::rename(&dir, going(&dir)).unwrap();
    finish_swap(&dir).unwrap();
    assert_eq!(records(&dir).len(), 7);
    assert!(!coming(&dir).exists() && !going(&dir).exists());
}
