use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cdr_model::progress::SinkTargets;
use cdr_model::{PartIndex, Scenario, Shard};
use tempfile::TempDir;

use super::*;
use crate::delivery::pace::Pace;
use crate::files::DirectorySink;

const CSV: FileFormat = FileFormat::Csv(cdr_model::LineEnd::Lf);

/// A delivery of a run of six parts into a folder.
fn delivery(folder: &Path, shard: Shard, lease: Lease) -> FileDelivery {
    let scenario = Scenario { line_count: 50, total_seconds: 300, ..Scenario::default() };
    let plan = Plan::new(&scenario, shard).unwrap();
    assert_eq!(plan.files(), 6);
    let targets = SinkTargets::from([("directory".to_owned(), folder.display().to_string())]);
    let delivery = FileDelivery {
        sink: Arc::new(DirectorySink::new(folder)),
        generator: Arc::new(Generator::new(&scenario).unwrap()),
        format: CSV,
        clock: Arc::new(SimulatedClock::new(Pace::Max, &plan, Micros(0))),
        cursors: Arc::default(),
        lease: Arc::new(lease),
        shutdown: CancellationToken::new(),
        counters: Arc::new(Counters::new(plan.parts(), plan.streams().count(), &targets)),
        plan,
    };
    delivery.cursors.enlist("directory", delivery.plan.first());
    delivery
}

fn names(folder: &TempDir) -> BTreeSet<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn is_temporary(name: &str) -> bool {
    name.ends_with(".part")
}

#[tokio::test]
async fn what_earlier_sessions_left_of_the_shards_parts_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let delivery = delivery(folder.path(), Shard::new(1, 2).unwrap(), Lease::default());
    let (plan, first) = (delivery.plan.clone(), delivery.plan.first());
    let name = |index: u64| plan.part(PartIndex(index)).file_name(Stream::Voice, CSV);
    let ours = [
        format!(".{}.0123456789abcdef-7.part", name(0)),
        format!(".{}.part", name(2)),
        format!(".{}.fedcba9876543210-0.part", name(4)),
    ];
    let others = [
        format!(".{}.0123456789abcdef-7.part", name(1)),
        format!(".{}.0123456789abcdef-7.part", name(6)),
        ".cdr_voice_19990101_000000.csv.part".to_owned(),
        ".notes.txt.part".to_owned(),
        ".write-check.part".to_owned(),
        "cdr_voice_19990101_000000.csv".to_owned(),
    ];
    for name in ours.iter().chain(&others) {
        fs::write(folder.path().join(name), "").unwrap();
    }
    delivery.run(first).await.unwrap();
    let mut expected = BTreeSet::from(others);
    for part in [0, 2, 4].map(|index| plan.part(PartIndex(index))) {
        expected.extend(plan.streams().map(|stream| part.file_name(stream, CSV)));
    }
    assert_eq!(names(&folder), expected);
}

#[tokio::test]
async fn files_of_a_lease_that_ends_never_get_their_names_and_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let delivery = delivery(folder.path(), Shard::WHOLE, Lease::suspect());
    let (lease, cursors, first) =
        (delivery.lease.clone(), delivery.cursors.clone(), delivery.plan.first());
    let running = tokio::spawn(delivery.run(first));
    lease.waiting().await;
    assert!(names(&folder).iter().all(|name| is_temporary(name)), "{:?}", names(&folder));
    lease.end();
    running.await.unwrap().unwrap();
    // Whoever ends waits for the threads that write.
    assert_eq!(names(&folder), BTreeSet::new());
    assert_eq!(cursors.snapshot().0["directory"], first, "the cursor stays before them");
}

#[tokio::test]
async fn files_of_a_suspect_lease_get_their_names_when_a_commit_renews_it() {
    let folder = tempfile::tempdir().unwrap();
    let delivery = delivery(folder.path(), Shard::WHOLE, Lease::suspect());
    let (lease, first) = (delivery.lease.clone(), delivery.plan.first());
    let running = tokio::spawn(delivery.run(first));
    lease.waiting().await;
    lease.renew(std::time::Instant::now());
    running.await.unwrap().unwrap();
    assert_eq!(names(&folder).len(), 12);
    assert!(!names(&folder).iter().any(|name| is_temporary(name)), "{:?}", names(&folder));
}

#[tokio::test]
async fn a_delivery_that_fails_ends_with_the_error_and_leaves_its_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let delivery = delivery(folder.path(), Shard::WHOLE, Lease::default());
    let (cursors, plan) = (delivery.cursors.clone(), delivery.plan.clone());
    // A folder in a file's place cannot be replaced.
    fs::create_dir(folder.path().join(plan.part(PartIndex(2)).file_name(Stream::Data, CSV))).unwrap();
    let error = delivery.run(plan.first()).await.unwrap_err();
    assert!(matches!(error, FileSinkError::Directory(_)), "{error}");
    let (cursors, is_final) = cursors.snapshot();
    assert!(is_final && cursors["directory"] <= PartIndex(2), "{cursors:?}");
}
