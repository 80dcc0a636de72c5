//! What cdr is compared with, and what reads what it wrote.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cdr::delivery::records::{Blocks, Limits};
use cdr::files::sftp::{SftpConfig, SftpSink};
use cdr::files::{FileSink as _, Unconditional};
use cdr::kafka::{Handover, KafkaConfig};
use cdr_model::progress::RecordCursor;
use cdr_model::{Generator, MessageFormat, PerStream, Plan};
use chrono::{NaiveDateTime, Utc};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tokio::sync::Semaphore;

use super::variable;

/// The same records by the same client with the same settings, but no transaction.
#[expect(clippy::disallowed_methods, reason = "nothing else runs in this thread")]
pub(super) fn without_transactions(
    config: &KafkaConfig,
    topics: &PerStream<String>,
    plan: &Plan,
    generator: &Generator,
) -> Result<Duration> {
    let mut properties = config.producer("unused");
    properties.remove("transactional.id").remove("transaction.timeout.ms");
    let producer: ThreadedProducer<DefaultProducerContext> = properties.create()?;
    let mut blocks =
        Blocks::new(MessageFormat::default(), &PerStream::from_fn(|_| config.partitions as usize));
    let limits = Limits { records: 5_000, bytes: usize::MAX, before: plan.history_end() };
    let mut at = RecordCursor::at(plan.first());
    let begun = Instant::now();
    while !plan.is_done(at.part) {
        blocks.clear();
        at = blocks.fill(generator, plan, at, limits);
        for (stream, partition, block) in blocks.iter() {
            let (topic, mut batch) = (&topics[stream], Handover::of(block));
            while let Err(code) = batch.hand_over(&producer, topic, partition) {
                ensure!(code == RDKafkaErrorCode::QueueFull, "{code}");
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(begun.elapsed())
}

/// Uploads the same content under many names, connecting included.
pub(super) async fn upload(settings: SftpConfig, count: usize, content: Vec<u8>) -> Result<Duration> {
    let begun = Instant::now();
    let in_flight = settings.in_flight;
    let store = Arc::new(SftpSink::new(&settings)?);
    let (room, content) = (Arc::new(Semaphore::new(in_flight)), Arc::new(content));
    let mut uploads = tokio::task::JoinSet::new();
    for number in 0..count {
        let permit = room.clone().acquire_owned().await?;
        let (store, content) = (store.clone(), content.clone());
        uploads.spawn(async move {
            let result = store.put(&format!("file-{number:04}.csv"), content, &Unconditional).await;
            drop(permit);
            result
        });
    }
    while let Some(result) = uploads.join_next().await {
        result??;
    }
    store.close().await;
    Ok(begun.elapsed())
}

/// Sees what is committed from now on.
pub(super) struct Reader(BaseConsumer);

impl Reader {
    pub(super) fn at_the_end(brokers: &str, topics: &[&str]) -> Result<Reader> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "bench")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .create()?;
        let mut list = TopicPartitionList::new();
        for topic in topics {
            let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10))?;
            let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
            for partition in 0..partitions as i32 {
                let (_, end) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(10))?;
                list.add_partition_offset(topic, partition, Offset::Offset(end))?;
            }
        }
        consumer.assign(&list)?;
        Ok(Reader(consumer))
    }

    /// How late the next record comes, in milliseconds after the time of its event.
    pub(super) fn next_late_ms(&self) -> Result<Option<f64>> {
        let Some(message) = self.0.poll(Duration::from_millis(100)) else { return Ok(None) };
        let now = Utc::now();
        let value: serde_json::Value = serde_json::from_slice(message?.payload().unwrap_or_default())?;
        let time = value.get("event_datetime").or(value.get("start_time"));
        let time = time.and_then(|time| time.as_str()).context("a record without time")?;
        let time = NaiveDateTime::parse_from_str(time, "%Y-%m-%dT%H:%M:%S%.6f")?.and_utc();
        Ok(Some((now - time).as_seconds_f64() * 1_000.0))
    }
}

/// OpenSSH's client, with a key of its own and files to put.
pub(super) struct OpenSsh {
    key: PathBuf,
    files: PathBuf,
    count: usize,
    folder: PathBuf,
}

impl OpenSsh {
    pub(super) fn prepare(folder: &Path, count: usize, bytes: usize) -> Result<Self> {
        let (key, files) = (folder.join("key"), folder.join("files"));
        if !key.exists() {
            let mut made = Command::new("ssh-keygen");
            made.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key);
            ensure!(made.status()?.success(), "ssh-keygen failed");
            let authorized = PathBuf::from(variable("SFTP_AUTHORIZED_KEYS")?);
            let mut keys = fs::read_to_string(&authorized).unwrap_or_default();
            keys.push_str(&fs::read_to_string(key.with_extension("pub"))?);
            fs::write(&authorized, keys)?;
        }
        fs::create_dir_all(&files)?;
        for number in 0..count {
            fs::write(files.join(format!("file-{number:04}.csv")), vec![b'x'; bytes])?;
        }
        Ok(OpenSsh { key, files, count, folder: folder.to_owned() })
    }

    pub(super) fn put(&self, remote: &str) -> Result<Duration> {
        let mut batch = format!("-mkdir {remote}\n");
        for number in 0..self.count {
            let name = format!("file-{number:04}.csv");
            writeln!(batch, "put {} {remote}/{name}", self.files.join(&name).display())?;
        }
        let script = self.folder.join("batch");
        fs::write(&script, batch)?;
        let (host, user) = (variable("SFTP_HOST")?, variable("SFTP_USER")?);
        let begun = Instant::now();
        let output = Command::new("sftp")
            .args(["-q", "-P", &variable("SFTP_PORT")?, "-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-i"])
            .arg(&self.key)
            .arg("-b")
            .arg(&script)
            .arg(format!("{user}@{host}"))
            .output()?;
        ensure!(output.status.success(), "sftp: {}", String::from_utf8_lossy(&output.stderr));
        Ok(begun.elapsed())
    }
}
