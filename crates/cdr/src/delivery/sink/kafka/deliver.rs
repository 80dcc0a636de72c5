//! The way of the records: generate, send, commit together with the cursors, repeat.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cdr_model::progress::{Cursors, Progress, RecordCursor};
use cdr_model::resume::topic_lost;
use cdr_model::{Generator, Plan, Stream};
use tracing::{debug, info, warn};

use super::blocks::{Blocks, Limits, next_time};
use super::health::{self, STOP_PATIENCE};
use super::stride::Stride;
use super::{Connection, KafkaSinkError, Trouble};
use crate::delivery::board::Board;
use crate::delivery::milestones::Milestones;
use crate::delivery::pace::SimulatedClock;
use crate::telemetry::Counters;

/// Records that are encoded before the client gets them; it sends them while we encode the next.
const FILL_RECORDS: u32 = 5_000;

/// Progress of the files alone is committed this often.
const FILES_EVERY: Duration = Duration::from_secs(1);

/// Whether the topics are still those that were delivered to is looked at this often, and at the end.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// The pause after a transaction that failed, doubled with each until the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Delivers the records of a plan, and commits the progress of all sinks.
pub struct Delivery {
    pub connection: Connection,
    pub plan: Plan,
    pub generator: Arc<Generator>,
    pub clock: Arc<SimulatedClock>,
    pub board: Arc<Board>,
    pub counters: Arc<Counters>,
    pub milestones: Milestones,
    /// What the run goes on from: the committed progress, with a cursor for each sink.
    pub progress: Progress,
    /// The progress record as it stands in the topic.
    pub recorded: Option<Progress>,
}

/// What a transaction adds to the committed progress.
struct Pending {
    progress: Progress,
    records_max: u32,
    records: [u64; 2],
    bytes: usize,
    /// When its commit was asked for.
    asked: Instant,
}

impl Delivery {
    /// Runs until all is delivered, or until the board says stop. Returns the last committed
    /// progress. Blocks.
    ///
    /// # Errors
    /// When Kafka refuses, is away for too long, or another process took over; what is committed
    /// stays, and the run can be continued.
    pub fn run(mut self) -> Result<Progress, KafkaSinkError> {
        let outcome = self.deliver();
        self.connection.close();
        outcome.map(|()| self.progress)
    }

    fn deliver(&mut self) -> Result<(), KafkaSinkError> {
        let mut blocks = Blocks::new(self.connection.partitions);
        let config = &self.connection.claim.config;
        let mut stride = Stride::new(config.transaction_records, config.transaction_timeout);
        let mut committed_at = Instant::now();
        // The first commit notes where the run begins, even if nothing is due for hours.
        let mut first = true;
        let mut checked_at = Instant::now();
        loop {
            let (files, files_done) = self.board.files();
            let work = self.records_are_due();
            let moved = self.with_files(files) != self.progress.cursors;
            let over = !work && files_done && (self.board.is_stopping() || self.records_are_done());
            let finished = files_done && self.is_complete(&self.with_files(files));
            let due = (moved || self.board.is_in_doubt()) && committed_at.elapsed() >= FILES_EVERY;
            let finishes = finished && !self.progress.finished;
            if finishes || checked_at.elapsed() >= CHECK_EVERY {
                self.connection.check_topics(&self.progress)?;
                checked_at = Instant::now();
            }
            if first || work || due || (over && (moved || finished != self.progress.finished)) {
                self.transact(&mut blocks, &mut stride)?;
                (first, committed_at) = (false, Instant::now());
            } else if over {
                self.milestones.end(&self.progress.cursors, self.progress.finished);
                return Ok(());
            } else {
                self.wait();
            }
        }
    }

    fn cursor(&self) -> RecordCursor {
        self.progress.cursors.kafka.unwrap_or(RecordCursor::at(self.plan.first()))
    }

    fn records_are_done(&self) -> bool {
        self.plan.is_done(self.cursor().part)
    }

    fn records_are_due(&self) -> bool {
        !self.board.is_stopping()
            && next_time(&self.generator, &self.plan, &self.cursor())
                .is_some_and(|time| self.clock.until(time).is_zero())
    }

    fn is_complete(&self, cursors: &Cursors) -> bool {
        let complete = cursors.complete_before(self.milestones.sinks());
        complete.is_some_and(|cursor| self.plan.is_done(cursor))
    }

    /// The committed cursors, with the files' as they are now.
    fn with_files(&self, files: Cursors) -> Cursors {
        let was = self.progress.cursors;
        Cursors {
            kafka: Some(self.cursor()),
            sftp: files.sftp.or(was.sftp),
            directory: files.directory.or(was.directory),
        }
    }

    /// Waits until a record is due, or a file sink or the user says something.
    fn wait(&self) {
        if self.board.is_stopping() || self.records_are_done() {
            return self.board.wait_for_files(FILES_EVERY / 4);
        }
        let next = next_time(&self.generator, &self.plan, &self.cursor());
        let due = next.map_or(FILES_EVERY, |time| self.clock.until(time));
        self.board.wait(due.min(FILES_EVERY / 4));
    }

    /// One transaction, as often as it takes, until too much time went by without any.
    fn transact(&mut self, blocks: &mut Blocks, stride: &mut Stride) -> Result<(), KafkaSinkError> {
        let (begun, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let mut pending = self.pending(stride.records());
            let opened = Instant::now();
            let trouble = match self.attempt(blocks, &mut pending) {
                Ok(()) => {
                    stride.succeeded(opened.elapsed());
                    self.board.committed(pending.asked);
                    self.committed(pending);
                    return Ok(());
                }
                Err(trouble) => trouble,
            };
            stride.failed(pending.records.iter().sum());
            let trouble = match trouble {
                Trouble::Abort(reason) => match self.connection.claim.session.abort() {
                    Ok(()) => Trouble::Abort(reason),
                    Err(Trouble::Abort(reason)) => Trouble::Reconnect(reason),
                    Err(other) => other,
                },
                Trouble::Final(error) => {
                    self.connection.claim.session.abandon(&error);
                    Trouble::Final(error)
                }
                other => other,
            };
            let patience = match self.board.is_stopping() {
                true => STOP_PATIENCE,
                false => self.connection.claim.config.give_up_after,
            };
            if begun.elapsed() >= patience {
                return Err(self.gave_up(begun, trouble));
            }
            if self.recover(trouble, &pending)? {
                self.committed(pending);
                return Ok(());
            }
            health::pause(pause.min(patience.saturating_sub(begun.elapsed())));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Makes the next try possible; tells whether the transaction was committed after all.
    fn recover(&mut self, trouble: Trouble, pending: &Pending) -> Result<bool, KafkaSinkError> {
        match trouble {
            Trouble::Final(error) => Err(error),
            Trouble::Abort(reason) => {
                // In vain, where a topic was deleted and has fewer partitions now.
                self.connection.check_topics(&self.progress)?;
                warn!("A transaction was aborted and is sent again: {reason}");
                Ok(false)
            }
            Trouble::Reconnect(reason) => {
                warn!("The producer has to be made anew: {reason}");
                self.reconnect(pending)
            }
            Trouble::Overdue(reason) => {
                warn!("The producer was taken for dead: {reason}");
                // A new producer would fence whoever took over, so the look comes first.
                let found = self.connection.recorded()?;
                self.whose(pending, &found)?;
                self.reconnect(pending)
            }
        }
    }

    fn gave_up(&self, begun: Instant, trouble: Trouble) -> KafkaSinkError {
        let last = match trouble {
            Trouble::Final(error) => return error,
            Trouble::Abort(reason) | Trouble::Reconnect(reason) | Trouble::Overdue(reason) => reason,
        };
        let brokers = self.connection.claim.config.brokers.clone();
        if self.board.is_stopping() {
            return KafkaSinkError::Stopped { brokers };
        }
        KafkaSinkError::Unreachable { brokers, seconds: begun.elapsed().as_secs(), last }
    }

    fn pending(&self, records_max: u32) -> Pending {
        let progress = self.progress.clone();
        Pending { progress, records_max, records: [0, 0], bytes: 0, asked: Instant::now() }
    }

    fn attempt(&mut self, blocks: &mut Blocks, pending: &mut Pending) -> Result<(), Trouble> {
        self.connection.claim.session.begin()?;
        let at = self.send_records(blocks, pending)?;
        let (files, files_done) = self.board.files();
        let cursors = Cursors { kafka: Some(at), ..self.with_files(files) };
        pending.progress.cursors = cursors;
        // A transaction of its own says so, before which the topics are looked at once more.
        let has_records = pending.records.iter().any(|&count| count > 0);
        pending.progress.finished = !has_records && files_done && self.is_complete(&cursors);
        let value = serde_json::to_vec(&pending.progress)
            .map_err(|error| Trouble::Reconnect(error.to_string()))?;
        let (topic, key) =
            (&self.connection.claim.config.topic_progress, self.connection.claim.id.progress_key());
        self.connection.claim.session.send_progress(topic, &key, &value)?;
        pending.asked = Instant::now();
        self.connection.claim.session.commit()
    }

    /// Sends what is due, and at a slow pace what becomes due while the transaction is open.
    fn send_records(
        &mut self,
        blocks: &mut Blocks,
        pending: &mut Pending,
    ) -> Result<RecordCursor, Trouble> {
        let config = self.connection.claim.config.clone();
        let opened = Instant::now();
        let mut at = self.cursor();
        let mut records = pending.records_max;
        while records > 0
            && pending.bytes < config.transaction_bytes
            && opened.elapsed() < config.transaction_open
            && !self.board.is_stopping()
            && !self.board.is_in_doubt()
        {
            let Some(next) = next_time(&self.generator, &self.plan, &at) else { break };
            let wait = self.clock.until(next);
            if !wait.is_zero() {
                if opened.elapsed() + wait >= config.transaction_open {
                    break;
                }
                self.board.wait(wait);
                continue;
            }
            let limits = Limits {
                records: records.min(FILL_RECORDS),
                bytes: config.transaction_bytes - pending.bytes,
                before: self.clock.due_before(next),
            };
            blocks.clear();
            at = blocks.fill(&self.generator, &self.plan, at, limits);
            records -= blocks.records();
            self.send_blocks(blocks, pending)?;
        }
        Ok(at)
    }

    fn send_blocks(&mut self, blocks: &Blocks, pending: &mut Pending) -> Result<(), Trouble> {
        let config = self.connection.claim.config.clone();
        for (stream, partition, block) in blocks.iter() {
            self.connection.claim.session.send(config.topic(stream), partition, block)?;
        }
        for stream in Stream::ALL {
            let counts = blocks.counts(stream);
            pending.records[stream as usize] += counts.iter().sum::<i64>() as u64;
            let delivered =
                pending.progress.delivered.entry(config.topic(stream).to_owned()).or_default();
            delivered.resize(delivered.len().max(counts.len()), 0);
            delivered.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        }
        pending.bytes += blocks.bytes();
        Ok(())
    }

    fn committed(&mut self, pending: Pending) {
        self.recorded = Some(pending.progress.clone());
        self.progress = pending.progress;
        self.counters.add_records(pending.records, pending.bytes as u64);
        let parts = self.plan.parts_before(self.cursor().part);
        self.counters.parts_kafka.store(parts, Ordering::Relaxed);
        self.milestones.reached(&self.progress.cursors);
        debug!(records = pending.records[0] + pending.records[1], "committed");
    }

    /// Makes a new producer, and tells whether the transaction in doubt was committed after all.
    fn reconnect(&mut self, pending: &Pending) -> Result<bool, KafkaSinkError> {
        let found = self.connection.reopen()?;
        let committed = self.whose(pending, &found.progress)?;
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
    /// When somebody else has committed since: this process was fenced, whatever the error said.
    fn whose(&self, pending: &Pending, found: &Option<Progress>) -> Result<bool, KafkaSinkError> {
        match found {
            Some(found) if *found == pending.progress => Ok(true),
            found if *found == self.recorded => Ok(false),
            _ => Err(KafkaSinkError::Fenced { id: self.connection.claim.id.transactional_id() }),
        }
    }
}
