//! Configuration → the scenario, and what each sink needs to know.

use std::sync::Arc;

use cdr_model::progress::{Parameters, Places, Sinks};
use cdr_model::{LineEnd, NumberingPlan, Plan, Profile, Scenario, Shard};
use chrono::NaiveDateTime;

use crate::config::{self, Config, RecordTimestamp, SinkKind};
use crate::delivery::pace::Pace;
use crate::delivery::sink::kafka::{KafkaConfig, RunId, Timestamps};
use crate::delivery::sink::sftp::{HostKeyPolicy, SftpConfig, UploadMode};
use crate::processing::ProcessConfig;

/// What to simulate, beginning at `start`.
///
/// # Errors
/// A numbering plan that cannot be.
pub fn scenario(config: &Config, start: NaiveDateTime) -> anyhow::Result<Scenario> {
    let data = &config.data;
    let (prefixes, digits) = (data.mobile_prefixes.clone(), data.subscriber_digits);
    Ok(Scenario {
        seed: data.seed,
        start,
        total_seconds: data.total_seconds,
        line_count: data.line_count,
        lines_per_second: data.lines_per_second,
        profile: match data.profile {
            config::Profile::Uniform => Profile::Uniform,
        },
        subscribers: data.subscribers,
        destinations: data.destinations,
        towers: data.towers,
        sites: data.sites,
        numbering: NumberingPlan::new(data.country, prefixes, digits)?,
    })
}

/// What ends the lines of the files.
pub fn line_end(config: &Config) -> LineEnd {
    match config.files.line_end {
        config::LineEnd::Lf => LineEnd::Lf,
        config::LineEnd::CrLf => LineEnd::CrLf,
    }
}

/// What a run must have in common with an earlier one to continue it.
pub fn parameters(config: &Config, scenario: &Scenario) -> Parameters {
    Parameters::new(scenario, line_end(config))
        .with("RUN_NAME", &config.run.name)
        .with("TOPIC_DATA", &config.kafka.topic_data)
        .with("TOPIC_VOICE", &config.kafka.topic_voice)
}

/// Where the run's sinks deliver to.
pub fn places(config: &Config) -> Places {
    let (sftp, folder) = (self::sftp(config), &config.run.directory);
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
    let sftp = format!("{}@{}/{}", sftp.user, sftp.address(), sftp.remote_path);
    let place = |sink: &SinkKind| match sink {
        // A Kafka cluster shows by its own progress record whether it is the same.
        SinkKind::Kafka => "kafka".to_owned(),
        SinkKind::Sftp => sftp.clone(),
        SinkKind::Directory => folder.display().to_string(),
    };
    config.run.sinks.iter().map(|sink| (sink.name().to_owned(), place(sink))).collect()
}

pub fn sinks(config: &Config) -> Sinks {
    let has = |kind| config.run.sinks.contains(&kind);
    Sinks { kafka: has(SinkKind::Kafka), sftp: has(SinkKind::Sftp), directory: has(SinkKind::Directory) }
}

/// # Errors
/// A shard that cannot be.
pub fn run_id(config: &Config) -> anyhow::Result<RunId> {
    let config::Shard { index, count } = config.run.shard;
    let shard = Shard::new(index.into(), count.into())?;
    Ok(RunId { name: config.run.name.clone(), shard })
}

/// How many simulated seconds pass in a second, if not as many as can be.
pub fn pace(config: &Config, plan: &Plan) -> Pace {
    match config.run.pace {
        config::Pace::Max => Pace::Max,
        config::Pace::Factor(factor) => Pace::Factor(factor),
        config::Pace::Rate(rate) => {
            // The interval is rounded, so this is not quite the configured LINES_PER_SECOND.
            let simulated = f64::from(plan.line_count()) / plan.interval_s() as f64;
            Pace::Factor(f64::from(rate) / simulated)
        }
    }
}

pub fn sftp(config: &Config) -> SftpConfig {
    let sftp = config.sftp.clone();
    SftpConfig {
        host: sftp.host,
        port: sftp.port,
        user: sftp.user,
        password: sftp.password,
        key_file: sftp.key_file,
        key_passphrase: sftp.key_passphrase,
        use_agent: sftp.agent,
        known_hosts: sftp.known_hosts,
        host_key_policy: match sftp.host_key_policy {
            config::HostKeyPolicy::AcceptNew => HostKeyPolicy::AcceptNew,
            config::HostKeyPolicy::Strict => HostKeyPolicy::Strict,
        },
        remote_path: sftp.remote_path,
        upload_mode: match sftp.upload_mode {
            config::UploadMode::Rename => UploadMode::Rename,
            config::UploadMode::Direct => UploadMode::Direct,
        },
        connections: sftp.connections,
        connect_timeout: sftp.connect_timeout,
        request_timeout: sftp.request_timeout,
        keepalive: sftp.keepalive,
        give_up_after: sftp.give_up,
    }
}

pub fn kafka(config: &Config) -> KafkaConfig {
    let kafka = config.kafka.clone();
    KafkaConfig {
        brokers: kafka.brokers.join(","),
        topic_data: kafka.topic_data,
        topic_voice: kafka.topic_voice,
        topic_progress: kafka.topic_progress,
        partitions: kafka.partitions.unsigned_abs(),
        replication: Some(kafka.replication.unsigned_abs()).filter(|&n| n > 0),
        compression: kafka.compression.name().to_owned(),
        timestamps: match kafka.timestamp {
            RecordTimestamp::Send => Timestamps::Send,
            RecordTimestamp::Event => Timestamps::Event,
        },
        transaction_records: u32::try_from(kafka.transaction_records).unwrap_or(u32::MAX),
        transaction_bytes: kafka.transaction_bytes,
        transaction_open: kafka.transaction_open_max,
        transaction_timeout: kafka.transaction_timeout,
        give_up_after: kafka.give_up,
        properties: kafka.properties,
    }
}

/// `accept_loss`: go on where messages were lost; `until_end`: rather end than wait for more.
pub fn process(config: &Config, accept_loss: bool, until_end: bool) -> ProcessConfig {
    ProcessConfig {
        kafka: Arc::new(kafka(config)),
        group: config.process.group.clone(),
        topic_dead_letter: config.kafka.topic_dead_letter.clone(),
        batch_records: config.process.batch_records,
        batch_open: config.process.batch_open_max,
        accept_loss,
        until_end,
    }
}
