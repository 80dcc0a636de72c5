//! Configuration → what commands work with.

use std::sync::Arc;

use cdr_model::progress::{KAFKA, Parameters, Progress, SinkTargets};
use cdr_model::resume::LocalIndex;
use cdr_model::{Plan, Scenario, Stream, Streams};
use chrono::{NaiveDateTime, SubsecRound as _, TimeDelta, Utc};

use crate::config::{Config, SinkKind};
use crate::delivery::records::RunId;
use crate::files::sftp::{SftpConfig, SftpError, SftpSink};
use crate::files::{DirectorySink, FileSink, FileSinkError, FileSinkKind};
use crate::processing::{ProcessConfig, message};

/// What to simulate, beginning at `start`.
pub fn scenario(config: &Config, start: NaiveDateTime) -> Scenario {
    Scenario { start, ..config.data.scenario.clone() }
}

/// What a run must have in common with an earlier one to continue it.
pub fn parameters(config: &Config, scenario: &Scenario) -> Parameters {
    let records = &config.records;
    let parameters = Parameters::new(scenario, config.file_format, records.message_format);
    let parameters = parameters.with("RUN_NAME", &config.run.name);
    scenario
        .streams
        .iter()
        .fold(parameters, |all, stream| all.with_topic(stream, &records.topics[stream]))
}

/// The run and the shard that the configuration names.
pub fn run_id(config: &Config) -> RunId {
    RunId { name: config.run.name.clone(), shard: config.run.shard }
}

/// What is simulated, and how it is cut into parts.
pub struct RunPlan {
    pub scenario: Scenario,
    pub plan: Plan,
    pub parameters: Parameters,
}

impl RunPlan {
    /// Of the configured shard. Fails for a scenario that cannot be simulated.
    pub fn new(config: &Config, start: NaiveDateTime) -> anyhow::Result<RunPlan> {
        let scenario = scenario(config, start);
        let plan = Plan::new(&scenario, config.run.shard)?;
        let plan = if config.run.follow { plan.without_end() } else { plan };
        let parameters = parameters(config, &scenario);
        Ok(RunPlan { scenario, plan, parameters })
    }
}

/// The base time that a run has noted when it began: in its progress, or else beside its index file.
pub fn noted_start(recorded: Option<&Progress>, local: &LocalIndex) -> Option<NaiveDateTime> {
    let known = match (recorded, local) {
        (Some(progress), _) => &progress.parameters,
        (None, LocalIndex::Complete { owner: Some(owner), .. }) => &owner.parameters,
        _ => return None,
    };
    NaiveDateTime::parse_from_str(known.get("START")?, "%Y-%m-%d %H:%M:%S").ok()
}

/// The base time of a run that begins now: the first window begins one interval after it.
pub fn begin_now(config: &Config) -> anyhow::Result<NaiveDateTime> {
    let now = Utc::now().naive_utc().trunc_subsecs(0);
    let interval_s = RunPlan::new(config, now)?.plan.interval_s();
    Ok(now - TimeDelta::seconds(i64::try_from(interval_s)?))
}

/// Where the run delivers to: all targets, and the sinks that take files. That of SFTP is made by
/// `sftp`. Key files are read; no network is used yet.
///
/// # Errors
/// Credentials that cannot be used.
pub fn sinks(
    config: &Config,
    sftp: fn(&SftpConfig) -> Result<SftpSink, SftpError>,
) -> Result<(SinkTargets, Vec<Arc<dyn FileSink>>), FileSinkError> {
    let (mut targets, mut files) = (SinkTargets::new(), Vec::<Arc<dyn FileSink>>::new());
    for kind in &config.run.sinks {
        match kind {
            SinkKind::Files(FileSinkKind::Sftp) => files.push(Arc::new(sftp(&config.sftp)?)),
            SinkKind::Files(FileSinkKind::Directory) => {
                files.push(Arc::new(DirectorySink::new(&config.run.directory)));
            }
            // A Kafka cluster shows by its own progress record whether it is the same.
            SinkKind::Kafka => drop(targets.insert(KAFKA.to_owned(), KAFKA.to_owned())),
        }
    }
    targets.extend(files.iter().map(|sink| (sink.name().to_owned(), sink.target())));
    Ok((targets, files))
}

/// What the stream processor counts. `accept_loss`: go on where messages were lost; `until_end`: rather
/// end than wait for more.
pub fn process(config: &Config, accept_loss: bool, until_end: bool) -> ProcessConfig {
    let streams = config.data.scenario.streams.iter();
    let streams: Vec<Stream> = streams.filter(|&of| message::reports_usage(of)).collect();
    ProcessConfig {
        kafka: config.kafka.clone(),
        streams: Streams::of(&streams),
        topics: config.records.topics.clone(),
        message_format: config.records.message_format,
        settings: config.process.clone(),
        accept_loss,
        until_end,
    }
}
