use proptest::prelude::*;

use super::testing::batch;
use super::*;

const KEEPING: Keeping =
    Keeping { segment_bytes: 400, segment_ms: None, retention_bytes: None, retention_ms: None };

/// The log in a folder, and the first offsets of its batches.
fn open(dir: &Path) -> (Log, Vec<i64>) {
    let mut offsets = Vec::new();
    let log = Log::open(dir, Look::Whole, 0, &mut |found| offsets.push(found.header.base_offset));
    (log.unwrap(), offsets)
}

/// Appends batches of two records, and gives the first offset of each.
fn fill(log: &mut Log, batches: usize) -> Vec<i64> {
    let append = |number: usize| {
        let key = format!("key-{number}");
        let bytes = batch(&[(&key, Some("value")), ("other", None)]).bytes();
        let header = BatchHeader::check(&bytes).unwrap();
        log.append(&header, &bytes, &KEEPING, 0).unwrap()
    };
    (0..batches).map(append).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn batches_are_found_again_over_several_files() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, none) = open(dir.path());
    assert_eq!((log.start(), log.end(), none), (0, 0, vec![]));
    let written = fill(&mut log, 20);
    assert_eq!(written, (0..20).map(|number| 2 * number).collect::<Vec<i64>>());
    assert!(files(dir.path()).len() > 3);
    let size = log.size();
    drop(log);
    let (mut log, found) = open(dir.path());
    assert_eq!((found, log.end(), log.size()), (written, 40, size));
    assert_eq!(fill(&mut log, 1), [40]);
}

#[test]
fn the_oldest_files_go_when_the_rest_is_large_enough() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    fill(&mut log, 20);
    let (size, before) = (log.size(), files(dir.path()).len());
    let keeping = Keeping { retention_bytes: Some(size / 2), ..KEEPING };
    log.retain(&keeping, log.end(), 0).unwrap();
    assert!(log.size() >= size / 2 && log.size() < size && log.start() > 0);
    assert!(files(dir.path()).len() < before);
    let start = log.start();
    drop(log);
    assert_eq!(open(dir.path()).0.start(), start);
}

#[test]
fn no_file_goes_that_holds_an_open_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    fill(&mut log, 20);
    let keeping = Keeping { retention_bytes: Some(0), ..KEEPING };
    log.retain(&keeping, 1, 0).unwrap();
    assert_eq!(log.start(), 0);
}

#[test]
fn what_was_deleted_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    fill(&mut log, 20);
    log.delete_before(7).unwrap();
    assert_eq!(log.start(), 7);
    drop(log);
    assert_eq!(open(dir.path()).0.start(), 7);
}

#[test]
fn damage_in_an_older_file_is_not_cut_away() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path());
    fill(&mut log, 20);
    drop(log);
    let oldest = &files(dir.path())[0];
    let mut bytes = fs::read(oldest).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(oldest, bytes).unwrap();
    let error = Log::open(dir.path(), Look::Whole, 0, &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

proptest! {
    /// Cut off anywhere, or changed anywhere: exactly the whole batches before that are left of the
    /// newest file, and the log goes on behind them.
    #[test]
    fn of_a_torn_file_the_whole_batches_are_left(at in any::<prop::sample::Index>(), cut in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path());
        let keeping = Keeping { segment_bytes: 1 << 20, ..KEEPING };
        let bytes = batch(&[("key", Some("value")), ("other", None)]).bytes();
        let header = BatchHeader::check(&bytes).unwrap();
        for _ in 0..5 {
            log.append(&header, &bytes, &keeping, 0).unwrap();
        }
        drop(log);
        // Kafka's checksum leaves out the offset and the leader's epoch, which brokers fill in.
        let unchecked = at.index(5 * bytes.len()) % bytes.len();
        prop_assume!(cut || !(unchecked < 8 || (12..16).contains(&unchecked)));
        let file = files(dir.path()).pop().unwrap();
        let mut whole = fs::read(&file).unwrap();
        let at = at.index(whole.len());
        match cut {
            true => whole.truncate(at),
            false => whole[at] ^= 0x10,
        }
        fs::write(&file, &whole).unwrap();
        let (mut log, found) = open(dir.path());
        let left = (at / bytes.len()) as i64;
        prop_assert_eq!(&found, &(0..left).map(|number| 2 * number).collect::<Vec<_>>());
        prop_assert_eq!(log.end(), 2 * left);
        let appended = log.append(&header, &bytes, &keeping, 0).unwrap();
        prop_assert_eq!(appended, 2 * left);
        drop(log);
        prop_assert_eq!(open(dir.path()).1.len() as i64, left + 1);
    }
}
