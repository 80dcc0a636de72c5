//! The settings of a topic, by the names that Kafka gives them.

use std::collections::BTreeMap;

use super::config::Config;
use super::log::Retention;

/// What a value of a setting may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A number of at least this; -1, where it is allowed, stands for "unlimited".
    Number(i64),
    Ratio,
    Bool,
    /// Some of these words, separated by commas.
    Words(&'static [&'static str]),
}

/// A setting that topics have.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    /// `None` where the broker's configuration gives it.
    default: Option<&'static str>,
}

const fn setting(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting { name, kind, default: Some(default) }
}

const fn of_broker(name: &'static str, kind: Kind) -> Setting {
    Setting { name, kind, default: None }
}

/// All settings that are taken. Those of replication, indexes and flushing have no effect on one
/// node; they are kept, because tools set them.
pub const SETTINGS: &[Setting] = &[
    setting("cleanup.policy", Kind::Words(&["delete", "compact"]), "delete"),
    setting("compression.type", Kind::Words(&["producer"]), "producer"),
    setting("delete.retention.ms", Kind::Number(0), "86400000"),
    setting("file.delete.delay.ms", Kind::Number(0), "0"),
    setting("flush.messages", Kind::Number(1), "9223372036854775807"),
    setting("flush.ms", Kind::Number(0), "9223372036854775807"),
    setting("index.interval.bytes", Kind::Number(0), "4096"),
    setting("max.compaction.lag.ms", Kind::Number(1), "9223372036854775807"),
    of_broker("max.message.bytes", Kind::Number(0)),
    setting("message.timestamp.type", Kind::Words(&["CreateTime"]), "CreateTime"),
    setting("min.cleanable.dirty.ratio", Kind::Ratio, "0.5"),
    setting("min.compaction.lag.ms", Kind::Number(0), "0"),
    setting("min.insync.replicas", Kind::Number(1), "1"),
    setting("preallocate", Kind::Bool, "false"),
    of_broker("retention.bytes", Kind::Number(-1)),
    setting("retention.ms", Kind::Number(-1), "-1"),
    of_broker("segment.bytes", Kind::Number(14)),
    setting("segment.index.bytes", Kind::Number(4), "10485760"),
    setting("segment.jitter.ms", Kind::Number(0), "0"),
    setting("segment.ms", Kind::Number(1), "604800000"),
    setting("unclean.leader.election.enable", Kind::Bool, "false"),
];

/// Smaller files than this are not made, whatever a topic wants: each costs memory and time.
const SEGMENT_BYTES_MIN: u64 = 16 << 10;

/// The settings of one topic that differ from the defaults.
pub type Overrides = BTreeMap<String, String>;

/// The setting of a name.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Checks a value.
///
/// # Errors
/// Returns what is wrong, in a sentence for the client.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    let setting = find(name).ok_or_else(|| format!("topics have no setting {name}"))?;
    let fine = match setting.kind {
        Kind::Number(least) => value.parse::<i64>().is_ok_and(|number| number >= least),
        Kind::Ratio => value.parse::<f64>().is_ok_and(|ratio| (0.0..=1.0).contains(&ratio)),
        Kind::Bool => matches!(value, "true" | "false"),
        Kind::Words(known) => value.split(',').all(|word| known.contains(&word.trim())),
    };
    let wanted = || match setting.kind {
        Kind::Number(least) => format!("a number of at least {least}"),
        Kind::Ratio => "a number from 0 to 1".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Words(known) => format!("of {}", known.join(", ")),
    };
    if fine { Ok(()) } else { Err(format!("{name} is {value:?}, but has to be {}", wanted())) }
}

/// The default of a setting.
pub fn default_of(setting: &Setting, config: &Config) -> String {
    match (setting.default, setting.name) {
        (Some(default), _) => default.to_owned(),
        (None, "max.message.bytes") => config.max_message_bytes.to_string(),
        (None, "segment.bytes") => config.segment_bytes.to_string(),
        (None, _) => config.retention_bytes.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string()),
    }
}

/// What the settings of a topic come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effective {
    pub retention: Retention,
    pub compact: bool,
    /// At least this part of a log must be superseded before it is rewritten.
    pub dirty_ratio: f64,
    /// How long a tombstone stays.
    pub delete_retention_ms: i64,
    pub max_message_bytes: usize,
}

impl Effective {
    pub fn of(overrides: &Overrides, config: &Config) -> Self {
        let value = |name: &str| {
            let default = || find(name).map(|setting| default_of(setting, config)).unwrap_or_default();
            overrides.get(name).cloned().unwrap_or_else(default)
        };
        // Values were checked when they were set; of what cannot be read, the harmless is assumed.
        let number = |name: &str| value(name).parse::<i64>().unwrap_or(-1);
        let limit = |name: &str| Some(number(name)).filter(|&limit| limit >= 0);
        let policy = value("cleanup.policy");
        let deletes = policy.contains("delete");
        let segment_bytes = u64::try_from(number("segment.bytes")).unwrap_or(config.segment_bytes);
        let max_message_bytes = usize::try_from(number("max.message.bytes")).unwrap_or(usize::MAX);
        Effective {
            retention: Retention {
                segment_bytes: segment_bytes.max(SEGMENT_BYTES_MIN),
                segment_ms: limit("segment.ms"),
                retention_bytes: limit("retention.bytes").filter(|_| deletes).map(|bytes| bytes as u64),
                retention_ms: limit("retention.ms").filter(|_| deletes),
            },
            compact: policy.contains("compact"),
            dirty_ratio: value("min.cleanable.dirty.ratio").parse().unwrap_or(1.0),
            delete_retention_ms: number("delete.retention.ms").max(0),
            // A request has to hold it.
            max_message_bytes: max_message_bytes.min(config.max_request_bytes - 4_096),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_that_may_be_set() {
        let config = Config::new("");
        for setting in SETTINGS {
            assert_eq!(check(setting.name, &default_of(setting, &config)), Ok(()), "{setting:?}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused_with_a_reason() {
        assert_eq!(check("colour", "red"), Err("topics have no setting colour".to_owned()));
        let refused = check("cleanup.policy", "shred").unwrap_err();
        assert_eq!(refused, "cleanup.policy is \"shred\", but has to be of delete, compact");
        assert!(check("message.timestamp.type", "LogAppendTime").is_err());
        assert!(check("retention.ms", "-2").is_err());
    }

    #[test]
    fn a_compacted_topic_deletes_nothing_by_age_or_size() {
        let config = Config { retention_bytes: Some(5), ..Config::new("") };
        let set = |policy: &str| {
            let overrides = [("cleanup.policy", policy), ("retention.ms", "7")];
            let owned = overrides.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Effective::of(&Overrides::from(owned), &config)
        };
        let retention = set("compact").retention;
        assert_eq!((retention.retention_bytes, retention.retention_ms), (None, None));
        let both = set("compact,delete");
        assert!(both.compact);
        assert_eq!((both.retention.retention_bytes, both.retention.retention_ms), (Some(5), Some(7)));
    }
}
