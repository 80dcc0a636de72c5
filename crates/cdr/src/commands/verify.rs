//! `cdr verify`: what should be delivered, against what is there.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use cdr_model::progress::{Committed, KAFKA, SinkTargets};
use cdr_model::resume::{Conflict, LocalIndex};
use cdr_model::{Generator, PartIndex, Plan, Shard};
use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::commands::ReportFormat;
use crate::commands::context::{Context, blocking};
use crate::commands::signals::Signals;
use crate::config::{Config, Flags, RunOnly};
use crate::delivery::index::IndexFile;
use crate::delivery::records::ProgressTopic;
use crate::exit::Exit;
use crate::files::FileSink;
use crate::files::sftp::SftpSink;
use crate::kafka::Cluster;
use crate::output;
use crate::setup::{self, RunPlan, noted_start};
use crate::telemetry::{Count, Display, Gauge, Terminal};
use crate::verify::{Expected, FileComparison, FilesReport, RecordComparison, RecordsReport, Report};

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

/// Verifies the run that the configuration names, and prints the report to standard output. That
/// something is not right is no error, but an exit code.
pub async fn execute(args: &VerifyArgs, context: &Context) -> anyhow::Result<Exit> {
    let config = context.config(&args.settings.values)?;
    let signals = Signals::watch()?;
    let report = look(&config, &signals.shutdown, &context.terminal).await;
    if let Some(exit) = signals.exit() {
        info!("Stopped before all was looked at");
        return Ok(exit);
    }
    let report = report?;
    output::print(&match args.format {
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
    let (targets, file_sinks) = setup::sinks(config, SftpSink::read_only)?;
    let connected = match targets.contains_key(KAFKA) {
        true => Some(connect(config, shutdown).await?),
        false => None,
    };
    let (cluster, committed) = connected.unzip();
    let subject = Arc::new(Subject::new(config, targets, committed.flatten())?);
    let (of_records, of_files) = (Count::new("records"), Count::new("files"));
    let mut shown = Vec::new();
    shown.extend(cluster.is_some().then(|| of_records.clone()));
    shown.extend((!file_sinks.is_empty()).then(|| of_files.clone()));
    let display = Display::start(&config.log, Gauge::new(shown), terminal);
    let display = display.context("cannot show progress")?;
    let records = async {
        let (Some(cluster), subject) = (cluster, subject.clone()) else { return Ok(Vec::new()) };
        blocking("reading", move || subject.records(cluster, &of_records)).await
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
) -> anyhow::Result<(Cluster, Option<Committed>)> {
    let (kafka, run, shutdown) = (config.kafka.clone(), config.run.name.clone(), shutdown.clone());
    let topic = config.records.topic_progress.clone();
    info!("Connecting to Kafka brokers {}", kafka.brokers);
    let connecting = move || {
        let mut cluster = Cluster::new(&kafka, &shutdown)?;
        let committed = ProgressTopic { cluster: &mut cluster, topic: &topic }.committed(&run)?;
        anyhow::Ok((cluster, committed))
    };
    blocking("connecting", connecting).await
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
    Committed(Expected),
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
        let begun = committed.as_ref().and_then(|committed| committed.begun().next());
        let start = config.data.start.given().or_else(|| noted_start(begun, &local)).context(
            "a run that began \"now\" has left no progress with that time; set START to its time",
        )?;
        let RunPlan { scenario, mut plan, parameters } = RunPlan::new(config, start)?;
        if with_kafka {
            plan = plan.for_shard(Shard::WHOLE);
        }
        let was = match (begun, &local) {
            (Some(progress), _) => Some(&progress.parameters),
            (None, LocalIndex::Complete { owner: Some(owner), .. }) if !with_kafka => {
                Some(&owner.parameters)
            }
            _ => None,
        };
        let differences = was.map(|was| was.differences(&parameters)).unwrap_or_default();
        if !differences.is_empty() {
            bail!(Conflict::ParametersDiffer(differences));
        }
        let generator = Arc::new(Generator::new(&scenario)?);
        let extent = match (committed, local) {
            (Some(committed), _) => {
                let (generator, plan) = (generator.clone(), plan.clone());
                let format = config.records.message_format;
                Extent::Committed(Expected { generator, format, plan, committed }.check()?)
            }
            (None, _) if with_kafka => bail!(
                "topic {} has no progress of a run named {}, so there is nothing to verify. Set RUN_NAME \
                 and KAFKA_BROKERS as the run had them, or leave kafka out of --sinks",
                config.records.topic_progress,
                config.run.name
            ),
            (None, LocalIndex::Absent) => Extent::All,
            (None, LocalIndex::Unreadable(why)) => bail!(Conflict::IndexUnreadable(why)),
            (None, LocalIndex::Complete { last, .. }) if plan.owns(last) && !plan.is_done(last) => {
                Extent::Before(plan.after(last))
            }
            (None, LocalIndex::Complete { last: index, .. }) => {
                bail!(Conflict::IndexBeyondPlan { index, parts: plan.parts() })
            }
        };
        Ok(Subject { config: config.clone(), plan, generator, targets, extent })
    }

    /// No part from this one on can have files: a run that follows has more than its history.
    fn parts_end(&self) -> u64 {
        let history = self.plan.files();
        let furthest = match &self.extent {
            Extent::Committed(of) => of.committed.begun().filter_map(|of| of.cursors.furthest()).max(),
            Extent::Before(part) => Some(*part),
            Extent::All => None,
        };
        furthest.filter(|_| self.plan.is_endless()).map_or(history, |part| part.0.max(history))
    }

    fn is_finished(&self) -> bool {
        match &self.extent {
            Extent::Committed(expected) => expected.committed.is_finished(),
            Extent::Before(part) => self.plan.is_done(*part),
            Extent::All => true,
        }
    }

    fn records(&self, mut cluster: Cluster, count: &Count) -> anyhow::Result<Vec<RecordsReport>> {
        let Extent::Committed(expected) = &self.extent else { return Ok(Vec::new()) };
        let (split, begun) = (expected.committed.split(), expected.committed.begun().count());
        if begun < split as usize {
            info!("{begun} of {split} shards have begun");
        }
        let (topics, mut ranges) = (&self.config.records.topics, Vec::new());
        for stream in self.plan.streams() {
            ranges.extend(cluster.committed_range(&topics[stream])?.map(|range| (stream, range)));
        }
        let comparison = RecordComparison { expected, topics, count };
        let reports = comparison.run(ranges, |ranges, each| cluster.read(ranges, each))?;
        Ok(reports.unwrap_or_default())
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
            count: count.clone(),
        };
        let report = comparison.run(|part| self.has_files(part, name)).await?;
        let target = self.targets.get(name).cloned().unwrap_or_default();
        Ok(report.map(|report| FilesReport { target, ..report }))
    }

    /// Whether the files of a part are delivered to a sink, as far as the progress counts.
    fn has_files(&self, part: PartIndex, sink: &str) -> bool {
        match &self.extent {
            Extent::All => true,
            Extent::Before(end) => part < *end,
            Extent::Committed(expected) => expected.progress_of(part.0).is_some_and(|progress| {
                // What stands at another target does not stand here.
                let here = progress.cursors.clone().at(&progress.targets, &self.targets);
                here.files.get(sink).is_some_and(|cursor| part < *cursor)
            }),
        }
    }
}
