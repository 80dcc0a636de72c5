//! What values that depend on each other must fulfil.

use cdr_model::{Plan, Scenario, Stream};

use super::{Config, StartTime};
use crate::delivery::pace::Pace;
use crate::settings::{ConfigError, Resolved};

pub(super) fn check(config: &Config, values: &Resolved) -> Result<(), ConfigError> {
    check_plan(config)?;
    check_pace(config, values)?;
    if config.data.start == StartTime::Now && config.run.shard.count() > 1 {
        return Err(ConfigError::NowInShards { start: values.value("data.start")?.origin.clone() });
    }
    check_topics(config)?;
    check_transaction_times(config)
}

fn check_plan(config: &Config) -> Result<(), ConfigError> {
    let scenario = match config.data.start {
        StartTime::At(start) => Scenario { start, ..config.data.scenario.clone() },
        StartTime::Now => config.data.scenario.clone(),
    };
    Plan::new(&scenario, config.run.shard)?;
    Ok(())
}

/// A run that follows the clock from now on has the clock's pace. One that first catches up with
/// a past start may do that at any pace.
fn check_pace(config: &Config, values: &Resolved) -> Result<(), ConfigError> {
    let key = match config.run.pace {
        Pace::Max | Pace::Factor(1.0) => return Ok(()),
        Pace::Factor(_) => "run.pace",
        Pace::Rate(_) => "run.rate",
    };
    if !config.run.follow || config.data.start != StartTime::Now {
        return Ok(());
    }
    let value = values.value(key)?;
    Err(ConfigError::NowAtAnotherPace {
        start: values.value("data.start")?.origin.clone(),
        key,
        given: value.shown().to_owned(),
        origin: value.origin.clone(),
    })
}

fn check_topics(config: &Config) -> Result<(), ConfigError> {
    let of_stream = |(stream, topic): (Stream, &String)| {
        (format!("kafka.topic_{}", stream.short_name()), topic.clone())
    };
    let mut topics: Vec<(String, String)> = config.records.topics.iter().map(of_stream).collect();
    topics.push(("kafka.topic_progress".to_owned(), config.records.topic_progress.clone()));
    topics.push(("kafka.topic_dead_letter".to_owned(), config.process.topic_dead_letter.clone()));
    for (index, (second, topic)) in topics.iter().enumerate() {
        if let Some((first, _)) = topics[..index].iter().find(|(_, earlier)| earlier == topic) {
            let (first, second) = (first.clone(), second.clone());
            return Err(ConfigError::SameTopic { first, second, topic: topic.clone() });
        }
    }
    Ok(())
}

fn check_transaction_times(config: &Config) -> Result<(), ConfigError> {
    let (open, timeout) = (config.records.transaction_open, config.kafka.transaction_timeout);
    match open < timeout {
        true => Ok(()),
        false => Err(ConfigError::TransactionTimes {
            open_ms: open.as_millis(),
            timeout_ms: timeout.as_millis(),
        }),
    }
}
