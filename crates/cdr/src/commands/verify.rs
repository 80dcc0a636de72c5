//! `cdr verify`: what should be delivered, against what is there.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, bail};
use cdr_model::progress::{Places, Progress, Sinks};
use cdr_model::resume::{Conflict, LocalIndex};
use cdr_model::{Generator, PartIndex, Stream};
use chrono::NaiveDateTime;
use tracing::info;

use crate::cli::ReportFormat;
use crate::commands::run::{World, noted_start};
use crate::commands::signals::Signals;
use crate::config::{Config, StartTime};
use crate::delivery::board::Board;
use crate::delivery::index::IndexFile;
use crate::delivery::sink::kafka::Reader;
use crate::delivery::sink::sftp::SftpStore;
use crate::exit::Exit;
use crate::setup;
use crate::telemetry::{Count, Gauge, Mode, Terminal};
use crate::verify::{Files, FilesReport, Folder, Ledger, Records, RecordsReport, Report, files_report};

/// Files of the local directory that are compared at once.
const LOCAL_IN_FLIGHT: usize = 4;

/// Verifies the run that the configuration names, and prints the report to standard output.
///
/// # Errors
/// Whatever keeps it from looking; that something is not right is no error, but an exit code.
pub async fn verify(config: Config, format: ReportFormat, terminal: &Terminal) -> anyhow::Result<Exit> {
    let board = Arc::new(Board::default());
    let signals = Signals::watch(board.clone())?;
    let report = look(&config, &board, terminal).await;
    if let Some(exit) = signals.exit() {
        info!("Stopped before all was looked at");
        return Ok(exit);
    }
    let report = report?;
    match format {
        ReportFormat::Text => print!("{}", report.text()),
        ReportFormat::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(if report.right { Exit::Complete } else { Exit::Differs })
}

pub(super) async fn look(
    config: &Config,
    board: &Arc<Board>,
    terminal: &Terminal,
) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let sinks = setup::sinks(config);
    let mut reader = None;
    let mut progress = Vec::new();
    if sinks.kafka {
        let (kafka, board, run) = (setup::kafka(config), board.clone(), config.run.name.clone());
        info!("Connecting to Kafka brokers {}", kafka.brokers);
        let connected = tokio::task::spawn_blocking(move || {
            let mut reader = Reader::open(kafka, board)?;
            let progress = reader.progress(&run)?;
            anyhow::Ok((reader, progress))
        });
        let (connection, found) = connected.await.context("connecting ended unexpectedly")??;
        (reader, progress) = (Some(connection), found);
    }
    let subject = Arc::new(Subject::new(config, progress)?);
    let counts = [Count::new("records"), Count::new("files")];
    let mode = Mode::choose(&config.log, terminal.is_terminal());
    let shown = [sinks.kafka, sinks.sftp || sinks.directory];
    let shown = counts.iter().zip(shown).filter(|(_, shown)| *shown).map(|(count, _)| count.clone());
    let gauge = Gauge::start(mode, shown.collect(), terminal).context("cannot show progress")?;
    let [of_records, of_files] = counts;
    let records = async {
        let Some(reader) = reader else { return anyhow::Ok(Vec::new()) };
        let subject = subject.clone();
        let compared = tokio::task::spawn_blocking(move || subject.records(reader, &of_records)).await;
        compared.context("reading ended unexpectedly")?
    };
    let files = async {
        let mut reports = Vec::new();
        for (folder, place, sink) in folders(config)? {
            reports.push(subject.files(config, folder, place, sink, board, &of_files).await?);
        }
        anyhow::Ok(reports)
    };
    let (records, files) = tokio::try_join!(records, files)?;
    drop(gauge);
    let finished = subject.is_finished();
    let right = records.iter().all(RecordsReport::is_right) && files.iter().all(FilesReport::is_right);
    Ok(Report {
        run: config.run.name.clone(),
        finished,
        parts: subject.world.plan.files(),
        records,
        files,
        right,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// A folder with files, what a progress record calls its sink, and its place.
fn folders(config: &Config) -> anyhow::Result<Vec<(Folder, String, &'static str)>> {
    let (sinks, places) = (setup::sinks(config), setup::places(config));
    let place = |sink: &str| places.get(sink).cloned().unwrap_or_default();
    let mut folders = Vec::new();
    if sinks.sftp {
        let store = SftpStore::read_only(setup::sftp(config))?;
        folders.push((Folder::Sftp(store), place("sftp"), "sftp"));
    }
    if sinks.directory {
        folders.push((Folder::Local(config.run.directory.clone()), place("directory"), "directory"));
    }
    Ok(folders)
}

/// What is verified.
struct Subject {
    world: World,
    generator: Arc<Generator>,
    topics: [String; 2],
    sinks: Sinks,
    places: Places,
    extent: Extent,
}

/// How far the run has come.
enum Extent {
    /// As its progress in Kafka says.
    Ledger(Ledger),
    /// Without Kafka: every part before this one.
    Before(PartIndex),
    /// Without Kafka and without an index file: the run is finished.
    All,
}

impl Subject {
    fn new(config: &Config, progress: Vec<Progress>) -> anyhow::Result<Subject> {
        let sinks = setup::sinks(config);
        let topics = [&config.kafka.topic_data, &config.kafka.topic_voice].map(Clone::clone);
        let local = IndexFile::peek(&config.run.index_file, setup::run_id(config)?.shard);
        let start = start_time(config, &progress, &local)?;
        let world = World::whole(config, start)?;
        let was = match (&local, sinks.kafka) {
            (_, true) => progress.iter().map(|progress| &progress.parameters).next(),
            (LocalIndex::Complete { owner: Some(owner), .. }, false) => Some(&owner.parameters),
            _ => None,
        };
        if let Some(differences) = was.map(|was| was.differences(&world.parameters))
            && !differences.is_empty()
        {
            return Err(Conflict::ParametersDiffer(differences).into());
        }
        let extent = match (sinks.kafka, local) {
            (true, _) => match Ledger::new(progress, &world.plan, topics.clone())? {
                Some(ledger) => Extent::Ledger(ledger),
                None => bail!(
                    "topic {} has no progress of a run named {}, so there is nothing to verify. Set RUN_NAME \
                     and KAFKA_BROKERS as the run had them, or leave kafka out of --sinks",
                    config.kafka.topic_progress,
                    config.run.name
                ),
            },
            (false, LocalIndex::Complete { last: index, .. }) => {
                let plan = &world.plan;
                if !plan.owns(index) || plan.is_done(index) {
                    return Err(Conflict::IndexBeyondPlan { index, parts: plan.parts() }.into());
                }
                Extent::Before(plan.after(index))
            }
            (false, LocalIndex::Absent) => Extent::All,
            (false, LocalIndex::Unreadable(why)) => return Err(Conflict::IndexUnreadable(why).into()),
        };
        let generator = Arc::new(Generator::new(&world.scenario)?);
        Ok(Subject { world, generator, topics, sinks, places: setup::places(config), extent })
    }

    /// How many parts there may be: a run that follows has more than its history.
    fn parts(&self) -> u64 {
        let files = self.world.plan.files();
        let furthest = |ledger: &Ledger| {
            let furthest = ledger.begun().filter_map(|progress| progress.cursors.furthest());
            furthest.map(|part| part.0).max().unwrap_or(0)
        };
        match &self.extent {
            Extent::Ledger(ledger) if self.world.plan.is_endless() => furthest(ledger).max(files),
            Extent::Before(part) if self.world.plan.is_endless() => part.0.max(files),
            _ => files,
        }
    }

    fn is_finished(&self) -> bool {
        match &self.extent {
            Extent::Ledger(ledger) => ledger.is_finished(),
            Extent::Before(part) => self.world.plan.is_done(*part),
            Extent::All => true,
        }
    }

    fn records(&self, mut reader: Reader, count: &Count) -> anyhow::Result<Vec<RecordsReport>> {
        let Extent::Ledger(ledger) = &self.extent else { return Ok(Vec::new()) };
        let (shards, begun) = ledger.shards();
        if begun < shards {
            info!("{begun} of {shards} shards have begun");
        }
        let records = Records {
            generator: &self.generator,
            plan: &self.world.plan,
            ledger,
            topics: self.topics.clone(),
            done: &count.done,
            total: &count.total,
        };
        Ok(records.compare(&mut reader)?.map(Vec::from).unwrap_or_default())
    }

    async fn files(
        &self,
        config: &Config,
        folder: Folder,
        place: String,
        sink: &str,
        board: &Arc<Board>,
        count: &Count,
    ) -> anyhow::Result<FilesReport> {
        count.total.fetch_add(self.parts() * Stream::ALL.len() as u64, Ordering::Relaxed);
        let in_flight = match folder {
            Folder::Sftp(_) => config.sftp.in_flight,
            Folder::Local(_) => LOCAL_IN_FLIGHT,
        };
        let files = Files {
            folder: folder.clone(),
            plan: self.world.plan.clone(),
            parts: self.parts(),
            generator: self.generator.clone(),
            line_end: setup::line_end(config),
            in_flight,
            board: board.clone(),
            done: count.done.clone(),
        };
        let found = files.compare(|part| self.has_files(part, sink)).await;
        if let Folder::Sftp(store) = folder {
            store.close().await;
        }
        Ok(files_report(place, found?))
    }

    /// Whether the files of a part are delivered to a sink, as far as the progress tells.
    fn has_files(&self, part: u64, sink: &str) -> bool {
        match &self.extent {
            Extent::All => true,
            Extent::Before(end) => part < end.0,
            Extent::Ledger(ledger) => ledger.of_part(part).is_some_and(|progress| {
                // What stands at another place does not stand here.
                let here = progress.cursors.at(&progress.places, &self.places).of(self.sinks);
                let cursor = if sink == "sftp" { here.sftp } else { here.directory };
                cursor.is_some_and(|cursor| part < cursor.0)
            }),
        }
    }
}

/// The run's base time. A run that began "now" has noted when that was.
fn start_time(
    config: &Config,
    progress: &[Progress],
    local: &LocalIndex,
) -> anyhow::Result<NaiveDateTime> {
    if let StartTime::At(start) = config.data.start {
        return Ok(start);
    }
    let start = noted_start(progress.first(), local);
    start.context("a run that began \"now\" has left no progress that says when; set START to its time")
}
