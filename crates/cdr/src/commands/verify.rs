//! `cdr verify`: what should be delivered, against what is there.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context as _, bail};
use cdr_model::progress::{Committed, KAFKA, SinkTargets};
use cdr_model::resume::{Conflict, LocalIndex};
use cdr_model::{Generator, PartIndex, Plan};
use chrono::NaiveDateTime;
use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::commands::ReportFormat;
use crate::commands::context::Context;
use crate::commands::run_plan::{RunPlan, noted_start};
use crate::commands::signals::Signals;
use crate::config::{Config, Flags, RunOnly, StartTime};
use crate::delivery::index::IndexFile;
use crate::delivery::records::ProgressTopic;
use crate::exit::Exit;
use crate::files::FileSink;
use crate::kafka::Reader;
use crate::output;
use crate::setup::{self, Access, Sinks};
use crate::telemetry::{Count, Display, Gauge, Terminal};
use crate::verify::{
    CommittedProgress, Expected, FileComparison, FilesReport, RecordComparison, RecordsReport, Report,
};

pub const EXAMPLES: &str = "\
Examples:
  cdr verify                                   every file and every record of the run, with the run's settings
  cdr verify --sinks kafka                     the topics alone
  cdr verify --format json | jq .right         for machines
  cdr verify && echo complete                  exit code 0 only when all is right, otherwise 6

What should be there is generated again from the seed, so give the settings that the run had. It changes
nothing, and can look at a run that is still going: then at what is committed so far.";

/// `cdr verify`.
#[derive(Args)]
pub struct VerifyArgs {
    /// How the report is written
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub format: ReportFormat,

    #[command(flatten)]
    pub settings: Flags<RunOnly>,
}

/// Verifies the run that the configuration names, and prints the report to standard output.
///
/// # Errors
/// Whatever keeps it from looking; that something is not right is no error, but an exit code.
pub fn execute(args: &VerifyArgs, context: &Context) -> anyhow::Result<Exit> {
    let config = context.config(&args.settings.values)?;
    context.block_on(verify(config, args.format, &context.terminal))
}

async fn verify(config: Config, format: ReportFormat, terminal: &Terminal) -> anyhow::Result<Exit> {
    let shutdown = CancellationToken::new();
    let signals = Signals::watch(shutdown.clone())?;
    let report = look(&config, &shutdown, terminal).await;
    if let Some(exit) = signals.exit() {
        info!("Stopped before all was looked at");
        return Ok(exit);
    }
    let report = report?;
    output::print(&match format {
        ReportFormat::Text => report.text(),
        ReportFormat::Json => serde_json::to_string_pretty(&report)? + "\n",
    })?;
    Ok(if report.right { Exit::Complete } else { Exit::Differs })
}

/// Verifies. After a shutdown, the report is not whole.
pub(super) async fn look(
    config: &Config,
    shutdown: &CancellationToken,
    terminal: &Terminal,
) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let Sinks { targets, files: file_sinks } = setup::sinks(config, Access::Read)?;
    let (reader, committed) = match targets.contains_key(KAFKA) {
        true => {
            let (reader, committed) = connect(config, shutdown).await?;
            (Some(reader), committed)
        }
        false => (None, None),
    };
    let subject = Arc::new(Subject::new(config, targets, committed)?);
    let counts = [Count::new("records"), Count::new("files")];
    let shown = [reader.is_some(), !file_sinks.is_empty()];
    let shown = counts.iter().zip(shown).filter(|(_, shown)| *shown).map(|(count, _)| count.clone());
    let display = Display::start(&config.log, Gauge::new(shown.collect()), terminal);
    let display = display.context("cannot show progress")?;
    let [of_records, of_files] = counts;
    let records = async {
        let Some(reader) = reader else { return anyhow::Ok(Vec::new()) };
        let subject = subject.clone();
        let compared = tokio::task::spawn_blocking(move || subject.records(reader, &of_records)).await;
        compared.context("reading ended unexpectedly")?
    };
    let files = async {
        let mut reports = Vec::new();
        for sink in file_sinks {
            let compared = subject.files(sink.clone(), shutdown, &of_files).await;
            sink.close().await;
            reports.extend(compared?);
        }
        anyhow::Ok(reports)
    };
    let (records, files) = tokio::try_join!(records, files)?;
    drop(display);
    let right = records.iter().all(RecordsReport::is_right) && files.iter().all(FilesReport::is_right);
    Ok(Report {
        run: config.run.name.clone(),
        finished: subject.is_finished(),
        parts: subject.plan.parts(),
        records,
        files,
        right,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Connects to Kafka, and reads there how far the run has come.
async fn connect(
    config: &Config,
    shutdown: &CancellationToken,
) -> anyhow::Result<(Reader, Option<Committed>)> {
    let (kafka, run, shutdown) = (config.kafka.clone(), config.run.name.clone(), shutdown.clone());
    let topic = config.records.topic_progress.clone();
    info!("Connecting to Kafka brokers {}", kafka.brokers);
    let connected = tokio::task::spawn_blocking(move || {
        let mut reader = Reader::open(&kafka, &shutdown)?;
        let committed = ProgressTopic::new(reader.cluster(), &topic).committed(&run)?;
        anyhow::Ok((reader, committed))
    });
    connected.await.context("connecting ended unexpectedly")?
}

/// What is verified.
struct Subject {
    config: Config,
    /// Of all shards, or without Kafka of this one.
    plan: Plan,
    generator: Arc<Generator>,
    targets: SinkTargets,
    extent: Extent,
}

/// How far the run has come.
enum Extent {
    /// By its progress in Kafka.
    Committed(CommittedProgress),
    /// Without Kafka: every part of this shard before this one.
    Before(PartIndex),
    /// Without Kafka and without an index file: the run is finished.
    All,
}

impl Subject {
    fn new(
        config: &Config,
        targets: SinkTargets,
        committed: Option<Committed>,
    ) -> anyhow::Result<Subject> {
        let with_kafka = targets.contains_key(KAFKA);
        let local = IndexFile::peek(&config.run.index_file, config.run.shard);
        let start = start_time(config, committed.as_ref(), &local)?;
        let RunPlan { scenario, plan, parameters } = match with_kafka {
            true => RunPlan::whole(config, start)?,
            false => RunPlan::new(config, start)?,
        };
        let begun = committed.as_ref().and_then(|committed| committed.begun().next());
        let was = match (&local, begun) {
            (_, Some(progress)) => Some(&progress.parameters),
            (LocalIndex::Complete { owner: Some(owner), .. }, None) if !with_kafka => {
                Some(&owner.parameters)
            }
            _ => None,
        };
        let differences = was.map(|was| was.differences(&parameters)).unwrap_or_default();
        if !differences.is_empty() {
            return Err(Conflict::ParametersDiffer(differences).into());
        }
        let extent = match (with_kafka, committed) {
            (true, Some(committed)) => {
                Extent::Committed(CommittedProgress::new(committed, plan.clone())?)
            }
            (true, None) => bail!(
                "topic {} has no progress of a run named {}, so there is nothing to verify. Set RUN_NAME \
                 and KAFKA_BROKERS as the run had them, or leave kafka out of --sinks",
                config.records.topic_progress,
                config.run.name
            ),
            (false, _) => Extent::by_index(local, &plan)?,
        };
        let (config, generator) = (config.clone(), Arc::new(Generator::new(&scenario)?));
        Ok(Subject { config, plan, generator, targets, extent })
    }

    /// No part from this one on can have files: a run that follows has more than its history.
    fn parts_end(&self) -> u64 {
        let history = self.plan.files();
        let furthest = |committed: &CommittedProgress| {
            let furthest = committed.begun().filter_map(|progress| progress.cursors.furthest());
            furthest.map(|part| part.0).max().unwrap_or(0)
        };
        match &self.extent {
            Extent::Committed(committed) if self.plan.is_endless() => furthest(committed).max(history),
            Extent::Before(part) if self.plan.is_endless() => part.0.max(history),
            _ => history,
        }
    }

    fn is_finished(&self) -> bool {
        match &self.extent {
            Extent::Committed(committed) => committed.is_finished(),
            Extent::Before(part) => self.plan.is_done(*part),
            Extent::All => true,
        }
    }

    fn records(&self, mut reader: Reader, count: &Count) -> anyhow::Result<Vec<RecordsReport>> {
        let Extent::Committed(committed) = &self.extent else { return Ok(Vec::new()) };
        let (split, begun) = (committed.split(), committed.begun().count());
        if begun < split {
            info!("{begun} of {split} shards have begun");
        }
        let comparison = RecordComparison {
            expected: Expected {
                generator: &self.generator,
                plan: &self.plan,
                format: self.config.records.message_format,
                committed,
            },
            topics: &self.config.records.topics,
            done: &count.done,
            total: &count.total,
        };
        Ok(comparison.run(&mut reader)?.unwrap_or_default())
    }

    async fn files(
        &self,
        sink: Arc<dyn FileSink>,
        shutdown: &CancellationToken,
        count: &Count,
    ) -> anyhow::Result<Option<FilesReport>> {
        let name = sink.name();
        let comparison = FileComparison {
            sink,
            plan: self.plan.clone(),
            parts_end: self.parts_end(),
            generator: self.generator.clone(),
            format: self.config.file_format,
            shutdown: shutdown.clone(),
            done: count.done.clone(),
        };
        count.total.fetch_add(comparison.total(), Ordering::Relaxed);
        let report = comparison.run(|part| self.has_files(part, name)).await?;
        let target = self.targets.get(name).cloned().unwrap_or_default();
        Ok(report.map(|report| FilesReport { target, ..report }))
    }

    /// Whether the files of a part are delivered to a sink, as far as the progress counts.
    fn has_files(&self, part: PartIndex, sink: &str) -> bool {
        match &self.extent {
            Extent::All => true,
            Extent::Before(end) => part < *end,
            Extent::Committed(committed) => committed.of_part(part.0).is_some_and(|progress| {
                // What stands at another target does not stand here.
                let here = progress.cursors.clone().at(&progress.targets, &self.targets);
                here.files.get(sink).is_some_and(|cursor| part < *cursor)
            }),
        }
    }
}

impl Extent {
    /// By the index file of this shard.
    fn by_index(local: LocalIndex, plan: &Plan) -> Result<Extent, Conflict> {
        match local {
            LocalIndex::Complete { last: index, .. } => match !plan.owns(index) || plan.is_done(index) {
                true => Err(Conflict::IndexBeyondPlan { index, parts: plan.parts() }),
                false => Ok(Extent::Before(plan.after(index))),
            },
            LocalIndex::Absent => Ok(Extent::All),
            LocalIndex::Unreadable(why) => Err(Conflict::IndexUnreadable(why)),
        }
    }
}

/// The run's base time. A run that began "now" has noted when that was.
fn start_time(
    config: &Config,
    committed: Option<&Committed>,
    local: &LocalIndex,
) -> anyhow::Result<NaiveDateTime> {
    if let StartTime::At(start) = config.data.start {
        return Ok(start);
    }
    let start = noted_start(committed.and_then(|committed| committed.begun().next()), local);
    start.context("a run that began \"now\" has left no progress with that time; set START to its time")
}
