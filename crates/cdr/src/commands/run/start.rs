//! Where a run begins: by its progress in Kafka, and by its index file.

use std::time::Duration;

use cdr_model::progress::{Cursors, KAFKA, SinkTargets};
use cdr_model::resume::{
    Conflict, Decision, Facts, KafkaState, LocalIndex, StartMode, decide, is_final,
};
use chrono::Utc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::commands::context::blocking;
use crate::config::Config;
use crate::delivery::RecordStart;
use crate::delivery::index::{IndexError, IndexFile};
use crate::delivery::records::{FencedProducer, Probe, RunAtKafka};
use crate::setup::{self, RunPlan, begin_now, noted_start};

/// A start that has not found out yet where to begin.
pub(super) struct Start<'a> {
    pub config: &'a Config,
    pub mode: StartMode,
    pub local: LocalIndex,
    pub targets: SinkTargets,
}

/// Where a run begins by some facts.
pub(super) struct StartPoint {
    pub run: RunPlan,
    pub decision: Decision,
    /// Of a decision to deliver.
    pub cursors: Cursors,
}

/// A producer, if the run delivers to Kafka, and what was found there.
pub(super) type Fenced = Option<(FencedProducer, KafkaState)>;

impl Start<'_> {
    /// Decides where to begin, by Kafka and the index file alone; `None` if the run is finished.
    ///
    /// The first decision is made by a probe that disturbs nobody: a start that is refused must not
    /// end a healthy process of the run. The one that counts is made once all others are fenced.
    pub async fn find_point(
        &self,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<(StartPoint, Fenced)>> {
        if !self.targets.contains_key(KAFKA) {
            return Ok(self.point(None)?.unless_finished()?.map(|point| (point, None)));
        }
        let (probe, state) = probe(self.config, shutdown).await?;
        let point = self.point(Some(&state))?;
        if is_final(&point.decision, &state) && point.unless_finished()?.is_none() {
            return Ok(None);
        }
        let fenced = blocking("fencing older processes", || probe.fence()).await?;
        let point = self.point(Some(&fenced.1))?.unless_finished()?;
        Ok(point.map(|point| (point, Some(fenced))))
    }

    fn point(&self, kafka: Option<&KafkaState>) -> anyhow::Result<StartPoint> {
        let config = self.config;
        // A run that began "now" keeps the time at which it began.
        let noted = || match self.mode {
            StartMode::Restart => None,
            _ => noted_start(kafka.and_then(|found| found.progress.as_ref()), &self.local),
        };
        let start = config.data.start.given().or_else(noted).map_or_else(|| begin_now(config), Ok)?;
        let run = RunPlan::new(config, start)?;
        let decision = decide(&Facts {
            plan: &run.plan,
            parameters: &run.parameters,
            targets: &self.targets,
            kafka: kafka.cloned(),
            local: self.local.clone(),
            index_file: &config.run.index_file.display().to_string(),
            mode: self.mode,
        });
        let cursors = match &decision {
            Decision::Continue(cursors) | Decision::Adopt(cursors) => cursors.clone(),
            _ => Cursors::all_at(&self.targets, run.plan.first()),
        };
        Ok(StartPoint { run, decision, cursors })
    }
}

impl StartPoint {
    /// # Errors
    /// The conflict for which the run is refused.
    fn unless_finished(self) -> Result<Option<StartPoint>, Conflict> {
        match self.decision {
            Decision::Refuse(conflict) => Err(conflict),
            Decision::Finished => Ok(None),
            Decision::Start | Decision::Continue(_) | Decision::Adopt(_) => Ok(Some(self)),
        }
    }

    /// What the records go on from, with topics for all that is missing there.
    pub async fn record_start(
        &self,
        (producer, state): (FencedProducer, KafkaState),
        targets: &SinkTargets,
    ) -> anyhow::Result<RecordStart> {
        let (plan, cursors) = (self.run.plan.clone(), &self.cursors);
        let ready = blocking("preparing Kafka", move || producer.prepare(&plan)).await?;
        let known = match self.decision {
            Decision::Continue(_) => state.progress.clone(),
            _ => None,
        };
        let mut progress = known.unwrap_or_else(|| {
            let (parameters, now_ms) = (self.run.parameters.clone(), Utc::now().timestamp_millis());
            ready.new_progress(parameters, targets.clone(), &state, cursors.clone(), now_ms)
        });
        // Sinks that are not used now keep their cursors.
        progress.cursors.records = cursors.records.or(progress.cursors.records);
        progress.cursors.files.extend(cursors.files.clone());
        progress.targets.extend(targets.clone());
        progress.finished = false;
        Ok(RecordStart { ready, progress, recorded: state.progress })
    }
}

/// A process that was just killed may hold the lock for a moment longer.
pub(super) async fn lock_index(config: &Config) -> anyhow::Result<IndexFile> {
    let (path, shard) = (&config.run.index_file, config.run.shard);
    for _ in 0..20 {
        match IndexFile::lock(path, shard) {
            Err(IndexError::Locked(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            result => return Ok(result?),
        }
    }
    Ok(IndexFile::lock(path, shard)?)
}

async fn probe(config: &Config, shutdown: &CancellationToken) -> anyhow::Result<(Probe, KafkaState)> {
    let run = RunAtKafka {
        kafka: config.kafka.clone(),
        records: config.records.clone(),
        id: setup::run_id(config),
        shutdown: shutdown.clone(),
    };
    info!("Connecting to Kafka brokers {}", run.kafka.brokers);
    blocking("connecting to Kafka", move || Probe::open(run)).await
}
