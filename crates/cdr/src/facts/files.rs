//! Records from CSV files, of which many may cover the same time.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::{Context as _, anyhow, bail, ensure};
use cdr_model::{Fact, Micros};
use csv::{Reader, ReaderBuilder, StringRecord};
use tokio_util::sync::CancellationToken;

use super::columns::{Column, Columns, Kind, Layout, Row, read, together};
use super::order::{Order, WAITING_MAX};
use super::{Each, LeftOut, Window};
use crate::processing::message::shown;
use crate::telemetry::Count;

/// Files that are open at once.
const OPEN_MAX: usize = 200;

/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// CSV files that hold records of the same layout.
pub struct Files {
    layout: Layout,
    /// With the time of the first record that can be read.
    files: Vec<(Micros, PathBuf)>,
    pub window: Window,
    /// Files that hold no such records, and why.
    pub skipped: Vec<String>,
    /// Of files none of whose records can be read.
    unreadable: LeftOut,
    count: Count,
}

impl Files {
    /// Looks at a file, or at those of a folder whose names end in `.csv`; `None` after a shutdown.
    ///
    /// # Errors
    /// What cannot be opened, or holds no record that can be read.
    pub fn open(
        path: &Path,
        layout: Layout,
        count: Count,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<Files>> {
        let paths = paths(path)?;
        let size = |path: &PathBuf| {
            let metadata = path.metadata().with_context(|| format!("cannot read {}", path.display()));
            anyhow::Ok(metadata?.len())
        };
        let sizes: u64 = paths.iter().map(size).sum::<anyhow::Result<u64>>()?;
        // They are read twice: first for their times, then in order.
        count.total.store(2 * sizes, Ordering::Relaxed);
        let (mut files, mut window, mut skipped, mut left_out) =
            (Vec::new(), None, Vec::new(), LeftOut::default());
        for path in paths {
            let mut records = match Records::open(&path, &layout, &count)? {
                Ok(records) => records,
                Err(why) => {
                    skipped.push(why);
                    continue;
                }
            };
            let (mut first, before) = (None, left_out.clone());
            while let Some(record) = records.next()? {
                match record {
                    Ok(fact) => {
                        window = Some(super::widened(window, fact.time()));
                        first.get_or_insert(fact.time());
                    }
                    Err(problem) => left_out.describe(|| problem),
                }
                if shutdown.is_cancelled() {
                    return Ok(None);
                }
            }
            if let Some(first) = first {
                // They will be found again.
                left_out = before;
                files.push((first, path));
            }
        }
        let Some(window) = window else {
            let mut problems: Vec<String> = skipped.into_iter().chain(left_out.described).collect();
            if problems.is_empty() {
                problems.push("there is nothing behind the header".to_owned());
            }
            bail!("{} holds no record that can be read: {}", path.display(), problems.join("; "));
        };
        files.sort();
        Ok(Some(Files { layout, files, window, skipped, unreadable: left_out, count }))
    }

    /// Hands over all records, in the order of time; `None` after a shutdown.
    pub fn each(
        &self,
        shutdown: &CancellationToken,
        each: &mut Each<'_>,
    ) -> anyhow::Result<Option<LeftOut>> {
        let (mut order, mut left_out) = (Order::new(WAITING_MAX), self.unreadable.clone());
        let mut closed = self.files.iter().peekable();
        let mut open = BinaryHeap::<Reverse<Next>>::new();
        let mut opened = 0;
        loop {
            // A file is opened when its time has come.
            while let Some((begin, path)) = closed.peek()
                && (open.peek().is_none_or(|Reverse(next)| *begin <= next.fact.time()))
                && open.len() < OPEN_MAX
            {
                let records =
                    Records::open(path, &self.layout, &self.count)?.map_err(|why| anyhow!(why))?;
                open.extend(Next::of(records, opened, &mut left_out)?.map(Reverse));
                (opened, _) = (opened + 1, closed.next());
            }
            let Some(Reverse(Next { fact, number, records })) = open.pop() else { break };
            order.take(fact, each);
            open.extend(Next::of(records, number, &mut left_out)?.map(Reverse));
            if shutdown.is_cancelled() {
                return Ok(None);
            }
        }
        left_out.late = order.end(each);
        Ok(Some(left_out))
    }
}

/// A file, or those of a folder.
fn paths(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let looked = path.metadata().with_context(|| format!("cannot read {}", path.display()))?;
    if !looked.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = path.read_dir().with_context(|| format!("cannot list {}", path.display()))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>()?;
    let is_hidden =
        |path: &Path| path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    paths.retain(|path| path.extension().is_some_and(|end| end == "csv") && !is_hidden(path));
    ensure!(!paths.is_empty(), "{} holds no file whose name ends in .csv", path.display());
    paths.sort();
    Ok(paths)
}

/// An open file at its next record.
struct Next {
    fact: Fact,
    /// In the order in which they were opened.
    number: usize,
    records: Records,
}

impl Next {
    fn of(mut records: Records, number: usize, left_out: &mut LeftOut) -> anyhow::Result<Option<Next>> {
        while let Some(record) = records.next()? {
            match record {
                Ok(fact) => return Ok(Some(Next { fact, number, records })),
                Err(problem) => left_out.describe(|| problem),
            }
        }
        Ok(None)
    }

    fn key(&self) -> (Micros, usize) {
        (self.fact.time(), self.number)
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Next {}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// For each [`Column`], the numbers of those that are read.
type Positions = [Vec<usize>; Column::ALL.len()];

/// The records of a file.
struct Records {
    path: PathBuf,
    reader: Reader<File>,
    row: StringRecord,
    kind: Kind,
    at: Positions,
    time_format: Option<String>,
    count: Count,
    counted: u64,
}

impl Records {
    /// Opens a file, or says why it holds no records.
    fn open(path: &Path, layout: &Layout, count: &Count) -> anyhow::Result<Result<Records, String>> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut reader = ReaderBuilder::new()
            .delimiter(layout.delimiter.unwrap_or(b','))
            .has_headers(!layout.headless)
            .buffer_capacity(BUFFER)
            .flexible(true)
            .from_reader(file);
        let headers = match layout.headless {
            true => StringRecord::new(),
            false => {
                let headers =
                    reader.headers().with_context(|| format!("cannot read {}", path.display()));
                headers?.clone()
            }
        };
        let (kind, at) = match fit(&layout.columns, &headers) {
            Ok(fitting) => fitting,
            Err(why) => return Ok(Err(format!("{} {why}", path.display()))),
        };
        let (path, time_format) = (path.to_owned(), layout.time_format.clone());
        let (row, count) = (StringRecord::new(), count.clone());
        Ok(Ok(Records { path, reader, row, kind, at, time_format, count, counted: 0 }))
    }

    /// The next record, or what is wrong with it; `None` at the end.
    fn next(&mut self) -> anyhow::Result<Option<Result<Fact, String>>> {
        let found = self.reader.read_record(&mut self.row);
        let (position, line) =
            (self.reader.position().byte(), self.row.position().map_or(0, |at| at.line()));
        self.count.done.fetch_add(position - self.counted, Ordering::Relaxed);
        self.counted = position;
        match found {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) if error.is_io_error() => {
                return Err(error).with_context(|| format!("cannot read {}", self.path.display()));
            }
            // Such as text that is not UTF-8; what follows can be read.
            Err(error) => return Ok(Some(Err(format!("{}: {error}", self.path.display())))),
        }
        let row = CsvRow { row: &self.row, at: &self.at };
        let fact = read(self.kind, &row, self.time_format.as_deref());
        Ok(Some(fact.map_err(|problem| format!("{}, line {line}: {problem}", self.path.display()))))
    }
}

/// What records with these headers report, and where; or why they are none, and what to do.
fn fit(columns: &Columns, headers: &StringRecord) -> Result<(Kind, Positions), String> {
    let at = Column::ALL.map(|column| numbers(columns.of(column), headers));
    let missing = Column::ALL.into_iter().find(|column| at[*column as usize].is_none());
    if let Some(column) = missing.filter(|_| columns.named) {
        let (theirs, ours) = (columns.of(column).join("+"), column.name());
        return Err(format!("has no column {theirs:?} for {ours}: it {}", described(headers, "")));
    }
    let at = at.map(Option::unwrap_or_default);
    let kind = Kind::by(|column| !at[column as usize].is_empty());
    let remedy = |needed| format!("; {needed}. Name theirs: --columns msisdn=THEIRS,…");
    kind.map(|kind| (kind, at)).map_err(|needed| described(headers, &remedy(needed)))
}

/// What columns a file has; with `remedy` behind, where none is nearer.
fn described(headers: &StringRecord, remedy: &str) -> String {
    let others = [";", "\t", "|"];
    let other = others.into_iter().find(|other| headers.len() == 1 && headers[0].contains(other));
    match (headers.len(), other) {
        (0, _) => "is empty".to_owned(),
        (_, Some(other)) => {
            format!("has one column; it seems to need --delimiter '{}'", other.escape_default())
        }
        _ => {
            let has = headers.iter().take(20).collect::<Vec<_>>().join(", ");
            format!("has the columns {}{remedy}", shown(&has))
        }
    }
}

/// Where these columns are, by their names or numbers; `None` unless all are there.
fn numbers(names: &[String], headers: &StringRecord) -> Option<Vec<usize>> {
    let by_name = |name: &str| headers.iter().position(|header| header.trim() == name);
    let by_number = |name: &str| name.parse::<usize>().ok()?.checked_sub(1);
    names.iter().map(|name| by_name(name).or_else(|| by_number(name))).collect()
}

struct CsvRow<'a> {
    row: &'a StringRecord,
    at: &'a Positions,
}

impl Row for CsvRow<'_> {
    fn text(&self, column: Column) -> Option<Cow<'_, str>> {
        together(&self.at[column as usize], |nth| Some(self.row.get(*nth)?.trim().into()))
    }
}
