use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cdr_model::{Scenario, Shard};
use tempfile::TempDir;

use super::*;
use crate::delivery::pace::Pace;

/// A sink of a run of six parts, into a folder.
fn files(folder: &Path, shard: Shard, board: Board) -> Files {
    let scenario = Scenario { line_count: 50, total_seconds: 300, ..Scenario::default() };
    let plan = Plan::new(&scenario, shard).unwrap();
    assert_eq!(plan.files(), 6);
    let files = Files {
        store: Store::Directory(DirectoryStore::open(folder).unwrap()),
        generator: Arc::new(Generator::new(&scenario).unwrap()),
        line_end: LineEnd::Lf,
        in_flight: 4,
        clock: Arc::new(SimulatedClock::new(Pace::Max, Micros(0), plan.history_end())),
        board: Arc::new(board),
        counters: Arc::new(Counters::new(plan.parts())),
        plan,
    };
    files.board.enlist(FileSink::Directory, files.plan.first());
    files
}

fn names(folder: &TempDir) -> BTreeSet<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn what_earlier_starts_left_of_the_shards_parts_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), Shard::new(1, 2).unwrap(), Board::default());
    let (plan, first) = (files.plan.clone(), files.plan.first());
    let name = |index: u64| plan.part(PartIndex(index)).file_name(Stream::Voice);
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
    files.run(first).await.unwrap();
    let mut expected = BTreeSet::from(others);
    for part in [0, 2, 4].map(|index| plan.part(PartIndex(index))) {
        expected.extend(Stream::ALL.map(|stream| part.file_name(stream)));
    }
    assert_eq!(names(&folder), expected);
}

#[tokio::test]
async fn files_whose_run_is_lost_never_get_their_names_and_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), Shard::WHOLE, Board::in_doubt());
    let (board, first) = (files.board.clone(), files.plan.first());
    let running = tokio::spawn(files.run(first));
    board.asked().await;
    assert!(names(&folder).iter().all(|name| final_name(name).is_some()), "{:?}", names(&folder));
    board.lose();
    running.await.unwrap().unwrap();
    let gone = async {
        // A file that was being written then goes when that is over.
        while !names(&folder).is_empty() {
            assert!(names(&folder).iter().all(|name| final_name(name).is_some()));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("the folder is empty");
    assert_eq!(board.files().0.directory, Some(first), "the cursor stays before them");
}

#[tokio::test]
async fn files_in_doubt_get_their_names_when_a_commit_tells_that_the_run_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), Shard::WHOLE, Board::in_doubt());
    let (board, first) = (files.board.clone(), files.plan.first());
    let running = tokio::spawn(files.run(first));
    board.asked().await;
    board.committed(std::time::Instant::now());
    running.await.unwrap().unwrap();
    assert_eq!(names(&folder).len(), 12);
    assert!(names(&folder).iter().all(|name| final_name(name).is_none()), "{:?}", names(&folder));
}

#[tokio::test]
async fn a_start_that_cannot_deliver_ends_with_the_error_and_leaves_its_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), Shard::WHOLE, Board::default());
    let (board, plan) = (files.board.clone(), files.plan.clone());
    // A folder in a file's place cannot be replaced.
    fs::create_dir(folder.path().join(plan.part(PartIndex(2)).file_name(Stream::Data))).unwrap();
    let error = files.run(plan.first()).await.unwrap_err();
    assert!(matches!(error, FilesError::Directory(_)), "{error}");
    assert_eq!(board.files(), (board.files().0, true));
    assert!(board.files().0.directory <= Some(PartIndex(2)));
}
