//! What goes into the topics.

use std::time::Duration;

use cdr_model::{MessageFormat, PerStream, Stream};

use crate::settings::{
    ConfigError, Field, Resolved, Setting, is_topic, milliseconds, settings, topic, whole, word,
};

settings! {
    /// What goes into the topics, and in transactions of which size.
    pub struct RecordsConfig in "kafka" {
        /// topic of records
        pub topics: PerStream<String> = Topics,
        /// encoding of the messages
        pub message_format: MessageFormat =
            word("MESSAGE_FORMAT", MessageFormat::NAMES, MessageFormat::from_name).default("json"),
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

/// A setting for the topic of each stream: `TOPIC_DATA`.
struct Topics;

impl Field<PerStream<String>> for Topics {
    fn declare(&self, section: &str, _: &[&'static str], list: &mut Vec<Setting>) {
        for stream in Stream::ALL {
            let env = format!("TOPIC_{}", stream.short_name().to_uppercase());
            let help = format!("topic of {} records", stream.short_name());
            topic(env.leak()).default(stream.name()).declare(section, &[help.leak()], list);
        }
    }

    fn read(&self, section: &str, values: &Resolved) -> Result<PerStream<String>, ConfigError> {
        let mut topics = PerStream::default();
        for stream in Stream::ALL {
            let key = format!("{section}.topic_{}", stream.short_name());
            let value = values.value(&key)?;
            let topic = value.text.clone().filter(|text| is_topic(text));
            topics[stream] = topic.ok_or_else(|| value.refused())?;
        }
        Ok(topics)
    }
}
