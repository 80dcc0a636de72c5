use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::kafka::batch::testing::{NewBatch, batch, compressed, sealed};
use crate::kafka::batch::{HEADER_BYTES, Outcome};
use crate::kafka::config::Config;
use crate::kafka::partition::{Partition, Read};
use crate::kafka::topic_config::Overrides;

fn effective() -> Effective {
    let set =
        [("cleanup.policy", "compact"), ("segment.bytes", "16384"), ("delete.retention.ms", "1000")];
    let owned = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Effective::of(&Overrides::from(owned), &Config::new(""))
}

fn open(dir: &Path) -> Partition {
    Partition::open(dir, ScanDepth::Whole, 0).unwrap()
}

fn send(partition: &Partition, batch: &NewBatch) {
    send_bytes(partition, &batch.bytes());
}

fn send_bytes(partition: &Partition, bytes: &[u8]) {
    let header = BatchHeader::check(bytes).unwrap();
    partition.produce(&header, bytes, &effective().retention, 0, || Ok(())).unwrap();
}

fn end(partition: &Partition, producer: i64, outcome: Outcome) {
    partition.end_transaction((producer, 0), outcome, &effective().retention, 0).unwrap();
}

fn compact_at(dir: &Path, now_ms: i64) {
    compact(dir, &effective(), ScanDepth::Whole, now_ms).unwrap();
}

/// Offset, key and value of all committed records.
fn committed(partition: &Partition) -> Vec<(i64, String, Option<String>)> {
    let mut records = Vec::new();
    let mut from = partition.offsets().start;
    while from < partition.offsets().stable {
        let read = Read { from, committed_only: true, bytes_max: 1 << 20, at_least_one: true };
        let portion = partition.read(&read).unwrap();
        let mut rest = &portion.batches[..];
        if rest.is_empty() {
            break;
        }
        while let Ok(header) = BatchHeader::check(rest) {
            let aborted = portion.aborted.iter().any(|aborted| {
                let within = (aborted.first_offset..aborted.last_offset).contains(&header.base_offset);
                header.is_transactional() && aborted.producer_id == header.producer_id && within
            });
            if !header.is_control() && !aborted {
                let body = records_of(&header, &rest[..header.size]).unwrap();
                for record in Records::new(&body).map(Result::unwrap) {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    let offset = header.base_offset + i64::from(record.offset_delta);
                    records.push((offset, text(record.key.unwrap()), record.value.map(text)));
                }
            }
            (from, rest) = (header.next_offset(), &rest[header.size..]);
        }
    }
    records
}

fn last_of_each(records: &[(i64, String, Option<String>)]) -> BTreeMap<String, (i64, Option<String>)> {
    records.iter().cloned().map(|(offset, key, value)| (key, (offset, value))).collect()
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("0");
    let partition = open(&dir);
    for round in 0..500 {
        let value = format!("round {round}");
        send(&partition, &batch(&[("a", Some(&value)), (&format!("b{}", round % 7), Some(&value))]));
    }
    let (before, offsets, size) = (committed(&partition), partition.offsets(), partition.size());
    drop(partition);
    compact_at(&dir, 0);
    let partition = open(&dir);
    let after = committed(&partition);
    assert_eq!(after.len(), 8);
    assert_eq!(last_of_each(&after), last_of_each(&before));
    assert_eq!(partition.offsets(), offsets);
    assert!(partition.size() < size / 10);
    send(&partition, &batch(&[("a", Some("new"))]));
    assert_eq!(partition.offsets().end, offsets.end + 1);
}

#[test]
fn what_was_aborted_does_not_win_and_what_is_open_stays() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("0");
    let partition = open(&dir);
    for round in 0..200 {
        let value = format!("round {round}");
        let (producer, outcome) =
            if round % 2 == 0 { (1, Outcome::Commit) } else { (2, Outcome::Abort) };
        send(&partition, &batch(&[("a", Some(&value))]).in_transaction(producer, 0, round / 2));
        end(&partition, producer, outcome);
    }
    send(&partition, &batch(&[("a", Some("open"))]).in_transaction(3, 0, 0));
    let offsets = partition.offsets();
    drop(partition);
    compact_at(&dir, 0);
    let partition = open(&dir);
    assert_eq!(partition.offsets(), offsets);
    assert_eq!(committed(&partition), [(396, "a".to_owned(), Some("round 198".to_owned()))]);
    end(&partition, 3, Outcome::Commit);
    assert_eq!(committed(&partition).len(), 2);
    // What is known of producers is found again: their next batches fit, and old ones are known.
    send(&partition, &batch(&[("a", None)]).in_transaction(1, 0, 100));
    end(&partition, 1, Outcome::Commit);
    let end_before = partition.offsets().end;
    send(&partition, &batch(&[("a", Some("round 199"))]).in_transaction(2, 0, 99));
    assert_eq!(partition.offsets().end, end_before, "a duplicate");
}

#[test]
fn a_deleted_key_goes_when_readers_had_time_to_see_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("0");
    let partition = open(&dir);
    for _ in 0..300 {
        send(&partition, &batch(&[("gone", Some("x")), ("there", Some("y"))]).at(0));
    }
    send(&partition, &batch(&[("gone", None)]).at(0));
    drop(partition);
    compact_at(&dir, 500);
    let found = committed(&open(&dir));
    assert!(found.iter().any(|(_, key, value)| key == "gone" && value.is_none()));
    // Enough has to be superseded for another look to be worth it.
    let partition = open(&dir);
    for _ in 0..300 {
        send(&partition, &batch(&[("there", Some("y"))]).at(0));
    }
    drop(partition);
    compact_at(&dir, 5_000);
    let keys: Vec<String> = committed(&open(&dir)).into_iter().map(|record| record.1).collect();
    assert_eq!(keys, ["there"]);
}

#[test]
fn a_log_with_little_to_gain_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("0");
    let partition = open(&dir);
    for key in 0..1_000 {
        send(&partition, &batch(&[(&format!("key {key}"), Some("x"))]));
    }
    let size = partition.size();
    drop(partition);
    compact_at(&dir, 0);
    assert_eq!(open(&dir).size(), size);
}

#[test]
fn a_log_that_cannot_be_rewritten_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("0");
    let partition = open(&dir);
    for _ in 0..500 {
        send(&partition, &batch(&[("a", Some("the same again and again"))]));
    }
    let before = committed(&partition);
    drop(partition);
    // Where the new log would be written, nothing can be.
    fs::write(coming(&dir), "").unwrap();
    compact_at(&dir, 0);
    assert_eq!(committed(&open(&dir)), before);
    fs::remove_file(coming(&dir)).unwrap();
    compact_at(&dir, 0);
    assert_eq!(committed(&open(&dir)).len(), 1);
}

#[test]
fn a_swap_that_was_interrupted_is_finished_or_undone() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("0");
    let with = |path: &Path, content: &str| {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join("mark"), content).unwrap();
    };
    let mark = || fs::read_to_string(dir.join("mark")).unwrap();
    // While the new log is written, the old one counts.
    with(&dir, "old");
    with(&coming(&dir), "new, not whole");
    finish_swap(&dir).unwrap();
    assert_eq!(mark(), "old");
    // Between the two renamings, the new one is whole.
    with(&coming(&dir), "new");
    fs::rename(&dir, going(&dir)).unwrap();
    finish_swap(&dir).unwrap();
    assert_eq!(mark(), "new");
    // After both, the old one only has to go.
    with(&going(&dir), "old");
    finish_swap(&dir).unwrap();
    assert_eq!(mark(), "new");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn compressed_batches_lose_what_is_superseded_too() {
    for compression in 1..=4 {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("0");
        let partition = open(&dir);
        for round in 0..400 {
            let keys = [format!("a{}", round % 5), format!("once {round}")];
            let value = format!("round {round}");
            let (first, second) = ((keys[0].as_str(), Some(value.as_str())), (keys[1].as_str(), None));
            let records = if round % 100 == 0 { vec![first, second] } else { vec![first] };
            send_bytes(&partition, &compressed(&batch(&records).bytes(), compression));
        }
        let before = last_of_each(&committed(&partition));
        drop(partition);
        compact_at(&dir, 0);
        let after = committed(&open(&dir));
        assert_eq!(after.len(), 9, "compression {compression}");
        assert_eq!(last_of_each(&after), before);
    }
}

/// The records of a batch, stored under another compression than they have.
fn unreadable(key: &str) -> Vec<u8> {
    let mut bytes = batch(&[(key, Some("nobody can read this"))]).bytes();
    bytes[22] |= 1;
    sealed(bytes)
}

#[test]
fn a_batch_that_cannot_be_read_stays_whole() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("0");
    let partition = open(&dir);
    send_bytes(&partition, &unreadable("a"));
    let mut cut =
        batch(&[("a", Some("of this, the second record is cut off")), ("b", Some("x"))]).bytes();
    // The length of the last value.
    let length_at = cut.len() - 3;
    cut[length_at] ^= 0x40;
    let cut = sealed(cut);
    send_bytes(&partition, &cut);
    for round in 0..400 {
        send(&partition, &batch(&[("a", Some(&format!("round {round}")))]));
    }
    let size = partition.size();
    drop(partition);
    compact_at(&dir, 0);
    let partition = open(&dir);
    assert!(partition.size() < size / 10);
    let read = Read { from: 0, committed_only: true, bytes_max: 1 << 20, at_least_one: true };
    let batches = partition.read(&read).unwrap().batches;
    let first = BatchHeader::check(&batches).unwrap();
    let second = BatchHeader::check(&batches[first.size..]).unwrap();
    assert_eq!(batches[HEADER_BYTES..first.size], unreadable("a")[HEADER_BYTES..]);
    assert_eq!(batches[first.size..][HEADER_BYTES..second.size], cut[HEADER_BYTES..]);
    assert_eq!((first.base_offset, second.base_offset), (0, 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was committed, aborted or left open: readers find the same last records behind it.
    #[test]
    fn compaction_changes_nothing_for_those_who_want_the_last_of_each_key(
        steps in prop::collection::vec((0..4_i64, 0..6_u8, any::<bool>(), 0..4_u8), 150..300),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("0");
        let partition = open(&dir);
        let mut sequences = [0; 4];
        for (number, (producer, key, commit, what)) in steps.into_iter().enumerate() {
            let (key, value) = (format!("key {key}"), format!("value {number:0>60}"));
            let new = batch(&[(&key, Some(&value)), ("all", Some(&value))]);
            match (producer, what) {
                (0, _) => send(&partition, &new),
                (_, 0) => end(&partition, producer, if commit { Outcome::Commit } else { Outcome::Abort }),
                _ => {
                    let sequence = &mut sequences[producer as usize];
                    send(&partition, &new.in_transaction(producer, 0, *sequence));
                    *sequence += 2;
                }
            }
        }
        let (before, offsets) = (committed(&partition), partition.offsets());
        drop(partition);
        compact_at(&dir, 0);
        let partition = open(&dir);
        prop_assert_eq!(partition.offsets(), offsets);
        prop_assert_eq!(last_of_each(&committed(&partition)), last_of_each(&before));
        for producer in 1..4_i64 {
            // What is known of each producer is found again, and what it left open can be ended.
            send(&partition, &batch(&[("z", None)]).in_transaction(producer, 0, sequences[producer as usize]));
            end(&partition, producer, Outcome::Commit);
        }
        prop_assert_eq!(partition.offsets().stable, partition.offsets().end);
    }
}
