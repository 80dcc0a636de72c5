//! How a run proceeds.

use std::path::PathBuf;

use cdr_model::Shard;
use cdr_model::progress::KAFKA;

use crate::delivery::pace::Pace;
use crate::files::FileSinkKind;
use crate::settings::parse::is_name;
use crate::settings::{
    Choice, ConfigError, Environment, Resolved, nested, parsed, path, settings, switch, text, whole,
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

impl Choice for SinkKind {
    const ALL: &'static [SinkKind] = &{
        let mut all = [SinkKind::Kafka; FileSinkKind::ALL.len() + 1];
        let mut index = 1;
        while index < all.len() {
            all[index] = SinkKind::Files(FileSinkKind::ALL[index - 1]);
            index += 1;
        }
        all
    };

    fn word(self) -> &'static str {
        match self {
            SinkKind::Kafka => KAFKA,
            SinkKind::Files(kind) => kind.name(),
        }
    }
}

settings! {
    /// How a run proceeds.
    pub struct RunConfig in "run" {
        /// which defaults apply
        pub env: Environment = word("CDR_ENV").key("run.env").flag("env").value("ENV")
            .unset("dev where USER is set and not empty, otherwise prod"),
        /// identity of the run: its progress and transactions carry it
        pub name: String = text(
            "RUN_NAME",
            "a name of 1 to 64 characters A-Z a-z 0-9 . _ -, not ending as -2-of-8 does",
            is_run_name,
        ).value("NAME").default("cdr"),
        /// where to deliver
        pub sinks: Vec<SinkKind> = words("SINKS").default("sftp,kafka"),
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
            Err(ConfigError::PaceAndRate {
                rate: values.value("run.rate")?.origin.clone(),
                pace: pace.shown().to_owned(),
                pace_origin: pace.origin.clone(),
            })
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

/// The name of a run. One that ends like a shard would be that shard's transactional id.
fn is_run_name(text: &str) -> bool {
    is_name(text, 64) && !ends_like_a_shard(text)
}

/// `…-2-of-8`
fn ends_like_a_shard(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((rest, count)) = text.rsplit_once("-of-") else { return false };
    let index = rest.rsplit_once('-').map(|(_, index)| index);
    is_number(count) && index.is_some_and(is_number)
}
