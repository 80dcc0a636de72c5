use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::kafka::batch::testing::{NewBatch, batch};

const RETENTION: Retention =
    Retention { segment_bytes: 500, segment_ms: None, retention_bytes: None, retention_ms: None };

fn open(dir: &Path) -> Log {
    Log::open(dir, ScanDepth::Whole, 0, &mut |_| ()).unwrap()
}

fn append(log: &mut Log, batch: &NewBatch, retention: &Retention, now_ms: i64) -> i64 {
    let bytes = batch.bytes();
    log.append(&BatchHeader::check(&bytes).unwrap(), &bytes, retention, now_ms).unwrap()
}

fn two() -> NewBatch {
    batch(&[("a", Some("1")), ("b", Some("2"))])
}

/// The log's files by name, with their bytes.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_str().unwrap().into(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn files_are_closed_before_they_are_too_large_or_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for _ in 0..20 {
        append(&mut log, &two(), &RETENTION, 0);
    }
    let sizes: Vec<usize> = files(dir.path()).values().map(Vec::len).collect();
    assert!(sizes.len() > 3 && sizes.iter().all(|&size| size <= 500), "{sizes:?}");

    let retention = Retention { segment_ms: Some(100), ..RETENTION };
    let count = log.segments.len();
    append(&mut log, &two(), &retention, 99);
    append(&mut log, &two(), &retention, 100);
    assert_eq!(log.segments.len(), count + 1);
    assert_eq!(log.segments.last().unwrap().base, log.end() - 2);
}

#[test]
fn a_batch_larger_than_a_file_has_a_file_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, &two(), &RETENTION, 0);
    let large = "x".repeat(1_000);
    append(&mut log, &batch(&[("a", Some(&large))]), &RETENTION, 0);
    append(&mut log, &two(), &RETENTION, 0);
    assert_eq!(files(dir.path()).len(), 3);
    assert_eq!(open(dir.path()).end(), 5);
}

#[test]
fn the_oldest_files_go_when_enough_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for _ in 0..40 {
        append(&mut log, &two(), &RETENTION, 0);
    }
    let retention = Retention { retention_bytes: Some(1_200), ..RETENTION };
    log.apply_retention(&retention, 5, 0).unwrap();
    assert!(log.start() <= 5, "what is behind an open transaction stays");
    log.apply_retention(&retention, log.end(), 0).unwrap();
    assert!((1_200..1_700).contains(&log.size()), "{}", log.size());
    assert_eq!(log.start(), log.segments[0].base);
    let again = open(dir.path());
    assert_eq!((again.start(), again.end()), (log.start(), 80));
}

#[test]
fn files_go_whose_newest_record_is_old() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for time in 0..40 {
        append(&mut log, &two().at(time * 1_000), &RETENTION, 0);
    }
    let retention = Retention { retention_ms: Some(10_000), ..RETENTION };
    log.apply_retention(&retention, log.end(), 39_000).unwrap();
    let newest_of_first = log.segments[0].newest.unwrap().0;
    assert!((29_000..35_000).contains(&newest_of_first), "{newest_of_first}");
    assert_eq!(open(dir.path()).start(), log.start());
}

#[test]
fn deleted_records_stay_deleted_and_their_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for _ in 0..20 {
        append(&mut log, &two(), &RETENTION, 0);
    }
    log.delete_before(21).unwrap();
    assert_eq!(open(dir.path()).start(), 21);
    log.apply_retention(&RETENTION, log.end(), 0).unwrap();
    assert_eq!(log.start(), 21);
    assert!(log.segments[0].base <= 21 && log.segments[1].base > 21);
}

#[test]
fn times_are_found_to_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for time in 0..40 {
        append(&mut log, &two().at(time * 10), &RETENTION, 0);
    }
    for log in [&log, &open(dir.path())] {
        assert_eq!(log.find_time(0).unwrap(), Some((0, 0)));
        assert_eq!(log.find_time(1).unwrap(), Some((1, 1)));
        assert_eq!(log.find_time(2).unwrap(), Some((10, 2)));
        assert_eq!(log.find_time(391).unwrap(), Some((391, 79)));
        assert_eq!(log.find_time(392).unwrap(), None);
        assert_eq!(log.newest().unwrap(), Some((391, 79)));
    }
}

#[test]
fn deleted_records_are_not_found_by_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    append(&mut log, &two().at(1_000), &RETENTION, 0);
    append(&mut log, &two().at(10), &RETENTION, 0);
    append(&mut log, &two().at(500), &RETENTION, 0);
    assert_eq!(log.find_time(400).unwrap(), Some((1_000, 0)));
    log.delete_before(2).unwrap();
    assert_eq!(log.find_time(400).unwrap(), Some((500, 4)));
    log.delete_before(5).unwrap();
    assert_eq!(log.find_time(501).unwrap(), Some((501, 5)));
    assert_eq!(log.find_time(500).unwrap(), Some((501, 5)));
    assert_eq!(log.find_time(502).unwrap(), None);
}

/// The tail of a batch's header may lie behind what is read at once.
#[test]
fn every_offset_is_read_from_any_place_and_with_any_bound() {
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention { segment_bytes: 1 << 20, ..RETENTION };
    for bytes in [1_000, 1_021, 65_400, 65_450, 65_475] {
        let dir = dir.path().join(bytes.to_string());
        let mut log = open(&dir);
        let value = "x".repeat(bytes);
        for _ in 0..(200_000 / bytes) {
            append(&mut log, &batch(&[("key", Some(&value))]), &retention, 0);
        }
        for from in 0..log.end() {
            for bytes_max in [1, 61, 2_000] {
                let bounds =
                    segment::ReadBounds { from, before: log.end(), bytes_max, at_least_one: true };
                let read = log.ranges(from)[0].read(&bounds).unwrap();
                assert_eq!(BatchHeader::check(&read).unwrap().base_offset, from, "{bytes} {bytes_max}");
            }
        }
    }
}

#[test]
fn damage_before_the_newest_file_is_reported_and_nothing_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for _ in 0..20 {
        append(&mut log, &two(), &RETENTION, 0);
    }
    let first = log.segments[0].path.clone();
    let mut bytes = fs::read(&first).unwrap();
    bytes[200] ^= 1;
    fs::write(&first, &bytes).unwrap();
    let before = files(dir.path());
    let refused = Log::open(dir.path(), ScanDepth::Whole, 0, &mut |_| ()).unwrap_err();
    assert!(matches!(refused, Error::Damaged { path, .. } if path == first));
    assert_eq!(files(dir.path()), before);
}

#[test]
fn a_file_of_somebody_else_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.log"), "mine").unwrap();
    let refused = Log::open(dir.path(), ScanDepth::Whole, 0, &mut |_| ()).unwrap_err();
    assert!(matches!(refused, Error::Foreign { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to the newest file's end, whole batches before it survive, and the log
    /// goes on behind them.
    #[test]
    fn a_prefix_of_whole_batches_survives(
        at in any::<prop::sample::Index>(),
        cut in any::<bool>(),
        garbage in prop::collection::vec(any::<u8>(), 1..100),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path());
        let mut ends = Vec::new();
        for _ in 0..11 {
            append(&mut log, &two(), &RETENTION, 0);
            ends.push((log.segments.last().unwrap().base, log.segments.last().unwrap().size, log.end()));
        }
        let newest = log.segments.last().unwrap().path.clone();
        let base = log.segments.last().unwrap().base;
        drop(log);
        let mut bytes = fs::read(&newest).unwrap();
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            let end = bytes.len().min(at + garbage.len());
            bytes[at..end].copy_from_slice(&garbage[..end - at]);
        }
        let intact = fs::read(&newest).unwrap().iter().zip(&bytes).take_while(|(a, b)| a == b).count() as u64;
        fs::write(&newest, &bytes).unwrap();

        let whole = ends.iter().filter(|(of, size, _)| *of < base || *size <= intact).map(|end| end.2).max();
        let mut log = open(dir.path());
        prop_assert_eq!(log.end(), whole.unwrap_or(0));
        let end = log.end();
        prop_assert_eq!(append(&mut log, &two(), &RETENTION, 0), end);
        prop_assert_eq!(open(dir.path()).end(), end + 2);
    }
}
