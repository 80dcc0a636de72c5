//! One SFTP session: takes requests in the order they come, and sends their answers in that order.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use russh::ChannelWriteHalf;
use russh::server::Msg;
use russh_sftp::protocol::Packet;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::backpressure::Backpressure;
use super::failure::{Failure, code};
use super::files::Files;
use super::inbox::Inbox;
use super::operation::Operation;
use super::wire::{self, Malformed, Request};
use crate::fault::{Fault, Faults};

/// Answers are sent when they are this many bytes, or when no request is left to answer.
const ANSWER_BYTES: usize = 256 * 1024;

/// The sending side of a session's channel, and what it shares with its connection.
pub(super) struct Session {
    pub(super) peer: String,
    pub(super) inbox: Arc<Inbox>,
    pub(super) writer: ChannelWriteHalf<Msg>,
    pub(super) backpressure: Arc<Backpressure>,
    /// Cancelled when the connection has ended.
    pub(super) ended: CancellationToken,
    /// Cancelled when the client has closed the channel. Nobody takes answers then, but what was requested
    /// for before is done.
    pub(super) closed: CancellationToken,
    /// How long answers may wait while too many requests do.
    pub(super) stall_time: Duration,
}

/// What does the requests, in threads that may block.
pub(super) struct Worker {
    files: Files,
    faults: Faults<Operation>,
    initialized: bool,
}

/// The outcome of some requests.
struct Turn {
    worker: Worker,
    /// The requests that are left.
    requests: Bytes,
    answers: BytesMut,
    next: Next,
}

/// What to do after the answers were sent.
enum Next {
    GoOn,
    /// Send these later.
    Delay(Duration, BytesMut),
    Close(End),
}

/// Why a session ends before its client ends it.
#[derive(Debug, thiserror::Error)]
enum End {
    /// A test planned it.
    #[error("a planned fault")]
    Fault,
    #[error("the client does not speak SFTP as it should: {0}")]
    Malformed(#[from] Malformed),
    #[error("the client takes no answers, but sends ever more requests")]
    Stalled,
    #[error("the connection has ended")]
    Ended,
    #[error("a request came to no end: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

impl Session {
    /// Serves the session to its end. What it had open is closed then.
    pub(super) async fn run(self, worker: Worker) {
        match self.serve(worker).await {
            Ok(()) => self.say_goodbye().await,
            Err(End::Ended) => {}
            Err(End::Fault) => {
                tracing::debug!("Closed the connection of {}: {}", self.peer, End::Fault);
                self.backpressure.close();
            }
            Err(end) => {
                tracing::warn!("Closed the connection of {}: {end}", self.peer);
                self.backpressure.close();
            }
        }
    }

    async fn serve(&self, mut worker: Worker) -> Result<(), End> {
        while let Some(mut requests) = self.unless_ended(self.inbox.take()).await?? {
            while !requests.is_empty() {
                let turn = spawn_blocking(move || worker.work(requests)).await?;
                self.send(turn.answers).await?;
                match turn.next {
                    Next::GoOn => {}
                    Next::Delay(time, answer) => {
                        self.unless_ended(sleep(time)).await?;
                        self.send(answer).await?;
                    }
                    Next::Close(end) => return Err(end),
                }
                (worker, requests) = (turn.worker, turn.requests);
            }
        }
        Ok(())
    }

    /// Sends answers; waits until the connection has taken them over, which bounds how many there are.
    async fn send(&self, answers: BytesMut) -> Result<(), End> {
        let sending = self.writer.data_bytes(answers.freeze());
        tokio::pin!(sending);
        loop {
            tokio::select! {
                sent = &mut sending => return sent.map_err(|_| End::Ended),
                () = self.ended.cancelled() => return Err(End::Ended),
                () = self.closed.cancelled() => return Ok(()),
                () = sleep(self.stall_time) => {
                    if self.backpressure.is_full() {
                        return Err(End::Stalled);
                    }
                }
            }
        }
    }

    /// As a server program does when its input ends. The client may have gone already.
    async fn say_goodbye(&self) {
        let goodbye = async {
            self.writer.exit_status(0).await?;
            self.writer.eof().await?;
            self.writer.close().await
        };
        let _ = self.unless_ended(goodbye).await;
    }

    async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Result<T, End> {
        tokio::select! {
            done = work => Ok(done),
            () = self.ended.cancelled() => Err(End::Ended),
        }
    }
}

impl Worker {
    pub(super) fn new(files: Files, faults: Faults<Operation>) -> Self {
        Self { files, faults, initialized: false }
    }

    /// Does requests until enough answers have come together, or something has to happen in between.
    fn work(mut self, mut requests: Bytes) -> Turn {
        let mut answers = BytesMut::new();
        let mut next = Next::GoOn;
        while matches!(next, Next::GoOn)
            && answers.len() < ANSWER_BYTES
            && let Some(message) = wire::take(&mut requests)
        {
            next = self
                .one(message, &mut answers)
                .unwrap_or_else(|malformed| Next::Close(End::Malformed(malformed)));
        }
        Turn { worker: self, requests, answers, next }
    }

    fn one(&mut self, message: Bytes, answers: &mut BytesMut) -> Result<Next, Malformed> {
        let (operation, packet) = match wire::request(message)? {
            Request::Known(operation, packet) => (operation, packet),
            Request::Unknown { id, kind } => {
                let refusal = Failure::unsupported(&format!("a request of kind {kind}"));
                wire::put_status(answers, id, &refusal);
                return Ok(Next::GoOn);
            }
        };
        if self.initialized == (operation == Operation::Init) {
            return Err(Malformed::new("the first request, and only that, is to be INIT"));
        }
        self.initialized = true;
        match self.faults.meet(operation) {
            None => self.answer(packet, answers).map(|()| Next::GoOn),
            Some(Fault::CloseBefore) => Ok(Next::Close(End::Fault)),
            Some(Fault::CloseAfter) => {
                self.answer(packet, &mut BytesMut::new())?;
                Ok(Next::Close(End::Fault))
            }
            Some(Fault::Delay(time)) => {
                let mut late = BytesMut::new();
                self.answer(packet, &mut late)?;
                Ok(Next::Delay(time, late))
            }
            Some(Fault::Fail(code)) => {
                let failure = Failure::new(code.cast_unsigned(), "an injected fault");
                wire::put_status(answers, packet.get_request_id(), &failure);
                Ok(Next::GoOn)
            }
        }
    }

    /// Applies a request and appends its answer.
    fn answer(&mut self, request: Packet, answers: &mut BytesMut) -> Result<(), Malformed> {
        let id = request.get_request_id();
        match self.files.apply(request) {
            Ok(None) => wire::put_status(answers, id, &Failure::new(code::OK, "")),
            Ok(Some(answer)) => {
                let bytes = Bytes::try_from(answer);
                // Answers are far below the limit of the field for their length.
                answers.extend_from_slice(&bytes.map_err(|error| Malformed::new(error.to_string()))?);
            }
            Err(failure) => wire::put_status(answers, id, &failure),
        }
        Ok(())
    }
}
