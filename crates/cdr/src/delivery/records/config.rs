//! What goes into the topics.

use std::time::Duration;

use cdr_model::{MessageFormat, PerStream, Stream};

use crate::settings::parse::{TOPIC, is_topic};
use crate::settings::{
    ConfigError, Declared, Field, Resolved, Setting, milliseconds, one_of, settings, text, whole,
};

settings! {
    /// What goes into the topics, and in transactions of which size.
    pub struct RecordsConfig in "kafka" {
        /// topic of records
        pub topics: PerStream<String> = Topics,
        /// encoding of the messages
        pub message_format: MessageFormat = one_of("MESSAGE_FORMAT", MessageFormat::NAMES)
            .map(|name| MessageFormat::from_name(name).unwrap_or_default()).default("json"),
        /// topic of the runs' progress
        pub topic_progress: String = topic("TOPIC_PROGRESS").default("cdr_progress"),
        /// records per transaction at most
        pub transaction_records: u32 =
            whole("KAFKA_TRANSACTION_RECORDS", 1..=10_000_000).default("400000"),
        /// bytes per transaction at most (100,663,296 are 96 MiB)
        pub transaction_bytes: usize =
            whole("KAFKA_TRANSACTION_BYTES", 1_024..=1_073_741_824).value("BYTES").default("100663296"),
        /// how long a transaction stays open at most at a slow pace, in milliseconds
        pub transaction_open: Duration = milliseconds("KAFKA_TRANSACTION_MS", 50..=60_000).default("1000"),
    }
}

fn topic(env: impl Into<std::borrow::Cow<'static, str>>) -> Declared<String> {
    text(env, TOPIC, is_topic).value("TOPIC")
}

/// A setting for the topic of each stream: `TOPIC_DATA`.
struct Topics;

impl Topics {
    fn of(stream: Stream) -> Declared<String> {
        let env = format!("TOPIC_{}", stream.short_name().to_uppercase());
        topic(env).default(stream.name())
    }
}

impl Field<PerStream<String>> for Topics {
    fn declare(&self, section: &str, _: &[&'static str], list: &mut Vec<Setting>) {
        for stream in Stream::ALL {
            let help = format!("topic of {} records", stream.short_name());
            Topics::of(stream).declare(section, &[help.leak()], list);
        }
    }

    fn read(&self, section: &str, values: &Resolved) -> Result<PerStream<String>, ConfigError> {
        let mut topics = PerStream::default();
        for stream in Stream::ALL {
            topics[stream] = Topics::of(stream).read(section, values)?;
        }
        Ok(topics)
    }
}
