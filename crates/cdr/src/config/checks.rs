//! What values that depend on each other must fulfil.

use cdr_model::{Plan, Scenario, Stream};

use super::{Config, StartTime};
use crate::delivery::pace::Pace;
use crate::settings::{ConfigError, Resolved};

pub(super) fn check(config: &Config, values: &Resolved) -> Result<(), ConfigError> {
    let scenario = match config.data.start {
        StartTime::At(start) => Scenario { start, ..config.data.scenario.clone() },
        StartTime::Now => config.data.scenario.clone(),
    };
    Plan::new(&scenario, config.run.shard)?;
    if config.data.start == StartTime::Now {
        check_now(config, values)?;
    }
    check_topics(config)?;
    let (open, timeout) = (config.records.transaction_open, config.kafka.transaction_timeout);
    if open >= timeout {
        return Err(ConfigError::new(format!(
            "kafka.transaction_ms ({}) must be lower than kafka.transaction_timeout_ms ({}), \
             or the broker aborts transactions that are still being filled",
            open.as_millis(),
            timeout.as_millis()
        )));
    }
    Ok(())
}

/// A run that follows the clock from now on has the clock's pace. One that first catches up with
/// a past start may do that at any pace.
fn check_now(config: &Config, values: &Resolved) -> Result<(), ConfigError> {
    let start = &values.value("data.start")?.origin;
    let pace = match config.run.pace {
        Pace::Max | Pace::Factor(1.0) => None,
        Pace::Factor(_) => Some("run.pace"),
        Pace::Rate(_) => Some("run.rate"),
    };
    if let Some(key) = pace.filter(|_| config.run.follow) {
        let value = values.value(key)?;
        return Err(ConfigError::new(format!(
            "run.follow with data.start now ({start}) goes with the clock, so {key} {} ({}) cannot make it \
             faster or slower; use the pace max or realtime, or another start",
            value.shown(),
            value.origin
        )));
    }
    if config.run.shard.count() > 1 {
        return Err(ConfigError::new(format!(
            "data.start now ({start}) gives each shard a start of its own, so that their files would collide; \
             give all shards the same start, such as data.start = \"2024-01-01 00:00:00\""
        )));
    }
    Ok(())
}

fn check_topics(config: &Config) -> Result<(), ConfigError> {
    let of_stream =
        |(stream, topic): (Stream, _)| (format!("kafka.topic_{}", stream.short_name()), topic);
    let mut topics: Vec<(String, &String)> = config.records.topics.iter().map(of_stream).collect();
    topics.push(("kafka.topic_progress".to_owned(), &config.records.topic_progress));
    topics.push(("kafka.topic_dead_letter".to_owned(), &config.process.topic_dead_letter));
    for (index, (second, topic)) in topics.iter().enumerate() {
        if let Some((first, _)) = topics[..index].iter().find(|(_, earlier)| earlier == topic) {
            return Err(ConfigError::new(format!(
                "{first} and {second} are both \"{topic}\"; each needs a topic of its own"
            )));
        }
    }
    Ok(())
}
