//! Where records come from, and what they come to.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::Ordering;

use cdr_model::stats::{Known, Statistics};
use cdr_model::{Generator, PartIndex, Plan, Scenario, Shard};
use chrono::Utc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Source;
use crate::config::Config;
use crate::exit::UsageError;
use crate::facts::{Files, Layout, LeftOut, Topics, Window};
use crate::kafka::Cluster;
use crate::setup;
use crate::telemetry::Count;

/// What is to be measured.
pub struct Subject {
    pub config: Config,
    pub layout: Layout,
    pub parts: Option<Range<u64>>,
    /// Whether it comes from elsewhere, so that nothing is known of its world.
    pub foreign: bool,
    pub count: Count,
    pub shutdown: CancellationToken,
}

/// What was found.
pub struct Measured {
    pub statistics: Statistics,
    pub left_out: LeftOut,
    /// What people should know of it.
    pub warnings: Vec<String>,
}

impl Measured {
    fn new(known: Known) -> Measured {
        let (left_out, warnings) = (LeftOut::default(), Vec::new());
        Measured { statistics: Statistics::new(known), left_out, warnings }
    }

    /// Notes what was not taken.
    fn without(mut self, left_out: LeftOut) -> Measured {
        if left_out.late > 0 {
            self.warnings.push(format!(
                "{} records came too late to be put in order, and are left out; sort them by time",
                left_out.late
            ));
        }
        Measured { left_out, ..self }
    }
}

impl Subject {
    /// Measures it; `None` after a shutdown.
    pub fn measure(self, from: &Source) -> anyhow::Result<Option<Measured>> {
        match from {
            Source::Generator => self.generated(),
            Source::Topics => self.topics(),
            Source::Path(path) => self.files(path),
        }
    }

    fn scenario(&self) -> Scenario {
        let start = self.config.data.start.given().unwrap_or_else(|| Utc::now().naive_utc());
        setup::scenario(&self.config, start)
    }

    fn generated(&self) -> anyhow::Result<Option<Measured>> {
        let scenario = self.scenario();
        let (plan, generator) = (Plan::new(&scenario, Shard::WHOLE)?, Generator::new(&scenario)?);
        let parts = self.parts.clone().unwrap_or(0..plan.files());
        if parts.end > plan.files() {
            let beyond = format!(
                "--parts {}..{} goes beyond the run, which has {} parts; end it there, or raise TOTAL_SECONDS",
                parts.start,
                parts.end,
                plan.files()
            );
            return Err(UsageError(beyond).into());
        }
        let of_part = |index| plan.streams().map(move |stream| (stream, PartIndex(index)));
        let count = |(stream, part)| u64::from(generator.count(stream, part));
        // Of a whole run it is known, however many parts there are.
        let total = match self.parts {
            Some(_) => parts.clone().flat_map(of_part).map(count).sum(),
            None => plan.files() * u64::from(scenario.line_count) * plan.streams().count() as u64,
        };
        self.count.total.store(total, Ordering::Relaxed);
        let window = [parts.start, parts.end].map(|part| plan.part(PartIndex(part)).start);
        let mut measured = Measured::new(Known::of(&scenario, &generator, window));
        for of in parts.flat_map(of_part) {
            if self.shutdown.is_cancelled() {
                return Ok(None);
            }
            let (stream, part) = of;
            generator.facts(stream, &plan.part(part), |fact| measured.statistics.take(&fact));
            self.count.done.fetch_add(count(of), Ordering::Relaxed);
        }
        Ok(Some(measured))
    }

    fn files(self, path: &Path) -> anyhow::Result<Option<Measured>> {
        let (layout, count) = (self.layout.clone(), self.count.clone());
        let Some(files) = Files::open(path, layout, count, &self.shutdown)? else { return Ok(None) };
        let mut measured = self.of_window(files.window)?;
        measured.warnings.extend(files.skipped.iter().map(|why| format!("left out: {why}")));
        let left_out = files.each(&self.shutdown, &mut |fact| measured.statistics.take(fact))?;
        Ok(left_out.map(|left_out| measured.without(left_out)))
    }

    fn topics(self) -> anyhow::Result<Option<Measured>> {
        let records = &self.config.records;
        let names =
            self.config.data.scenario.streams.iter().map(|stream| records.topics[stream].clone());
        let names: Vec<String> = names.collect();
        info!("Connecting to Kafka brokers {}", self.config.kafka.brokers);
        let cluster = Cluster::new(&self.config.kafka, &self.shutdown)?;
        let (layout, count) = (self.layout.clone(), self.count.clone());
        let topics = Topics::open(cluster, &names, records.message_format, layout, count)?;
        let Some(mut topics) = topics else { return Ok(None) };
        let mut measured = self.of_window(topics.window)?;
        let left_out = topics.each(&mut |fact| measured.statistics.take(fact))?;
        Ok(left_out.map(|left_out| measured.without(left_out)))
    }

    /// Of records that were found there. Those of this generator come from the world that is configured.
    fn of_window(&self, window: Window) -> anyhow::Result<Measured> {
        let scenario = self.scenario();
        let known = match self.foreign {
            true => Known::elsewhere(&scenario, window),
            false => Known::of(&scenario, &Generator::new(&scenario)?, window),
        };
        Ok(Measured::new(known))
    }
}
