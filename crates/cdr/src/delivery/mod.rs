//! From plan to destinations: the sinks side by side, and the one commit point of their progress.

pub mod board;
pub mod index;
pub mod local;
pub mod milestones;
pub mod pace;
pub mod sink;

use std::sync::Arc;

use cdr_model::progress::{Cursors, Progress};
use cdr_model::{Generator, LineEnd, Plan};

use self::board::{BEAT, Board, FileSink};
use self::milestones::Milestones;
use self::pace::SimulatedClock;
use self::sink::files::{Files, FilesError, Store};
use self::sink::kafka::{Connection, Delivery, KafkaSinkError};
use crate::telemetry::Counters;

/// What stopped a run.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Kafka(#[from] KafkaSinkError),
    #[error("a sink ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// How a run ended, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Finished,
    Stopped,
}

/// Where the records begin.
pub struct KafkaStart {
    pub connection: Connection,
    /// What the run goes on from.
    pub progress: Progress,
    /// The progress record as it stands in the topic.
    pub recorded: Option<Progress>,
}

/// Everything that the sinks of a run share.
pub struct Job {
    pub plan: Plan,
    pub generator: Arc<Generator>,
    pub line_end: LineEnd,
    pub clock: Arc<SimulatedClock>,
    pub board: Arc<Board>,
    pub counters: Arc<Counters>,
    /// Where each sink begins; it names every sink of the run.
    pub cursors: Cursors,
    pub milestones: Milestones,
    /// The file stores of the run, each with the number of files in flight.
    pub stores: Vec<(Store, usize)>,
    /// The connection to Kafka, if the run delivers there.
    pub kafka: Option<KafkaStart>,
}

impl Job {
    /// Delivers until all is done, or until the board says stop.
    ///
    /// # Errors
    /// The first failure of a sink. The others finish what they have in flight, and all progress
    /// up to then is committed.
    pub async fn deliver(mut self) -> Result<Outcome, DeliveryError> {
        if self.kafka.is_some() {
            self.board.guard();
        }
        let files = self.start_files();
        let board = self.board.clone();
        let committer = tokio::task::spawn_blocking(move || self.commit());
        let mut failed = None;
        for sink in files {
            let result = sink.await.map_err(DeliveryError::from).and_then(|r| Ok(r?));
            if let Err(error) = result {
                board.stop();
                failed.get_or_insert(error);
            }
        }
        let outcome = committer.await?;
        match failed {
            Some(error) => Err(error),
            None => outcome,
        }
    }

    fn start_files(&mut self) -> Vec<tokio::task::JoinHandle<Result<(), FilesError>>> {
        let stores = std::mem::take(&mut self.stores);
        let sinks = stores.into_iter().map(|(store, in_flight)| {
            let (sink, from) = match store {
                Store::Sftp(_) => (FileSink::Sftp, self.cursors.sftp),
                Store::Directory(_) => (FileSink::Directory, self.cursors.directory),
            };
            let from = from.unwrap_or(self.plan.first());
            self.board.enlist(sink, from);
            let files = Files {
                store,
                plan: self.plan.clone(),
                generator: self.generator.clone(),
                line_end: self.line_end,
                in_flight,
                clock: self.clock.clone(),
                board: self.board.clone(),
                counters: self.counters.clone(),
            };
            let board = self.board.clone();
            tokio::spawn(async move {
                let result = files.run(from).await;
                if result.is_err() {
                    board.stop();
                }
                result
            })
        });
        sinks.collect()
    }

    /// Runs the sink that commits: Kafka's, or without Kafka the local index file. Blocks.
    fn commit(self) -> Result<Outcome, DeliveryError> {
        let board = self.board.clone();
        let beating = tokio::runtime::Handle::current().spawn({
            let board = board.clone();
            async move {
                loop {
                    board.beat();
                    tokio::time::sleep(BEAT).await;
                }
            }
        });
        let finished = match self.kafka {
            None => Ok(local::keep_progress(&self.plan, &board, self.milestones)),
            Some(KafkaStart { connection, progress, recorded }) => Delivery {
                connection,
                plan: self.plan,
                generator: self.generator,
                clock: self.clock,
                board: self.board,
                counters: self.counters,
                milestones: self.milestones,
                progress,
                recorded,
            }
            .run()
            .map(|progress| progress.finished),
        };
        beating.abort();
        // Whoever commits ends last, or has failed: the files need not go on without it.
        match &finished {
            Err(KafkaSinkError::Fenced { .. }) => board.lose(),
            _ => board.stop(),
        }
        Ok(if finished? { Outcome::Finished } else { Outcome::Stopped })
    }
}
