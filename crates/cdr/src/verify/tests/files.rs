//! Files in a local folder, right and wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cdr_model::{Generator, LineEnd, PartIndex, Stream};
use tempfile::TempDir;

use super::super::{Files, FilesFound, Folder, WrongFile};
use super::topics::Run;
use crate::delivery::board::Board;

/// All files of a run of four parts.
fn delivered() -> TempDir {
    let (run, folder) = (Run::new(), tempfile::tempdir().unwrap());
    for part in (0..4).map(|index| run.plan.part(PartIndex(index))) {
        for stream in Stream::ALL {
            let mut content = Vec::new();
            run.generator.csv_file(stream, &part, LineEnd::Lf, &mut content);
            fs::write(folder.path().join(part.file_name(stream)), content).unwrap();
        }
    }
    folder
}

/// Compares, where the files of the parts before `delivered` are counted.
async fn compare(folder: &Path, delivered: u64) -> FilesFound {
    let run = Run::new();
    let files = Files {
        folder: Folder::Local(folder.to_owned()),
        generator: Arc::new(Generator::new(&run.scenario).unwrap()),
        parts: run.plan.files(),
        plan: run.plan,
        line_end: LineEnd::Lf,
        in_flight: 3,
        board: Arc::new(Board::default()),
        done: Arc::default(),
    };
    files.compare(|part| part < delivered).await.unwrap()
}

fn path(folder: &TempDir, part: u64) -> PathBuf {
    folder.path().join(Run::new().plan.part(PartIndex(part)).file_name(Stream::Voice))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[tokio::test]
async fn files_that_were_delivered_are_right() {
    let found = compare(delivered().path(), 4).await;
    assert_eq!((found.expected, found.right, found.ahead, found.others), (8, 8, 0, 0));
    assert_eq!(found.wrong, []);
}

#[tokio::test]
async fn each_wrong_file_is_named_with_what_is_wrong() {
    let folder = delivered();
    let (gone, short, altered) = (path(&folder, 0), path(&folder, 1), path(&folder, 2));
    fs::remove_file(&gone).unwrap();
    let content = fs::read(&short).unwrap();
    fs::write(&short, &content[1..]).unwrap();
    let mut other = fs::read(&altered).unwrap();
    let third_line = other.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
    other[third_line] ^= 1;
    fs::write(&altered, other).unwrap();
    fs::write(folder.path().join("cdr_data_20200101_000000.csv"), "").unwrap();
    fs::write(folder.path().join(".cdr_data_20240101_000020.csv.part"), "").unwrap();
    fs::write(folder.path().join("notes.txt"), "").unwrap();

    let found = compare(folder.path(), 4).await;
    assert_eq!((found.expected, found.right, found.others), (8, 5, 1));
    let expected = content.len() as u64;
    let mut wrong = [
        (".cdr_data_20240101_000020.csv.part".to_owned(), WrongFile::Temporary),
        ("cdr_data_20200101_000000.csv".to_owned(), WrongFile::Foreign),
        (name(&gone), WrongFile::Missing),
        (name(&short), WrongFile::Size { expected, found: expected - 1 }),
        (name(&altered), WrongFile::Content { line: 3 }),
    ];
    wrong.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found.wrong, wrong);
}

#[tokio::test]
async fn files_that_are_there_before_they_are_counted_are_not_wrong() {
    let folder = delivered();
    fs::remove_file(path(&folder, 3)).unwrap();
    let found = compare(folder.path(), 2).await;
    assert_eq!((found.expected, found.right, found.ahead), (4, 4, 3));
    assert_eq!(found.wrong, []);
}

#[tokio::test]
async fn in_a_folder_that_does_not_exist_all_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let found = compare(&folder.path().join("none"), 4).await;
    assert_eq!((found.expected, found.right, found.wrong.len()), (8, 0, 8));
    assert!(found.wrong.iter().all(|(_, wrong)| *wrong == WrongFile::Missing));
}
