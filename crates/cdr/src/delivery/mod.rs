//! From plan to destinations: the sinks side by side, and the one commit point of their progress.

pub mod checkpoint;
pub mod cursors;
pub mod files;
pub mod index;
pub mod lease;
pub mod pace;
pub mod records;

use std::sync::Arc;
use std::time::Duration;

use cdr_model::progress::{Cursors, Progress};
use cdr_model::resume::Conflict;
use cdr_model::{FileFormat, Generator, MessageFormat, Plan};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::checkpoint::LocalCheckpoint;
use self::cursors::FileCursors;
use self::files::FileDelivery;
use self::lease::{HEARTBEAT, Lease};
use self::pace::SimulatedClock;
use self::records::{ReadyProducer, RecordDelivery};
use crate::files::{FileSink, FileSinkError};
use crate::kafka::KafkaError;
use crate::telemetry::Counters;

/// What stopped a run.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error(transparent)]
    Files(#[from] FileSinkError),
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Conflict(#[from] Conflict),
    #[error("a task of the run ended unexpectedly, which is a bug: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// How a run ended, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    Finished,
    Stopped,
}

/// Where the records begin.
pub struct RecordStart {
    pub ready: ReadyProducer,
    /// What the run goes on from.
    pub progress: Progress,
    /// The progress record as it stands in the topic.
    pub recorded: Option<Progress>,
}

/// Everything that the sinks of a run share.
pub struct Job {
    pub plan: Plan,
    pub generator: Arc<Generator>,
    pub file_format: FileFormat,
    pub message_format: MessageFormat,
    pub clock: Arc<SimulatedClock>,
    pub shutdown: CancellationToken,
    pub counters: Arc<Counters>,
    /// Where each sink begins; it names every sink of the run.
    pub cursors: Cursors,
    pub checkpoint: LocalCheckpoint,
    /// The file sinks of the run.
    pub file_sinks: Vec<Arc<dyn FileSink>>,
    /// The connection to Kafka, if the run delivers there.
    pub records: Option<RecordStart>,
}

/// What a task of a run has come to.
enum TaskEnd {
    Files(Result<(), DeliveryError>),
    /// Whoever commits knows whether the run is finished.
    Commits(Result<bool, DeliveryError>),
}

impl Job {
    /// Delivers until all is done, or until shutdown.
    ///
    /// # Errors
    /// The first failure of a sink. The others finish what they have in flight, and all progress
    /// up to then is committed.
    pub async fn deliver(self) -> Result<RunEnd, DeliveryError> {
        let (files, lease) = (Arc::new(FileCursors::default()), Arc::new(Lease::default()));
        if self.records.is_some() {
            lease.begin();
        }
        let mut tasks = JoinSet::new();
        for sink in &self.file_sinks {
            let from = self.cursors.files.get(sink.name()).copied().unwrap_or(self.plan.first());
            files.enlist(sink.name(), from);
            let delivery = FileDelivery {
                sink: sink.clone(),
                plan: self.plan.clone(),
                generator: self.generator.clone(),
                format: self.file_format,
                clock: self.clock.clone(),
                cursors: files.clone(),
                lease: lease.clone(),
                shutdown: self.shutdown.clone(),
                counters: self.counters.clone(),
            };
            tasks.spawn(async move { TaskEnd::Files(delivery.run(from).await.map_err(Into::into)) });
        }
        // Without it the lease would be suspect at each file: slower, and as safe.
        let heartbeat = tokio::spawn({
            let lease = lease.clone();
            async move {
                loop {
                    lease.heartbeat();
                    tokio::time::sleep(HEARTBEAT).await;
                }
            }
        });
        let (shutdown, lease_held) = (self.shutdown.clone(), lease.clone());
        tasks.spawn_blocking(move || TaskEnd::Commits(self.commit(&files, lease)));
        let outcome = supervise(tasks, &shutdown, &lease_held).await;
        heartbeat.abort();
        outcome
    }

    /// Commits progress until the sinks are done: in Kafka, or without it in the local index file.
    /// Returns whether the run is finished. Blocks.
    fn commit(self, files: &Arc<FileCursors>, lease: Arc<Lease>) -> Result<bool, DeliveryError> {
        let mut checkpoint = self.checkpoint;
        let Some(RecordStart { ready, progress, recorded }) = self.records else {
            return Ok(commit_locally(&mut checkpoint, files));
        };
        let delivery = RecordDelivery {
            ready,
            plan: self.plan,
            generator: self.generator,
            format: self.message_format,
            clock: self.clock,
            files: files.clone(),
            lease,
            shutdown: self.shutdown,
            counters: self.counters,
            checkpoint,
            progress,
            recorded,
        };
        Ok(delivery.run()?.finished)
    }
}

/// Keeps the index file behind the file sinks until they are done.
fn commit_locally(checkpoint: &mut LocalCheckpoint, files: &FileCursors) -> bool {
    loop {
        let (cursors, is_final) = files.snapshot();
        let finished = checkpoint.commit_files(cursors, is_final);
        if is_final {
            return finished;
        }
        tokio::runtime::Handle::current().block_on(async {
            // Nothing else wakes it, so the time is only for what nobody foresaw.
            let _ = tokio::time::timeout(Duration::from_secs(1), files.changed()).await;
        });
    }
}

/// Waits for all tasks of a run. Whichever ends without having finished its work ends the others: by
/// the shutdown, in which they finish what is in flight; and where nobody commits any more, by the
/// lease, without which no file gets its name.
async fn supervise(
    mut tasks: JoinSet<TaskEnd>,
    shutdown: &CancellationToken,
    lease: &Lease,
) -> Result<RunEnd, DeliveryError> {
    let (mut end, mut failed) = (RunEnd::Stopped, None);
    while let Some(ended) = tasks.join_next().await {
        let error = match ended {
            Ok(TaskEnd::Files(Ok(()))) => continue,
            Ok(TaskEnd::Commits(Ok(finished))) => {
                // It ends last, or on shutdown.
                shutdown.cancel();
                if finished {
                    end = RunEnd::Finished;
                }
                continue;
            }
            Ok(TaskEnd::Files(Err(error))) => error,
            Ok(TaskEnd::Commits(Err(error))) => {
                lease.end();
                error
            }
            // Which task panicked is not known; the one who commits may be no more.
            Err(panic) => {
                lease.end();
                panic.into()
            }
        };
        shutdown.cancel();
        failed.get_or_insert(error);
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(end),
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use cdr_model::progress::SinkTargets;
    use cdr_model::{LineEnd, Micros, Scenario, Shard};
    use tempfile::TempDir;

    use super::index::IndexFile;
    use super::pace::Pace;
    use super::*;
    use crate::files::{Content, DirectorySink, EachFile, EachPiece, IsOurs, PublishCondition, Stale};

    struct Run {
        tasks: JoinSet<TaskEnd>,
        shutdown: CancellationToken,
        lease: Arc<Lease>,
    }

    /// A run whose upload waits for a lease that nobody renews, and whose other upload waits for the
    /// shutdown.
    fn run() -> Run {
        let (shutdown, lease) = (CancellationToken::new(), Arc::new(Lease::suspect()));
        let mut tasks = JoinSet::new();
        let held = lease.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = held.met() => {}
                () = held.ended() => {}
            }
            TaskEnd::Files(Ok(()))
        });
        let stopped = shutdown.clone();
        tasks.spawn(async move {
            stopped.cancelled().await;
            TaskEnd::Files(Ok(()))
        });
        Run { tasks, shutdown, lease }
    }

    impl Run {
        async fn fails(self) -> String {
            let ended = supervise(self.tasks, &self.shutdown, &self.lease);
            let ended = tokio::time::timeout(Duration::from_secs(60), ended);
            let error = ended.await.expect("all tasks end").unwrap_err();
            assert!(self.shutdown.is_cancelled());
            error.to_string()
        }
    }

    #[tokio::test]
    async fn a_panic_of_whoever_commits_ends_the_uploads_that_wait_for_the_lease() {
        let mut run = run();
        run.tasks.spawn_blocking(|| panic!("in the committing thread"));
        let error = run.fails().await;
        assert!(error.contains("panicked") && error.contains("in the committing thread"), "{error}");
    }

    #[tokio::test]
    async fn a_panic_of_a_file_sink_ends_whoever_commits() {
        let mut run = run();
        let (stopped, held) = (run.shutdown.clone(), run.lease.clone());
        run.tasks.spawn(async { panic!("in a file sink") });
        run.tasks.spawn_blocking(move || {
            tokio::runtime::Handle::current().block_on(stopped.cancelled());
            held.renew(std::time::Instant::now());
            TaskEnd::Commits(Ok(false))
        });
        let error = run.fails().await;
        assert!(error.contains("in a file sink"), "{error}");
    }

    #[tokio::test]
    async fn an_error_of_whoever_commits_ends_all() {
        let mut run = run();
        let fenced = || TaskEnd::Commits(Err(KafkaError::Fenced { id: "cdr".to_owned() }.into()));
        run.tasks.spawn_blocking(fenced);
        assert!(run.fails().await.contains("has taken over"));
    }

    #[tokio::test]
    async fn the_first_error_is_the_one_that_counts() {
        let mut run = run();
        let error = |text: &str| DeliveryError::Conflict(Conflict::IndexUnreadable(text.to_owned()));
        run.tasks.spawn(async move { TaskEnd::Files(Err(error("first"))) });
        let stopped = run.shutdown.clone();
        run.tasks.spawn(async move {
            stopped.cancelled().await;
            TaskEnd::Commits(Err(error("second")))
        });
        assert!(run.fails().await.contains("first"));
    }

    /// A sink that panics in one of its calls, or, as it has to, does nothing there.
    struct PanickingSink(&'static str);

    impl PanickingSink {
        fn call(&self, name: &str) {
            assert!(self.0 != name, "panics in {name}");
        }
    }

    #[async_trait]
    impl FileSink for PanickingSink {
        fn name(&self) -> &'static str {
            "sftp"
        }

        fn target(&self) -> String {
            "nowhere".to_owned()
        }

        fn in_flight(&self) -> usize {
            4
        }

        async fn open(&self) -> Result<(), FileSinkError> {
            self.call("open");
            Ok(())
        }

        async fn put(
            &self,
            _: &str,
            _: Arc<dyn Content>,
            _: &dyn PublishCondition,
        ) -> Result<u64, FileSinkError> {
            self.call("put");
            // A server that takes its time.
            std::future::pending().await
        }

        async fn list(&self, _: EachFile<'_>) -> Result<(), FileSinkError> {
            Ok(())
        }

        async fn read(&self, _: &str, _: EachPiece<'_>) -> Result<bool, FileSinkError> {
            Ok(false)
        }

        async fn remove(&self, _: &str) -> Result<(), FileSinkError> {
            Ok(())
        }

        async fn clean_up(&self, _: Stale, _: IsOurs<'_>) -> Result<(), FileSinkError> {
            self.call("clean_up");
            Ok(())
        }
    }

    /// A run into a folder, and beside it into a sink that panics.
    fn job(folder: &TempDir, sink: PanickingSink) -> Job {
        let scenario = Scenario { line_count: 50, total_seconds: 300, ..Scenario::default() };
        let plan = Plan::new(&scenario, Shard::WHOLE).unwrap();
        let out = folder.path().join("out");
        let file_sinks: Vec<Arc<dyn FileSink>> =
            vec![Arc::new(sink), Arc::new(DirectorySink::new(&out))];
        let targets: SinkTargets =
            file_sinks.iter().map(|sink| (sink.name().to_owned(), sink.target())).collect();
        let counters = Arc::new(Counters::new(plan.parts(), plan.streams().count(), &targets));
        let index = IndexFile::lock(&folder.path().join("idx_data.dat"), Shard::WHOLE).unwrap();
        Job {
            generator: Arc::new(Generator::new(&scenario).unwrap()),
            file_format: FileFormat::Csv(LineEnd::Lf),
            message_format: MessageFormat::Json,
            clock: Arc::new(SimulatedClock::new(Pace::Max, &plan, Micros(0))),
            shutdown: CancellationToken::new(),
            counters: counters.clone(),
            cursors: Cursors::all_at(&targets, plan.first()),
            checkpoint: LocalCheckpoint::new(plan.clone(), targets, index, counters),
            file_sinks,
            records: None,
            plan,
        }
    }

    #[tokio::test]
    async fn a_panic_anywhere_in_a_sink_ends_the_whole_run() {
        for call in ["open", "put", "clean_up"] {
            let folder = tempfile::tempdir().unwrap();
            let delivered = job(&folder, PanickingSink(call)).deliver();
            let ended = tokio::time::timeout(Duration::from_secs(60), delivered).await;
            let error = ended.expect("all tasks end").unwrap_err().to_string();
            assert!(error.contains(&format!("panics in {call}")), "{error}");
        }
    }
}
