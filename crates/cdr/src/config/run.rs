//! How a run proceeds.

use std::path::PathBuf;

use cdr_model::Shard;
use cdr_model::progress::KAFKA;

use crate::delivery::pace::Pace;
use crate::files::FileSinkKind;
use crate::settings::{
    ConfigError, Environment, Resolved, is_name, nested, parsed, path, settings, switch, text, whole,
    word, words,
};

/// Where a run delivers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// Records to Kafka topics.
    Kafka,
    /// Files to a file sink.
    Files(FileSinkKind),
}

impl SinkKind {
    pub fn name(self) -> &'static str {
        match self {
            SinkKind::Kafka => KAFKA,
            SinkKind::Files(kind) => kind.name(),
        }
    }

    fn from_name(name: &str) -> Option<SinkKind> {
        match name {
            KAFKA => Some(SinkKind::Kafka),
            _ => FileSinkKind::from_name(name).map(SinkKind::Files),
        }
    }
}

settings! {
    /// How a run proceeds.
    pub struct RunConfig in "run" {
        /// which defaults apply
        pub env: Environment = word("CDR_ENV", Environment::NAMES, Environment::from_name)
            .key("run.env").flag("env").value("ENV")
            .unset("dev where USER is set and not empty, otherwise prod"),
        /// identity of the run: its progress and transactions carry it
        pub name: String = text(
            "RUN_NAME",
            "a name of 1 to 64 characters A-Z a-z 0-9 . _ -, not ending as -2-of-8 does",
            is_run_name,
        ).value("NAME").default("cdr"),
        /// where to deliver
        pub sinks: Vec<SinkKind> =
            words("SINKS", &[&[KAFKA], FileSinkKind::NAMES].concat(), SinkKind::from_name).default("sftp,kafka"),
        /// folder of the directory sink
        pub directory: PathBuf =
            path("OUTPUT_DIRECTORY").key("run.directory").flag("directory").default("output"),
        /// holds the index of the last complete part
        pub index_file: PathBuf = path("INDEX_FILE").default("idx_data.dat"),
        /// which share of the parts this process delivers
        pub shard: Shard = parsed("SHARD", "i/n with 1 <= i <= n <= 1024", |text| {
            text.trim().parse().ok()
        }).value("I/N").default("1/1"),
        /// simulated time per real time, or records per second
        pub pace: Pace = nested(pace),
        /// do not end after TOTAL_SECONDS, go on as time advances
        pub follow: bool = switch("FOLLOW"),
    }
}

settings! {
    /// The two ways to give a pace.
    pub struct PaceSettings in "run" {
        /// simulated time per real time
        pub pace: Pace =
            parsed("PACE", "max, realtime, or a factor from 0.001x to 1000000x", read_pace)
                .value("PACE").default("max"),
        /// records per second and stream, in place of a pace
        pub rate: Option<u32> = whole("RATE", 1..=10_000_000).optional().unset("by pace"),
    }
}

fn pace(settings: PaceSettings, values: &Resolved) -> Result<Pace, ConfigError> {
    match (settings.rate, settings.pace) {
        (None, pace) => Ok(pace),
        (Some(rate), Pace::Max) => Ok(Pace::Rate(rate)),
        (Some(_), _) => {
            let pace = values.value("run.pace")?;
            Err(ConfigError::new(format!(
                "run.rate ({}) and run.pace {} ({}) are both given; \
                 a rate needs the pace max, so give only one of them",
                values.value("run.rate")?.origin,
                pace.shown(),
                pace.origin
            )))
        }
    }
}

/// `max`, `realtime` or a factor with an `x`.
fn read_pace(text: &str) -> Option<Pace> {
    match text.trim() {
        "max" => Some(Pace::Max),
        "realtime" => Some(Pace::Factor(1.0)),
        factor => {
            let factor: f64 = factor.strip_suffix('x')?.parse().ok()?;
            (0.001..=1e6).contains(&factor).then_some(Pace::Factor(factor))
        }
    }
}

/// The name of a run. One that ends like a shard, `…-2-of-8`, would be that shard's transactional id.
fn is_run_name(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_shard = text.rsplit_once("-of-").is_some_and(|(rest, count)| {
        is_number(count) && rest.rsplit_once('-').is_some_and(|(_, index)| is_number(index))
    });
    is_name(text, 64) && !is_shard
}
