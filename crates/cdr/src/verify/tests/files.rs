//! Files in a local folder, right and wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cdr_model::{FileFormat, Generator, PartIndex, Plan, Shard, Stream};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::super::{FileComparison, FilesReport};
use super::topics::Run;
use crate::files::DirectorySink;
use crate::telemetry::Count;

/// All files of a run of four parts.
fn delivered() -> TempDir {
    let (run, folder, format) = (Run::new(), tempfile::tempdir().unwrap(), FileFormat::default());
    for part in (0..4).map(|index| run.plan.part(PartIndex(index))) {
        for stream in run.plan.streams() {
            let mut content = Vec::new();
            format.file(&run.generator, stream, &part, &mut content);
            fs::write(folder.path().join(part.file_name(stream, format)), content).unwrap();
        }
    }
    folder
}

fn comparison(folder: &Path, plan: Plan) -> FileComparison {
    FileComparison {
        sink: Arc::new(DirectorySink::new(folder)),
        generator: Arc::new(Generator::new(&Run::new().scenario).unwrap()),
        parts_end: plan.files(),
        plan,
        format: FileFormat::default(),
        shutdown: CancellationToken::new(),
        count: Count::new("files"),
    }
}

/// Compares, where the files of the parts before `delivered` are counted.
async fn compare(folder: &Path, delivered: u64) -> FilesReport {
    let comparison = comparison(folder, Run::new().plan);
    comparison.run(|part| part.0 < delivered).await.unwrap().expect("there is no shutdown")
}

fn path(folder: &TempDir, part: u64) -> PathBuf {
    let part = Run::new().plan.part(PartIndex(part));
    folder.path().join(part.file_name(Stream::Voice, FileFormat::default()))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[tokio::test]
async fn files_that_were_delivered_are_right() {
    let found = compare(delivered().path(), 4).await;
    assert_eq!((found.expected, found.right, found.ahead, found.others), (8, 8, 0, 0));
    assert!(found.is_right(), "{found:?}");
    assert_eq!(found.findings, Vec::<String>::new());
}

#[tokio::test]
async fn each_wrong_file_is_named_with_what_is_wrong() {
    let folder = delivered();
    let [gone, short, altered, long] = [0, 1, 2, 3].map(|part| path(&folder, part));
    fs::remove_file(&gone).unwrap();
    let content = fs::read(&short).unwrap();
    let expected = content.len();
    fs::write(&short, &content[..expected - 1]).unwrap();
    let mut other = fs::read(&altered).unwrap();
    let third_line = other.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
    other[third_line] ^= 1;
    fs::write(&altered, other).unwrap();
    let content = fs::read(&long).unwrap();
    fs::write(&long, [&content[..], b"x"].concat()).unwrap();
    fs::write(folder.path().join("cdr_data_20200101_000000.csv"), "").unwrap();
    fs::write(folder.path().join(".cdr_data_20240101_000020.csv.part"), "").unwrap();
    fs::write(folder.path().join(".write-check.part"), "").unwrap();
    fs::write(folder.path().join("notes.txt"), "").unwrap();

    let found = compare(folder.path(), 4).await;
    assert_eq!((found.expected, found.right, found.others), (8, 4, 2));
    assert_eq!((found.missing, found.altered, found.foreign, found.temporary), (1, 3, 1, 1));
    assert!(!found.is_right());
    let mut wrong = [
        ".cdr_data_20240101_000020.csv.part was left behind by an upload, or is one in progress"
            .to_owned(),
        format!("{} is missing", name(&gone)),
        format!("{} ends after {} of {expected} bytes", name(&short), expected - 1),
        format!("{} differs from line 3 on", name(&altered)),
        format!("{} goes on after its {} bytes", name(&long), content.len()),
    ];
    wrong.sort();
    assert_eq!(found.findings, wrong);
}

#[tokio::test]
async fn files_that_are_there_before_they_are_counted_are_not_wrong() {
    let folder = delivered();
    fs::remove_file(path(&folder, 3)).unwrap();
    let found = compare(folder.path(), 2).await;
    assert_eq!((found.expected, found.right, found.ahead), (4, 4, 3));
    assert!(found.is_right(), "{found:?}");
}

#[tokio::test]
async fn in_a_folder_that_does_not_exist_all_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let found = compare(&folder.path().join("none"), 4).await;
    assert_eq!((found.expected, found.right, found.missing), (8, 0, 8));
    assert!(!found.is_right());
}

#[tokio::test]
async fn a_shard_answers_for_its_own_files_alone() {
    let folder = delivered();
    fs::remove_file(path(&folder, 0)).unwrap();
    let plan = Plan::new(&Run::new().scenario, Shard::new(2, 2).unwrap()).unwrap();
    let comparison = comparison(folder.path(), plan);
    let found = comparison.run(|_| true).await.unwrap().unwrap();
    assert_eq!((found.expected, found.right, found.missing, found.others), (4, 4, 0, 3));
    assert_eq!(comparison.total(), 4);
    fs::remove_file(path(&folder, 1)).unwrap();
    assert_eq!(comparison.run(|_| true).await.unwrap().unwrap().missing, 1);
}

#[tokio::test]
async fn a_shutdown_ends_it() {
    let comparison = comparison(delivered().path(), Run::new().plan);
    comparison.shutdown.cancel();
    assert!(comparison.run(|_| true).await.unwrap().is_none());
}
