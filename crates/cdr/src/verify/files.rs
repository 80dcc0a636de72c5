//! Files that are there, against files that should be: names, sizes, contents.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use cdr_model::{Generator, LineEnd, PartIndex, Plan, Stream};
use tokio::task::JoinHandle;

use crate::delivery::board::Board;
use crate::delivery::sink::sftp::SftpStore;
use crate::delivery::sink::temporary::final_name;

/// Bytes of all files that are compared at once. Each is held whole: a larger one is compared alone.
const IN_FLIGHT_BYTES: u64 = 24 << 20;

/// Upper estimate of a CSV line in bytes, once as expected and once as found.
const LINE_BYTES: u64 = 2 * 128;

/// Where files are.
#[derive(Clone)]
pub enum Folder {
    Sftp(SftpStore),
    Local(PathBuf),
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrongFile {
    Missing,
    /// In bytes.
    Size {
        expected: u64,
        found: u64,
    },
    /// The first line that differs, from 1.
    Content {
        line: usize,
    },
    /// No file of the run has this name.
    Foreign,
    /// Left behind by an upload that was cut off.
    Temporary,
}

/// A comparison of all files of a run with those in a folder.
#[derive(Clone)]
pub struct Files {
    pub folder: Folder,
    pub plan: Plan,
    /// How many parts may have files.
    pub parts: u64,
    pub generator: Arc<Generator>,
    pub line_end: LineEnd,
    pub in_flight: usize,
    pub board: Arc<Board>,
    /// Files that were looked at.
    pub done: Arc<AtomicU64>,
}

/// What the comparison found.
#[derive(Debug, Default)]
pub struct FilesFound {
    /// Files that the progress counts.
    pub expected: u64,
    /// Those of them that are as they should be.
    pub right: u64,
    /// Files that are there before the progress counts them.
    pub ahead: u64,
    /// Files that have nothing to do with runs.
    pub others: u64,
    /// By name.
    pub wrong: Vec<(String, WrongFile)>,
    /// Whether the user stopped it.
    pub stopped: bool,
}

impl Files {
    /// Compares; `delivered` tells which parts' files the progress counts.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn compare(self, delivered: impl Fn(u64) -> bool) -> anyhow::Result<FilesFound> {
        let mut there = self.list().await?;
        let mut found = FilesFound::default();
        let mut running: VecDeque<JoinHandle<anyhow::Result<Compared>>> = VecDeque::new();
        let at_once = self.files_at_once();
        for part in 0..self.parts {
            if self.board.is_stopping() {
                found.stopped = true;
                break;
            }
            let due = delivered(part);
            for stream in Stream::ALL {
                let name = self.plan.part(PartIndex(part)).file_name(stream);
                found.expected += u64::from(due);
                match there.remove(&name) {
                    None if due => found.wrong.push((name, WrongFile::Missing)),
                    None => {}
                    // It may be on its way, where uploads have their final names at once.
                    Some(_) if !due => found.ahead += 1,
                    Some(size) => {
                        let files = self.clone();
                        running.push_back(tokio::spawn(async move {
                            let wrong = files.look(part, stream, size).await?;
                            Ok(Compared { name, wrong })
                        }));
                    }
                }
                while running.len() >= at_once
                    && let Some(first) = running.pop_front()
                {
                    found.add(first.await??);
                }
            }
        }
        for compared in running {
            found.add(compared.await??);
        }
        if !found.stopped {
            for name in there.into_keys() {
                match left_over(&name) {
                    Some(wrong) => found.wrong.push((name, wrong)),
                    None => found.others += 1,
                }
            }
        }
        found.wrong.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    fn files_at_once(&self) -> usize {
        let file_bytes = LINE_BYTES * u64::from(self.plan.line_count());
        self.in_flight.min((IN_FLIGHT_BYTES / file_bytes).max(1) as usize)
    }

    /// Names and sizes of what is there.
    async fn list(&self) -> anyhow::Result<HashMap<String, Option<u64>>> {
        match &self.folder {
            Folder::Sftp(store) => {
                let files = store.list().await?;
                Ok(files.into_iter().map(|file| (file.name, file.size)).collect())
            }
            Folder::Local(path) => {
                let (path, shown) = (path.clone(), path.display().to_string());
                let listed = tokio::task::spawn_blocking(move || list_local(&path)).await?;
                listed.with_context(|| format!("cannot read the folder {shown}"))
            }
        }
    }

    async fn look(
        &self,
        part: u64,
        stream: Stream,
        size: Option<u64>,
    ) -> anyhow::Result<Option<WrongFile>> {
        let part = self.plan.part(PartIndex(part));
        let mut expected = Vec::new();
        self.generator.csv_file(stream, &part, self.line_end, &mut expected);
        let length = expected.len() as u64;
        let wrong = match size {
            Some(found) if found != length => Some(WrongFile::Size { expected: length, found }),
            _ => match self.read(&part.file_name(stream), length).await? {
                None => Some(WrongFile::Missing),
                Some(found) => difference(&expected, &found),
            },
        };
        self.done.fetch_add(1, Ordering::Relaxed);
        Ok(wrong)
    }

    async fn read(&self, name: &str, length: u64) -> anyhow::Result<Option<Vec<u8>>> {
        match &self.folder {
            Folder::Sftp(store) => Ok(store.get(name, length).await?),
            Folder::Local(path) => {
                let path = path.join(name);
                let shown = path.display().to_string();
                match tokio::task::spawn_blocking(move || std::fs::read(path)).await? {
                    Ok(content) => Ok(Some(content)),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error).with_context(|| format!("cannot read {shown}")),
                }
            }
        }
    }
}

struct Compared {
    name: String,
    wrong: Option<WrongFile>,
}

impl FilesFound {
    fn add(&mut self, compared: Compared) {
        match compared.wrong {
            Some(wrong) => self.wrong.push((compared.name, wrong)),
            None => self.right += 1,
        }
    }
}

fn list_local(path: &std::path::Path) -> std::io::Result<HashMap<String, Option<u64>>> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(HashMap::new()),
        entries => entries?,
    };
    let mut files = HashMap::new();
    for entry in entries {
        let entry = entry?;
        let meta = entry.metadata()?;
        if !meta.is_dir() {
            files.insert(entry.file_name().to_string_lossy().into_owned(), Some(meta.len()));
        }
    }
    Ok(files)
}

/// What a file is that no part of the run has; `None` if it has nothing to do with runs.
fn left_over(name: &str) -> Option<WrongFile> {
    let ours = |name: &str| {
        let stream = Stream::ALL.into_iter().find(|stream| name.starts_with(&format!("{stream}_")));
        stream.is_some() && name.ends_with(".csv")
    };
    match final_name(name) {
        Some(name) if ours(name) => Some(WrongFile::Temporary),
        _ if ours(name) => Some(WrongFile::Foreign),
        _ => None,
    }
}

/// Where two contents differ, if they do.
pub fn difference(expected: &[u8], found: &[u8]) -> Option<WrongFile> {
    if expected == found {
        return None;
    }
    if expected.len() != found.len() {
        let (expected, found) = (expected.len() as u64, found.len() as u64);
        return Some(WrongFile::Size { expected, found });
    }
    let same = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
    let line = 1 + expected[..same].iter().filter(|&&byte| byte == b'\n').count();
    Some(WrongFile::Content { line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_by_its_line() {
        assert_eq!(difference(b"a\nb\nc\n", b"a\nb\nc\n"), None);
        assert_eq!(difference(b"a\nb\nc\n", b"a\nx\nc\n"), Some(WrongFile::Content { line: 2 }));
        let shorter = Some(WrongFile::Size { expected: 6, found: 5 });
        assert_eq!(difference(b"a\nb\nc\n", b"a\nb\nc"), shorter);
    }

    #[test]
    fn what_an_upload_left_is_told_from_what_others_put_there() {
        let temporary = ".cdr_data_20240101_000320.csv.0123456789abcdef-7.part";
        assert_eq!(left_over(temporary), Some(WrongFile::Temporary));
        assert_eq!(left_over(".cdr_data_20240101_000320.csv.part"), Some(WrongFile::Temporary));
        assert_eq!(left_over("cdr_voice_20230101_000320.csv"), Some(WrongFile::Foreign));
        assert_eq!(left_over("notes.txt"), None);
        assert_eq!(left_over(".write-check.part"), None);
    }
}
