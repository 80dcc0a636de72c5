//! Configuration: defaults by environment, then `cdr.toml`, then environment variables, then flags.
//!
//! [`Config`] is made of the sections that declare what can be set, and [`SETTINGS`] is the list of all
//! that they declare. [`resolve()`] layers the sources into texts that know where they came from;
//! [`Config::build`] reads and checks them; [`load()`] does both for this process.

mod checks;
mod data;
mod file;
mod flags;
mod load;
mod properties;
mod resolve;
mod run;

#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use cdr_model::FileFormat;

use self::data::FilesSettings;
pub use self::data::{DataConfig, StartTime};
pub use self::file::FileText;
pub use self::flags::{All, DataOnly, FlagValues, Flags, ProcessOnly, RunOnly, StatsOnly, UsageOnly};
pub use self::load::{Loaded, load};
pub use self::resolve::{Inputs, resolve};
pub use self::run::{RunConfig, SinkKind};
use crate::delivery::records::RecordsConfig;
use crate::files::sftp::SftpConfig;
use crate::kafka::KafkaConfig;
use crate::processing::ProcessSettings;
use crate::processing::api::ApiConfig;
use crate::processing::metrics::MetricsConfig;
use crate::processing::tariff::Tariff;
use crate::settings::{ConfigError, Resolved, Section, Setting, nested, path, settings};
use crate::telemetry::LogConfig;

settings! {
    /// Everything that `cdr` is configured with, validated.
    pub struct Config in "" {
        /// How a run proceeds.
        pub run: RunConfig = nested(|section, _| Ok(section)),
        /// What is simulated.
        pub data: DataConfig = nested(|section, _| Ok(section)),
        /// How files hold it.
        pub file_format: FileFormat = nested(|files: FilesSettings, _| {
            Ok(FileFormat::from_name(&files.format, files.line_end).unwrap_or_default())
        }),
        /// How to reach the SFTP server.
        pub sftp: SftpConfig = nested(|section, _| Ok(section)),
        /// How to reach the brokers.
        pub kafka: Arc<KafkaConfig> = nested(|section, _| Ok(Arc::new(section))),
        /// What goes into the topics.
        pub records: Arc<RecordsConfig> = nested(|section, _| Ok(Arc::new(section))),
        /// How the stream processor works.
        pub process: ProcessSettings = nested(|section, _| Ok(section)),
        /// What usage costs.
        pub tariff: Tariff = nested(|section, _| Ok(section)),
        /// Where and to whom the usage API answers.
        pub api: ApiConfig = nested(|section, _| Ok(section)),
        /// Where metrics are served.
        pub metrics: MetricsConfig = nested(|section, _| Ok(section)),
        /// What is reported on standard error.
        pub log: LogConfig = nested(|section, _| Ok(section)),
    }
}

impl Config {
    /// Checks every value by itself and those that depend on each other.
    ///
    /// # Errors
    /// The first value that cannot be.
    pub fn build(resolved: &Resolved) -> Result<Self, ConfigError> {
        let config = Config::read(resolved)?;
        checks::check(&config, resolved)?;
        Ok(config)
    }
}

/// The registry: all settings, as the sections declare them, in the order in which help and tables show
/// them. Flags, variables, the keys of `cdr.toml` and the documentation's table are made from it.
pub static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let mut list = Vec::new();
    Config::declare(&mut list);
    list
});

/// Where `cdr.toml` is. Not in [`SETTINGS`], because the file cannot hold its own path.
pub static CONFIG_FILE: LazyLock<Setting> = LazyLock::new(|| {
    let declared = path("CDR_CONFIG").key("config").flag("config").value("FILE");
    declared.unset("cdr.toml, when it exists").setting("", &["configuration file, TOML"])
});

/// Of the environment, by which the other settings' defaults go.
const ENVIRONMENT_KEY: &str = "run.env";

fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
