//! Any bytes as the index file and as the file beside it: refused or understood, and decided about.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use cdr::delivery::index::IndexFile;
use cdr_model::Shard;
use cdr_model::resume::{IndexOwner, KafkaState, LocalIndex};

use crate::offered::{Choice, PARAMETERS, TARGETS};

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

/// Takes the first line as the content of `idx_data.dat`, up to its line end and with it if that is
/// the last one, and what follows as `idx_data.dat.run.json`, which is not there without it.
pub fn check(bytes: &[u8]) {
    let end = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
    let (index, owner) = bytes.split_at(end);
    let found = found(index, Some(owner).filter(|owner| !owner.is_empty()));
    match &found {
        LocalIndex::Absent => panic!("there is a file"),
        LocalIndex::Unreadable(why) => assert!(why.contains("idx_data.dat") || why.contains("UTF-8")),
        LocalIndex::Complete { last, owner } => {
            let text = owner.as_ref().map(|owner| serde_json::to_vec_pretty(owner).expect("JSON"));
            let index = format!("{last}\n");
            assert_eq!(self::found(index.as_bytes(), text.as_deref()), found);
        }
    }
    let mut choice = Choice::of(bytes);
    if let LocalIndex::Complete { owner: Some(IndexOwner { parameters, targets }), .. } = &found {
        choice.decide(parameters, targets, None, found.clone());
        choice.decide(parameters, targets, Some(KafkaState::default()), found.clone());
    }
    choice.decide(&PARAMETERS, &TARGETS, None, found);
}

/// What is read of these two contents.
fn found(index: &[u8], owner: Option<&[u8]>) -> LocalIndex {
    let path = FOLDER.path().join("idx_data.dat");
    let owner_path = PathBuf::from(format!("{}.run.json", path.display()));
    fs::write(&path, index).expect("a file");
    match owner {
        Some(owner) => fs::write(&owner_path, owner).expect("a file"),
        None => drop(fs::remove_file(&owner_path)),
    }
    IndexFile::peek(&path, Shard::WHOLE)
}
