//! One process's share of a run, from its start to its summary.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use cdr_model::progress::{KAFKA, Progress, SinkTargets};
use cdr_model::resume::Decision;
use cdr_model::{Generator, Micros, PerStream, Plan, Profile, Shard, Stream};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::start::StartPoint;
use crate::config::{Config, StartTime};
use crate::delivery::checkpoint::LocalCheckpoint;
use crate::delivery::index::IndexFile;
use crate::delivery::pace::{Pace, SimulatedClock};
use crate::delivery::records::next_time;
use crate::delivery::{Job, RecordStart, RunEnd};
use crate::files::FileSink;
use crate::setup::RunPlan;
use crate::telemetry::{Counters, Display, RunProgress, Terminal, completion, session};

/// One process's share of a run that knows where it begins.
pub(super) struct Session<'a> {
    pub config: &'a Config,
    pub terminal: &'a Terminal,
    pub shutdown: CancellationToken,
    pub point: StartPoint,
    pub targets: SinkTargets,
}

impl Session<'_> {
    /// Delivers until the end, and summarises it.
    pub async fn deliver(
        self,
        index: IndexFile,
        file_sinks: Vec<Arc<dyn FileSink>>,
        records: Option<RecordStart>,
    ) -> anyhow::Result<RunEnd> {
        let RunPlan { scenario, plan, .. } = &self.point.run;
        let generator = Arc::new(Generator::new(scenario)?);
        let counters = Arc::new(self.counters(records.as_ref().map(|start| &start.progress)));
        let clock = Arc::new(self.clock(&generator));
        let begun = Instant::now();
        let shown = RunProgress::new(counters.clone(), begun);
        let display = Display::start(&self.config.log, shown, self.terminal);
        let display = display.context("cannot show progress")?;
        let earlier = self.records(&counters).values().sum();
        let (targets, job_counters) = (self.targets.clone(), counters.clone());
        let job = Job {
            plan: plan.clone(),
            generator,
            file_format: self.config.file_format,
            message_format: self.config.records.message_format,
            clock,
            shutdown: self.shutdown.clone(),
            counters: counters.clone(),
            cursors: self.point.cursors.clone(),
            checkpoint: LocalCheckpoint::new(plan.clone(), targets, index, job_counters),
            file_sinks: file_sinks.clone(),
            records,
        };
        let end = job.deliver().await;
        for sink in file_sinks {
            sink.close().await;
        }
        drop(display);
        let end = end?;
        self.summarise(&counters, earlier, begun, end);
        Ok(end)
    }

    /// Counts from where earlier sessions of the same run came to.
    fn counters(&self, progress: Option<&Progress>) -> Counters {
        let plan = &self.point.run.plan;
        let parts = if plan.is_endless() { 0 } else { plan.parts() };
        let counters = Counters::new(parts, plan.streams().count(), &self.targets);
        let complete = self.point.cursors.complete_before(&self.targets);
        counters.set_complete(complete.map_or(0, |cursor| plan.parts_before(cursor)));
        for (sink, cursor) in self.point.cursors.parts() {
            counters.set_parts(sink, plan.parts_before(cursor));
        }
        if let Some(progress) = progress {
            let sum = |counts: &Vec<i64>| counts.iter().sum::<i64>().unsigned_abs();
            counters.set_records(&PerStream::from_fn(|stream| sum(&progress.delivered[stream])));
        }
        counters
    }

    fn clock(&self, generator: &Generator) -> SimulatedClock {
        let plan = &self.point.run.plan;
        let realtime = matches!(self.config.run.pace, Pace::Factor(1.0));
        if self.config.data.start == StartTime::Now && (realtime || self.config.run.follow) {
            return SimulatedClock::wall();
        }
        let record = self.point.cursors.records.and_then(|cursor| next_time(generator, plan, &cursor));
        let files = self.point.cursors.files.values().map(|&cursor| plan.part(cursor).start);
        // The sink that came furthest shows how far simulated time had come.
        let at = files.chain(record).max().unwrap_or(Micros(0));
        SimulatedClock::new(self.config.run.pace, plan, at)
    }

    /// Records that are delivered. Without Kafka, they are counted by the parts that hold them.
    fn records(&self, counters: &Counters) -> PerStream<u64> {
        if self.targets.contains_key(KAFKA) {
            return counters.records();
        }
        let plan = &self.point.run.plan;
        let cursor = plan.nth(counters.complete());
        PerStream::from_fn(|stream| plan.records_before(stream, cursor))
    }

    fn summarise(&self, counters: &Counters, earlier: u64, begun: Instant, end: RunEnd) {
        let records = self.records(counters);
        if end == RunEnd::Finished {
            let of_stream = |stream: Stream| (stream, records[stream]);
            let records: Vec<_> = self.point.run.plan.streams().map(of_stream).collect();
            info!("{}", completion(&records, counters.complete()));
        }
        let delivered = records.values().sum::<u64>() - earlier;
        info!("{}", session(delivered, counters.files(), counters.bytes(), begun.elapsed()));
    }

    pub fn log_start(&self) {
        let StartPoint { run: RunPlan { plan, .. }, decision, cursors } = &self.point;
        let name = &self.config.run.name;
        let shard = match self.config.run.shard {
            Shard::WHOLE => String::new(),
            shard => format!(", shard {shard}"),
        };
        let parts = plan.parts();
        if *decision == Decision::Start {
            let (records, profile) = (records_of_a_part(plan), self.point.run.scenario.profile);
            info!("Starting run {name}{shard}: {parts} parts of {records}, {}", described(profile));
        } else {
            let what = |sink: &str| match sink {
                KAFKA => "records",
                "directory" => "local files",
                _ => "files",
            };
            let used = cursors.parts().filter(|(sink, _)| self.targets.contains_key(*sink));
            let done = used.map(|(sink, at)| format!("{} of {}", what(sink), plan.parts_before(at)));
            let done = done.collect::<Vec<_>>().join(", ");
            info!("Continuing run {name}{shard}: {done} of {parts} parts are delivered");
        }
        if plan.is_endless() {
            info!("Following without end after these; stop with Ctrl-C");
        }
    }
}

/// Whoever meets the default learns that there is more.
fn described(profile: Profile) -> String {
    let hint = match profile {
        Profile::Uniform => "; PROFILE=realistic makes them as people would",
        _ => "",
    };
    format!("profile {}{hint}", profile.name())
}

/// `1000 + 1000 records`, by stream.
fn records_of_a_part(plan: &Plan) -> String {
    let whole = plan.clone().for_shard(Shard::WHOLE);
    let counts: Vec<u64> = plan.streams().map(|of| whole.records(of) / whole.parts()).collect();
    let is_even = counts.iter().all(|&count| count == u64::from(plan.count_max()));
    let counts: Vec<_> = counts.iter().map(u64::to_string).collect();
    format!("{} records{}", counts.join(" + "), if is_even { "" } else { " on average" })
}
