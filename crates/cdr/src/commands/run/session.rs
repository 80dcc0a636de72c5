//! One process's share of a run, from its start to its summary.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use cdr_model::progress::{Cursors, KAFKA, Progress, SinkTargets};
use cdr_model::{Generator, Micros, PerStream, Plan, Shard, Stream};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::commands::run_plan::RunPlan;
use crate::config::{Config, StartTime};
use crate::delivery::checkpoint::LocalCheckpoint;
use crate::delivery::index::IndexFile;
use crate::delivery::pace::{Pace, SimulatedClock};
use crate::delivery::records::next_time;
use crate::delivery::{Job, RecordStart, RunEnd};
use crate::files::FileSink;
use crate::telemetry::{self, Counters, Delivered, Display, Mode, Snapshot, Terminal};

/// One process's share of a run that knows where it begins.
pub(super) struct Session<'a> {
    pub config: &'a Config,
    pub terminal: &'a Terminal,
    pub shutdown: CancellationToken,
    pub run: RunPlan,
    pub cursors: Cursors,
    pub targets: SinkTargets,
}

impl Session<'_> {
    /// Delivers until the end, and summarises it.
    ///
    /// # Errors
    /// Whatever keeps the run from its end.
    pub async fn deliver(
        self,
        index: IndexFile,
        file_sinks: Vec<Arc<dyn FileSink>>,
        records: Option<RecordStart>,
    ) -> anyhow::Result<RunEnd> {
        let RunPlan { scenario, plan, .. } = &self.run;
        let generator = Arc::new(Generator::new(scenario)?);
        let counters = Arc::new(self.counters(records.as_ref().map(|start| &start.progress)));
        let clock = Arc::new(self.clock(&generator));
        let display = self.display(&counters)?;
        let (begun, before) = (Instant::now(), counters.snapshot());
        let (targets, job_counters) = (self.targets.clone(), counters.clone());
        let job = Job {
            plan: plan.clone(),
            generator,
            file_format: self.config.file_format,
            message_format: self.config.records.message_format,
            clock,
            shutdown: self.shutdown.clone(),
            counters: counters.clone(),
            cursors: self.cursors.clone(),
            checkpoint: LocalCheckpoint::new(plan.clone(), targets, index, job_counters),
            file_sinks: file_sinks.clone(),
            records,
        };
        let end = job.deliver().await;
        for sink in file_sinks {
            sink.close().await;
        }
        display.stop();
        let end = end?;
        self.summarise(&counters, &before, begun, end);
        Ok(end)
    }

    /// Counts from where earlier sessions of the same run came to.
    fn counters(&self, progress: Option<&Progress>) -> Counters {
        let plan = &self.run.plan;
        let parts = if plan.is_endless() { 0 } else { plan.parts() };
        let counters = Counters::new(parts, plan.streams().count(), &self.targets);
        let complete = self.cursors.complete_before(&self.targets);
        counters.set_complete(complete.map_or(0, |cursor| plan.parts_before(cursor)));
        for (sink, cursor) in self.cursors.parts() {
            counters.set_parts(sink, plan.parts_before(cursor));
        }
        if let Some(progress) = progress {
            let sum = |counts: &Vec<i64>| counts.iter().sum::<i64>().unsigned_abs();
            counters.set_records(&PerStream::from_fn(|stream| sum(&progress.delivered[stream])));
        }
        counters
    }

    fn clock(&self, generator: &Generator) -> SimulatedClock {
        let plan = &self.run.plan;
        let realtime = matches!(self.config.run.pace, Pace::Factor(1.0));
        if self.config.data.start == StartTime::Now && (realtime || self.config.run.follow) {
            return SimulatedClock::wall();
        }
        let record = self.cursors.records.and_then(|cursor| next_time(generator, plan, &cursor));
        let files = self.cursors.files.values().map(|&cursor| plan.part(cursor).start);
        // The sink that came furthest shows how far simulated time had come.
        let at = files.chain(record).max().unwrap_or(Micros(0));
        SimulatedClock::new(self.config.run.pace, plan, at)
    }

    fn display(&self, counters: &Arc<Counters>) -> anyhow::Result<Display> {
        let mode = Mode::choose(&self.config.log, self.terminal.is_terminal());
        Display::start(mode, counters.clone(), self.terminal).context("cannot show progress")
    }

    fn summarise(&self, counters: &Counters, before: &Snapshot, begun: Instant, end: RunEnd) {
        let (plan, now) = (&self.run.plan, counters.snapshot());
        // Without Kafka, records are counted by the parts that hold them.
        let in_parts = |parts: u64| {
            let cursor = plan.nth(parts);
            PerStream::from_fn(|stream| plan.records_before(stream, cursor))
        };
        let with_kafka = self.targets.contains_key(KAFKA);
        let records = if with_kafka { counters.records() } else { in_parts(now.parts_complete) };
        if end == RunEnd::Finished {
            let of_stream = |stream: Stream| (stream, records[stream]);
            let records: Vec<_> = plan.streams().map(of_stream).collect();
            telemetry::log_completion(&records, now.parts_complete);
        }
        let earlier = match with_kafka {
            true => before.records,
            false => in_parts(before.parts_complete).values().sum(),
        };
        let delivered = Delivered {
            records: records.values().sum::<u64>() - earlier,
            files: now.files(),
            bytes: now.bytes(),
        };
        telemetry::log_session(delivered, begun.elapsed());
    }
}

pub(super) fn log_start(
    config: &Config,
    plan: &Plan,
    is_new: bool,
    cursors: &Cursors,
    targets: &SinkTargets,
) {
    let name = &config.run.name;
    let shard = match config.run.shard {
        Shard::WHOLE => String::new(),
        shard => format!(", shard {shard}"),
    };
    let parts = plan.parts();
    if is_new {
        let lines: Vec<_> = plan.streams().map(|_| plan.count_max().to_string()).collect();
        info!("Starting run {name}{shard}: {parts} parts of {} records", lines.join(" + "));
    } else {
        let what = |sink: &str| match sink {
            KAFKA => "records",
            "directory" => "local files",
            _ => "files",
        };
        let used = cursors.parts().filter(|(sink, _)| targets.contains_key(*sink));
        let done: Vec<String> =
            used.map(|(sink, at)| format!("{} of {}", what(sink), plan.parts_before(at))).collect();
        info!("Continuing run {name}{shard}: {} of {parts} parts are delivered", done.join(", "));
    }
    if plan.is_endless() {
        info!("Following without end after these; stop with Ctrl-C");
    }
}
