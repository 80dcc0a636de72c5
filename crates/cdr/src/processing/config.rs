//! How the stream processor works.

use std::path::PathBuf;
use std::time::Duration;

use super::store::StoreConfig;
use crate::secret::Secret;
use crate::settings::{milliseconds, nested, path, secret, settings, text, topic, whole};

settings! {
    /// How the stream processor works.
    pub struct ProcessSettings in "process" {
        /// topic of messages that the stream processor cannot use
        pub topic_dead_letter: String = topic("TOPIC_DEAD_LETTER")
            .key("kafka.topic_dead_letter").default("cdr_dead_letter"),
        /// consumer group of the stream processor
        pub group: String = text("PROCESS_GROUP", "a name of 1 to 249 characters", is_group)
            .value("NAME").default("cdr-summary-unified"),
        /// records that are stored at once at most
        pub batch_records: usize = whole("PROCESS_BATCH_RECORDS", 1..=1_000_000).default("100000"),
        /// how long records wait to be stored at most, in milliseconds
        pub batch_open: Duration = milliseconds("PROCESS_BATCH_MS", 10..=60_000).default("500"),
        /// Where usage is kept.
        pub store: StoreConfig = nested(|settings: StoreSettings, _| {
            Ok(match settings.url {
                Some(url) => StoreConfig::Postgres(url),
                None => StoreConfig::File(settings.path),
            })
        }),
    }
}

settings! {
    /// The two kinds of store.
    pub struct StoreSettings in "store" {
        /// SQLite file that keeps the usage
        pub path: PathBuf = path("STORE_PATH").value("FILE").default("usage.db"),
        /// PostgreSQL that keeps the usage instead, for several processors: postgres://user:password@host/name
        pub url: Option<Secret> = secret("STORE_URL").optional().unset("the file is used"),
    }
}

/// The name of a consumer group: Kafka takes any text that is not empty.
fn is_group(text: &str) -> bool {
    (1..=249).contains(&text.len()) && !text.contains(char::is_control)
}
