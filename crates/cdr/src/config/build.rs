//! Makes the one validated [`Config`] of resolved texts.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use super::choice::Choice;
use super::error::ConfigError;
use super::parse;
use super::resolve::Resolved;
use super::values::{
    ApiSettings, Config, DataConfig, FilesConfig, KafkaSettings, LogSettings, Pace, ProcessSettings,
    RunConfig, SftpSettings, SinkKind, StartTime,
};
use crate::processing::store::StoreConfig;
use crate::processing::tariff::Tariff;
use crate::secret::Secret;

/// Everybody knows it.
const DEFAULT_PASSWORD: &str = "password";

/// Reads a small text file.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

impl Config {
    /// Checks every value by itself and those that depend on each other. `read_file` reads the
    /// password file.
    pub fn build(resolved: &Resolved, read_file: ReadFile<'_>) -> Result<Self, ConfigError> {
        let config = Self {
            env: resolved.environment,
            data: data(resolved)?,
            files: FilesConfig { line_end: resolved.word("files.line_end")? },
            run: run(resolved)?,
            sftp: sftp(resolved, read_file)?,
            kafka: kafka(resolved)?,
            process: process(resolved)?,
            tariff: Tariff {
                zar_per_gb: resolved.required("tariff.zar_per_gb", parse::amount)?,
                zar_per_minute: resolved.required("tariff.zar_per_minute", parse::amount)?,
                wak_per_zar: resolved.required("tariff.wak_per_zar", parse::amount)?,
            },
            api: api(resolved)?,
            metrics: SocketAddr::new(
                resolved.required("metrics.bind", |text| text.parse().ok())?,
                resolved.whole("metrics.port")?,
            ),
            log: LogSettings {
                level: resolved.word("log.level")?,
                format: resolved.word("log.format")?,
                progress: resolved.word("log.progress")?,
            },
        };
        check_plan(&config.data)?;
        check_pace(&config, resolved)?;
        if config.data.start == StartTime::Now && config.run.shard.count > 1 {
            return Err(ConfigError::NowInShards {
                start: resolved.value("data.start")?.origin.clone(),
            });
        }
        check_topics(&config.kafka)?;
        check_transaction_times(&config.kafka)?;
        check_sign_in(&config)?;
        Ok(config)
    }
}

fn data(resolved: &Resolved) -> Result<DataConfig, ConfigError> {
    Ok(DataConfig {
        seed: resolved.whole("data.seed")?,
        start: resolved.required("data.start", parse::start)?,
        total_seconds: resolved.whole("data.total_seconds")?,
        line_count: resolved.whole("data.line_count")?,
        lines_per_second: resolved.whole("data.lines_per_second")?,
        profile: resolved.word("data.profile")?,
        subscribers: resolved.whole("data.subscribers")?,
        destinations: resolved.whole("data.destinations")?,
        towers: resolved.whole("data.towers")?,
        sites: resolved.whole("data.sites")?,
        country: resolved.whole("data.country")?,
        mobile_prefixes: resolved.optional_list("data.mobile_prefixes", parse::prefix)?,
        subscriber_digits: resolved.optional_whole("data.subscriber_digits")?,
    })
}

fn run(resolved: &Resolved) -> Result<RunConfig, ConfigError> {
    let pace = resolved.required("run.pace", parse::pace)?;
    let rate = resolved.optional_whole("run.rate")?;
    Ok(RunConfig {
        name: resolved.text("run.name", parse::is_run_name)?,
        sinks: resolved.list("run.sinks", SinkKind::from_word)?,
        directory: resolved.path("run.directory")?,
        index_file: resolved.path("run.index_file")?,
        shard: resolved.required("run.shard", parse::shard)?,
        pace: match (rate, pace) {
            (None, pace) => pace,
            (Some(rate), Pace::Max) => Pace::Rate(rate),
            (Some(_), _) => {
                let pace = resolved.value("run.pace")?;
                return Err(ConfigError::PaceAndRate {
                    rate: resolved.value("run.rate")?.origin.clone(),
                    pace: pace.shown().to_owned(),
                    pace_origin: pace.origin.clone(),
                });
            }
        },
        follow: resolved.switch("run.follow")?,
    })
}

fn sftp(resolved: &Resolved, read_file: ReadFile<'_>) -> Result<SftpSettings, ConfigError> {
    Ok(SftpSettings {
        host: resolved.text("sftp.host", parse::is_host)?,
        port: resolved.whole("sftp.port")?,
        user: resolved.text("sftp.user", parse::is_given)?,
        password: password(resolved, read_file)?,
        key_file: resolved.optional_path("sftp.key_file")?,
        key_passphrase: resolved.secret("sftp.key_passphrase")?,
        agent: resolved.switch("sftp.agent")?,
        remote_path: resolved.text("sftp.remote_path", parse::is_given)?,
        known_hosts: resolved.path("sftp.known_hosts")?,
        host_key_policy: resolved.word("sftp.host_key_policy")?,
        upload_mode: resolved.word("sftp.upload_mode")?,
        connections: resolved.whole("sftp.connections")?,
        in_flight: resolved.whole("sftp.in_flight")?,
        connect_timeout: resolved.seconds("sftp.connect_timeout_seconds")?,
        request_timeout: resolved.seconds("sftp.request_timeout_seconds")?,
        keepalive: resolved.seconds("sftp.keepalive_seconds")?,
        give_up: resolved.seconds("sftp.give_up_seconds")?,
    })
}

/// The password file is only set here when it won over the password.
fn password(resolved: &Resolved, read_file: ReadFile<'_>) -> Result<Option<Secret>, ConfigError> {
    let Some(path) = resolved.optional_path("sftp.password_file")? else {
        return resolved.secret("sftp.password");
    };
    let origin = resolved.value("sftp.password_file")?.origin.clone();
    let text = match read_file(&path) {
        Ok(text) => text,
        Err(source) => {
            return Err(ConfigError::PasswordFile { path, origin, source });
        }
    };
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let password = line.strip_suffix('\r').unwrap_or(line);
    if password.is_empty() {
        return Err(ConfigError::PasswordFileEmpty { path, origin });
    }
    Ok(Some(Secret::new(password)))
}

fn kafka(resolved: &Resolved) -> Result<KafkaSettings, ConfigError> {
    let properties = resolved.properties.iter();
    Ok(KafkaSettings {
        brokers: resolved.list("kafka.brokers", parse::broker)?,
        topic_data: resolved.text("kafka.topic_data", parse::is_topic)?,
        topic_voice: resolved.text("kafka.topic_voice", parse::is_topic)?,
        topic_progress: resolved.text("kafka.topic_progress", parse::is_topic)?,
        topic_dead_letter: resolved.text("kafka.topic_dead_letter", parse::is_topic)?,
        partitions: resolved.whole("kafka.partitions")?,
        replication: resolved.whole("kafka.replication")?,
        compression: resolved.word("kafka.compression")?,
        timestamp: resolved.word("kafka.timestamp")?,
        transaction_records: resolved.whole("kafka.transaction_records")?,
        transaction_bytes: resolved.whole("kafka.transaction_bytes")?,
        transaction_open_max: resolved.milliseconds("kafka.transaction_ms")?,
        transaction_timeout: resolved.milliseconds("kafka.transaction_timeout_ms")?,
        give_up: resolved.seconds("kafka.give_up_seconds")?,
        properties: properties.map(|(name, p)| (name.clone(), p.value.clone())).collect(),
    })
}

fn process(resolved: &Resolved) -> Result<ProcessSettings, ConfigError> {
    Ok(ProcessSettings {
        group: resolved.text("process.group", parse::is_group)?,
        batch_records: resolved.whole("process.batch_records")?,
        batch_open_max: resolved.milliseconds("process.batch_ms")?,
        store: match resolved.secret("store.url")? {
            Some(url) => StoreConfig::Postgres(url),
            None => StoreConfig::File(resolved.path("store.path")?),
        },
    })
}

/// Whoever has not chosen a password answers only those on the same machine, unless told otherwise.
fn api(resolved: &Resolved) -> Result<ApiSettings, ConfigError> {
    let password =
        resolved.required("api.password", |text| (!text.is_empty()).then(|| Secret::new(text)))?;
    let password_is_default = password.expose() == DEFAULT_PASSWORD;
    let bind = resolved.optional("api.bind", |text| text.parse().ok())?;
    let bind = bind.unwrap_or(match password_is_default {
        true => IpAddr::V4(Ipv4Addr::LOCALHOST),
        false => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    });
    Ok(ApiSettings {
        address: SocketAddr::new(bind, resolved.whole("api.port")?),
        user: resolved.text("api.user", parse::is_api_user)?,
        password,
        password_is_default,
    })
}

/// A plan needs at least one file, and at least a second between files.
fn check_plan(data: &DataConfig) -> Result<(), ConfigError> {
    let line_count = u64::from(data.line_count);
    let lines_per_second = u64::from(data.lines_per_second);
    let total_seconds = data.total_seconds;
    let records = total_seconds * lines_per_second;
    let files = round_half_even(records, line_count);
    if files == 0 {
        return Err(ConfigError::NoFiles { total_seconds, lines_per_second, line_count, records });
    }
    if round_half_even(total_seconds, files) == 0 {
        let line_count_min = lines_per_second;
        return Err(ConfigError::NoInterval { total_seconds, files, line_count_min });
    }
    Ok(())
}

/// `numerator / denominator` rounded to the nearest whole number, a half to the even one, as
/// Python's `round` does. The denominator must not be 0.
fn round_half_even(numerator: u64, denominator: u64) -> u64 {
    let (quotient, twice_rest) = (numerator / denominator, numerator % denominator * 2);
    let up = twice_rest > denominator || (twice_rest == denominator && quotient % 2 == 1);
    quotient + u64::from(up)
}

/// A run that follows the clock from now on has the clock's pace. One that first catches up with
/// a past start may do that at any pace.
fn check_pace(config: &Config, resolved: &Resolved) -> Result<(), ConfigError> {
    let key = match config.run.pace {
        Pace::Max | Pace::Factor(1.0) => return Ok(()),
        Pace::Factor(_) => "run.pace",
        Pace::Rate(_) => "run.rate",
    };
    if !config.run.follow || config.data.start != StartTime::Now {
        return Ok(());
    }
    let value = resolved.value(key)?;
    Err(ConfigError::NowAtAnotherPace {
        start: resolved.value("data.start")?.origin.clone(),
        key,
        given: value.shown().to_owned(),
        origin: value.origin.clone(),
    })
}

fn check_topics(kafka: &KafkaSettings) -> Result<(), ConfigError> {
    let topics = [
        ("kafka.topic_data", &kafka.topic_data),
        ("kafka.topic_voice", &kafka.topic_voice),
        ("kafka.topic_progress", &kafka.topic_progress),
        ("kafka.topic_dead_letter", &kafka.topic_dead_letter),
    ];
    for (index, (second, topic)) in topics.into_iter().enumerate() {
        if let Some((first, _)) = topics[..index].iter().find(|(_, earlier)| *earlier == topic) {
            return Err(ConfigError::SameTopic { first, second, topic: topic.clone() });
        }
    }
    Ok(())
}

fn check_transaction_times(kafka: &KafkaSettings) -> Result<(), ConfigError> {
    if kafka.transaction_open_max < kafka.transaction_timeout {
        return Ok(());
    }
    Err(ConfigError::TransactionTimes {
        open_ms: kafka.transaction_open_max.as_millis(),
        timeout_ms: kafka.transaction_timeout.as_millis(),
    })
}

fn check_sign_in(config: &Config) -> Result<(), ConfigError> {
    let sftp = &config.sftp;
    let possible = sftp.password.is_some() || sftp.key_file.is_some() || sftp.agent;
    match config.run.sinks.contains(&SinkKind::Sftp) && !possible {
        true => Err(ConfigError::NoSignIn),
        false => Ok(()),
    }
}
