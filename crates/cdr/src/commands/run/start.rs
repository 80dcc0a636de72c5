//! Where a run begins: by its progress in Kafka, and by its index file.

use std::time::Duration;

use anyhow::Context as _;
use cdr_model::Plan;
use cdr_model::progress::{Cursors, KAFKA, SinkTargets};
use cdr_model::resume::{Decision, Facts, KafkaState, LocalIndex, StartMode, decide, is_final};
use chrono::{NaiveDateTime, Utc};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::commands::run_plan::{RunPlan, begin_now, noted_start};
use crate::config::{Config, StartTime};
use crate::delivery::RecordStart;
use crate::delivery::index::{IndexError, IndexFile};
use crate::delivery::records::{FencedProducer, Probe, ReadyProducer, RunAtKafka};
use crate::kafka::KafkaError;
use crate::setup;

/// A start that has not found out yet where to begin.
pub(super) struct Start<'a> {
    config: &'a Config,
    mode: StartMode,
    local: LocalIndex,
    index_file: String,
    pub targets: SinkTargets,
}

/// What some facts mean for the run, and where it resumes by them.
pub(super) struct ResumeOutcome {
    pub run: RunPlan,
    pub decision: Decision,
    /// Of a decision to deliver.
    pub cursors: Cursors,
}

/// Where a run begins, and its producer, if it delivers to Kafka.
pub(super) struct StartPoint {
    pub resume: ResumeOutcome,
    pub kafka: Option<(FencedProducer, KafkaState)>,
}

impl<'a> Start<'a> {
    pub fn new(config: &'a Config, mode: StartMode, local: LocalIndex, targets: SinkTargets) -> Self {
        let index_file = config.run.index_file.display().to_string();
        Start { config, mode, local, index_file, targets }
    }

    /// Decides where to begin, by Kafka and the index file alone; `None` if the run is finished.
    ///
    /// The first decision is made by a probe that disturbs nobody: a start that is refused must not
    /// end a healthy process of the run. The one that counts is made once all others are fenced.
    pub async fn find_point(&self, shutdown: &CancellationToken) -> anyhow::Result<Option<StartPoint>> {
        if !self.targets.contains_key(KAFKA) {
            let resume = self.resume(None)?.into_action()?;
            return Ok(resume.map(|resume| StartPoint { resume, kafka: None }));
        }
        let (probe, state) = probe(self.config, shutdown).await?;
        let resume = self.resume(Some(&state))?;
        if is_final(&resume.decision, &state) && resume.into_action()?.is_none() {
            return Ok(None);
        }
        let (producer, state) = blocking("fencing older processes", || probe.fence()).await?;
        let Some(resume) = self.resume(Some(&state))?.into_action()? else { return Ok(None) };
        Ok(Some(StartPoint { resume, kafka: Some((producer, state)) }))
    }

    fn resume(&self, kafka: Option<&KafkaState>) -> anyhow::Result<ResumeOutcome> {
        let start = start_time(self.config, self.mode, &self.local, kafka)?;
        let run = RunPlan::new(self.config, start)?;
        let decision = decide(&Facts {
            plan: &run.plan,
            parameters: &run.parameters,
            targets: &self.targets,
            kafka: kafka.cloned(),
            local: self.local.clone(),
            index_file: &self.index_file,
            mode: self.mode,
        });
        let cursors = match &decision {
            Decision::Continue(cursors) | Decision::Adopt(cursors) => cursors.clone(),
            _ => Cursors::all_at(&self.targets, run.plan.first()),
        };
        Ok(ResumeOutcome { run, decision, cursors })
    }
}

impl ResumeOutcome {
    /// `None` if nothing is left to do.
    ///
    /// # Errors
    /// The conflict for which the run is refused.
    fn into_action(self) -> anyhow::Result<Option<ResumeOutcome>> {
        match self.decision {
            Decision::Refuse(conflict) => Err(conflict.into()),
            Decision::Finished => Ok(None),
            Decision::Start | Decision::Continue(_) | Decision::Adopt(_) => Ok(Some(self)),
        }
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

pub(super) async fn prepare(producer: FencedProducer, plan: Plan) -> anyhow::Result<ReadyProducer> {
    blocking("preparing Kafka", move || producer.prepare(&plan)).await
}

/// Does what blocks where it may.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    call: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> anyhow::Result<T> {
    let done = tokio::task::spawn_blocking(call).await;
    Ok(done.with_context(|| format!("{what} ended unexpectedly"))??)
}

/// What the records go on from.
pub(super) fn record_start(
    ready: ReadyProducer,
    state: KafkaState,
    decision: &Decision,
    run: &RunPlan,
    targets: &SinkTargets,
    cursors: &Cursors,
) -> RecordStart {
    let known = match decision {
        Decision::Continue(_) => state.progress.clone(),
        _ => None,
    };
    let mut progress = known.unwrap_or_else(|| {
        let (parameters, begun_ms) = (run.parameters.clone(), Utc::now().timestamp_millis());
        ready.new_progress(parameters, targets.clone(), &state, cursors.clone(), begun_ms)
    });
    // Sinks that are not used now keep their cursors.
    progress.cursors.records = cursors.records.or(progress.cursors.records);
    progress.cursors.files.extend(cursors.files.clone());
    progress.targets.extend(targets.clone());
    progress.finished = false;
    RecordStart { ready, progress, recorded: state.progress }
}

/// The run's base time. A run that began "now" keeps the time at which it began.
fn start_time(
    config: &Config,
    mode: StartMode,
    local: &LocalIndex,
    found: Option<&KafkaState>,
) -> anyhow::Result<NaiveDateTime> {
    if let StartTime::At(start) = config.data.start {
        return Ok(start);
    }
    let noted = noted_start(found.and_then(|found| found.progress.as_ref()), local);
    noted.filter(|_| mode != StartMode::Restart).map_or_else(|| begin_now(config), Ok)
}
