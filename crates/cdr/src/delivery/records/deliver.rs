//! The way of the records: generate, send, commit together with the cursors, repeat.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cdr_model::progress::{Cursors, KAFKA, Progress, RecordCursor};
use cdr_model::resume::topic_lost;
use cdr_model::{Generator, MessageFormat, PerStream, Plan};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::blocks::{Blocks, Limits, next_time};
use super::sizer::TransactionSizer;
use super::start::{ReadyProducer, RunAtKafka};
use crate::delivery::DeliveryError;
use crate::delivery::checkpoint::LocalCheckpoint;
use crate::delivery::cursors::FileCursors;
use crate::delivery::lease::Lease;
use crate::delivery::pace::SimulatedClock;
use crate::kafka::{KafkaError, SHUTDOWN_TIMEOUT, TransactionFailure};
use crate::pause::pause;
use crate::telemetry::Counters;

/// Records that are encoded before the client gets them; it sends them while the next are encoded.
const FILL_RECORDS: u32 = 5_000;

/// Progress of the files alone is committed this often.
const FILES_EVERY: Duration = Duration::from_secs(1);

/// Whether the topics are still those that were delivered to is checked this often, and at the end.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// How long a transaction is waited for that may be our own.
const BRIEFLY: Duration = Duration::from_secs(2);

/// The pause after a transaction that failed, doubled with each until the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Delivers the records of a plan, and commits the progress of all sinks.
pub struct RecordDelivery {
    pub ready: ReadyProducer,
    pub plan: Plan,
    pub generator: Arc<Generator>,
    pub format: MessageFormat,
    pub clock: Arc<SimulatedClock>,
    pub files: Arc<FileCursors>,
    pub lease: Arc<Lease>,
    pub shutdown: CancellationToken,
    pub counters: Arc<Counters>,
    pub checkpoint: LocalCheckpoint,
    /// What the run goes on from: the committed progress, with a cursor for each sink.
    pub progress: Progress,
    /// The progress record as it stands in the topic.
    pub recorded: Option<Progress>,
}

/// What a transaction adds to the committed progress.
struct Pending {
    progress: Progress,
    records: PerStream<u64>,
    bytes: usize,
    /// When its commit was requested.
    requested: Instant,
}

impl Pending {
    fn records(&self) -> u64 {
        self.records.values().sum()
    }
}

impl RecordDelivery {
    /// Runs until all is delivered, or until shutdown. Returns the last committed progress. Blocks.
    ///
    /// # Errors
    /// When Kafka refuses, is away for too long, or another process took over; what is committed
    /// stays, and the run can be continued.
    pub fn run(mut self) -> Result<Progress, DeliveryError> {
        let outcome = self.deliver();
        self.ready.producer.close();
        outcome.map(|()| self.progress)
    }

    fn deliver(&mut self) -> Result<(), DeliveryError> {
        let mut blocks = Blocks::new(self.format, &self.ready.partitions);
        let RunAtKafka { records, kafka, .. } = self.run_at_kafka();
        let mut sizer = TransactionSizer::new(records.transaction_records, kafka.transaction_timeout);
        let (mut committed_at, mut checked_at) = (Instant::now(), Instant::now());
        // The first commit notes where the run begins, even if nothing is due for hours.
        let mut first = true;
        loop {
            let (cursors, files_done) = self.cursors();
            let next_in = self.until_next();
            let work = next_in.is_some_and(|time| time.is_zero());
            let moved = cursors != self.progress.cursors;
            let over =
                !work && files_done && (self.is_stopping() || self.plan.is_done(self.cursor().part));
            let finished = files_done && self.checkpoint.is_complete(&cursors);
            let due = (moved || self.lease.is_suspect()) && committed_at.elapsed() >= FILES_EVERY;
            let finishes = finished && !self.progress.finished;
            if finishes || checked_at.elapsed() >= CHECK_EVERY {
                self.ready.check_topics(&self.progress)?;
                checked_at = Instant::now();
            }
            if first || work || due || (over && (moved || finished != self.progress.finished)) {
                self.transact(&mut blocks, &mut sizer)?;
                (first, committed_at) = (false, Instant::now());
            } else if over {
                self.checkpoint.end(&self.progress.cursors, self.progress.finished);
                return Ok(());
            } else {
                self.wait(next_in.unwrap_or(FILES_EVERY).min(FILES_EVERY / 4));
            }
        }
    }

    fn run_at_kafka(&self) -> &RunAtKafka {
        &self.ready.probe.run
    }

    fn is_stopping(&self) -> bool {
        self.shutdown.is_cancelled()
    }

    fn cursor(&self) -> RecordCursor {
        self.progress.cursors.records.unwrap_or(RecordCursor::at(self.plan.first()))
    }

    /// The time until the next record is due, if one is to be delivered.
    fn until_next(&self) -> Option<Duration> {
        let next = next_time(&self.generator, &self.plan, &self.cursor());
        next.filter(|_| !self.is_stopping()).map(|time| self.clock.until(time))
    }

    /// The committed cursors with the files' as they are now, and whether those are final.
    fn cursors(&self) -> (Cursors, bool) {
        let (files, files_done) = self.files.snapshot();
        let mut cursors = self.progress.cursors.clone();
        cursors.records = Some(self.cursor());
        cursors.files.extend(files);
        (cursors, files_done)
    }

    /// Waits for some time at most, until a file sink has come further, a file waits for the lease, or
    /// the shutdown.
    fn wait(&self, longest: Duration) {
        Handle::current().block_on(async {
            let shutdown = async {
                match self.is_stopping() {
                    // What is waited for then are the files.
                    true => std::future::pending().await,
                    false => self.shutdown.cancelled().await,
                }
            };
            tokio::select! {
                () = self.files.changed() => {}
                () = self.lease.suspected() => {}
                () = shutdown => {}
                () = tokio::time::sleep(longest) => {}
            }
        });
    }

    /// One transaction, as often as it takes, until too much time went by without any.
    fn transact(
        &mut self,
        blocks: &mut Blocks,
        sizer: &mut TransactionSizer,
    ) -> Result<(), DeliveryError> {
        let (begun, mut next_pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let opened = Instant::now();
            let mut pending = Pending {
                progress: self.progress.clone(),
                records: PerStream::default(),
                bytes: 0,
                requested: opened,
            };
            let Err(failure) = self.attempt(blocks, sizer.records(), &mut pending) else {
                sizer.succeeded(opened.elapsed());
                self.lease.renew(pending.requested);
                self.committed(pending);
                return Ok(());
            };
            sizer.failed(pending.records());
            let failure = self.ready.producer.abort(failure);
            let give_up_after = match self.is_stopping() {
                true => SHUTDOWN_TIMEOUT,
                false => self.run_at_kafka().kafka.give_up_after,
            };
            if begun.elapsed() >= give_up_after {
                return Err(failure.into_error(|last| self.gave_up(begun, last)).into());
            }
            if self.recover(failure, &pending)? {
                self.committed(pending);
                return Ok(());
            }
            pause(next_pause.min(give_up_after.saturating_sub(begun.elapsed())));
            next_pause = (next_pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Makes the next try possible; returns whether the transaction was committed after all.
    fn recover(
        &mut self,
        failure: TransactionFailure,
        pending: &Pending,
    ) -> Result<bool, DeliveryError> {
        match failure {
            TransactionFailure::Final(error) => Err(error.into()),
            TransactionFailure::Abort(reason) => {
                // In vain, where a topic was deleted and has fewer partitions now.
                self.ready.check_topics(&self.progress)?;
                warn!("A transaction was aborted and is sent again: {reason}");
                Ok(false)
            }
            TransactionFailure::Reopen(reason) => {
                warn!("The producer is opened again: {reason}");
                self.reopen(pending)
            }
        }
    }

    fn gave_up(&self, begun: Instant, last: String) -> KafkaError {
        let kafka = &self.run_at_kafka().kafka;
        let (brokers, hint) = (kafka.brokers.clone(), kafka.start_hint.clone());
        match self.is_stopping() {
            true => KafkaError::Stopped { brokers },
            false => KafkaError::Unreachable { brokers, seconds: begun.elapsed().as_secs(), last, hint },
        }
    }

    fn attempt(
        &mut self,
        blocks: &mut Blocks,
        records_max: u32,
        pending: &mut Pending,
    ) -> Result<(), TransactionFailure> {
        self.ready.producer.begin()?;
        let at = self.send_records(blocks, records_max, pending)?;
        let (cursors, files_done) = self.cursors();
        let cursors = Cursors { records: Some(at), ..cursors };
        // A transaction of its own notes the end, before which the topics are checked once more.
        pending.progress.finished =
            pending.records() == 0 && files_done && self.checkpoint.is_complete(&cursors);
        pending.progress.cursors = cursors;
        let value = serde_json::to_vec(&pending.progress)
            .map_err(|error| TransactionFailure::Reopen(error.to_string()))?;
        let ReadyProducer { producer, probe, .. } = &mut self.ready;
        let (topic, key) = (&probe.run.records.topic_progress, probe.run.id.progress_key());
        producer.send_one(topic, 0, key.as_bytes(), &value)?;
        pending.requested = Instant::now();
        producer.commit()
    }

    /// Sends what is due, and at a slow pace what becomes due while the transaction is open.
    fn send_records(
        &mut self,
        blocks: &mut Blocks,
        mut records: u32,
        pending: &mut Pending,
    ) -> Result<RecordCursor, TransactionFailure> {
        let config = self.run_at_kafka().records.clone();
        let (bytes_max, open_max) = (config.transaction_bytes, config.transaction_open);
        let (opened, mut at) = (Instant::now(), self.cursor());
        while records > 0
            && pending.bytes < bytes_max
            && opened.elapsed() < open_max
            && !self.is_stopping()
            && !self.lease.is_suspect()
        {
            let Some(next) = next_time(&self.generator, &self.plan, &at) else { break };
            let wait = self.clock.until(next);
            if !wait.is_zero() {
                if opened.elapsed() + wait >= open_max {
                    break;
                }
                self.wait(wait);
                continue;
            }
            let limits = Limits {
                records: records.min(FILL_RECORDS),
                bytes: bytes_max - pending.bytes,
                before: self.clock.due_before(next),
            };
            blocks.clear();
            at = blocks.fill(&self.generator, &self.plan, at, limits);
            records -= blocks.records();
            self.send_blocks(blocks, pending)?;
        }
        Ok(at)
    }

    fn send_blocks(&mut self, blocks: &Blocks, pending: &mut Pending) -> Result<(), TransactionFailure> {
        let ReadyProducer { producer, probe, .. } = &mut self.ready;
        for (stream, partition, batch) in blocks.iter() {
            producer.send(&probe.run.records.topics[stream], partition, batch)?;
        }
        for stream in self.plan.streams() {
            let counts = blocks.counts(stream);
            pending.records[stream] += counts.iter().sum::<i64>() as u64;
            let delivered = &mut pending.progress.delivered[stream];
            delivered.resize(delivered.len().max(counts.len()), 0);
            delivered.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        }
        pending.bytes += blocks.bytes();
        Ok(())
    }

    fn committed(&mut self, pending: Pending) {
        debug!(records = pending.records(), "committed");
        self.recorded = Some(pending.progress.clone());
        self.progress = pending.progress;
        self.counters.add_records(&pending.records, pending.bytes as u64);
        self.counters.set_parts(KAFKA, self.plan.parts_before(self.cursor().part));
        self.checkpoint.reached(&self.progress.cursors);
    }

    /// Opens a new producer, and returns whether the transaction in doubt was committed after all.
    ///
    /// A new producer fences whoever has taken the run over, so the topic is read first.
    fn reopen(&mut self, pending: &Pending) -> Result<bool, DeliveryError> {
        let found = self.ready.probe.progress(BRIEFLY)?;
        self.is_committed(pending, &found.progress)?;
        self.ready.reopen()?;
        let found = self.ready.probe.state(Duration::MAX)?;
        let committed = self.is_committed(pending, &found.progress)?;
        let progress = if committed { &pending.progress } else { &self.progress };
        if let Some(conflict) = topic_lost(progress, &found.end_offsets) {
            return Err(conflict.into());
        }
        info!("Going on behind the last commit");
        Ok(committed)
    }

    /// Whether the progress record in the topic is that of the transaction in doubt.
    ///
    /// # Errors
    /// When somebody else has committed since: this process was fenced, whatever the error was.
    fn is_committed(&self, pending: &Pending, found: &Option<Progress>) -> Result<bool, KafkaError> {
        match found {
            Some(found) if *found == pending.progress => Ok(true),
            found if *found == self.recorded => Ok(false),
            _ => Err(KafkaError::Fenced { id: self.run_at_kafka().id.transactional_id() }),
        }
    }
}
